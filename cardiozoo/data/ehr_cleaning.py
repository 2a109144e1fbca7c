"""What a charted number means, whether it can be true, and which of several at one time counts.

The order for a row: number, unit conversion, range cleaning (``clean``), then the same-time rule (``resolve``). Item
ids, factors and accepted unit texts are in ``tables/ehr_items.csv``, bounds in ``tables/ehr_variables.csv``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cardiozoo.data.ehr_options import EhrOptions
from cardiozoo.data.ehr_vocabulary import LEVEL_POINTS, LEVELS, RANGES, VARIABLES, read_table

__all__ = ["REASONS", "Events", "Item", "clean", "items", "resolve"]

_FIO2, _HEIGHT, _SATURATION, _TEMPERATURE = (
    VARIABLES.index(name) for name in ("Fraction inspired oxygen", "Height", "Oxygen saturation", "Temperature")
)
_EYE, _MOTOR, _TOTAL, _VERBAL = 3, 4, 5, 6
_LARGEST = 1e30  # beyond it a number is none: float32 could not hold it
_CATEGORICAL = np.isin(np.arange(len(VARIABLES)), list(LEVELS))
_COMPARED_AS_TEXT = np.isin(np.arange(len(VARIABLES)), [8, 10, 12])  # heart rate, mean pressure, respiratory rate

#: Why a value is not used; ``clean`` returns positions in this tuple.
REASONS = ("kept", "no value", "no number", "unknown text", "zero taken for missing", "beyond the outlier bounds")
_KEPT, _NO_VALUE, _NO_NUMBER, _UNKNOWN_TEXT, _ZERO, _OUTLIER = range(len(REASONS))

#: Variable and level code -> rank of the level's text in the alphabet.
_TEXT_RANK = np.zeros((len(VARIABLES), max(map(len, LEVELS.values()))))
for _number, _texts in LEVELS.items():
    _TEXT_RANK[_number, [_texts.index(text) for text in sorted(_texts)]] = range(len(_texts))


class Item(NamedTuple):
    """One item id: where it is charted, what it measures, in which unit.

    Attributes:
        variable: Number of the variable.
        table: ``chartevents`` or ``labevents``.
        itemid: Id in that table.
        label: Its label there.
        factor: Charted unit to the variable's unit.
        units: Unit texts in use, lower case; empty where the item has none.
        priority: 1 is preferred over 2 among items of one variable.
    """

    variable: int
    table: str
    itemid: int
    label: str
    factor: float
    units: tuple[str, ...]
    priority: int


def items(options: EhrOptions) -> list[Item]:
    """The items that count under `options`; an event's ``slot`` is a position in this list."""
    groups = {"published"}
    groups |= {"added"} if options.items == "extended" else set()
    groups |= {"urine"} if options.urine_items == "include" else set()
    return [
        Item(
            variable=int(row["variable"]),
            table=row["table"],
            itemid=int(row["itemid"]),
            label=row["label"],
            factor=1.0 if int(row["variable"]) == _HEIGHT and options.height == "as_charted" else float(row["factor"]),
            units=tuple(filter(None, row["units"].split("|"))),
            priority=int(row["priority"]),
        )
        for row in read_table("ehr_items.csv")
        if row["group"] in groups
    ]


def clean(
    slot: np.ndarray, number: np.ndarray, has_value: np.ndarray, slots: list[Item], options: EhrOptions
) -> tuple[np.ndarray, np.ndarray, int]:
    """Numbers as charted to values in the variable's unit.

    Fractions of inspired oxygen above 1 are percentages; saturations up to 1 are fractions; a temperature of 79 or more
    is in Fahrenheit, whichever item it was charted under. Bounds are inclusive.

    Args:
        slot: Position of each row's item in `slots`, (N,).
        number: The charted number, or the level's code, NaN where the row holds neither, (N,) float64.
        has_value: Whether the row holds any text or number at all, (N,) bool.
        slots: ``items(options)``.
        options: The choices ``zeros``, ``outliers``, ``fio2``, ``height``.

    Returns:
        Values (N,) float64, the reason each is not used (N,) as positions in ``REASONS``, and how many were clipped.
    """
    variable = np.array([item.variable for item in slots])[slot]
    value = number * np.array([item.factor for item in slots])[slot]
    percent = (variable == _FIO2) & ((value > 1) | (options.fio2 == "always_percent"))
    value = np.where(percent, value / 100, value)
    value = np.where((variable == _SATURATION) & (value <= 1), value * 100, value)
    value = np.where((variable == _TEMPERATURE) & (value >= 79), (value - 32) * 5 / 9, value)
    continuous = ~_CATEGORICAL[variable]
    reason = np.zeros(len(slot), dtype=np.uint8)
    clipped = 0
    if options.outliers == "clean":
        bounds = np.array([RANGES.get(v, (-np.inf, -np.inf, np.inf, np.inf)) for v in range(len(VARIABLES))])
        low, valid_low, valid_high, high = bounds[variable].T
        reason[(value < low) | (value > high)] = _OUTLIER
        within = np.clip(value, valid_low, valid_high)
        clipped = int(((within != value) & (reason == _KEPT) & ~np.isnan(value)).sum())
        value = within
    if options.zeros == "missing":
        reason[continuous & (number == 0)] = _ZERO
    missing = ~(np.abs(number) < _LARGEST)
    reason[missing] = np.where(continuous, _NO_NUMBER, _UNKNOWN_TEXT)[missing]
    reason[missing & ~has_value] = _NO_VALUE
    return value, reason, clipped


