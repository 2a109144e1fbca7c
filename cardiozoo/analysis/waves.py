"""When the waves of each beat take place: P, QRS and T windows of a record, found by delineation or known beforehand.

Where the beats are is told by all leads together, their waves by neurokit2 (Makowski et al. 2021) on one lead, whose
windows then hold for all leads of the record. QRS comes from its method of prominences (Emrich et al. 2024): the
wavelet method (Martínez et al. 2004) puts the onset of QRS near that of P, on simulated beats 85 ms too early at the
median against 3 ms. P and T come from the wavelet method, the better one for them, where the other one sees a wave
there too, else from that other one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from cardiozoo.data.ecg import LEADS
from cardiozoo.data.ecg_beats import find_beats
from cardiozoo.errors import OptionError

WAVES = ("P", "QRS", "T")
#: The five points of the LS-EMVAE release, each with a window of fixed half width around it.
POINTS = ("P", "Q", "R", "S", "T")
PUBLISHED_HALF_WIDTH = 0.04
#: Leads tried, in this order, until one gives QRS and T of most beats.
ORDER = ("II", "I", "V5", "V6", "V4", "aVF", "V2", "V3", "aVL", "aVR", "V1", "III")
MOST_BEATS = 0.7
#: Seconds around a beat in which a lead's own peak is looked for.
NEAR = 0.06
#: Windows longer than this (seconds) are none: the delineation has slipped to another beat.
LONGEST = {"P": 0.20, "QRS": 0.25, "T": 0.45}
KEYS = {
    "P": ("ECG_P_Onsets", "ECG_P_Offsets"),
    "QRS": ("ECG_R_Onsets", "ECG_R_Offsets"),
    "T": ("ECG_T_Onsets", "ECG_T_Offsets"),
}
PEAKS = {name: f"ECG_{name}_Peaks" for name in POINTS}


@dataclass(frozen=True)
class Waves:
    """The windows of one record.

    Attributes:
        masks: Wave -> bool (T,), true within a window.
        beats: Beats found.
        missing: Wave -> beats in which no window was found.
        windows: Wave, first and last sample (exclusive) of every window.
        source: How they were found.
        reason: Why there is no window at all; empty otherwise.
    """

    masks: dict[str, np.ndarray]
    beats: int
    missing: dict[str, int]
    windows: tuple[tuple[str, int, int], ...]
    source: str
    reason: str = ""

    @classmethod
    def of(
        cls, windows: Iterable[tuple[str, int, int]], names: tuple[str, ...], samples: int, beats: int, source: str
    ) -> Waves:
        """From windows in samples; those that lie outside the record are cut or left out."""
        inside = [(name, max(a, 0), min(b, samples)) for name, a, b in windows]
        kept = tuple(sorted((w for w in inside if w[1] < w[2]), key=lambda w: w[1]))
        masks = {name: np.zeros(samples, dtype=bool) for name in names}
        for name, a, b in kept:
            masks[name][a:b] = True
        missing = {name: max(0, beats - sum(w[0] == name for w in kept)) for name in names}
        return cls(masks, beats, missing, kept, source)

    def padded(self, samples: int) -> Waves:
        """The same windows in a longer record, of which only the beginning was recorded."""
        more = samples - min((len(mask) for mask in self.masks.values()), default=samples)
        return replace(self, masks={name: np.pad(mask, (0, more)) for name, mask in self.masks.items()})

    @classmethod
    def none(cls, names: tuple[str, ...], samples: int, source: str, reason: str) -> Waves:
        """A record in which nothing could be delineated."""
        empty = {name: np.zeros(samples, dtype=bool) for name in names}
        return cls(empty, 0, dict.fromkeys(names, 0), (), source, reason)


def delineate(
    signal: np.ndarray, rate: float, present: np.ndarray | None = None, half_width: float | None = None
) -> Waves:
    """Windows of one record.

    Args:
        signal: (12, T), any unit.
        rate: Samples a second.
        present: (12,) bool; None: leads with a finite sample.
        half_width: None: P, QRS and T from onset to offset. Seconds: P, Q, R, S and T, each that much around its peak
            (they overlap, so shares do not add up to 1).

    Returns:
        Windows with the lead they came from; failures are counted in ``missing`` and ``reason``, never silent. Where
        the atria fibrillate there is no P wave, but a window before QRS is called so all the same.

    Raises:
        OptionError: A rate or half width that is not above 0.
    """
    _check(rate, half_width)
    names = WAVES if half_width is None else POINTS
    there = np.isfinite(signal).any(axis=1) if present is None else np.asarray(present, dtype=bool)
    clean = _clean_leads(signal, rate, there)
    peaks = find_beats(np.stack([*clean.values()]), rate) if clean else np.zeros(0, dtype=int)
    if len(peaks) < 2:
        why = f"{len(peaks)} beats" if clean else "no lead has a signal, or all are flat or mostly missing"
        return Waves.none(names, signal.shape[1], "neurokit2", why)
    best, reason = None, ""
    for lead in (lead for lead in ORDER if lead in clean):
        found = _delineate_lead(clean[lead], peaks, rate, names, half_width, f"neurokit2, lead {lead}")
        if found.reason:
            reason = reason or f"lead {lead}: {found.reason}"
            continue
        if best is None or sum(found.missing.values()) < sum(best.missing.values()):
            best = found
        if max(found.missing[name] for name in names if name != "P") <= (1 - MOST_BEATS) * found.beats:
            return found
    return best or Waves.none(names, signal.shape[1], "neurokit2", reason)


def seen_part(found: Waves, rate: float, seen_rate: float, samples: int, begin: float) -> Waves:
    """The windows of a whole record within the part of it that a model sees, perhaps at another rate.

    Args:
        found: Windows of the whole record.
        rate: Samples a second of it.
        seen_rate: Samples a second of the part.
        samples: Length of the part.
        begin: Second of the record at which the part begins.
    """
    names = tuple(found.masks)
    if found.reason:
        return Waves.none(names, samples, found.source, found.reason)
    moved = [
        (n, round((a / rate - begin) * seen_rate), round((b / rate - begin) * seen_rate)) for n, a, b in found.windows
    ]
    main = "QRS" if "QRS" in names else "R"
    inside = sum(0 <= a and b <= samples for name, a, b in moved if name == main)
    return Waves.of(moved, names, samples, inside, found.source)


def beat_part(found: Waves, beats: np.ndarray, rate: float, seen_rate: float, samples: int) -> Waves:
    """The windows of a whole record within its median beat: each wave from its median onset to its median offset.

    Args:
        found: Windows of the whole record.
        beats: Samples of its R peaks, as of `find_beats`.
        rate: Samples a second of the record.
        seen_rate: Samples a second of the median beat.
        samples: Its length; R is in its middle.
    """
    names = tuple(found.masks)
    if found.reason or not len(beats):
        return Waves.none(names, samples, found.source, found.reason or "no beats")
    half = samples // 2 / seen_rate
    around: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for name, a, b in found.windows:
        nearest = beats[np.abs(beats - (a + b) / 2).argmin()]
        first, last = (a - nearest) / rate + half, (b - nearest) / rate + half
        if 0 <= (first + last) / 2 * seen_rate < samples:
            around[name].append((first, last))
    middle = {name: np.median(windows, axis=0) * seen_rate for name, windows in around.items() if windows}
    windows = [(name, round(first), round(last)) for name, (first, last) in middle.items()]
    return Waves.of(windows, names, samples, 1, found.source)


def known_windows(
    table: pl.DataFrame, rate: float, samples: int, begin: float = 0.0, half_width: float | None = None
) -> Waves:
    """Windows that a simulator or an annotator wrote down.

    Args:
        table: The rows of one record: ``wave`` (P, QRS, T), ``onset`` and ``offset`` in seconds from the record's start
            and, for ``half_width``, ``wave`` (P, Q, R, S, T) and ``peak``.
        rate: Samples a second of the signal they are wanted for.
        samples: Its length.
        begin: Second of the record at which the signal begins.
        half_width: See `delineate`.

    Raises:
        OptionError: Columns that are not there, or names of waves that are none of those above.
    """
    _check(rate, half_width)
    names = WAVES if half_width is None else POINTS
    needed = ["wave", "onset", "offset"] if half_width is None else ["wave", "peak"]
    lacking = [column for column in needed if column not in table.columns]
    if lacking:
        raise OptionError(
            f"The table of waves has no column {', '.join(lacking)}; it has {', '.join(table.columns)}.",
            f"Columns id, {', '.join(needed)}; times in seconds.",
            "Leave the table out, and the waves are delineated.",
        )
    strange = set(table["wave"].unique().to_list()) - set(WAVES) - set(POINTS)
    if strange:
        came = f"Waves called {', '.join(map(str, sorted(strange, key=str)))}."
        raise OptionError(came, f"{', '.join(names)}.", "Rename them in the table, or take their rows out.")
    windows = []
    for row in table.iter_rows(named=True):
        if row["wave"] not in names:
            continue
        if half_width is None:
            a, b = row["onset"], row["offset"]
        else:
            a, b = (None, None) if row["peak"] is None else (row["peak"] - half_width, row["peak"] + half_width)
        if a is not None and b is not None and np.isfinite([a, b]).all():
            windows.append((row["wave"], round((a - begin) * rate), round((b - begin) * rate)))
    main = "QRS" if half_width is None else "R"
    inside = sum(0 <= a and b <= samples for name, a, b in windows if name == main)
    return Waves.of(windows, names, samples, inside, "known positions")


def _check(rate: float, half_width: float | None) -> None:
    if not rate > 0:
        raise OptionError(f"A rate of {rate}.", "Samples a second, above 0.", "500 is usual.")
    if half_width is not None and not 0 < half_width < 0.5:
        raise OptionError(f"A half width of {half_width} s.", "Seconds, above 0 and below 0.5.", "0.04 was published.")


def _clean_leads(signal: np.ndarray, rate: float, there: np.ndarray) -> dict[str, np.ndarray]:
    """The leads that have a signal, without wander and mains, gaps bridged; by name."""
    import neurokit2

    clean = {}
    for lead in np.flatnonzero(there):
        filled = _without_gaps(signal[lead])
        if filled is not None and len(filled) > rate and np.ptp(filled) > 0:
            clean[LEADS[lead]] = neurokit2.ecg_clean(filled, sampling_rate=rate)
    return clean


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what neurokit2 warns of (few beats, bad quality): that is counted here."""
    from neurokit2.misc import NeuroKitWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeuroKitWarning)
        warnings.filterwarnings(
            "ignore", "Mean of empty slice|invalid value encountered|some peaks have a prominence of 0", RuntimeWarning
        )
        yield


