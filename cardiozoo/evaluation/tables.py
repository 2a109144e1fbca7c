"""The tables of an evaluation, and how each is written: one CSV, one JSON beside it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cardiozoo.evaluation.areas import Areas, Region
from cardiozoo.evaluation.bootstrap import Interval
from cardiozoo.evaluation.calibration import Calibration
from cardiozoo.evaluation.decisions import TITLES as DECISIONS
from cardiozoo.evaluation.decisions import Decisions
from cardiozoo.evaluation.metrics import METRICS, mean_of_defined
from cardiozoo.evaluation.subgroups import pairwise_gaps

VALUE = {"value": pl.Float64, "low": pl.Float64, "high": pl.Float64, "mean": pl.Float64, "sd": pl.Float64}
DRAWS = {"draws": pl.Int64, "undefined_draws": pl.Int64}
SIZE = {"rows": pl.Int64, "patients": pl.Int64}
COUNT = {"classes_defined": pl.Int64, "classes": pl.Int64}
SCHEMAS: dict[str, dict[str, Any]] = {
    "metrics": {"subset": pl.String, "metric": pl.String, "average": pl.String}
    | VALUE
    | DRAWS
    | {"incomplete_draws": pl.Int64}
    | COUNT
    | SIZE,
    "per_class": {"subset": pl.String, "class": pl.String, "metric": pl.String}
    | VALUE
    | DRAWS
    | {"labelled": pl.Int64, "positives": pl.Int64, "prevalence": pl.Float64, "undefined": pl.String},
    "subsets": {"subset": pl.String, "meaning": pl.String} | SIZE | {"share": pl.Float64},
    "subgroups": {"group": pl.String, "level": pl.String, "class": pl.String, "metric": pl.String}
    | VALUE
    | DRAWS
    | {"classes_defined": pl.Int64}
    | SIZE
    | {"positives": pl.Int64},
    "gaps": {"group": pl.String, "class": pl.String, "metric": pl.String, "kind": pl.String}
    | {"level": pl.String, "reference": pl.String}
    | VALUE
    | DRAWS,
    "decisions": {"subset": pl.String, "class": pl.String, "metric": pl.String}
    | VALUE
    | DRAWS
    | {
        "larger_class": pl.Float64,
        "zero_over_zero": pl.Int64,
        "labelled": pl.Int64,
        "positives": pl.Int64,
        "decided": pl.Int64,
    }
    | SIZE,
    "agreement": {"target": pl.String, "measure": pl.String} | VALUE | DRAWS,
    "calibration": {"class": pl.String, "measure": pl.String} | VALUE | DRAWS,
    "reliability": {"class": pl.String, "binning": pl.String, "bin": pl.Int64}
    | {"lower": pl.Float64, "upper": pl.Float64, "rows": pl.Int64, "mean_score": pl.Float64}
    | {"observed": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    | DRAWS,
    "undefined": {"kind": pl.String, "region": pl.String, "class": pl.String, "reason": pl.String}
    | {"rows": pl.Int64, "labelled": pl.Int64, "positives": pl.Int64}
    | DRAWS,
    "differences": {"subset": pl.String, "class": pl.String, "metric": pl.String}
    | {"value_a": pl.Float64, "value_b": pl.Float64, "difference": pl.Float64}
    | {"low": pl.Float64, "high": pl.Float64, "mean": pl.Float64, "sd": pl.Float64, "share_above_zero": pl.Float64}
    | DRAWS
    | {"classes_compared": pl.Int64}
    | SIZE,
}
MACRO, OVERALL = "macro", "overall"
UNDEFINED_DRAWS = {
    "auroc": "only in some draws: all positives, or all negatives, were left out",
    "r2": "only in some draws: fewer than two different targets were left",
    "mean": "only in some draws: no row with a value was left",
}
CLASS_LIMITS = "macro, mean of class limits"
# Gaps of single classes are left out for groups with more levels than this: pairs grow with the square.
MOST_LEVELS_PER_CLASS = 6


def frame(name: str, rows: Iterable[dict[str, Any]], synthetic: bool | None) -> pl.DataFrame:
    """Rows as a table of the named schema, with the column ``synthetic``, empty if nobody says."""
    table = pl.DataFrame(list(rows), schema=SCHEMAS[name], orient="row")
    return table.with_columns(pl.lit(synthetic, dtype=pl.Boolean).alias("synthetic"))


def macro_rows(
    subset: str,
    areas: Areas,
    class_groups: dict[str, list[int]],
    level: float,
    averaged: tuple[str, ...] = tuple(METRICS),
) -> list[dict[str, Any]]:
    """Means over classes: of all, of each named group, and with the published form of the limits.

    Metrics that are not ``averaged``, because they have units, are given for a single column only.

    The interval of a macro mean is the bootstrap of that mean over the classes defined in the draw. The MedFuse paper
    (MLHC 2022) instead averages the limits of the single classes, which ignores that their errors partly cancel; that
    form is a row of its own.
    """
    rows = []
    everything = {MACRO: list(range(len(areas.reasons)))} | {f"macro, {g}": list(i) for g, i in class_groups.items()}
    single = len(areas.reasons) == 1
    for metric in (m for m in areas.values if single or m in averaged):
        for average, columns in everything.items():
            values, draws = areas.values[metric][columns], areas.draws[metric][:, columns]
            interval = Interval.from_draws(float(mean_of_defined(values)), mean_of_defined(draws), level)
            defined = ~np.isnan(values)
            counts = {
                "incomplete_draws": int(np.isnan(draws[:, defined]).any(axis=1).sum()),
                "classes_defined": int(defined.sum()),
                "classes": len(columns),
                "rows": areas.rows,
                "patients": areas.patients,
            }
            rows.append({"subset": subset, "metric": metric, "average": average} | interval.row() | counts)
            if average == MACRO and len(columns) > 1:
                singles = [Interval.from_draws(v, draws[:, i], level) for i, v in enumerate(values)]
                low, high = (
                    float(mean_of_defined(np.array([getattr(s, k) for s in singles]))) for k in ("low", "high")
                )
                published = interval.row() | {"low": low, "high": high, "mean": None, "sd": None}
                rows.append({"subset": subset, "metric": metric, "average": CLASS_LIMITS} | published | counts)
    return rows


def class_rows(
    subset: str, areas: Areas, classes: tuple[str, ...], level: float, counted: bool = True
) -> list[dict[str, Any]]:
    """One row a class and metric, with its prevalence (if positives can be ``counted``) and why it is undefined."""
    rows = []
    for c, name in enumerate(classes):
        labelled, positives = int(areas.labelled[c]), int(areas.positives[c])
        counts = {
            "labelled": labelled,
            "positives": positives if counted else None,
            "prevalence": positives / labelled if labelled and counted else None,
        }
        for metric in areas.values:
            interval = Interval.from_draws(areas.values[metric][c], areas.draws[metric][:, c], level)
            key = {"subset": subset, "class": name, "metric": metric}
            rows.append(key | interval.row() | counts | {"undefined": areas.reasons[c]})
    return rows


def subgroup_rows(
    group: str,
    areas: dict[str, Areas],
    classes: tuple[str, ...],
    level: float,
    averaged: tuple[str, ...] = tuple(METRICS),
    counted: bool = True,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Values by level of one group, and gaps between levels: macro first, then each class."""
    values, gaps = [], []
    for metric in next(iter(areas.values())).values:
        several = {MACRO: list(range(len(classes)))} if len(classes) > 1 and metric in averaged else {}
        for name, columns in (several | {c: [i] for i, c in enumerate(classes)}).items():
            for level_name, area in areas.items():
                own, drawn = area.values[metric][columns], area.draws[metric][:, columns]
                interval = Interval.from_draws(float(mean_of_defined(own)), mean_of_defined(drawn), level)
                key = {"group": group, "level": level_name, "class": name, "metric": metric}
                counts = {"classes_defined": int((~np.isnan(own)).sum()), "rows": area.rows, "patients": area.patients}
                positives = {"positives": int(area.positives[columns].sum()) if counted else None}
                values.append(key | interval.row() | counts | positives)
            if name not in several and len(classes) > 1 and len(areas) > MOST_LEVELS_PER_CLASS:
                continue
            pairs, mean = pairwise_gaps(
                np.stack([a.values[metric][columns] for a in areas.values()]),
                np.stack([a.draws[metric][:, columns] for a in areas.values()]),
                list(areas),
                level,
            )
            key = {"group": group, "class": name, "metric": metric}
            for pair in pairs:
                ends = {"level": pair.level, "reference": pair.reference}
                gaps.append(key | {"kind": "signed"} | ends | pair.signed.row())
                gaps.append(key | {"kind": "absolute"} | ends | pair.absolute.row())
            ends = {"level": None, "reference": None}
            gaps.append(key | {"kind": "mean absolute pairwise"} | ends | mean.row())
    return values, gaps


