"""From the event tables of MIMIC-IV to the cleaned events of a cohort, in bounded memory and one pass a table.

DuckDB streams each table and turns text into numbers; numpy links rows to stays, converts and cleans them batch by
batch and files them on disk by ranges of stays; each range is then small enough to be sorted and settled in memory. No
rule needs the order of the rows in the raw files, so neither that order nor the number of threads changes a byte.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from cardiozoo.data.ehr_cleaning import REASONS, Events, Item, clean, items, resolve
from cardiozoo.data.ehr_options import EhrOptions
from cardiozoo.data.ehr_vocabulary import VARIABLES
from cardiozoo.data.progress import progress_bar
from cardiozoo.data.readers.event_shelf import ArrayFile, EventShelf
from cardiozoo.data.readers.mimic_iv_queries import NO_ITEM, NO_TIME, TEXT_LENGTH, event_query, item_table
from cardiozoo.data.readers.mimic_iv_release import Release, TableFile, connect, reading, stream
from cardiozoo.errors import OptionError

__all__ = ["write_events"]

_BYTES_PER_EVENT = 400  # peak memory of settling one event: the record, its sort keys and their copies
_SHOWN = 20
_MOST_NAMES = 100_000


def write_events(
    release: Release,
    table: pl.DataFrame,
    options: EhrOptions | None = None,
    folder: Path = Path("events"),
    *,
    memory_gb: float = 4.0,
    threads: int | None = None,
    scratch: Path | None = None,
) -> dict[str, Any]:
    """Writes the events of the given stays: ``offsets.npy``, ``seconds.npy``, ``variable.npy`` and ``value.npy``.

    Events are sorted by stay, seconds, variable; no two share all three. Only those of [intime, outtime] are kept.
    Values are in the variable's unit, categorical ones the index of the level in ``ehr.LEVELS``.

    Args:
        release: From ``open_release``.
        table: Rows of ``read_stays(...).table``; the position of a row is the number of its stay.
        options: The choices; the defaults where None.
        folder: Where the four files go; made if absent.
        memory_gb: About how much memory may be used, however large the tables.
        threads: Threads of DuckDB; all processors where None. Changes the speed only.
        scratch: Folder for intermediate files, emptied before and removed afterwards; beside `folder` where None.

    Returns:
        ``counts`` (plain numbers: per table the rows read, kept and dropped by reason; units and texts not understood;
        events of each variable), ``n_events`` (N,) int32 and ``first_event_seconds`` (N,) int32, -1 without events.

    Raises:
        RawDataError: A table that cannot be read to its end.
        OptionError: Less memory than 0.5 GB, or stays that are not in the order of their patients.
    """
    options, folder = options or EhrOptions(), Path(folder)
    if not memory_gb >= 0.5:
        raise OptionError(f"memory_gb={memory_gb!r}.", "Accepted: 0.5 or more.", "4 is ample for all of MIMIC-IV.")
    cohort = _Cohort.of(table)
    scratch = Path(scratch or folder.with_name(folder.name + ".scratch"))
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        slots = items(options)
        files = [release.tables[name] for name in ("chartevents", "labevents")]
        largest = int(memory_gb * 0.5e9 / _BYTES_PER_EVENT)
        pieces = 1 + 4 * sum(file.estimated_rows() for file in files) // largest
        shelf = EventShelf(scratch, len(cohort), pieces, TEXT_LENGTH if options.duplicates == "text_order" else 0)
        counts: dict[str, Any] = {}
        with connect(memory_gb * 0.4, scratch / "duckdb", threads) as connection:
            for file in files:
                counts[file.name] = _read_table(connection, file, cohort, slots, options, shelf)
        n_events, first, found = _settle(shelf, len(cohort), slots, options, folder, largest)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {"counts": {**counts, **found}, "n_events": n_events, "first_event_seconds": first}


@dataclass(frozen=True)
class _Cohort:
    """Stays as arrays: when they begin and end (seconds since 1970), and two ways to find them."""

    subject: np.ndarray
    hadm: np.ndarray
    start: np.ndarray
    end: np.ndarray
    by_stay: tuple[np.ndarray, np.ndarray]
    by_hadm: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, table: pl.DataFrame) -> _Cohort:
        subject, hadm, stay = (table[name].cast(pl.Int64).to_numpy() for name in ("subject_id", "hadm_id", "stay_id"))
        if (np.diff(subject) < 0).any():
            raise OptionError(
                "Stays out of the order of their subject_id.",
                "Accepted: rows sorted by (subject_id, intime, stay_id).",
                "Pass the table as read_stays returns it, or a filter of it.",
            )
        start, end = (table[name].dt.epoch("s").cast(pl.Int64).to_numpy() for name in ("intime", "outtime"))
        (by_stay, by_hadm) = ((ids[order], order) for ids in (stay, hadm) for order in [np.argsort(ids, kind="stable")])
        return cls(subject, hadm, start, end, by_stay, by_hadm)

    def __len__(self) -> int:
        return len(self.subject)

    def find(self, keys: np.ndarray, index: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """The stay of each key, -1 where there is none."""
        values, position = index
        if not len(values):
            return np.full(len(keys), -1)
        place = np.minimum(np.searchsorted(values, keys), len(values) - 1)
        return np.where(values[place] == keys, position[place], -1)

    def during(self, subject: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(row, stay) of every row taken while a stay of its patient lasted; two stays may touch and share one."""
        first, after = np.searchsorted(self.subject, subject, "left"), np.searchsorted(self.subject, subject, "right")
        rows, stays = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        for nth in range(int((after - first).max(initial=0))):
            row = np.flatnonzero(first + nth < after)
            stay = first[row] + nth
            within = (time[row] >= self.start[stay]) & (time[row] <= self.end[stay])
            rows.append(row[within])
            stays.append(stay[within])
        return np.concatenate(rows), np.concatenate(stays)


