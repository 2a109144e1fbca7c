"""A record in the form in which it is stored: twelve leads in one order, one rate, one length, 16 bits and a gain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from cardiozoo.data.ecg import LEAD_STATES, LEADS, MISSING
from cardiozoo.data.ecg_derive import TwelveLeads, twelve_leads
from cardiozoo.data.ecg_quality import NOT_RECORDED, PRESENT, Quality, lead_states
from cardiozoo.data.ecg_record import EcgRecord
from cardiozoo.data.ecg_resample import half_length, rate_ratio, resample
from cardiozoo.errors import OptionError, RecordError

__all__ = ["STORED_GAIN", "Quality", "StandardEcg", "standardise"]

STORED_GAIN = 1000.0
"""Units per mV of samples that are not the file's own integers any more: 1 uV each; halved until none is clipped."""

_LARGEST = 32767
_LOWEST_GAIN, _HIGHEST_GAIN = 1e-6, 1e9  # from kilovolts a unit to picovolts
_LARGEST_MV = 1000.0  # amplifiers end at some hundred mV, electrode offset included
_LOWEST_RATE, _HIGHEST_RATE = 50.0, 40_000.0


@dataclass(frozen=True)
class StandardEcg:
    """What goes into a store.

    Attributes:
        signal: int16 (12, S) in the order of ``LEADS``, units of the converter, ``MISSING`` where there is no sample.
        gain: float32 (12,), units in one mV; 1 for leads that are not recorded.
        state: uint8 (12,), codes of ``LEAD_STATES``; anything but 0 makes the lead an absent one.
        samples: How many of the S the record has; the rest is MISSING.
        notes: What was done to it, in words that can be counted.
    """

    signal: np.ndarray
    gain: np.ndarray
    state: np.ndarray
    samples: int
    notes: tuple[str, ...] = ()

    def millivolt(self) -> np.ndarray:
        """float32 (12, S) in mV, NaN where there is no sample and in absent leads."""
        signal = self.signal / self.gain[:, None]
        signal[(self.signal == MISSING) | (self.state != PRESENT)[:, None]] = np.nan
        return signal.astype(np.float32)


