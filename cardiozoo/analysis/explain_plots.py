"""Plots: importance of leads and waves, the check with random weights, reconstructions, traversals."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib import colormaps
from matplotlib.figure import Figure

from cardiozoo.analysis.randomisation import Sanity
from cardiozoo.analysis.reconstruction import Reconstruction
from cardiozoo.analysis.traversal import Traversal
from cardiozoo.data.ecg import LEADS
from cardiozoo.evaluation.figures import BLUE, GREY, ORANGE, TEAL, new_figure


def lead_plot(table: pl.DataFrame, target: str, synthetic: bool) -> Figure:
    """Share of each lead in the absolute attribution, beside equal shares, and its part in what tells records apart."""
    spread = _known(table, "spread")
    figure = new_figure(8.5, 6.2 if spread else 4.2, f"Importance of the leads for {target}", synthetic)
    axes, *below = figure.subplots(1 + spread, 1, squeeze=False)[:, 0]
    own = table.sort("lead", maintain_order=True)
    order = {lead: i for i, lead in enumerate(LEADS)}
    own = own.with_columns(place=pl.col("lead").replace_strict(order, return_dtype=pl.Int64)).sort("place")
    _bars(axes, own["lead"].to_list(), own, "share", BLUE)
    even = 1 / own.height
    axes.axhline(even, color=GREY, linestyle=":", linewidth=1)
    axes.text(own.height - 0.45, even, "equal\nshares", fontsize=7, color=GREY, va="center", ha="left")
    axes.set(ylabel="share of the absolute attribution", xlim=(-0.6, own.height + 0.25))
    for panel in below:
        _bars(panel, own["lead"].to_list(), own, "spread", ORANGE)
        panel.axhline(0, color=GREY, linewidth=0.8)
        panel.set(ylabel="part in what tells\nrecords apart", xlim=(-0.6, own.height + 0.25))
    return figure


def wave_plot(table: pl.DataFrame, target: str, synthetic: bool) -> Figure:
    """Share of each wave beside its share of the time, their ratio, and its part in what tells records apart."""
    spread = _known(table, "spread")
    figure = new_figure(8.5 + 2.5 * spread, 3.6, f"Importance of the waves for {target}", synthetic)
    left, right, *last = figure.subplots(1, 2 + spread, width_ratios=[1.3, 1] + [1] * spread)
    order = ["P", "Q", "QRS", "R", "S", "T", "other"]
    own = table.with_columns(place=pl.col("wave").map_elements(order.index, return_dtype=pl.Int64)).sort("place")
    names, x = own["wave"].to_list(), np.arange(own.height)
    left.bar(x + 0.2, own["time_share"], 0.36, color=GREY, alpha=0.6, label="share of the time")
    left.bar(x - 0.2, own["share"], 0.36, color=TEAL, label="share of the attribution")
    left.errorbar(x - 0.2, own["share"], _limits(own, "share"), fmt="none", ecolor="black", elinewidth=1, capsize=2)
    left.set_xticks(x, names)
    left.legend()
    left.set(ylabel="share")
    _bars(right, names, own, "enrichment", TEAL)
    right.axhline(1, color=GREY, linestyle=":", linewidth=1)
    right.set(ylabel="attribution share / time share")
    for panel in last:
        _bars(panel, names, own, "spread", ORANGE)
        panel.axhline(0, color=GREY, linewidth=0.8)
        panel.set(ylabel="part in what tells records apart")
    return figure


def sanity_plot(sanity: Sanity, synthetic: bool) -> Figure:
    """Rank correlation with the trained model's attributions, from head to encoder."""
    figure = new_figure(8.5, 3.4, "Check: attributions with more and more random weights", synthetic)
    axes = figure.subplots()
    table = sanity.table
    x = np.arange(table.height + 1)
    axes.plot(x, [1.0, *table["absolute"]], "o-", color=BLUE, label="|attribution|")
    axes.plot(x, [1.0, *table["signed"]], "s-", color=ORANGE, label="attribution with its sign")
    axes.fill_between(x, [1.0, *table["low"]], [1.0, *table["high"]], color=BLUE, alpha=0.15, linewidth=0)
    axes.axhline(sanity.input_alone, color=GREY, linestyle=":", linewidth=1)
    axes.text(x[-1] + 0.05, sanity.input_alone, "the record alone", fontsize=7, color=GREY, va="bottom", ha="right")
    labels = [_stage_label(row["layers"], row["share"]) for row in table.iter_rows(named=True)]
    axes.set_xticks(x, ["trained", *labels], fontsize=7)
    lowest = float(np.nanmin([*table["signed"], *table["low"], 0.0]))
    axes.set(ylabel="rank correlation", ylim=(min(-0.35, lowest - 0.08), 1.05))
    axes.legend(loc="upper right")
    return figure


def _stage_label(layers: int, share: float) -> str:
    """How much is random: a head of few weights is not 0 %, and all but a few of them are not 100 %."""
    if share >= 1:
        return f"all {layers} layers,\nall weights" if layers > 1 else "1 layer,\nall weights"
    digits = next((n for n in range(6) if 0 < round(100 * share, n) < 100), 6)
    return f"{layers} layer{'s' if layers > 1 else ''},\n{share:.{digits}%} of weights"