def calibration_rows(result: Calibration) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Brier score and calibration errors, and the points of the reliability curves."""
    measures = [{"class": c, "measure": measure} | interval.row() for (c, measure), interval in result.measures.items()]
    points = []
    for point in result.curves:
        interval = point.observed.row()
        observed = {"observed": interval["value"]} | {k: interval[k] for k in ("low", "high", *DRAWS)}
        sizes = {"rows": point.rows, "mean_score": point.mean_score}
        edges = {"bin": point.bin, "lower": point.lower, "upper": point.upper}
        points.append({"class": point.curve, "binning": point.binning} | edges | sizes | observed)
    return measures, points


def decision_rows(
    subset: str, decisions: Decisions, classes: tuple[str, ...], one_hot: bool, level: float
) -> list[dict[str, Any]]:
    """All classes together first (macro; overall for a choice among classes), then each class; one class is itself.

    Rows of the accuracy say in ``larger_class`` what always deciding for the larger class would reach.
    """
    rows = []
    larger = larger_shares(decisions, one_hot)
    size = {"rows": decisions.rows, "patients": decisions.patients}
    for metric in DECISIONS:
        if len(classes) > 1:
            interval = Interval.from_draws(decisions.overall[metric], decisions.overall_draws[metric], level)
            counts = {"labelled": None, "positives": None, "decided": None}
            zeros = {"zero_over_zero": int(decisions.zero_over_zero[-1]) if metric == "mcc" and one_hot else None}
            key = {"subset": subset, "class": OVERALL if one_hot else MACRO, "metric": metric}
            reference = {"larger_class": larger[-1] if metric == "accuracy" else None}
            rows.append(key | interval.row() | reference | zeros | counts | size)
        for c, name in enumerate(classes):
            interval = Interval.from_draws(decisions.values[metric][c], decisions.draws[metric][:, c], level)
            counts = {k: int(getattr(decisions, k)[c]) for k in ("labelled", "positives", "decided")}
            zeros = {"zero_over_zero": int(decisions.zero_over_zero[c]) if metric == "mcc" else None}
            key = {"subset": subset, "class": name, "metric": metric}
            reference = {"larger_class": larger[c] if metric == "accuracy" else None}
            rows.append(key | interval.row() | reference | zeros | counts | size)
    return rows


def larger_shares(decisions: Decisions, one_hot: bool) -> list[float | None]:
    """Per class and then overall, the accuracy of always deciding for what is more frequent; None without labels.

    Of one class: its presence or its absence. Overall: the mean of that, as the accuracy is; of a choice among classes,
    the share of the most frequent one.
    """
    labelled = decisions.labelled > 0
    positive = np.divide(decisions.positives, decisions.labelled, where=labelled, out=np.full(len(labelled), np.nan))
    single = np.maximum(positive, 1 - positive)
    overall = float(positive.max()) if one_hot else float(mean_of_defined(single))
    return [None if np.isnan(share) else float(share) for share in (*single, overall)]


def column_rows(subset: str, areas: Areas, columns: tuple[str, ...], level: float) -> list[dict[str, Any]]:
    """One row a column of a table without targets: its mean."""
    rows = []
    for c, name in enumerate(columns):
        interval = Interval.from_draws(areas.values["mean"][c], areas.draws["mean"][:, c], level)
        counts = {"rows": int(areas.labelled[c]), "patients": areas.patients}
        rows.append({"subset": subset, "metric": name, "average": "mean"} | interval.row() | counts)
    return rows


def agreement_rows(found: dict[tuple[str, str], Interval]) -> list[dict[str, Any]]:
    """Bland-Altman's numbers."""
    return [{"target": target, "measure": measure} | interval.row() for (target, measure), interval in found.items()]


