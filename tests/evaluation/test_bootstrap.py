"""Bootstrap intervals against analytic standard errors, explicit loops and cases with a known answer."""

import numpy as np
import pytest

from cardiozoo.evaluation.bootstrap import Interval, PatientDraws, confidence_interval
from cardiozoo.evaluation.metrics import auroc


def mean_score(target: np.ndarray, score: np.ndarray) -> float:
    return float(score.mean())


def delong_sd(target: np.ndarray, score: np.ndarray) -> float:
    """Standard error of the AUROC by the variances of the placements (DeLong et al. 1988)."""
    positive, negative = score[target == 1], score[target == 0]
    better = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    return float(np.sqrt(better.mean(1).var(ddof=1) / len(positive) + better.mean(0).var(ddof=1) / len(negative)))


def test_mean_has_the_analytic_standard_error() -> None:
    score = np.random.default_rng(0).normal(size=400)
    found = confidence_interval(mean_score, score, score, n=2000, seed=1)
    se = score.std() / 20
    assert found.value == pytest.approx(score.mean())
    assert found.sd == pytest.approx(se, rel=0.06) and found.mean == pytest.approx(score.mean(), abs=0.1 * se)
    assert found.low == pytest.approx(score.mean() - 1.96 * se, abs=0.25 * se)
    assert found.high == pytest.approx(score.mean() + 1.96 * se, abs=0.25 * se)
    assert (found.n, found.undefined) == (2000, 0)


def test_auroc_has_delongs_standard_error() -> None:
    rng = np.random.default_rng(2)
    target = (rng.random(500) < 0.3).astype(float)
    score = target + rng.normal(size=500)
    found = confidence_interval(auroc, target, score, n=400, seed=0)
    assert found.sd == pytest.approx(delong_sd(target, score), rel=0.1)


def test_limits_are_percentiles_of_resamples_written_out() -> None:
    rng = np.random.default_rng(5)
    target, score, patient = (rng.random(90) < 0.4).astype(float), rng.random(90), rng.integers(0, 40, 90)
    names = sorted(set(patient))
    again = np.random.default_rng(11)
    values = []
    for _ in range(50):
        drawn = again.integers(0, len(names), len(names))
        rows = np.concatenate([np.flatnonzero(patient == names[i]) for i in drawn])
        values.append(auroc(target[rows], score[rows]))
    found = confidence_interval(auroc, target, score, n=50, seed=11, groups=patient)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))
    assert (found.mean, found.sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)))


def test_repeated_rows_of_a_patient_bring_no_certainty() -> None:
    rng = np.random.default_rng(3)
    target = (rng.random(120) < 0.4).astype(float)
    score = target + rng.normal(size=120)
    once = confidence_interval(auroc, target, score, n=200, seed=4)
    patient = np.repeat(np.arange(120), 5)
    by_patient = confidence_interval(auroc, np.repeat(target, 5), np.repeat(score, 5), n=200, seed=4, groups=patient)
    by_row = confidence_interval(auroc, np.repeat(target, 5), np.repeat(score, 5), n=200, seed=4)
    assert (by_patient.low, by_patient.high) == pytest.approx((once.low, once.high))
    assert by_row.high - by_row.low < 0.6 * (once.high - once.low)


@pytest.mark.parametrize("raises", [True, False])
def test_undefined_draws_are_counted(raises: bool) -> None:
    target = np.array([1.0] + [0.0] * 9)
    score = np.linspace(1, 0, 10)

    def metric(target: np.ndarray, score: np.ndarray) -> float:
        if not target.any() and raises:
            raise ValueError("no positives")
        return auroc(target, score)

    found = confidence_interval(metric, target, score, n=300, seed=0)
    assert found.value == 1 and found.low == found.high == 1
    assert found.undefined == pytest.approx(300 * 0.9**10, abs=25)  # draws without the one positive


def test_nowhere_defined_is_nan_and_all_counted() -> None:
    found = confidence_interval(auroc, np.zeros(5), np.arange(5.0), n=20, seed=0)
    assert np.isnan([found.value, found.low, found.high, found.mean, found.sd]).all() and found.undefined == 20


def test_the_seed_decides_and_blocks_do_not() -> None:
    target, score = np.array([0, 1, 0, 1, 1.0]), np.array([0.1, 0.7, 0.6, 0.2, 0.9])
    found = [confidence_interval(auroc, target, score, n=50, seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    draws = PatientDraws(np.array(list("aabc")), 10, seed=0)
    small, large = (np.concatenate([c for _, c in draws.blocks(size)], axis=1) for size in (3, 64))
    assert np.array_equal(small, large) and (small.sum(axis=0) == 3).all() and small.shape == (3, 10)


def test_level_sets_the_limits() -> None:
    interval = Interval.from_draws(0.5, np.arange(101.0), level=0.8)
    assert (interval.low, interval.high) == pytest.approx((10, 90))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 1}, "at least 2"),
        ({"groups": np.zeros(3)}, "3 groups"),
        ({"level": 1.0}, r"\(0, 1\)"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confidence_interval(auroc, np.array([0, 1.0]), np.array([0.1, 0.2]), **arguments)
