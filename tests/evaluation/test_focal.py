"""What stands beside the accuracy: the share of the larger class, and what scores of a focal loss are."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_run import predictions_table, write_run
from rich.console import Console

from cardiozoo.evaluation.crossval import CrossvalResult
from cardiozoo.evaluation.evaluate import Evaluation, evaluate_run
from cardiozoo.evaluation.run import read_run

NOTE = "focal loss, whose scores are no probabilities"


def config(options: str) -> str:
    return f"model:\n  class_path: a.Model\n  init_args: {options}\n"


def choice_table(rows: int = 120, classes: int = 3, seed: int = 1) -> pl.DataFrame:
    """One class a row, the first of them in two rows of three."""
    rng = np.random.default_rng(seed)
    true = np.where(rng.random(rows) < 2 / 3, 0, rng.integers(1, classes, rows))
    score = rng.dirichlet(np.ones(classes), rows)
    columns = {"id": [f"s{i}" for i in range(rows)], "split": ["test"] * rows}
    columns |= {f"target/c{c}": (true == c).astype(float) for c in range(classes)}
    return pl.DataFrame(columns | {f"score/c{c}": score[:, c] for c in range(classes)})


def judged(folder: Path, table: pl.DataFrame, kind: str, options: str = "{loss: cross_entropy}") -> Evaluation:
    run = write_run(folder, table)
    facts = json.loads((run / "run.json").read_text())
    facts["task"] |= {"kind": kind}
    (run / "run.json").write_text(json.dumps(facts))
    (run / "config.yaml").write_text(config(options))
    return evaluate_run(run, n_bootstrap=10)


def printed(found: Evaluation) -> str:
    console = Console(width=120, file=StringIO())
    found.render(console)
    return console.file.getvalue()


def test_the_larger_class_of_a_binary_task_is_beside_the_accuracy(tmp_path: Path) -> None:
    table = predictions_table(300, 1).with_columns(pl.col("^target/.*$") == 0)  # mostly positive now
    name = next(c for c in table.columns if c.startswith("target/"))
    found = judged(tmp_path, table.with_columns(pl.col(name).cast(pl.Float64)), "binary")
    share = found.predictions.target.mean()
    assert share > 0.8 and found.decision()["larger_class"] == pytest.approx(share)
    assert found.decision("mcc")["larger_class"] is None
    always = np.ones(len(found.predictions), dtype=bool)
    assert found.decision()["larger_class"] == pytest.approx((always == (found.predictions.target[:, 0] == 1)).mean())
    told = next(line for line in printed(found).splitlines() if "always the larger class" in line)
    assert told.split() == ["always", "the", "larger", "class", f"{share:.3f}"]
    assert f'<td class="n">{share:.3f}</td>' in found.report.read_text().partition('id="decisions"')[2]
    assert NOTE not in printed(found) + found.report.read_text()


def test_of_a_choice_it_is_the_most_frequent_class_and_of_one_class_presence_or_absence(tmp_path: Path) -> None:
    found = judged(tmp_path, choice_table(), "multiclass", "{loss: focal}")
    shares = found.predictions.target.mean(axis=0)
    assert found.decision()["class"] == "overall"
    assert found.decision()["larger_class"] == pytest.approx(shares.max())
    rows = found.tables["decisions"].filter((pl.col("metric") == "accuracy") & pl.col("class").str.starts_with("c"))
    assert rows["larger_class"].to_list() == pytest.approx(np.maximum(shares, 1 - shares))
    # Among three classes no threshold is crossed; the calibration alone is concerned.
    assert NOTE in printed(found) and "0.5 threshold" not in printed(found)


def test_classes_without_labels_have_none(tmp_path: Path) -> None:
    table = predictions_table(80, 2).with_columns(pl.lit(None, pl.Float64).alias("target/Shock <1>"))
    found = judged(tmp_path, table, "multilabel")
    rows = found.tables["decisions"].filter((pl.col("metric") == "accuracy") & (pl.col("subset") == "all"))
    overall, unlabelled, labelled = rows["larger_class"]
    assert unlabelled is None and overall == pytest.approx(labelled) and labelled >= 0.5


@pytest.mark.parametrize(
    ("options", "loss"),
    [
        ("{loss: focal, focal_alpha: 0.25}", "focal"),
        ("{loss: null, focal_alpha: 0.25}", "focal"),
        ("{loss: cross_entropy, focal_alpha: 0.25}", "cross_entropy"),
        ("{loss: null}", None),
        ("{}", None),
        ("[1, 2]", None),
        ("{", None),
    ],
)
def test_the_loss_is_read_from_the_configuration(tmp_path: Path, options: str, loss: str | None) -> None:
    (tmp_path / "config.yaml").write_text(config(options))
    assert read_run(tmp_path).loss == loss


def test_a_focal_loss_is_told_on_the_page_in_the_terminal_and_in_the_summary(tmp_path: Path) -> None:
    found = judged(tmp_path, predictions_table(120, 1), "binary", "{loss: null, focal_alpha: 0.25}")
    page, notes = found.report.read_text(), found.summary()["notes"]
    assert NOTE in notes[0] and "0.5 threshold" in notes[0] and "AUROC and AUPRC" in notes[0]
    assert page.partition('id="cohort"')[0].count(NOTE) == 1
    assert page.partition('id="decisions"')[2].partition("</section>")[0].count(NOTE) == 1
    assert printed(found).count(NOTE) == 1


def test_predictions_of_other_frameworks_say_nothing_of_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, predictions_table(60, 1))
    (run / "config.yaml").unlink()
    assert read_run(run).loss is None and NOTE not in evaluate_run(run, n_bootstrap=5).report.read_text()


def test_pooled_folds_have_the_loss_of_their_configuration(tmp_path: Path) -> None:
    for name in ("fold_0", "pooled", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "fold_0" / "config.yaml").write_text(config("{loss: focal}"))
    assert read_run(tmp_path / "pooled").loss == "focal" and read_run(tmp_path / "other").loss is None
    assert read_run(tmp_path / "pooled").config == "", "one fold's configuration is not that of the pooled table"


def test_a_cross_validation_says_both_under_its_table(tmp_path: Path) -> None:
    table = predictions_table(80, 1, 40).with_columns(pl.col("id").alias("patient"))
    runs = {number: tmp_path / f"fold_{number}" for number in (0, 1)}
    for number, run in runs.items():
        write_run(run, table[40 * number : 40 * number + 40])
        (run / "config.yaml").write_text(config("{loss: focal}"))
    found = CrossvalResult.from_runs(runs, tmp_path / "pooled", report=False, n_bootstrap=5)
    positive = table[next(c for c in table.columns if c.startswith("target/"))].mean()
    console = Console(width=200, file=StringIO())
    found.render(console)
    found.write_report(tmp_path, {"command_line": "cardiozoo crossval"})
    for text in (console.file.getvalue(), (tmp_path / "report.html").read_text()):
        assert f"always the larger class, pooled: {max(positive, 1 - positive):.3f}" in text and text.count(NOTE) == 1
