"""Where the samples that a model sees lie in the records, and how many of them were recorded at all.

A record shorter than its store is followed by zeros. They are no signal: nothing is drawn of them and nothing counted.
"""

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
    return {name: max(length - seen, 0) // 2 / rate for name, length in _lengths(data, ids, whole).items()}


def recorded_samples(data: Any, ids: list[str], seen: int) -> dict[str, int]:
    """How many of the samples that a model sees of each record were recorded; what follows them is padding.

    Args:
        data: The data module.
        ids: Records.
        seen: Samples of each that the model sees.
    """
    if getattr(data, "beat", None) is not None:  # a median beat is whole whatever the record's length
        return dict.fromkeys(ids, seen)
    return {name: min(length, seen) for name, length in _lengths(data, ids, seen).items()}


def recorded_seconds(data: Any, ids: list[str], otherwise: float) -> dict[str, float]:
    """Length of each record in its store; ``otherwise`` where the data module cannot tell."""
    seconds = dict.fromkeys(ids, otherwise)
    if hasattr(data, "signal_options"):
        rate = float(data.signal_options.stored_rate)
        seconds |= {name: samples / rate for name, samples in _column(data, ids, "samples").items()}
    return seconds


def _lengths(data: Any, ids: list[str], otherwise: int) -> dict[str, int]:
    """Samples of each whole record at the rate that a model sees."""
    lengths = dict.fromkeys(ids, otherwise)
    if hasattr(data, "signal_options"):
        stored = _column(data, ids, "samples")
        lengths |= {name: int(data.signal_options.samples(int(length))) for name, length in stored.items()}
    return lengths


def _column(data: Any, ids: list[str], name: str) -> dict[str, float]:
    """One column of the table of records, where there is one, without nulls."""
    records = getattr(data, "records", None)
    if records is None or name not in records.columns:
        return {}
    rows = records.filter(pl.col("id").is_in(ids) & pl.col(name).is_not_null()).select("id", name)
    return {str(key): float(value) for key, value in rows.iter_rows()}
