"""AUROC and average precision against counts by hand."""

import numpy as np
import pytest

from cardiozoo.evaluation.metrics import (
    auroc,
    average_precision,
    macro,
    mean_of_defined,
    per_class,
    undefined_reason,
)


def won_pairs(target: np.ndarray, score: np.ndarray) -> float:
    """Share of (positive, negative) pairs in the right order, ties half."""
    positive, negative = score[target == 1], score[target == 0]
    wins = (positive[:, None] > negative).sum() + 0.5 * (positive[:, None] == negative).sum()
    return wins / (len(positive) * len(negative))


def precision_steps(target: np.ndarray, score: np.ndarray) -> float:
    """Sum over thresholds, from the highest, of the recall gained times the precision there."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        called = score >= threshold
        recall = target[called].sum() / target.sum()
        total += (recall - before) * target[called].mean()
        before = recall
    return total


@pytest.mark.parametrize("digits", [1, 2, 16])
def test_equals_counting_with_ties(digits: int) -> None:
    rng = np.random.default_rng(digits)
    target = (rng.random(150) < 0.3).astype(float)
    score = np.clip(0.4 * target + rng.random(150) * 0.6, 0, 1).round(digits)
    assert auroc(target, score) == pytest.approx(won_pairs(target, score), abs=1e-12)
    assert average_precision(target, score) == pytest.approx(precision_steps(target, score), abs=1e-12)


def test_by_hand() -> None:
    target, score = np.array([1, 0, 1, 0.0]), np.array([0.9, 0.8, 0.7, 0.1])
    assert auroc(target, score) == 0.75
    assert average_precision(target, score) == pytest.approx((1 + 2 / 3) / 2)
    assert auroc(target, np.full(4, 0.5)) == 0.5
    assert average_precision(target, np.full(4, 0.5)) == 0.5  # the prevalence


def test_a_monotone_change_of_scores_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    target, score = (rng.random(80) < 0.4).astype(float), rng.random(80)
    assert auroc(target, score**3) == auroc(target, score) == pytest.approx(1 - auroc(target, -score))


@pytest.mark.parametrize(
    ("target", "reason"),
    [([], "no rows"), ([np.nan], "no labelled rows"), ([0, np.nan, 0], "no positives"), ([1, 1], "no negatives")],
)
def test_undefined_is_nan_with_its_reason(target: list[float], reason: str) -> None:
    target = np.array(target, dtype=float)
    assert undefined_reason(target) == reason
    assert np.isnan(auroc(target, np.zeros(len(target)))) and np.isnan(average_precision(target, np.zeros(len(target))))


def test_unlabelled_rows_take_no_part() -> None:
    target, score = np.array([1, 0, np.nan, 1, 0]), np.array([0.9, 0.2, 0.5, 0.4, 0.6])
    keep = ~np.isnan(target)
    assert auroc(target, score) == auroc(target[keep], score[keep])
    assert undefined_reason(target) is None


def test_macro_is_the_mean_over_defined_classes() -> None:
    rng = np.random.default_rng(1)
    target, score = (rng.random((60, 3)) < 0.5).astype(float), rng.random((60, 3))
    target[:, 1] = 0
    values = per_class(auroc, target, score)
    assert np.isnan(values[1])
    assert macro(auroc)(target, score) == pytest.approx((values[0] + values[2]) / 2)
    assert np.isnan(macro(auroc)(target[:, [1]], score[:, [1]]))
    assert np.isnan(mean_of_defined(np.array([[np.nan], [1.0]]))[0])


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        auroc(np.zeros(3), np.zeros(2))
