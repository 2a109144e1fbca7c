"""Folds that do not belong together, and what is the mean of them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_run import predictions_table

from cardiozoo.errors import PredictionsError
from cardiozoo.evaluation.folds import FoldScores, check_whole, pool, summarise


def runs(folder: Path, parts: list[pl.DataFrame]) -> dict[int, Path]:
    found = {}
    for number, part in enumerate(parts):
        found[number] = folder / f"fold_{number}"
        found[number].mkdir()
        part.write_parquet(found[number] / "predictions.parquet")
    return found


def apart() -> list[pl.DataFrame]:
    """Two folds that share neither sample nor patient."""
    table = predictions_table(80, 2, 40).with_columns(pl.col("id").alias("patient"))
    return [table[:40], table[40:]]


def test_pooled_rows_are_those_of_all_folds_with_their_number(tmp_path: Path) -> None:
    joined = pool(runs(tmp_path, apart()), tmp_path / "pooled" / "predictions.parquet")
    assert joined.height == 80 and joined["extra/fold"].sum() == 40 and joined["id"].is_sorted()
    assert pl.read_parquet(tmp_path / "pooled" / "predictions.parquet").equals(joined)


def test_a_sample_or_a_patient_in_two_folds_is_refused(tmp_path: Path) -> None:
    first, second = apart()
    (tmp_path / "a").mkdir()
    with pytest.raises(PredictionsError, match="1 samples are in the test split of more than one fold"):
        pool(runs(tmp_path / "a", [first, pl.concat([second, first[:1]])]), tmp_path / "a" / "p.parquet")
    (tmp_path / "b").mkdir()
    borrowed = pl.when(pl.int_range(pl.len()) < 3).then(pl.lit(first["patient"][0])).otherwise(pl.col("patient"))
    shared = second.with_columns(borrowed.alias("patient"))
    with pytest.raises(PredictionsError, match="1 patients"):
        pool(runs(tmp_path / "b", [first, shared]), tmp_path / "b" / "p.parquet")
    (tmp_path / "c").mkdir()
    with pytest.raises(PredictionsError, match="other columns"):
        pool(runs(tmp_path / "c", [first, second.drop("group/age")]), tmp_path / "c" / "p.parquet")


def test_test_splits_add_up_to_the_cohort_of_every_fold(tmp_path: Path) -> None:
    joined = pool(runs(tmp_path, apart()), tmp_path / "p.parquet")
    whole = {"splits": {"train": {"samples": 40}, "test": {"samples": 40}}}
    left_out = {"splits": {"train": {"samples": 10}, "test": {"samples": 40}}}
    left_out["excluded"] = {"training patient beyond train_patients": 30}
    check_whole(joined, {0: whole, 1: left_out, 2: {}})
    with pytest.raises(PredictionsError, match="fold 1 divides 90"):
        check_whole(joined, {0: whole, 1: {"splits": {"train": {"samples": 50}, "test": {"samples": 40}}}})


def test_mean_and_deviation_over_the_folds_where_a_metric_is_defined() -> None:
    values = [0.5, np.nan, 0.7, 0.9]
    folds = [FoldScores(i, 10, 10, {"auroc": value}) for i, value in enumerate(values)]
    population, sample = (summarise(folds, ddof)["auroc"] for ddof in (0, 1))
    assert (population.mean, population.folds) == (pytest.approx(0.7), 3)
    assert population.sd == pytest.approx(np.std([0.5, 0.7, 0.9])) and sample.sd == pytest.approx(0.2)
