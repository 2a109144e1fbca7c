"""How far predictions in the units of the target are off: RMSE, MAE, R2, Pearson's r, and agreement.

Values of the sample are scikit-learn's and scipy's. Every one of them is a function of a few sums over patients, so the
bootstrap draws are one sparse product; sums are taken of centred values, so nothing cancels.

R2 and r need two different targets (r also two different predictions); without them they are undefined, NaN. R2 is that
of scikit-learn: 1 - residual / total sum of squares, negative for predictions that are worse than the mean.
Agreement follows Bland and Altman (Lancet 1986): the mean difference prediction - target, and the mean -+ 1.96 standard
deviations of the differences (n - 1), between which about 95 % of them lie.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from cardiozoo.evaluation.areas import Advance, Areas, Region
from cardiozoo.evaluation.bootstrap import Interval, PatientDraws
from cardiozoo.evaluation.metrics import Metric, labelled_rows, per_class, ratio
from cardiozoo.evaluation.predictions import Predictions

LIMIT = 1.96
AGREEMENT = ("bias", "sd_of_differences", "lower_limit", "upper_limit", "slope")


def rmse(target: np.ndarray, score: np.ndarray) -> float:
    """Root of the mean squared error: target (N,) with NaN (skipped), score (N,), in the units of both."""
    target, score = labelled_rows(target, score)
    return float(root_mean_squared_error(target, score)) if len(target) else np.nan


def mae(target: np.ndarray, score: np.ndarray) -> float:
    """Mean absolute error, arguments as for ``rmse``."""
    target, score = labelled_rows(target, score)
    return float(mean_absolute_error(target, score)) if len(target) else np.nan


def r2(target: np.ndarray, score: np.ndarray) -> float:
    """Coefficient of determination; NaN without two different targets."""
    target, score = labelled_rows(target, score)
    return float(r2_score(target, score)) if len(np.unique(target)) > 1 else np.nan


def pearson(target: np.ndarray, score: np.ndarray) -> float:
    """Pearson's correlation; NaN without two different targets and two different predictions."""
    target, score = labelled_rows(target, score)
    varied = len(np.unique(target)) > 1 and len(np.unique(score)) > 1
    return float(pearsonr(target, score).statistic) if varied else np.nan


METRICS: dict[str, Metric] = {"rmse": rmse, "mae": mae, "r2": r2, "pearson": pearson}
TITLES = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "pearson": "Pearson r"}
#: Metrics without a unit, of which a mean over targets says something.
UNIT_FREE = ("r2", "pearson")


def areas_by_region(
    predictions: Predictions, regions: Mapping[Region, np.ndarray], draws: PatientDraws, advance: Advance | None = None
) -> dict[Region, Areas]:
    """The metrics of each target column in each region, on the sample and in every draw."""
    columns, result = len(predictions.classes), {}
    summed: list[tuple[np.ndarray, dict[str, np.ndarray], int]] = []
    for name, rows in regions.items():
        target, score, codes = predictions.target[rows], predictions.score[rows], draws.codes[rows]
        drawn = {metric: np.full((draws.n, columns), np.nan) for metric in METRICS}
        labelled = (~np.isnan(target)).sum(axis=0)
        result[name] = Areas(
            len(target),
            len(np.unique(codes)),
            labelled,
            np.zeros(columns, dtype=int),
            tuple(_reason(len(target), int(n)) for n in labelled),
            {metric: per_class(function, target, score) for metric, function in METRICS.items()},
            drawn,
        )
        summed += [
            (moments(target[:, c], score[:, c], codes, draws.patients), drawn, c) for c in np.flatnonzero(labelled)
        ]
    for span, counts in draws.blocks():
        for sums, drawn, c in summed:
            for metric, values in _metrics(sums @ counts).items():
                drawn[metric][span, c] = values
        if advance:
            advance(span.stop - span.start)
    return result


def agreement(predictions: Predictions, draws: PatientDraws, level: float) -> dict[tuple[str, str], Interval]:
    """Bland-Altman's numbers and the slope of prediction on target, of each target column: (column, measure)."""
    found = {}
    for c, name in enumerate(predictions.classes):
        target, score = predictions.target[:, c], predictions.score[:, c]
        if np.isnan(target).all():
            continue
        sums = moments(target, score, draws.codes, draws.patients)
        drawn = np.concatenate([_agreement(sums @ counts) for _, counts in draws.blocks()], axis=1)
        sample = _agreement(sums.sum(axis=1, keepdims=True))[:, 0]
        for i, measure in enumerate(AGREEMENT):
            found[name, measure] = Interval.from_draws(sample[i], drawn[i], level)
    return found


def moments(target: np.ndarray, score: np.ndarray, codes: np.ndarray, patients: int) -> np.ndarray:
    """Sums by patient, (9, patients): rows; y, s, y^2, s^2, y s of centred targets y and predictions s; |d|, d, d^2 of
    the differences d, prediction minus target."""
    keep = ~np.isnan(target)
    y, s, codes = target[keep], score[keep], codes[keep]
    d = s - y
    y, s = y - y.mean(), s - s.mean()
    parts = (np.ones_like(y), y, s, y * y, s * s, y * s, np.abs(d), d, d * d)
    return np.stack([np.bincount(codes, weights=part, minlength=patients) for part in parts])


def _metrics(sums: np.ndarray) -> dict[str, np.ndarray]:
    n, y, s, yy, ss, ys, absolute, _, squared = sums
    total, spread = _centred(yy, y, y, n), _centred(ss, s, s, n)
    return {
        "rmse": np.sqrt(ratio(squared, n)),
        "mae": ratio(absolute, n),
        "r2": 1 - ratio(squared, total),
        "pearson": np.clip(ratio(_centred(ys, y, s, n), np.sqrt(total * spread)), -1, 1),
    }


def _agreement(sums: np.ndarray) -> np.ndarray:
    """(measures, D), in the order of ``AGREEMENT``."""
    n, y, s, yy, ss, ys, _, d, _ = sums
    bias, total = ratio(d, n), _centred(yy, y, y, n)
    common = _centred(ys, y, s, n)
    spread = np.maximum(_centred(ss, s, s, n) + total - 2 * common, 0)  # of the differences: var s + var y - 2 cov
    sd = np.sqrt(ratio(spread, np.maximum(n - 1, 0)))
    slope = ratio(common, total)
    return np.stack([bias, sd, bias - LIMIT * sd, bias + LIMIT * sd, slope])


def _centred(xy: np.ndarray, x: np.ndarray, y: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Sum of products about the means of the draw; what rounding leaves of a sum that is zero is set to zero."""
    value = xy - ratio(x * y, n)
    return np.where(np.abs(value) <= 1e-12 * np.abs(xy).max(initial=0.0), 0.0, value)


def _reason(rows: int, labelled: int) -> str | None:
    if not rows:
        return "no rows"
    return None if labelled else "no labelled rows"
