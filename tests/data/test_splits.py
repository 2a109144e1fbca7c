from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cardiozoo.data.splits import (
    assign_folds,
    assign_splits,
    check_listed,
    check_one_split_per_patient,
    read_split_file,
    splits_from_list,
    unit_hash,
)
from cardiozoo.errors import OptionError, RawDataError, StoreError

PATIENTS = np.arange(10_000_000, 10_020_000)


def test_shares_are_72_8_20() -> None:
    split = assign_splits(PATIENTS)
    for name, share in (("train", 0.72), ("val", 0.08), ("test", 0.20)):
        deviation = np.sqrt(share * (1 - share) / len(PATIENTS))
        assert abs((split == name).mean() - share) < 4 * deviation


def test_a_patient_stays_whatever_the_others_and_the_order() -> None:
    split = dict(zip(PATIENTS.tolist(), assign_splits(PATIENTS).tolist(), strict=True))
    some = np.random.default_rng(0).permutation(PATIENTS)[:500].repeat(2)
    assert assign_splits(some).tolist() == [split[subject] for subject in some.tolist()]


def test_known_values_are_kept_for_ever() -> None:
    # a change of these would move patients between the splits of existing stores
    import hashlib

    expected = int.from_bytes(hashlib.blake2b(b"split/0/10000032", digest_size=8).digest(), "big") / 2**64
    assert unit_hash(np.array([10000032]), 0, "split")[0] == pytest.approx(expected, abs=1e-15)
    assert assign_splits(np.arange(10_000_032, 10_000_040)).tolist() == [
        "train" if draw >= 0.28 else "val" if draw >= 0.2 else "test"
        for draw in (
            int.from_bytes(hashlib.blake2b(f"split/0/{n}".encode(), digest_size=8).digest(), "big") / 2**64
            for n in range(10_000_032, 10_000_040)
        )
    ]


def test_seed_and_purpose_give_independent_draws() -> None:
    draws = [unit_hash(PATIENTS, 0, "split"), unit_hash(PATIENTS, 1, "split"), unit_hash(PATIENTS, 0, "fold")]
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 0.03


def test_every_patient_is_tested_once_in_k_folds() -> None:
    folds = np.stack([assign_folds(PATIENTS, 5, fold) for fold in range(5)])
    assert ((folds == "test").sum(axis=0) == 1).all()
    assert np.abs((folds == "test").mean(axis=1) - 0.2).max() < 0.02
    assert np.abs((folds == "val").mean(axis=1) - 0.08).max() < 0.01


@pytest.mark.parametrize(("test", "val"), [(-0.1, 0.1), (1.0, 0.0), (0.6, 0.5)])
def test_impossible_shares_are_refused(test: float, val: float) -> None:
    with pytest.raises(OptionError):
        assign_splits(PATIENTS, 0, test, val)


@pytest.mark.parametrize(("folds", "fold"), [(1, 0), (5, 5), (5, -1)])
def test_impossible_folds_are_refused(folds: int, fold: int) -> None:
    with pytest.raises(OptionError):
        assign_folds(PATIENTS, folds, fold)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_an_external_list(tmp_path: Path, ending: str) -> None:
    table = pl.DataFrame({"subject_id": [1, 2, 2, 3], "split": ["train", "Validate", "val", "test"]})
    path = tmp_path / f"list{ending}"
    table.write_parquet(path) if ending == ".parquet" else table.write_csv(path)
    assert splits_from_list(np.array([3, 9, 2, 1]), read_split_file(path)).tolist() == ["test", "train", "val", "train"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("subject_id,set\n1,train\n", "lacks split"),
        ("subject_id,split\n1,dev\n", "splits dev"),
        ("subject_id,split\nx,train\n", "no number"),
        ("subject_id,split\n1,train\n1,test\n", "patient of row 2 in two"),
    ],
)
def test_bad_lists_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(RawDataError, match=words):
        read_split_file(tmp_path / "list.csv")
    with pytest.raises(RawDataError, match="cannot be read"):
        read_split_file(tmp_path / "none.csv")


def test_a_list_says_how_far_it_reaches() -> None:
    said = check_listed(np.array([1, 1, 2, 3]), {1: "test", 2: "val", 9: "test"})
    assert said == "The split file lists 3 patients: 2 of the release's 3. The 1 that it does not list are train."
    with pytest.raises(RawDataError, match="none is among the 2"):
        check_listed(np.array([4, 5]), {1: "test"})


def test_a_patient_in_two_splits_is_found_across_tables() -> None:
    stays = ("stays", np.array([1, 1, 2]), np.array(["train", "train", "test"]))
    check_one_split_per_patient([stays, ("images", np.array([2, 3]), np.array(["test", "val"]))])
    with pytest.raises(StoreError, match="1 patients"):
        check_one_split_per_patient([stays, ("images", np.array([2]), np.array(["train"]))])
    with pytest.raises(StoreError, match="valid"):
        check_one_split_per_patient([("stays", np.array([1]), np.array(["valid"]))])
