"""The text of a WFDB header (``.hea``) as data. Grammar: G. Moody, WFDB Applications Guide, header(5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from cardiozoo.errors import RecordError

__all__ = ["Header", "SignalLine", "read_header"]

DEFAULT_RATE = 250.0
DEFAULT_GAIN = 200.0
_FORMAT = re.compile(r"(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?")
_GAIN = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)?(?:\((-?\d+)\))?(?:/(\S+))?")
_INTEGER = re.compile(r"[-+]?\d+")
_COMMENT_FIELD = re.compile(r"(?:^#+\s*|<)(subject_id|patient(?:[ _]id)?|age|sex|gender)>?\s*[:=]\s*([^\s<]+)", re.I)
_LARGEST = 1 << 20  # bytes; a header of twelve leads has about 700


@dataclass(frozen=True, slots=True)
class SignalLine:
    """One signal of a header; `gain` is in units per physical unit, `checksum` None when not stated."""

    file: str
    format: str
    per_frame: int
    skew: int
    offset: int
    gain: float
    gain_stated: bool
    baseline: int
    units: str
    checksum: int | None
    name: str


@dataclass(frozen=True)
class Header:
    """A header; `samples` is None when not stated, `segments` (name, samples) only of a multi-segment record."""

    name: str
    rate: float
    rate_stated: bool
    count: int
    samples: int | None
    time: datetime | None
    signals: tuple[SignalLine, ...]
    segments: tuple[tuple[str, int], ...] | None
    comments: tuple[str, ...]

    def comment_fields(self) -> dict[str, str]:
        """``patient``, ``age`` and ``sex`` as the comments state them (MIMIC-IV-ECG, PTB, INCART, CinC challenges)."""
        fields: dict[str, str] = {}
        for comment in self.comments:
            for match in _COMMENT_FIELD.finditer(comment):
                key = match[1].lower()
                key = "sex" if key == "gender" else key if key in ("age", "sex") else "patient"
                fields.setdefault(key, match[2])
        return fields


def read_header(path: Path) -> Header:
    """The header file at `path`.

    Raises:
        RecordError: It is absent, empty, or does not follow the grammar.
    """
    lines, comments = _lines(path)
    try:
        return _parse(lines, comments, path)
    except (ValueError, IndexError, OverflowError) as error:
        _refuse(f"{path}: {error}.")


def _refuse(came: str, reason: str = "header unreadable") -> NoReturn:
    accepted = "Accepted: a WFDB header, a record line and one line for each signal, as header(5) describes it."
    raise RecordError(came, accepted, "Fetch the record again, or leave it out.", reason=reason)


def _lines(path: Path) -> tuple[list[str], tuple[str, ...]]:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        _refuse(f"There is no header {path}.", "header missing")
    except OSError as error:
        _refuse(f"{path} cannot be read: {error.strerror}.")
    if len(content) > _LARGEST or b"\x00" in content:
        _refuse(f"{path} is no text of a header's size.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines, comments = [], []
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("#"):
            comments.append(line)
        elif line:
            lines.append(line)
    if not lines:
        _refuse(f"{path} is empty.", "header empty")
    return lines, tuple(comments)


def _parse(lines: list[str], comments: tuple[str, ...], path: Path) -> Header:
    words = lines[0].split()
    if len(words) < 2:
        _refuse(f"{path}: the record line says {lines[0]!r}.")
    name, _, segments = words[0].partition("/")
    count = int(words[1])
    # frequency[/counter frequency[(base counter)]]
    rate = float(words[2].split("/")[0].split("(")[0]) if len(words) > 2 else DEFAULT_RATE
    samples = int(words[3]) if len(words) > 3 else 0
    if not (0 < rate < 1e7) or count < 0 or samples < 0:
        _refuse(f"{path}: {count} signals at {rate:g} Hz, {samples} samples.")
    rows = lines[1:]
    parts = None
    if segments:
        parts = tuple((row.split()[0], int(row.split()[1])) for row in rows[: int(segments)])
        rows = []
    wanted = int(segments) if parts is not None else count
    if len(parts if parts is not None else rows) < wanted:
        _refuse(f"{path} announces {wanted} lines and has {len(parts if parts is not None else rows)}.")
    if wanted == 0:
        _refuse(f"{path} announces no signals.", "no signals")
    signals = tuple(_signal_line(row, path) for row in rows[:count])
    time = _time(words[4:6])
    return Header(name, rate, len(words) > 2, count, samples or None, time, signals, parts, comments)


def _signal_line(line: str, path: Path) -> SignalLine:
    words = line.split(None, 8)
    if len(words) < 2 or not (form := _FORMAT.fullmatch(words[1])):
        _refuse(f"{path}: a signal line says {line!r}.")
    gain = _GAIN.fullmatch(words[2]) if len(words) > 2 else None
    # bits, zero, first value, checksum, block size: in this order, none of them obligatory
    numbers: list[int] = []
    place = 3 if gain else 2
    while place < min(len(words), 8) and _INTEGER.fullmatch(words[place]):
        numbers.append(int(words[place]))
        place += 1
    value, baseline, units = gain.groups() if gain else (None, None, None)
    stated = bool(value) and float(value) != 0
    zero = numbers[1] if len(numbers) > 1 else 0
    return SignalLine(
        file=words[0],
        format=form[1],
        per_frame=int(form[2] or 1),
        skew=int(form[3] or 0),
        offset=int(form[4] or 0),
        gain=float(value) if stated else DEFAULT_GAIN,
        gain_stated=stated,
        baseline=int(baseline) if baseline is not None else zero,
        units=units or "",
        checksum=numbers[3] & 0xFFFF if len(numbers) > 3 else None,
        name=" ".join(words[place:]),
    )


def _time(words: list[str]) -> datetime | None:
    """Time of day and day/month/year; None where either is missing or impossible, which is no reason to lose an ECG."""
    # the last is how MATLAB wrote the headers of the 2020 challenge
    for form in ("%H:%M:%S %d/%m/%Y", "%H:%M:%S.%f %d/%m/%Y", "%H:%M %d/%m/%Y", "%d-%b-%Y %H:%M:%S"):
        try:
            return datetime.strptime(" ".join(words), form)
        except ValueError:
            continue
    return None
