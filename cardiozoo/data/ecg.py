"""The twelve leads: their names, their order, and how four of them follow from two.

Einthoven (1913) and Goldberger (1942): III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from cardiozoo.errors import OptionError

__all__ = [
    "CHEST_LEADS",
    "LEADS",
    "LEAD_STATES",
    "LIMB_LEADS",
    "MISSING",
    "canonical_lead",
    "choose_leads",
    "lead_and_sign",
]

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""Order of the leads everywhere in the project, whatever the order in the files."""
LIMB_LEADS = LEADS[:6]
CHEST_LEADS = LEADS[6:]

LEAD_STATES = (
    "present",
    "not recorded",
    "no samples",
    "flat",
    "saturated",
    "mostly missing",
    "out of range",
)
"""What became of a lead of a record; its place in this tuple is its code. All but the first make it an absent lead."""

MISSING = -32768
"""The int16 value that stands for "no sample", as in WFDB format 16."""

_BY_NAME = {lead.upper(): lead for lead in LEADS}
# Portuguese and Spanish carts write DI, DII, DIII (or D1 ...); IEC 60601 calls the chest electrodes C1 to C6
_BY_NAME |= {"DI": "I", "DII": "II", "DIII": "III", "D1": "I", "D2": "II", "D3": "III"}
_BY_NAME |= {f"C{number}": f"V{number}" for number in range(1, 7)}
# lead numbers of SCP-ECG and ISO/IEEE 11073-10102, as DICOM codes them
_BY_NUMBER = {1: "I", 2: "II", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF"}
_BY_NUMBER |= {number + 2: f"V{number}" for number in range(1, 7)}
_CODE = re.compile(r"(?:5\.6\.3-9-|2:)(\d+)")
_BRACKETS = re.compile(r"\s*[\(\[{]\s*([^\)\]}]*?)\s*[\)\]}]\s*$")
# what may stand in brackets behind a lead and leaves it that lead; anything else may make it another (V4(R))
_REMARKS = {"", "ADC UNITS"}
_REMARKS |= set("EINTHOVEN GOLDBERGER WILSON STANDARD LIMB CHEST PRECORDIAL AUGMENTED BIPOLAR UNIPOLAR LEAD".split())
_REMARKS |= set("ECG EKG RAW FILTERED DERIVED CALCULATED ADC ADU LSB COUNTS DIGITAL AU A.U. NU UNITS".split())
_VOLTAGE = re.compile(
    r"(?:[0-9.]+(?:E[+-]?[0-9]+)?\s*[*X]?\s*)?(?:[MUN?]?V|(?:MILLI|MICRO|NANO)?VOLTS?)(?:\s*(?:/|PER)\s*[A-Z]+)?"
)
_MINUS = ("-", "−")
# a hyphen that follows at once joins ("ECG-II"), one after a space is a minus ("Lead -aVR")
_PREFIX = re.compile(r"(?:MDC_ECG_LEAD|(?:ECG|EKG)[ _]*\d*|LEAD|CHANNEL|ABLEITUNG)(?:-|[ _:.]*)")
# "I..uV." is what R makes of "I (uV)"; cardiozoo.data.readers.ecg_units reads the unit
_UNIT = re.compile(r"[ _-]+V$|[\s_.:/-]+(?:[MUN?]V|(?:MILLI|MICRO|NANO)VOLTS?)\.?$")


@lru_cache(maxsize=4096)
def lead_and_sign(name: str) -> tuple[str, int] | None:
    """The lead that a name in a file means, and -1 if it is stored upside down (``-aVR`` of the Cabrera sequence).

    Of brackets behind the name, those with a unit, a minus or a word that leaves the lead what it is are understood.

    Args:
        name: For example ``AVR``, ``Lead I``, ``I (mV)``, ``MDC_ECG_LEAD_V1``, ``ECG1:II``, ``DII`` or ``5.6.3-9-62``.

    Returns:
        A name of ``LEADS`` and 1 or -1; None when it is no lead of the standard twelve (``vx``, ``MLII``, ``V4R``,
        ``V4(R)``, or a bare number, which may count from 0 or from 1).
    """
    text = name.strip()
    if code := _CODE.fullmatch(text):
        lead = _BY_NUMBER.get(int(code[1]))
        return (lead, 1) if lead else None
    # upper() would make a Greek capital of either letter for micro
    text = re.sub("[µμ\N{REPLACEMENT CHARACTER}]", "u", text).upper()
    remarks = []
    while bracket := _BRACKETS.search(text):
        text = text[: bracket.start()]
        if bracket[1] not in _REMARKS and not _VOLTAGE.fullmatch(bracket[1]):
            remarks.append(bracket[1])
    while (shorter := _PREFIX.sub("", text, count=1) if _PREFIX.match(text) else text) != text:
        text = shorter
    text = _UNIT.sub("", text.strip())
    if text[:1] in (*_MINUS, "+"):
        remarks.append(text[0])
        text = text[1:].strip()
    lead = _BY_NAME.get(text)
    signs = [remark for remark in remarks if remark in (*_MINUS, "+")]
    # "C1 (V1)" names one lead twice; two signs may mean one turn or two
    if lead is None or len(signs) > 1 or any(_BY_NAME.get(remark) != lead for remark in remarks if remark not in signs):
        return None
    return lead, -1 if signs and signs[0] in _MINUS else 1


def canonical_lead(name: str) -> str | None:
    """The name of ``LEADS`` that is meant by any spelling of it; None for anything else.

    Also None for a lead that is stored upside down (``-aVR``), because its samples are not those of the lead;
    :func:`lead_and_sign` tells these.
    """
    found = lead_and_sign(name)
    return found[0] if found and found[1] == 1 else None


def choose_leads(leads: str | Sequence[str]) -> tuple[str, ...]:
    """The leads an option asks for, in the order of ``LEADS``.

    Args:
        leads: ``all``, ``limb`` (the first six), ``chest``, one name, or several in any spelling and order.

    Raises:
        OptionError: A name that is no lead, a lead named twice, or none at all.
    """
    groups = {"all": LEADS, "limb": LIMB_LEADS, "chest": CHEST_LEADS}
    if isinstance(leads, str) and leads.strip().lower() in groups:
        return groups[leads.strip().lower()]
    asked = [part for part in re.split(r"[,\s]+", leads) if part] if isinstance(leads, str) else list(leads)
    names = [canonical_lead(str(name)) for name in asked]
    unknown = [str(name) for name, lead in zip(asked, names, strict=True) if lead is None]
    accepted = f"Accepted: all, limb, chest, or names among {', '.join(LEADS)}, each once."
    if unknown or not names:
        came = f"No lead is called {', '.join(unknown)}." if unknown else "The list of leads is empty."
        raise OptionError(came, accepted, "Correct the option for the leads.")
    if len(set(names)) < len(names):
        raise OptionError(f"A lead is named twice: {', '.join(map(str, asked))}.", accepted, "Name it once.")
    return tuple(lead for lead in LEADS if lead in names)
