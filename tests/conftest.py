"""Fixtures for all tests: a miniature of the raw layouts, and the store prepared from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from mini_raw import write_mini_raw


@pytest.fixture(scope="session")
def mini_raw(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(MIMIC-IV folder, MIMIC-CXR-JPG folder) of forty patients, half of them with radiographs. Do not change them."""
    return write_mini_raw(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="session")
def mini_store(mini_raw: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store prepared from `mini_raw` with default options, images of everybody included. Do not change it."""
    from cardiozoo.data.prepare.mimic_cxr_ehr import prepare

    iv, cxr = mini_raw
    out = tmp_path_factory.mktemp("store") / "mini"
    return prepare(iv, out, cxr, cxr_images="all", workers=1, memory_gb=1.0, quiet=True)


@pytest.fixture(scope="session")
def finished_run(mini_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small EHR LSTM, trained and judged on `mini_store` by the command line. Do not change it."""
    from cardiozoo.cli import main

    run = tmp_path_factory.mktemp("runs") / "ehr_lstm"
    small = "--model.hidden_size 8 --model.num_layers 1 --data.image_size 32 --data.batch_size 8 --data.num_workers 0"
    command = f"fit --model ehr_lstm --data mimic_cxr_ehr --data.store {mini_store} --run_dir {run} {small}"
    assert main([*command.split(), "--trainer.max_epochs", "1"]) == 0
    return run
