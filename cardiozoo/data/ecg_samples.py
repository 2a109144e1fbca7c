"""Which records of an ECG store are the samples of a task, with which target, and in which split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from cardiozoo.data.splits import (
    SPLITS,
    nested_order,
    patient_folds,
    patient_strata,
    stratified_share,
    unit_hash,
)
from cardiozoo.data.tasks import Task
from cardiozoo.errors import OptionError, StoreError

# strata of a numeric target: tenths of its distribution, fewer where a fold would not hold one of each
_TENTHS = 10
_BINARY_CLASSES = ("absent", "present")


@dataclass(frozen=True)
class Labelled:
    """The records that a task can use.

    Attributes:
        task: The task.
        row: Rows of records.parquet, int64 (N,), ascending.
        target: float32 (N, C), int64 (N,) for classes, or None without a target.
        excluded: Reason -> records of the store that the task leaves out.
        facts: What else an account of the run should say (columns used, conditions).
    """

    task: Task
    row: np.ndarray
    target: np.ndarray | None
    excluded: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def take(self, keep: np.ndarray, reason: str) -> Labelled:
        """Only the samples where `keep` (bool (N,)) holds; the others are counted under `reason`."""
        lost = int((~keep).sum())
        target = None if self.target is None else self.target[keep]
        excluded = {**self.excluded, reason: lost} if lost else self.excluded
        return replace(self, row=self.row[keep], target=target, excluded=excluded)

    def strata(self, parts: int) -> np.ndarray:
        """A number a sample such that parts of equal make-up have equal shares of each number: int64 (N,).

        Classes count as they are; several labels by the rarest that a sample has; numbers by their tenths (fewer where
        there are not ten values for each of `parts`).
        """
        if self.target is None:
            return np.zeros(len(self.row), dtype=np.int64)
        if self.task.kind in ("multiclass", "binary"):
            return np.nan_to_num(self.target.reshape(len(self.row)), nan=-1).astype(np.int64)
        if self.task.kind == "multilabel":
            return rarest_label(self.target)
        values = self.target[:, 0].astype(np.float64)
        bins = max(1, min(_TENTHS, len(np.unique(values)) // max(parts, 1)))
        edges = np.quantile(values, np.arange(1, bins) / bins) if bins > 1 else []
        return np.searchsorted(edges, values, side="right").astype(np.int64)


def rarest_label(target: np.ndarray) -> np.ndarray:
    """Of the labels that each sample has, the one that the fewest samples have; -1 without any: int64 (N,)."""
    positive = np.nan_to_num(target) > 0
    counts = np.where(positive, positive.sum(axis=0)[None, :], len(target) + 1)
    return np.where(positive.any(axis=1), counts.argmin(axis=1), -1).astype(np.int64)


@dataclass(frozen=True)
class EcgSamples:
    """The samples of a task in a run, one entry each.

    Attributes:
        row: Row of records.parquet and of the signals, int64 (N,).
        split: Index into `cardiozoo.data.splits.SPLITS`, int8 (N,).
        target: As in `Labelled`.
        excluded: Reason -> records of the store that give no sample.
    """

    row: np.ndarray
    split: np.ndarray
    target: np.ndarray | None
    excluded: dict[str, int]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: np.ndarray) -> EcgSamples:
        """The samples of `index`, in its order."""
        target = None if self.target is None else self.target[index]
        return replace(self, row=self.row[index], split=self.split[index], target=target)

    def rows_of(self, split: str) -> np.ndarray:
        """Row numbers of the samples of one split."""
        return np.flatnonzero(self.split == SPLITS.index(split))


@dataclass(frozen=True)
class Partition:
    """Which patients are trained on, and which are tested.

    Attributes:
        folds: Number of folds, None for the split of the store.
        fold: Which fold is the test split.
        fold_seed: Seed of folds, of what is set aside for validation, and of the order of training patients.
        val_fraction: Share of a fold's training patients set aside for validation.
        train_patients: Number of training patients used, None for all.
    """

    folds: int | None
    fold: int
    fold_seed: int
    val_fraction: float
    train_patients: int | None


def partition(
    labelled: Labelled, records: pl.DataFrame, how: Partition, own_folds: Sequence[int] | None = None
) -> EcgSamples:
    """Give every usable record its split.

    Args:
        labelled: The usable records.
        records: records.parquet.
        how: The split of the store, or a fold of a cross-validation.
        own_folds: Numbers in the column ``fold``, where the folds are those and not drawn.

    Raises:
        OptionError: A fold lacks a class, or there are fewer patients than asked for.
        StoreError: A patient is in two splits of the store.
    """
    chosen = records[labelled.row.tolist()] if len(labelled.row) < records.height else records
    if how.folds is None:
        check_one_split(chosen)
        split = chosen["split"].to_numpy()
    else:
        split = _split_by_folds(labelled, chosen, _patients(chosen), how, own_folds)
    codes = np.select([split == name for name in SPLITS], range(len(SPLITS)), -1).astype(np.int8)
    excluded = dict(labelled.excluded)
    keep = np.ones(len(codes), dtype=bool)
    if how.train_patients is not None:
        keep = _first_patients(labelled, _patients(chosen), codes == 0, how)
        excluded["training patient beyond train_patients"] = int((~keep).sum())
    samples = EcgSamples(labelled.row, codes, labelled.target, {k: n for k, n in excluded.items() if n})
    return samples.take(np.flatnonzero(keep))


def _patients(records: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The names of the patients (P,), in order, and which of them each record belongs to, int64 (N,)."""
    column = records["patient"].cast(pl.String)
    names = column.unique().sort().to_numpy().astype(str)
    return names, column.rank("dense").to_numpy().astype(np.int64) - 1


