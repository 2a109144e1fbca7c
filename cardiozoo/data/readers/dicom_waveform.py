"""DICOM waveform objects (12-Lead, General and Ambulatory ECG): the multiplex groups that hold the rhythm.

DICOM PS3.3 C.10.9, Waveform Module: value = (sample + padding aside) x sensitivity x correction factor + baseline.
"""

from __future__ import annotations

import warnings
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from cardiozoo.data.ecg import MISSING, lead_and_sign
from cardiozoo.data.ecg_record import EcgRecord, millivolt_per_unit, parse_sex
from cardiozoo.errors import RecordError

__all__ = ["read_dicom"]

_MEDIAN_WORDS = ("MEDIAN", "AVERAGE", "TEMPLATE", "REPRESENTATIVE")
# the codings that are linear, low byte first
_LINEAR = {"SB": "i1", "UB": "u1", "SS": "<i2", "US": "<u2", "SL": "<i4", "UL": "<u4", "SV": "<i8", "UV": "<u8"}


def read_dicom(path: Path, units: str | None = None) -> EcgRecord:
    """The rhythm of a DICOM ECG.

    Of several multiplex groups, those that are called median or that are derived while another is original are left
    aside. Groups of different leads that were recorded at one time are one record. Of what remains, the most leads are
    taken, the longest among these.

    Args:
        path: The file.
        units: What one unit of the samples is where a channel states no sensitivity.

    Raises:
        RecordError: No DICOM, no waveform, truncated, or a lead without a unit.
    """
    from pydicom import dcmread  # takes a tenth of a second, and most records are not DICOM

    try:
        with warnings.catch_warnings():
            # what does not conform elsewhere in the file is none of our business
            warnings.filterwarnings("ignore", module="pydicom")
            return _to_record(dcmread(path, force=path.suffix.lower() in (".dcm", ".dicom")), path, units)
    except RecordError:
        raise
    except FileNotFoundError:
        _refuse(path, "does not exist", "file missing")
    except Exception as error:  # pydicom raises many kinds for damaged files, some only when an element is asked for
        _refuse(path, f"cannot be read as DICOM: {type(error).__name__}: {error}", "DICOM file unreadable")


def _to_record(dataset: Any, path: Path, units: str | None) -> EcgRecord:
    groups = list(dataset.get("WaveformSequence") or ())
    if not groups:
        _refuse(path, "holds no waveform", "no rhythm waveform")
    places = _choose(groups)
    if _is_median(groups[places[0]]):
        _refuse(path, "holds median beats and no rhythm", "no rhythm waveform")
    notes: list[str] = []
    if len(groups) > 1:
        how = f"{len(places)} of {len(groups)} joined" if len(places) > 1 else f"one of {len(groups)} taken"
        notes.append(f"multiplex groups: {how}")
    parts = [_samples(groups[place], _is_little(dataset), path) for place in places]
    raw, missing = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    channels = [channel for place in places for channel in groups[place].ChannelDefinitionSequence]
    names = tuple(_name(channel) for channel in channels)
    keep, scales = _scales(channels, names, units, notes, path)
    if not keep:
        _refuse(path, "holds no channel that is a voltage", "no lead in the file")
    digital, gain = _to_units(raw[keep], missing[keep], np.array(scales))
    missing = missing[keep] | (digital == MISSING) if digital.dtype == np.int16 else missing[keep]
    return EcgRecord(
        tuple(names[i] for i in keep),
        digital,
        gain,
        float(groups[places[0]].SamplingFrequency),
        missing if missing.any() else None,
        str(dataset.get("PatientID") or "") or None,
        _time(dataset),
        _age(str(dataset.get("PatientAge") or "")),
        parse_sex(str(dataset.get("PatientSex") or "")),
        tuple(notes),
    )


def _refuse(path: Path, came: str, reason: str) -> NoReturn:
    accepted = "Accepted: a DICOM waveform object with ECG channels, whole and uncompressed."
    raise RecordError(f"{path} {came}.", accepted, "Export the record again, or leave it out.", reason=reason)


