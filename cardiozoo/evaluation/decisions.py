"""Decisions made from probabilities: accuracy, Matthews correlation, F1, sensitivity and specificity.

A class is said to be there from a probability of 0.5; where each row has exactly one class (one-hot targets), it is the
class with the highest probability, the first of equals. Values of the sample are scikit-learn's; those of the bootstrap
draws follow from how many right and wrong decisions each patient brings, which is one sparse product.

Undefined is NaN (a sensitivity without positives), with one exception that the papers and scikit-learn share: a
Matthews correlation of 0 / 0, when everything or nothing is decided or true, counts as 0, and it is said how often.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, recall_score

from cardiozoo.evaluation.bootstrap import PatientDraws
from cardiozoo.evaluation.metrics import mean_of_defined, ratio
from cardiozoo.evaluation.predictions import Predictions

THRESHOLD = 0.5
TITLES = {
    "accuracy": "accuracy",
    "mcc": "MCC",
    "f1": "F1",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}


@dataclass(frozen=True)
class Decisions:
    """Decisions in one set of rows.

    Attributes:
        rows, patients: How many it holds.
        labelled, positives, decided: int (C,), per class: rows with a label, true ones, rows decided to be it.
        values: Metric -> (C,) on the sample, NaN = undefined.
        draws: Metric -> (D, C).
        overall: Metric -> the value of all classes together: the mean over the classes where it is defined, or, for a
            choice among classes, the share of right choices and the multi-class Matthews correlation.
        overall_draws: Metric -> (D,).
        zero_over_zero: Draws, per class and then overall, in which the Matthews correlation was 0 / 0: int (C + 1,).
    """

    rows: int
    patients: int
    labelled: np.ndarray
    positives: np.ndarray
    decided: np.ndarray
    values: dict[str, np.ndarray]
    draws: dict[str, np.ndarray]
    overall: dict[str, float]
    overall_draws: dict[str, np.ndarray]
    zero_over_zero: np.ndarray


def decide(score: np.ndarray, one_hot: bool) -> np.ndarray:
    """Probabilities (N, C) as decisions, bool (N, C)."""
    if not one_hot:
        return score >= THRESHOLD
    return np.arange(score.shape[1]) == score.argmax(axis=1)[:, None]


def class_values(target: np.ndarray, decided: np.ndarray) -> dict[str, float]:
    """The metrics of one class: target (N,) of 0, 1 or NaN (left out), decided bool (N,)."""
    labelled = ~np.isnan(target)
    truth, said = target[labelled].astype(int), decided[labelled].astype(int)
    if not len(truth):
        return dict.fromkeys(TITLES, np.nan)
    undefined = {"zero_division": np.nan}
    return {
        "accuracy": float(accuracy_score(truth, said)),
        "mcc": _matthews(truth, said),
        "f1": float(f1_score(truth, said, **undefined)),
        "sensitivity": float(recall_score(truth, said, **undefined)),
        "specificity": float(recall_score(truth, said, pos_label=0, **undefined)),
    }


def overall_values(target: np.ndarray, decided: np.ndarray, one_hot: bool) -> dict[str, float]:
    """The metrics of all classes together, see ``Decisions.overall``; target and decided (N, C)."""
    singles = [class_values(target[:, c], decided[:, c]) for c in range(target.shape[1])]
    values = {name: float(mean_of_defined(np.array([single[name] for single in singles]))) for name in TITLES}
    complete = ~np.isnan(target).any(axis=1)
    if one_hot and complete.any():
        truth, said = target[complete].argmax(axis=1), decided[complete].argmax(axis=1)
        values["accuracy"], values["mcc"] = float(accuracy_score(truth, said)), _matthews(truth, said)
    return values


def judge_decisions(predictions: Predictions, rows: np.ndarray, draws: PatientDraws) -> Decisions:
    """Judge the decisions in some rows (bool (N,)) of a table, with the draws of the whole table's patients."""
    one_hot, codes = predictions.one_hot, draws.codes[rows]
    target, decided = predictions.target[rows], decide(predictions.score[rows], predictions.one_hot)
    if one_hot:  # a row counts with all of its classes or not at all
        target = np.where(np.isnan(target).any(axis=1, keepdims=True), np.nan, target)
    cells = _cells(target, decided, codes, draws.patients)
    classes = target.shape[1]
    drawn = {name: np.full((draws.n, classes), np.nan) for name in TITLES}
    overall = {name: np.full(draws.n, np.nan) for name in TITLES}
    zeros = np.zeros(classes + 1, dtype=int)
    for span, counts in draws.blocks():
        tp, fp, fn, tn = (cells @ counts).reshape(4, classes, -1)
        values, empty = _values(tp, fp, fn, tn)
        together, nothing = _overall(values, tp, fp, fn, tn, one_hot)
        for name in TITLES:
            drawn[name][span], overall[name][span] = values[name].T, together[name]
        zeros += np.append(empty.sum(axis=1), nothing.sum())
    singles = [class_values(target[:, c], decided[:, c]) for c in range(classes)]
    labelled = ~np.isnan(target)
    return Decisions(
        len(target),
        len(np.unique(codes)),
        labelled.sum(axis=0),
        (target == 1).sum(axis=0),
        (decided & labelled).sum(axis=0),
        {name: np.array([single[name] for single in singles]) for name in TITLES},
        drawn,
        overall_values(target, decided, one_hot),
        overall,
        zeros,
    )


