"""A whole evaluation: tables against other ways to the same numbers, files, less and odd input."""

import json
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_run import predictions_table, write_run
from rich.console import Console

from cardiozoo.errors import OptionError, PredictionsError
from cardiozoo.evaluation.bootstrap import confidence_interval
from cardiozoo.evaluation.evaluate import Evaluation, evaluate_run, evaluate_table
from cardiozoo.evaluation.metrics import METRICS, auroc, average_precision, macro, per_class
from cardiozoo.evaluation.subgroups import gaps
from cardiozoo.evaluation.tables import CLASS_LIMITS

TABLES = (
    *("metrics", "per_class", "decisions", "subsets", "subgroups", "gaps", "calibration", "reliability", "undefined"),
)


def printed(evaluation: Evaluation, width: int) -> str:
    console = Console(width=width, file=StringIO())
    evaluation.render(console)
    return console.file.getvalue()


def interval_of(row: dict) -> tuple[float, ...]:
    return tuple(row[key] for key in ("value", "low", "high", "mean", "sd"))


@pytest.mark.parametrize("metric", METRICS)
def test_macro_interval_equals_the_bootstrap_of_rows_written_out(judged: Evaluation, metric: str) -> None:
    p = judged.predictions
    slow = confidence_interval(macro(METRICS[metric]), p.target, p.score, n=100, seed=0, groups=p.patient)
    row = judged.value(metric)
    assert interval_of(row) == pytest.approx((slow.value, slow.low, slow.high, slow.mean, slow.sd))
    assert (row["classes_defined"], row["classes"], row["rows"], row["patients"]) == (5, 6, 400, 218)


def test_per_class_rows_equal_confidence_interval(judged: Evaluation) -> None:
    p = judged.predictions
    rows = judged.tables["per_class"].filter((pl.col("subset") == "all") & (pl.col("metric") == "auprc")).to_dicts()
    for c in (0, 1, 3):
        slow = confidence_interval(average_precision, p.target[:, c], p.score[:, c], n=100, seed=0, groups=p.patient)
        assert interval_of(rows[c]) == pytest.approx((slow.value, slow.low, slow.high, slow.mean, slow.sd))
        assert rows[c]["positives"] == np.nansum(p.target[:, c])
        assert rows[c]["prevalence"] == pytest.approx(np.nanmean(p.target[:, c]))
    assert rows[2]["undefined"] == "no positives" and np.isnan(rows[2]["value"]) and rows[2]["undefined_draws"] == 100


def test_gaps_equal_the_public_function(judged: Evaluation) -> None:
    p, c = judged.predictions, 4
    public = gaps(auroc, p.target[:, c], p.score[:, c], p.groups["sex"], n=100, seed=0, patients=p.patient)
    of_class = judged.tables["gaps"].filter((pl.col("class") == p.classes[c]) & (pl.col("metric") == "auroc"))
    signed = of_class.filter((pl.col("group") == "sex") & (pl.col("kind") == "signed")).row(0, named=True)
    pair = public.pairs[0]
    assert (signed["level"], signed["reference"]) == (pair.level, pair.reference) == ("M", "F")
    assert interval_of(signed)[:3] == pytest.approx((pair.signed.value, pair.signed.low, pair.signed.high))
    ages = gaps(auroc, p.target[:, c], p.score[:, c], p.groups["age"], n=100, seed=0, patients=p.patient)
    mean = of_class.filter((pl.col("group") == "age") & (pl.col("kind") == "mean absolute pairwise")).row(0, named=True)
    assert mean["value"] == pytest.approx(ages.mean_absolute.value)


def test_subsets_are_split_by_presence(judged: Evaluation) -> None:
    p = judged.predictions
    paired = p.present["cxr"]
    for subset, rows in (("paired", paired), ("partial", ~paired)):
        values = per_class(auroc, p.target[rows], p.score[rows])
        found = judged.value("auroc", subset)
        assert found["value"] == pytest.approx(np.nanmean(values)) and found["rows"] == rows.sum()
    sizes = judged.tables["subsets"]
    assert sizes["rows"].to_list() == [400, paired.sum(), 400 - paired.sum()]


