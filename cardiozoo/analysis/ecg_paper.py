"""A 12-lead ECG on standard paper, to scale, with attributions along the trace if there are any.

Paper as in Kligfield et al., "Recommendations for the standardization and interpretation of the electrocardiogram",
Circulation 2007: 25 mm/s, 10 mm/mV, a grid of 1 and 5 mm, a calibration pulse of 1 mV over 0.2 s, leads in columns of
simultaneous time, a rhythm strip. Printed at 100 % the page has its true size.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from cardiozoo.analysis.ecg_highlight import Highlight, draw_highlight, draw_legend
from cardiozoo.analysis.ecg_layout import HEADER, MM_PER_POINT, SECONDS, Page, Stretch, lay_out, rows_of
from cardiozoo.data.ecg import LEADS
from cardiozoo.errors import OptionError

MM = 1 / 25.4
#: mm a unit; leads that were standardised have no mV any more, a standard deviation of theirs is around 0.2 mV.
GAINS = {"mV": 10.0, "sd": 2.5}
#: Height of the calibration pulse in units.
PULSES = {"mV": 1.0, "sd": 4.0}
PAPER = {"plain": ("#f6cfcb", "#eba29c", "#fffdfb"), "attribution": ("#e9e9e9", "#cfcfcf", "#ffffff")}
INK, FAINT = "#15181c", "#8a8f96"
POINTS_A_MM = 72 / 25.4


def draw_ecg(
    signal: np.ndarray,
    rate: float,
    *,
    present: np.ndarray | None = None,
    attribution: np.ndarray | None = None,
    target: str = "the prediction",
    scale: float | None = None,
    waves: Mapping[str, np.ndarray] | None = None,
    title: str = "",
    subtitle: str = "",
    layout: str = "auto",
    rhythm: str | None = "II",
    start: float = 0.0,
    unit: str = "mV",
    gain: float | None = None,
    speed: float = 25.0,
    synthetic: bool | None = None,
) -> Figure:
    """Draw one record.

    Args:
        signal: (12, T) in the order of ``LEADS``, in ``unit``; NaN where samples are missing. Each lead is drawn around
            its median: an electrocardiograph is AC coupled, so its offset means nothing. Where all leads are NaN to the
            end of the array, the record has ended: the columns share what there is, and its end is marked.
        rate: Samples a second.
        present: (12,) bool; absent leads are named and marked. None: leads with any finite sample.
        attribution: (12, T), drawn as colour along the traces: blue against, orange for ``target``.
        target: What the attribution explains, for the legend.
        scale: Attribution (summed over 20 ms) of the fullest colour; None: the 99.5th percentile of this record.
        waves: Name -> bool (T,), drawn as bars below the last row.
        title, subtitle: Lines above the paper.
        layout: ``4x3`` with rhythm strip, ``2x3`` for limb leads, ``12x1``, or ``auto``: see `rows_of`.
        rhythm: Lead of the strip, None for none.
        start: Second at which the page begins; it shows at most 10 s.
        unit: ``mV``, or ``sd`` for standardised leads.
        gain: mm a unit; 10 mm/mV, and 2.5 mm a standard deviation.
        speed: mm a second.
        synthetic: Says so in the title.

    Raises:
        OptionError: Arrays that are not (12, T), a rate, gain, unit, layout or start that makes no page.
    """
    signal, present = _checked(signal, rate, present, unit)
    padded = signal.shape[1]
    end = _end(signal, present)
    if not 0 <= start < end / rate - 1 / rate:
        raise OptionError(f"A page from {start} s on.", f"The record lasts {end / rate:g} s.", "Begin at 0.")
    gain = GAINS[unit] if gain is None else gain
    if not gain > 0 or not speed > 0:
        raise OptionError(f"{gain} mm/{unit} and {speed} mm/s.", "Numbers above 0.", "10 mm/mV and 25 mm/s are usual.")
    highlight = None
    if attribution is not None:
        highlight = Highlight.of(_same_shape(attribution, signal)[:, :end], rate, present, target, scale)
    signal = signal[:, :end]
    for lead in np.flatnonzero(present):
        signal[lead] -= np.nanmedian(signal[lead])
    shown = np.where(present[:, None], signal, np.nan)
    rows = rows_of(layout, present, rhythm, min(end / rate - start, SECONDS) * speed)
    page = lay_out(shown, rate, rows, start, speed, gain, padded)
    figure = Figure(figsize=(page.width * MM, page.height * MM), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, page.width), ylim=(0, page.height))
    axes.set_axis_off()
    _draw_grid(axes, page, *PAPER["plain" if highlight is None else "attribution"])
    _draw_leads(axes, page, signal, present, rate, speed, gain, unit, highlight)
    if end < min(padded, round((start + SECONDS) * rate)):
        _draw_end(axes, page, end / rate)
    if waves:
        _draw_waves(axes, page, waves, rate, speed)
    _draw_words(axes, page, title, subtitle, synthetic, f"{speed:g} mm/s    {gain:g} mm/{unit}    {rate:g} Hz")
    return figure


def save_page(figure: Figure, path: Path, dpi: int = 170) -> Path:
    """Write a page by its suffix, ``.png``, ``.pdf`` or ``.svg``, in true size and without a date inside.

    Raises:
        OptionError: Another suffix.
    """
    dates = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
    if path.suffix.lower() not in dates:
        raise OptionError(
            f"{path.name}: no such kind of picture.", ".png, .pdf or .svg.", "Give one of these suffixes."
        )
    figure.savefig(path, dpi=dpi, metadata=dates[path.suffix.lower()])
    return path


def _checked(signal: np.ndarray, rate: float, present: np.ndarray | None, unit: str) -> tuple[np.ndarray, np.ndarray]:
    signal = np.array(signal, dtype=np.float64)
    if signal.ndim != 2 or signal.shape[0] != len(LEADS) or signal.shape[1] < 2:
        raise OptionError(
            f"A signal of shape {signal.shape}.",
            f"({len(LEADS)}, T): one row a lead, in the order {' '.join(LEADS)}, absent leads NaN.",
            "Put the leads that are there into their rows.",
        )
    if not rate > 0:
        raise OptionError(f"A rate of {rate}.", "Samples a second, above 0.", "500 is usual.")
    if unit not in GAINS:
        raise OptionError(f"The unit {unit!r}.", f"One of {', '.join(GAINS)}.", "sd is for standardised leads.")
    finite = np.isfinite(signal).any(axis=1)
    there = finite if present is None else np.asarray(present, dtype=bool) & finite
    if there.shape != (len(LEADS),):
        raise OptionError(f"`present` has shape {there.shape}.", "(12,) bool.", "One entry a lead.")
    return signal, there


def _end(signal: np.ndarray, present: np.ndarray) -> int:
    """Samples before the end of the record; all where no lead is there to tell."""
    known = np.flatnonzero(np.isfinite(signal[present]).any(axis=0))
    return int(known[-1]) + 1 if len(known) else signal.shape[1]


def _same_shape(attribution: np.ndarray, signal: np.ndarray) -> np.ndarray:
    attribution = np.asarray(attribution, dtype=np.float64)
    if attribution.shape != signal.shape:
        raise OptionError(
            f"An attribution of shape {attribution.shape} for a signal of shape {signal.shape}.",
            "The same shape.",
            "Hand on the attribution of this record, with all its leads.",
        )
    return attribution


def _trace(signal: np.ndarray, s: Stretch, rate: float, speed: float, gain: float) -> tuple[np.ndarray, np.ndarray]:
    # One sample more than the stretch holds, where there is one: the next stretch begins there.
    last = min(s.last + 1, signal.shape[1])
    x = s.x + np.arange(last - s.first) / rate * speed
    return x, s.baseline + gain * signal[s.lead, s.first : last]


def _draw_grid(axes: Axes, page: Page, fine: str, coarse: str, ground: str) -> None:
    width, height = page.right - page.left, page.top - page.bottom
    axes.add_patch(Rectangle((page.left, page.bottom), width, height, facecolor=ground, edgecolor="none", zorder=0))
    for step, color, line_width in ((1, fine, 0.3), (5, coarse, 0.55)):
        x = page.left + np.arange(0, width + 0.5, step)
        y = page.bottom + np.arange(0, height + 0.5, step)
        lines = [[(v, page.bottom), (v, page.top)] for v in x] + [[(page.left, v), (page.right, v)] for v in y]
        axes.add_collection(LineCollection(lines, colors=color, linewidths=line_width, zorder=1))


def _draw_leads(
    axes: Axes,
    page: Page,
    signal: np.ndarray,
    present: np.ndarray,
    rate: float,
    speed: float,
    gain: float,
    unit: str,
    highlight: Highlight | None,
) -> None:
    """Pulses, traces with their names, marks of absent leads, and attributions with their legend."""
    for row, baseline in enumerate(page.baselines):
        words = f"{PULSES[unit]:g} {unit}" if row == 0 else ""
        _draw_pulse(axes, page.left, baseline, gain * PULSES[unit], speed, words)
    for stretch in page.stretches:
        if not present[stretch.lead]:
            _draw_absent(axes, stretch)
            continue
        x, y = _trace(signal, stretch, rate, speed, gain)
        if highlight is not None:
            draw_highlight(axes, x, y, stretch, highlight)
        axes.plot(x, y, color=INK, linewidth=0.75, solid_joinstyle="round", zorder=4)
        _draw_name(axes, stretch, y)
    if highlight is not None:
        draw_legend(axes, page, highlight)


def _draw_end(axes: Axes, page: Page, seconds: float) -> None:
    """A line through all rows where the record ends: the empty paper behind it is no asystole."""
    x = max(stretch.x + stretch.length for stretch in page.stretches)
    axes.plot([x, x], [page.bottom, page.top], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=3)
    words, middle = f"end of record, {seconds:.3g} s", (page.bottom + page.top) / 2
    axes.text(x + 1.2, middle, words, fontsize=7.5, color=INK, rotation=90, ha="left", va="center", zorder=5)


def _draw_pulse(axes: Axes, left: float, baseline: float, height: float, speed: float, words: str) -> None:
    width = 0.2 * speed
    begin = left + 5.0
    x = [begin - 2.5, begin, begin, begin + width, begin + width, begin + width + 2.5]
    y = [baseline, baseline, baseline + height, baseline + height, baseline, baseline]
    axes.plot(x, y, color=INK, linewidth=0.75, zorder=4)
    axes.text(begin + width / 2, baseline - 1, words, fontsize=6, color=INK, ha="center", va="top", zorder=5)


def _draw_name(axes: Axes, s: Stretch, y: np.ndarray) -> None:
    """The lead's name above the beginning of its stretch, and a mark where one lead ends and the next begins."""
    if not s.leftmost:
        axes.plot([s.x, s.x], [s.baseline - 3.5, s.baseline + 3.5], color=INK, linewidth=0.6, zorder=4)
    near = y[: max(1, int(len(y) * min(1.0, 9.0 / s.length)))]
    near = near[np.isfinite(near)]
    height = max(s.baseline + 6.0, float(near.max()) + 1.0) if len(near) else s.baseline + 6.0
    _name(axes, s, min(height, s.baseline + 14.0), INK)


