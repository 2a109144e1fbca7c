"""Decisions: sample values and draws against scikit-learn on rows written out, ties, and what has no value."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_run import predictions_table, write_run
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, matthews_corrcoef

from cardiozoo.evaluation.bootstrap import confidence_interval
from cardiozoo.evaluation.decisions import TITLES, class_values, decide, decision_metric
from cardiozoo.evaluation.evaluate import Evaluation, evaluate_run
from cardiozoo.evaluation.folds import fold_scores


def by_hand(target: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """From the four counts, for one class."""
    keep = ~np.isnan(target)
    tn, fp, fn, tp = confusion_matrix(target[keep], score[keep] >= 0.5, labels=[0, 1]).ravel().tolist()
    root = float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
    return {
        "accuracy": (tp + tn) / (tp + fp + fn + tn),
        "mcc": (tp * tn - fp * fn) / root if root else 0.0,
        "f1": tp / (tp + (fp + fn) / 2),
        "sensitivity": tp / (tp + fn) if tp + fn else np.nan,
        "specificity": tn / (tn + fp),
    }


def one_hot_table(rows: int = 150, classes: int = 4, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    logits = rng.normal(size=(rows, classes)) + 1.2 * np.eye(classes)[truth]
    score = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    columns = {"id": [f"s{i:04d}" for i in range(rows)], "split": ["test"] * rows}
    columns |= {"patient": [f"p{i}" for i in rng.integers(0, rows // 2, rows)]}
    target = np.eye(classes)[truth]
    target[:5] = np.nan  # unlabelled rows take no part
    columns |= {f"target/{c}": target[:, c] for c in range(classes)}
    return pl.DataFrame(columns | {f"score/{c}": score[:, c] for c in range(classes)})


def state_kind(run: Path, kind: str | None) -> None:
    facts = json.loads((run / "run.json").read_text())
    facts["task"]["kind"] = kind
    (run / "run.json").write_text(json.dumps(facts))


def row_of(evaluation: Evaluation, name: str, metric: str) -> dict:
    table = evaluation.tables["decisions"]
    wanted = (pl.col("class") == name) & (pl.col("metric") == metric) & (pl.col("subset") == "all")
    return table.filter(wanted).row(0, named=True)


def interval_of(row: dict) -> tuple[float, ...]:
    return tuple(row[key] for key in ("value", "low", "high", "mean", "sd"))


@pytest.mark.parametrize("metric", TITLES)
def test_each_class_equals_counts_by_hand_and_the_slow_bootstrap(judged: Evaluation, metric: str) -> None:
    p = judged.predictions
    for c in (0, 1, 3):
        row = row_of(judged, p.classes[c], metric)
        assert row["value"] == pytest.approx(by_hand(p.target[:, c], p.score[:, c])[metric])
        slow = confidence_interval(
            lambda t, s: class_values(t, s >= 0.5)[metric], p.target[:, c], p.score[:, c], n=100, groups=p.patient
        )
        assert interval_of(row) == pytest.approx((slow.value, slow.low, slow.high, slow.mean, slow.sd))
        assert row["positives"] == np.nansum(p.target[:, c]) and row["undefined_draws"] == slow.undefined
    assert np.isnan(row_of(judged, p.classes[2], "sensitivity")["value"])  # a class without positives


@pytest.mark.parametrize("metric", TITLES)
def test_all_classes_together_equal_the_slow_bootstrap(judged: Evaluation, metric: str) -> None:
    p = judged.predictions
    slow = confidence_interval(decision_metric(metric), p.target, p.score, n=100, groups=p.patient)
    assert interval_of(judged.decision(metric)) == pytest.approx((slow.value, slow.low, slow.high, slow.mean, slow.sd))
    assert judged.decision(metric)["class"] == "macro"


def test_a_choice_among_classes_is_the_most_probable_one(tmp_path) -> None:
    run = write_run(tmp_path / "run", one_hot_table())
    state_kind(run, "multiclass")
    found = evaluate_run(run, n_bootstrap=60, report=False)
    p = found.predictions
    labelled = ~np.isnan(p.target[:, 0])
    truth, said = p.target[labelled].argmax(axis=1), p.score[labelled].argmax(axis=1)
    assert p.one_hot and found.decision("accuracy")["class"] == "overall"
    assert found.decision("accuracy")["value"] == pytest.approx((truth == said).mean())
    assert found.decision("mcc")["value"] == pytest.approx(matthews_corrcoef(truth, said))
    assert found.decision("f1")["value"] == pytest.approx(f1_score(truth, said, average="macro"))
    assert found.decision("sensitivity")["value"] == pytest.approx(balanced_accuracy_score(truth, said))
    for metric in TITLES:
        slow = confidence_interval(decision_metric(metric, True), p.target, p.score, n=60, groups=p.patient)
        row = found.decision(metric)
        assert interval_of(row) == pytest.approx((slow.value, slow.low, slow.high, slow.mean, slow.sd))


@pytest.mark.parametrize(("kind", "one_hot"), [("multilabel", False), ("multiclass", True), (None, True)])
def test_the_kind_of_the_task_says_how_is_decided_and_the_rows_only_where_nobody_does(
    tmp_path, kind: str | None, one_hot: bool
) -> None:
    run = write_run(tmp_path / "run", one_hot_table(40))
    state_kind(run, kind)
    found = evaluate_run(run, n_bootstrap=5)
    assert found.decision("accuracy")["class"] == ("overall" if one_hot else "macro")
    assert ("decided from a probability of 0.5" in found.report.read_text()) is not one_hot
    assert found.predictions.one_hot is one_hot
    folded = fold_scores(0, run).values
    assert folded["accuracy"] == pytest.approx(found.decision("accuracy")["value"])


def test_half_is_yes_and_the_first_of_equals_is_chosen() -> None:
    assert decide(np.array([[0.5], [0.49]]), one_hot=False).ravel().tolist() == [True, False]
    assert decide(np.array([[0.4, 0.4, 0.2]]), one_hot=True).tolist() == [[True, False, False]]


def test_a_model_that_says_the_same_of_everyone_has_a_correlation_of_zero_and_it_is_said(tmp_path) -> None:
    table = predictions_table(60, 1).with_columns(pl.lit(0.2).alias("score/Shock <1>"))
    found = evaluate_run(write_run(tmp_path / "run", table), n_bootstrap=20)
    row = found.decision("mcc")
    assert row["value"] == 0 and row["zero_over_zero"] == 20 and row["undefined_draws"] == 0
    assert found.decision("f1")["value"] == 0 and found.decision("sensitivity")["value"] == 0
    said = next(note for note in found.notes if "0 / 0" in note)
    assert "20 of 20 draws" in said and "0 / 0" in found.report.read_text()
    assert found.summary()["decisions"][0]["metric"] == "accuracy"