def check_one_split(records: pl.DataFrame) -> None:
    """Raise `StoreError` unless every patient of records.parquet is in one split, with a known name."""
    unknown = sorted(set(records["split"].unique().to_list()) - set(SPLITS), key=str)
    if unknown:
        raise StoreError(
            f"records.parquet names the splits {unknown}.", f"{', '.join(SPLITS)}.", "Prepare the store again."
        )
    several = records.group_by("patient").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1)["patient"]
    if len(several):
        raise StoreError(
            f"{len(several)} patients are in more than one split.",
            "One patient, one split.",
            "Prepare the store again.",
        )


def _split_by_folds(
    labelled: Labelled,
    chosen: pl.DataFrame,
    patients: tuple[np.ndarray, np.ndarray],
    how: Partition,
    own_folds: Sequence[int] | None,
) -> np.ndarray:
    """Split names (N,) of one turn of a cross-validation."""
    assert how.folds is not None
    names, patient = patients
    strata = labelled.strata(how.folds)
    if own_folds is not None:
        mine = chosen["fold"].to_numpy() == own_folds[how.fold]
    elif labelled.target is None:
        mine = np.floor(unit_hash(names, how.fold_seed, "fold") * how.folds).astype(np.int64)[patient] == how.fold
    else:
        mine = patient_folds(strata, patient, how.folds, how.fold_seed) == how.fold
    split = np.where(mine, "test", "train").astype("<U5")
    if labelled.target is not None:
        _check_classes(labelled, ~mine, f"the training part of fold {how.fold} of {how.folds}")
        _check_classes(labelled, mine, f"the test part of fold {how.fold} of {how.folds}")
    if how.val_fraction:
        rest = np.unique(patient[~mine])
        aside = stratified_share(
            names[rest], patient_strata(strata, patient)[rest], how.val_fraction, how.fold_seed, "fold-validation"
        )
        split[~mine & np.isin(patient, rest[aside])] = "val"
        if labelled.target is not None:
            _check_classes(labelled, split == "train", f"the training part of fold {how.fold} of {how.folds}")
    return split


def _first_patients(
    labelled: Labelled, patients: tuple[np.ndarray, np.ndarray], training: np.ndarray, how: Partition
) -> np.ndarray:
    """bool (N,): False for samples of training patients that `train_patients` leaves out."""
    names, patient = patients
    trained = np.unique(patient[training])
    wanted = how.train_patients
    assert wanted is not None
    if wanted > len(trained):
        raise OptionError(
            f"train_patients is {wanted}.",
            f"1 to {len(trained)}, the training patients there are.",
            "Leave it out to train on all of them.",
        )
    strata = patient_strata(labelled.strata(1), patient)[trained]
    order = nested_order(names[trained], strata, how.fold_seed, "train-patients")
    keep = ~training | np.isin(patient, trained[order[:wanted]])
    _check_classes(labelled, keep & training, f"the first {wanted} training patients")
    return keep


def _check_classes(labelled: Labelled, part: np.ndarray, where: str) -> None:
    """Raise `OptionError` when `part` (bool (N,)) lacks a class that the task has."""
    task, target = labelled.task, labelled.target
    if target is None or task.kind not in ("binary", "multiclass"):
        return
    values = target.reshape(len(target))
    classes = _BINARY_CLASSES if task.kind == "binary" else task.classes
    counts = {name: int((values[part] == code).sum()) for code, name in enumerate(classes)}
    absent = [name for name, count in counts.items() if not count]
    if absent:
        what = f"with {task.classes[0]}" if task.kind == "binary" else "of class"
        there = f"{int(part.sum())} samples; {_words(values, classes)}"
        raise OptionError(
            f"No sample {what} {', '.join(absent)} is in {where} ({there}).",
            "Every class in every part, or it cannot be learnt or judged.",
            "Use fewer folds, more patients, or another target or threshold.",
        )


def _words(values: np.ndarray, classes: tuple[str, ...]) -> str:
    told = ", ".join(f"{int((values == code).sum())} {name}" for code, name in enumerate(classes))
    return f"{told} in all"
