"""WFDB records: a header and its signal files, as PhysioNet and the CinC challenges distribute them.

Records whose signals are 16-bit integers, which means all of MIMIC-IV-ECG, PTB-XL, PTB and the challenges' ``.mat``
containers (a header of 24 bytes before the same integers), are read here directly; every other format, skewed signals
and several samples a frame go through the package ``wfdb``. Either way the checksums of the header are verified.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np

from cardiozoo.data.ecg import MISSING, lead_and_sign
from cardiozoo.data.ecg_record import EcgRecord, millivolt_per_unit, parse_age, parse_sex
from cardiozoo.data.readers.matlab_container import read_val
from cardiozoo.data.readers.wfdb_header import Header, SignalLine, read_header
from cardiozoo.errors import RecordError

__all__ = ["read_wfdb"]

# two's complement with the low or the high byte first, and offset binary
_SIXTEEN_BITS = {"16": "<i2", "61": ">i2", "160": "<u2"}
# what a format reserves for "no sample"
_NO_SAMPLE = {
    **dict.fromkeys(("16", "61", "160", "516"), MISSING),
    **dict.fromkeys(("80", "508"), -128),
    **dict.fromkeys(("310", "311"), -512),
    **dict.fromkeys(("24", "524"), -(1 << 23)),
    "212": -2048,
    "32": -(1 << 31),
}


def read_wfdb(path: Path, verify: bool = True) -> EcgRecord:
    """The record whose header is `path`.

    Args:
        path: The header, or the record's name without ``.hea``, or one of its signal files.
        verify: Compare the checksums of the header with the samples.

    Raises:
        RecordError: Header or signal file missing, empty, truncated or contradicting each other.
    """
    header_path = _header_path(path)
    header = read_header(header_path)
    if header.segments is not None:
        from cardiozoo.data.readers.wfdb_segments import read_segments

        return read_segments(header_path, header, verify)
    notes = [] if header.rate_stated else ["rate not stated: 250 Hz taken, the default of WFDB"]
    plain = all(s.format in _SIXTEEN_BITS and s.per_frame == 1 and s.skew == 0 for s in header.signals)
    if plain:
        raw, signals, rate = _read_sixteen_bits(header_path, header, notes), header.signals, header.rate
        if verify:
            _verify(raw, signals, header_path, notes)
    else:
        from cardiozoo.data.readers.wfdb_formats import read_any_format

        raw, signals, rate = read_any_format(header_path, header, verify, notes)
    return _to_record(raw, signals, rate, header, notes, header_path)


def _header_path(path: Path) -> Path:
    if path.suffix.lower() == ".hea":
        return path
    beside = path.with_name(f"{path.name}.hea")
    if path.suffix.lower() in (".dat", ".mat") and not beside.exists():
        return path.with_suffix(".hea")
    return beside


def _refuse(came: str, reason: str, next_step: str = "Fetch the record again, or leave it out.") -> NoReturn:
    raise RecordError(came, "Accepted: a WFDB header and its signal files, whole.", next_step, reason=reason)


def signal_path(header_path: Path, name: str) -> Path:
    """Where a signal file lies: beside its header, or beside what the header is a link to; in no other folder."""
    if "/" in name or "\\" in name or name in ("", ".", "..", "~"):
        _refuse(f"{header_path} names {name!r} as a signal file.", "header unreadable")
    beside = header_path.with_name(name)
    if header_path.is_symlink() and not beside.exists():
        return header_path.resolve().with_name(name)
    return beside


def _read_sixteen_bits(header_path: Path, header: Header, notes: list[str]) -> np.ndarray:
    """int16 (channels, samples) from one or several files of interleaved integers of 16 bits."""
    parts: list[np.ndarray] = []
    samples = header.samples
    first = 0
    while first < len(header.signals):
        line, last = header.signals[first], first
        while last < len(header.signals) and header.signals[last].file == line.file:
            last += 1
        path, channels = signal_path(header_path, line.file), last - first
        values = _read_file(path, line, channels, samples, header_path)
        if samples is None:
            samples = values.shape[1]
            notes.append("number of samples not stated: taken from the size of the file")
        if values.shape[1] < samples or samples == 0:
            came = f"{path} holds {values.shape[1]} samples of {channels} signals; its header says {samples}."
            _refuse(came, "signal file truncated" if samples else "no samples")
        parts.append(values[:, :samples])
        first = last
    return np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts), dtype=np.int16)


def _read_file(path: Path, line: SignalLine, channels: int, samples: int | None, header_path: Path) -> np.ndarray:
    """(channels, samples) of one file, at most as many as the header states."""
    try:
        # never more than there is: what a damaged header announces may exceed all memory
        held = max(0, path.stat().st_size - line.offset) // 2
        count = held if samples is None else min(held, samples * channels)
        if path.suffix.lower() == ".mat" and (matrix := read_val(path, channels)) is not None:
            return matrix
        values = np.fromfile(path, dtype=_SIXTEEN_BITS[line.format], count=count, offset=line.offset)
    except FileNotFoundError:
        _refuse(f"{header_path} needs {path.name}, which is not there.", "signal file missing")
    except OSError as error:
        _refuse(f"{path} cannot be read: {error}.", "signal file unreadable")
    if line.format == "160":
        values = values.astype(np.int32) - 32768
    return values[: len(values) // channels * channels].reshape(-1, channels).T


def _verify(raw: np.ndarray, signals: tuple[SignalLine, ...], path: Path, notes: list[str]) -> None:
    """Compares the 16-bit sums of the samples with the header's."""
    stated = [signal.checksum for signal in signals]
    if None in stated or not any(stated):
        # all zero is what programs write that do not compute them; twelve real leads do not all add up to zero
        if None in stated or raw.any():
            notes.append("checksums not stated")
        return
    found = (raw.sum(axis=1, dtype=np.int64) & 0xFFFF).tolist()
    if wrong := [signal.name for signal, sum_ in zip(signals, found, strict=True) if signal.checksum != sum_]:
        came = f"{path}: the checksum of {len(wrong)} of {len(found)} signals is wrong ({', '.join(wrong)})."
        _refuse(came, "checksum wrong")


