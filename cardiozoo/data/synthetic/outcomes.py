"""How long a stay lasts, who dies in hospital and when, and whether a radiograph is taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cardiozoo.data.synthetic import plants
from cardiozoo.data.synthetic.conditions import sigmoid
from cardiozoo.data.synthetic.patient import Stays
from cardiozoo.data.synthetic.streams import Modality, draws

MAX_STAY_DAYS = 60.0
CXR_INTERCEPT, CXR_SEVERITY, CXR_DISTRESS = -1.75, 0.55, 0.75
MNAR_PNEUMONIA = 0.6
DEATH_INTERCEPT, DEATH_SEVERITY, DEATH_AGE = -3.0, 1.15, 0.03
DISAGREEMENT = 0.12
"""Share of stays with films in which these show an earlier state of the lungs."""


@dataclass
class Outcomes:
    """One row a stay; times in hours after admission to intensive care."""

    los_hours: np.ndarray
    dies: np.ndarray
    death_hours: np.ndarray  # infinite for survivors; after the stay if death comes on the ward
    ward_before: np.ndarray  # hours in hospital before intensive care
    ward_after: np.ndarray  # hours in hospital after it
    home_death_days: np.ndarray  # days from discharge to death at home, infinite if none is recorded
    has_cxr: np.ndarray
    disagree: np.ndarray
    films: np.ndarray  # number of studies in the stay
    uniforms: np.ndarray


def draw_outcomes(seed: int, stays: Stays, present: np.ndarray, mnar: bool) -> Outcomes:
    """Outcomes from severity, distress and age; with ``mnar`` a radiograph is more likely where there is pneumonia."""
    gauss, flat = draws(seed, stays.index, Modality.PHYSIOLOGY, 2, normals=4, uniforms=20, parts=stays.number)
    tail = flat[:, 0] < 0.05
    days = np.exp(0.72 + 0.38 * stays.severity + 0.72 * gauss[:, 0] + tail)
    los = 24.0 * np.clip(days, 0.15, MAX_STAY_DAYS)
    dies = flat[:, 1] < sigmoid(DEATH_INTERCEPT + DEATH_SEVERITY * stays.severity + DEATH_AGE * (stays.age - 64.0))
    ward_after = 24.0 * np.exp(1.0 + 0.7 * gauss[:, 1])
    on_ward = flat[:, 2] < 0.28
    death = np.where(dies, np.where(on_ward, los + ward_after, los), np.inf)
    log_odds = CXR_INTERCEPT + CXR_SEVERITY * stays.severity + CXR_DISTRESS * stays.distress
    if mnar:
        log_odds = log_odds + MNAR_PNEUMONIA * present[:, plants.PNEUMONIA]
    has_cxr = flat[:, 3] < sigmoid(log_odds)
    disagree = has_cxr & (flat[:, 4] < DISAGREEMENT)
    return Outcomes(
        los_hours=los,
        dies=dies,
        death_hours=death,
        ward_before=np.where(flat[:, 5] < 0.5, 24.0 * np.exp(-1.2 + 1.1 * gauss[:, 2]), 0.3 + 6.0 * flat[:, 6]),
        ward_after=np.where(dies & ~on_ward, 0.0, ward_after),
        home_death_days=np.where(~dies & (flat[:, 7] < 0.12), 365.0 * flat[:, 8], np.inf),
        has_cxr=has_cxr,
        disagree=disagree,
        films=np.where(
            has_cxr, np.where(disagree, 1, 1 + _poisson(np.minimum(los, 240.0) / 48.0, flat[:, 9], limit=7)), 0
        ),
        uniforms=flat[:, 10:],
    )


def _poisson(mean: np.ndarray, chance: np.ndarray, limit: int) -> np.ndarray:
    """Poisson counts by inversion of one uniform each, cut off at ``limit``."""
    count = np.zeros(len(mean), dtype=int)
    term = np.exp(-mean)
    cumulative = term.copy()
    for step in range(1, limit + 1):
        count += chance > cumulative
        term = term * mean / step
        cumulative += term
    return count
