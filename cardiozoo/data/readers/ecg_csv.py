"""CSV and other text tables of samples: a column (or a row) for each lead, with or without a header line."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cardiozoo.data.ecg import lead_and_sign
from cardiozoo.data.ecg_record import EcgRecord, millivolt_per_unit
from cardiozoo.data.readers.ecg_arrays import array_record, oriented, refuse, required
from cardiozoo.data.readers.ecg_clock import Clock, tells_time, times_of_day
from cardiozoo.data.readers.ecg_units import units_of_header

__all__ = ["read_csv"]

_LARGEST = 1 << 30
_NO_VALUE = {"", "na", "n/a", "null", "none", "-", "#n/a", "nan"}
_UNNAMED = re.compile(r"(unnamed.*|index|)", re.I)
_SEPARATORS = (";", "\t", ",")
_ACCEPTED = "Accepted: numbers separated by commas, semicolons, tabs or spaces, a column for each lead."


@dataclass
class _Table:
    header: list[str]  # empty without a header line
    values: np.ndarray  # float64 (rows, columns)
    notes: list[str] = field(default_factory=list)
    clocks: list[Clock] = field(default_factory=list)
    commented: list[str] = field(default_factory=list)  # names in a comment that are not those of the columns


def read_csv(path: Path, *, rate: float | None, units: str | None, leads: Sequence[str] | None) -> EcgRecord:
    """A record of a text table.

    A header line names the columns; what it does not name as leads is left out and noted. Without one, or with one that
    only numbers the columns, `leads` names them, or the rows when the table lies on its side. A header line may stand
    behind ``#``, where numpy's ``savetxt`` writes it. Units in the header (``I (uV)``, ``I_uV``) or in a line below it
    must not contradict each other or `units`. A column of time must agree with `rate`.

    Raises:
        RecordError: Options missing, text that is no number, lines of different lengths, contradictions.
    """
    table = _read(path)
    notes = table.notes
    columns = [place for place, name in enumerate(table.header) if lead_and_sign(name)]
    if columns:
        leads = [table.header[place] for place in columns]
        units = units_of_header(path, leads, units, notes)
        others = [name or "unnamed" for place, name in enumerate(table.header) if place not in columns]
        if others:
            notes.append(f"columns ignored: {' '.join(others)}")
        rate, units, leads = required(path, rate, units, leads)
        array = table.values[:, columns].T
    else:
        leads = table.commented or leads
        values, header = table.values, table.header
        if leads and values.shape[1] == len(leads) + 1:
            if _counts_up(values[:, 0]):
                table.clocks.append(Clock(header[0] if header else "", values[:, 0]))
                values, header = values[:, 1:], header[1:]
                notes.append("first column ignored: it counts up")
            elif np.isnan(values[:, -1]).all():  # each line ends in a separator
                values, header = values[:, :-1], header[:-1]
                notes.append("last column ignored: it is empty")
        for names in (header, leads or ()):
            units = units_of_header(path, names, units, notes)
        rate, units, leads = required(path, rate, units, leads)
        array = oriented(values, len(leads), path)
    for clock in table.clocks:
        _check_clock(path, clock, rate)
    return array_record(_whole(array), leads, rate, units, path, tuple(notes))


def _read(path: Path) -> _Table:
    rows, comments = _split(path)
    labelled = [bool(row) and lead_and_sign(row[0]) is not None and len(row) > 2 for row in rows]
    if all(labelled) and all(_is_number(row[1]) for row in rows):  # leads as rows, each beginning with its name
        _check_widths(path, rows, 1)
        return _Table([row[0] for row in rows], _numbers(path, [row[1:] for row in rows], 1).T)
    notes: list[str] = []
    first = 1
    if _numbers_columns(rows[0]):
        _check_widths(path, rows, 1)
        rows, first = rows[1:], 2
        notes.append("first line ignored: it numbers the columns")
    elif not all(_is_number(cell) for cell in rows[0]):
        return _with_header(path, rows[0], rows[1:])
    commented = _commented_header(comments, rows)
    if commented:
        notes.append("names of the leads taken from a comment")
    if rows and len(commented) == len(rows[0]):
        table = _with_header(path, commented, rows)
        table.notes[:0] = notes
        return table
    _check_widths(path, rows, first)
    return _Table([], _numbers(path, rows, first), notes, commented=commented)


def _commented_header(comments: list[str], rows: list[list[str]]) -> list[str]:
    """The header line among the comments above the samples, the last if there are several; empty without one.

    Either it names each column, most of them as leads or times, or it names nothing but leads: those of all columns but
    a first or last one without a name, or those of the rows of a table on its side.
    """
    for comment in reversed(comments) if rows else ():
        # savetxt takes the header as it comes: it need not be separated as the samples are
        for cells in (_cells(comment.split(mark)) for mark in (*_SEPARATORS, None)):
            leads = sum(lead_and_sign(cell) is not None for cell in cells)
            columns = len(cells) == len(rows[0]) and 2 * (leads + sum(map(tells_time, cells))) > len(cells)
            if leads and (columns or (leads == len(cells) and len(cells) in (len(rows[0]) - 1, len(rows)))):
                return cells
    return []


def _with_header(path: Path, header: list[str], rows: list[list[str]]) -> _Table:
    """The table below a header line; columns that are neither a lead nor a time may hold anything."""
    _check_widths(path, rows, 2)
    if rows and len(header) != len(rows[0]):
        came = f"has {len(header)} names in its header and {len(rows[0])} cells in each line"
        refuse(path, came, "lines of different lengths", _ACCEPTED, "Write it again, or leave it out.")
    leads = [place for place, name in enumerate(header) if lead_and_sign(name)]
    first = 2
    if leads and rows and all(rows[0][place] and millivolt_per_unit(rows[0][place]) for place in leads):
        # a line of units below the names, as PhysioNet's tools write it
        header = [f"{name} ({rows[0][place]})" if place in leads else name for place, name in enumerate(header)]
        rows, first = rows[1:], 3
    used = leads or list(range(len(header)))
    values = np.full((len(rows), len(header)), np.nan)
    values[:, used] = _numbers(path, [[row[place] for place in used] for row in rows], first)
    table = _Table(header, values)
    for place, name in enumerate(header):
        if place not in used:
            _read_clock(table, name, [row[place] for row in rows])
    return table


def _read_clock(table: _Table, name: str, cells: list[str]) -> None:
    """Adds a column of times to the clocks of `table`; one without a name is believed to be one where it counts up."""
    named = tells_time(name)
    if not named and not _UNNAMED.fullmatch(name):
        return
    if all(map(_is_number, cells)):
        times = np.array([float(cell) if cell.lower() not in _NO_VALUE else np.nan for cell in cells])
        times[np.isinf(times)] = np.nan
        if named or _counts_up(times):
            table.clocks.append(Clock(name, times))
    elif named:
        times = times_of_day(cells)
        if times is None:
            table.notes.append(f"column {name} not compared with the rate: its times are not understood")
        else:
            table.clocks.append(Clock(name, times, in_seconds=True))


def _split(path: Path) -> tuple[list[list[str]], list[str]]:
    """The cells of each line, and the comments above the first of them."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        reason = "file missing" if isinstance(error, FileNotFoundError) else "file unreadable"
        refuse(path, f"cannot be read: {error.strerror}", reason, _ACCEPTED, "Check the path.")
    if len(content) > _LARGEST:
        refuse(path, "is larger than 1 GiB", "file too large", _ACCEPTED, "Cut it, or leave it out.")
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = [line for line in text.splitlines() if line.strip()]
    above = next((place for place, line in enumerate(lines) if not _is_comment(line)), len(lines))
    comments = [line.lstrip().lstrip("#").strip() for line in lines[:above]]
    lines = [line for line in lines if not _is_comment(line)]
    if not lines:
        refuse(path, "is empty", "file empty", _ACCEPTED, "Fetch it again, or leave it out.")
    if "\x00" in lines[0]:
        refuse(path, "is no text", "format not recognised", _ACCEPTED, "Leave it out.")
    separator = next((mark for mark in _SEPARATORS if mark in lines[0]), None)
    if separator is not None and '"' in text:
        try:
            rows = list(csv.reader(lines, delimiter=separator))
        except csv.Error as error:  # a quotation mark that is never closed
            refuse(path, f"cannot be split into cells: {error}", "text not decodable", _ACCEPTED, "Write it again.")
    else:
        rows = [line.split(separator) for line in lines]
    return [_cells(row) for row in rows], comments


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _cells(row: list[str]) -> list[str]:
    # a comma that is no separator is a decimal comma
    return [cell.strip().strip("\"'").strip().replace(",", ".") for cell in row]