def standardise(
    record: EcgRecord,
    rate: float = 500.0,
    seconds: float = 10.0,
    cut: str = "start",
    quality: Quality | None = None,
) -> StandardEcg:
    """Leads by name, padding off, cut to length, judged, and brought to one rate; no filter, no normalisation.

    Samples at the wanted rate that fit into 16 bits are the file's own, bit for bit, with the file's gain. All others
    are rounded to 1 uV (``STORED_GAIN``; coarser, by powers of two, only if that is needed to clip nothing).

    Args:
        record: What a reader returned.
        rate: Samples per second of the result.
        seconds: Length of the result; a shorter record is followed by MISSING.
        cut: Which part of a longer record: its ``start`` or its ``center``.
        quality: The thresholds; None = ``Quality()``.

    Raises:
        RecordError: Too short, no usable lead, no lead at all, or a lead stored twice.
        OptionError: A rate, length or cut out of range.
    """
    size = _check(rate, seconds, cut)
    quality = quality or Quality()
    _check_record(record)
    rows = _without_nonsense(twelve_leads(record))
    rows, notes = _strip_padding(rows, record.rate, quality)
    length, ratio = rows.values.shape[1], rate_ratio(record.rate, rate)
    if length < quality.min_seconds * record.rate:
        raise RecordError(
            f"The record has {length / record.rate:.3g} s of signal.",
            f"Accepted: at least {quality.min_seconds:g} s.",
            "Leave it out, or lower min_seconds.",
            reason=f"shorter than {quality.min_seconds:g} s",
        )
    needed = -(-size * ratio.denominator // ratio.numerator)
    first = max(0, length - needed) // 2 if cut == "center" else 0
    stop = min(length, first + needed)
    state = _judge(rows, slice(first, stop), record.rate, quality)
    if length > needed:
        notes.append(f"longer than {seconds:g} s: cut at the {cut}")
    if ratio == 1:
        signal, gain = _same_rate(rows, first, stop, notes)
    else:
        signal, gain = _other_rate(rows, first, stop, ratio, size)
        notes.append(f"resampled from {record.rate:g} Hz")
    samples = signal.shape[1]
    if samples < size:
        notes.append(f"shorter than {seconds:g} s")
        padded = np.full((len(LEADS), size), MISSING, dtype=np.int16)
        padded[:, :samples] = signal
        signal = padded
    not_recorded = state == NOT_RECORDED
    if not_recorded.any():
        signal[not_recorded], gain[not_recorded] = MISSING, 1.0
    return StandardEcg(signal, gain.astype(np.float32), state, samples, (*record.notes, *rows.notes, *notes))


def _check(rate: float, seconds: float, cut: str) -> int:
    if not _LOWEST_RATE <= rate <= _HIGHEST_RATE or not seconds > 0:
        raise OptionError(
            f"rate={rate!r}, seconds={seconds!r}.", "Accepted: 50 to 40000 Hz, and a length above 0.", "Correct them."
        )
    if cut not in ("start", "center"):
        raise OptionError(f"cut={cut!r}.", "Accepted: start, center.", "Correct the option.")
    size = round(rate * seconds)
    if abs(size - rate * seconds) > 1e-6 or size < 1:
        raise OptionError(
            f"{seconds:g} s at {rate:g} Hz are {rate * seconds:g} samples.", "Accepted: a whole number.", "Correct one."
        )
    return size


def _check_record(record: EcgRecord) -> None:
    if not _LOWEST_RATE <= record.rate <= _HIGHEST_RATE:
        raise RecordError(
            f"The record has {record.rate:g} samples a second.",
            f"Accepted: {_LOWEST_RATE:g} to {_HIGHEST_RATE:g}.",
            "Give its rate, where the format does not hold it, or leave it out.",
            reason="sampling rate impossible",
        )
    if not record.digital.shape[1]:
        raise RecordError(
            "The record has no samples.", "Accepted: at least one second.", "Leave it out.", reason="no samples"
        )
    impossible = ~((record.gain >= _LOWEST_GAIN) & (record.gain <= _HIGHEST_GAIN))
    if impossible.any():
        raise RecordError(
            f"{record.names[int(np.argmax(impossible))]} has {record.gain[impossible][0]:g} units in one mV.",
            f"Accepted: {_LOWEST_GAIN:g} to {_HIGHEST_GAIN:g}.",
            "Correct the gain or the units, or leave the record out.",
            reason="gain impossible",
        )


def _without_nonsense(rows: TwelveLeads) -> TwelveLeads:
    """NaN, Inf and what exceeds every amplifier are missing samples; one of them would spoil the gain of its lead."""
    if rows.values.dtype == np.int16:
        return rows
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(rows.values) <= _LARGEST_MV * rows.gain[:, None])
    if not bad.any():
        return rows
    gap = bad if rows.missing is None else bad | rows.missing
    notes = rows.notes
    if (np.isfinite(rows.values) & bad & (True if rows.missing is None else ~rows.missing)).any():
        notes = (*notes, "samples beyond 1 V taken as missing")
    return replace(rows, values=np.where(gap, 0, rows.values), missing=gap, notes=notes)


