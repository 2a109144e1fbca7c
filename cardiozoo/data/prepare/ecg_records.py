"""The tables of an ECG store: one row a record, which records repeat others, and their counts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import polars as pl

from cardiozoo.data.ecg import LEAD_STATES, LEADS
from cardiozoo.data.prepare.ecg_listing import Listing
from cardiozoo.data.prepare.ecg_worker import FACTS
from cardiozoo.data.splits import SPLITS
from cardiozoo.errors import StoreError

_FIRST_COLUMNS = ("row", "id", "patient", "split", "fold", "time", "age", "sex", "raw_rate", "samples", "path")
_TYPES = {
    "row": pl.Int32,
    "id": pl.String,
    "patient": pl.String,
    "split": pl.String,
    "fold": pl.Int8,
    "time": pl.Datetime("us"),
    "age": pl.Float32,
    "sex": pl.String,
    "raw_rate": pl.Float32,
    "samples": pl.Int32,
    "path": pl.String,
}


def records_table(table: pl.DataFrame) -> pl.DataFrame:
    """records.parquet: one row a record, in the order of the signals."""
    given = {"row": "file_row", "raw_rate": "file_raw_rate", "samples": "file_samples"}
    first = [
        pl.col(given.get(name, name)).cast(_TYPES[name]).alias(name)
        if given.get(name, name) in table.columns
        else pl.lit(None, dtype=_TYPES[name]).alias(name)
        for name in _FIRST_COLUMNS
    ]
    inner = {*_FIRST_COLUMNS, "file", "index", *(f"file_{name}" for name in (*FACTS, "row"))}
    return table.select(*first, *(name for name in table.columns if name not in inner)).sort("row")


def fill_from_files(listing: Listing) -> None:
    """Age, sex and time of the records' files where the tables give none."""
    time = pl.col("file_time").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    for name, found in (("age", pl.col("file_age")), ("sex", pl.col("file_sex")), ("time", time)):
        if name not in listing.table.columns:
            listing.table = listing.table.with_columns(pl.lit(None, dtype=_TYPES[name]).alias(name))
        used = listing.table.select((pl.col(name).is_null() & found.is_not_null()).sum()).item()
        listing.count(f"{name} taken from the record's file", used)
        listing.table = listing.table.with_columns(pl.coalesce(name, found.cast(_TYPES[name])).alias(name))


def duplicates_table(listing: Listing) -> pl.DataFrame:
    """Records whose samples are those of a record listed before: row, duplicate_of."""
    table = listing.table.select(
        pl.col("file_row").alias("row"),
        "patient",
        pl.col("file_row").first().over("file_digest").alias("duplicate_of"),
        pl.col("patient").first().over("file_digest").alias("other"),
    ).filter(pl.col("row") != pl.col("duplicate_of"))
    listing.count("records with the samples of an earlier record", table.height)
    foreign = table.filter(pl.col("patient") != pl.col("other")).height
    listing.count("of these, of another patient", foreign)
    if foreign:
        listing.note(
            f"{foreign:,} records have the very samples of another patient's record (duplicates.parquet): "
            "--duplicates drop leaves them out."
        )
    return table.select(pl.col("row").cast(pl.Int32), pl.col("duplicate_of").cast(pl.Int32)).sort("row")


def check_splits(records: pl.DataFrame) -> None:
    """Raise `StoreError` unless each patient is in one split, and the splits have their names."""
    unknown = set(records["split"].unique().to_list()) - set(SPLITS)
    several = records.group_by("patient").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1).height
    if unknown or several:
        raise StoreError(
            f"{several} patients are in more than one split, or splits have other names ({sorted(map(str, unknown))}).",
            "One patient, one split: train, val or test.",
            "Correct the splits of the tables.",
        )


def count_notes(notes: pl.Series) -> dict[str, int]:
    """How often each note of reader and standardisation was made, the most frequent first."""
    found = Counter(notes.explode().drop_nulls().to_list())
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def count_records(records: pl.DataFrame, states: np.ndarray, samples: int) -> dict[str, Any]:
    """Records and patients in all and by split, what is not known of them, and the states of their leads.

    Args:
        records: records.parquet.
        states: uint8 (N, 12).
        samples: Length of a full record.
    """

    def of(part: pl.DataFrame) -> dict[str, int]:
        return {"records": part.height, "patients": part["patient"].n_unique()}

    sex = dict(sorted(Counter(records["sex"].drop_nulls().to_list()).items()))
    rates = sorted(Counter(records["raw_rate"].to_list()).items())
    return {
        **of(records),
        "splits": {split: of(records.filter(pl.col("split") == split)) for split in SPLITS},
        "sex": sex | ({"unknown": records["sex"].null_count()} if records["sex"].null_count() else {}),
        "age unknown": records["age"].null_count(),
        "records shorter than the store's": int((records["samples"] < samples).sum()),
        "raw_rates": {f"{rate:g}": count for rate, count in rates},
        "leads": {
            lead: {state: n for code, state in enumerate(LEAD_STATES) if (n := int((states[:, column] == code).sum()))}
            for column, lead in enumerate(LEADS)
        },
        **({"targets": targets} if (targets := _targets(records)) else {}),
    }


def _targets(records: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Of each column that may be a target, how many values there are and what they range over.

    Of texts only how many there are: what a table says in words may name a person.
    """
    found: dict[str, dict[str, Any]] = {}
    for values in records.select(pl.col("^target/.*$")):
        known = values.drop_nulls()
        facts: dict[str, Any] = {"values": len(known), "missing": values.null_count(), "different": known.n_unique()}
        if values.dtype.is_numeric() and len(known):
            facts |= {"min": float(known.min()), "median": float(known.median()), "max": float(known.max())}
        found[values.name.removeprefix("target/")] = facts
    return found
