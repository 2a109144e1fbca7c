"""Vital signs and laboratory values in intensive care: where each signal is heading, and how it wanders there.

Every signal is an Ornstein-Uhlenbeck process around a moving target, sampled exactly at irregular times,
x' = mu + (x - mu) exp(-D / tau) + sd sqrt(1 - exp(-2 D / tau)) e, with innovations correlated between signals.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from cardiozoo.data.synthetic import plants
from cardiozoo.data.synthetic.calibrated import Coefficients
from cardiozoo.data.synthetic.conditions import sigmoid
from cardiozoo.data.synthetic.patient import Stays
from cardiozoo.data.synthetic.streams import Modality, draws


class Signal(IntEnum):
    """Columns of the process; glucose as its natural logarithm, weight and GCS as deviations."""

    HR = 0
    SBP = 1
    DBP = 2
    RR = 3
    SPO2 = 4
    TEMPERATURE = 5
    GLUCOSE = 6
    PH = 7
    GCS = 8
    WEIGHT = 9
    FIO2 = 10


S = Signal
SIGNALS = len(Signal)
#                    HR   SBP    DBP   RR   SpO2   T    ln gluc.       pH    GCS  weight FiO2
BASE = np.array([82.0, 120.0, 62.0, 18.0, 97.2, 36.85, np.log(122.0), 7.385, 14.9, 0.0, 0.38])
TAU = np.array([4.0, 3.0, 3.0, 3.0, 3.0, 12.0, 6.0, 8.0, 12.0, 48.0, 10.0])
"""Correlation times in hours."""
WITHIN = np.array([9.0, 12.0, 8.0, 3.5, 1.6, 0.45, 0.20, 0.04, 0.8, 0.7, 0.06])
BETWEEN = np.array([9.0, 12.0, 8.0, 3.0, 1.3, 0.35, 0.16, 0.035, 0.8, 0.5, 0.06])
SEVERITY_EFFECT = np.array([6.0, -5.0, -3.0, 1.5, -0.5, 0.05, 0.03, -0.025, -0.7, 0.2, 0.04])
CORRELATION = (
    (S.HR, S.RR, 0.35),
    (S.HR, S.TEMPERATURE, 0.30),
    (S.HR, S.DBP, -0.15),
    (S.SBP, S.DBP, 0.65),
    (S.RR, S.SPO2, -0.35),
)

LEVEL: dict[int, dict[Signal, float]] = {
    plants.RENAL: {S.PH: -0.030, S.RR: 1.5, S.DBP: -3.0, S.GCS: -0.4},
    plants.STROKE: {S.GCS: -4.0, S.SBP: 10.0, S.HR: -3.0},
    plants.INFARCTION: {S.HR: 5.0, S.DBP: 5.0, S.SBP: -4.0, S.SPO2: -0.5},
    plants.RHYTHM: {S.HR: 5.0},
    plants.KIDNEY: {S.PH: -0.025, S.SBP: 9.0, S.DBP: -4.0, S.GLUCOSE: 0.04, S.TEMPERATURE: -0.12},
    plants.SURGICAL: {S.TEMPERATURE: 0.22, S.HR: 4.0, S.SPO2: 0.4},
    plants.FAILURE: {S.RR: 2.0, S.SPO2: -0.9, S.SBP: -6.0, S.HR: 3.0},
    plants.CORONARY: {S.HR: -5.0, S.DBP: -4.0, S.SBP: 3.0},
    plants.DIABETES_COMPLICATED: {S.GLUCOSE: 0.42},
    plants.DIABETES: {S.GLUCOSE: 0.20},
    plants.HYPERTENSION: {S.SBP: 6.0, S.DBP: 3.0},
    plants.ELECTROLYTES: {S.PH: -0.025, S.GLUCOSE: 0.06, S.HR: 5.0, S.RR: 1.0},
    plants.BLEEDING: {S.HR: 9.0, S.SBP: -7.0, S.DBP: -6.0},
    plants.HYPERTENSION_COMPLICATED: {S.SBP: 10.0, S.DBP: 6.0, S.HR: -2.0},
    plants.LIVER: {S.SBP: -8.0, S.DBP: -5.0, S.TEMPERATURE: -0.25, S.GCS: -0.5},
    plants.PNEUMONIA: {S.TEMPERATURE: 0.30, S.SPO2: -0.9, S.RR: 2.0},
    plants.RESPIRATORY: {S.RR: 4.0, S.SPO2: -1.5, S.FIO2: 0.10},
    plants.SEPSIS: {S.TEMPERATURE: 0.55, S.HR: 9.0, S.SBP: -7.0, S.RR: 1.5},
    plants.SHOCK: {S.SBP: -15.0, S.DBP: -7.0, S.PH: -0.05, S.HR: 4.0},
}
"""Shift of the mean of a signal, in its unit, before the calibrated gain of the condition."""

SLOPE: dict[int, dict[Signal, float]] = {
    plants.RENAL: {S.WEIGHT: 0.9, S.SBP: 3.0},
    plants.INFARCTION: {S.HR: -4.0},
    plants.SURGICAL: {S.TEMPERATURE: 0.15, S.HR: 3.0},
    plants.FAILURE: {S.WEIGHT: -0.9, S.SPO2: 0.3},
    plants.ELECTROLYTES: {S.PH: 0.01},
    plants.BLEEDING: {S.HR: -5.0, S.SBP: 4.0},
    plants.DIABETES_COMPLICATED: {S.GLUCOSE: -0.04},
    plants.PNEUMONIA: {S.TEMPERATURE: -0.12, S.RR: -0.6},
    plants.SEPSIS: {S.TEMPERATURE: -0.10},
    plants.SHOCK: {S.SBP: 5.0, S.PH: 0.015},
}
"""Initial change a day; it fades over some days, so that a long stay does not leave the range of life."""

SPREAD: dict[int, dict[Signal, float]] = {
    plants.RHYTHM: {S.HR: 0.30},
    plants.DIABETES_COMPLICATED: {S.GLUCOSE: 0.30},
    plants.SEPSIS: {S.TEMPERATURE: 0.20},
    plants.LIVER: {S.GLUCOSE: 0.10},
    plants.STROKE: {S.GCS: 0.20},
}
"""Shift of the logarithm of a signal's own scatter."""

