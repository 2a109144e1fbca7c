"""Tables of a regression: against scipy, scikit-learn and rows written out; how the kind is known; report."""

import json
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_run import write_run
from rich.console import Console
from scipy.stats import linregress
from sklearn.metrics import mean_squared_error

from cardiozoo.errors import OptionError, PredictionsError
from cardiozoo.evaluation import regression
from cardiozoo.evaluation.bootstrap import confidence_interval
from cardiozoo.evaluation.comparison import compare
from cardiozoo.evaluation.evaluate import Evaluation, evaluate_run, evaluate_table


def table_of(rows: int = 160, seed: int = 0, noise: float = 6.0) -> pl.DataFrame:
    """mPAP-like pressures and an angle, some unlabelled, several rows a patient."""
    rng = np.random.default_rng(seed)
    pressure, angle = rng.normal(30, 10, rows), rng.normal(1000, 90, rows)
    angle[rng.random(rows) < 0.3] = np.nan
    return pl.DataFrame(
        {
            "id": [f"s{i:04d}" for i in range(rows)],
            "split": ["test"] * rows,
            "patient": [f"secret-{p}" for p in rng.integers(0, rows // 2, rows)],
            "group/age": rng.uniform(20, 90, rows),
            "group/sex": rng.choice(["F", "M"], rows),
            "target/mPAP": pressure,
            "score/mPAP": 5 + 0.7 * pressure + rng.normal(0, noise, rows),
            "target/angle <x>": angle,
            "score/angle <x>": np.nan_to_num(angle, nan=1000) + rng.normal(3, 40, rows),
        }
    )


def as_regression(folder: Path, table: pl.DataFrame) -> Path:
    run = write_run(folder, table)
    facts = json.loads((run / "run.json").read_text())
    facts["task"] = {"name": "column", "kind": "regression", "monitor": "val/rmse", "mode": "min"}
    (run / "run.json").write_text(json.dumps(facts))
    return run


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluate_run(as_regression(tmp_path_factory.mktemp("r") / "run", table_of()), n_bootstrap=80)


def per_class(found: Evaluation, name: str, metric: str) -> dict:
    rows = found.tables["per_class"].filter((pl.col("class") == name) & (pl.col("metric") == metric))
    return rows.filter(pl.col("subset") == "all").row(0, named=True)


@pytest.mark.parametrize("metric", regression.METRICS)
@pytest.mark.parametrize("column", [0, 1])
def test_values_and_draws_equal_rows_written_out(found: Evaluation, metric: str, column: int) -> None:
    p = found.predictions
    target, score = p.target[:, column], p.score[:, column]
    slow = confidence_interval(regression.METRICS[metric], target, score, n=80, groups=p.patient)
    row = per_class(found, p.classes[column], metric)
    wanted = (slow.value, slow.low, slow.high, slow.mean, slow.sd)
    assert tuple(row[k] for k in ("value", "low", "high", "mean", "sd")) == pytest.approx(wanted)
    assert row["positives"] is None and row["labelled"] == (~np.isnan(target)).sum()


def test_values_equal_their_formulas(found: Evaluation) -> None:
    p = found.predictions
    target, score = p.target[:, 0], p.score[:, 0]
    assert per_class(found, "mPAP", "rmse")["value"] == pytest.approx(mean_squared_error(target, score) ** 0.5)
    assert per_class(found, "mPAP", "r2")["value"] == pytest.approx(1 - ((target - score) ** 2).mean() / target.var())
    line = linregress(target, score)
    assert per_class(found, "mPAP", "pearson")["value"] == pytest.approx(line.rvalue)
    agreement = {r["measure"]: r for r in found.tables["agreement"].filter(pl.col("target") == "mPAP").to_dicts()}
    difference = score - target
    assert agreement["bias"]["value"] == pytest.approx(difference.mean())
    assert agreement["upper_limit"]["value"] == pytest.approx(difference.mean() + 1.96 * difference.std(ddof=1))
    assert agreement["slope"]["value"] == pytest.approx(line.slope)
    slow = confidence_interval(lambda t, s: (s - t).std(ddof=1), target, score, n=80, groups=p.patient)
    assert agreement["sd_of_differences"]["low"] == pytest.approx(slow.low)


def test_means_over_targets_only_of_what_has_no_unit(found: Evaluation) -> None:
    assert set(found.tables["metrics"]["metric"]) == {"r2", "pearson"}
    groups = found.tables["subgroups"]
    assert set(groups.filter(pl.col("class") == "macro")["metric"]) == {"r2", "pearson"}
    women = groups.filter((pl.col("level") == "F") & (pl.col("class") == "mPAP") & (pl.col("metric") == "mae"))
    p = found.predictions
    rows = p.groups["sex"] == "F"
    assert women["value"][0] == pytest.approx(np.abs(p.score[rows, 0] - p.target[rows, 0]).mean())


def test_constant_targets_have_no_r2_and_it_is_counted(tmp_path: Path) -> None:
    table = table_of(20).drop("target/angle <x>", "score/angle <x>").with_columns(pl.lit(25.0).alias("target/mPAP"))
    found = evaluate_run(as_regression(tmp_path / "run", table), n_bootstrap=20)
    assert np.isnan(found.value("r2")["value"]) and found.value("r2")["undefined_draws"] == 20
    assert np.isfinite(found.value("rmse")["value"])
    assert "fewer than two different targets" in found.tables["undefined"]["reason"][0]


def test_the_report_shows_agreement_and_no_person(found: Evaluation) -> None:
    html = found.report.read_text()
    for words in ("Bland", "slope of prediction on target", "RMSE", "Pearson r", "SYNTHETIC DATA", "angle &lt;x&gt;"):
        assert words in html, words
    assert "secret-" not in html and "AUROC" not in html and "Calibration" not in html
    assert {p.name for p in found.files if p.suffix == ".png"} == {
        f"{n}.png" for n in ("cohort", "training", "agreement", "subgroups")
    }
    console = Console(width=80, file=StringIO())
    found.render(console)
    text = console.file.getvalue()
    assert "Pearson r" in text and max(map(len, text.splitlines())) <= 80


def test_a_bare_table_is_told_its_kind(tmp_path: Path) -> None:
    table_of().write_csv(tmp_path / "mine.csv")
    with pytest.raises(PredictionsError, match="--kind regression"):
        evaluate_table(tmp_path / "mine.csv")
    found = evaluate_table(tmp_path / "mine.csv", n_bootstrap=10, kind="regression", report=False)
    assert found.predictions.kind == "regression" and "--kind regression" in found.command
    with pytest.raises(OptionError, match="kind"):
        evaluate_table(tmp_path / "mine.csv", kind="ranking")
    with pytest.raises(OptionError, match="says regression"):
        evaluate_run(as_regression(tmp_path / "run", table_of()), kind="classification")


def test_infinite_targets_and_unfinished_scores_are_refused(tmp_path: Path) -> None:
    for column, value, words in (("target/mPAP", np.inf, "infinite"), ("score/mPAP", np.nan, "NaN")):
        table = table_of(10).with_columns(pl.lit(value).alias(column))
        with pytest.raises(PredictionsError, match=words):
            evaluate_run(as_regression(tmp_path / words, table))


def test_two_regressions_are_compared_with_paired_draws(tmp_path: Path) -> None:
    a = as_regression(tmp_path / "a", table_of())
    b = as_regression(tmp_path / "b", table_of(noise=3.0))
    result = compare(a, b, n_bootstrap=50)
    p, q = (pl.read_parquet(run / "predictions.parquet") for run in (a, b))
    wanted = regression.rmse(*p.select("target/mPAP", "score/mPAP").to_numpy().T)
    wanted -= regression.rmse(*q.select("target/mPAP", "score/mPAP").to_numpy().T)
    assert result.difference("rmse", class_name="mPAP")["difference"] == pytest.approx(wanted)
    with pytest.raises(KeyError):
        result.difference("rmse")  # no mean over targets with units
    result.render(Console(file=StringIO()))