def _delineate_lead(
    clean: np.ndarray, peaks: np.ndarray, rate: float, names: tuple[str, ...], half_width: float | None, source: str
) -> Waves:
    import neurokit2

    peaks = _highest_near(clean, peaks, round(NEAR * rate))
    methods = ("dwt",) if half_width is not None else ("dwt", "prominence")
    with _quiet():
        try:
            found = {m: neurokit2.ecg_delineate(clean, peaks, sampling_rate=rate, method=m)[1] for m in methods}
        except (ValueError, IndexError, KeyError, TypeError, ZeroDivisionError) as error:
            return Waves.none(names, len(clean), source, f"{type(error).__name__} in neurokit2")
    found["dwt"]["ECG_R_Peaks"] = peaks
    return Waves.of(_windows(found, names, rate, half_width), names, len(clean), len(peaks), source)


def _highest_near(clean: np.ndarray, peaks: np.ndarray, reach: int) -> np.ndarray:
    """The highest sample of a lead around each beat: delineation begins at a peak of the lead itself."""
    found = []
    for peak in peaks:
        first, last = max(peak - reach, 0), min(peak + reach + 1, len(clean))
        highest = first + int(clean[first:last].argmax())
        found.append(highest if first < highest < last - 1 else peak)
    return np.unique(found)


