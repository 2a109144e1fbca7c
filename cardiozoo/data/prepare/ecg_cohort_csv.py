"""A table that people write themselves: whatever separates its fields, encodes its text or marks its decimals."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from pathlib import Path

import polars as pl

from cardiozoo.data.prepare.tables import read_text_table, why_not_parsed
from cardiozoo.errors import RawDataError

_SEPARATORS = (",", ";", "\t")
_DECIMAL_COMMA = r"^[+-]?\d*,\d+([eE][+-]?\d+)?$"
_UNNAMED = "column without a name"
_NUMBER = r"^[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?$"


def read_user_table(path: Path, nothing: tuple[str, ...]) -> tuple[pl.DataFrame, list[str]]:
    """A table as text columns, blanks around fields removed, empty fields and rows null or gone; and what was assumed.

    Fields may be separated by commas, semicolons or tabs. Where it is not the comma, a column of numbers with commas
    has decimal commas. Text that is no UTF-8 (or UTF-16 that says so) is read as Windows-1252. A row with fewer cells
    than names is an error: nobody knows which cell it lacks.

    Args:
        path: The file, or the same compressed (``.gz``).
        nothing: Fields, in lower case, that stand for no value.

    Raises:
        RawDataError: The file is absent, empty or no table, a column is there twice, or rows have not as many cells.
    """
    if not path.is_file():
        return read_text_table(path, lower=False), []  # which says so
    text, notes = _text(path)
    try:
        separator = _separator(text)
        header = _header(path, text, separator)
    except csv.Error as error:
        raise _unreadable(path, f"its first line is no line of column names: {error}") from error
    _check_cells(path, text, separator, header)
    try:
        table = pl.read_csv(io.BytesIO(text.encode()), separator=separator, infer_schema=False, new_columns=header)
    except pl.exceptions.PolarsError as error:
        raise _unreadable(path, why_not_parsed(error)) from None
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
        content = gzip.decompress(content) if path.suffix.lower() == ".gz" else content
    except (EOFError, zlib.error) as error:
        raise _unreadable(path, "the compressed data are cut short or damaged") from error
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
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


def _check_cells(path: Path, text: str, separator: str, header: list[str]) -> None:
    """Refuse rows that are shorter or longer than the line of names; parsers fill up the shorter ones in silence."""
    needed = max(place for place, name in enumerate(header, 1) if not name.startswith(_UNNAMED))
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    wrong: list[tuple[int, int]] = []
    try:
        for cells in rows:
            if not needed <= len(cells) <= len(header) and any(cell.strip() for cell in cells):
                wrong.append((rows.line_num, len(cells)))
    except csv.Error as error:
        raise _unreadable(path, f"line {rows.line_num}: {error}") from error
    if wrong:
        line, cells = wrong[0]
        more = f", and {len(wrong) - 1:,} more such rows" if len(wrong) > 1 else ""
        raise RawDataError(
            f"{path}: the row that ends in line {line} has {cells} cells below a line of {len(header)} names{more}.",
            "A cell for each column in every row, empty where there is no value.",
            "Look there for a cell that is missing, a quotation mark that is not closed, or the end of a cut file.",
        )


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