def _choose(groups: list[Any]) -> list[int]:
    """Places of the rhythm among the groups."""

    def rank(places: list[int]) -> tuple[bool, bool, int, float]:
        group = groups[places[0]]
        leads = set().union(*(_leads(groups[place]) for place in places))
        seconds = float(group.get("NumberOfWaveformSamples") or 0) / float(group.get("SamplingFrequency") or 1)
        return not _is_median(group), _is_original(group), len(leads), seconds

    return max((_together(groups, place) for place in range(len(groups))), key=rank)


def _together(groups: list[Any], first: int) -> list[int]:
    """Places of the group `first` and of those that were recorded at the same time from other leads."""
    places, leads, moment = [first], _leads(groups[first]), _moment(groups[first])
    for place, group in enumerate(groups):
        others = _leads(group)
        if place != first and moment is not None and moment == _moment(group) and not others & leads:
            places.append(place)
            leads = leads | others
    return sorted(places)


def _moment(group: Any) -> tuple[Any, ...] | None:
    """What groups of one time have in common; None where a group holds no lead or does not say when it begins.

    Carts that write the twelve leads in four groups may have recorded them one after the other, as they print them.
    Only the offset tells, so without one nothing is taken for simultaneous.
    """
    offset = group.get("MultiplexGroupTimeOffset")
    if offset in (None, "") or not _leads(group):
        return None
    length = int(group.get("NumberOfWaveformSamples") or 0), float(group.get("SamplingFrequency") or 0)
    return float(offset), *length, _is_median(group), _is_original(group)


def _leads(group: Any) -> set[str]:
    found = (lead_and_sign(_name(channel)) for channel in group.get("ChannelDefinitionSequence") or ())
    return {lead[0] for lead in found if lead}


def _is_original(group: Any) -> bool:
    return str(group.get("WaveformOriginality") or "ORIGINAL").upper() == "ORIGINAL"


def _is_median(group: Any) -> bool:
    label = str(group.get("MultiplexGroupLabel") or "").upper()
    return any(word in label for word in _MEDIAN_WORDS)


def _is_little(dataset: Any) -> bool:
    """Whether the file has the low byte first, which pydicom finds out even where the file does not say it."""
    if hasattr(dataset, "original_encoding"):
        return bool(dataset.original_encoding[1])
    return bool(dataset.read_little_endian)  # before pydicom 3


