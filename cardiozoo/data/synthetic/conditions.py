"""Who has which of the 25 phenotypes, and with which codes the hospital writes it down."""

from __future__ import annotations

import numpy as np

from cardiozoo.data.synthetic import plants
from cardiozoo.data.synthetic.calibrated import Coefficients
from cardiozoo.data.synthetic.patient import Stays
from cardiozoo.data.synthetic.plants import (
    AGE,
    CHRONIC,
    PLANTS,
    SEVERITY,
)

LINKS: tuple[tuple[int, int, float], ...] = (
    (plants.RENAL, plants.ELECTROLYTES, 0.5),
    (plants.KIDNEY, plants.HYPERTENSION_COMPLICATED, 2.2),
    (plants.INFARCTION, plants.CORONARY, 0.7),
    (plants.FAILURE, plants.RHYTHM, 0.5),
    (plants.FAILURE, plants.RESPIRATORY, 0.3),
    (plants.PNEUMONIA, plants.RESPIRATORY, 0.8),
    (plants.SEPSIS, plants.SHOCK, 1.2),
)
"""(cause, effect, log-odds). No link leads from a condition seen in the radiograph to one that is planted as unseen."""

EXCLUSIVE = {
    plants.DIABETES: plants.DIABETES_COMPLICATED,
    plants.HYPERTENSION: plants.HYPERTENSION_COMPLICATED,
}
"""The simple form of a disease is coded only without the complicated one."""

ORDER = (
    plants.RENAL, plants.STROKE, plants.INFARCTION, plants.KIDNEY, plants.COPD, plants.SURGICAL, plants.CONDUCTION,
    plants.FAILURE, plants.RHYTHM, plants.CORONARY, plants.DIABETES_COMPLICATED, plants.DIABETES, plants.LIPIDS,
    plants.HYPERTENSION_COMPLICATED, plants.HYPERTENSION, plants.ELECTROLYTES, plants.BLEEDING, plants.LIVER,
    plants.LOWER_AIRWAY, plants.UPPER_AIRWAY, plants.PLEURA, plants.PNEUMONIA, plants.RESPIRATORY,
    plants.SEPSIS, plants.SHOCK,
)  # fmt: skip

MISSED_CODE = 0.02
FALSE_CODE = 0.002
"""Shares of present conditions not coded, and of absent ones coded: the label noise a user of the tables sees."""


def sigmoid(x: np.ndarray | float) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.asarray(x, dtype=float)))


def linear_predictor(stays: Stays, label: int, present: np.ndarray) -> np.ndarray:
    """Log-odds of one condition without its intercept (S,), given those drawn before it in ORDER."""
    driver = stays.distress if label == plants.RESPIRATORY else stays.severity
    score = SEVERITY[label] * driver + AGE[label] * (stays.age - 64.0) / 10.0
    for cause, effect, weight in LINKS:
        if effect == label:
            score = score + weight * present[:, cause]
    return score


def draw_conditions(stays: Stays, coefficients: Coefficients) -> np.ndarray:
    """Present conditions, bool (S, 25). Chronic ones use the draw of the person, acute ones that of the admission."""
    present = np.zeros((len(stays), len(PLANTS)), dtype=bool)
    for label in ORDER:
        probability = sigmoid(coefficients.intercept[label] + linear_predictor(stays, label, present))
        chance = stays.chronic[:, label] if label in CHRONIC else stays.acute[:, label]
        present[:, label] = chance < probability
        if label in EXCLUSIVE:
            present[:, label] &= ~present[:, EXCLUSIVE[label]]
    return present


def coded_conditions(present: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Conditions as coded: present ones are missed, absent ones added, at the stated rates; ``chance`` (S, 25)."""
    coded = np.where(present, chance >= MISSED_CODE, chance < FALSE_CODE)
    for simple, complicated in EXCLUSIVE.items():
        coded[:, simple] &= ~(coded[:, complicated] & ~present[:, simple])
    return coded


def diagnosis_codes(coded: np.ndarray, version: int, paced: bool, generator: np.random.Generator) -> list[str]:
    """Codes of one admission in the order of their sequence number: its conditions and some codes outside all classes.

    Args:
        coded: Conditions to be coded, bool (25,).
        version: 9 or 10.
        paced: Whether a conduction disorder is coded as the presence of a pacemaker.
        generator: Stream of this admission.
    """
    choice = generator.random(len(PLANTS))
    codes = []
    for label in np.flatnonzero(coded):
        options = PLANTS[label].icd9 if version == 9 else PLANTS[label].icd10
        if label == plants.CONDUCTION:
            options = options[-1:] if paced else options[:-1]
        codes.append(options[int(choice[label] * len(options))])
    if version == 10 and coded[plants.SEPSIS] and coded[plants.SHOCK] and choice[plants.UPPER_AIRWAY] < 0.5:
        codes.append(plants.SEPTIC_SHOCK)
    filler = plants.FILLER_ICD9 if version == 9 else plants.FILLER_ICD10
    codes += list(generator.choice(filler, size=int(generator.integers(3, 12)), replace=False))
    return [codes[position] for position in generator.permutation(len(codes))]
