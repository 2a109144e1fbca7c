"""Which films are taken of whom, when, and in which view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cardiozoo.data.synthetic.outcomes import Outcomes
from cardiozoo.data.synthetic.patient import MAX_ADMISSIONS, Stays
from cardiozoo.data.synthetic.streams import IdKind, Modality, dicom_id, identify, stream

STUDY_SLOTS = 32
MAX_STUDIES = 8
OLD_FILM_HOURS = 40.0
ELSEWHERE = 0.08
"""Share of stays with a further study weeks before admission, which belongs to no stay."""
ASPECTS = (0.8, 0.832, 1.0, 1.2, 1.25)
"""Width over height; the two in the middle of the list are those of common detector plates."""


@dataclass(frozen=True)
class Film:
    """One image: where it belongs, how it was taken, and the random state of its exposure."""

    stay: int  # row in Stays
    study: int  # number of the study among those of the patient
    study_id: int
    dicom: str
    view: str  # AP, PA, LATERAL
    hours: float  # after admission to intensive care
    old: bool  # shows the earlier state of the lungs
    linked: bool  # lies inside the stay
    aspect: float
    quality: int
    generator: np.random.Generator


def schedule(seed: int, stays: Stays, outcomes: Outcomes, row: int) -> list[Film]:
    """All images of one stay, in the order in which they were taken.

    Stays with films have one at their beginning and further ones spread over the rest; where the film disagrees with
    the present state it was taken in the first hours, before that state came about.
    """
    generator = stream(seed, int(stays.index[row]), Modality.CXR, 3, int(stays.number[row]))
    end = float(min(outcomes.los_hours[row], outcomes.death_hours[row]))
    old = bool(outcomes.disagree[row])
    count = int(outcomes.films[row])
    times = np.sort(generator.random(MAX_STUDIES))[:count] * (min(end, OLD_FILM_HOURS) if old else end) * 0.98
    plan = [(float(hours), True) for hours in times]
    if generator.random() < ELSEWHERE:
        plan.insert(0, (-24.0 * (20.0 + 300.0 * float(generator.random())), False))
    films = []
    for position, (hours, linked) in enumerate(plan):
        study = int(stays.number[row]) * (STUDY_SLOTS // MAX_ADMISSIONS) + position
        own = stream(seed, int(stays.index[row]), Modality.CXR, 4, study)
        study_id = int(identify(seed, IdKind.STUDY, np.array([stays.index[row] * STUDY_SLOTS + study]))[0])
        bedside = own.random() < 0.85
        # a stay that counts as one with films has at least one in the anterior-posterior view
        views = ["AP"] if bedside or (linked and position == (len(plan) - 1)) else ["PA", "LATERAL"]
        if views == ["AP"] and own.random() < 0.08:
            views = ["AP", "AP"]
        for number, view in enumerate(views):
            films.append(
                Film(
                    stay=row,
                    study=study,
                    study_id=study_id,
                    dicom=dicom_id(seed, study_id, number),
                    view=view,
                    hours=hours,
                    old=old or not linked,
                    linked=linked,
                    aspect=float(own.choice(ASPECTS)),
                    quality=95,
                    generator=stream(seed, int(stays.index[row]), Modality.CXR, 5 + number, study),
                )
            )
    return films