def _samples(group: Any, little: bool, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Integers (channels, samples) as they are stored, and which of them stand for no sample.

    Decoded here because pydicom takes the low byte for the first in files of either order.
    """
    coding = str(group.get("WaveformSampleInterpretation") or "")
    bits = int(group.WaveformBitsAllocated)
    if coding not in _LINEAR or np.dtype(_LINEAR[coding]).itemsize * 8 != bits:
        _refuse(path, f"codes its samples as {coding or 'nothing it names'} of {bits} bits", "samples not decodable")
    channels, samples = int(group.NumberOfWaveformChannels), int(group.NumberOfWaveformSamples)
    if not channels * samples:
        _refuse(path, "has a waveform without samples", "no samples")
    if len(group.ChannelDefinitionSequence) != channels:
        came = f"describes {len(group.ChannelDefinitionSequence)} channels of a waveform that has {channels}"
        _refuse(path, came, "channels contradict each other")
    content = _low_byte_first(group["WaveformData"], bits, little, path)
    raw = np.frombuffer(content, _LINEAR[coding], count=channels * samples).reshape(samples, channels).T
    stated = group.get("WaveformPaddingValue")
    if isinstance(stated, bytes):
        # one sample, and a byte to an even length behind one of 8 bits
        sample = _low_byte_first(group["WaveformPaddingValue"], bits, little, path)[: bits // 8]
        stated = int.from_bytes(sample, "little", signed=coding.startswith("S"))
    return raw, raw == int(stated) if stated is not None else np.zeros(raw.shape, dtype=bool)


def _low_byte_first(element: Any, bits: int, little: bool, path: Path) -> bytes:
    """The bytes of samples as they are in a file that has the low byte first; pydicom swaps none of them.

    Words of 16 bits (OW) have their bytes swapped, also where two samples of 8 bits share one; single bytes (OB) never.
    Samples of 16 bits as single bytes are against the standard, and those of 32 are younger than the end of this byte
    order, so that neither says which of its bytes is the low one.
    """
    if little or (bits == 8 and element.VR == "OB"):
        return element.value
    if element.VR != "OW" or bits > 16:
        came = f"has samples of {bits} bits as {element.VR} with the high byte first, which no standard describes"
        _refuse(path, came, "samples not decodable")
    return np.frombuffer(element.value, ">u2").astype("<u2").tobytes()


def _name(channel: Any) -> str:
    """The first of label, meaning and code that is a lead; else the first that says anything."""
    source = (channel.get("ChannelSourceSequence") or [None])[0]
    said = [channel.get("ChannelLabel")]
    if source is not None:
        said += [source.get("CodeMeaning"), source.get("CodeValue")]
    texts = [str(text) for text in said if text]
    return next((text for text in texts if lead_and_sign(text)), texts[0] if texts else "")


def _scales(
    channels: list[Any], names: tuple[str, ...], units: str | None, notes: list[str], path: Path
) -> tuple[list[int], list[tuple[float, float]]]:
    """Places of the channels that are voltages, and (mV per unit of the samples, mV of sample 0) of each."""
    keep, scales, others = [], [], []
    for place, channel in enumerate(channels):
        sensitivity, unit = channel.get("ChannelSensitivity"), channel.get("ChannelSensitivityUnitsSequence")
        correction = channel.get("ChannelSensitivityCorrectionFactor")
        factor = millivolt_per_unit(str(unit[0].get("CodeValue") or "?")) if unit else None
        step = float(sensitivity) * float(1 if correction is None else correction) if sensitivity is not None else 0.0
        if sensitivity is None and units is not None:
            factor, step = millivolt_per_unit(units), 1.0
        if factor is None or step == 0:
            if lead_and_sign(names[place]):
                came = f"states no sensitivity in volts for lead {names[place]}, and no option gives units"
                _refuse(path, came, "unit of a lead unknown")
            others.append(names[place] or "unnamed")
            continue
        keep.append(place)
        scales.append((step * factor, float(channel.get("ChannelBaseline") or 0) * factor))
    if others:
        notes.append(f"no voltage: {' '.join(others)}")
    return keep, scales


def _to_units(raw: np.ndarray, missing: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers with the baseline in them where it is a whole number of units, else mV; and the gain, positive."""
    step, zero = scales[:, :1], scales[:, 1:]
    shift = zero / step
    whole = np.abs(shift - np.rint(shift)).max() < 1e-6
    if not whole:
        return np.where(missing, 0.0, raw * step + zero), np.ones(len(raw))
    values = (raw.astype(np.int64) + np.rint(shift).astype(np.int64)) * np.sign(step).astype(np.int64)
    values = np.where(missing, 0, values)
    if np.abs(values).max() >= 1 << 31:
        return values * np.abs(step), np.ones(len(raw))
    narrow = values.min() >= MISSING and values.max() < 1 << 15
    digital = values.astype(np.int16 if narrow else np.int32)
    digital[missing] = MISSING
    return digital, 1.0 / np.abs(step[:, 0])


def _time(dataset: Any) -> datetime | None:
    moments = [str(dataset.get("AcquisitionDateTime") or "")]
    for what in ("Acquisition", "Content", "Study"):
        moments.append(str(dataset.get(f"{what}Date") or "") + str(dataset.get(f"{what}Time") or ""))
    for moment in moments:
        try:
            return datetime.strptime(moment[:14], "%Y%m%d%H%M%S")
        except ValueError:
            continue
    return None


def _age(text: str) -> float | None:
    """``042Y``, ``018M``, ``003W``, ``012D`` as years."""
    units = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
    return int(text[:3]) * units[text[3]] if len(text) == 4 and text[:3].isdigit() and text[3] in units else None
