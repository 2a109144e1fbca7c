"""Runs made by hand, so that no test has to train: planted weights, and an autoencoder, on a small store."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from made_runs import RATE, SAMPLES, write_run

sys.path.insert(0, str(Path(__file__).parent.parent / "data"))


@pytest.fixture(scope="session")
def ecg_store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store of a cohort of 40 records with a pressure as target, spikes as beats, and every fault of a record."""
    import numpy as np
    import polars as pl
    from ecg_store import table, write_store

    records = table(40, SAMPLES, RATE)
    pressure = np.where(np.arange(40) % 2 == 0, 30.0, 12.0)
    records = records.with_columns(pl.Series("target/mPAP", pressure))
    return write_store(tmp_path_factory.mktemp("ecg") / "store", "ecg_cohort", records, RATE, SAMPLES)


@pytest.fixture(scope="session")
def store_without_test(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for pre-training: no record is set aside for a test."""
    import polars as pl
    from ecg_store import table, write_store

    records = table(40, SAMPLES, RATE).with_columns(pl.col("split").replace({"test": "val"}))
    records = records.with_columns(pl.lit(20.0).alias("target/mPAP"))
    return write_store(tmp_path_factory.mktemp("pretraining") / "store", "ecg_cohort", records, RATE, SAMPLES)


@pytest.fixture(scope="session")
def planted_run(ecg_store_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a linear model that looks at lead II and, a third as much, at V1."""
    from planted_model import PlantedModel

    model = PlantedModel(class_names=["pulmonary hypertension"])
    return write_run(tmp_path_factory.mktemp("planted"), model, ecg_store_folder)


@pytest.fixture(scope="session")
def vae_run(ecg_store_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an untrained autoencoder."""
    import torch

    from cardiozoo.models.ls_emvae import LsEmvae

    torch.manual_seed(0)
    model = LsEmvae(ecg_samples=SAMPLES, latent_size=8, channels=(4, 4, 4))
    return write_run(tmp_path_factory.mktemp("vae"), model, ecg_store_folder, task="reconstruction")
