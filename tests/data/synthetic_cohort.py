"""The synthetic cohorts that several test files look at; each is written once a session."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import polars as pl

from cardiozoo.data.synthetic.mimic_cxr_ehr import synthesize


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="cardiozoo-synthetic-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def small() -> Path:
    """Sixty patients with radiographs and much dirt."""
    return synthesize(_folder() / "small", patients=60, seed=3, image_size=128, dirt=0.02)


@cache
def clean() -> Path:
    """A thousand patients without radiographs or dirt."""
    return synthesize(_folder() / "clean", patients=1000, seed=11, images=False, dirt=0.0)


def read(root: Path, name: str) -> pl.DataFrame:
    """A raw table, every field as text."""
    return pl.read_csv(root / f"{name}.csv.gz", infer_schema=False)


def truth(root: Path, name: str = "stays") -> pl.DataFrame:
    return pl.read_parquet(root / "truth" / f"{name}.parquet")
