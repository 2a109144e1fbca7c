"""What is done to ECG samples between the store and a batch: gaps, filters, rate, scale; on a whole block of leads.

Nothing of this is kept in the store, so each recipe chooses its own. The order is that of the functions below: ADC
units to mV, gaps closed, high-pass, powerline, resampling, median beat, standardisation, clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
from scipy import signal

from cardiozoo.data.ecg import MISSING
from cardiozoo.data.ecg_beats import median_beats
from cardiozoo.data.ecg_filters import remove_drift, smooth_powerline

Standardise = Literal["lead", "train", "train_lead", "none"]

# records that are filtered together: their leads stay in the cache between one step and the next
_BLOCK_RECORDS = 4


@dataclass(frozen=True)
class SignalOptions:
    """How stored samples become the values that a model sees.

    Attributes:
        stored_rate: Samples per second in the store.
        rate: Samples per second in a batch, at most `stored_rate`.
        highpass: Cut-off in Hz, None for no filter.
        powerline: Mains frequency in Hz whose period is averaged over, None for no smoothing.
        standardise: lead (mean and sample sd of each lead of each record), train or train_lead (one mean and sd of the
            training split, or one a lead), none (mV).
        clip: Limit of the absolute value after standardisation, None for none.
        beat: Samples of the median beat that stands in for the record, None for the record itself.
    """

    stored_rate: float
    rate: float
    highpass: float | None = None
    powerline: float | None = None
    standardise: Standardise = "lead"
    clip: float | None = None
    beat: int | None = None

    @cached_property
    def ratio(self) -> Fraction:
        """`rate` over `stored_rate`, as small whole numbers."""
        return (Fraction(self.rate) / Fraction(self.stored_rate)).limit_denominator(10_000)

    def samples(self, stored: Any) -> Any:
        """Samples that `stored` samples of the store become (also of an array of numbers)."""
        return -(-stored * self.ratio.numerator // self.ratio.denominator)

    def shown(self, stored: int) -> int:
        """Samples that a model sees of a record of `stored` samples."""
        return self.samples(stored) if self.beat is None else self.beat


def to_millivolt(raw: Sequence[np.ndarray], gain: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ADC units as mV, gaps closed.

    Args:
        raw: int16 (L, S) of each record, `MISSING` where there is no sample.
        gain: float32 (B, L), ADC units per mV.
        lengths: int (B,), valid samples of each record; what follows is left as it is.

    Returns:
        float32 (B, L, S); bool (B, L), False for leads without any value.
    """
    values = np.empty((*gain.shape, raw[0].shape[-1]), dtype=np.float32)
    found = np.ones(gain.shape, dtype=bool)
    # one record at a time: it stays in the cache from one step to the next, which a whole batch does not
    for record, (digital, length) in enumerate(zip(raw, lengths.tolist(), strict=True)):
        millivolt = values[record]
        np.copyto(millivolt, digital)
        millivolt /= gain[record, :, None]
        if digital.min() == MISSING:  # most records have no gap, and this is the fastest way to know
            gaps = (digital == MISSING).any(axis=-1)
            closed = millivolt[gaps, :length]
            found[record, gaps] = close_gaps(closed, digital[gaps, :length] == MISSING)
            millivolt[gaps, :length] = closed
    return values, found


