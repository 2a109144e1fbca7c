"""Tables in and out: CSV of a release as text, and Parquet whose bytes follow from its content alone."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import polars as pl

from cardiozoo.errors import RawDataError

_ROW_GROUP = 1 << 16


def read_text_table(path: Path, required: Iterable[str] = (), lower: bool = True) -> pl.DataFrame:
    """A CSV file (also ``.gz``) as text columns: blanks around fields removed, empty fields null.

    Args:
        path: The file.
        required: Columns that it must have.
        lower: Whether names of columns are taken without regard to letter case.

    Raises:
        RawDataError: The file is absent, cut short, no UTF-8 or no table; columns are missing or there twice.
    """
    header = _header(path, lower)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise RawDataError(
            f"{path} has more than one column {', '.join(map(repr, twice))}.", "Each column once.", "Rename them."
        )
    missing = [name for name in required if name not in header]
    if missing:
        raise RawDataError(
            f"{path} has no column {', '.join(missing)}; it has {_shown(header, required)}.",
            "Accepted: the columns as delivered, in any order.",
            "Use the file as delivered, or give renamed columns their names back.",
        )
    try:
        table = pl.read_csv(path, infer_schema=False, new_columns=header)
    except OSError as error:
        raise _unreadable(path, error.strerror or "the system refuses") from error
    except pl.exceptions.PolarsError as error:
        raise _unreadable(path, why_not_parsed(error)) from None
    stripped = pl.all().str.strip_chars()
    return table.select(pl.when(stripped != "").then(stripped).otherwise(None).name.keep())


def why_not_parsed(error: pl.exceptions.PolarsError) -> str:
    """The engine's reason in words of our own: it quotes what it fails at, and patients' records belong in no log."""
    if "more fields" in str(error):
        return "a row has more fields than the line of names"
    return "its fields cannot be told apart, perhaps for a quotation mark that is not closed"


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write Parquet: the same content gives the same bytes."""
    # rechunked and with fixed row groups; by way of memory, since Polars writing a file says nothing of a full disk
    content = BytesIO()
    table.rechunk().write_parquet(content, compression="zstd", compression_level=3, row_group_size=_ROW_GROUP)
    path.write_bytes(content.getbuffer())


def one_table(folder: Path, name: str) -> Path | None:
    """``NAME.csv`` or ``NAME.csv.gz`` in a folder, None if neither is there."""
    return next((path for ending in (".csv", ".csv.gz") if (path := folder / f"{name}{ending}").is_file()), None)


def _header(path: Path, lower: bool) -> list[str]:
    if not path.is_file():
        raise RawDataError(f"There is no file {path}.", "Accepted: a CSV file.", "Check the path.")
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:  # to its end: a file that was cut short fails here
                line = file.readline(1 << 20)
                while file.read(1 << 22):
                    pass
        else:
            with path.open("rb") as file:
                line = file.readline(1 << 20)
        text = line.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error)) from error
    header = [name.strip() for name in next(csv.reader([text]), [])]
    if not any(header):
        raise _unreadable(path, "its first line is empty")
    if len(header) == 1 and (";" in text or "\t" in text):
        raise _unreadable(path, "its columns are not separated by commas")
    return [name.lower() for name in header] if lower else header


def _unreadable(path: Path, why: str) -> RawDataError:
    return RawDataError(
        f"{path} cannot be read as a table: {why}.",
        "Accepted: comma-separated text in UTF-8 with a line of column names, complete.",
        "Download or save it again.",
    )


def _shown(header: list[str], required: Iterable[str]) -> str:
    """Names of columns, those first that were not asked for: a renamed one is among them."""
    asked = set(required)
    ordered = sorted(header, key=lambda name: name in asked)
    return ", ".join(ordered[:12]) + (f" and {len(ordered) - 12} more" if len(ordered) > 12 else "")
