"""Fit the coefficients of the simulator so that every phenotype has its planted prevalence and class shifts.

    python scripts/calibrate_synthetic.py --patients 20000 --rounds 12

simulates a clean cohort again and again. After each round the log-odds of a phenotype move by the distance of its
prevalence from the target, and the gain of its effects on a modality is multiplied by the planted over the measured
class shift d = sqrt(2) Phi^-1(AUROC) of the oracle (``truth.oracle_auroc`` on ``truth.ehr_features`` and
``chest.oracle_features``). The table is written to cardiozoo/data/synthetic/calibrated.csv, with the class shifts that
were measured in the last round, on patients that no round before has seen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cardiozoo.data.synthetic import block, calibrated, chest, conditions, patient, plants, truth
from cardiozoo.data.synthetic.calibrated import Coefficients

OUT = Path(calibrated.__file__).with_name("calibrated.csv")
CHUNK = 2000
FIRST_PATIENT = 200_000
"""Calibration uses patients beyond those that any cohort of usual size contains."""


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1.0 - p))


def fit_intercepts(coefficients: Coefficients, seed: int, index: np.ndarray) -> Coefficients:
    """Log-odds that give every phenotype its prevalence among these patients' stays."""
    stays = patient.draw_stays(seed, patient.draw_patients(seed, index))
    intercept = coefficients.intercept.copy()
    for _ in range(25):
        current = coefficients.with_(intercept=intercept)
        rate = conditions.draw_conditions(stays, current).mean(axis=0).clip(1e-3, 0.999)
        intercept = intercept + logit(plants.PREVALENCE) - logit(rate)
    return coefficients.with_(intercept=intercept)


def measure(coefficients: Coefficients, seed: int, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class shifts (25,) of the oracles of the charted signals and of the present state of the chest."""
    signals, films, labels = [], [], []
    for start in range(0, len(index), CHUNK):
        part = block.draw_block(seed, index[start : start + CHUNK], coefficients, mnar=False, scale=0.0)
        rounds, course, _ = block.unit_rounds(seed, part)
        signals.append(truth.ehr_features(rounds, course, len(part.stays)))
        films.append(chest.oracle_features(part.now))
        labels.append(part.present)
    target = np.concatenate(labels)
    shifts = []
    for features in (np.concatenate(signals), np.concatenate(films)):
        areas = truth.oracle_auroc(features, target)
        shifts.append(np.array([truth.class_shift(area) for area in areas]))
    return shifts[0], shifts[1]


def step(gain: np.ndarray, planted: np.ndarray, measured: np.ndarray, damping: float) -> np.ndarray:
    """Next gain of each class with a planted shift: larger where it shows too little."""
    ratio = np.where(planted > 0, planted / np.maximum(measured, 0.05), 1.0)
    return gain * np.clip(ratio, 0.5, 1.8) ** damping


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--restart", action="store_true", help="begin with gains of 1 instead of the table's")
    arguments = parser.parse_args()
    ones = np.ones(len(plants.PLANTS))
    start = Coefficients(logit(plants.PREVALENCE), ones, ones) if arguments.restart else calibrated.load_coefficients()
    index = FIRST_PATIENT + np.arange(arguments.patients)
    coefficients = fit_intercepts(start, arguments.seed, index)
    for number in range(arguments.rounds):
        ehr, cxr = measure(coefficients, arguments.seed, index)
        pairs = ((ehr, plants.TARGET_EHR), (cxr, plants.TARGET_CXR))
        error = [np.abs(found - planted)[planted > 0].max() for found, planted in pairs]
        print(f"round {number + 1}: largest error of d {error[0]:.3f} (EHR), {error[1]:.3f} (CXR)", flush=True)
        damping = 1.0 if number < arguments.rounds // 2 else 0.6
        coefficients = coefficients.with_(
            ehr_gain=step(coefficients.ehr_gain, plants.TARGET_EHR, ehr, damping),
            cxr_gain=step(coefficients.cxr_gain, plants.TARGET_CXR, cxr, damping),
        )
    ehr, cxr = measure(coefficients, arguments.seed, index + arguments.patients)
    calibrated.write_coefficients(OUT, coefficients, {"measured_d_ehr": ehr, "measured_d_cxr": cxr})
    for row, plant in enumerate(plants.PLANTS):
        print(
            f"{row:2d} {plant.label[:40]:40s} gain {coefficients.ehr_gain[row]:6.3f} {coefficients.cxr_gain[row]:6.3f}"
            f"  EHR {ehr[row]:5.2f} ({plant.ehr:.1f})  CXR {cxr[row]:5.2f} ({plant.cxr:.1f})"
        )


if __name__ == "__main__":
    main()