def close_gaps(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Close gaps in place: a straight line within a lead, its first and last value held at the ends.

    Args:
        values: float (R, S), one lead a row.
        missing: bool (R, S).

    Returns:
        bool (R,): False for rows without any value, which become 0.
    """
    found = np.ones(len(values), dtype=bool)
    position = np.arange(values.shape[-1])
    for row in np.flatnonzero(missing.any(axis=-1)).tolist():
        gap = missing[row]
        known = position[~gap]
        found[row] = len(known) > 0
        values[row, gap] = np.interp(position[gap], known, values[row, known]) if len(known) else 0.0
    return found


def resample(values: np.ndarray, ratio: Fraction) -> np.ndarray:
    """Change the rate by `ratio` with a linear-phase anti-aliasing filter (polyphase); ends are continued as a line.

    Args:
        values: (..., S).
        ratio: New rate over old rate.

    Returns:
        (..., ceil(S * ratio)).
    """
    if ratio == 1:
        return values
    return signal.resample_poly(values, ratio.numerator, ratio.denominator, axis=-1, padtype="line")


def standardise_leads(values: np.ndarray) -> np.ndarray:
    """Subtract the mean of each row and divide by its sample sd, in place; rows of one value become 0.

    Args:
        values: float32 (..., S).

    Returns:
        bool (...): False for rows of one value.
    """
    varies = values.max(axis=-1) > values.min(axis=-1)
    values -= values.mean(axis=-1, keepdims=True)
    squares = np.einsum("...t,...t->...", values, values)
    sd = np.sqrt(squares / max(values.shape[-1] - 1, 1))
    varies &= sd > 0
    values *= np.where(varies, 1.0 / np.where(varies, sd, 1.0), 0.0).astype(np.float32)[..., None]
    return varies


def clean(values: np.ndarray, options: SignalOptions, usual: bool = True) -> np.ndarray:
    """Filters and resampling of whole records without gaps: float32 (B, L, S) in mV -> float32 (B, L, S') in mV.

    `usual` says whether S is the length of most records, which makes them worth a `DriftFilter`.
    """
    if options.highpass is None and options.powerline is None and options.ratio == 1:
        return values
    cleaned = np.empty((*values.shape[:-1], options.samples(values.shape[-1])), dtype=np.float32)
    for first in range(0, len(values), _BLOCK_RECORDS):
        part = values[first : first + _BLOCK_RECORDS]
        if options.highpass is not None:
            part = remove_drift(part, options.stored_rate, options.highpass, usual)
        if options.powerline is not None:
            part = smooth_powerline(part, options.stored_rate, options.powerline)
        cleaned[first : first + _BLOCK_RECORDS] = resample(part, options.ratio)
    return cleaned


def transform(
    raw: Sequence[np.ndarray],
    gain: np.ndarray,
    usable: np.ndarray,
    lengths: np.ndarray,
    options: SignalOptions,
    mean: np.ndarray | None = None,
    sd: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Everything from stored samples to what a model sees, except for the choice of a window.

    Args:
        raw: int16 (L, S) of each record, `MISSING` where there is no sample.
        gain: float32 (B, L), ADC units per mV.
        usable: bool (B, L), leads that may be shown.
        lengths: int (B,), valid samples of each record; what follows is padding.
        options: What to do.
        mean: float32 (L,) of the training split in mV; needed for train and train_lead.
        sd: float32 (L,), likewise.

    Returns:
        values float32 (B, L, S'), 0 in leads that are not usable and in the padding; usable bool (B, L), without the
        leads that turned out to have no value, or one only, and without any where a beat is wanted and none is found;
        lengths int (B,) after resampling.
    """
    values, found = to_millivolt(raw, np.where(gain > 0, gain, 1.0).astype(np.float32, copy=False), lengths)
    stored, usable = values.shape[-1], usable & found
    out_lengths = options.samples(lengths.astype(np.int64))
    if options.beat is not None:
        out_lengths = np.full_like(out_lengths, options.beat)
    if (lengths == stored).all():
        values, usable = _transform_alike(values, usable, options, mean, sd, usual=True)
    else:
        padded = np.zeros((*values.shape[:2], options.shown(stored)), dtype=np.float32)
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            part, shown = _transform_alike(
                values[rows, :, :length], usable[rows], options, mean, sd, usual=length == stored
            )
            padded[rows, :, : part.shape[-1]], usable[rows] = part, shown
        values = padded
    if not usable.all():
        values[~usable] = 0.0
    return values, usable, out_lengths


def _transform_alike(
    values: np.ndarray,
    usable: np.ndarray,
    options: SignalOptions,
    mean: np.ndarray | None,
    sd: np.ndarray | None,
    usual: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """`transform` of records that have the same number of samples, no padding and no gaps."""
    constant = values.max(axis=-1) == values.min(axis=-1) if options.standardise == "lead" else None
    values = clean(values, options, usual)
    if options.beat is not None:
        values, known = median_beats(values, usable, options.rate, options.beat)
        usable = usable & known[:, None]
    if options.standardise == "lead":
        usable = usable & ~constant & standardise_leads(values)
    elif options.standardise != "none":
        assert mean is not None and sd is not None
        values -= mean[:, None]
        values /= sd[:, None]
    if options.clip is not None:
        np.clip(values, -options.clip, options.clip, out=values)
    return values, usable


@lru_cache(maxsize=8)
def anti_aliasing_length(ratio: Fraction) -> int:
    """Taps of the filter that `resample` uses, for the account of a run."""
    return 1 if ratio == 1 else 20 * max(ratio.numerator, ratio.denominator) + 1
