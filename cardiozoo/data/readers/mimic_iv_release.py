"""The tables of a MIMIC-IV release as delivered: which files, which columns, which version.

Versions 1.0 (``core/``, ``hosp/``, ``icu/``), 2.x and 3.x (``hosp/``, ``icu/``), each table as ``.csv`` or ``.csv.gz``.
Columns are selected by name, whatever their order and letter case. Every field is read as text and only the empty field
is missing: the Glasgow answer ``None`` is a word, and diagnosis codes keep their leading zeros.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

from cardiozoo.data.disk_space import lacks_room
from cardiozoo.errors import RawDataError

__all__ = ["Release", "TableFile", "connect", "fetch", "open_release", "read_text", "reading", "stream"]

#: Table -> folders it may lie in and the columns that are read of it; alternatives in order of preference.
_TABLES: dict[str, tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]] = {
    "patients": (("hosp", "core"), (("subject_id",), ("gender",), ("anchor_age",), ("anchor_year",), ("dod",))),
    "admissions": (
        ("hosp", "core"),
        (
            ("subject_id",),
            ("hadm_id",),
            ("admittime",),
            ("dischtime",),
            ("deathtime",),
            ("hospital_expire_flag",),
            ("race", "ethnicity"),
        ),
    ),
    "icustays": (
        ("icu",),
        (
            ("subject_id",),
            ("hadm_id",),
            ("stay_id",),
            ("first_careunit",),
            ("last_careunit",),
            ("intime",),
            ("outtime",),
            ("los",),
        ),
    ),
    "diagnoses_icd": (("hosp",), (("hadm_id",), ("icd_code",), ("icd_version",))),
    "chartevents": (
        ("icu",),
        (("stay_id",), ("charttime",), ("storetime",), ("itemid",), ("value",), ("valuenum",), ("valueuom",)),
    ),
    "labevents": (
        ("hosp",),
        (
            ("subject_id",),
            ("hadm_id",),
            ("charttime",),
            ("storetime",),
            ("itemid",),
            ("value",),
            ("valuenum",),
            ("valueuom",),
        ),
    ),
}
#: DuckDB 1 takes a compressed file that was cut short at the end of a row for a complete one; DuckDB 2 does not.
_ENGINE_MISSES_CUTS = int(duckdb.__version__.split(".")[0]) < 2
_LAYOUT = "hosp/ and icu/ (core/, hosp/ and icu/ in version 1.0) with tables as .csv or .csv.gz"


@dataclass(frozen=True)
class TableFile:
    """One raw table.

    Attributes:
        name: ``chartevents``.
        path: Its file.
        header: All columns, in file order.
        columns: Column as this package calls it -> position in the file.
    """

    name: str
    path: Path
    header: tuple[str, ...]
    columns: dict[str, int]

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size

    def scan(self) -> str:
        """SQL of a table function that reads the file as text, its columns named ``c0``, ``c1``, ..."""
        # brackets keep DuckDB from taking letters of a path for a pattern
        path = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(self.path)).replace("'", "''")
        columns = ", ".join(f"'c{position}': 'VARCHAR'" for position in range(len(self.header)))
        dialect = "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"'"
        dialect += f", compression = '{'gzip' if self.path.suffix == '.gz' else 'none'}'"
        return f"read_csv('{path}', {dialect}, columns = {{{columns}}})"

    def select(self, *names: str) -> str:
        """SQL that reads the named columns, all of them if none is named; empty fields are NULL."""
        wanted = names or tuple(self.columns)
        return f"SELECT {', '.join(f'c{self.columns[name]} AS {name}' for name in wanted)} FROM {self.scan()}"

    def estimated_rows(self) -> int:
        """About how many rows the file has, from the length of its first ones; at least 1."""
        with self.path.open("rb") as file:
            text = raw = file.read(1 << 20)
        used = len(raw)
        if _is_gzip(self.path):
            inflate = zlib.decompressobj(wbits=31)
            with reading(TableFile(self.name, self.path, (), {})):
                text = inflate.decompress(raw)
            used -= len(inflate.unused_data)
        return max(1, round(self.bytes / max(used, 1) * text.count(b"\n")))


@dataclass(frozen=True)
class Release:
    """A folder of MIMIC-IV.

    Attributes:
        root: The folder that holds ``hosp/`` and ``icu/``.
        tables: Name -> file.
        version: ``1.0``, ``2.0-2.1``, ``2.2`` or ``3.x``: a guess.
        recognised_by: What the guess rests on.
    """

    root: Path
    tables: dict[str, TableFile]
    version: str
    recognised_by: str


def open_release(root: Path) -> Release:
    """Finds the tables of a MIMIC-IV release and checks that they and their columns are there.

    Args:
        root: The folder that holds ``hosp/`` and ``icu/``, or one with a single sub-folder that does.

    Raises:
        RawDataError: No such folder, tables missing or present twice, columns missing, a file that is empty,
            unreadable or truncated in its first lines.
    """
    root = _find_root(Path(root))
    problems, tables = [], {}
    for name, (folders, columns) in _TABLES.items():
        paths = [path for folder in folders for path in _files(root / folder, name)]
        if len(paths) == 1:
            tables[name] = _open_table(name, paths[0], columns)
        else:
            problems.append(
                f"{name}: {'no file' if not paths else ', '.join(str(path.relative_to(root)) for path in paths)}"
            )
    if problems:
        raise RawDataError(
            f"Of the tables of MIMIC-IV in {root}: {'; '.join(problems)}.",
            f"Accepted: one file a table, in {_LAYOUT}.",
            "Download what is missing, give renamed files their names back, and leave one file of each table.",
        )
    return Release(root, tables, *_guess_version(root, tables))


def connect(memory_gb: float, scratch: Path | None = None, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB that keeps to `memory_gb`, spills to `scratch` and touches nothing outside it."""
    connection = duckdb.connect()
    connection.execute(f"SET memory_limit = '{max(round(memory_gb * 1000), 100)}MB'")
    connection.execute("SET enable_progress_bar = false")
    if scratch is not None:
        connection.execute(f"SET temp_directory = '{str(scratch).replace(chr(39), chr(39) * 2)}'")
    if threads is not None:
        connection.execute(f"SET threads = {int(threads)}")
    return connection


