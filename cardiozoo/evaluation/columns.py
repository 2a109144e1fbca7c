"""Means of the numbers that a model keeps beside its predictions (``extra/<name>``), for runs without targets.

A model that reconstructs its input is judged by what it says of each sample: the error of each lead, the divergence of
its posterior. Nothing is ranked and nothing is called right or wrong. Samples without a value (a lead that was not
recorded) are left out of that column's mean and counted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cardiozoo.evaluation.areas import Advance, Areas, Region
from cardiozoo.evaluation.bootstrap import PatientDraws
from cardiozoo.evaluation.metrics import ratio
from cardiozoo.evaluation.predictions import Predictions

MEAN = "mean"
TITLES = {MEAN: "mean"}


def areas_by_region(
    predictions: Predictions, regions: Mapping[Region, np.ndarray], draws: PatientDraws, advance: Advance | None = None
) -> dict[Region, Areas]:
    """The mean of each column in each region, on the sample and in every draw."""
    columns, result, summed = len(predictions.classes), {}, []
    for name, rows in regions.items():
        value, codes = predictions.score[rows], draws.codes[rows]
        known = ~np.isnan(value)
        count = known.sum(axis=0)
        drawn = np.full((draws.n, columns), np.nan)
        result[name] = Areas(
            len(value),
            len(np.unique(codes)),
            count,
            np.zeros(columns, dtype=int),
            tuple(None if n else ("no values" if len(value) else "no rows") for n in count.tolist()),
            {MEAN: ratio(np.where(known, value, 0.0).sum(axis=0), count)},
            {MEAN: drawn},
        )
        by_patient = np.zeros((2, columns, draws.patients))
        np.add.at(by_patient, (0, slice(None), codes), np.where(known, value, 0.0))
        np.add.at(by_patient, (1, slice(None), codes), known.astype(float))
        summed.append((by_patient, drawn))
    for span, counts in draws.blocks():
        for (total, number), drawn in summed:
            drawn[span] = ratio(total @ counts, number @ counts).T
        if advance:
            advance(span.stop - span.start)
    return result
