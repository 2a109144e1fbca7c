"""Units that the names of leads state in a header, in brackets or beside the name: ``I (uV)``, ``II_mV``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from cardiozoo.data.ecg_record import check_units, millivolt_per_unit
from cardiozoo.data.readers.ecg_arrays import refuse

__all__ = ["stated_units", "units_of_header"]

_PARTLY_STATED = "unit stated for some leads only, taken for all"
_ACCEPTED = "Accepted: one unit for all leads (mV, uV, 4.88uV ...), the same in the header and in the option."
_BRACKET = re.compile(r"[\(\[{]\s*([^\)\]}]*?)\s*[\)\]}]")
_EXPONENT = r"(?:E[+-]?[0-9]+)?"
_WORD = r"(?:MILLI|MICRO|NANO)?VOLTS?"
_PER = r"(?:\s*(?:/|PER)\s*(?P<per>[A-Z]+))?"
_IN_BRACKETS = re.compile(rf"(?P<scale>[0-9.]+{_EXPONENT})?\s*[*X]?\s*(?P<unit>[MUN]?V|{_WORD}){_PER}")
# "ch 2 uV" is the second channel: a whole number is a scale only where it adjoins the unit
_SCALE = rf"(?P<scale>[0-9]+{_EXPONENT}(?=[A-Z])|[0-9]*\.[0-9]+{_EXPONENT}[\s_]*)?"
_BESIDE = re.compile(rf"(?<![A-Z0-9.]){_SCALE}(?P<unit>[MUN]V|{_WORD}){_PER}(?![A-Z0-9])")
_DOTS = re.compile(r"(?<=[A-Za-z])\.+|\.+(?![0-9])")  # "I..uV.", as R writes "I (uV)"
_ADJOINING = re.compile(r"(?:[A-Za-z][0-9]+(?=..$)|[A-Z](?=[mun]V$))([munMUN][vV])$")  # V1uV, IImV
_NUMBER_OF_VOLTS = re.compile(r"[0-9][MUN]?V$")
_VOLTS = re.compile(r"\S[ _-]+V$")
_STEPS = set("LSB BIT BITS ADU ADC COUNT COUNTS UNIT UNITS DIGIT STEP NU AU".split())
_CONVERTER = set("ADU ADC LSB COUNTS DIGITAL AU A.U. NU UNITS".split()) | {"ADC UNITS"}


def stated_units(name: str) -> list[float]:
    """The units that `name` states, each as mV; NaN for one that is not understood, 0 for one of a converter (``adu``).

    Empty when it states none. Beside a voltage, ``adu`` says nothing.
    """
    text = re.sub("[µμ\N{REPLACEMENT CHARACTER}?](?=v|V)", "u", name.strip())
    remarks = [remark.upper() for remark in _BRACKET.findall(text)]
    beside = _DOTS.sub(" ", _BRACKET.sub(" ", text)).strip()
    matches = [*map(_IN_BRACKETS.fullmatch, remarks), *_BESIDE.finditer(beside.upper())]
    found = [_millivolt(match["scale"], match["unit"], match["per"]) for match in matches if match]
    if _VOLTS.search(beside.upper()):
        found.append(_millivolt(None, "V", None))
    if not found and (match := _ADJOINING.search(beside)):
        found.append(_millivolt(None, match[1], None))
    if not found and _NUMBER_OF_VOLTS.search(beside.upper()):
        found.append(math.nan)
    return found or [0.0 for remark in remarks if remark in _CONVERTER]


def units_of_header(path: Path, names: Sequence[str], units: str | None, notes: list[str]) -> str | None:
    """The unit of all leads: the one that their names state, else the option's; None when nothing says it.

    Raises:
        RecordError: The names contradict each other or the option, or state a unit that is not understood.
    """
    stated = [stated_units(name) for name in names]
    factors = sorted({factor for found in stated for factor in found})
    if any(map(math.isnan, factors)):
        came = "states a unit in the name of a lead that is not understood"
        refuse(path, came, "unit of a lead not understood", _ACCEPTED, "Correct the header.")
    if not any(factors):
        return units
    said = "states the units " + ", ".join(f"{factor:g} mV" if factor else "of the converter" for factor in factors)
    if not math.isclose(factors[0], factors[-1], rel_tol=1e-6):
        refuse(path, said, "units of the leads differ", _ACCEPTED, "Write the samples in one unit.")
    if units is not None and not math.isclose(check_units(units), factors[0], rel_tol=1e-6):
        came = f"{said}, the option says {units}"
        refuse(path, came, "units contradict each other", _ACCEPTED, "Correct units, or the header.")
    if not all(stated):
        notes.append(_PARTLY_STATED)
    return f"{factors[0]!r}mV" if units is None else units


def _millivolt(scale: str | None, unit: str, per: str | None) -> float:
    factor = millivolt_per_unit(unit)
    try:
        value = float((scale or "1").strip(" _")) * factor if factor and (not per or per in _STEPS) else math.nan
    except ValueError:
        return math.nan
    return value if 0 < value < math.inf else math.nan