class Events(NamedTuple):
    """Cleaned events as parallel arrays (N,): stay, seconds, slot of the item, value, time stored, charted text."""

    stay: np.ndarray
    seconds: np.ndarray
    slot: np.ndarray
    value: np.ndarray
    stored: np.ndarray
    text: np.ndarray | None = None

    def take(self, index: np.ndarray) -> Events:
        """The events at `index`."""
        return Events(*(None if part is None else part[index] for part in self))


class Resolved(NamedTuple):
    """Events of which no two share stay, second and variable, in that order, and how many went on the way."""

    stay: np.ndarray
    seconds: np.ndarray
    variable: np.ndarray
    value: np.ndarray
    repeated: int
    same_time: int
    derived: int


def resolve(events: Events, slots: list[Item], options: EhrOptions) -> Resolved:
    """Drops repeated rows, settles which value counts at each time, and derives the Glasgow total if wanted.

    The outcome does not depend on the order of the events: ties are broken by value.
    """
    variable = np.array([item.variable for item in slots], dtype=np.int64)[events.slot]
    key = _key(events.stay, events.seconds, variable)
    order = np.argsort(key, kind="stable")
    key = key[order]
    shared = np.zeros(len(key), dtype=bool)
    shared[1:] = key[1:] == key[:-1]
    shared[:-1] |= shared[1:].copy()
    repeated = 0
    if shared.any():
        rows = order[shared]
        ranked = _rank(events.take(rows), variable[rows], slots, options)
        order[shared] = rows[ranked]
        repeated = _count_repeated(events.take(order[shared]))
    last = np.ones(len(key), dtype=bool)
    last[:-1] = key[1:] != key[:-1]
    chosen = order[last]
    stay, seconds, variable, value = events.stay[chosen], events.seconds[chosen], variable[chosen], events.value[chosen]
    same_time = len(key) - len(chosen) - repeated
    derived = 0
    if options.gcs_total == "derived":
        stay, seconds, variable, value, derived = _with_total(stay, seconds, variable, value)
    return Resolved(stay, seconds, variable, value, repeated, same_time, derived)


def _key(stay: np.ndarray, seconds: np.ndarray, variable: np.ndarray) -> np.ndarray:
    # 25 bits hold the seconds of more than a year, 5 bits the 17 variables
    return (stay.astype(np.int64) << 30) | (seconds.astype(np.int64) << 5) | variable


def _rank(events: Events, variable: np.ndarray, slots: list[Item], options: EhrOptions) -> np.ndarray:
    """Order of events by stay, second, variable and then preference, the one that counts last."""
    categorical = _CATEGORICAL[variable]
    size = np.where(
        categorical, _TEXT_RANK[variable, np.where(categorical, events.value, 0).astype(np.int64)], events.value
    )
    keys: list[np.ndarray] = []
    if options.duplicates == "priority":
        keys = [-np.array([item.priority for item in slots])[events.slot]]
    elif options.duplicates == "latest_stored":
        keys = [events.stored]
    elif options.duplicates == "text_order" and events.text is not None:
        keys = [np.where(_COMPARED_AS_TEXT[variable], events.text, b"")]
    keys = [_key(events.stay, events.seconds, variable), *keys, size, events.slot, events.stored]
    keys += [] if events.text is None else [events.text]  # so that rows equal in everything lie side by side
    return np.lexsort(keys[::-1])


def _count_repeated(events: Events) -> int:
    """Rows equal to the one before in everything that is read of them."""
    same = np.ones(max(len(events.stay) - 1, 0), dtype=bool)
    for part in events:
        if part is not None:
            same &= part[1:] == part[:-1]
    return int(same.sum())


def _with_total(
    stay: np.ndarray, seconds: np.ndarray, variable: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Adds the Glasgow total wherever eye, motor and verbal responses share stay and second."""
    moment = (stay.astype(np.int64) << 25) | seconds
    parts = []
    for number in (_EYE, _MOTOR, _VERBAL):
        rows = variable == number
        parts.append((moment[rows], np.array(LEVEL_POINTS[number])[value[rows].astype(np.int64)]))
    common = np.intersect1d(np.intersect1d(parts[0][0], parts[1][0]), parts[2][0])
    total = sum(points[np.searchsorted(moments, common)] for moments, points in parts)
    code_of = np.zeros(16)
    code_of[list(LEVEL_POINTS[_TOTAL])] = range(len(LEVEL_POINTS[_TOTAL]))
    stay = np.concatenate([stay, (common >> 25).astype(stay.dtype)])
    seconds = np.concatenate([seconds, (common & (1 << 25) - 1).astype(seconds.dtype)])
    variable = np.concatenate([variable, np.full(len(common), _TOTAL, dtype=variable.dtype)])
    value = np.concatenate([value, code_of[np.asarray(total, dtype=np.int64)]])
    order = np.argsort(_key(stay, seconds, variable), kind="stable")
    return stay[order], seconds[order], variable[order], value[order], len(common)
