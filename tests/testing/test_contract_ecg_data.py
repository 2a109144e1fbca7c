"""The ECG data modules keep the contract of data modules, in every kind of task; the suite finds what breaks it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from ecg_store import cohort_store, mimic_store, ptb_store

from cardiozoo.data.ecg_cohort import EcgCohort
from cardiozoo.data.ecg_dataset import EcgDataset
from cardiozoo.testing import check_datamodule

CASES: dict[str, tuple[str, Callable[[Path], Path], dict[str, Any]]] = {
    "reconstruction": ("mimic_iv_ecg", mimic_store, {}),
    "reconstruction of windows": ("mimic_iv_ecg", mimic_store, {"window": 0.5, "leads": "limb"}),
    "regression": ("mimic_iv_ecg", mimic_store, {"task": "qrs_axis", "rate": 250.0}),
    "binary in folds": ("ecg_cohort", cohort_store, {"folds": 3, "fold": 1, "val_fraction": 0.2}),
    "no validation": ("ecg_cohort", cohort_store, {"task": "capillary", "folds": 3, "leads": ["V1", "II"]}),
    "multiclass": ("ecg_cohort", cohort_store, {"task": "column", "target": "cause"}),
    "multilabel": ("ptb_xl", ptb_store, {}),
    "multilabel in windows": ("ptb_xl", ptb_store, {"task": "all", "window": 1.0, "eval_window": "center"}),
}


@pytest.mark.parametrize("case", CASES)
def test_contract(case: str, tmp_path: Path) -> None:
    name, make, options = CASES[case]
    check_datamodule(name, store=str(make(tmp_path / "store")), **options)


class Unmasked(EcgCohort):
    """Says that every lead is there."""

    def _dataset(self, split: str, training: bool) -> EcgDataset:
        made = super()._dataset(split, training)
        read = made.__getitems__

        class Wrong(EcgDataset):
            def __getitems__(self, pairs: list[tuple[int, int]]) -> Any:
                batch = read(pairs)
                batch["ecg_leads"] = ~batch["ecg_leads"]
                return batch

        made.__class__ = Wrong
        return made


class Forgetful(EcgCohort):
    """Goes on reading signals after features were attached."""

    def attach_features(self, features: Any) -> None: ...


@pytest.mark.parametrize(
    ("wrong", "words"),
    [(Unmasked, "ecg is not 0 in absent leads|present.'ecg'. is not"), (Forgetful, "still holds the ECG")],
)
def test_the_suite_finds_what_is_wrong(wrong: type, words: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=words):
        check_datamodule(wrong, store=str(cohort_store(tmp_path / "store")), num_workers=0, batch_size=8, leads="limb")