def _draw_absent(axes: Axes, s: Stretch) -> None:
    axes.plot(
        [s.x + 1, s.x + s.length - 1], [s.baseline] * 2, color=FAINT, linewidth=0.6, linestyle=(0, (4, 3)), zorder=3
    )
    _name(axes, s, s.baseline + 5, FAINT)
    axes.text(s.x + s.length / 2, s.baseline + 1.2, "no signal", fontsize=7, color=FAINT, ha="center", zorder=5)


def _name(axes: Axes, s: Stretch, height: float, color: str) -> None:
    weight = {"fontsize": 8.5, "fontweight": "bold", "va": "bottom"}
    # Where a beat stands at the beginning of a stretch the name lies on it, and stays legible by its white edge.
    edge = [withStroke(linewidth=2.5, foreground="white", alpha=0.85)]
    axes.text(s.x + 1.0, height, LEADS[s.lead], color=color, zorder=6, path_effects=edge, **weight)


def _draw_waves(axes: Axes, page: Page, waves: Mapping[str, np.ndarray], rate: float, speed: float) -> None:
    """Bars below the last row, over the time that it shows."""
    row = [s for s in page.stretches if s.row == len(page.baselines) - 1]
    y = page.bottom + 1.2
    for name, mask in waves.items():
        for s in row:
            inside = np.flatnonzero(np.diff(np.r_[0, np.asarray(mask[s.first : s.last], dtype=int), 0]))
            for a, b in zip(inside[::2], inside[1::2], strict=True):
                x0, x1 = s.x + a / rate * speed, s.x + b / rate * speed
                axes.add_patch(Rectangle((x0, y), x1 - x0, 0.9, facecolor=INK, alpha=0.55, linewidth=0, zorder=5))
                axes.text((x0 + x1) / 2, y + 1.1, name, fontsize=5, color=INK, ha="center", va="bottom", zorder=5)


def _draw_words(axes: Axes, page: Page, title: str, subtitle: str, synthetic: bool | None, scale: str) -> None:
    name = f"SYNTHETIC · {title}" if synthetic else title
    # Letters are as wide as half their height and a bit; on a narrow page they shrink until the line fits.
    room = (page.width - page.left - 2) / MM_PER_POINT
    sizes = min(11, room / max(len(name), 1) / 0.7), min(8, room / max(len(subtitle), 1) / 0.56)
    axes.text(page.left, page.height - 5.5, name, fontsize=sizes[0], fontweight="bold", color=INK, va="top")
    axes.text(page.left, page.height - HEADER + 2.2, subtitle, fontsize=sizes[1], color=INK, va="bottom")
    axes.text(page.left, page.bottom - 3, scale, fontsize=8, color=INK, va="top")
    size = f"page {page.width:.0f} x {page.height:.0f} mm; true to scale at 100 %"
    axes.text(page.left, page.bottom - 7.5, size, fontsize=6, color=FAINT, va="top")
