"""Which leads of a record can be used: empty, flat, saturated and impossible ones are told apart from a heart's."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from cardiozoo.data.ecg import LEAD_STATES
from cardiozoo.errors import OptionError

__all__ = ["PRESENT", "Quality", "lead_states"]

PRESENT, NOT_RECORDED, NO_SAMPLES, FLAT, SATURATED, MOSTLY_MISSING, OUT_OF_RANGE = range(len(LEAD_STATES))

# a signal is stopped when its last step to the rail is larger than this part of its range
_STOP = 0.015
_LONG_STAY = 0.1  # seconds
_LARGEST_UNIT = 0.05  # mV; converters of electrocardiographs resolve at least this


@dataclass(frozen=True)
class Quality:
    """When a lead, or a record, is left out. Numbers are inclusive on the side of keeping.

    Attributes:
        min_seconds: Shortest record that is kept.
        max_missing: Largest share of samples that a lead may lack.
        flat_mv: A lead is flat when its largest and smallest value are no further apart than this, in mV.
        flat_seconds: It is flat, too, when stretches of one and the same value, each at least this long ...
        flat_share: ... make up more than this share of its samples.
        saturated_share: A lead is saturated when more than this share of its samples lies on a rail of its converter.
        saturated_mv: A rail is at least this far, in mV, from the median of all other samples.
        max_mv: Further than this from its median, in mV, no heart takes a lead ...
        max_mv_share: ... so it is out of range when more than this share of its samples are.
        padding_seconds: Leading and trailing stretches in which every lead is 0 or missing are cut off from this
            length on: they are padding.
    """

    min_seconds: float = 1.0
    max_missing: float = 0.5
    flat_mv: float = 0.01
    flat_seconds: float = 2.0
    flat_share: float = 0.5
    saturated_share: float = 0.005
    saturated_mv: float = 0.5
    max_mv: float = 20.0
    max_mv_share: float = 0.01
    padding_seconds: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            highest = 1.0 if field.name.endswith(("share", "missing")) else math.inf
            if not (isinstance(value, int | float) and 0 <= value <= highest):
                raise OptionError(
                    f"{field.name}={value!r}.", f"Accepted: a number from 0 to {highest:g}.", "Correct the threshold."
                )


def lead_states(
    values: np.ndarray, gain: np.ndarray, missing: np.ndarray | None, rate: float, quality: Quality
) -> np.ndarray:
    """The state of each lead as a code of ``LEAD_STATES``.

    Args:
        values: (leads, samples), integers or mV, at the rate of the converter: resampling rounds the rails off.
        gain: (leads,), units of `values` in one mV.
        missing: bool like `values`, or None.
        rate: Samples per second.
        quality: The thresholds.
    """
    if missing is not None and missing.any():
        rows = [row[~gap] for row, gap in zip(values, missing, strict=True)]
        shares = missing.mean(axis=1)
        return np.array(
            [
                _incomplete(row, per_mv, share, rate, quality)
                for row, per_mv, share in zip(rows, gain, shares, strict=True)
            ],
            dtype=np.uint8,
        )
    states = np.zeros(len(values), dtype=np.uint8)
    low, high = values.min(axis=1), values.max(axis=1)
    extent = (high.astype(np.float64) - low) / gain
    on_extremes = np.maximum((values == low[:, None]).mean(axis=1), (values == high[:, None]).mean(axis=1))
    still = (values[:, 1:] == values[:, :-1]).mean(axis=1)
    # only leads for which one of the cheap necessary conditions holds are looked at closely
    suspect = (extent <= quality.flat_mv) | (extent > quality.max_mv)
    suspect |= (on_extremes > quality.saturated_share) | (still > 0.9 * quality.flat_share)
    for place in np.flatnonzero(suspect):
        states[place] = _state(values[place], float(gain[place]), rate, quality)
    return states


def _incomplete(present: np.ndarray, gain: float, missing: float, rate: float, quality: Quality) -> int:
    if not len(present):
        return NO_SAMPLES
    return MOSTLY_MISSING if missing > quality.max_missing else _state(present, gain, rate, quality)


def _state(values: np.ndarray, gain: float, rate: float, quality: Quality) -> int:
    """The state of one lead without gaps."""
    values = values.astype(np.float64) / gain
    # 1e-9 mV: the rounding of a division must not decide
    if np.ptp(values) <= quality.flat_mv + 1e-9 or _still(values, rate, quality) > quality.flat_share:
        return FLAT
    if _on_rail(values, rate, quality) + _on_rail(-values, rate, quality) > quality.saturated_share:
        return SATURATED
    far = np.abs(values - np.median(values)) > quality.max_mv
    return OUT_OF_RANGE if far.mean() > quality.max_mv_share else PRESENT


def _runs(same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and one past the last index of every stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
    return edges[::2], edges[1::2]


def _still(values: np.ndarray, rate: float, quality: Quality) -> float:
    """Share of the samples in long stretches of one value."""
    first, last = _runs(np.diff(values) == 0)
    lengths = last - first + 1
    return float(lengths[lengths >= quality.flat_seconds * rate].sum() / len(values))


def _on_rail(values: np.ndarray, rate: float, quality: Quality) -> float:
    """Share of the samples that the converter cut off at the largest value.

    A peak that is merely high touches its largest value once, for a sample or two, and comes up to it in small steps.
    A rail is met again and again, or for long, for three samples or more, and stops the signal in mid-course.
    """
    top = values.max()
    on_top = values == top
    others = values[~on_top]
    if not len(others) or top - np.median(others) < quality.saturated_mv:
        return 0.0
    first, last = _runs(on_top)
    steps = np.abs(np.diff(values))
    # one unit of the converter; a signal that only jumps between its rails does not show it
    unit = min(float(steps[steps > 0].min()), _LARGEST_UNIT)
    before = top - values[np.maximum(first - 1, 0)]
    after = top - values[np.minimum(last, len(values) - 1)]
    lengths = last - first
    cut = (lengths >= 3) & (np.maximum(before, after) > max(2.5 * unit, _STOP * (top - values.min())))
    if np.count_nonzero(cut) < 2 and not (lengths[cut] >= _LONG_STAY * rate).any():
        return 0.0
    return float(lengths[cut].sum() / len(values))
