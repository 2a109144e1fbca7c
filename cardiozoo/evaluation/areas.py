"""AUROC and AUPRC of each class in each region of a table (all rows, a subset, a subgroup), sample and draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from cardiozoo.evaluation.bootstrap import PatientDraws
from cardiozoo.evaluation.metrics import METRICS, per_class, undefined_reason
from cardiozoo.evaluation.predictions import Predictions
from cardiozoo.evaluation.ranking import RankedScores

Region = tuple[str, str]
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Areas:
    """One region.

    Attributes:
        rows, patients: How many it holds.
        labelled, positives: int (C,), per class.
        reasons: Why a class has no value, C entries, None where it has one.
        values: Metric -> (C,) on the sample, NaN = undefined.
        draws: Metric -> (D, C).
    """

    rows: int
    patients: int
    labelled: np.ndarray
    positives: np.ndarray
    reasons: tuple[str | None, ...]
    values: dict[str, np.ndarray]
    draws: dict[str, np.ndarray]


def areas_by_region(
    predictions: Predictions, regions: Mapping[Region, np.ndarray], draws: PatientDraws, advance: Advance | None = None
) -> dict[Region, Areas]:
    """Point values through scikit-learn, draws through ``RankedScores``; all regions and classes share each draw.

    Args:
        predictions: The table.
        regions: Name -> bool (N,).
        draws: Resamples of all the table's patients; a region takes part with the rows it has in a draw.
        advance: Called with the number of draws done since the last call.
    """
    classes = len(predictions.classes)
    result, ranked = {}, []
    for name, rows in regions.items():
        target, score = predictions.target[rows], predictions.score[rows]
        drawn = {metric: np.full((draws.n, classes), np.nan) for metric in METRICS}
        reasons = tuple(undefined_reason(target[:, c]) for c in range(classes))
        codes = draws.codes[rows]
        result[name] = Areas(
            len(target),
            len(np.unique(codes)),
            (~np.isnan(target)).sum(axis=0),
            (target == 1).sum(axis=0),
            reasons,
            {metric: per_class(function, target, score) for metric, function in METRICS.items()},
            drawn,
        )
        for c in (c for c in range(classes) if reasons[c] is None):
            ranked.append((RankedScores(target[:, c], score[:, c], codes, draws.patients), drawn, c))
    # As many draws at a time as keep a block of (levels, draws) within tens of megabytes.
    for span, counts in draws.blocks(min(64, max(4, 3_000_000 // max(1, len(predictions))))):
        for scores, drawn, c in ranked:
            drawn["auroc"][span, c], drawn["auprc"][span, c] = scores.areas(counts)
        if advance:
            advance(span.stop - span.start)
    return result
