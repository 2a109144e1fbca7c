"""The median beat of a record: every lead's median over its beats, as long before the R peak as after it.

It has no phase and hardly any noise, as in studies of single beats (van der Valk et al., MICCAI 2023, take 0.8 s), at
the price of everything that differs from beat to beat.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import find_peaks

# Seconds over which steepness is averaged: about a QRS complex.
STEEP = 0.08
# Seconds in which no second beat can follow: 240 a minute.
REFRACTORY = 0.25
# Of the usual steepness of a beat: what a beat must have. T waves stay below; 0.5 takes some of them for beats.
STEEP_ENOUGH = 0.6


def median_beats(values: np.ndarray, usable: np.ndarray, rate: float, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The median beat of each record; a record in which no whole beat is found has none.

    Args:
        values: float32 (B, L, S) in mV, without drift.
        usable: bool (B, L), leads that tell where the beats are.
        rate: Samples a second.
        samples: Length of the beat.

    Returns:
        float32 (B, L, samples), 0 without a beat, and bool (B,): whether there is one.
    """
    found = np.zeros((*values.shape[:2], samples), dtype=np.float32)
    known = np.zeros(len(values), dtype=bool)
    for place, (record, shown) in enumerate(zip(values, usable, strict=True)):
        first = find_beats(record[shown], rate) - samples // 2
        first = first[(first >= 0) & (first + samples <= record.shape[-1])]
        if len(first):
            beats = record[:, first[:, None] + np.arange(samples)]
            found[place], known[place] = np.median(beats, axis=1), True
    return found, known


def find_beats(leads: np.ndarray, rate: float) -> np.ndarray:
    """Samples of the QRS complexes: where the leads together are steepest.

    In a single lead a P or T wave may be taller than its QRS complex, but hardly steeper in all of them.

    Args:
        leads: float (L, S) without gaps and drift; leads of one value tell nothing.
        rate: Samples a second.

    Returns:
        int (beats,), empty without any.
    """
    spread = leads.std(axis=-1)
    if leads.shape[-1] < rate or not (spread > 0).any():
        return np.zeros(0, dtype=int)
    slopes = np.gradient(leads[spread > 0], axis=-1) / spread[spread > 0, None]
    steepness = uniform_filter1d(np.sqrt(np.mean(np.square(slopes), axis=0)), max(3, round(STEEP * rate)))
    whole = steepness[: len(steepness) - len(steepness) % max(1, round(rate))]
    # the usual maximum of two seconds, in which there is a beat even at 30 a minute
    usual = np.median(maximum_filter1d(whole, round(2 * rate))[:: round(rate)])
    return find_peaks(steepness, height=STEEP_ENOUGH * usual, distance=max(1, round(REFRACTORY * rate)))[0]
