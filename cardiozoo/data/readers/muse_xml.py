"""GE MUSE XML (``RestingECG``): a ``Waveform`` for the rhythm and one for the median beat, leads as base64 integers."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element

import numpy as np

from cardiozoo.data.ecg import MISSING, lead_and_sign
from cardiozoo.data.ecg_record import EcgRecord, millivolt_per_unit, parse_age, parse_sex
from cardiozoo.data.readers.ecg_xml import child_text
from cardiozoo.errors import RecordError

__all__ = ["muse_record"]

_YEARS = {"YEARS": 1.0, "MONTHS": 1 / 12, "WEEKS": 7 / 365.25, "DAYS": 1 / 365.25, "HOURS": 1 / 8766, "": 1.0}


def muse_record(root: Element, path: Path) -> EcgRecord:
    """The rhythm waveform of a parsed file, with the leads it stores (mostly eight: I, II and V1 to V6).

    Where several waveforms are of type rhythm, the one with the most leads is taken, the longest among these.

    Raises:
        RecordError: No rhythm, leads that are not decodable, or other counts than declared.
    """
    every = list(root.iter("Waveform"))
    waveforms = [w for w in every if child_text(w, "WaveformType").lower() == "rhythm"]
    # converters that write one waveform leave its type out
    waveforms = waveforms or [w for w in every if not child_text(w, "WaveformType")]
    if not waveforms:
        kinds = {child_text(w, "WaveformType") for w in every}
        _refuse(path, f"holds no rhythm waveform (found: {', '.join(sorted(kinds)) or 'none'})", "no rhythm waveform")
    decoded = [_waveform(waveform, path) for waveform in waveforms]
    names, digital, gain, missing, rate, notes = max(
        decoded, key=lambda w: (len({lead_and_sign(n) for n in w[0]} - {None}), w[1].shape[1] / w[4])
    )
    if len(decoded) > 1:
        notes = (*notes, "several rhythm waveforms: one taken")
    person, test = root.find("PatientDemographics"), root.find("TestDemographics")
    about = {"age": None, "sex": None, "patient": None}
    if person is not None:
        unit = _YEARS.get(child_text(person, "AgeUnits").upper())
        age = parse_age(child_text(person, "PatientAge"))
        about["age"] = age * unit if age is not None and unit is not None else None
        about["sex"] = parse_sex(child_text(person, "Gender"))
        about["patient"] = child_text(person, "PatientID") or None
    time = None if test is None else _time(child_text(test, "AcquisitionDate"), child_text(test, "AcquisitionTime"))
    return EcgRecord(names, digital, gain, rate, missing, time=time, notes=notes, **about)


def _refuse(path: Path, came: str, reason: str) -> NoReturn:
    accepted = "Accepted: GE MUSE XML with a rhythm waveform whose leads are base64-coded 16-bit integers."
    raise RecordError(f"{path} {came}.", accepted, "Export the record again, or leave it out.", reason=reason)


def _waveform(
    waveform: Element, path: Path
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray | None, float, tuple[str, ...]]:
    """Names, int16 (leads, samples), gain, missing, rate and notes."""
    rate = _number(waveform, "SampleBase", path) * 10.0 ** _number(waveform, "SampleExponent", path, default=0.0)
    if not 0 < rate < 1e6:
        _refuse(path, f"states a rate of {rate:g} Hz", "sampling rate impossible")
    names, rows, gains, off = [], [], [], []
    for lead in waveform.iter("LeadData"):
        name = child_text(lead, "LeadID")
        names.append(name)
        rows.append(_samples(lead, name, path))
        gains.append(_gain(lead, name, path))
        if child_text(lead, "LeadOff").upper() == "TRUE":
            off.append(name)
    if not rows:
        _refuse(path, "has a rhythm waveform without leads", "no lead in the file")
    if len({len(row) for row in rows}) > 1:
        _refuse(path, "has leads of different lengths", "leads of different lengths")
    digital = np.stack(rows)
    missing = digital == MISSING
    notes = (f"lead off, says the file: {' '.join(off)}",) if off else ()
    return tuple(names), digital, np.array(gains), missing if missing.any() else None, rate, notes


def _number(element: Element, name: str, path: Path, default: float | None = None) -> float:
    text = child_text(element, name)
    if not text and default is not None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        _refuse(path, f"says {text!r} for {name}", f"{name} missing or unreadable")
    return value


def _gain(lead: Element, name: str, path: Path) -> float:
    units = child_text(lead, "LeadAmplitudeUnits") or "MICROVOLTS"
    factor = millivolt_per_unit(units)
    step = _number(lead, "LeadAmplitudeUnitsPerBit", path)
    if factor is None or step <= 0:
        _refuse(path, f"states {step:g} {units} per bit for lead {name}", "unit of a lead unknown")
    return 1.0 / (step * factor)


def _samples(lead: Element, name: str, path: Path) -> np.ndarray:
    """int16, moved to where the lead begins when it begins later than the waveform."""
    if _number(lead, "LeadSampleSize", path, default=2.0) != 2:
        _refuse(path, f"stores lead {name} in other than two bytes a sample", "samples not of 16 bits")
    text = re.sub(r"\s+", "", child_text(lead, "WaveFormData"))
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        _refuse(path, f"has a lead {name} that is no base64 text", "samples not decodable")
    declared = int(_number(lead, "LeadSampleCountTotal", path, default=len(content) / 2))
    if len(content) != 2 * declared or not content:
        came = f"declares {declared} samples for lead {name} and holds {len(content) / 2:g}"
        _refuse(path, came, "other sample count than declared")
    samples = np.frombuffer(content, dtype="<i2").astype(np.int16)
    late = int(_number(lead, "LeadOffsetFirstSample", path, default=0.0))
    if late:
        if not 0 < late < len(samples):
            _refuse(path, f"begins lead {name} at sample {late}", "leads of different lengths")
        samples = np.concatenate((np.full(late, MISSING, dtype=np.int16), samples))
    return samples


def _time(date: str, time: str) -> datetime | None:
    """Month-day-year, as MUSE writes it, or ISO 8601."""
    for form in ("%m-%d-%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S"):
        try:
            return datetime.strptime(f"{date} {time}", form)
        except ValueError:
            continue
    return None