def test_macro_of_class_groups_and_published_limits(judged: Evaluation) -> None:
    rows = judged.tables["per_class"].filter((pl.col("subset") == "all") & (pl.col("metric") == "auroc"))
    classes = rows.to_dicts()
    chronic = judged.value("auroc", average="macro, chronic")
    assert chronic["value"] == pytest.approx(np.mean([classes[c]["value"] for c in (1, 3, 5)]))
    published = judged.value("auroc", average=CLASS_LIMITS)
    defined = [row for row in classes if row["undefined"] is None]
    assert published["low"] == pytest.approx(np.mean([row["low"] for row in defined]))
    assert published["high"] - published["low"] > judged.value("auroc")["high"] - judged.value("auroc")["low"]


def test_every_table_is_written_as_csv_and_json_that_agree(judged: Evaluation) -> None:
    for name in TABLES:
        csv = pl.read_csv(judged.folder / f"{name}.csv", infer_schema_length=None)
        content = json.loads((judged.folder / f"{name}.json").read_text())
        assert content["synthetic"] is True and content["bootstrap"]["draws"] == 100
        assert csv.columns == judged.tables[name].columns and csv["synthetic"].all()
        assert len(content["rows"]) == len(csv) > 0
        assert "NaN" not in (judged.folder / f"{name}.json").read_text()
    assert {p.name for p in judged.files if p.suffix == ".png"} == {
        f"{n}.png" for n in ("cohort", "training", "per_class", "curves", "subgroups", "reliability")
    }
    assert all(path.stat().st_size for path in judged.files) and judged.report in judged.files


def test_undefined_values_are_counted_with_reasons(judged: Evaluation) -> None:
    rows = judged.tables["undefined"]
    overall = rows.filter((pl.col("kind") == "subset") & (pl.col("region") == "all")).to_dicts()
    assert [(r["class"], r["reason"], r["undefined_draws"]) for r in overall] == [("Pneumonia", "no positives", 100)]
    assert set(rows["kind"]) >= {"subset", "group age"}


def test_the_same_input_gives_the_same_bytes_whatever_the_order_of_rows(run: Path, tmp_path: Path) -> None:
    evaluate_run(run, n_bootstrap=20, out=tmp_path / "a")
    table = pl.read_parquet(run / "predictions.parquet")
    table.sample(fraction=1, shuffle=True, seed=3).write_parquet(run / "predictions.parquet")
    evaluate_run(run, n_bootstrap=20, out=tmp_path / "b")
    evaluate_run(run, n_bootstrap=20, seed=1, out=tmp_path / "c", report=False)
    first, second = (sorted(p for p in (tmp_path / n).rglob("*") if p.is_file()) for n in "ab")
    assert [p.name for p in first] == [p.name for p in second] and len(first) == 2 * len(TABLES) + 6 + 1
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, second, strict=True))
    metrics = "evaluation/metrics.csv"
    assert (tmp_path / "c" / metrics).read_bytes() != (tmp_path / "a" / metrics).read_bytes()


def test_a_strangers_csv_with_the_least_columns(tmp_path: Path) -> None:
    table = predictions_table(80, 1).select(pl.col("id", "split"), pl.col("^(target|score)/.*$"))
    table.write_csv(tmp_path / "mine.csv")
    found = evaluate_table(tmp_path / "mine.csv", n_bootstrap=20)
    assert found.folder == tmp_path / "mine.evaluation" and found.synthetic is None
    assert found.tables["subsets"]["subset"].to_list() == ["all"] and not len(found.tables["gaps"])
    assert found.tables["metrics"]["average"].to_list() == ["macro", "macro"]
    html = found.report.read_text()
    assert "SYNTHETIC" not in html and "real or synthetic" in html
    for reason in ("no group/", "no present/", "no such file beside the predictions"):
        assert reason in html
    assert not (found.folder / "training.png").exists()


def test_nothing_defined_is_an_evaluation_too(tmp_path: Path) -> None:
    table = predictions_table(30, 2).with_columns(pl.lit(0.0).alias("target/Shock <1>"))
    table = table.with_columns(pl.lit(None, dtype=pl.Float64).alias("target/Septicemia (except in labor)"))
    found = evaluate_run(write_run(tmp_path / "run", table), n_bootstrap=20)
    assert np.isnan(found.value()["value"]) and found.value()["classes_defined"] == 0
    reasons = set(found.tables["per_class"]["undefined"])
    assert reasons == {"no positives", "no labelled rows"} and "no class has both" in found.report.read_text()
    text = printed(found, 120)
    assert "undefined" in text and "Shock <1>: no positives" in text


