"""Ranking metrics of probabilities against 0/1 targets. Undefined is NaN, never a guess.

Both are scikit-learn's: AUROC with ties at one half (Mann-Whitney), AUPRC as average precision, the step-wise sum
that does not interpolate (Davis and Goadrich 2006 on why not to). With targets of one kind only, neither says anything
of the model, so both are undefined there; scikit-learn would answer 0 or 1 for the average precision.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

Metric = Callable[[np.ndarray, np.ndarray], float]


def auroc(target: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve: target (N,) of 0, 1 or NaN (skipped), score (N,) -> float, NaN if undefined."""
    target, score = labelled_rows(target, score)
    return float("nan") if undefined_reason(target) else float(roc_auc_score(target, score))


def average_precision(target: np.ndarray, score: np.ndarray) -> float:
    """Average precision, arguments as for ``auroc``; a score without information has the prevalence."""
    target, score = labelled_rows(target, score)
    return float("nan") if undefined_reason(target) else float(average_precision_score(target, score))


METRICS: dict[str, Metric] = {"auroc": auroc, "auprc": average_precision}
TITLES = {"auroc": "AUROC", "auprc": "AUPRC"}


def per_class(metric: Metric, target: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The metric of each column: target and score (N, C) -> (C,), NaN where undefined."""
    return np.array([metric(target[:, c], score[:, c]) for c in range(target.shape[1])])


def macro(metric: Metric) -> Metric:
    """The mean of a metric over the classes where it is defined, as a metric of (N, C) arrays; NaN if none is."""

    def mean_over_classes(target: np.ndarray, score: np.ndarray) -> float:
        return float(mean_of_defined(per_class(metric, target, score)))

    return mean_over_classes


def mean_of_defined(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean over an axis that leaves NaN out; NaN where all are NaN (without numpy's warning)."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=axis)
    return np.where(count, np.where(defined, values, 0.0).sum(axis=axis) / np.maximum(count, 1), np.nan)


def undefined_reason(target: np.ndarray) -> str | None:
    """Why a ranking metric has no value on these targets (N,), or None if it has one."""
    labelled = target[~np.isnan(target)]
    if not len(target):
        return "no rows"
    if not len(labelled):
        return "no labelled rows"
    if labelled.all():
        return "no negatives"
    return None if labelled.any() else "no positives"


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotients, NaN where the divisor is 0 (without numpy's warning)."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)


def labelled_rows(target: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows whose target is not NaN, of target and score (N,), in float64."""
    target, score = np.asarray(target, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if target.ndim != 1 or target.shape != score.shape:
        raise ValueError(f"target and score must both be (N,), got {target.shape} and {score.shape}")
    keep = ~np.isnan(target)
    return target[keep], score[keep]