def stream(connection: duckdb.DuckDBPyConnection, query: str, rows: int = 500_000) -> pa.RecordBatchReader:
    """The result of a query in batches of about `rows`, computed as they are read."""
    relation = connection.sql(query)
    # the older of the two names is gone from DuckDB 2
    reader = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
    return reader(rows)


def fetch(connection: duckdb.DuckDBPyConnection, query: str) -> pl.DataFrame:
    """The result of a query as a table."""
    frame = pl.from_arrow(stream(connection, query).read_all())
    assert isinstance(frame, pl.DataFrame)
    return frame


def read_text(connection: duckdb.DuckDBPyConnection, table: TableFile, *names: str) -> pl.DataFrame:
    """A small table as text columns, blanks around fields removed and empty fields null."""
    with reading(table):
        frame = fetch(connection, table.select(*names))
    stripped = pl.all().cast(pl.String).str.strip_chars()
    return frame.select(pl.when(stripped != "").then(stripped).otherwise(None).name.keep())


@contextmanager
def reading(table: TableFile) -> Iterator[None]:
    """Turns what goes wrong while a table is read into an error that names the file and what to do."""
    try:
        if _ENGINE_MISSES_CUTS and table.header and table.path.suffix == ".gz":
            with gzip.open(table.path) as file:
                while file.read(1 << 22):
                    pass
        yield
    except (duckdb.Error, pa.ArrowException, OSError, EOFError, zlib.error) as error:
        if lacks_room(error):  # what was read is written elsewhere meanwhile
            raise
        message = _without_records(" ".join(str(error).split()))
        raise RawDataError(
            f"{table.path} cannot be read to its end: {message[:300]}",
            "Accepted: the file as delivered, complete, comma-separated, in UTF-8.",
            "Compare it with the release's SHA256SUMS.txt and download it again.",
        ) from error


