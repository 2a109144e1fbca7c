"""The twelve leads of a record by name; the four that follow from leads I and II are computed where not stored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cardiozoo.data.ecg import LEADS, MISSING, lead_and_sign
from cardiozoo.data.ecg_record import EcgRecord
from cardiozoo.errors import RecordError

__all__ = ["DERIVED", "TwelveLeads", "twelve_leads"]

DERIVED = {"III": (-1, 1, 1), "aVR": (-1, -1, 2), "aVL": (2, -1, 2), "aVF": (-1, 2, 2)}
"""lead: (a, b, c) with lead = (a I + b II) / c, Einthoven's and Goldberger's equations in whole numbers."""


@dataclass
class TwelveLeads:
    """Twelve rows in the order of ``LEADS``.

    Attributes:
        values: int16, int32 or float64 (12, samples); rows that are not recorded are 0.
        gain: float64 (12,), units in one mV.
        missing: bool (12, samples) or None.
        recorded: bool (12,).
        derived: Places of the rows that were computed from leads I and II.
        notes: What was done.
    """

    values: np.ndarray
    gain: np.ndarray
    missing: np.ndarray | None
    recorded: np.ndarray
    derived: tuple[int, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Plan:
    source: tuple[int, ...]  # channel of each lead, -1 where it is not stored
    sign: tuple[int, ...]
    again: tuple[tuple[int, int], ...]  # (lead, further channel of the same name)
    ignored: tuple[str, ...]


@lru_cache(maxsize=1024)
def _plan(names: tuple[str, ...]) -> _Plan:
    source, sign, again, ignored = [-1] * len(LEADS), [1] * len(LEADS), [], []
    for channel, name in enumerate(names):
        found = lead_and_sign(name)
        if found is None:
            ignored.append(name or "unnamed")
            continue
        place = LEADS.index(found[0])
        if source[place] >= 0:
            again.append((place, channel))
        else:
            source[place], sign[place] = channel, found[1]
    return _Plan(tuple(source), tuple(sign), tuple(again), tuple(ignored))


def twelve_leads(record: EcgRecord) -> TwelveLeads:
    """Picks the leads by name, turns inverted ones, and computes III, aVR, aVL, aVF where only I and II are stored.

    Raises:
        RecordError: No channel is a lead, or one lead is stored twice with different samples.
    """
    plan, notes = _plan(record.names), []
    source = np.array(plan.source)
    recorded = source >= 0
    if not recorded.any():
        raise RecordError(
            f"None of the channels {', '.join(record.names) or '(none)'} is one of the twelve leads.",
            f"Accepted: channels named {', '.join(LEADS)}, in any spelling.",
            "Name the channels with leads, where the format allows it, or leave the record out.",
            reason="no lead in the file",
        )
    _check_repeated(record, plan)
    if plan.ignored:
        notes.append(f"channels ignored: {' '.join(plan.ignored)}")
    values, gain, missing = record.digital, record.gain, record.missing
    if plan.source != tuple(range(len(values))):
        values, gain = values[source], gain[source]
        missing = None if missing is None else missing[source] & recorded[:, None]
        values[~recorded] = 0
        gain[~recorded] = 1.0
    values = _turn(values, missing, plan, notes)
    rows = TwelveLeads(values, gain, missing, recorded, (), tuple(notes))
    absent = tuple(LEADS.index(lead) for lead in DERIVED if not recorded[LEADS.index(lead)])
    return _derive(rows, absent) if absent and recorded[:2].all() else rows


def _check_repeated(record: EcgRecord, plan: _Plan) -> None:
    for place, channel in plan.again:
        first = plan.source[place]
        same = np.array_equal(record.digital[first], record.digital[channel])
        if not same or record.gain[first] != record.gain[channel]:
            raise RecordError(
                f"Two channels are called lead {LEADS[place]} and differ.",
                "Accepted: each lead once, or identical copies.",
                "Correct the names in the file, or leave the record out.",
                reason="a lead stored twice with different samples",
            )


def _turn(values: np.ndarray, missing: np.ndarray | None, plan: _Plan, notes: list[str]) -> np.ndarray:
    inverted = np.flatnonzero(np.array(plan.sign) < 0)
    if not len(inverted):
        return values
    notes.append(f"turned over: {' '.join(LEADS[place] for place in inverted)}")
    values = values.copy()
    values[inverted] = -values[inverted]
    if missing is not None and values.dtype.kind == "i":
        values[missing] = MISSING
    return values


def _derive(rows: TwelveLeads, absent: tuple[int, ...]) -> TwelveLeads:
    """Whole numbers stay whole: III at the gain of leads I and II, the augmented leads at twice the gain."""
    exact = rows.values.dtype.kind == "i" and rows.gain[0] == rows.gain[1]
    dtype = np.int64 if exact else np.float64
    first, second = rows.values[:2].astype(dtype)
    per_mv = rows.gain[0]
    if not exact:
        first, second, per_mv = first / rows.gain[0], second / rows.gain[1], 1.0
    missing = rows.missing
    gap = None if missing is None else missing[0] | missing[1]
    fresh: dict[int, tuple[np.ndarray, float]] = {}
    for place in absent:
        a, b, divisor = DERIVED[LEADS[place]]
        fresh[place] = (a * first + b * second, per_mv * divisor)
    values, gain = rows.values, rows.gain.copy()
    if not exact and values.dtype.kind == "i":
        values, gain = values / gain[:, None], np.ones_like(gain)
    elif exact:
        values = values.astype(np.int32 if values.dtype == np.int16 else np.int64)
    else:
        values = values.copy()
    for place, (samples, units) in fresh.items():
        values[place], gain[place] = samples, units
    if missing is not None and gap is not None:
        missing = missing.copy()
        missing[list(absent)] = gap
        if values.dtype.kind == "i":
            values[missing] = MISSING
        else:
            values[missing] = np.nan
    recorded = rows.recorded.copy()
    recorded[list(absent)] = True
    note = f"leads derived: {' '.join(LEADS[place] for place in absent)}"
    return TwelveLeads(values, gain, missing, recorded, absent, (*rows.notes, note))
