"""Where on the page each stretch of each lead stands, in millimetres.

A page is made of rows; a row holds stretches of equal length side by side, and time goes on from one to the next, so
that a beat seen in one column stands at the same moment as the beat below it in the rhythm strip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cardiozoo.data.ecg import CHEST_LEADS, LEADS, LIMB_LEADS
from cardiozoo.errors import OptionError

MM_PER_POINT = 25.4 / 72
LAYOUTS = ("auto", "4x3", "2x3", "12x1")
#: Seconds on a page, the standard of a resting ECG; longer recordings are shown from ``start`` on.
SECONDS = 10.0
MARGIN, HEADER, FOOTER = 11.0, 17.0, 14.0
#: Narrowest column in mm, one second of usual paper: in less there may be no beat.
NARROWEST = 25.0
#: Page width in mm below which the words and the legend under the paper stand in two lines.
WIDE = 176.0
#: Room left of the first stretch for the calibration pulse, and right of the last one.
PULSE, AFTER = 15.0, 10.0
CLOSEST, FARTHEST = 15.0, 50.0


@dataclass(frozen=True)
class Stretch:
    """Samples ``first`` to ``last`` (exclusive) of a lead, drawn from ``x`` on along the ``baseline`` (mm)."""

    lead: int
    row: int
    first: int
    last: int
    x: float
    length: float
    leftmost: bool
    baseline: float = 0.0


@dataclass(frozen=True)
class Page:
    """A page in mm; the grid spans ``left, bottom, right, top``."""

    width: float
    height: float
    left: float
    bottom: float
    right: float
    top: float
    stretches: tuple[Stretch, ...]
    baselines: tuple[float, ...]


def rows_of(layout: str, present: np.ndarray, rhythm: str | None, length: float = math.inf) -> list[list[str]]:
    """The leads of each row: three rows of four and a rhythm strip, three of two and a strip, or one row a lead.

    Args:
        layout: ``4x3``, ``2x3`` (the six limb leads), ``12x1``, or ``auto``: 4x3, 2x3 where no chest lead is there, and
            12x1 where the columns would be narrower than 25 mm.
        present: (12,) bool.
        rhythm: Lead of the strip below, None for none. If it is absent, the first lead that is there takes its place.
        length: mm that the record is long.

    Raises:
        OptionError: A layout or a lead that does not exist.
    """
    if layout not in LAYOUTS:
        raise OptionError(f"The layout {layout!r}.", f"One of {', '.join(LAYOUTS)}.", "4x3 is what clinics print.")
    if rhythm is not None and rhythm not in LEADS:
        raise OptionError(f"The rhythm lead {rhythm!r}.", f"One of {', '.join(LEADS)}, or None.", "Lead II is usual.")
    chest = [LEADS.index(lead) for lead in CHEST_LEADS]
    if layout == "auto":
        layout = "4x3" if present[chest].any() or not present.any() else "2x3"
        layout = layout if length / int(layout[0]) >= NARROWEST else "12x1"
    if layout == "12x1":
        return [[lead] for lead in LEADS if present[chest].any() or lead in LIMB_LEADS]
    columns = 4 if layout == "4x3" else 2
    rows = [[LEADS[row + 3 * column] for column in range(columns)] for row in range(3)]
    if rhythm is not None:
        there = [lead for lead in (rhythm, *LEADS) if present[LEADS.index(lead)]]
        rows.append([there[0] if there else rhythm])
    return rows


def lay_out(
    signal: np.ndarray,
    rate: float,
    rows: Sequence[Sequence[str]],
    start: float,
    speed: float,
    gain: float,
    length: int | None = None,
) -> Page:
    """Place the stretches; rows keep as much distance as their traces need, 15 to 50 mm in steps of 5.

    Args:
        signal: (12, T) in the unit drawn, NaN where there is none.
        rate: Samples a second.
        rows: Leads of each row.
        start: Second at which the page begins.
        speed: mm a second.
        gain: mm a unit.
        length: Samples for which there is paper, where that is more than the record has.
    """
    begin = round(start * rate)
    most = round(SECONDS * rate)
    samples = min(signal.shape[1] - begin, most)
    paper = min(max(length or 0, signal.shape[1]) - begin, most)
    stretches: list[Stretch] = []
    left = MARGIN
    for r, names in enumerate(rows):
        # Borders at whole samples, the same for every row, so that no sample is drawn twice or left out.
        borders = [round(samples * c / len(names)) for c in range(len(names) + 1)]
        for lead, a, b in zip(names, borders, borders[1:], strict=False):
            x = left + PULSE + a / rate * speed
            stretches.append(Stretch(LEADS.index(lead), r, begin + a, begin + b, x, (b - a) / rate * speed, a == 0))
    above, below = _reach(signal, stretches, len(rows), gain, speed)
    depth = [_apart(above[0].max() + 7)]
    depth += [_apart((below[r] + above[r + 1]).max() + 4) for r in range(len(rows) - 1)]
    height = sum(depth) + _fives(min(below[-1].max() + 4, FARTHEST))
    right = left + PULSE + _fives(max(paper / rate * speed, 25.0)) + AFTER
    bottom = FOOTER if right + MARGIN >= WIDE else 2 * FOOTER
    top = bottom + height
    baselines = tuple(top - sum(depth[: r + 1]) for r in range(len(rows)))
    placed = tuple(replace(s, baseline=baselines[s.row]) for s in stretches)
    return Page(right + MARGIN, top + HEADER, left, bottom, right, top, placed, baselines)


def _reach(
    signal: np.ndarray, stretches: Sequence[Stretch], rows: int, gain: float, speed: float
) -> tuple[np.ndarray, np.ndarray]:
    """mm that the traces of each row reach above and below their baseline, (rows, places), a place every 5 mm."""
    places = 1 + int(max(s.x + s.length for s in stretches) // 5)
    above, below = np.full((rows, places), 4.0), np.full((rows, places), 4.0)
    for s in stretches:
        trace = signal[s.lead, s.first : s.last] * gain
        at = ((s.x + np.arange(len(trace)) * s.length / max(len(trace), 1)) // 5).astype(int)
        there = np.isfinite(trace)
        np.maximum.at(above[s.row], at[there], trace[there])
        np.maximum.at(below[s.row], at[there], -trace[there])
    return above, below


def _fives(length: float) -> float:
    return 5.0 * math.ceil(length / 5.0 - 1e-9)


def _apart(needed: float) -> float:
    """Distance of two baselines; traces that would need more than the largest one run into each other."""
    return min(max(_fives(needed), CLOSEST), FARTHEST)