def test_the_terminal_table_says_what_it_rests_on(judged: Evaluation) -> None:
    text = printed(judged, 80)
    row = judged.value("auroc", "paired")
    for words in ("SYNTHETIC", "paired", f"{row['value']:.3f} ({row['low']:.3f}, {row['high']:.3f})", "5/6", "218"):
        assert words in text
    assert "100 bootstrap draws of patients" in text and "say nothing about patients" in text
    assert max(map(len, text.splitlines())) <= 80


def test_another_split_is_written_apart(run: Path) -> None:
    val = pl.read_parquet(run / "predictions.parquet").with_columns(pl.lit("val").alias("split"))
    val.write_parquet(run / "predictions.val.parquet")
    found = evaluate_run(run, predictions=run / "predictions.val.parquet", n_bootstrap=10)
    assert found.folder == run / "evaluation" / "val" and found.report == run / "report.val.html"
    assert evaluate_table(run / "predictions.val.parquet", n_bootstrap=10, report=False).folder == found.folder
    (run / "predictions.parquet").unlink()
    again = evaluate_run(run, n_bootstrap=10, report=False)
    assert again.predictions.split == "val" and again.report is None
    assert "report.val.html and the plots are of an earlier evaluation; these tables are new." in again.notes
    (run / "predictions.val.parquet").unlink()
    with pytest.raises(PredictionsError, match="no predictions table"):
        evaluate_run(run)


def test_a_plot_of_an_earlier_evaluation_does_not_stay(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", predictions_table(60, 1))
    (run / "evaluation").mkdir()
    (run / "evaluation" / "training.png").write_bytes(b"of a log that is gone")
    (run / "logs" / "metrics.csv").unlink()
    evaluate_run(run, n_bootstrap=10)
    assert not (run / "evaluation" / "training.png").exists()


@pytest.mark.parametrize("content", ["not json", "[]", '{"model": "mine", "data": 3, "task": null}'])
def test_odd_run_facts_do_not_stop_the_judging(run: Path, content: str) -> None:
    (run / "run.json").write_text(content)
    (run / "data_manifest.json").write_text('{"flow": "none", "release": 2}')
    (run / "logs" / "metrics.csv").write_text("step,loss\n1,2\n")
    found = evaluate_run(run, n_bootstrap=10)
    assert found.synthetic is None and "no column `epoch`" in found.report.read_text()


@pytest.mark.parametrize(
    "settings",
    [
        {"n_bootstrap": 1},
        {"seed": -1},
        {"level": 1.0},
        {"subsets": ("alll",)},
        {"subsets": ()},
        {"age_bands": "harutyunyan"},
        {"age_bands": (50, 18)},
        {"bins": 1},
    ],
)
def test_settings_out_of_range_stop_before_any_work(run: Path, settings: dict) -> None:
    with pytest.raises(OptionError) as error:
        evaluate_run(run, **settings)
    assert error.value.accepted and error.value.next_step and not (run / "evaluation").exists()


def test_subsets_need_presence(tmp_path: Path) -> None:
    table = predictions_table(40, 2).drop("present/ehr", "present/cxr")
    run = write_run(tmp_path / "run", table)
    with pytest.raises(OptionError, match="present/<modality>"):
        evaluate_run(run, subsets=("paired",))
    assert any("present/<modality>" in note for note in evaluate_run(run, n_bootstrap=10, report=False).notes)


def test_age_bands_of_medfuse_and_ages_outside(run: Path) -> None:
    table = pl.read_parquet(run / "predictions.parquet")
    age = pl.when(pl.int_range(pl.len()) < 3).then(pl.lit(12.0)).otherwise(pl.col("group/age"))
    table.with_columns(age.alias("group/age")).write_parquet(run / "predictions.parquet")
    found = evaluate_run(run, n_bootstrap=10, age_bands="medfuse", report=False)
    levels = found.tables["subgroups"].filter(pl.col("group") == "age")["level"].unique(maintain_order=True)
    assert levels.to_list() == ["[18, 40)", "[40, 60)", "[60, 80)", "≥ 80"]
    assert any("3 rows have no age" in note for note in found.notes)
