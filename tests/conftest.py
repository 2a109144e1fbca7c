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
