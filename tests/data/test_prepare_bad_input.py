"""`prepare` on damaged deliveries and impossible places: an error that says which file, and nothing that opens."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cardiozoo.data.disk_space import lacks_room
from cardiozoo.data.prepare.mimic_cxr_ehr import prepare
from cardiozoo.data.prepare.sources import source_facts
from cardiozoo.data.prepare.tables import write_table
from cardiozoo.data.readers.event_shelf import ArrayFile
from cardiozoo.data.readers.mimic_cxr import open_cxr, read_cxr
from cardiozoo.data.store import Store
from cardiozoo.errors import RawDataError, StoreError

FAST = {"workers": 1, "memory_gb": 1.0, "quiet": True}
TABLES = ["hosp/patients", "hosp/admissions", "icu/icustays", "hosp/diagnoses_icd", "icu/chartevents", "hosp/labevents"]
Change = Callable[[list[list[str]]], list[list[str]]]


@pytest.fixture
def release(mini_raw: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of MIMIC-IV to be damaged."""
    return Path(shutil.copytree(mini_raw[0], tmp_path / "raw"))


def change(path: Path, edit: Change) -> None:
    """Edit the rows of a table, the header included; none of its fields holds a comma."""
    rows = [line.split(",") for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    path.write_bytes(gzip.compress("".join(",".join(row) + "\n" for row in edit(rows)).encode()))


def column(name: str, edit: Callable[[str], str]) -> Change:
    def edit_rows(rows: list[list[str]]) -> list[list[str]]:
        place = rows[0].index(name)
        return [rows[0], *([*row[:place], edit(row[place]), *row[place + 1 :]] for row in rows[1:])]

    return edit_rows


def refused(release: Path, words: str) -> str:
    out = release.parent / "store"
    with pytest.raises(RawDataError, match=words) as caught:
        prepare(release, out, **FAST)
    assert all((caught.value.came, caught.value.accepted, caught.value.next_step))
    with pytest.raises(StoreError):
        Store.open(out)
    return str(caught.value)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("damage", ["checksum", "middle", "cut"])
def test_damaged_compressed_tables_are_noticed_whatever_the_engine_makes_of_them(
    table: str, damage: str, release: Path
) -> None:
    path = release / f"{table}.csv.gz"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[-4:]
    else:
        content[-7 if damage == "checksum" else len(content) // 2] ^= 0x15
    path.write_bytes(content)
    assert str(path) in refused(release, "cannot be read to its end")


@pytest.mark.parametrize("table", TABLES)
def test_a_header_alone_is_no_table(table: str, release: Path) -> None:
    change(release / f"{table}.csv.gz", lambda rows: rows[:1])
    assert f"{table}.csv.gz" in refused(release, "a header and no row")


def test_radiograph_tables_of_a_header_alone(mini_raw: tuple[Path, Path], tmp_path: Path) -> None:
    for kind in ("metadata", "chexpert"):
        folder = tmp_path / kind
        folder.mkdir()
        for table in mini_raw[1].glob("*.csv.gz"):
            shutil.copy(table, folder)
        change(next(folder.glob(f"*-{kind}.csv.gz")), lambda rows: rows[:1])
        with pytest.raises(RawDataError, match=f"{kind}.csv.gz holds a header and no row"):
            read_cxr(open_cxr(folder))


def test_checksums_of_files_in_several_members_padded_and_plain(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 10, 300_000).astype("U1")
    text = "\n".join(rows).encode()
    files = {
        "two": gzip.compress(text[:1000]) + gzip.compress(text[1000:]),
        "padded": gzip.compress(text) + bytes(700),
        "plain": text,
    }
    paths = {name: tmp_path / f"{name}.csv{'' if name == 'plain' else '.gz'}" for name in files}
    for name, path in paths.items():
        path.write_bytes(files[name])
    facts = {fact["table"]: fact for fact in source_facts(paths, workers=2)}
    for name, content in files.items():
        assert facts[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert facts[name]["bytes"] == len(content)
    for content in (files["two"][:-1], files["two"] + b"more", files["padded"][:500], b"\x1f\x8b"):
        paths["two"].write_bytes(content)
        with pytest.raises(RawDataError, match=r"two\.csv\.gz"):
            source_facts(paths, workers=1)


def test_no_event_that_can_be_used_is_an_error_that_says_why(release: Path) -> None:
    for table in ("icu/chartevents", "hosp/labevents"):
        change(release / f"{table}.csv.gz", column("charttime", lambda time: time.replace("2150", "1950")))
    message = refused(release, "Not one of the 41 stays")
    assert "outside the stay" in message and "not during a stay of the cohort" in message


def test_the_reason_for_an_empty_cohort_names_the_fields_that_could_not_be_read(release: Path) -> None:
    change(release / "icu/icustays.csv.gz", column("outtime", lambda time: f"on {time}"))
    assert "icustays: 46 outtime unreadable" in refused(release, "length known: 0")


def test_rows_that_break_a_table_are_not_quoted(release: Path) -> None:
    secret = "Mr Secretson"
    change(release / "icu/chartevents.csv.gz", lambda rows: [*rows, [secret, "1", "2"]])
    assert secret not in refused(release, "Expected Number of Columns")
    path = release / "icu/chartevents.csv.gz"
    change(path, lambda rows: column("value", lambda value: f"{secret} XX")(rows[:-1]))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"XX", b"\xb0")))
    assert secret not in refused(release, "Invalid unicode")