def undefined_rows(areas: dict[Region, Areas], classes: tuple[str, ...], metric: str = "auroc") -> list[dict[str, Any]]:
    """Each class of each region in which the metric has no value, or has none in some draws."""
    rows = []
    for (kind, region), area in areas.items():
        for c, name in enumerate(classes):
            missing = int(np.isnan(area.draws[metric][:, c]).sum())
            if not missing:
                continue
            reason = area.reasons[c] or UNDEFINED_DRAWS[metric]
            counts = {"rows": area.rows, "labelled": int(area.labelled[c]), "positives": int(area.positives[c])}
            draws = {"draws": len(area.draws[metric]), "undefined_draws": missing}
            rows.append({"kind": kind, "region": region, "class": name, "reason": reason} | counts | draws)
    return rows


def write_table(table: pl.DataFrame, name: str, folder: Path, about: dict[str, Any]) -> list[Path]:
    """``<name>.csv`` (NaN and null empty) and ``<name>.json`` (NaN null, with ``about`` on top)."""
    floats = [c for c, kind in table.schema.items() if kind == pl.Float64]
    table = table.with_columns(pl.col(floats).fill_nan(None))
    csv, json_file = folder / f"{name}.csv", folder / f"{name}.json"
    write_text(csv, table.write_csv())
    content = {"format": "cardiozoo-evaluation", "version": 1, "table": name} | about | {"rows": table.to_dicts()}
    write_json(json_file, content)
    return [csv, json_file]


def write_json(path: Path, content: Any) -> None:
    """Standard JSON: NaN and infinities become null."""
    write_text(path, json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def finite(content: Any) -> Any:
    """The same nested content with NaN and infinities as None, numpy scalars as Python's."""
    match content:
        case dict():
            return {str(key): finite(value) for key, value in content.items()}
        case list() | tuple():
            return [finite(value) for value in content]
        case np.generic():
            return finite(content.item())
        case float() if not math.isfinite(content):
            return None
    return content


def write_text(path: Path, text: str) -> None:
    """Whole or not at all: a reader never meets half a file."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
