"""Calibration against loops over bins on rows written out, and against perfect and spoilt probabilities."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cardiozoo.evaluation.bootstrap import PatientDraws
from cardiozoo.evaluation.calibration import POOLED, bin_edges, calibration
from cardiozoo.evaluation.predictions import Predictions


def table(target: np.ndarray, score: np.ndarray, patient: np.ndarray | None = None) -> Predictions:
    ids = np.array([f"{i:06d}" for i in range(len(target))])
    classes = tuple("abcdefgh"[: target.shape[1]])
    patient = ids if patient is None else patient
    return Predictions(Path("-"), "test", ids, patient, True, classes, target, score, {}, {}, ())


def ece(target: np.ndarray, score: np.ndarray, edges: np.ndarray) -> float:
    """Sum over bins, each closed below, of its share of rows times |mean target - mean score|."""
    limits = [-np.inf, *edges, np.inf]
    total = 0.0
    for low, high in pairwise(limits):
        inside = (score >= low) & (score < high)
        if inside.any():
            total += inside.mean() * abs(target[inside].mean() - score[inside].mean())
    return total


def test_values_and_draws_equal_loops_on_rows_written_out() -> None:
    rng = np.random.default_rng(0)
    patient = rng.integers(0, 60, 150)
    score = rng.random((150, 2)).round(2)
    target = (rng.random((150, 2)) < score**1.5).astype(float)
    target[rng.random((150, 2)) < 0.1] = np.nan
    draws = PatientDraws(patient, 30, seed=1)
    found = calibration(table(target, score, patient), draws, bins=5)
    for c, name in enumerate("ab"):
        labelled = ~np.isnan(target[:, c])
        for binning in ("equal_width", "equal_mass"):
            edges = bin_edges(score[labelled, c], 5, binning)
            values = []
            for counts in draws:
                rows = np.repeat(np.arange(150), counts[draws.codes])
                rows = rows[labelled[rows]]
                values.append(ece(target[rows, c], score[rows, c], edges))
            interval = found.measures[name, f"ece_{binning}"]
            assert interval.value == pytest.approx(ece(target[labelled, c], score[labelled, c], edges))
            assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))
        brier = np.mean((target[labelled, c] - score[labelled, c]) ** 2)
        assert found.measures[name, "brier"].value == pytest.approx(brier)
    both = ~np.isnan(target)
    assert found.measures[POOLED, "brier"].value == pytest.approx(np.mean((target - score)[both] ** 2))
    mean = np.mean([found.measures[name, "brier"].value for name in "ab"])
    assert found.measures["macro", "brier"].value == pytest.approx(mean)


def test_the_curve_is_the_share_of_positives_in_each_bin() -> None:
    score = np.array([[0.05], [0.15], [0.15], [0.95], [1.0]])
    target = np.array([[0.0], [1.0], [0.0], [1.0], [1.0]])
    found = calibration(table(target, score), PatientDraws(np.arange(5), 20, 0), bins=10)
    points = [(p.bin, p.rows, p.mean_score, p.observed.value) for p in found.curves if p.binning == "equal_width"]
    assert points == [(0, 1, 0.05, 0.0), (1, 2, 0.15, 0.5), (9, 2, 0.975, 1.0)]
    assert all(p.curve == "a" for p in found.curves)  # one class: nothing to pool


def test_true_probabilities_are_calibrated_and_sharpened_ones_are_not() -> None:
    rng = np.random.default_rng(2)
    score = rng.uniform(0.02, 0.98, (4000, 1))
    target = (rng.random((4000, 1)) < score).astype(float)
    sharpened = score**3 / (score**3 + (1 - score) ** 3)
    draws = PatientDraws(np.arange(4000), 50, 0)
    true = calibration(table(target, score), draws).measures
    spoilt = calibration(table(target, sharpened), draws).measures
    for measure in ("ece_equal_width", "ece_equal_mass"):
        assert true["a", measure].value < 0.03 < 0.1 < spoilt["a", measure].low
    assert true["a", "brier"].value < spoilt["a", "brier"].value


def test_bins_of_equal_mass_keep_ties_together() -> None:
    edges = bin_edges(np.array([0.2] * 50 + [0.7] * 50), 10, "equal_mass")
    assert edges.tolist() == [0.7]
    spread = np.random.default_rng(0).random(1000)
    sizes = np.bincount(np.searchsorted(bin_edges(spread, 10, "equal_mass"), spread, side="right"))
    assert len(sizes) == 10 and sizes.min() >= 95 and sizes.max() <= 105
    with pytest.raises(ValueError, match="equal_mass"):
        bin_edges(spread, 10, "quantile")


def test_a_class_without_labels_is_undefined_and_leaves_the_macro() -> None:
    score = np.full((4, 2), 0.5)
    target = np.column_stack([np.full(4, np.nan), [0, 1, 0, 1.0]])
    found = calibration(table(target, score), PatientDraws(np.arange(4), 10, 0)).measures
    assert np.isnan(found["a", "brier"].value) and found["a", "brier"].undefined == 10
    assert found["macro", "brier"].value == found["b", "brier"].value == 0.25