def _read_table(
    connection: duckdb.DuckDBPyConnection,
    file: TableFile,
    cohort: _Cohort,
    slots: list[Item],
    options: EhrOptions,
    shelf: EventShelf,
) -> dict[str, Any]:
    """Streams one table onto the shelf; returns what became of its rows."""
    connection.register("items", item_table(file.name, slots))
    tally: Counter[str] = Counter()
    units: Counter[str] = Counter()
    texts: Counter[str] = Counter()
    with reading(file), progress_bar(f"Reading {file.name}", file.estimated_rows()) as advance:
        for batch in stream(connection, event_query(file, options)):
            tally["rows"] += batch.num_rows
            mapped = batch.filter(pc.not_equal(batch["slot"], NO_ITEM))
            tally["of other items"] += batch.num_rows - mapped.num_rows
            _name(units, mapped["odd_unit"])
            _name(texts, mapped["odd_text"])
            shelf.add(_link_and_clean(mapped, file.name, cohort, slots, options, tally))
            advance(batch.num_rows)
    return {
        **{reason: tally[reason] for reason in sorted(tally)},
        "most frequent units not in use": _frequent(units),
        "most frequent texts not understood": _frequent(texts),
    }


def _link_and_clean(
    batch: pa.RecordBatch, name: str, cohort: _Cohort, slots: list[Item], options: EhrOptions, tally: Counter[str]
) -> Events:
    """Rows of mapped items to cleaned events of the cohort; counts what is dropped, in the order of the checks."""
    columns = {
        column: batch[column].to_numpy(zero_copy_only=False)
        for column in batch.schema.names
        if column not in ("odd_unit", "odd_text")
    }

    def keep(wanted: np.ndarray, reason: str) -> None:
        tally[reason] += int((~wanted).sum())
        if not wanted.all():
            columns.update({column: values[wanted] for column, values in columns.items()})

    keep(columns["time"] != NO_TIME, "without a readable time")
    if name == "labevents" and options.lab_link == "time":
        row, stay = cohort.during(columns["subject_id"], columns["time"])
        tally["not during a stay of the cohort"] += len(columns["time"]) - len(np.unique(row))
        columns = {column: values[row] for column, values in columns.items()} | {"stay": stay}
    else:
        key, index = ("stay_id", cohort.by_stay) if name == "chartevents" else ("hadm_id", cohort.by_hadm)
        columns["stay"] = cohort.find(columns[key], index)
        keep(columns["stay"] >= 0, "of other stays")
    columns["seconds"] = columns["time"] - cohort.start[columns["stay"]]
    length = (cohort.end - cohort.start)[columns["stay"]]
    keep((columns["seconds"] >= 0) & (columns["seconds"] <= length), "outside the stay")
    if options.units == "check":
        keep(columns["usual_unit"], "unit not in use for the item")
    value, reason, clipped = clean(columns["slot"], columns["number"], columns["has_value"], slots, options)
    columns["value"] = value
    for position, words in enumerate(REASONS[1:], start=1):
        tally[words] += int((reason == position).sum())
    tally["clipped to the valid range"] += clipped
    kept = reason == 0
    tally["kept"] += int(kept.sum())
    if name == "labevents" and options.lab_link == "time":
        other = columns["hadm_id"] != cohort.hadm[columns["stay"]]
        tally["kept, gained by linking by time"] += int((kept & other).sum())
    text = columns["text"][kept].astype(f"S{TEXT_LENGTH}") if "text" in columns else None
    parts = [columns[part][kept] for part in ("stay", "seconds", "slot", "value", "stored")]
    return Events(*parts, text)


