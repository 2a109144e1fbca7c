"""GE CardioSoft XML (``CardiologyXML``), the form of UK Biobank's resting ECG (field 20205): the ten-second strip."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element

import numpy as np

from cardiozoo.data.ecg import MISSING
from cardiozoo.data.ecg_record import EcgRecord, millivolt_per_unit, parse_age, parse_sex
from cardiozoo.data.readers.ecg_xml import child_text
from cardiozoo.errors import RecordError

__all__ = ["cardiosoft_record"]


def cardiosoft_record(root: Element, path: Path) -> EcgRecord:
    """The strip of a parsed file, never the median beat; its resolution is the one of its own block.

    Raises:
        RecordError: No strip, a lead of another length than declared, or samples that are no whole numbers.
    """
    strip = next((block for block in root.iter("StripData") if block.find("WaveformData") is not None), None)
    if strip is None:
        _refuse(path, "holds no strip with waveforms", "no rhythm waveform")
    rate = _number(strip, "SampleRate", path)
    declared = int(_number(strip, "ChannelSampleCountTotal", path))
    leads = strip.findall("WaveformData")
    names = tuple((lead.get("lead") or "").strip() for lead in leads)
    rows = [_samples(lead.text or "", declared, name, path) for lead, name in zip(leads, names, strict=True)]
    digital = np.stack(rows)
    if digital.min() >= MISSING and digital.max() < 1 << 15:
        digital = digital.astype(np.int16)
    missing = digital == MISSING if digital.dtype == np.int16 else np.zeros(digital.shape, dtype=bool)
    person = root.find("PatientInfo")
    return EcgRecord(
        names,
        digital,
        np.full(len(names), 1.0 / _millivolt_per_bit(strip, path)),
        rate,
        missing if missing.any() else None,
        None if person is None else child_text(person, "PID") or None,
        _time(root.find("ObservationDateTime")),
        None if person is None else _age(person),
        None if person is None else parse_sex(child_text(person, "Gender")),
        _notes(root, strip, len(names)),
    )


def _refuse(path: Path, came: str, reason: str) -> NoReturn:
    accepted = "Accepted: CardioSoft XML with StripData: SampleRate, Resolution, and a WaveformData for each lead."
    raise RecordError(f"{path} {came}.", accepted, "Export the record again, or leave it out.", reason=reason)


def _number(block: Element, name: str, path: Path) -> float:
    text = child_text(block, name)
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e7:
        _refuse(path, f"says {text!r} for {name} of its strip", f"{name} missing or unreadable")
    return value


def _millivolt_per_bit(strip: Element, path: Path) -> float:
    units = strip.find("Resolution").get("units", "uVperLsb") if strip.find("Resolution") is not None else "uVperLsb"
    factor = millivolt_per_unit(units.lower().removesuffix("perlsb").removesuffix("/lsb"))
    if factor is None:
        _refuse(path, f"gives the resolution of its strip in {units!r}", "unit of a lead unknown")
    return _number(strip, "Resolution", path) * factor


def _samples(text: str, declared: int, name: str, path: Path) -> np.ndarray:
    """int32; tabs, line ends and a comma after the last number are common."""
    words = [word for word in map(str.strip, text.split(",")) if word]
    try:
        samples = np.array(list(map(int, words)), dtype=np.int32)
    except (ValueError, OverflowError):
        _refuse(path, f"has a lead {name} with samples that are no whole numbers", "samples not decodable")
    if len(samples) != declared:
        _refuse(
            path,
            f"declares {declared} samples for lead {name} and holds {len(samples)}",
            "other sample count than declared",
        )
    return samples


def _age(person: Element) -> float | None:
    age = person.find("Age")
    in_years = age is not None and age.get("units", "years").lower().startswith("year")
    return parse_age(child_text(person, "Age")) if in_years else None


def _time(block: Element | None) -> datetime | None:
    if block is None:
        return None
    try:
        parts = [int(child_text(block, name)) for name in ("Year", "Month", "Day", "Hour", "Minute", "Second")]
        return datetime(*parts)
    except (ValueError, TypeError):
        return None


def _notes(root: Element, strip: Element, found: int) -> tuple[str, ...]:
    notes = []
    announced = child_text(strip, "NumberOfLeads")
    if announced.isdigit() and int(announced) > found:
        notes.append("fewer leads than announced")
    texts = [(element.text or "").strip().lower() for element in root.iter("DiagnosisText")]
    if any("poor data quality" in text for text in texts):
        notes.append("the device says: poor data quality")
    return tuple(notes)
