"""The MIMIC-IV reader on tables that are missing, renamed, cut short, repeated, contradictory or absurd.

Each is either an error that says what to do, or an exclusion that is counted with its reason.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mimic_iv_tables import FOLDERS, HEADERS, Tables, text_of, tiny, write

from cardiozoo.data.ehr import LEVELS, VARIABLES
from cardiozoo.data.readers.mimic_iv import EhrOptions, Stays, open_release, read_stays, write_events
from cardiozoo.errors import RawDataError

Event = tuple[int, int, str, float]


def stays_of(root: Path, tables: Tables, **options: Any) -> Stays:
    return read_stays(open_release(write(root / "iv", tables)), EhrOptions(**options))


def events_of(root: Path, tables: Tables | None = None, **options: Any) -> tuple[list[Event], dict[str, Any]]:
    """Events as (stay_id, second, variable, value), and the counts."""
    if tables is not None:
        root = write(root / "iv", tables)
    release, choices = open_release(root), EhrOptions(**options)
    table = read_stays(release, choices).table
    out = root.parent / "events"
    counts = write_events(release, table, choices, out, memory_gb=0.5, threads=1)["counts"]
    offsets, seconds, variable, value = (np.load(out / f"{n}.npy") for n in ("offsets", "seconds", "variable", "value"))
    stay = np.repeat(table["stay_id"].to_numpy(), np.diff(offsets)).tolist()
    names = [VARIABLES[v] for v in variable]
    return list(zip(stay, seconds.tolist(), names, value.tolist(), strict=True)), counts


def excluded(stays: Stays) -> dict[str, int]:
    return {step["step"]: step["excluded"] for step in stays.flow if step["excluded"]}


BASE: list[Event] = [
    (31, 0, "Heart Rate", 80.0),
    (31, 3600, "Glascow coma scale eye opening", float(LEVELS[3].index("None"))),
    (31, 3600, "Glucose", 140.0),
    (31, 3600, "Heart Rate", 85.0),
    (31, 10800, "Glucose", 150.0),
    (31, 180000, "Temperature", 37.0),
    (32, 1800, "Heart Rate", 120.0),
]


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


# --- counted exclusions: stays -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "step"),
    [
        ("icustays", 1, 4, "Another unit", "without unit transfer"),
        ("icustays", 1, 4, "", "without unit transfer"),
        ("icustays", 1, 1, 99, "admission on file"),
        ("admissions", 1, 0, 9, "admission on file"),
        ("patients", 1, 0, 9, "patient on file"),
        ("icustays", 1, 6, "", "length known"),
        ("icustays", 1, 5, "yesterday", "length known"),
        ("icustays", 1, 5, "2152-13-45 00:00:00", "length known"),
        ("icustays", 1, 7, "", "length known"),
        ("icustays", 1, 6, "2152-03-01 19:00:00", "length possible"),
        ("icustays", 1, 6, "2952-03-01 19:00:00", "length possible"),
        ("patients", 1, 2, "", "age possible"),
        ("patients", 1, 2, "old", "age possible"),
        ("patients", 1, 2, 250, "age possible"),
        ("patients", 1, 3, 2170, "age >= 18"),
        ("patients", 1, 2, 15, "age >= 18"),
        ("diagnoses_icd", 2, 1, 99, "with diagnoses"),
    ],
)
def test_stays_that_cannot_enter(table: str, row: int, column: int, value: Any, step: str, tmp_path: Path) -> None:
    tables = tiny()
    tables[table][row][column] = value
    if (table, column, value) == ("patients", 3, 2170):
        tables["patients"][1][2] = 30  # 30 in 2170, so 12 in 2152
    stays = stays_of(tmp_path, tables)
    assert stays.table["stay_id"].to_list() == [31] and excluded(stays) == {step: 1}


def test_single_stay_is_counted_after_or_before_the_transfers(tmp_path: Path) -> None:
    tables = tiny()
    second = [1, 21, 33, "A", "B", "2152-01-05 10:00:00", "2152-01-06 10:00:00", 1.0]
    tables["icustays"].append(second)
    assert stays_of(tmp_path, tables).table["stay_id"].to_list() == [31, 32]
    assert stays_of(tmp_path, tables, one_stay="before_transfer").table["stay_id"].to_list() == [32]
    second[4] = "A"
    stays = stays_of(tmp_path, tables)
    assert stays.table["stay_id"].to_list() == [32] and excluded(stays) == {"single stay of the admission": 2}


def test_repeated_rows_count_once_and_contradictory_ones_not_at_all(tmp_path: Path) -> None:
    tables = tiny()
    for table in ("icustays", "admissions", "patients"):
        tables[table] += tables[table]
    stays = stays_of(tmp_path, tables)
    assert stays.table["stay_id"].to_list() == [31, 32]
    assert [stays.counts[t]["repeated"] for t in ("icustays", "admissions", "patients")] == [2, 2, 2]
    tables = tiny()
    tables["icustays"].append([*tables["icustays"][1][:-1], 99])
    stays = stays_of(tmp_path, tables)
    assert stays.table["stay_id"].to_list() == [31]
    assert stays.counts["icustays"]["contradicting another row of their stay_id"] == 2


def test_deaths(tmp_path: Path) -> None:
    tables = tiny()
    tables["admissions"][1][4] = ""  # the flag alone, without a time
    stays = stays_of(tmp_path, tables)
    assert stays.table["mortality"].to_list() == [False, True] and stays.table["death_hours"].to_list() == [None, None]
    assert stays.counts["deaths without a time"] == 1
    tables["admissions"][1][7] = 0  # a date of death on the day of discharge, at home
    assert stays_of(tmp_path, tables).table["mortality"].to_list() == [False, False]
    assert stays_of(tmp_path, tables, mortality="published").table["mortality"].to_list() == [False, True]
    tables["admissions"][1][4] = "2152-03-02 04:00:00"  # a time within the admission without the flag
    assert stays_of(tmp_path, tables).table["death_hours"].to_list() == [None, 8.0]


def test_unreadable_fields_are_counted(tmp_path: Path) -> None:
    tables = tiny()
    tables["patients"][0][1] = "?"
    tables["admissions"][0][6] = ""
    tables["admissions"][0][4] = "never"
    tables["icustays"].append(["x", 21, "y", "A", "A", "", "", ""])
    stays = stays_of(tmp_path, tables)
    assert stays.table["sex"].to_list() == ["U", "M"] and stays.counts["sex not on file"] == 1
    assert stays.table["race"].to_list() == ["UNKNOWN", "OTHER"]
    assert stays.counts["admissions"]["deathtime unreadable"] == 1
    assert stays.counts["icustays"]["without a readable stay_id"] == 1


def test_diagnosis_codes(tmp_path: Path) -> None:
    tables = tiny()
    tables["diagnoses_icd"] = [
        [1, 21, 1, "389", 9],
        [1, 21, 2, "4280 ", "9.0"],
        [1, 21, 3, "e780", 10],
        [1, 21, 4, "Q9Z9", 10],
        [1, 21, 5, "I10", 8],
        [1, 21, 6, "", 10],
        [1, 21, 7, "4280 ", "9.0"],
        [2, 22, 1, "None", 10],
    ]
    stays = stays_of(tmp_path, tables)
    columns = stays.table.select(pl.selectors.starts_with("phenotype/"))
    assert [np.flatnonzero(row).tolist() for row in columns.rows()] == [[8, 12, 23], []]
    found = stays.counts["diagnoses_icd"]
    assert {name: found[name] for name in found if name.startswith("diagnoses ")} == {
        "diagnoses family": 1,
        "diagnoses listed": 1,
        "diagnoses neither ICD-9 nor ICD-10": 1,
        "diagnoses unmapped": 2,
        "diagnoses without a code": 1,
        "diagnoses zeros restored": 1,
    }
    assert found["most frequent codes zeros restored"] == {"ICD-9 389": 1}
    assert found["most frequent codes unmapped"] == {"ICD-10 None": 1, "ICD-10 Q9Z9": 1}
    assert (found["rows"], found["repeated"], found["ICD-9 codes that begin with a zero"]) == (8, 1, 0)


# --- counted exclusions: events ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return events_of(tmp_path_factory.mktemp("tiny"), tiny())[1]


@pytest.mark.parametrize(
    ("item", "value", "number", "unit", "time", "reason"),
    [
        (999999, "80", 80, "bpm", "11:30:00", "of other items"),
        ("220045.0", "80", 80, "bpm", "11:30:00", "of other items"),
        (220045, "80", 80, "bpm", "", "without a readable time"),
        (220045, "80", 80, "bpm", "late", "without a readable time"),
        (220045, "80", 80, "bpm", "09:59:59", "outside the stay"),
        (220045, "80", 80, "per fortnight", "11:30:00", "unit not in use for the item"),
        (226512, "180", 180, "lb", "11:30:00", "unit not in use for the item"),
        (220045, "", "", "bpm", "11:30:00", "no value"),
        (220045, "fast", "", "bpm", "11:30:00", "no number"),
        (220045, "nan", "inf", "bpm", "11:30:00", "no number"),
        (225664, ">1000", "", "mg/dL", "11:30:00", "no number"),
        (220739, "Half open", 3, "", "11:30:00", "unknown text"),
        (220052, "801", 801, "mmHg", "11:30:00", "beyond the outlier bounds"),
        (220052, "-23", -23, "mmHg", "11:30:00", "beyond the outlier bounds"),
        (220045, "999999", 999999, "bpm", "11:30:00", "beyond the outlier bounds"),
    ],
)
def test_events_that_do_not_count(
    item: Any, value: str, number: Any, unit: str, time: str, reason: str, tiny_counts: dict[str, Any], tmp_path: Path
) -> None:
    tables = tiny()
    before = tiny_counts["chartevents"]
    moment = f"2152-01-02 {time}" if ":" in time else time
    tables["chartevents"].insert(0, [1, 21, 31, moment, "", item, value, number, unit, 0])
    events, counts = events_of(tmp_path, tables)
    assert events == BASE
    after = counts["chartevents"]
    assert {k: after[k] - before[k] for k in before if isinstance(before[k], int) and after[k] != before[k]} == {
        "rows": 1,
        reason: 1,
    }
    if reason.startswith("unit"):
        assert after["most frequent units not in use"] == {f"{item} {unit}": 1}
    if reason in ("no number", "unknown text"):
        assert after["most frequent texts not understood"] == {f"{item} {value}": 1}


def test_rows_of_no_stay_or_an_unreadable_one(tmp_path: Path) -> None:
    tables = tiny()
    for stay in (77, "", "x"):
        tables["chartevents"].append([1, 21, stay, "2152-01-02 11:30:00", "", 220045, "80", 80, "bpm", 0])
    events, counts = events_of(tmp_path, tables)
    assert events == BASE and counts["chartevents"]["of other stays"] == 3
    for row in tables["chartevents"]:
        row[2] = f"{row[2]}.0"  # ids that went through a table of floats
    assert events_of(tmp_path, tables)[0] == BASE


def test_repeated_rows_and_several_values_at_one_time(tmp_path: Path) -> None:
    tables = tiny()
    tables["chartevents"] *= 2
    tables["labevents"] *= 3
    events, counts = events_of(tmp_path, tables)
    assert events == BASE and counts["repeated rows"] == 5 + 2 * 2 and counts["other values at the same time"] == 0
    tables = tiny()
    tables["chartevents"].append([1, 21, 31, "2152-01-02 11:00:00", "", 220045, "90", 90, "bpm", 0])
    tables["chartevents"].append([1, 21, 31, "2152-01-02 11:00:00", "", 220045, "999", 999, "bpm", 0])
    events, counts = events_of(tmp_path, tables)  # the outlier does not hide the good value
    assert (31, 3600, "Heart Rate", 90.0) in events and counts["other values at the same time"] == 1


def test_values_read_in_other_ways(tmp_path: Path) -> None:
    tables = tiny()
    at = "2152-01-02 11:30:00"
    tables["chartevents"] = [
        [1, 21, 31, at, "", 220050, "120/80", "", "mmHg", 0],
        [1, 21, 31, at, "", 220051, "120/80", "", "mmHg", 0],
        [1, 21, 31, at, "", 223951, "Abnormal >3 Seconds", "", "", 0],
        [1, 21, 31, at, "", 226707, "70", 70, "Inch", 0],
        [1, 21, 31, at, "", 226531, "0", 0, "", 0],
        [1, 21, 31, at, "", 223835, "", 50, "", 0],
        [1, 21, 31, at, "", 220277, " 97 ", "", "%", 0],
        [1, 21, 31, "2152-01-04 12:00:00", "", 220045, "1e2", "", "BPM ", 0],
        [1, 21, 31, "2152-01-04 12:00:01", "", 220045, "80", 80, "bpm", 0],
    ]
    events, _ = events_of(tmp_path, tables)
    assert [e for e in events if e[2] != "Glucose"] == [
        (31, 5400, "Capillary refill rate", 1.0),
        (31, 5400, "Diastolic blood pressure", 80.0),
        (31, 5400, "Fraction inspired oxygen", 0.5),
        (31, 5400, "Height", float(np.float32(177.8))),
        (31, 5400, "Oxygen saturation", 97.0),
        (31, 5400, "Systolic blood pressure", 120.0),
        (31, 5400, "Weight", 0.0),
        (31, 180000, "Heart Rate", 100.0),
    ]
    published, _ = events_of(tmp_path, tables, items="published", height="as_charted", zeros="missing")
    assert {e[2] for e in events} - {e[2] for e in published} == {"Capillary refill rate", "Weight"}
    assert (31, 5400, "Height", 70.0) in published
    by_item, _ = events_of(
        tmp_path, {**tables, "chartevents": [[1, 21, 31, at, "", 226512, "80", 80, "lb", 0]]}, units="item"
    )
    assert (31, 5400, "Weight", 80.0) in by_item


def test_lab_values_of_touching_stays_and_overlapping_ones(tmp_path: Path) -> None:
    tables = tiny()
    # a second admission of patient 1 whose stay begins at the second when the first one ends
    tables["admissions"].append([1, 23, "2152-01-04 00:00:00", "2152-01-20 00:00:00", "", "URGENT", "WHITE", 0])
    tables["icustays"].append([1, 23, 33, "A", "A", "2152-01-04 12:00:00", "2152-01-06 12:00:00", 2.0])
    tables["diagnoses_icd"].append([1, 23, 1, "I10", 10])
    tables["labevents"].append([9, 1, 23, 50931, "2152-01-04 12:00:00", "", "111", 111, "mg/dL", ""])
    events, counts = events_of(tmp_path, tables)
    assert [e for e in events if e[3] == 111] == [(31, 180000, "Glucose", 111.0), (33, 0, "Glucose", 111.0)]
    assert counts["labevents"]["kept, gained by linking by time"] == 2
    by_admission, _ = events_of(tmp_path, tables, lab_link="hadm")
    assert [e for e in by_admission if e[3] == 111] == [(33, 0, "Glucose", 111.0)]