def _settle(
    shelf: EventShelf, stays: int, slots: list[Item], options: EhrOptions, folder: Path, largest: int
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Sorts and settles the shelved events, range by range, and writes the four arrays."""
    outputs = [
        ArrayFile(folder / f"{name}.npy", dtype, shelf.folder)
        for name, dtype in (("seconds", "<i4"), ("variable", "|u1"), ("value", "<f4"))
    ]
    n_events, first = np.zeros(stays, dtype=np.int32), np.full(stays, -1, dtype=np.int32)
    per_variable = np.zeros(len(VARIABLES), dtype=np.int64)
    repeated = same_time = derived = 0
    with progress_bar("Sorting events", stays) as advance:
        for events in shelf.take(largest):
            settled = resolve(events, slots, options)
            for output, values in zip(outputs, (settled.seconds, settled.variable, settled.value), strict=True):
                output.append(values)
            n_events += np.bincount(settled.stay, minlength=stays).astype(np.int32)
            stay, position = np.unique(settled.stay, return_index=True)
            first[stay] = settled.seconds[position]
            per_variable += np.bincount(settled.variable, minlength=len(VARIABLES))
            repeated, same_time = repeated + settled.repeated, same_time + settled.same_time
            derived += settled.derived
            advance(len(stay))
    for output in outputs:
        output.close()
    np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(n_events, dtype=np.int64)]).astype("<i8"))
    found = {
        "repeated rows": repeated,
        "other values at the same time": same_time,
        "Glasgow totals derived": derived,
        "events": int(per_variable.sum()),
        "events per variable": dict(zip(VARIABLES, per_variable.tolist(), strict=True)),
    }
    return n_events, first, found


def _name(tally: Counter[str], column: pa.Array) -> None:
    """Adds the non-null words of a column to a tally that stays of bounded size."""
    if column.null_count == len(column):
        return
    for entry in pc.value_counts(column.drop_null()).to_pylist():
        if entry["values"] in tally or len(tally) < _MOST_NAMES:
            tally[entry["values"]] += entry["counts"]


def _frequent(tally: Counter[str]) -> dict[str, int]:
    return dict(sorted(tally.items(), key=lambda pair: (-pair[1], pair[0]))[:_SHOWN])