def test_identifiers_written_as_decimals_and_rows_without_one(
    release: Path, mini_raw: tuple[Path, Path], tmp_path: Path
) -> None:
    plain = Store.open(prepare(release, tmp_path / "plain", **FAST))
    for table in TABLES:
        for name in ("subject_id", "hadm_id", "stay_id"):
            path = release / f"{table}.csv.gz"
            if name in gzip.open(path, "rt").readline():
                change(path, column(name, lambda number: f"{number}.0"))
    change(release / "icu/icustays.csv.gz", lambda rows: [*rows, ["", "20000001.0", "39999999.0", *rows[1][3:]]])
    floats = Store.open(prepare(release, tmp_path / "floats", **FAST))
    assert floats.table("stays.parquet").equals(plain.table("stays.parquet"))
    assert np.array_equal(floats.array("events/value.npy"), plain.array("events/value.npy"))
    counts = floats.manifest["counts"]["ehr_tables"]["icustays"]
    assert counts["left out without a readable subject_id or hadm_id"] == 1


@pytest.mark.parametrize("place", ["file/store", "/", "/proc/none/store"])
def test_places_that_cannot_be_written(place: str, mini_raw: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        prepare(mini_raw[0], tmp_path / place, **FAST)
    assert all((caught.value.came, caught.value.accepted, caught.value.next_step))


def test_a_limit_met_while_a_table_is_read_is_not_blamed_on_the_table(
    mini_raw: tuple[Path, Path], tmp_path: Path
) -> None:
    size = 20_000
    code = (
        "import resource, sys; from cardiozoo.cli import main\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        "sys.exit(main(['prepare', 'mimic_cxr_ehr', '--mimic_iv', sys.argv[1], '--out', sys.argv[2]]))"
    )
    command = [sys.executable, "-c", code, str(mini_raw[0]), str(tmp_path / "store")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2 and "StoreError: The disk is full or a size limit" in result.stderr, result.stderr
    assert not (tmp_path / "store").exists()


def test_a_full_disk_is_noticed_by_every_kind_of_file(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    full = tmp_path / "full.npy"
    full.symlink_to("/dev/full")
    numbers = np.arange(100_000, dtype="<i4")
    array = ArrayFile(full, "<i4", tmp_path)
    array.append(numbers)
    for write in (
        array.close,
        lambda: write_table(pl.DataFrame({"a": numbers}), full),
        lambda: np.save(full, numbers),
    ):
        with pytest.raises(OSError) as caught:
            write()
        assert lacks_room(caught.value)


def test_an_array_file_is_what_numpy_would_have_written(tmp_path: Path) -> None:
    for kind in ("<i4", "|u1", "<f4"):
        for numbers in (np.arange(1000).astype(kind), np.zeros(0, dtype=kind)):
            array = ArrayFile(tmp_path / "a.npy", kind, tmp_path)
            array.append(numbers[:300])
            array.append(numbers[300:])
            array.close()
            np.save(tmp_path / "b.npy", numbers)
            assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
