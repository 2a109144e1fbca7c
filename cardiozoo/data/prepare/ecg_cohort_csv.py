"""A table that people write themselves: whatever separates its fields, encodes its text or marks its decimals."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl

from cardiozoo.data.prepare.tables import read_text_table
from cardiozoo.errors import RawDataError

_SEPARATORS = (",", ";", "\t")
_DECIMAL_COMMA = r"^[+-]?\d*,\d+([eE][+-]?\d+)?$"
_UNNAMED = "column without a name"
_NUMBER = r"^[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?$"


def read_user_table(path: Path, nothing: tuple[str, ...]) -> tuple[pl.DataFrame, list[str]]:
    """A table as text columns, blanks around fields removed, empty fields and rows null or gone; and what was assumed.

    Fields may be separated by commas, semicolons or tabs. Where it is not the comma, a column of numbers with commas
    has decimal commas. Text that is no UTF-8 (or UTF-16 that says so) is read as Windows-1252.

    Args:
        path: The file, or the same compressed (``.gz``).
        nothing: Fields, in lower case, that stand for no value.

    Raises:
        RawDataError: The file is absent, empty or no table, or a column is there twice.
    """
    if path.suffix.lower() == ".gz" or not path.is_file():
        return read_text_table(path, lower=False), []
    text, notes = _text(path)
    try:
        separator = _separator(text)
        header = _header(path, text, separator)
    except csv.Error as error:
        raise _unreadable(path, f"its first line is no line of column names: {error}") from error
    try:
        table = pl.read_csv(io.BytesIO(text.encode()), separator=separator, infer_schema=False, new_columns=header)
    except pl.exceptions.PolarsError as error:
        # the engine quotes the line it fails at: records of patients belong in no log
        raise _unreadable(path, str(error).splitlines()[0][:120]) from None
    named = [name for name in header if not name.startswith(_UNNAMED)]
    if len(named) < len(header):
        notes.append("Columns without a name are left out.")
    stripped = pl.col(named).str.strip_chars()
    table = table.select(pl.when(stripped != "").then(stripped).otherwise(None).name.keep())
    if separator != ",":
        notes.append(f"The fields of {path.name} are separated by {'semicolons' if separator == ';' else 'tabs'}.")
        table, said = _with_points(table, nothing)
        notes += said
    # spreadsheet programs write rows of separators alone below the last one
    return table.filter(~pl.all_horizontal(pl.all().is_null())), notes


def _text(path: Path) -> tuple[str, list[str]]:
    """The content with plain line ends, and what was assumed of its encoding."""
    notes: list[str] = []
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror or "the system refuses") from error
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = content.decode("cp1252")
        except UnicodeDecodeError as error:
            raise _unreadable(path, "its text is neither UTF-8 nor Windows-1252") from error
        notes.append(f"{path.name} is no UTF-8 and is read as Windows-1252.")
    if "\x00" in text:
        raise _unreadable(path, "it is no text")
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\n")
    first, _, rest = text.partition("\n")
    # how some spreadsheet programs name their separator
    return (rest if first.strip().lower().startswith("sep=") else text), notes


def _separator(text: str) -> str:
    """The one that makes the most columns of the first line; the comma where they are equal."""
    first = text.partition("\n")[0]
    return max(_SEPARATORS, key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))


def _header(path: Path, text: str, separator: str) -> list[str]:
    header = [name.strip() for name in next(csv.reader([text.partition("\n")[0]], delimiter=separator), [])]
    if not any(header):
        raise _unreadable(path, "its first line is empty")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise RawDataError(
            f"{path} has more than one column {', '.join(map(repr, twice))}.", "Each column once.", "Rename them."
        )
    return [name or f"{_UNNAMED} {place + 1}" for place, name in enumerate(header)]


def _with_points(table: pl.DataFrame, nothing: tuple[str, ...]) -> tuple[pl.DataFrame, list[str]]:
    """Decimal points in columns that hold nothing but numbers, some of them with a comma."""
    changed = []
    for name in table.columns:
        values = table[name].drop_nulls()
        values = values.filter(~values.str.to_lowercase().is_in(nothing))
        if values.str.contains(_DECIMAL_COMMA).any() and values.str.contains(_NUMBER).all():
            changed.append(name)
    if not changed:
        return table, []
    table = table.with_columns(pl.col(changed).str.replace(",", ".", literal=True))
    return table, [f"Commas in {', '.join(changed)} are taken for decimal points."]


def _unreadable(path: Path, why: str) -> RawDataError:
    return RawDataError(
        f"{path} cannot be read as a table: {why}.",
        "Accepted: text with a line of column names, separated by commas, semicolons or tabs.",
        "Save it again as CSV.",
    )
