"""One electrocardiogram as its file holds it: integers and their gain, or physical values, and what is said of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from cardiozoo.data.ecg import MISSING
from cardiozoo.errors import OptionError

__all__ = ["EcgRecord", "check_units", "millivolt_per_unit", "parse_age", "parse_sex"]

_VOLT = {"V": 1e3, "MV": 1.0, "UV": 1e-3, "NV": 1e-6}
_UNITS = {
    "": 1.0,
    "VOLT": 1e3,
    "VOLTS": 1e3,
    "MILLIVOLT": 1.0,
    "MILLIVOLTS": 1.0,
    "MICROVOLT": 1e-3,
    "MICROVOLTS": 1e-3,
    "NANOVOLT": 1e-6,
    "NANOVOLTS": 1e-6,
    **_VOLT,
}
_SCALED = re.compile(r"([0-9.]*(?:[0-9]E[+-]?[0-9]+)?)\s*(V|MV|UV|NV|MICROVOLTS?|MILLIVOLTS?|VOLTS?)(?:PERLSB|/LSB)?")


@dataclass(frozen=True)
class EcgRecord:
    """What a file holds.

    Attributes:
        names: The channels' names, spelt as in the file.
        digital: (channels, samples). int16 or int32 from the converter, its baseline subtracted, so that 0 is 0 mV; or
            float64 in mV when the file holds physical values.
        gain: float64 (channels,): units of ``digital`` in one mV; 1 for physical values. Positive.
        rate: Samples per second.
        missing: bool like ``digital``, True where there is no sample; None when every sample is there. What
            ``digital`` holds there does not matter. Not given for int16: where ``digital`` is ``MISSING``.
        patient: Whose it is, as written in the file; None when it does not say.
        time: When it was recorded, without a time zone; None when not said.
        age: Years; None when not said.
        sex: ``F`` or ``M``; None when not said.
        notes: What was assumed or left out while reading, in a few words each.
    """

    names: tuple[str, ...]
    digital: np.ndarray
    gain: np.ndarray
    rate: float
    missing: np.ndarray | None = None
    patient: str | None = None
    time: datetime | None = None
    age: float | None = None
    sex: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.missing is None and self.digital.dtype == np.int16:
            found = self.digital == MISSING
            if found.any():
                object.__setattr__(self, "missing", found)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.digital.shape[1] / self.rate

    def millivolt(self) -> np.ndarray:
        """float64 (channels, samples) in mV, NaN where there is no sample."""
        signal = self.digital / self.gain[:, None]
        if self.missing is not None:
            signal[self.missing] = np.nan
        return signal


def millivolt_per_unit(units: str) -> float | None:
    """How many mV one unit of a file is; None when `units` is no voltage.

    Args:
        units: ``mV``, ``uV``, ``µV``, ``V`` or ``nV`` in any case, or that many of them a unit: ``4.88uV``, ``1e-4 V``.
    """
    text = units.strip().replace("µ", "u").replace("μ", "u").replace("\N{REPLACEMENT CHARACTER}", "u").upper()
    if text in _UNITS:
        return _UNITS[text]
    match = _SCALED.fullmatch(text)
    try:
        factor = float(match[1]) * _UNITS[match[2]] if match else 0.0
    except ValueError:
        return None
    return factor if factor > 0 and np.isfinite(factor) else None


def check_units(units: str) -> float:
    """:func:`millivolt_per_unit` of an option, refused when it is no voltage."""
    factor = millivolt_per_unit(units) if units.strip() else None
    if factor is None:
        raise OptionError(
            f"units={units!r} is no voltage.",
            "Accepted: mV, uV, V or nV, or a number of them for one unit of the file (4.88uV).",
            "Correct the option for the units of the records.",
        )
    return factor


def parse_age(text: str | None) -> float | None:
    """Years; None where there is no number or one that no person reaches."""
    try:
        age = float(text) if text else -1.0
    except ValueError:
        return None
    return age if 0 <= age <= 130 else None


def parse_sex(text: str | None) -> str | None:
    """``F`` or ``M`` from ``Female``, ``male``, ``F`` ...; None otherwise."""
    first = (text or "").strip()[:1].upper()
    return first if first in ("F", "M") else None
