"""What a data module says of the samples of a run (``cohort.json``), arranged for the report.

Only ``splits`` has a meaning here: split -> counts, and within it ``prevalence``: class -> ``all`` and ``paired``. All
else is shown as it comes, so that any data module may say more: numbers a split become a table, the rest lines.

A number of a split is a share, and shown in per cent, if its name ends so (``cxr_missing``, see ``SHARES``): a target's
mean may well lie between 0 and 1 and is none. A table of its own holds shares if nothing in it lies outside 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

#: Last words of the names of shares.
SHARES = ("missing", "absent", "share", "fraction", "prevalence")


@dataclass(frozen=True)
class Grid:
    """A table of the report.

    Attributes:
        name: Its title.
        columns: Column titles.
        rows: Title of each row with a number, or None, in every column.
        shares: Of each column, whether its numbers are parts of one.
    """

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[str, list[float | None]]]
    shares: tuple[bool, ...]

    @property
    def of_shares(self) -> bool:
        """Whether all columns are."""
        return all(self.shares)

    def cells(self, values: list[float | None]) -> list[tuple[float | None, bool]]:
        """The numbers of a row, each with whether it is a share."""
        return list(zip(values, self.shares, strict=True))


@dataclass(frozen=True)
class Cohort:
    """The samples of a run.

    Attributes:
        counts: One row a split; None if nothing is said.
        prevalence: One row a class, columns ``<split>, all`` and ``<split>, paired``; None if nothing is said.
        grids: Further numbers, one column a split.
        facts: Everything else as (name, content); nested content is flattened to dotted names.
    """

    counts: Grid | None = None
    prevalence: Grid | None = None
    grids: list[Grid] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_summary(cls, summary: dict[str, Any]) -> Cohort:
        """Arrange what ``cohort.json`` holds, whoever wrote it."""
        splits = {str(name): part for name, part in _mapping(summary.get("splits")).items() if isinstance(part, dict)}
        rest = {str(key): value for key, value in summary.items() if key != "splits"}
        names = {key for key, value in rest.items() if splits and _by_split(value, splits)}
        grids = [_further(key, rest[key], tuple(splits)) for key in rest if key in names]
        return cls(_counts(splits), _prevalence(splits), grids, {key: rest[key] for key in rest if key not in names})


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _counts(splits: dict[str, dict[str, Any]]) -> Grid | None:
    columns = [key for part in splits.values() for key, value in part.items() if _number(value) is not None]
    ordered = tuple(dict.fromkeys(columns))
    if not ordered:
        return None
    rows = [(name, [_number(part.get(key)) for key in ordered]) for name, part in splits.items()]
    shares = tuple(
        _last_word(str(key)) in SHARES and _parts_of_one(values[i] for _, values in rows)
        for i, key in enumerate(ordered)
    )
    return Grid("samples", ordered, rows, shares)


def _last_word(name: str) -> str:
    return name.replace("_", " ").rpartition(" ")[2]


def _parts_of_one(values: Iterable[float | None]) -> bool:
    return all(value is None or 0 <= value <= 1 for value in values)


def _prevalence(splits: dict[str, dict[str, Any]]) -> Grid | None:
    stated = {name: _mapping(part.get("prevalence")) for name, part in splits.items()}
    classes = dict.fromkeys(key for part in stated.values() for key in part)
    kinds = tuple(dict.fromkeys(k for part in stated.values() for value in part.values() for k in _mapping(value)))
    if not kinds:
        return None
    rows = [
        (str(c), [_number(_mapping(part.get(c)).get(kind)) for part in stated.values() for kind in kinds])
        for c in classes
    ]
    columns = tuple(f"{name}, {kind}" for name in stated for kind in kinds)
    return Grid("prevalence", columns, rows, (True,) * len(columns))


def _by_split(value: Any, splits: dict[str, Any]) -> bool:
    """Whether it is split -> name -> number, of the known splits."""
    parts = _mapping(value)
    return bool(parts) and set(parts) <= set(splits) and all(isinstance(part, dict) for part in parts.values())


def _further(key: str, value: dict[str, dict[str, Any]], splits: tuple[str, ...]) -> Grid:
    names = dict.fromkeys(name for part in value.values() for name in part)
    rows = [(str(name), [_number(_mapping(value.get(split)).get(name)) for split in splits]) for name in names]
    known = [cell for _, values in rows for cell in values if cell is not None]
    counts = bool(known) and all(isinstance(cell, int) for cell in known)
    return Grid(key, splits, rows, (_parts_of_one(known) and not counts,) * len(splits))