FADE_DAYS = 2.5
DECLINE = np.array([16.0, -26.0, -14.0, 5.0, -4.0, -0.2, 0.0, -0.09, -4.0, 0.0, 0.15])
"""What the last 24 hours before death add at their end."""


@dataclass
class Course:
    """Targets of the stays (S, SIGNALS), and how they are treated and measured (S,)."""

    level: np.ndarray
    slope: np.ndarray
    spread: np.ndarray
    ventilated: np.ndarray
    arterial_line: np.ndarray
    beta_blocker: np.ndarray
    uniforms: np.ndarray  # (S, 16) further choices of the charting


def _effects(table: dict[int, dict[Signal, float]]) -> np.ndarray:
    matrix = np.zeros((len(plants.PLANTS), SIGNALS))
    for label, shifts in table.items():
        for signal, amount in shifts.items():
            matrix[label, signal] = amount
    return matrix


def ventilation(severity: np.ndarray | float, respiratory_failure: np.ndarray) -> np.ndarray:
    """Probability of being on a ventilator."""
    return sigmoid(-0.90 + 0.35 * severity + 1.6 * respiratory_failure)


def draw_course(seed: int, stays: Stays, present: np.ndarray, coefficients: Coefficients) -> Course:
    """Targets, scatter and treatment of each stay from its conditions ``present`` (S, 25)."""
    gauss, flat = draws(seed, stays.index, Modality.ICU, 0, normals=2 * SIGNALS, uniforms=20, parts=stays.number)
    weighted = present * coefficients.ehr_gain
    severity = stays.severity[:, None]
    level = BASE + SEVERITY_EFFECT * severity + weighted @ _effects(LEVEL) + BETWEEN * gauss[:, :SIGNALS]
    ventilated = flat[:, 0] < ventilation(stays.severity, present[:, plants.RESPIRATORY])
    beta_blocker = flat[:, 1] < 0.30
    level[:, S.HR] -= 8.0 * beta_blocker
    level[:, S.GCS] -= 2.6 * ventilated * (0.3 + 1.4 * flat[:, 2])
    slope = weighted @ _effects(SLOPE) + 0.35 * WITHIN * gauss[:, SIGNALS:] / 2.0
    spread = WITHIN * np.exp(weighted @ _effects(SPREAD) + 0.12 * gauss[:, :SIGNALS][:, ::-1])
    return Course(
        level=level,
        slope=slope,
        spread=spread,
        ventilated=ventilated,
        arterial_line=flat[:, 3] < sigmoid(-0.3 + 0.8 * stays.severity),
        beta_blocker=beta_blocker,
        uniforms=flat[:, 4:],
    )


