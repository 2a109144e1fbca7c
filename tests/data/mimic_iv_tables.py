"""A tiny MIMIC-IV, table by table as lists of rows, that tests bend in one place and then read; and a slow reader.

Two patients: 1 (stay 31, 50 h, survives) and 2 (stay 32, 10 h, dies in the unit).
"""

from __future__ import annotations

import csv
import gzip
import io
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from cardiozoo.data.ehr import LEVELS, RANGES, VARIABLES
from cardiozoo.data.ehr_vocabulary import read_table
from cardiozoo.data.readers.mimic_iv import EhrOptions, Stays, open_release, read_stays, write_events

FOLDERS = {
    "patients": "hosp",
    "admissions": "hosp",
    "diagnoses_icd": "hosp",
    "labevents": "hosp",
    "icustays": "icu",
    "chartevents": "icu",
}
HEADERS = {
    "patients": "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
    "admissions": "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,race,hospital_expire_flag",
    "diagnoses_icd": "subject_id,hadm_id,seq_num,icd_code,icd_version",
    "labevents": "labevent_id,subject_id,hadm_id,itemid,charttime,storetime,value,valuenum,valueuom,comments",
    "icustays": "subject_id,hadm_id,stay_id,first_careunit,last_careunit,intime,outtime,los",
    "chartevents": "subject_id,hadm_id,stay_id,charttime,storetime,itemid,value,valuenum,valueuom,warning",
}

Tables = dict[str, list[list[Any]]]
Event = tuple[int, int, str, float]


def tiny() -> Tables:
    """The rows of each table, fresh."""
    unit = "Medical Intensive Care Unit (MICU)"
    return {
        "patients": [[1, "F", 50, 2150, "2011 - 2013", ""], [2, "M", 70, 2150, "2011 - 2013", "2152-03-02"]],
        "admissions": [
            [1, 21, "2152-01-01 00:00:00", "2152-01-09 12:00:00", "", "URGENT", "WHITE", 0],
            [2, 22, "2152-03-01 00:00:00", "2152-03-02 05:00:00", "2152-03-02 05:00:00", "URGENT", "OTHER", 1],
        ],
        "diagnoses_icd": [[1, 21, 1, "0389", 9], [1, 21, 2, "I10", 10], [2, 22, 1, "J9601", 10]],
        "labevents": [
            [1, 1, 21, 50931, "2152-01-02 11:00:00", "2152-01-02 12:00:00", "___", 140, "mg/dL", ""],
            [2, 1, "", 50931, "2152-01-02 13:00:00", "2152-01-02 14:00:00", "150", 150, "mg/dL", 'a, "b"\nc'],
            [3, 1, 21, 50931, "2152-01-01 09:00:00", "2152-01-01 12:00:00", "99", 99, "mg/dL", ""],
            [4, 2, 22, 50971, "2152-03-01 21:00:00", "2152-03-01 21:30:00", "4.1", 4.1, "mEq/L", ""],
        ],
        "icustays": [
            [1, 21, 31, unit, unit, "2152-01-02 10:00:00", "2152-01-04 12:00:00", 2.0833333],
            [2, 22, 32, unit, unit, "2152-03-01 20:00:00", "2152-03-02 06:00:00", 0.4166667],
        ],
        "chartevents": [
            [1, 21, 31, "2152-01-02 10:00:00", "", 220045, "80", 80, "bpm", 0],
            [1, 21, 31, "2152-01-02 11:00:00", "", 220045, "85", 85, "bpm", 0],
            [1, 21, 31, "2152-01-02 11:00:00", "", 220739, "None", 1, "", 0],
            [1, 21, 31, "2152-01-04 12:00:00", "", 223761, "98.6", 98.6, "°F", 0],
            [2, 22, 32, "2152-03-01 20:30:00", "", 220045, "120", 120, "bpm", 0],
        ],
    }


def text_of(table: str, rows: list[list[Any]], header: str | None = None) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([(header or HEADERS[table]).split(","), *rows])
    return text.getvalue()