def reconstruction_plot(
    found: Reconstruction, row: int, rate: float, unit: str, title: str, synthetic: bool, seconds: float = 4.0
) -> Figure:
    """Original and reconstruction of all leads of one record, some seconds from the middle of what was recorded."""
    figure = new_figure(11, 10.5, title, synthetic)
    panels = figure.subplots(6, 2, sharex=True)
    samples = int(found.lengths[row])
    length = min(samples, round(seconds * rate))
    first = (samples - length) // 2
    time = np.arange(first, first + length) / rate
    own = found.original[row][found.present[row]]
    mean = own.mean(axis=0) if len(own) else np.zeros_like(found.original[row, 0])
    for lead in range(len(LEADS)):
        axes = panels[lead % 6, lead // 6]
        part = slice(first, first + length)
        there, known = found.present[row, lead], np.isfinite(found.reconstructed[row, lead]).all()
        if there:
            axes.plot(time, found.original[row, lead, part], color="black", linewidth=0.8, label="signal")
            axes.plot(time, mean[part], color=GREY, linewidth=0.7, linestyle=":", label="mean of the leads")
        if known:
            axes.plot(time, found.reconstructed[row, lead, part], color=ORANGE, linewidth=1.2, label="reconstruction")
        axes.set_title(_lead_title(found, row, lead, mean, there, known), fontsize=8)
        axes.tick_params(labelsize=7)
    for axes in panels[-1]:
        axes.set_xlabel("s")
    panels[2, 0].set_ylabel(unit)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def error_plot(table: pl.DataFrame, synthetic: bool) -> Figure:
    """Error of each lead beside that of the mean of the leads."""
    figure = new_figure(8.5, 3.8, "Reconstruction error of each lead", synthetic)
    axes = figure.subplots()
    x = np.arange(table.height)
    axes.bar(x + 0.2, table["mse_of_mean"], 0.36, color=GREY, alpha=0.6, label="mean of the leads")
    axes.bar(x - 0.2, table["mse"], 0.36, color=BLUE, label="reconstruction")
    axes.set_xticks(x, table["lead"].to_list())
    axes.set(ylabel="mean squared error")
    axes.legend()
    return figure


def traversal_plot(walk: Traversal, rate: float, unit: str, synthetic: bool, seconds: float = 2.0) -> Figure:
    """One row a dimension, one column a lead; colours from -3 to +3 standard deviations."""
    wanted = [lead for lead in ("I", "II", "aVF", "V1", "V3", "V5") if lead in walk.leads] or list(walk.leads[:6])
    rows = len(walk.dimensions)
    title = f"Walks along {rows} of {len(walk.divergence)} latent dimensions ({walk.active} active)"
    figure = new_figure(2.1 * len(wanted) + 1, 1.5 * rows + 1, title, synthetic)
    panels = figure.subplots(rows, len(wanted), sharex=True, sharey="col", squeeze=False)
    samples = walk.signals.shape[3]
    length = min(samples, round(seconds * rate))
    first = (samples - length) // 2
    time = np.arange(length) / rate
    colors = colormaps["coolwarm"](np.linspace(0, 1, len(walk.steps)))
    for k in range(rows):
        for c, lead in enumerate(wanted):
            axes = panels[k, c]
            for s, color in enumerate(colors):
                signal = walk.signals[k, s, walk.leads.index(lead), first : first + length]
                axes.plot(time, signal, color=color, linewidth=0.9)
            axes.tick_params(labelsize=6)
            if k == 0:
                axes.set_title(lead, fontsize=8)
        kl = walk.divergence[walk.dimensions[k]]
        panels[k, 0].set_ylabel(f"z{walk.dimensions[k]}\nKL {kl:.2f}\n({unit})", fontsize=7)
    for axes in panels[-1]:
        axes.set_xlabel("s", fontsize=7)
    steps = f"{walk.steps[0]:+g} sd (blue) to {walk.steps[-1]:+g} sd (red) of the dimension, the others unchanged"
    figure.supxlabel(steps, fontsize=8)
    return figure


def _known(table: pl.DataFrame, column: str) -> bool:
    """Whether a column is there and has numbers; one record alone has no spread."""
    return column in table.columns and bool(np.isfinite(table[column].to_numpy()).any())


def _bars(axes, names: list[str], table: pl.DataFrame, column: str, color: str) -> None:
    x = np.arange(len(names))
    axes.bar(x, table[column], 0.62, color=color)
    axes.errorbar(x, table[column], _limits(table, column), fmt="none", ecolor="black", elinewidth=1, capsize=2.5)
    axes.set_xticks(x, names)


def _limits(table: pl.DataFrame, column: str) -> np.ndarray:
    """(2, n) lengths of the error bars; none where the interval is undefined."""
    value = table[column].to_numpy()
    low, high = table[f"{column}_low"].to_numpy(), table[f"{column}_high"].to_numpy()
    return np.nan_to_num(np.clip(np.stack([value - low, high - value]), 0, None))


def _lead_title(found: Reconstruction, row: int, lead: int, mean: np.ndarray, there: bool, known: bool) -> str:
    name = LEADS[lead]
    if not known:
        return f"{name}: not a lead of this model"
    if not there:
        return f"{name}: absent, drawn from the other leads"
    end = int(found.lengths[row])
    signal, others = found.original[row, lead], (found.reconstructed[row, lead], mean)
    mse, reference = (float(np.mean((signal - other)[:end] ** 2)) for other in others)
    return f"{name}: error {mse:.3f}, of the mean of the leads {reference:.3f}"