def _windows(
    found: dict[str, dict[str, np.ndarray]], names: tuple[str, ...], rate: float, half_width: float | None
) -> list[tuple[str, int, int]]:
    windows = []
    for name in names:
        if half_width is not None:
            peaks = np.asarray(found["dwt"][PEAKS[name]], dtype=float)
            half = round(half_width * rate)
            windows += [(name, int(p) - half, int(p) + half + 1) for p in peaks if np.isfinite(p)]
            continue
        pairs = _pairs(found["prominence"], name, rate)
        if name != "QRS":
            pairs = _confirmed(_pairs(found["dwt"], name, rate), pairs)
        windows += [(name, a, b) for a, b in pairs]
    return windows


def _pairs(found: dict[str, np.ndarray], name: str, rate: float) -> list[tuple[int, int]]:
    """Each onset with the first offset after it, where that makes a wave of possible length.

    By time and not by place in the lists, which differ in length where a beat at the edge lacks one of the two.
    """
    onsets, offsets = (np.asarray(found[key], dtype=float) for key in KEYS[name])
    onsets, offsets = np.unique(onsets[np.isfinite(onsets)]), np.unique(offsets[np.isfinite(offsets)])
    pairs = []
    for onset, following in zip(onsets, np.append(onsets[1:], np.inf), strict=False):
        later = offsets[(offsets > onset) & (offsets < following)]
        if len(later) and later[0] - onset <= LONGEST[name] * rate:
            pairs.append((int(onset), int(later[0]) + 1))
    return pairs


def _confirmed(pairs: list[tuple[int, int]], others: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Windows that one of the others overlaps, and those others that none overlaps."""
    agreed = [(a, b) for a, b in pairs if any(a < d and c < b for c, d in others)]
    return agreed + [(c, d) for c, d in others if not any(a < d and c < b for a, b in agreed)]


def _without_gaps(row: np.ndarray) -> np.ndarray | None:
    """Gaps bridged by straight lines; None if less than half of the samples are there."""
    there = np.isfinite(row)
    if there.mean() < 0.5:
        return None
    at = np.arange(len(row))
    return np.interp(at, at[there], row[there])
