"""Which patient is in which split: a seeded hash of the patient's number, so that one patient is in one split only.

The hash of one patient does not depend on the others. A patient stays where they are when the release of the data
changes, when other options choose other stays, and for both modalities and all tasks.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl

from cardiozoo.data.progress import busy
from cardiozoo.errors import OptionError, RawDataError, StoreError

SPLITS = ("train", "val", "test")
_FILE_NAMES = {"train": "train", "val": "val", "validate": "val", "validation": "val", "valid": "val", "test": "test"}


def unit_hash(numbers: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """A pseudo-random number in [0, 1) for each integer or name, from BLAKE2b of (purpose, seed, number).

    Args:
        numbers: (N,) integers, for instance subject_id, or strings.
        seed: Another seed gives an independent draw.
        purpose: Another purpose gives an independent draw.

    Returns:
        float64 (N,).
    """
    numbers = np.asarray(numbers)
    names = numbers.astype(str) if numbers.dtype.kind in "UO" else numbers.astype(np.int64)
    unique, inverse = np.unique(names, return_inverse=True)
    digests = b"".join(
        hashlib.blake2b(f"{purpose}/{seed}/{number}".encode(), digest_size=8).digest() for number in unique.tolist()
    )
    # 53 bits fit a float64 exactly
    values = (np.frombuffer(digests, dtype=">u8") >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return values[inverse.reshape(-1)]


def assign_splits(
    subject_ids: np.ndarray, seed: int = 0, test_fraction: float = 0.2, val_fraction: float = 0.08
) -> np.ndarray:
    """The split of each patient: 20 % test, 8 % validation (10 % of the rest, as published), the others train.

    Args:
        subject_ids: (N,) patient numbers; repeated numbers get the same split.
        seed: Seed of the hash.
        test_fraction: Expected share of the patients in the test split.
        val_fraction: Expected share of the patients in the validation split.

    Returns:
        (N,) strings ``train``, ``val``, ``test``.

    Raises:
        OptionError: A fraction is outside [0, 1), or nothing is left to train on.
    """
    check_fractions(test_fraction, val_fraction)
    draw = unit_hash(subject_ids, seed, "split")
    return np.where(draw < test_fraction, "test", np.where(draw < test_fraction + val_fraction, "val", "train"))


def check_fractions(test_fraction: float, val_fraction: float) -> None:
    """Raise `OptionError` unless both fractions and what they leave for training make sense."""
    for name, value in (("test_fraction", test_fraction), ("val_fraction", val_fraction)):
        if not 0.0 <= value < 1.0:
            raise OptionError(
                f"{name} is {value}.", "A share of the patients in [0, 1).", "The default is 0.2 and 0.08."
            )
    if test_fraction + val_fraction >= 1.0:
        raise OptionError(
            f"test_fraction + val_fraction is {test_fraction + val_fraction:g}.",
            "Less than 1, so that patients are left to train on.",
            "Make one of them smaller.",
        )


def read_split_file(path: str | Path) -> dict[int, str]:
    """Read an external list of patients: CSV (also .gz) or Parquet with the columns subject_id and split.

    ``validate`` and ``validation`` are read as ``val``. Patients that are not listed go to train, as in the
    published lists.

    Raises:
        RawDataError: Columns are missing, a split has another name, or one patient is listed in two splits.
    """
    path = Path(path)
    accepted = "A CSV or Parquet file with the columns subject_id and split (train, val or test), one row a patient."
    try:
        table = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RawDataError(f"The split file {path} cannot be read: {error}", accepted, "Check --split_file.") from error
    missing = {"subject_id", "split"} - set(table.columns)
    if missing:
        raise RawDataError(
            f"The split file {path} lacks {', '.join(sorted(missing))}.", accepted, "Rename its columns."
        )
    subjects = table["subject_id"].cast(pl.Int64, strict=False)
    if subjects.null_count():
        raise RawDataError(
            f"{subjects.null_count()} rows of {path} hold no number as subject_id.", accepted, "Correct them."
        )
    names = [str(name).strip().lower() for name in table["split"].to_list()]
    unknown = sorted(set(names) - set(_FILE_NAMES))
    if unknown:
        raise RawDataError(
            f"The split file {path} names the splits {', '.join(unknown[:5])}.", accepted, "Rename them."
        )
    chosen: dict[int, str] = {}
    for row, (subject, name) in enumerate(zip(subjects.to_list(), names, strict=True)):
        if chosen.setdefault(subject, _FILE_NAMES[name]) != _FILE_NAMES[name]:
            raise RawDataError(f"{path} lists the patient of row {row + 1} in two splits.", accepted, "Correct it.")
    return chosen


def check_listed(subject_ids: np.ndarray, listed: dict[int, str]) -> str:
    """How far a list of patients and a release cover each other, in a sentence.

    Raises:
        RawDataError: None of the patients is listed.
    """
    patients = np.unique(subject_ids)
    known = np.isin(patients, np.fromiter(listed, dtype=np.int64, count=len(listed)))
    if not known.any():
        raise RawDataError(
            f"Of the {len(listed):,} patients of the split file none is among the {len(patients):,} of the release.",
            "subject_id as the release has them.",
            "Check --split_file, or leave it out to split patients by a hash.",
        )
    return (
        f"The split file lists {len(listed):,} patients: {int(known.sum()):,} of the release's {len(patients):,}. "
        f"The {int((~known).sum()):,} that it does not list are train."
    )


def splits_from_list(subject_ids: np.ndarray, listed: dict[int, str]) -> np.ndarray:
    """The split of each patient by an external list; patients in no list are train."""
    return np.array([listed.get(int(subject), "train") for subject in subject_ids], dtype="<U5")


def assign_folds(subject_ids: np.ndarray, folds: int, fold: int, seed: int = 0) -> np.ndarray:
    """The split of each patient in one turn of a k-fold cross-validation over patients.

    Fold `fold` is the test split, so every patient is tested exactly once in `folds` turns; one in ten of the
    others, by an independent hash, is the validation split.

    Raises:
        OptionError: Fewer than two folds, or `fold` is not one of 0 ... folds - 1.
    """
    check_folds(folds, fold)
    mine = np.floor(unit_hash(subject_ids, seed, "fold") * folds).astype(np.int64) == fold
    validation = unit_hash(subject_ids, seed, "fold-validation") < 0.1
    return np.where(mine, "test", np.where(validation, "val", "train"))


def patient_folds(strata: np.ndarray, patient: np.ndarray, folds: int, seed: int = 42) -> np.ndarray:
    """The fold of each sample: shuffled folds over patients with like shares of each stratum.

    Args:
        strata: int (N,), for instance the class of each sample.
        patient: int (N,); the samples of one patient share a fold.
        folds: Number of folds.
        seed: Seed of the shuffle.

    Returns:
        int64 (N,), 0 ... folds - 1.

    Raises:
        OptionError: There are fewer patients than folds, or no stratum has as many samples as there are folds.
    """
    patients = len(np.unique(patient))
    largest = int(np.unique(strata, return_counts=True)[1].max()) if len(strata) else 0
    if patients < folds or largest < folds:
        raise OptionError(
            f"folds is {folds} and there are {patients} patients, at most {largest} samples of a class.",
            "At least as many of both as folds.",
            "Use fewer folds, or a larger store.",
        )
    key = (hashlib.blake2b(np.ascontiguousarray(strata).tobytes()).digest(),
           hashlib.blake2b(np.ascontiguousarray(patient).tobytes()).digest(), folds, seed)  # fmt: skip
    if key not in _DRAWN:
        _DRAWN.clear()  # the folds of one cohort are asked for one after another
        _DRAWN[key] = _draw_folds(strata, patient, folds, seed)
    return _DRAWN[key].copy()


_DRAWN: dict[tuple, np.ndarray] = {}
"""The folds drawn last: a minute for 800,000 records, and each fold of a cross-validation asks for the same ones."""


def _draw_folds(strata: np.ndarray, patient: np.ndarray, folds: int, seed: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold

    fold = np.empty(len(strata), dtype=np.int64)
    title = f"{folds} folds over {len(np.unique(patient)):,} patients"
    with busy(title), warnings.catch_warnings():
        # a class smaller than the number of folds: who calls decides whether that is an error
        warnings.filterwarnings("ignore", message="The least populated class in y", category=UserWarning)
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        for number, (_, held_out) in enumerate(splitter.split(np.zeros(len(strata)), strata, patient)):
            fold[held_out] = number
    return fold


def patient_strata(strata: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """One stratum a patient, the highest of their samples' (a patient with one positive record is positive).

    Args:
        strata: int (N,).
        patient: int (N,), 0 ... P - 1.

    Returns:
        int64 (P,).
    """
    highest = np.full(int(patient.max()) + 1 if len(patient) else 0, np.iinfo(np.int64).min)
    np.maximum.at(highest, patient, strata)
    return highest


def nested_order(names: np.ndarray, strata: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """An order of patients whose every beginning has, as near as can be, the shares of the strata of all.

    A longer beginning holds every shorter one, so a curve over the number of training patients adds patients and swaps
    none.

    Args:
        names: (P,) names or numbers of patients.
        strata: int (P,).
        seed: Seed of the hash.
        purpose: As in `unit_hash`.

    Returns:
        int64 (P,): positions in `names`.
    """
    draw = unit_hash(names, seed, purpose)
    place = np.empty(len(draw))
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        # the patients of a stratum lie evenly over [0, 1), in the order of their hash
        place[rows[np.argsort(draw[rows], kind="stable")]] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.lexsort((draw, place))


def stratified_share(names: np.ndarray, strata: np.ndarray, share: float, seed: int, purpose: str) -> np.ndarray:
    """Which patients form a part of size `share` (rounded, at least one patient) with the strata of all: bool (P,)."""
    chosen = np.zeros(len(names), dtype=bool)
    order = nested_order(names, strata, seed, purpose)
    chosen[order[: max(1, round(share * len(names)))]] = True
    return chosen


def check_folds(folds: int, fold: int) -> None:
    """Raise `OptionError` unless `fold` is one of at least two folds."""
    if folds < 2:
        raise OptionError(f"folds is {folds}.", "At least 2.", "Leave folds out to use the split of the store.")
    if not 0 <= fold < folds:
        raise OptionError(f"fold is {fold} of {folds} folds.", f"0 ... {folds - 1}.", "Choose one of them.")


def check_one_split_per_patient(tables: Iterable[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """Assert that no patient is in two splits, within and across tables.

    Args:
        tables: (name, subject_ids (N,), splits (N,)) of each table.

    Raises:
        StoreError: A patient is in two splits, or a split has another name than train, val, test.
    """
    keys = []
    for name, subject_ids, names in tables:
        unknown = set(np.unique(names).tolist()) - set(SPLITS)
        if unknown:
            raise StoreError(
                f"{name} names the splits {sorted(unknown)}.", f"{', '.join(SPLITS)}.", "Prepare the store again."
            )
        codes = np.searchsorted(np.sort(SPLITS), np.asarray(names, dtype="<U5"))
        keys.append(np.unique(np.asarray(subject_ids, dtype=np.int64) * len(SPLITS) + codes))
    if not keys:
        return
    _, count = np.unique(np.unique(np.concatenate(keys)) // len(SPLITS), return_counts=True)
    if (count > 1).any():
        raise StoreError(
            f"{int((count > 1).sum())} patients are in more than one split.",
            "One patient, one split, for both modalities and all tasks.",
            "Prepare the store again; if you gave a split file, check it.",
        )
