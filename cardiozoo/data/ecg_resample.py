"""Another sampling rate, by polyphase filtering with a rational ratio.

Crochiere and Rabiner, Multirate Digital Signal Processing (1983), chapter 2; the filtering is scipy's ``upfirdn``.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np

__all__ = ["half_length", "rate_ratio", "resample"]

# Cycles of the lower rate on either side, and Kaiser's beta: in the pass band (to 0.42 of the lower rate) the error is
# below 1e-4, and what would fold back onto it is damped by 80 dB.
_CYCLES = 16
_BETA = 8.0
_LARGEST_TERM = 4000


@lru_cache(maxsize=256)
def rate_ratio(source: float, target: float) -> Fraction:
    """target / source as a fraction; with terms above 4000, the nearest one without (off by less than 1e-7)."""
    ratio = Fraction(str(target)) / Fraction(str(source))
    if max(ratio.numerator, ratio.denominator) <= _LARGEST_TERM:
        return ratio
    if ratio > 1:
        return 1 / (1 / ratio).limit_denominator(_LARGEST_TERM)
    return ratio.limit_denominator(_LARGEST_TERM)


def half_length(ratio: Fraction) -> int:
    """How many samples of the source, before and after, one resampled value depends on."""
    return -(-_CYCLES * max(ratio.numerator, ratio.denominator) // ratio.numerator)


@lru_cache(maxsize=16)
def _filter(ratio: Fraction) -> np.ndarray:
    from scipy.signal import firwin  # takes a second to load, and most records need no other rate

    highest = max(ratio.numerator, ratio.denominator)
    taps = firwin(2 * _CYCLES * highest + 1, 1.0 / highest, window=("kaiser", _BETA))
    taps.setflags(write=False)
    return taps


def resample(signal: np.ndarray, ratio: Fraction) -> np.ndarray:
    """Channels at `ratio` times their rate, zero phase: sample 0 stays at time 0.

    Gaps are bridged by straight lines before filtering and are gaps again afterwards: every new sample between the last
    sample before a gap and the first one after it is missing, and no other.

    Args:
        signal: float64 (channels, samples), NaN where missing.
        ratio: New rate / old rate.

    Returns:
        float64 (channels, ceil(samples x ratio)).
    """
    from scipy.signal import resample_poly  # see _filter

    missing = np.isnan(signal)
    gaps = missing.any(axis=1)
    if gaps.any():
        signal = signal.copy()
        for row in np.flatnonzero(gaps):
            _bridge(signal[row], missing[row])
    # beyond the ends the signal is mirrored at its end point, which keeps offset and slope and so rings least
    result = resample_poly(
        signal, ratio.numerator, ratio.denominator, axis=1, window=_filter(ratio), padtype="antireflect"
    )
    for row in np.flatnonzero(gaps):
        result[row, _inside_gaps(missing[row], result.shape[1], ratio)] = np.nan
    return result


def _bridge(channel: np.ndarray, missing: np.ndarray) -> None:
    """Fills gaps in place: linear between two samples, constant at the ends, 0 without any sample."""
    present = np.flatnonzero(~missing)
    channel[missing] = np.interp(np.flatnonzero(missing), present, channel[present]) if len(present) else 0.0


def _inside_gaps(missing: np.ndarray, length: int, ratio: Fraction) -> np.ndarray:
    """True at new samples with a missing neighbour among the old ones around them."""
    position = np.arange(length, dtype=np.int64) * ratio.denominator
    before = np.minimum(position // ratio.numerator, len(missing) - 1)
    after = np.minimum(-(-position // ratio.numerator), len(missing) - 1)
    return missing[before] | missing[after]
