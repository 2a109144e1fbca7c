"""Dirty rows with a known answer: what real tables contain, planted at a known rate, each one listed in the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import polars as pl

from cardiozoo.data.synthetic.charting import HOUR, Events, concatenate
from cardiozoo.data.synthetic.items import CHART_INDEX, CHART_ITEMS, LAB_INDEX, LAB_ITEMS, Values
from cardiozoo.data.synthetic.streams import Modality, stream

DEFAULT_RATE = 0.002
RARE = 6.0
"""Items written once a stay are made dirty this many times more often, so that small cohorts have some."""

Corruption = Callable[[Values, int], tuple[int, int | None]]
"""From a value code to (new value code, new itemid or None)."""


def _fixed(text: str, number: float | None) -> Corruption:
    return lambda values, code: (values.code(text, number), None)


def _scaled(factor: float, digits: int) -> Corruption:
    def corrupt(values: Values, code: int) -> tuple[int, int | None]:
        number = round(values.numbers[code] * factor, digits)
        return values.code(f"{number:g}", number), None

    return corrupt


def _moved(itemid: int) -> Corruption:
    return lambda values, code: (code, itemid)


def _pair(systolic: bool) -> Corruption:
    def corrupt(values: Values, code: int) -> tuple[int, int | None]:
        number = round(values.numbers[code])
        text = f"{number}/{round(0.55 * number)}" if systolic else f"{round(number / 0.55)}/{number}"
        return values.code(text, None), None

    return corrupt


CHART_KINDS: dict[int, tuple[tuple[str, Corruption], ...]] = {
    220045: (("zero heart rate", _fixed("0", 0.0)), ("absurd number", _fixed("999999", 999999.0))),
    220179: (("pressure as a pair", _pair(True)),),
    220180: (("pressure as a pair", _pair(False)),),
    220181: (("absurd mean pressure", _fixed("801", 801.0)), ("negative mean pressure", _fixed("-23", -23.0))),
    220052: (("absurd number", _fixed("999999", 999999.0)),),
    220277: (("saturation as a fraction", _scaled(0.01, 2)),),
    223761: (("Fahrenheit in the Celsius item", _moved(223762)), ("zero temperature", _fixed("0", 0.0))),
    223762: (("Fahrenheit in the Celsius item", _fixed("98.6", 98.6)),),
    223835: (("oxygen as a fraction", _scaled(0.01, 2)),),
    225664: (("glucose above the meter", _fixed(">500", None)), ("glucose without number", _fixed("___", None))),
    226512: (("pounds in the kilogram item", _scaled(2.2046, 1)),),
    226531: (("zero weight", _fixed("0", 0.0)),),
    226730: (("inches in the centimetre item", _scaled(1 / 2.54, 0)),),
    220739: (("unknown text", _fixed("Unable to Assess", None)),),
}
LAB_KINDS: dict[int, tuple[tuple[str, Corruption], ...]] = {
    50809: (("glucose above the meter", _fixed(">500", None)),),
    50820: (("value without number", _fixed("___", None)),),
}
ONCE = (226512, 226531, 226730)


@dataclass
class Ledger:
    """The planted rows: one entry each, with the clean and the written content."""

    entries: list[pl.DataFrame] = field(default_factory=list)

    SCHEMA: ClassVar[dict[str, type[pl.DataType] | pl.DataType]] = {
        "table": pl.String, "kind": pl.String, "subject_id": pl.Int64, "hadm_id": pl.Int64, "stay_id": pl.Int64,
        "itemid": pl.Int64, "charttime": pl.Datetime("us"), "clean": pl.String, "written": pl.String,
    }  # fmt: skip

    def add(self, **columns: object) -> None:
        """Append entries; columns not given are null."""
        frame = pl.DataFrame(columns)
        if len(frame):
            missing = [
                pl.lit(None, dtype=kind).alias(name) for name, kind in self.SCHEMA.items() if name not in frame.columns
            ]
            frame = frame.with_columns(missing).select([pl.col(name).cast(kind) for name, kind in self.SCHEMA.items()])
            self.entries.append(frame)

    def table(self) -> pl.DataFrame:
        return pl.concat(self.entries) if self.entries else pl.DataFrame(schema=self.SCHEMA)


@dataclass
class Planted:
    """Rows made dirty in one block of events: position among the rows written, kind, clean and written value."""

    row: np.ndarray
    kind: list[str]
    clean: list[str]
    written: list[str]


def corrupt_events(
    seed: int,
    purpose: int,
    rate: float,
    events: Events,
    values: Values,
    index: np.ndarray,
    number: np.ndarray,
    los_seconds: np.ndarray,
) -> tuple[Events, Planted]:
    """Make rows dirty, each kind with the chance ``rate``; added rows (repeated, outside the stay) come last.

    Args:
        seed: Seed of the cohort.
        purpose: 2 for charted rows, 3 for laboratory rows.
        rate: Chance of each kind a row it applies to.
        events: Clean rows, sorted by stay.
        values: Code book of the values.
        index: Cohort number of each stay's patient (S,).
        number: Number of the stay (S,).
        los_seconds: Length of each stay (S,).
    """
    kinds = CHART_KINDS if purpose == 2 else LAB_KINDS
    items, place = (CHART_ITEMS, CHART_INDEX) if purpose == 2 else (LAB_ITEMS, LAB_INDEX)
    chance = _row_chances(seed, purpose, events, index, number)
    code, item, delay = events.code.copy(), events.item.copy(), events.delay.copy()
    planted = Planted(np.zeros(0, np.int64), [], [], [])
    limit = np.zeros(len(items), dtype=np.float32)
    for itemid in kinds:
        limit[place[itemid]] = min(0.25, rate * (RARE if itemid in ONCE else 1.0) * len(kinds[itemid]))
    dirty = np.flatnonzero(chance < limit[events.item])
    for row in dirty:
        options = kinds[items[events.item[row]].itemid]
        name, corruption = options[min(int(chance[row] / limit[events.item[row]] * len(options)), len(options) - 1)]
        new_code, new_item = corruption(values, int(code[row]))
        planted.kind.append(name)
        planted.clean.append(values.texts[code[row]])
        planted.written.append(values.texts[new_code])
        code[row] = new_code
        item[row] = item[row] if new_item is None else place[new_item]
    tail = 1.0 - chance  # the other end of the same draw: what can befall a row of any item
    early = np.flatnonzero(tail < rate / 4)
    delay[early] = -delay[early] - 60
    changed = Events(events.stay, events.seconds, item, code, delay, events.specimen)
    again = changed.take(np.flatnonzero((tail >= rate / 4) & (tail < rate / 2)))
    away, before = _outside(changed.take(np.flatnonzero((tail >= rate / 2) & (tail < rate))), los_seconds)
    joined = concatenate([changed, again, away])
    planted.row = np.concatenate([dirty, early, np.arange(len(events), len(joined))])
    same = [values.texts[value] for value in joined.code[planted.row[len(dirty) :]]]
    planted.kind += ["stored before charted"] * len(early) + ["duplicated row"] * len(again)
    planted.kind += ["before admission to the unit" if first else "after discharge from the unit" for first in before]
    planted.clean += same
    planted.written += same
    return joined, planted


def _row_chances(seed: int, purpose: int, events: Events, index: np.ndarray, number: np.ndarray) -> np.ndarray:
    """One uniform a row, from the stream of its stay."""
    chance = np.empty(len(events), dtype=np.float32)
    ends = np.cumsum(np.bincount(events.stay, minlength=len(index)))
    for row, end in enumerate(ends):
        generator = stream(seed, int(index[row]), Modality.DIRT, purpose, int(number[row]))
        generator.random(dtype=np.float32, out=chance[ends[row - 1] if row else 0 : end])
    return chance


def _outside(events: Events, los_seconds: np.ndarray) -> tuple[Events, np.ndarray]:
    """The same rows one to six hours before admission or after discharge, and which of them come before."""
    before = (events.seconds // 60) % 2 == 0
    distance = HOUR + events.seconds % (5 * HOUR)
    seconds = np.where(before, -distance, los_seconds[events.stay] + distance) // 60 * 60
    return replace(events, seconds=seconds), before


def corrupt_codes(
    codes: list[str], version: int, rate: float, generator: np.random.Generator
) -> tuple[list[str], list[tuple[str, str, str]]]:
    """Diagnosis codes as careless exports write them, and (kind, clean, written) of each one changed."""
    scale = rate / DEFAULT_RATE
    chance = generator.random((len(codes), 2))
    written, planted = [], []
    for code, (first, second) in zip(codes, chance, strict=True):
        new, kind = code, ""
        if version == 9 and code.startswith("0") and first < min(0.9, 0.15 * scale):
            new, kind = code.lstrip("0"), "lost leading zero"
        elif version == 10 and code in ("I4891", "I480") and first < min(0.9, 0.08 * scale):
            new, kind = "I4820", "code newer than the mapping"
        elif second < min(0.9, 0.004 * scale):
            new, kind = code + "  ", "trailing blanks"
        written.append(new)
        if kind:
            planted.append((kind, code, new))
    return written, planted
