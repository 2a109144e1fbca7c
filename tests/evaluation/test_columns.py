"""Runs without targets: means of what the model keeps of each sample, absent leads, curves of the loss."""

import json
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_run import write_run
from rich.console import Console

from cardiozoo.errors import PredictionsError
from cardiozoo.evaluation.bootstrap import confidence_interval
from cardiozoo.evaluation.evaluate import Evaluation, evaluate_run, evaluate_table


def table_of(rows: int = 120, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    lead = rng.gamma(2.0, 0.3, (rows, 3))
    lead[rng.random(rows) < 0.2, 2] = np.nan  # V1 was not recorded
    return pl.DataFrame(
        {
            "id": [f"s{i:04d}" for i in range(rows)],
            "split": ["test"] * rows,
            "patient": [f"secret-{p}" for p in rng.integers(0, rows // 2, rows)],
            "group/sex": rng.choice(["F", "M"], rows),
            "present/ecg": [True] * rows,
            "extra/kl": rng.gamma(3.0, 5.0, rows),
            **{f"extra/mse/{name}": lead[:, i] for i, name in enumerate(("I", "II", "V1"))},
        }
    )


def as_unsupervised(folder: Path, table: pl.DataFrame) -> Path:
    run = write_run(folder, table)
    facts = json.loads((run / "run.json").read_text())
    facts["task"] = {"name": "reconstruction", "kind": "unsupervised", "monitor": "val/loss", "mode": "min"}
    (run / "run.json").write_text(json.dumps(facts))
    log = {"epoch": [0, 1, 2], "step": [9, 19, 29], "train/loss": [3.0, 2.0, 1.5], "val/loss": [3.2, 2.4, 2.2]}
    pl.DataFrame(log | {"val/kl": [1.0, 2.0, 3.0]}).write_csv(run / "logs" / "metrics.csv")
    return run


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluate_run(as_unsupervised(tmp_path_factory.mktemp("u") / "run", table_of()), n_bootstrap=60)


def test_means_equal_the_bootstrap_of_rows_written_out(found: Evaluation) -> None:
    p = found.predictions
    assert p.classes == ("kl", "mse/I", "mse/II", "mse/V1")
    for c, name in enumerate(p.classes):
        row = found.value(name, average="mean")
        slow = confidence_interval(lambda _, v: np.nanmean(v), p.score[:, c], p.score[:, c], n=60, groups=p.patient)
        wanted = (slow.value, slow.low, slow.high, slow.mean, slow.sd)
        assert tuple(row[k] for k in ("value", "low", "high", "mean", "sd")) == pytest.approx(wanted)
        assert row["rows"] == (~np.isnan(p.score[:, c])).sum()


def test_there_are_no_metrics_that_need_a_target(found: Evaluation) -> None:
    assert set(found.tables) == {"metrics", "subsets", "subgroups", "gaps", "undefined"}
    html = found.report.read_text()
    assert "AUROC" not in html and "no targets" in html and "secret-" not in html and "mse/V1" in html
    assert {p.name for p in found.files if p.suffix == ".png"} == {"cohort.png", "training.png", "columns.png"}
    p = found.predictions
    women = found.tables["subgroups"].filter((pl.col("class") == "kl") & (pl.col("level") == "F"))
    assert women["value"][0] == pytest.approx(p.score[p.groups["sex"] == "F", 0].mean())
    console = Console(width=80, file=StringIO())
    found.render(console)
    assert "mse/V1" in console.file.getvalue() and "macro" not in console.file.getvalue()


def test_a_column_without_any_value_is_undefined(tmp_path: Path) -> None:
    table = table_of(30).with_columns(pl.lit(None, dtype=pl.Float64).alias("extra/mse/V1"))
    found = evaluate_run(as_unsupervised(tmp_path / "run", table), n_bootstrap=10)
    assert np.isnan(found.value("mse/V1", average="mean")["value"]) and "no values" in set(
        found.tables["undefined"]["reason"]
    )


def test_a_bare_table_without_targets_is_recognised(tmp_path: Path) -> None:
    table_of().write_parquet(tmp_path / "mine.parquet")
    assert evaluate_table(tmp_path / "mine.parquet", n_bootstrap=10, report=False).predictions.kind == "unsupervised"
    table_of().select("id", "split").write_parquet(tmp_path / "none.parquet")
    with pytest.raises(PredictionsError, match="score"):
        evaluate_table(tmp_path / "none.parquet")
    with pytest.raises(PredictionsError, match="extra/"):
        evaluate_table(tmp_path / "none.parquet", kind="unsupervised")
