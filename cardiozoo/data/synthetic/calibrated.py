"""The fitted coefficients: read from ``calibrated.csv``, which scripts/calibrate_synthetic.py writes."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from cardiozoo.data.synthetic.plants import PLANTS


@dataclass(frozen=True)
class Coefficients:
    """One number a phenotype (25,): log-odds at severity 0 and age 64, gain of its effects on signals and on films."""

    intercept: np.ndarray
    ehr_gain: np.ndarray
    cxr_gain: np.ndarray

    def with_(self, **changes: np.ndarray) -> Coefficients:
        return replace(self, **changes)


@cache
def _columns() -> dict[str, np.ndarray]:
    table = resources.files("cardiozoo.data.synthetic").joinpath("calibrated.csv")
    with table.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0] if name not in ("index", "label")}


def load_coefficients() -> Coefficients:
    """The coefficients that ship with the package."""
    return Coefficients(*(_columns()[name] for name in ("intercept", "ehr_gain", "cxr_gain")))


def load_measured() -> dict[str, np.ndarray]:
    """Class shifts (25,) that the calibration measured with these coefficients: measured_d_ehr, measured_d_cxr."""
    return {name: values for name, values in _columns().items() if name.startswith("measured_")}


def write_coefficients(path: Path, coefficients: Coefficients, measured: dict[str, np.ndarray]) -> None:
    """Write the table with the class shifts that were measured with it beside the planted ones."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(
            ["index", "label", "intercept", "ehr_gain", "cxr_gain", "planted_d_ehr", "planted_d_cxr", *measured]
        )
        for index, plant in enumerate(PLANTS):
            numbers = (coefficients.intercept[index], coefficients.ehr_gain[index], coefficients.cxr_gain[index])
            writer.writerow(
                [index, plant.label, *(f"{number:.4f}" for number in numbers), plant.ehr, plant.cxr]
                + [f"{column[index]:.3f}" for column in measured.values()]
            )
