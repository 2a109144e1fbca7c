"""The plots of an evaluation. Each takes the evaluation and gives a figure, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from math import ceil
from typing import Any

import numpy as np
import polars as pl
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from cardiozoo.evaluation import tables
from cardiozoo.evaluation.calibration import POOLED
from cardiozoo.evaluation.evaluate import Evaluation
from cardiozoo.evaluation.figures import BLUE, GREY, ORANGE, TEAL, interval_dots, new_figure
from cardiozoo.evaluation.kinds import KINDS
from cardiozoo.evaluation.metrics import METRICS, undefined_reason
from cardiozoo.evaluation.predictions import REGRESSION

COLORS = {"auroc": BLUE, "auprc": TEAL}
MOST_SMALL_PANELS = 30
MOST_LEVELS = 40
MOST_TARGETS = 6
# Beside the losses: what the kinds of models log in validation, as far as it stands in the log.
LOGGED = {
    "classification": {"AUROC": ("val/auroc",), "AUPRC": ("val/auprc",)},
    "regression": {"RMSE": ("val/rmse",), "MAE": ("val/mae",)},
    "unsupervised": {},
}


def per_class(evaluation: Evaluation) -> Figure | str:
    """Forest plot: each class's AUROC and AUPRC with intervals, prevalence as a tick."""
    subset = evaluation.tables["subsets"]["subset"][0]
    rows = evaluation.tables["per_class"].filter(pl.col("subset") == subset)
    names = rows["class"].unique(maintain_order=True).to_list()
    y = list(range(len(names)))[::-1]
    figure = new_figure(9.5, 1.5 + 0.27 * len(names), f"Per class, {subset} rows", evaluation.synthetic)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, metric in zip(panels, METRICS, strict=True):
        of_metric = rows.filter(pl.col("metric") == metric).to_dicts()
        if metric == "auroc":
            axes.axvline(0.5, color=GREY, linewidth=0.8, linestyle=":")
        else:
            for height, row in zip(y, of_metric, strict=True):
                if row["prevalence"] is not None:
                    axes.plot([row["prevalence"]], [height], "|", color=ORANGE, markersize=8, markeredgewidth=1.6)
        macro = evaluation.value(metric, subset)["value"]
        if len(names) > 1 and np.isfinite(macro):
            axes.axvline(macro, color=COLORS[metric], linewidth=0.9, linestyle="--", alpha=0.7)
        interval_dots(axes, y, of_metric, COLORS[metric])
        axes.set_title({"auroc": "AUROC (dotted: chance)", "auprc": "AUPRC (orange: prevalence)"}[metric])
        axes.grid(axis="y", alpha=0.12)
        axes.tick_params(top=True, labeltop=len(names) > 12)
    panels[0].set_yticks(y, [_short(name, 44) for name in names])
    panels[0].set_ylim(-0.7, len(names) - 0.3)
    return figure


