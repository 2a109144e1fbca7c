"""The processes behind the charted signals, the oracle that judges them, and what the charts show of the conditions."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm, ranksums
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from synthetic_cohort import clean, read, truth

from cardiozoo.data.synthetic import icu, plants
from cardiozoo.data.synthetic import truth as judge
from cardiozoo.data.synthetic.icu import SIGNALS, TAU, Signal


def test_paths_have_unit_variance_and_the_stated_correlation_in_time():
    stays, length = 4000, 12
    offsets = np.arange(stays + 1) * length
    hours = np.tile(np.array([0, 1, 1.5, 2, 3, 4, 6, 7, 8, 12, 13, 20.0]), stays)
    noise = np.random.default_rng(0).standard_normal((stays * length, SIGNALS)).astype(np.float32)
    path = icu.wander(offsets, hours, noise).reshape(stays, length, SIGNALS)
    np.testing.assert_allclose(path.std(axis=0), 1.0, atol=0.06)
    for first, second, gap in ((0, 1, 1.0), (3, 6, 4.0), (8, 11, 12.0)):
        found = [np.corrcoef(path[:, first, k], path[:, second, k])[0, 1] for k in range(SIGNALS)]
        np.testing.assert_allclose(found, np.exp(-gap / TAU), atol=0.06)
    pressures = np.corrcoef(path[:, 5, Signal.SBP], path[:, 5, Signal.DBP])[0, 1]
    assert abs(pressures - 0.65) < 0.04


def test_scan_over_ragged_stays_equals_one_stay_at_a_time():
    rng = np.random.default_rng(1)
    counts = np.array([3, 1, 7, 2])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    hours = np.concatenate([np.sort(rng.uniform(0, 30, count)) for count in counts])
    noise = rng.standard_normal((offsets[-1], SIGNALS)).astype(np.float32)
    together = icu.wander(offsets, hours, noise)
    for row in range(4):
        here = slice(offsets[row], offsets[row + 1])
        alone = icu.wander(np.array([0, counts[row]]), hours[here], noise[here])
        np.testing.assert_allclose(together[here], alone, rtol=1e-6)


def test_bridge_is_the_conditional_gaussian():
    before, after = np.array([[0.7, -1.0]], np.float32), np.array([[-0.2, 0.4]], np.float32)
    left, right = np.array([0.5]), np.array([1.25])
    for column in range(2):
        times = np.array([0.0, 0.5, 1.75])
        cover = np.exp(-np.abs(times[:, None] - times) / TAU[column])
        known = cover[np.ix_([0, 2], [0, 2])]
        weights = np.linalg.solve(known, cover[[0, 2], 1])
        mean = weights @ [before[0, column], after[0, column]]
        variance = 1.0 - weights @ cover[[0, 2], 1]
        zero = icu.bridge(before, after, left, right, np.zeros((1, 2), np.float32))[0, column]
        one = icu.bridge(before, after, left, right, np.ones((1, 2), np.float32))[0, column]
        assert zero == pytest.approx(mean, abs=1e-5)
        assert one - zero == pytest.approx(np.sqrt(variance), abs=1e-5)


def test_area_and_shift_against_independent_formulas():
    rng = np.random.default_rng(2)
    target = rng.random(500) < 0.3
    score = np.round(rng.standard_normal(500) + target, 1)
    assert judge.auroc(target, score) == pytest.approx(roc_auc_score(target, score))
    assert np.isnan(judge.auroc(np.zeros(5, bool), np.arange(5.0)))
    assert judge.class_shift(norm.cdf(1.1 / np.sqrt(2))) == pytest.approx(1.1)
    assert judge.area_of(np.array([1.1]))[0] == pytest.approx(norm.cdf(1.1 / np.sqrt(2)))


def test_oracle_regression_agrees_with_scikit_learn():
    rng = np.random.default_rng(3)
    features = rng.standard_normal((600, 5))
    target = rng.random(600) < 1 / (1 + np.exp(-(features @ [1.5, -1, 0, 0, 0.5] - 1)))
    design = np.concatenate([np.ones((600, 1)), features], axis=1)
    ours = judge._logistic(design, target)
    theirs = LogisticRegression(C=1 / 20, tol=1e-8, max_iter=500).fit(features, target)
    np.testing.assert_allclose(ours, [theirs.intercept_[0], *theirs.coef_[0]], atol=0.01)
    area = judge.oracle_auroc(features, target[:, None])[0]
    assert 0.8 < area < roc_auc_score(target, design @ ours) + 0.01
    assert np.isnan(judge.oracle_auroc(features[:30], target[:30, None])[0])


@pytest.fixture(scope="module")
def charted():
    """Mean of every charted item a stay, beside the truth of the stay."""
    root = clean()
    chart = read(root, "mimic-iv/icu/chartevents").with_columns(
        pl.col("stay_id", "itemid").cast(pl.Int64), pl.col("valuenum").cast(pl.Float64)
    )
    mean = chart.pivot("itemid", index="stay_id", values="valuenum", aggregate_function="mean")
    return chart, truth(root).join(mean, on="stay_id")


def test_charted_values_and_rates_resemble_those_of_intensive_care(charted):
    chart, stays = charted
    hours = stays["los_hours"].sum()
    for itemid, low, middle, high, rate in (
        (220045, (50, 70), (80, 95), (110, 132), (0.95, 1.25)),
        (220210, (9, 15), (17, 23), (26, 36), (0.95, 1.25)),
        (220277, (88, 94), (95, 98), (98, 101), (0.90, 1.25)),
        (220179, (75, 95), (105, 130), (140, 175), (0.5, 0.9)),
        (223761, (96, 98), (97.8, 99.2), (100, 102), (0.15, 0.35)),
    ):
        values = chart.filter(pl.col("itemid") == itemid)["valuenum"]
        for share, bounds in ((0.05, low), (0.5, middle), (0.95, high)):
            assert bounds[0] <= values.quantile(share) <= bounds[1], (itemid, share)
        assert rate[0] <= len(values) / hours <= rate[1], itemid


def test_conditions_show_in_their_signals(charted):
    _, stays = charted
    for label, itemid, sign in (
        (plants.SEPSIS, "220045", 1), (plants.SHOCK, "220179", -1), (plants.DIABETES_COMPLICATED, "225664", 1),
        (plants.STROKE, "223901", -1), (plants.RESPIRATORY, "220210", 1), (plants.FAILURE, "220277", -1),
    ):  # fmt: skip
        known = stays.filter(pl.col(itemid).is_not_null())
        present = known[f"label/{plants.PLANTS[label].label}"].to_numpy()
        values = known[itemid].to_numpy()
        test = ranksums(values[present], values[~present])
        assert test.pvalue < 1e-3, label
        assert np.sign(test.statistic) == sign, label


def test_private_labels_show_in_no_signal(charted):
    _, stays = charted
    for label in plants.PRIVATE:
        present = stays[f"label/{plants.PLANTS[label].label}"].to_numpy()
        for itemid in ("220045", "220210", "220277", "220179", "220180", "223761", "225664", "223901", "224639"):
            values = stays[itemid].to_numpy()
            known = np.isfinite(values)
            test = ranksums(values[known & present], values[known & ~present])
            assert test.pvalue > 2e-4, (label, itemid)


def test_the_dying_decline_in_their_last_day(charted):
    chart, stays = charted
    dead = stays.filter(
        pl.col("dies") & (pl.col("death_hours") <= pl.col("los_hours") + 0.1) & (pl.col("los_hours") > 36)
    )
    times = read(clean(), "mimic-iv/icu/icustays").select(
        pl.col("stay_id").cast(pl.Int64), pl.col("outtime").str.to_datetime()
    )
    pressure = (
        chart.filter((pl.col("itemid") == 220181) & pl.col("stay_id").is_in(dead["stay_id"].to_list()))
        .join(times, on="stay_id")
        .with_columns(left=(pl.col("outtime") - pl.col("charttime").str.to_datetime()).dt.total_seconds() / 3600)
    )
    last = pressure.filter(pl.col("left") < 6)["valuenum"].mean()
    early = pressure.filter(pl.col("left") > 24)["valuenum"].mean()
    assert early - last > 6


def test_measurement_depends_on_severity_and_disease(charted):
    chart, stays = charted
    arterial = stays["arterial_line"].to_numpy()
    severity = stays["severity"].to_numpy()
    assert severity[arterial].mean() > severity[~arterial].mean()
    oxygen = set(chart.filter(pl.col("itemid") == 223835)["stay_id"])
    assert oxygen <= set(stays.filter("ventilated")["stay_id"])
    sticks = chart.filter(pl.col("itemid") == 225664).group_by("stay_id").len("sticks")
    both = stays.join(sticks, on="stay_id", how="left").with_columns(
        rate=pl.col("sticks").fill_null(0) / pl.col("los_hours")
    )
    diabetic = both[f"label/{plants.PLANTS[plants.DIABETES].label}"]
    assert both.filter(diabetic)["rate"].mean() > 1.4 * both.filter(~diabetic)["rate"].mean()
