"""Stratified folds and parts over patients, beside what they promise, on cohorts of the published make-up."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cardiozoo.data.ecg_samples import Labelled, Partition, partition, rarest_label
from cardiozoo.data.splits import (
    assign_splits,
    nested_order,
    patient_folds,
    patient_strata,
    stratified_share,
    unit_hash,
)
from cardiozoo.data.tasks import Task
from cardiozoo.errors import OptionError


def cohort(patients: int = 892, share: float = 0.775, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patient (N,), binary target (N,), names (P,): one in eight has a second record."""
    rng = np.random.default_rng(seed)
    patient = np.sort(np.concatenate([np.arange(patients), rng.choice(patients, patients // 8, replace=False)]))
    positive = rng.uniform(size=patients) < share
    return patient, positive[patient].astype(np.int64), np.array([f"P{i:05d}" for i in range(patients)])


def test_folds_are_those_of_sklearn_and_keep_patients_together() -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    patient, target, _ = cohort()
    fold = patient_folds(target, patient, 5, seed=42)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=42)
    for number, (_, held_out) in enumerate(splitter.split(target, target, patient)):
        assert np.array_equal(np.flatnonzero(fold == number), held_out)
    pairs = np.unique(np.stack([patient, fold]), axis=1)
    assert pairs.shape[1] == 892
    shares = [target[fold == number].mean() for number in range(5)]
    sizes = [np.sum(fold == number) for number in range(5)]
    assert max(shares) - min(shares) < 0.01 and max(sizes) - min(sizes) < 0.05 * len(fold)
    assert not np.array_equal(fold, patient_folds(target, patient, 5, seed=123))


def test_too_many_folds_are_refused() -> None:
    with pytest.raises(OptionError, match="4 patients"):
        patient_folds(np.zeros(8, int), np.arange(8) // 2, 5)


def test_a_number_is_stratified_by_tenths_and_labels_by_the_rarest() -> None:
    values = np.random.default_rng(0).gamma(2, 10, 500).astype(np.float32)
    task = Task("mPAP", "regression", ("mPAP",))
    strata = Labelled(task, np.arange(500), values[:, None]).strata(5)
    assert np.bincount(strata).tolist() == [50] * 10
    assert np.array_equal(np.argsort(values), np.lexsort((values, strata)))
    assert np.unique(Labelled(task, np.arange(12), values[:12, None]).strata(5)).tolist() == [0, 1]
    fold = patient_folds(strata, np.arange(500), 5)
    means = [values[fold == number].mean() for number in range(5)]
    assert max(means) - min(means) < 1.0
    target = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], dtype=np.float32)
    assert rarest_label(target).tolist() == [1, 0, -1, 2]


def test_every_beginning_of_the_nested_order_has_the_shares_of_all() -> None:
    _, _, names = cohort()
    strata = (np.random.default_rng(1).uniform(size=892) < 0.3).astype(np.int64)
    order = nested_order(names, strata, 42, "train-patients")
    assert sorted(order.tolist()) == list(range(892))
    running = strata[order].cumsum() / np.arange(1, 893)
    assert np.abs(running[19:] - strata.mean()).max() < 0.05 and np.abs(running[199:] - strata.mean()).max() < 0.005
    assert not np.array_equal(order, nested_order(names, strata, 43, "train-patients"))
    # a patient's place depends on the strata's sizes, not on the order in the table
    shuffle = np.random.default_rng(2).permutation(892)
    assert np.array_equal(
        names[order], names[shuffle][nested_order(names[shuffle], strata[shuffle], 42, "train-patients")]
    )
    part = stratified_share(names, strata, 0.1, 42, "x")
    assert part.sum() == 89 and abs(strata[part].mean() - strata.mean()) < 0.02
    assert stratified_share(names[:3], strata[:3], 0.01, 42, "x").sum() == 1


def test_a_patient_with_one_positive_record_is_positive() -> None:
    assert patient_strata(np.array([0, 1, 0, -1]), np.array([1, 1, 0, 2])).tolist() == [0, 1, -1]


def test_the_hash_of_a_name_is_that_of_its_digits() -> None:
    numbers = np.array([10000032, 7, 10000032])
    assert np.array_equal(unit_hash(numbers, 3, "split"), unit_hash(numbers.astype(str), 3, "split"))
    names = np.array([f"SYN{i}" for i in range(20_000)])
    draw = unit_hash(names, 0, "fold")
    assert np.abs(np.histogram(draw, 10, (0, 1))[0] - 2000).max() < 200 and len(np.unique(draw)) == 20_000
    assert set(np.unique(assign_splits(np.arange(100)))) == {"train", "val", "test"}


def test_unlabelled_records_fall_into_folds_by_patient() -> None:
    patient, _, names = cohort()
    records = pl.DataFrame({"patient": names[patient], "split": ["train"] * len(patient)})
    labelled = Labelled(Task("reconstruction", "unsupervised", ()), np.arange(len(patient)), None)
    seen = np.zeros(len(patient), dtype=int)
    for fold in range(5):
        samples = partition(labelled, records, Partition(5, fold, 42, 0.2, None))
        seen += samples.split == 2
        for split in range(3):
            assert not set(patient[samples.split == split]) & set(patient[samples.split != split])
        assert 0.15 < (samples.split == 1).sum() / (samples.split != 2).sum() < 0.25
    assert (seen == 1).all()
    few = partition(labelled, records, Partition(None, 0, 42, 0.0, 100))
    assert len(np.unique(patient[few.row])) == 100 and few.excluded == {
        "training patient beyond train_patients": len(patient) - len(few)
    }