def curves(evaluation: Evaluation) -> Figure | str:
    """ROC and precision-recall curves: each class thin, their mean bold."""
    predictions = evaluation.predictions
    defined = [c for c in range(len(predictions.classes)) if undefined_reason(predictions.target[:, c]) is None]
    if not defined:
        return "no class has both positives and negatives"
    grid = np.linspace(0, 1, 201)
    roc, recall_precision = [], []
    for c in defined:
        labelled = ~np.isnan(predictions.target[:, c])
        target, score = predictions.target[labelled, c], predictions.score[labelled, c]
        fpr, tpr, _ = roc_curve(target, score)
        roc.append(np.interp(grid, fpr, tpr))
        precision, recall, _ = precision_recall_curve(target, score)
        # Precision is a step between recalls: take the point at or above each recall asked for.
        at = np.searchsorted(recall[::-1], grid, side="left")
        recall_precision.append(precision[::-1][np.minimum(at, len(recall) - 1)])
    figure = new_figure(9.5, 4.3, f"Curves, {predictions.split} split", evaluation.synthetic)
    panels = figure.subplots(1, 2)
    names = ("ROC", "false positive rate", "true positive rate"), ("Precision and recall", "recall", "precision")
    for axes, drawn, color, (title, x, y) in zip(panels, (roc, recall_precision), (BLUE, TEAL), names, strict=True):
        for line in drawn if len(drawn) > 1 else ():
            axes.plot(grid, line, color=color, alpha=0.25, linewidth=0.8)
        label = f"mean of {len(drawn)} classes" if len(drawn) > 1 else predictions.classes[defined[0]]
        axes.plot(grid, np.mean(drawn, axis=0), color=color, linewidth=2.2, label=_short(label, 40))
        axes.set(title=title, xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
        axes.legend(loc="lower right" if title == "ROC" else "upper right")
    panels[0].plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    return figure


def reliability(evaluation: Evaluation) -> Figure | str:
    """Reliability curves in bins of equal mass: all classes pooled with intervals, and each class small."""
    points = evaluation.tables["reliability"].filter(pl.col("binning") == "equal_mass")
    names = [n for n in points["class"].unique(maintain_order=True).to_list() if n != POOLED]
    if not len(points):
        return "no row has a label"
    shown = names[:MOST_SMALL_PANELS] if len(names) > 1 else []
    columns = 5
    lines = ceil(len(shown) / columns)
    figure = new_figure(9.5, 4.0 + 1.75 * lines, "Calibration: observed share of positives", evaluation.synthetic)
    parts = figure.subfigures(2, 1, height_ratios=[3.7, 1.75 * lines]) if shown else [figure]
    curve, share = parts[0].subplots(1, 2, width_ratios=[1, 1.2])
    pooled = points.filter(pl.col("class") == (POOLED if len(names) > 1 else names[0]))
    _reliability_curve(curve, pooled, 1.0)
    curve.set(title="All classes pooled" if shown else _short(names[0], 40), xlabel="mean score", ylabel="observed")
    _score_histogram(share, evaluation)
    if shown:
        grid = parts[1].subplots(lines, columns, squeeze=False).ravel()
        for axes, name in zip(grid, shown, strict=False):
            of_class = points.filter(pl.col("class") == name)
            top = max(0.05, float(np.nanmax([*of_class["mean_score"], *of_class["observed"]])) * 1.15)
            _reliability_curve(axes, of_class, min(top, 1.0))
            axes.set_title(_short(name, 24), fontsize=7, fontweight="normal")
            axes.tick_params(labelsize=6)
            axes.locator_params(nbins=3)
        for axes in grid[len(shown) :]:
            axes.set_visible(False)
    return figure


def _reliability_curve(axes: Any, points: pl.DataFrame, top: float) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    known = points.filter(pl.col("low").is_not_nan() & pl.col("low").is_not_null())
    axes.fill_between(known["mean_score"], known["low"], known["high"], color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(points["mean_score"], points["observed"], color=BLUE, marker="o", markersize=2.5, linewidth=1.2)
    axes.set(xlim=(0, top), ylim=(0, top))


def _score_histogram(axes: Any, evaluation: Evaluation) -> None:
    predictions = evaluation.predictions
    for value, color, label in ((0, GREY, "negatives"), (1, ORANGE, "positives")):
        scores = predictions.score[predictions.target == value]
        if len(scores):
            axes.hist(scores, bins=np.linspace(0, 1, 41), color=color, alpha=0.55, density=True, label=label)
    axes.set(title="Scores by label (density)", xlabel="score", xlim=(0, 1))
    axes.legend(loc="upper right")


def subgroups(evaluation: Evaluation) -> Figure | str:
    """Forest plot of two metrics by level of each group: macro, or of the (first) class or target."""
    table = evaluation.tables["subgroups"]
    if not len(table):
        return "the table names no groups"
    kind = KINDS[evaluation.predictions.kind]
    shown = list(kind.titles)[:: 2 if evaluation.predictions.kind == REGRESSION else 1]  # RMSE and R2 of a regression
    several = len(evaluation.predictions.classes) > 1 and set(shown) <= set(kind.averaged)
    name = tables.MACRO if several else evaluation.predictions.classes[0]
    rows = table.filter((pl.col("class") == name) & (pl.col("rows") > 0))
    labels: list[str] = []
    y: list[float] = []
    height = 0.0
    keys = [(r["group"], r["level"], r["rows"]) for r in rows.filter(pl.col("metric") == shown[0]).to_dicts()]
    if len(keys) > MOST_LEVELS:
        keys = keys[:MOST_LEVELS]
    for i, (group, level, count) in enumerate(keys):
        height -= 1.6 if i and group != keys[i - 1][0] else 1.0
        y.append(height)
        labels.append(f"{group}  {_short(level, 26)}  (n = {count:,})")
    figure = new_figure(9.5, 1.5 + 0.3 * len(keys), "Subgroups", evaluation.synthetic)
    panels = figure.subplots(1, 2, sharey=True)
    subset = evaluation.tables["subsets"]["subset"][0]
    for axes, metric, color in zip(panels, shown, (BLUE, TEAL), strict=True):
        of_metric = {(r["group"], r["level"]): r for r in rows.filter(pl.col("metric") == metric).to_dicts()}
        overall = _whole(evaluation, metric, subset, name)
        if np.isfinite(overall):
            axes.axvline(overall, color=color, linewidth=0.9, linestyle="--", alpha=0.7)
        interval_dots(axes, y, [of_metric[key[:2]] for key in keys], color)
        prefix = "macro " if name == tables.MACRO else ""
        axes.set_title(f"{prefix}{kind.titles[metric]} (dashed: {subset} rows)")
        axes.grid(axis="y", alpha=0.12)
    panels[0].set_yticks(y, labels)
    panels[0].set_ylim(min(y, default=-1) - 0.7, -0.3)
    return figure


def _whole(evaluation: Evaluation, metric: str, subset: str, name: str) -> float:
    if name == tables.MACRO:
        return float(evaluation.value(metric, subset)["value"])
    rows = evaluation.tables["per_class"]
    wanted = (pl.col("subset") == subset) & (pl.col("metric") == metric) & (pl.col("class") == name)
    return float(rows.filter(wanted)["value"][0])


def agreement(evaluation: Evaluation) -> Figure | str:
    """Prediction against target, and difference against mean (Bland and Altman), of each target column."""
    predictions = evaluation.predictions
    known = [c for c in range(len(predictions.classes)) if not np.isnan(predictions.target[:, c]).all()]
    if not known:
        return "no row has a label"
    known = known[:MOST_TARGETS]
    figure = new_figure(9.5, 4.2 * len(known), f"Agreement, {predictions.split} split", evaluation.synthetic)
    panels = figure.subplots(len(known), 2, squeeze=False)
    for (left, right), c in zip(panels, known, strict=True):
        name, labelled = predictions.classes[c], ~np.isnan(predictions.target[:, c])
        target, score = predictions.target[labelled, c], predictions.score[labelled, c]
        dots = {"color": BLUE, "s": 10, "alpha": max(0.15, min(0.7, 200 / len(target))), "linewidths": 0}
        left.scatter(target, score, **dots)
        ends = [min(target.min(), score.min()), max(target.max(), score.max())]
        left.plot(ends, ends, color=GREY, linewidth=0.8, linestyle=":")
        left.set(title=_short(name, 40), xlabel="target", ylabel="prediction")
        right.scatter((target + score) / 2, score - target, **dots)
        rows = evaluation.tables["agreement"].filter(pl.col("target") == name).to_dicts()
        for row in (r for r in rows if r["measure"] in ("bias", "lower_limit", "upper_limit")):
            right.axhline(row["value"], color=ORANGE, linewidth=1, linestyle="-" if row["measure"] == "bias" else "--")
            if row["low"] is not None and row["low"] == row["low"]:
                right.axhspan(row["low"], row["high"], color=ORANGE, alpha=0.12, linewidth=0)
        right.set(
            title="Bias and limits of agreement", xlabel="mean of target and prediction", ylabel="prediction − target"
        )
    return figure


def columns(evaluation: Evaluation) -> Figure | str:
    """Means of the columns of a table without targets; one panel a family (``mse/I``, ``mse/II``, ...)."""
    first = evaluation.tables["subsets"]["subset"][0]
    rows = evaluation.tables["metrics"].filter(pl.col("subset") == first).to_dicts()
    families: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        family, slash, _ = row["metric"].partition("/")
        families.setdefault(family if slash else row["metric"], []).append(row)
    shown = dict(list(families.items())[:MOST_SMALL_PANELS])
    heights = [0.55 + 0.24 * len(members) for members in shown.values()]
    figure = new_figure(9.5, 0.6 + sum(heights), "Means", evaluation.synthetic)
    panels = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (family, members) in zip(panels, shown.items(), strict=True):
        y = list(range(len(members)))[::-1]
        interval_dots(axes, y, members, BLUE)
        axes.set_yticks(y, [_short(m["metric"].removeprefix(f"{family}/"), 30) for m in members])
        axes.set_ylim(-0.7, len(members) - 0.3)
        if len(members) > 1:
            axes.set_title(_short(family, 40))
    return figure


def training(evaluation: Evaluation) -> Figure | str:
    """Loss and validation metrics by epoch, from the run's log."""
    log = evaluation.run.curves
    if log is None:
        return evaluation.run.absent.get("logs/metrics.csv", "no log")
    kind = evaluation.predictions.kind
    loss = {"train": _by_epoch(log, "train/loss_epoch", "train/loss"), "validation": _by_epoch(log, "val/loss")}
    scores = {title: _by_epoch(log, *names) for title, names in LOGGED[kind].items()}
    if not any(len(x) for x, _ in scores.values()):
        scores = {name.removeprefix("val/"): _by_epoch(log, name) for name in _loss_terms(log)}
    if not any(len(x) for x, _ in (*loss.values(), *scores.values())):
        return "the log holds neither train/loss nor val/loss, val/auroc or val/auprc"
    right = {"classification": "Validation metrics (macro)", "regression": "Validation metrics"}
    title = right.get(kind, "Terms of the loss") if any(t in LOGGED[kind] for t in scores) else "Terms of the loss"
    figure = new_figure(9.5, 3.4, "Training", evaluation.synthetic)
    panels = figure.subplots(1, 2)
    for axes, lines, heading in zip(panels, (loss, scores), ("Loss", title), strict=True):
        for (label, (x, values)), color in zip(lines.items(), cycle((BLUE, TEAL, ORANGE, GREY)), strict=False):
            if len(x):
                axes.plot(x, values, color=color, label=label, marker="o", markersize=2.5)
        axes.set(title=heading, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if axes.lines:
            axes.legend()
    monitor = evaluation.run.part("task")
    x, values = _by_epoch(log, str(monitor.get("monitor")))
    if len(x):
        best = int(np.nanargmin(values) if monitor.get("mode") == "min" else np.nanargmax(values))
        for axes in panels:
            axes.axvline(x[best], color=ORANGE, linewidth=1, linestyle="--")
        panels[1].set_title(f"{title.partition(' (')[0]} (best {monitor['monitor']}: epoch {x[best]:.0f})")
    return figure


def cohort(evaluation: Evaluation) -> Figure | str:
    """How many stays (images, records) were left after each step of the preparation."""
    flow = evaluation.run.flow
    counted = ("stays", "images", "records", "patients")
    unit = next((u for u in counted if any(step.get(u) is not None for step in flow)), None)
    steps = [step for step in flow if unit and step.get(unit) is not None]
    if not steps:
        return evaluation.run.absent.get("data_manifest.json", "the data manifest tells no cohort flow")
    figure = new_figure(9.5, 1.1 + 0.36 * len(steps), f"Cohort: {unit} left after each step", evaluation.synthetic)
    axes = figure.subplots()
    y = list(range(len(steps)))[::-1]
    counts = [step[unit] for step in steps]
    # a step that only describes a part of another one leaves nothing out, so its bar is no step down
    shades = [0.3 if step.get("part_of") else 0.75 for step in steps]
    axes.barh(y, counts, color=[to_rgba(BLUE, shade) for shade in shades], height=0.62)
    for height, step in zip(y, steps, strict=True):
        lost = f" (−{step['excluded']:,}: {_short(str(step.get('reason') or ''), 60)})" if step.get("excluded") else ""
        at = {"xy": (step[unit], height), "xytext": (5, 0), "textcoords": "offset points"}
        axes.annotate(f"{step[unit]:,}{lost}", **at, va="center", fontsize=8)
    axes.set_yticks(y, [_short(str(step["step"]), 44) for step in steps])
    axes.set_xlim(0, max(*counts, 1) * 1.75)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    return figure


PLOTS: dict[str, Callable[[Evaluation], Figure | str]] = {
    "cohort": cohort,
    "training": training,
    "per_class": per_class,
    "curves": curves,
    "subgroups": subgroups,
    "reliability": reliability,
    "agreement": agreement,
    "columns": columns,
}


def _by_epoch(log: pl.DataFrame, *names: str) -> tuple[np.ndarray, np.ndarray]:
    """The last value an epoch of the first of these columns that the log has: (epochs from 1 on, values)."""
    for name in names:
        if name in log.columns and log[name].dtype.is_numeric():
            rows = log.select("epoch", name).drop_nulls().group_by("epoch").last().sort("epoch")
            if len(rows):
                return rows["epoch"].to_numpy().astype(float) + 1, rows[name].to_numpy().astype(float)
    return np.empty(0), np.empty(0)


def _loss_terms(log: pl.DataFrame, most: int = 4) -> list[str]:
    """Logged terms of the loss, those of validation if there are any."""
    for split in ("val", "train"):
        total = {f"{split}/{name}" for name in ("loss", "loss_step", "loss_epoch")}
        names = [c for c in log.columns if c.startswith(f"{split}/") and c not in total and log[c].dtype.is_numeric()]
        if names:
            return names[:most]
    return []


def _short(text: str, most: int) -> str:
    text = text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
    return text.replace("$", r"\$")  # a dollar would begin a formula