def _cells(target: np.ndarray, decided: np.ndarray, codes: np.ndarray, patients: int) -> csr_matrix:
    """Right and wrong decisions by patient, (4 C, patients): true positives of each class, then FP, FN, TN."""
    classes = target.shape[1]
    row, column = np.nonzero(~np.isnan(target))
    true, said = target[row, column] == 1, decided[row, column]
    kind = np.where(true, np.where(said, 0, 2), np.where(said, 1, 3))
    return csr_matrix((np.ones(len(row)), (kind * classes + column, codes[row])), shape=(4 * classes, patients))


def _values(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Each metric of each class and draw, (C, D), and where the Matthews correlation was 0 / 0."""
    total = tp + fp + fn + tn
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    empty = (product == 0) & (total > 0)
    mcc = np.where(empty, 0.0, ratio(tp * tn - fp * fn, np.sqrt(product)))
    values = {
        "accuracy": ratio(tp + tn, total),
        "mcc": mcc,
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "sensitivity": ratio(tp, tp + fn),
        "specificity": ratio(tn, tn + fp),
    }
    return values, empty


def _overall(
    values: dict[str, np.ndarray], tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray, one_hot: bool
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    together = {name: mean_of_defined(value, axis=0) for name, value in values.items()}
    if not one_hot:
        return together, np.zeros(tp.shape[1], dtype=bool)
    # Gorodkin 2004, the form that scikit-learn computes: c right ones of s, t_k true and p_k decided ones of class k.
    right, total, true, said = tp.sum(axis=0), (tp + fp + fn + tn)[0], tp + fn, tp + fp
    below = (total**2 - (said**2).sum(axis=0)) * (total**2 - (true**2).sum(axis=0))
    empty = (below <= 0) & (total > 0)
    above = right * total - (true * said).sum(axis=0)
    together["accuracy"] = ratio(right, total)
    together["mcc"] = np.where(empty, 0.0, ratio(above, np.sqrt(np.maximum(below, 0))))
    return together, empty


def _matthews(truth: np.ndarray, said: np.ndarray) -> float:
    # With one label in all of both scikit-learn warns of its confusion matrix; its answer is 0.
    one_label = len(np.unique(np.concatenate([truth, said]))) == 1
    return 0.0 if one_label else float(matthews_corrcoef(truth, said))


def decision_metric(name: str, one_hot: bool = False) -> Callable[[np.ndarray, np.ndarray], float]:
    """One metric of all classes together, for ``confidence_interval``: (target (N, C), score (N, C)) -> float."""

    def metric(target: np.ndarray, score: np.ndarray) -> float:
        return overall_values(target, decide(score, one_hot), one_hot)[name]

    return metric
