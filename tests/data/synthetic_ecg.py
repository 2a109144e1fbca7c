"""The synthetic electrocardiograms that several test files look at; each cohort is written once a session."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from cardiozoo.data.synthetic import ecg_cohort, mimic_iv_ecg
from cardiozoo.data.synthetic.ecg_catheter import referred
from cardiozoo.data.synthetic.ecg_heart import CATHETER_CLINIC, Hearts, Plant, draw_hearts
from cardiozoo.data.synthetic.ecg_person import People, draw_people
from cardiozoo.data.synthetic.ecg_recordings import Recordings, record


@cache
def folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="cardiozoo-synthetic-ecg-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def hospital() -> Path:
    """Two hundred patients in the layout of MIMIC-IV-ECG, with four times the usual number of faults."""
    return mimic_iv_ecg.synthesize(folder() / "mimic", patients=200, seed=5, faults=4.0)


@cache
def clinic() -> Path:
    """Two hundred patients of a catheter clinic."""
    return ecg_cohort.synthesize(folder() / "clinic", patients=200, seed=5)


@cache
def people(count: int, plant: Plant = "full", seed: int = 2) -> tuple[Hearts, People]:
    """People of a catheter clinic, nothing drawn of them."""
    index = np.arange(count)
    male, age = referred(seed, index)
    hearts = draw_hearts(seed, index, male, age, np.zeros(count), CATHETER_CLINIC, plant)
    return hearts, draw_people(seed, hearts, CATHETER_CLINIC)


@cache
def recorded() -> tuple[Hearts, People, Recordings]:
    """One recording of each of 400 people, without faults."""
    hearts, persons = people(400)
    return hearts, persons, record(2, hearts, persons, np.ones(400, dtype=int), fault_scale=0.0)


def truth(root: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(root / "truth" / f"{name}.parquet")