def write(root: Path, tables: Tables, compress: bool = True) -> Path:
    """Writes the tables as a release of version 2.x; returns its folder."""
    for table, rows in tables.items():
        folder = root / FOLDERS[table]
        folder.mkdir(parents=True, exist_ok=True)
        text = text_of(table, rows).encode()
        path = folder / f"{table}.csv{'.gz' if compress else ''}"
        path.write_bytes(gzip.compress(text, mtime=0) if compress else text)
    return root


#: The events of the tiny release: (stay_id, second, variable, value).
BASE: list[Event] = [
    (31, 0, "Heart Rate", 80.0),
    (31, 3600, "Glascow coma scale eye opening", float(LEVELS[3].index("None"))),
    (31, 3600, "Glucose", 140.0),
    (31, 3600, "Heart Rate", 85.0),
    (31, 10800, "Glucose", 150.0),
    (31, 180000, "Temperature", 37.0),
    (32, 1800, "Heart Rate", 120.0),
]


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


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def slow_events(root: Path, stay_ids: list[int], published: bool) -> dict[tuple[int, int, int], float]:
    """(stay, second, variable) -> value, row by row in plain Python, under the default or the published options."""
    groups = {"published", "urine"} if published else {"published", "added"}
    rules = {(r["table"], r["itemid"]): r for r in read_table("ehr_items.csv") if r["group"] in groups}
    number_of = {stay_id: number for number, stay_id in enumerate(stay_ids)}
    stays = defaultdict(list)
    for row in _rows(root / "icu" / "icustays.csv.gz"):
        if int(row["stay_id"]) in number_of:
            window = (datetime.fromisoformat(row["intime"]), datetime.fromisoformat(row["outtime"]))
            stays[row["subject_id"]].append((row["stay_id"], row["hadm_id"], *window))
    candidates: dict[tuple[int, int, int], list[tuple[Any, float]]] = defaultdict(list)
    for table, folder in (("chartevents", "icu"), ("labevents", "hosp")):
        for row in _rows(root / folder / f"{table}.csv.gz"):
            rule = rules.get((table, row["itemid"]))
            if rule is None:
                continue
            time = datetime.fromisoformat(row["charttime"])
            for stay_id, hadm, start, end in stays[row["subject_id"]]:
                linked = {
                    "chartevents": row.get("stay_id") == stay_id,
                    "labevents": row["hadm_id"] == hadm or not published,
                }[table]
                if not linked or not start <= time <= end:
                    continue
                found = _value(rule, row, published)
                if found is not None:
                    key = (number_of[int(stay_id)], int((time - start).total_seconds()), int(rule["variable"]))
                    candidates[key].append(found)
    return {key: max(found)[1] for key, found in candidates.items()}


def _value(rule: dict[str, str], row: dict[str, str], published: bool) -> tuple[Any, float] | None:
    """(what is compared at equal times, value in the variable's unit) of one row, None if it has no usable value."""
    variable = int(rule["variable"])
    if variable in LEVELS:
        text = row["value"]
        return (text, float(LEVELS[variable].index(text))) if text in LEVELS[variable] else None
    number = _number(row["value"]) if published else _number(row["valuenum"] or row["value"])
    if number is None:
        return None
    name = VARIABLES[variable]
    if name == "Fraction inspired oxygen" and (published or number > 1):
        number /= 100
    elif name == "Oxygen saturation" and number <= 1:
        number *= 100
    elif name == "Temperature" and number >= 79:
        number = (number - 32) * 5 / 9
    elif name == "Weight" or (name == "Height" and not published):
        number *= float(rule["factor"])
    if published:
        lexical = name in ("Heart Rate", "Respiratory rate", "Mean blood pressure")
        return (row["value"] if lexical else number), number
    low, valid_low, valid_high, high = RANGES[variable]
    if not low <= number <= high:
        return None
    number = min(max(number, valid_low), valid_high)
    return number, number