def _is_number(cell: str) -> bool:
    if cell.lower() in _NO_VALUE:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers_columns(row: list[str]) -> bool:
    """Whether a line is 0, 1, 2 ... or 1, 2, 3 ..., the header of a table without names, perhaps beside an index."""
    cells = row[1:] if row[0] == "" else row
    return len(cells) > 2 and any(cells == [str(first + n) for n in range(len(cells))] for first in (0, 1))


def _check_widths(path: Path, rows: list[list[str]], first_line: int) -> None:
    width = len(rows[0]) if rows else 0
    for place, row in enumerate(rows):
        if len(row) != width:
            came = f"has {len(row)} cells in line {place + first_line} and {width} before"
            refuse(path, came, "lines of different lengths", _ACCEPTED, "Write it again, or leave it out.")


def _numbers(path: Path, rows: list[list[str]], first_line: int) -> np.ndarray:
    """float64 (rows, columns), NaN where a cell is empty."""
    if not rows:
        refuse(path, "has a header and no samples", "no samples", _ACCEPTED, "Fetch it again, or leave it out.")
    width = len(rows[0])
    cells = [cell if cell.lower() not in _NO_VALUE else "nan" for row in rows for cell in row]
    try:
        return np.array(list(map(float, cells))).reshape(len(rows), width)
    except ValueError:
        bad = next(place for place, cell in enumerate(cells) if not _is_number(cell))
        came = f"says {cells[bad]!r} in line {bad // width + first_line}, where a number is expected"
        refuse(path, came, "text where a number is expected", _ACCEPTED, "Correct it, or leave it out.")


def _check_clock(path: Path, clock: Clock, rate: float) -> None:
    if not clock.agrees(rate):
        column = f"a column {clock.name}" if clock.name else "a column without a name"
        came = f"has {column} that ticks every {clock.tick:g}, which is not {rate:g} a second"
        refuse(path, came, "time column contradicts the rate", _ACCEPTED, "Correct rate.")


def _counts_up(column: np.ndarray) -> bool:
    """Whether the values lie on a rising line, to within their rounding."""
    steps = np.diff(column)
    if len(steps) < 2 or not (steps >= 0).all() or not steps.any():
        return False
    line = np.linspace(column[0], column[-1], len(column))
    return bool(np.abs(column - line).max() <= max(steps[steps > 0].min(), 0.01 * steps.mean()))


def _whole(array: np.ndarray) -> np.ndarray:
    """int32 when every sample is a whole number below 2**31, so that the converter's integers stay what they are."""
    if np.isfinite(array).all() and np.abs(array).max() < 1 << 31 and (array == np.rint(array)).all():
        return array.astype(np.int32)
    return array
