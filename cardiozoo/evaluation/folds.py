"""The runs of a cross-validation as one result: each fold, mean and standard deviation over folds, and all test folds
pooled.

Every sample is in the test split of exactly one fold, so the test predictions of all folds together are one table of
the whole cohort, made by models that never saw the patient. Its bootstrap interval says how much the result depends on
the patients; the standard deviation over folds mixes that with the training. Pooled ranks compare scores of different
models, so a pooled AUROC is not the mean of the folds' AUROCs, and lies below it where the models differ in level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cardiozoo.errors import PredictionsError
from cardiozoo.evaluation import decisions, metrics, regression
from cardiozoo.evaluation.metrics import macro, mean_of_defined
from cardiozoo.evaluation.predictions import CLASSIFICATION, REGRESSION, Predictions, read_predictions
from cardiozoo.evaluation.run import read_run

#: Metric -> how it is written, by kind; without targets the columns of the table take their place.
TITLES = {
    CLASSIFICATION: {**metrics.TITLES, **decisions.TITLES},
    REGRESSION: regression.TITLES,
}


@dataclass(frozen=True)
class FoldScores:
    """The test metrics of one fold.

    Attributes:
        number: Which fold.
        samples, patients: In its test split.
        values: Metric -> value; macro over classes or targets, NaN where undefined.
    """

    number: int
    samples: int
    patients: int
    values: dict[str, float]


@dataclass(frozen=True)
class Summary:
    """A metric over the folds: mean and standard deviation with ``ddof``, and in how many folds it was defined."""

    mean: float
    sd: float
    folds: int


def fold_scores(number: int, run: Path) -> FoldScores:
    """The test metrics of one run.

    Raises:
        PredictionsError: The run's table does not follow the format.
    """
    facts = read_run(run)
    table = read_predictions(run / "predictions.parquet", "test", facts.kind, facts.choice)
    return FoldScores(number, len(table), len(np.unique(table.patient)), scores_of(table))


def scores_of(table: Predictions) -> dict[str, float]:
    """Every metric of a table's kind, of all classes or targets together; the mean of each column without targets."""
    if table.kind == CLASSIFICATION:
        ranked = {name: macro(metric)(table.target, table.score) for name, metric in metrics.METRICS.items()}
        decided = decisions.decide(table.score, table.one_hot)
        return ranked | decisions.overall_values(table.target, decided, table.one_hot)
    if table.kind == REGRESSION:
        return {name: macro(metric)(table.target, table.score) for name, metric in regression.METRICS.items()}
    return {name: float(mean_of_defined(table.score[:, c])) for c, name in enumerate(table.classes)}


def summarise(folds: Sequence[FoldScores], ddof: int = 0) -> dict[str, Summary]:
    """Mean and standard deviation of each metric over the folds in which it is defined.

    Args:
        folds: At least one.
        ddof: 0 for the population's standard deviation, as the papers give it; 1 for the sample's.
    """
    found = {}
    for name in folds[0].values:
        values = np.array([fold.values[name] for fold in folds])
        values = values[~np.isnan(values)]
        enough = len(values) > ddof
        mean = float(values.mean()) if len(values) else np.nan
        found[name] = Summary(mean, float(values.std(ddof=ddof)) if enough else np.nan, len(values))
    return found


def pool(runs: Mapping[int, Path], out: Path) -> pl.DataFrame:
    """Join the test predictions of all folds into one table, written to ``out``.

    Raises:
        PredictionsError: A sample or a patient is in the test split of two folds, or the tables differ in columns.
    """
    tables = {number: pl.read_parquet(run / "predictions.parquet") for number, run in runs.items()}
    columns = {number: tuple(table.columns) for number, table in tables.items()}
    first = next(iter(columns.values()))
    if odd := [number for number, names in columns.items() if set(names) != set(first)]:
        raise PredictionsError(
            f"The predictions of fold {odd[0]} have other columns than those of fold {next(iter(columns))}.",
            "Folds of one task and one model.",
            "Run all folds anew with one set of options.",
        )
    parts = [table.select(first).with_columns(pl.lit(n).alias("extra/fold")) for n, table in tables.items()]
    joined = pl.concat(parts, how="vertical_relaxed")
    _check_apart(joined, "id", "sample")
    if "patient" in joined.columns:
        _check_apart(joined, "patient", "patient")
    out.parent.mkdir(parents=True, exist_ok=True)
    joined = joined.sort("id")
    joined.write_parquet(out)
    return joined


def check_whole(joined: pl.DataFrame, cohorts: Mapping[int, Mapping[str, Any]]) -> None:
    """Check that the folds come from one partition of one cohort.

    Each fold's ``cohort.json`` counts the samples of its splits; where no training patients were left out, they add up
    to the cohort, and so do the test splits of all folds.

    Raises:
        PredictionsError: They do not.
    """
    totals = {}
    for number, cohort in cohorts.items():
        sizes = [part.get("samples") for part in cohort.get("splits", {}).values() if isinstance(part, dict)]
        if sizes and all(isinstance(size, int) for size in sizes):
            totals[number] = sum(sizes) + int((cohort.get("excluded") or {}).get(LEFT_OUT, 0))
    wrong = {number: total for number, total in totals.items() if total != len(joined)}
    if wrong:
        number, total = next(iter(wrong.items()))
        raise PredictionsError(
            f"The test splits of all folds hold {len(joined):,} samples, but fold {number} divides {total:,} of them.",
            "Folds of one partition: every sample in exactly one test split.",
            "Run all folds anew, with one store and one seed of the folds.",
        )


LEFT_OUT = "training patient beyond train_patients"


def _check_apart(joined: pl.DataFrame, column: str, what: str) -> None:
    per_fold = joined.group_by(column).agg(pl.col("extra/fold").n_unique().alias("folds"), pl.len().alias("rows"))
    several = per_fold.filter(pl.col("folds") > 1)
    if column == "id":
        several = per_fold.filter(pl.col("rows") > 1)
    if len(several):
        raise PredictionsError(
            f"{len(several):,} {what}s are in the test split of more than one fold.",
            f"Folds of one partition: every {what} in exactly one test split.",
            "Run all folds anew, with one store and one seed of the folds.",
        )
