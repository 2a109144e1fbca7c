"""What can be reached at most: classifiers that see the forces of the heart, or beats without any noise."""

from __future__ import annotations

import numpy as np

from cardiozoo.data.ecg import CHEST_LEADS, LEADS, LIMB_LEADS
from cardiozoo.data.synthetic.ecg_catheter import measured_pressures, referred
from cardiozoo.data.synthetic.ecg_field import twelve
from cardiozoo.data.synthetic.ecg_heart import CATHETER_CLINIC, Hearts, Plant, draw_hearts
from cardiozoo.data.synthetic.ecg_person import People, draw_people
from cardiozoo.data.synthetic.ecg_truth import LATENTS
from cardiozoo.data.synthetic.ecg_visit import FIBRILLATION, draw_visits
from cardiozoo.data.synthetic.ecg_waves import ATRIAL_WAVES, QRS_WAVES, T_WAVES, morphology
from cardiozoo.data.synthetic.truth import auroc, oracle_auroc

COMPONENTS = 30
"""Principal components kept of each part of the beat."""
_GRID = {"p": np.arange(0.0, 160.0, 8.0), "qrs": np.arange(0.0, 200.0, 4.0), "t": np.arange(-240.0, 0.0, 12.0)}
LIMB_LATENTS = ("rvf", "ra", "la", "lv")
"""Forces that the limb leads see."""
LEAD_SETS = {"all": LEADS, "limb": LIMB_LEADS, "chest": CHEST_LEADS, "II": ("II",)}


def truth_ceiling(seed: int, first: int, people: int, plant: Plant) -> dict:
    """Cross-validated AUROC of both tasks on people who are not in the cohort.

    Args:
        seed: Seed of the cohort.
        first: Number of the first of these people, beyond the last of the cohort.
        people: How many.
        plant: Where pressure shows.

    Returns:
        For each task, the AUROC of the true pressure for the label, which was read with error, then of cross-validated
        classifiers: from the planted forces with age and sex, from those of them that limb leads see, from
        age and sex alone, and from one beat without noise in several sets of leads (principal components of P, QRS and
        T and a logistic regression, which is a lower bound on what can be reached).
    """
    index = np.arange(first, first + people)
    male, age = referred(seed, index)
    hearts = draw_hearts(seed, index, male, age, np.zeros(people), CATHETER_CLINIC, plant)
    traits = draw_people(seed, hearts, CATHETER_CLINIC)
    label = measured_pressures(seed, hearts)
    hypertension = label["mPAP"] > 20.0
    tasks = {
        "ph_detection": (np.ones(people, dtype=bool), hypertension, hearts.mpap),
        "capillary": (hypertension, label["PAWP"] > 15.0, hearts.pawp),
    }
    features = _features(seed, hearts, traits)
    found: dict = {"people": people, "first": first, "plant": plant}
    for task, (rows, target, pressure) in tasks.items():
        known = auroc(target[rows], pressure[rows])
        found[task] = {"prevalence": round(float(target[rows].mean()), 4), "pressure": round(known, 4)}
        for name, columns in features.items():
            area = oracle_auroc(columns[rows], target[rows, None])[0]
            found[task][name] = None if np.isnan(area) else round(float(area), 4)
    return found


def _features(seed: int, hearts: Hearts, people: People) -> dict[str, np.ndarray]:
    person = np.stack([hearts.age, hearts.male], axis=1)
    forces = {name: getattr(hearts, name) for name in LATENTS}
    features = {
        "age_sex": person,
        "latents": np.column_stack([person, *forces.values()]),
        "latents_limb": np.column_stack([person, *(forces[name] for name in LIMB_LATENTS)]),
    }
    beats, rhythm = _beats(seed, hearts, people)
    for name, leads in LEAD_SETS.items():
        rows = [LEADS.index(lead) for lead in leads]
        parts = [_components(beat[:, rows].reshape(len(person), -1)) for beat in beats]
        features[f"beat_{name}"] = np.column_stack([*parts, rhythm])
    return features


def _beats(seed: int, hearts: Hearts, people: People) -> tuple[list[np.ndarray], np.ndarray]:
    """P, QRS and T of everyone (N, 12, G), each on a coarse grid from its own anchor; whether P is absent (N,)."""
    visits = draw_visits(seed, hearts, people, np.ones(len(hearts), dtype=int))
    shape = morphology(hearts, people, visits)
    without_p = visits.rhythm == FIBRILLATION
    parts = []
    for part, rows in (("p", ATRIAL_WAVES), ("qrs", QRS_WAVES), ("t", T_WAVES)):
        z = (_GRID[part] - shape.centre[:, rows, None]) / shape.sigma[:, rows, None]
        drawn = np.matmul(shape.leads[:, rows].transpose(0, 2, 1), np.exp(-0.5 * z**2).astype(np.float32))
        if part == "p":
            drawn[without_p] = 0.0
        parts.append(twelve(drawn))
    return parts, without_p.astype(float)


def _components(values: np.ndarray) -> np.ndarray:
    """Principal components, the first :data:`COMPONENTS`."""
    centred = values - values.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    return centred @ vectors[:, ::-1][:, :COMPONENTS]