def _without_records(message: str) -> str:
    """An engine's message without the line of the file that it quotes: records of patients belong in no log."""
    goes_on = "Expected Number of Columns|Value with |Invalid unicode|Maximum line size|Possible "
    message = re.sub(f"Original Line: .*?(?={goes_on}|$)", "", message)
    return message.partition(" Possible ")[0]


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _files(folder: Path, name: str) -> list[Path]:
    return [path for ending in (".csv", ".csv.gz") if (path := folder / f"{name}{ending}").is_file()]


def _find_root(root: Path) -> Path:
    if not root.is_dir():
        raise RawDataError(
            f"{root} is no folder.", f"Accepted: the folder of MIMIC-IV, which holds {_LAYOUT}.", "Check the path."
        )
    if (root / "hosp").is_dir() and (root / "icu").is_dir():
        return root
    inner = sorted(path for path in root.iterdir() if (path / "hosp").is_dir() and (path / "icu").is_dir())
    if len(inner) != 1:
        found = ", ".join(sorted(path.name for path in root.iterdir())[:10]) or "nothing"
        raise RawDataError(
            f"{root} holds {found}" + (f"; releases in {', '.join(path.name for path in inner)}." if inner else "."),
            f"Accepted: {_LAYOUT}, there or in a single sub-folder.",
            "Name the folder of one release.",
        )
    return inner[0]


def _open_table(name: str, path: Path, wanted: tuple[tuple[str, ...], ...]) -> TableFile:
    """Reads the header of a table and finds the columns by name."""
    table = TableFile(name, path, (), {})
    if path.suffix == ".gz" and not _is_gzip(path):
        raise RawDataError(
            f"{path} ends in .gz but is not compressed.",
            "Accepted: .csv or .csv.gz.",
            "Rename it, or download it again.",
        )
    with reading(table):
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            line = file.readline(1 << 20).decode("utf-8-sig", errors="replace")
            rows = bool(file.readline(1 << 20).strip())
    header = tuple(column.strip().lower() for column in next(csv.reader(io.StringIO(line)), []))
    columns, missing = {}, []
    for names in wanted:
        present = [column for column in names if column in header]
        if present:
            columns[names[0]] = header.index(present[0])
        else:
            close = difflib.get_close_matches(names[0], header, n=1)
            missing.append(" or ".join(names) + (f" (there is {close[0]})" if close else ""))
    if missing:
        raise RawDataError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(header)[:300] or 'no line at all'}.",
            "Accepted: the columns of MIMIC-IV 1.0 to 3.x, in any order.",
            "Use the file as delivered, or give renamed columns their names back.",
        )
    if not rows:
        raise RawDataError(
            f"{path} holds a header and no row.",
            "Accepted: the table as delivered, complete.",
            "Compare it with the release's SHA256SUMS.txt and download it again.",
        )
    repeated = sorted({column for column in header if header.count(column) > 1 and column in columns})
    if repeated:
        raise RawDataError(
            f"{path} has more than one column {', '.join(repeated)}.",
            "Accepted: each column once.",
            "Use the file as delivered.",
        )
    return TableFile(name, path, header, columns)


def _guess_version(root: Path, tables: dict[str, TableFile]) -> tuple[str, str]:
    """The release's version and what tells it; only columns and the patients' years differ."""
    if (root / "core").is_dir() or "ethnicity" in tables["admissions"].header:
        return "1.0", "folder core/ or column ethnicity"
    if "anchor_year_group" in tables["patients"].header:
        patients = tables["patients"]
        position = patients.header.index("anchor_year_group")
        widened = TableFile(patients.name, patients.path, patients.header, {"anchor_year_group": position})
        with connect(1.0) as connection:
            groups = read_text(connection, widened, "anchor_year_group")["anchor_year_group"]
        if groups.str.starts_with("2020").any():
            return "3.x", "patients whose anchor years are 2020 - 2022"
    if "caregiver_id" in tables["chartevents"].header or "order_provider_id" in tables["labevents"].header:
        return "2.2", "columns caregiver_id or order_provider_id, and no patient of 2020 - 2022"
    return "2.0-2.1", "column race, without caregiver_id and order_provider_id"
