"""WFDB records of several segments, put together on one time axis; what no segment holds is missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from cardiozoo.data.ecg import MISSING
from cardiozoo.data.ecg_record import EcgRecord, parse_age, parse_sex
from cardiozoo.data.readers.wfdb_header import Header, read_header
from cardiozoo.errors import RecordError

__all__ = ["read_segments"]


def read_segments(path: Path, header: Header, verify: bool) -> EcgRecord:
    """The record of a multi-segment header, fixed or variable layout.

    Integers stay integers where all segments have the same gain for a signal; otherwise the result is in mV.

    Raises:
        RecordError: A segment is missing or broken, segments differ in rate, or lengths do not add up.
    """
    from cardiozoo.data.readers.wfdb_record import read_wfdb  # which calls this function in turn

    parts: list[tuple[int, EcgRecord]] = []
    start = 0
    for name, samples in header.segments or ():
        if samples and name != "~":
            if "/" in name or "\\" in name:
                raise _broken(f"{path} names {name!r} as a segment.")
            segment = path.with_name(f"{name}.hea")
            if read_header(segment).segments is not None:
                raise _broken(f"{segment} has segments in turn.")
            record = read_wfdb(segment, verify)
            if record.rate != header.rate or record.digital.shape[1] < samples:
                came = f"{segment}: {record.digital.shape[1]} samples at {record.rate:g} Hz, "
                raise _broken(f"{came}announced as {samples} at {header.rate:g} Hz.")
            absent = None if record.missing is None else record.missing[:, :samples]
            parts.append((start, dataclasses.replace(record, digital=record.digital[:, :samples], missing=absent)))
        start += samples
    if not parts or (header.samples not in (None, start)):
        raise _broken(f"{path}: its segments hold {start} samples, its first line announces {header.samples}.")
    fields = header.comment_fields()
    return dataclasses.replace(
        _join(parts, start, header.rate),
        patient=fields.get("patient") or parts[0][1].patient,
        time=header.time or (parts[0][1].time if parts[0][0] == 0 else None),
        age=parse_age(fields.get("age")) or parts[0][1].age,
        sex=parse_sex(fields.get("sex")) or parts[0][1].sex,
    )


def _join(parts: list[tuple[int, EcgRecord]], samples: int, rate: float) -> EcgRecord:
    names = tuple(dict.fromkeys(name for _, record in parts for name in record.names))
    gains = {name: {float(r.gain[r.names.index(name)]) for _, r in parts if name in r.names} for name in names}
    whole = all(len(found) == 1 for found in gains.values())
    if any(len(set(record.names)) < len(record.names) for _, record in parts):
        raise _broken("A segment holds two signals of one name.")
    digital = np.zeros((len(names), samples), dtype=np.int32 if whole else np.float64)
    missing = np.ones((len(names), samples), dtype=bool)
    for start, record in parts:
        values = record.digital if whole else record.millivolt()
        absent = np.zeros(values.shape, dtype=bool) if record.missing is None else record.missing
        rows = [names.index(name) for name in record.names]
        digital[rows, start : start + values.shape[1]] = values
        missing[rows, start : start + values.shape[1]] = absent
    if whole:
        digital[missing] = 0
        if digital.min() > MISSING and digital.max() < 1 << 15:
            digital = digital.astype(np.int16)
        digital[missing] = MISSING
    gain = np.array([gains[name].pop() if whole else 1.0 for name in names])
    notes = tuple(dict.fromkeys(note for _, record in parts for note in record.notes))
    return EcgRecord(names, digital, gain, rate, missing if missing.any() else None, notes=notes)


def _broken(came: str) -> RecordError:
    accepted = "Accepted: segments of one rate whose lengths add up to the record's, each with its own header."
    return RecordError(came, accepted, "Fetch the record again, or leave it out.", reason="segments do not fit")
