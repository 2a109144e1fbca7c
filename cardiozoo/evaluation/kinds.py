"""The kinds of predictions that are judged, and what is measured in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from cardiozoo.evaluation import areas, columns, metrics, regression
from cardiozoo.evaluation.areas import Advance, Areas, Region
from cardiozoo.evaluation.bootstrap import PatientDraws
from cardiozoo.evaluation.predictions import CLASSIFICATION, REGRESSION, UNSUPERVISED, Predictions

Judge = Callable[[Predictions, Mapping[Region, np.ndarray], PatientDraws, Advance | None], dict[Region, Areas]]


@dataclass(frozen=True)
class Kind:
    """One kind.

    Attributes:
        titles: Name of each metric -> how it is written.
        averaged: Metrics of which a mean over columns says something.
        judge: Computes them in each region, on the sample and in every draw.
        plots: Names of the report's plots.
        template: The report's template.
    """

    titles: dict[str, str]
    averaged: tuple[str, ...]
    judge: Judge
    plots: tuple[str, ...]
    template: str


KINDS = {
    CLASSIFICATION: Kind(
        metrics.TITLES,
        tuple(metrics.METRICS),
        areas.areas_by_region,
        ("cohort", "training", "per_class", "curves", "subgroups", "reliability"),
        "report.html",
    ),
    REGRESSION: Kind(
        regression.TITLES,
        regression.UNIT_FREE,
        regression.areas_by_region,
        ("cohort", "training", "agreement", "subgroups"),
        "regression.html",
    ),
    UNSUPERVISED: Kind(
        columns.TITLES, (), columns.areas_by_region, ("cohort", "training", "columns"), "unsupervised.html"
    ),
}
