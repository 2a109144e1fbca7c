"""The MIMIC-IV reader on the layouts of its versions, and on tables that are missing, renamed, doubled or cut short."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mimic_iv_tables import BASE, FOLDERS, HEADERS, events_of, stays_of, text_of, tiny, write

from cardiozoo.data.readers.mimic_iv import open_release, read_stays
from cardiozoo.errors import RawDataError


def test_the_tiny_release_as_it_is(tmp_path: Path) -> None:
    stays = stays_of(tmp_path, tiny())
    assert stays.table["stay_id"].to_list() == [31, 32]
    assert stays.table["mortality"].to_list() == [False, True] and stays.table["death_hours"].to_list() == [None, 9.0]
    assert stays.table["icu_mortality"].to_list() == [False, True] and stays.table["age"].to_list() == [52, 72]
    events, counts = events_of(tmp_path, tiny())
    assert events == BASE
    assert counts["labevents"]["kept, gained by linking by time"] == 1
    by_admission, counts = events_of(tmp_path, tiny(), lab_link="hadm")
    assert by_admission == [e for e in BASE if e[1:] != (10800, "Glucose", 150.0)]
    assert events_of(tmp_path, tiny(), number="text")[0] == [e for e in BASE if e[1:] != (3600, "Glucose", 140.0)]


# --- layouts -------------------------------------------------------------------------------------------------------


def as_version_1(root: Path) -> None:
    write(root, tiny())
    (root / "core").mkdir()
    for table in ("patients", "admissions"):
        (root / "hosp" / f"{table}.csv.gz").rename(root / "core" / f"{table}.csv.gz")
    text = text_of("admissions", tiny()["admissions"]).replace(",race,", ",ethnicity,")
    (root / "core" / "admissions.csv.gz").write_bytes(gzip.compress(text.encode()))


def as_plain_text(root: Path) -> None:
    write(root, tiny(), compress=False)


def as_windows_text(root: Path) -> None:
    for table, rows in tiny().items():
        (root / FOLDERS[table]).mkdir(parents=True, exist_ok=True)
        text = "\ufeff" + text_of(table, rows).replace("\n", "\r\n")
        (root / FOLDERS[table] / f"{table}.csv").write_bytes(text.encode())


def as_reordered_columns(root: Path) -> None:
    for table, rows in tiny().items():
        (root / FOLDERS[table]).mkdir(parents=True, exist_ok=True)
        header = ",".join(["extra", *HEADERS[table].split(",")[::-1]]).upper()
        text = text_of(table, [["x", *row[::-1]] for row in rows], header)
        (root / FOLDERS[table] / f"{table}.csv.gz").write_bytes(gzip.compress(text.encode()))


def as_several_gzip_members(root: Path) -> None:
    write(root, tiny())
    for path in root.rglob("*.gz"):
        head, tail = gzip.decompress(path.read_bytes()).split(b"\n", 1)
        path.write_bytes(gzip.compress(head + b"\n") + gzip.compress(tail))


def as_only_subfolder(root: Path) -> None:
    write(root / "mimic-iv-2.2", tiny())


@pytest.mark.parametrize(
    "layout",
    [as_version_1, as_plain_text, as_windows_text, as_reordered_columns, as_several_gzip_members, as_only_subfolder],
)
def test_layouts_give_the_same_events(layout: Any, tmp_path: Path) -> None:
    root = tmp_path / "it's [a] *folder*?"
    root.mkdir()
    layout(root)
    assert events_of(root)[0] == BASE
    assert read_stays(open_release(root)).table["race"].to_list() == ["WHITE", "OTHER"]


def test_versions(tmp_path: Path) -> None:
    as_version_1(tmp_path / "1")
    assert open_release(tmp_path / "1").version == "1.0"
    assert open_release(write(tmp_path / "2", tiny())).version == "2.0-2.1"
    tables = tiny()
    tables["patients"][0][4] = "2020 - 2022"
    assert open_release(write(tmp_path / "3", tables)).version == "3.x"
    assert open_release(Path(__file__).parent / "mimic_iv_demo").version == "2.2"


# --- errors --------------------------------------------------------------------------------------------------------


def test_missing_folders_and_tables(tmp_path: Path) -> None:
    with pytest.raises(RawDataError, match="is no folder"):
        open_release(tmp_path / "nowhere")
    with pytest.raises(RawDataError, match=r"(?s)holds nothing.*hosp/ and icu/"):
        open_release(tmp_path)
    root = write(tmp_path / "iv", tiny())
    (root / "hosp" / "labevents.csv.gz").unlink()
    (root / "icu" / "chartevents.csv.gz").rename(root / "icu" / "chart_events.csv.gz")
    with pytest.raises(RawDataError, match="chartevents: no file; labevents: no file"):
        open_release(root)
    write(tmp_path / "two" / "a", tiny())
    write(tmp_path / "two" / "b", tiny())
    with pytest.raises(RawDataError, match="releases in a, b"):
        open_release(tmp_path / "two")


def test_one_table_in_two_formats(tmp_path: Path) -> None:
    root = write(write(tmp_path / "iv", tiny()), {"labevents": tiny()["labevents"]}, compress=False)
    with pytest.raises(RawDataError, match=r"labevents: hosp/labevents.csv, hosp/labevents.csv.gz"):
        open_release(root)


def test_renamed_and_repeated_columns(tmp_path: Path) -> None:
    root, path = write(tmp_path / "iv", tiny()), tmp_path / "iv" / "icu" / "chartevents.csv.gz"
    text = text_of("chartevents", tiny()["chartevents"])
    path.write_bytes(gzip.compress(text.replace("valuenum", "value_num").encode()))
    with pytest.raises(RawDataError, match=r"chartevents.csv.gz has no column valuenum \(there is value_num\)"):
        open_release(root)
    path.write_bytes(gzip.compress(text.replace("warning", "value").encode()))
    with pytest.raises(RawDataError, match="more than one column value"):
        open_release(root)
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(RawDataError, match="no line at all"):
        open_release(root)
    path.write_bytes(text.encode())
    with pytest.raises(RawDataError, match="is not compressed"):
        open_release(root)


@pytest.mark.parametrize(
    ("table", "kept"), [("chartevents", 0.3), ("labevents", 0.9), ("diagnoses_icd", 0.999), ("admissions", 0.6)]
)
def test_truncated_gzip(table: str, kept: float, tmp_path: Path) -> None:
    rows = tiny()
    rng = np.random.default_rng(0)
    filler = rng.integers(10**6, 10**9, (4000, len(HEADERS[table].split(",")))).tolist()
    root = write(tmp_path / "iv", rows | {table: rows[table] + filler})
    path = root / FOLDERS[table] / f"{table}.csv.gz"
    whole = path.read_bytes()
    events_of(root)
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(RawDataError, match=f"{table}.csv.gz cannot be read to its end"):
        events_of(root)


def test_gzip_cut_at_the_end_of_a_row(tmp_path: Path) -> None:
    root = write(tmp_path / "iv", tiny())
    path = root / "icu" / "chartevents.csv.gz"
    rows = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    deflate = zlib.compressobj(wbits=31)
    path.write_bytes(deflate.compress(b"".join(rows[:3])) + deflate.flush(zlib.Z_SYNC_FLUSH))
    with pytest.raises(RawDataError, match="cannot be read to its end"):
        events_of(root)


@pytest.mark.parametrize("missing", [1, 8, 12])
def test_gzip_that_lacks_its_last_bytes(missing: int, tmp_path: Path) -> None:
    root = write(tmp_path / "iv", tiny())
    path = root / "icu" / "chartevents.csv.gz"
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(RawDataError, match="cannot be read to its end"):
        events_of(root)


def test_text_cut_within_a_row_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    root = write(tmp_path / "iv", tiny(), compress=False)
    path = root / "icu" / "chartevents.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:-25])
    with pytest.raises(RawDataError, match="cannot be read to its end"):
        events_of(root)
    path.write_bytes(whole.replace("°".encode(), b"\xb0"))
    with pytest.raises(RawDataError, match="cannot be read to its end"):
        events_of(root)


def test_a_cohort_without_a_stay(tmp_path: Path) -> None:
    tables = tiny()
    tables["diagnoses_icd"] = [[9, 99, 1, "I10", 10]]
    with pytest.raises(RawDataError, match=r"No stay of .* is left .*age >= 18: 2; with diagnoses: 0"):
        stays_of(tmp_path, tables)