def _strip_padding(rows: TwelveLeads, rate: float, quality: Quality) -> tuple[TwelveLeads, list[str]]:
    """Without the leading and trailing stretches in which no lead says anything."""
    shortest = max(1, round(quality.padding_seconds * rate))
    if rows.missing is None and rows.values[:, 0].any() and rows.values[:, -1].any():
        return rows, []  # the usual case
    silent = ~rows.values.any(axis=0)
    if rows.missing is not None:
        silent = ~((rows.values != 0) & ~rows.missing).any(axis=0)
    sounding = np.flatnonzero(~silent)
    if not len(sounding):
        return rows, []
    first, stop = int(sounding[0]), int(sounding[-1]) + 1
    first = first if first >= shortest else 0
    stop = stop if len(silent) - stop >= shortest else len(silent)
    if (first, stop) == (0, len(silent)):
        return rows, []
    missing = None if rows.missing is None else rows.missing[:, first:stop]
    return replace(rows, values=rows.values[:, first:stop], missing=missing), ["padding cut off"]


def _judge(rows: TwelveLeads, part: slice, rate: float, quality: Quality) -> np.ndarray:
    missing = None if rows.missing is None else rows.missing[:, part]
    if missing is not None:
        missing = missing & rows.recorded[:, None]
    state = lead_states(rows.values[:, part], rows.gain, missing, rate, quality)
    # what was computed from a useless lead is useless, whatever it looks like
    for place in rows.derived:
        state[place] = state[0] or state[1] or state[place]
    state[~rows.recorded] = NOT_RECORDED
    if (state != PRESENT).all():
        raise RecordError(
            f"No lead can be used: {_told(state)}.",
            "Accepted: at least one lead that is neither empty, flat, saturated nor out of range.",
            "Check the units and the file, or leave the record out.",
            reason="no usable lead",
        )
    return state


def _told(state: np.ndarray) -> str:
    return ", ".join(f"{lead} {LEAD_STATES[code]}" for lead, code in zip(LEADS, state, strict=True))


def _same_rate(rows: TwelveLeads, first: int, stop: int, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    values = rows.values[:, first:stop]
    missing = None if rows.missing is None else rows.missing[:, first:stop]
    if values.dtype == np.int16:
        values = np.array(values, order="C")
        if missing is not None:
            values[missing] = MISSING
        return values, rows.gain.copy()
    if values.dtype.kind == "f":
        return _quantise(values / rows.gain[:, None], missing)
    quiet = values if missing is None else np.where(missing, 0, values)
    wide = np.abs(quiet).max(axis=1) > _LARGEST
    gain = rows.gain.copy()
    signal = np.where(wide[:, None], 0, quiet).astype(np.int16)
    if wide.any():
        rounded, finer = _quantise(quiet[wide] / gain[wide, None], None)
        signal[wide], gain[wide] = rounded, finer
        notes.append("more than 16 bits: rounded")
    if missing is not None:
        signal[missing] = MISSING
    return signal, gain


def _other_rate(rows: TwelveLeads, first: int, stop: int, ratio: Fraction, size: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `size` samples from `first` on at another rate, filtered with what lies around them."""
    blocks = -(-half_length(ratio) // ratio.denominator)
    start = max(0, first - blocks * ratio.denominator)
    end = min(rows.values.shape[1], stop + half_length(ratio))
    signal = rows.values[:, start:end] / rows.gain[:, None]
    if rows.missing is not None:
        signal[rows.missing[:, start:end]] = np.nan
    skipped = (first - start) // ratio.denominator * ratio.numerator
    length = min(size, -(-(stop - first) * ratio.numerator // ratio.denominator))
    result = resample(signal, ratio)[:, skipped : skipped + length]
    missing = np.isnan(result)
    return _quantise(np.where(missing, 0.0, result), missing if missing.any() else None)


def _quantise(signal: np.ndarray, missing: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """mV to int16 and the gain of each lead."""
    if missing is not None:
        signal = np.where(missing, 0.0, signal)
    gain = np.full(len(signal), STORED_GAIN)
    highest = np.abs(signal).max(axis=1)
    while (over := np.rint(highest * gain) > _LARGEST).any():
        gain[over] /= 2
    values = np.rint(signal * gain[:, None]).astype(np.int16)
    if missing is not None:
        values[missing] = MISSING
    return values, gain