def target(course: Course, stay: np.ndarray, hours: np.ndarray, hours_to_death: np.ndarray) -> np.ndarray:
    """Mean of every signal at ``hours`` after admission of the rows ``stay`` (n, SIGNALS), float32.

    ``hours_to_death`` (n,) is infinite for survivors; the decline shows only in the 24 hours before death.
    """
    days = (hours / 24.0).astype(np.float32)
    faded = FADE_DAYS * (1.0 - np.exp(-days / FADE_DAYS))
    mean = course.level[stay].astype(np.float32)
    mean += course.slope.astype(np.float32)[stay] * faded[:, None]
    dying = np.flatnonzero(hours_to_death < 24.0)
    if dying.size:
        mean[dying] += (DECLINE * (1.0 - hours_to_death[dying, None] / 24.0)).astype(np.float32)
    return mean


def _innovation_root() -> np.ndarray:
    matrix = np.eye(SIGNALS)
    for left, right, correlation in CORRELATION:
        matrix[left, right] = matrix[right, left] = correlation
    return np.linalg.cholesky(matrix).astype(np.float32)


def wander(offsets: np.ndarray, hours: np.ndarray, innovations: np.ndarray) -> np.ndarray:
    """Ornstein-Uhlenbeck paths of unit variance (n, SIGNALS), float32, at ascending ``hours`` of stays given as CSR.

    The scan takes the k-th sample of all stays together: it costs what the longest stay costs, not their number.

    Args:
        offsets: First sample of each stay, and their total (S + 1,).
        hours: Times in hours (n,), ascending within a stay.
        innovations: Independent standard normals (n, SIGNALS), float32.
    """
    counts = np.diff(offsets)
    gap = np.maximum(np.diff(hours, prepend=hours[:1]), 0.0).astype(np.float32)  # negative between two stays: not used
    path = innovations @ _innovation_root().T
    decay = np.exp(-gap[:, None] / TAU.astype(np.float32))
    noise = np.sqrt(1.0 - decay * decay)
    order = np.argsort(-counts, kind="stable")
    starts, sorted_counts = offsets[:-1][order], counts[order]
    for step in range(1, int(counts.max(initial=0))):
        active = int(np.searchsorted(-sorted_counts, -step))
        row = starts[:active] + step
        path[row] = decay[row] * path[row - 1] + noise[row] * path[row]
    return path


def bridge(
    before: np.ndarray, after: np.ndarray, gap_before: np.ndarray, gap_after: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    """Samples between two known ones of the first k unit-variance paths (m, k), exactly: the Ornstein-Uhlenbeck bridge.

    With a = exp(-gap_before / tau) and b = exp(-gap_after / tau) the mean is
    (a (1 - b^2) before + b (1 - a^2) after) / (1 - a^2 b^2), the variance (1 - a^2)(1 - b^2) / (1 - a^2 b^2).
    """
    tau = TAU[: before.shape[1]].astype(np.float32)
    a = np.exp(-gap_before[:, None].astype(np.float32) / tau)
    b = np.exp(-gap_after[:, None].astype(np.float32) / tau)
    total = 1.0 - (a * b) ** 2
    mean = (a * (1.0 - b * b) * before + b * (1.0 - a * a) * after) / total
    return mean + np.sqrt((1.0 - a * a) * (1.0 - b * b) / total) * normals
