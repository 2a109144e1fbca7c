"""The MIMIC-IV reader on rows that are repeated, contradictory, absurd or not understood: excluded, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mimic_iv_tables import BASE, events_of, stays_of, tiny

from cardiozoo.data.readers.mimic_iv import Stays


def excluded(stays: Stays) -> dict[str, int]:
    return {step["step"]: step["excluded"] for step in stays.flow if step["excluded"]}


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
