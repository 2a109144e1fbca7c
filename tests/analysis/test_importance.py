"""Shares of leads and waves, counted by hand and by numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from cardiozoo.analysis.attribution import Attribution
from cardiozoo.analysis.importance import cohort_importance, lead_table, wave_table, with_spread
from cardiozoo.analysis.published_importance import published_leads, published_waves
from cardiozoo.analysis.waves import Waves


def attribution(values: np.ndarray, present: np.ndarray | None = None) -> Attribution:
    present = np.ones(values.shape[:2], dtype=bool) if present is None else present
    total = values.sum(axis=(1, 2))
    return Attribution(values, present, total + 0.5, np.full(len(values), 0.5), "zero", 50)


def windows(samples: int, **spans: tuple[int, int]) -> Waves:
    return Waves.of([(n, *s) for n, s in spans.items()], tuple(spans), samples, 1, "known positions")


def test_shares_of_leads():
    values = np.zeros((2, 12, 100))
    values[0, 1, :10], values[0, 6, :10] = -0.3, 0.1
    present = np.ones((2, 12), dtype=bool)
    present[0, 11] = False
    table = lead_table(attribution(values, present), [7, 9])
    first = {row["lead"]: row for row in table.filter(pl.col("sample") == 7).iter_rows(named=True)}
    assert len(first) == 11 and first["II"]["share"] == pytest.approx(0.75)
    assert first["II"]["signed_sum"] == pytest.approx(-3) and first["II"]["mean_abs"] == pytest.approx(0.03)
    assert (first["II"]["rank"], first["V1"]["rank"]) == (1, 2)
    second = table.filter(pl.col("sample") == 9)
    assert second["share"].is_nan().all() and second["rank"].is_null().all()


def test_shares_of_waves_and_enrichment():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1, 12, 100))
    own = windows(100, P=(0, 10), QRS=(20, 40), T=(60, 90))
    table = wave_table(attribution(values), [own], [1])
    for lead, part in (("all", values[0]), ("V1", values[0, 6:7])):
        rows = {row["wave"]: row for row in table.filter(pl.col("lead") == lead).iter_rows(named=True)}
        assert sum(row["share"] for row in rows.values()) == pytest.approx(1)
        assert sum(row["signed_sum"] for row in rows.values()) == pytest.approx(part.sum())
        assert rows["QRS"]["share"] == pytest.approx(np.abs(part[:, 20:40]).sum() / np.abs(part).sum())
        assert rows["QRS"]["time_share"] == pytest.approx(0.2)
        assert rows["QRS"]["enrichment"] == pytest.approx(rows["QRS"]["share"] / 0.2)
        assert rows["T"]["mean_abs"] == pytest.approx(np.abs(part[:, 60:90]).mean())
    failed = Waves.none(("P", "QRS", "T"), 100, "neurokit2", "no beats")
    assert wave_table(attribution(values), [failed], [1]).is_empty()


def test_shares_are_those_of_the_recorded_part():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(1, 12, 100))
    values[:, :, 60:] = 0
    short = replace(attribution(values), recorded=np.array([60]))
    own = windows(100, QRS=(30, 45), T=(50, 60))
    alone, cut = attribution(values[:, :, :60]), windows(60, QRS=(30, 45), T=(50, 60))
    assert wave_table(short, [own], [1]).equals(wave_table(alone, [cut], [1]))
    assert lead_table(short, [1]).equals(lead_table(alone, [1]))
    assert published_leads(short, [1]).equals(published_leads(alone, [1]))
    assert published_waves(short, [own], [1]).equals(published_waves(alone, [cut], [1]))
    assert wave_table(short, [own], [1]).filter(pl.col("wave") == "QRS")["time_share"][0] == pytest.approx(0.25)


def test_cohort_means_and_patient_intervals():
    rng = np.random.default_rng(1)
    samples = list(range(60))
    table = pl.DataFrame(
        {
            "sample": np.repeat(samples, 2),
            "lead": ["I", "II"] * 60,
            "share": rng.uniform(size=120),
            "signed_sum": rng.normal(size=120),
        }
    ).filter(~((pl.col("sample") < 5) & (pl.col("lead") == "I")))
    patients = {s: f"p{s // 2}" for s in samples}
    found = cohort_importance(table, "lead", patients, n=500)
    own = table.filter(pl.col("lead") == "I")["share"].to_numpy()
    row = found.filter(pl.col("lead") == "I").to_dicts()[0]
    assert row["records"] == 55 and row["share"] == pytest.approx(own.mean())
    # By hand: patients are drawn, their records averaged.
    kept = table.filter(pl.col("lead") == "I").with_columns(patient=pl.col("sample") // 2)
    groups = [part["share"].to_numpy() for _, part in kept.group_by("patient", maintain_order=True)]
    means = [np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))]).mean() for _ in range(4000)]
    low, high = np.percentile(means, [2.5, 97.5])
    assert row["share_low"] == pytest.approx(low, abs=0.02) and row["share_high"] == pytest.approx(high, abs=0.02)
    assert found["share"].is_sorted(descending=True)


def test_spread_is_what_tells_records_apart():
    rng = np.random.default_rng(2)
    values = np.zeros((40, 12, 20))
    values[:, 1] = 5.0  # in every record alike, however large
    values[:, 6] = rng.normal(size=(40, 1))
    values[:, 7] = 0.5 * rng.normal(size=(40, 1))
    found, samples = attribution(values), list(range(40))
    patients = {s: f"p{s}" for s in samples}
    leads = lead_table(found, samples)
    table = with_spread(
        cohort_importance(leads, "lead", patients, n=200), leads, "lead", found, samples, patients, n=200
    )
    spread = dict(zip(table["lead"], table["spread"], strict=True))
    sums = values.sum(axis=2)
    expected = [np.cov(sums[:, lead], sums.sum(axis=1))[0, 1] / np.var(sums.sum(axis=1), ddof=1) for lead in (1, 6, 7)]
    assert [spread["II"], spread["V1"], spread["V2"]] == pytest.approx(expected, abs=1e-12)
    assert sum(spread.values()) == pytest.approx(1) and table["lead"][0] == "II" and spread["II"] == pytest.approx(0)
    row = table.filter(pl.col("lead") == "V1").to_dicts()[0]
    assert row["spread_low"] < row["spread"] < row["spread_high"] < 1.2
    alike = attribution(np.ones((3, 12, 20)))
    leads = lead_table(alike, [0, 1, 2])
    table = with_spread(cohort_importance(leads, "lead", patients, n=5), leads, "lead", alike, [0, 1, 2], patients, n=5)
    assert table["spread"].is_nan().all()


def test_two_patients_give_a_spread_without_an_interval():
    values = np.random.default_rng(4).normal(size=(2, 12, 50)).astype(np.float32)
    found, patients = attribution(values), {0: "a", 1: "b"}
    leads = lead_table(found, [0, 1])
    table = with_spread(cohort_importance(leads, "lead", patients, n=20), leads, "lead", found, [0, 1], patients, n=20)
    assert table["spread"].sum() == pytest.approx(1)
    assert table["spread_low"].is_nan().all() and table["spread_high"].is_nan().all()


def test_published_counts():
    values = np.zeros((1, 12, 100))
    values[0, 0] = np.linspace(-1, 1, 100)
    values[0, 1, 50] = 1.0
    found = attribution(values)
    leads = {row["lead"]: row for row in published_leads(found, [1]).iter_rows(named=True)}
    assert leads["I"]["important_fraction"] == pytest.approx(0.30) and leads["II"]["important_fraction"] == 0.01
    assert leads["I"]["percent"] == pytest.approx(100 * 0.30 / 0.31) and leads["III"]["important_fraction"] == 0
    assert leads["I"]["in_figure"] == pytest.approx(0.25)
    own = windows(100, R=(40, 60), T=(70, 90))
    waves = published_waves(found, [own], [1])
    second = {row["point"]: row for row in waves.filter(pl.col("lead") == "II").iter_rows(named=True)}
    assert (second["R"]["percent"], second["T"]["percent"]) == (100, 0)
    first = {row["point"]: row for row in waves.filter(pl.col("lead") == "I").iter_rows(named=True)}
    assert (first["R"]["important_samples"], first["T"]["important_samples"]) == (0, 20)
    assert waves.filter(pl.col("lead") == "V6")["percent"].is_nan().all()