def _to_record(
    raw: np.ndarray, signals: tuple[SignalLine, ...], rate: float, header: Header, notes: list[str], path: Path
) -> EcgRecord:
    """Voltages only, baseline subtracted, gain in units per mV."""
    keep, gain = _gains(signals, notes, path)
    if not keep:
        _refuse(f"{path}: none of the signals is a voltage.", "no lead in the file")
    if len(keep) < len(signals):
        raw, signals = raw[keep], tuple(signals[i] for i in keep)
    missing = None
    absent = np.array([_NO_SAMPLE.get(signal.format, 1 << 40) for signal in signals])
    if (absent == MISSING).all():
        found = raw == MISSING
    else:
        found = raw == absent[:, None]
    if found.any():
        missing = found
    baseline = np.array([signal.baseline for signal in signals], dtype=np.int64)
    if baseline.any():
        raw = _narrowest(raw - baseline[:, None], missing)
    if (gain < 0).any():
        raw = _narrowest(np.where(gain[:, None] < 0, -raw.astype(np.int64), raw), missing)
        gain = np.abs(gain)
        notes.append("negative gain")
    fields = header.comment_fields()
    return EcgRecord(
        tuple(signal.name for signal in signals),
        raw,
        gain,
        rate,
        missing,
        fields.get("patient"),
        header.time,
        parse_age(fields.get("age")),
        parse_sex(fields.get("sex")),
        tuple(notes),
    )


def _gains(signals: tuple[SignalLine, ...], notes: list[str], path: Path) -> tuple[list[int], np.ndarray]:
    """Which signals are voltages, and their units per mV."""
    keep, gains, others = [], [], []
    for place, signal in enumerate(signals):
        factor = millivolt_per_unit(signal.units)
        if factor is None:
            if lead_and_sign(signal.name):
                came = f"{path}: lead {signal.name} is in {signal.units}."
                _refuse(came, "unit of a lead unknown", "Correct the unit in the header, or leave the record out.")
            others.append(signal.name or "unnamed")
            continue
        keep.append(place)
        gains.append(signal.gain / factor)
    if any(not signals[place].gain_stated for place in keep):
        notes.append("gain not stated: 200 per mV taken, the default of WFDB")
    if others:
        notes.append(f"no voltage: {' '.join(others)}")
    return keep, np.array(gains, dtype=np.float64)


def _narrowest(values: np.ndarray, missing: np.ndarray | None) -> np.ndarray:
    """int16 if all samples fit beside MISSING, else int32; missing ones become MISSING."""
    if missing is not None:
        values = np.where(missing, 0, values)
    fits = values.min() > MISSING and values.max() < 1 << 15
    values = values.astype(np.int16 if fits else np.int32)
    if missing is not None:
        values[missing] = MISSING
    return values
