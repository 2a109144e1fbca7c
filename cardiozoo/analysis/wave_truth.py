"""Tables of known wave positions: one row a wave with times, or one row a beat as the simulator writes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from cardiozoo.errors import OptionError

#: Wave -> columns of the simulator's table: onset, peak, offset, in samples of the raw file.
BEAT_COLUMNS = {
    "P": ("p_on", "p_peak", "p_off"),
    "QRS": ("qrs_on", "qrs_peak", "qrs_off"),
    "T": ("t_on", "t_peak", "t_end"),
}
FORMS = "Columns id, wave, onset, offset (s, or peak), or a simulator's truth/beats.parquet."


def read_truth(path: Path, ids: list[str], raw_rate: float | Mapping[str, float] = 500.0) -> dict[str, pl.DataFrame]:
    """Waves of some records: id -> table with ``wave``, ``onset``, ``peak``, ``offset`` in seconds from the start.

    Args:
        path: Parquet or CSV; the column with the records' ids is called ``id``, or is the one that holds those ids.
        ids: The records wanted; one that the table does not mention gets no entry.
        raw_rate: Samples a second of the files that a simulator's table counts in, of all or of each record.

    Raises:
        OptionError: No such file, another form, or none of the records in it.
    """
    if not path.is_file():
        raise OptionError(f"There is no table of waves {path}.", FORMS, "Without --truth the waves are delineated.")
    table = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema_length=None)
    column = _id_column(table, ids)
    if column is None:
        raise OptionError(
            f"{path} mentions none of the {len(ids)} records.",
            f"A column with their ids, such as those of predictions.parquet. {FORMS}",
            "Give the table of this cohort.",
        )
    table = table.with_columns(pl.col(column).cast(pl.String).alias("id")).filter(pl.col("id").is_in(ids))
    if {"qrs_on", "qrs_off"} <= set(table.columns):
        if isinstance(raw_rate, Mapping):
            rates = pl.col("id").replace_strict(dict(raw_rate), default=None, return_dtype=pl.Float64)
        else:
            rates = pl.lit(float(raw_rate))
        table = _from_beats(table, rates)
    elif "wave" not in table.columns:
        raise OptionError(f"{path} has the columns {', '.join(table.columns)}.", FORMS, "Rename them.")
    return {str(part["id"][0]): part for part in table.partition_by("id", maintain_order=True)}


def _id_column(table: pl.DataFrame, ids: list[str]) -> str | None:
    wanted = set(ids)
    named = [name for name in ("id", *table.columns) if name in table.columns]
    for name in named:
        if table.schema[name] in (pl.String, pl.Int32, pl.Int64, pl.UInt32, pl.UInt64):
            if wanted & set(table[name].cast(pl.String).unique().to_list()):
                return name
    return None


def _from_beats(table: pl.DataFrame, rate: pl.Expr) -> pl.DataFrame:
    """A wave that begins before the file or ends after it is open at that end."""
    parts = []
    for wave, (onset, peak, offset) in BEAT_COLUMNS.items():
        seen = pl.col(onset).is_not_null() | pl.col(offset).is_not_null()
        seconds = [
            (pl.col(onset).cast(pl.Float64) / rate).fill_null(0.0).alias("onset"),
            (pl.col(peak).cast(pl.Float64) / rate).alias("peak"),
            (pl.col(offset).cast(pl.Float64) / rate).fill_null(1e6).alias("offset"),
        ]
        parts.append(table.filter(seen).select("id", pl.lit(wave).alias("wave"), *seconds))
        if wave == "QRS":
            # The peak of QRS is the point R where windows of fixed width are asked for.
            parts.append(parts[-1].with_columns(pl.lit("R").alias("wave")))
    return pl.concat(parts)
