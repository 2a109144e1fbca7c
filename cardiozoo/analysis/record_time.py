"""Where the samples that a model sees lie in the records, for tables that count from a record's start."""

from __future__ import annotations

from typing import Any

import polars as pl

FULL_RATE = 500.0  # of the files that a data module without a table of records does not speak of


def raw_rates(data: Any, ids: list[str]) -> dict[str, float]:
    """Samples a second of each record's file."""
    return dict.fromkeys(ids, FULL_RATE) | _column(data, ids, "raw_rate")


def begins(data: Any, ids: list[str], seen: int, rate: float) -> dict[str, float]:
    """Second of each record at which what the model sees begins.

    A window in the middle is cut within the samples that a record has, so that of a short record begins earlier than
    that of a full one.

    Args:
        data: The data module.
        ids: Records.
        seen: Samples of each that the model sees.
        rate: Samples a second of those.
    """
    whole = int(getattr(data, "record_samples", seen))
    if seen >= whole:
        return dict.fromkeys(ids, 0.0)
    lengths = dict.fromkeys(ids, whole)
    stored = _column(data, ids, "samples")
    lengths |= {name: data.signal_options.samples(int(length)) for name, length in stored.items()}
    return {name: max(length - seen, 0) // 2 / rate for name, length in lengths.items()}


def _column(data: Any, ids: list[str], name: str) -> dict[str, float]:
    """One column of the table of records, where there is one, without nulls."""
    records = getattr(data, "records", None)
    if records is None or name not in records.columns:
        return {}
    rows = records.filter(pl.col("id").is_in(ids) & pl.col(name).is_not_null()).select("id", name)
    return {str(key): float(value) for key, value in rows.iter_rows()}
