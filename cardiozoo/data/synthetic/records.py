"""The administrative record: dates, ids, admissions, stays and diagnoses, as rows of the hospital's tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from cardiozoo.data.synthetic import tables
from cardiozoo.data.synthetic.conditions import diagnosis_codes
from cardiozoo.data.synthetic.outcomes import Outcomes
from cardiozoo.data.synthetic.patient import ADMISSION_SLOTS, MAX_ADMISSIONS, Patients, Stays
from cardiozoo.data.synthetic.streams import IdKind, Modality, draws, identify, stream

DAY, HOUR, MINUTE = 86400, 3600, 60
FIRST_YEAR, LAST_YEAR = 2110, 2200
WARD_ADMISSION = 2 * MAX_ADMISSIONS
"""Slot of the admission without intensive care; slots 3 to 5 are second stays."""

RACES = (
    ("WHITE", 0.66), ("BLACK/AFRICAN AMERICAN", 0.12), ("UNKNOWN", 0.06), 
    ("HISPANIC/LATINO - PUERTO RICAN", 0.03), ("ASIAN", 0.03),
    ("OTHER", 0.04), ("PORTUGUESE", 0.02), ("UNABLE TO OBTAIN", 0.02), ("WHITE - OTHER EUROPEAN", 0.02),
)  # fmt: skip
CARE_UNITS = (
    "Medical Intensive Care Unit (MICU)", "Surgical Intensive Care Unit (SICU)",
    "Cardiac Vascular Intensive Care Unit (CVICU)",
    "Medical/Surgical Intensive Care Unit (MICU/SICU)", "Trauma SICU (TSICU)", "Coronary Care Unit (CCU)",
    "Neuro Surgical Intensive Care Unit (Neuro SICU)",
)  # fmt: skip
YEAR_GROUPS = ("2008 - 2010", "2011 - 2013", "2014 - 2016", "2017 - 2019")
ADMISSION_TYPES = ("EW EMER.", "URGENT", "OBSERVATION ADMIT", "SURGICAL SAME DAY ADMISSION", "ELECTIVE", "DIRECT EMER.")
INSURANCE = ("Medicare", "Other", "Medicaid")
MARITAL = ("MARRIED", "SINGLE", "WIDOWED", "DIVORCED")


@dataclass
class Calendar:
    """Seconds since 1970 of each admission (S,), and what is known of each patient (N,)."""

    subject_id: np.ndarray  # (N,)
    anchor_year: np.ndarray  # (N,)
    uniforms: np.ndarray  # (N, 12)
    hadm_id: np.ndarray
    admit: np.ndarray
    intime: np.ndarray
    outtime: np.ndarray
    discharge: np.ndarray
    death: np.ndarray  # -1 for survivors


@dataclass
class Units:
    """Stays in intensive care, one row each: the main one of every admission, and a second one of some."""

    parent: np.ndarray  # row in Stays
    number: np.ndarray  # below 3 for main stays, 3 more for second ones
    stay_id: np.ndarray
    intime: np.ndarray
    outtime: np.ndarray
    transferred: np.ndarray
    silent: np.ndarray  # nothing was charted

    def __len__(self) -> int:
        return len(self.parent)


def make_calendar(seed: int, patients: Patients, stays: Stays, outcomes: Outcomes) -> Calendar:
    """Dates between 2110 and 2205: the first admission in the anchor year, others one to twenty months later."""
    _, flat = draws(seed, patients.index, Modality.RECORDS, 0, normals=0, uniforms=12)
    _, wait = draws(seed, stays.index, Modality.RECORDS, 1, normals=0, uniforms=4, parts=stays.number)
    year = FIRST_YEAR + (flat[:, 0] * (LAST_YEAR - FIRST_YEAR)).astype(np.int64)
    start = (year - 1970).astype("datetime64[Y]").astype("datetime64[s]").astype(np.int64)
    admit = np.zeros(len(stays), dtype=np.int64)
    before = (outcomes.ward_before * HOUR).astype(np.int64)
    after = (outcomes.ward_after * HOUR).astype(np.int64)
    los = (outcomes.los_hours * HOUR).astype(np.int64)
    hour_of_day = (wait[:, 0] * DAY).astype(np.int64)
    for number in range(MAX_ADMISSIONS):  # a readmission starts from the discharge before it
        rows = np.flatnonzero(stays.number == number)
        if number == 0:
            day = (flat[stays.patient[rows], 1] * 360.0).astype(np.int64) * DAY + start[stays.patient[rows]]
        else:
            discharge = admit[rows - 1] + before[rows - 1] + los[rows - 1] + after[rows - 1]
            day = (discharge // DAY + 30 + (wait[rows, 1] * 570.0).astype(np.int64)) * DAY
        admit[rows] = (day + hour_of_day[rows]) // MINUTE * MINUTE
    intime = admit + before
    outtime = intime + los
    death = np.where(
        outcomes.dies, (intime + np.where(outcomes.dies, outcomes.death_hours, 0.0) * HOUR).astype(np.int64), -1
    )
    death = np.where(death >= 0, death // MINUTE * MINUTE, -1)
    discharge = np.where(death >= 0, death, (outtime + after) // MINUTE * MINUTE)
    return Calendar(
        subject_id=identify(seed, IdKind.PATIENT, patients.index),
        anchor_year=year,
        uniforms=flat,
        hadm_id=identify(seed, IdKind.ADMISSION, stays.index * ADMISSION_SLOTS + stays.number),
        admit=admit,
        intime=intime,
        outtime=np.where((death >= 0) & (death < outtime), death, outtime),
        discharge=discharge,
        death=death,
    )


def make_units(seed: int, stays: Stays, outcomes: Outcomes, calendar: Calendar, scale: float) -> Units:
    """Stays of all admissions; dirt is transfers (6 %), second stays (4 %), empty stays (.5 %), times ``scale``."""
    _, chance = draws(seed, stays.index, Modality.DIRT, 1, normals=0, uniforms=6, parts=stays.number)
    room = calendar.discharge - calendar.outtime
    second = np.flatnonzero((chance[:, 0] < 0.04 * scale) & (room > 30 * HOUR) & ~outcomes.dies)
    start = calendar.outtime[second] + 4 * HOUR
    length = (room[second] * (0.3 + 0.4 * chance[second, 1])).astype(np.int64)
    parent = np.concatenate([np.arange(len(stays)), second])
    number = np.concatenate([stays.number, stays.number[second] + MAX_ADMISSIONS])
    main = np.arange(len(parent)) < len(stays)
    return Units(
        parent=parent,
        number=number,
        stay_id=identify(seed, IdKind.STAY, stays.index[parent] * ADMISSION_SLOTS + number),
        intime=np.concatenate([calendar.intime, start]),
        outtime=np.concatenate([calendar.outtime, np.minimum(start + length, calendar.discharge[second])]),
        # of two stays the second is the transfer, and the admission keeps one that counts
        transferred=(chance[parent, 2] < 0.06 * scale) & (~main | ~np.isin(parent, second)),
        silent=(chance[parent, 3] < 0.005 * scale) & main,
    )


def patients_table(patients: Patients, stays: Stays, outcomes: Outcomes, calendar: Calendar) -> pl.DataFrame:
    """hosp/patients; age in the anchor year, 91 for all above 89; ``dod`` is a date, also of deaths at home."""
    last = np.flatnonzero(np.append(stays.patient[1:] != stays.patient[:-1], True))
    at_home = np.isfinite(outcomes.home_death_days[last])
    home = calendar.discharge[last] + (np.where(at_home, outcomes.home_death_days[last], 0.0) * DAY).astype(np.int64)
    dead = np.where(calendar.death[last] >= 0, calendar.death[last], np.where(at_home, home, -1))
    in_hospital = np.flatnonzero(calendar.death >= 0)
    dead[stays.patient[in_hospital]] = calendar.death[in_hospital]
    age = np.floor(patients.age).astype(np.int64)
    group = (calendar.uniforms[:, 2] * len(YEAR_GROUPS)).astype(int)
    return pl.DataFrame(
        {
            "subject_id": calendar.subject_id,
            "gender": np.where(patients.male, "M", "F"),
            "anchor_age": np.where(age > 89, 91, age),
            "anchor_year": calendar.anchor_year,
            "anchor_year_group": [YEAR_GROUPS[row] for row in group],
            "dod": tables.moments(dead).cast(pl.Date),
        }
    )


def admissions_table(stays: Stays, calendar: Calendar) -> pl.DataFrame:
    """hosp/admissions, one row an admission with intensive care."""
    person = calendar.uniforms[stays.patient]
    dead = calendar.death >= 0
    emergency = person[:, 3] < 0.6
    place = np.where(
        dead, "DIED", _choose(person[:, 6], ("HOME", "HOME HEALTH CARE", "SKILLED NURSING FACILITY", "REHAB"))
    )
    return pl.DataFrame(
        {
            "subject_id": calendar.subject_id[stays.patient],
            "hadm_id": calendar.hadm_id,
            "admittime": tables.moments(calendar.admit),
            "dischtime": tables.moments(calendar.discharge),
            "deathtime": tables.moments(calendar.death),
            "admission_type": np.where(emergency, ADMISSION_TYPES[0], _choose(person[:, 4], ADMISSION_TYPES[1:])),
            "admit_provider_id": [f"P{int(1000 + 8999 * chance):04d}S" for chance in person[:, 5]],
            "admission_location": np.where(emergency, "EMERGENCY ROOM", "PHYSICIAN REFERRAL"),
            "discharge_location": place,
            "insurance": _choose(person[:, 7], INSURANCE),
            "language": np.where(person[:, 8] < 0.9, "ENGLISH", "?"),
            "marital_status": _choose(person[:, 9], MARITAL),
            "race": _weighted(person[:, 10], RACES),
            "edregtime": tables.moments(np.where(emergency, calendar.admit - 5 * HOUR, -1)),
            "edouttime": tables.moments(np.where(emergency, calendar.admit + HOUR, -1)),
            "hospital_expire_flag": dead.astype(np.int64),
        }
    )


def ward_admissions(seed: int, patients: Patients, calendar: Calendar) -> tuple[pl.DataFrame, pl.DataFrame]:
    """An earlier admission without intensive care of one patient in ten, its diagnoses outside all phenotypes."""
    rows = np.flatnonzero(calendar.uniforms[:, 11] < 0.1)
    admit = (np.array([f"{year - 1}-03-01" for year in calendar.anchor_year[rows]], "datetime64[s]")).astype(np.int64)
    admit = admit + (patients.index[rows] % 90) * DAY + 9 * HOUR
    hadm = identify(seed, IdKind.ADMISSION, patients.index[rows] * ADMISSION_SLOTS + WARD_ADMISSION)
    table = pl.DataFrame({"subject_id": calendar.subject_id[rows], "hadm_id": hadm}).with_columns(
        pl.lit("ELECTIVE").alias("admission_type"),
        pl.lit(0, dtype=pl.Int64).alias("hospital_expire_flag"),
        pl.Series("admittime", tables.moments(admit)),
        pl.Series("dischtime", tables.moments(admit + 2 * DAY)),
        pl.Series("race", _weighted(calendar.uniforms[rows, 10], RACES), dtype=pl.String),
        *(pl.lit(None, dtype=pl.Datetime("us")).alias(name) for name in ("deathtime", "edregtime", "edouttime")),
        *(pl.lit(None, dtype=pl.String).alias(name) for name in tables.ADMISSIONS if name in _OPTIONAL),
    )
    lists = [
        diagnosis_codes(
            np.zeros(25, dtype=bool), 10, False, stream(seed, int(patients.index[row]), Modality.RECORDS, 3)
        )
        for row in rows
    ]
    return table.select(tables.ADMISSIONS), diagnoses_table(
        calendar.subject_id[rows], hadm, lists, np.full(len(rows), 10)
    )


_OPTIONAL = ("admit_provider_id", "admission_location", "discharge_location", "insurance", "language", "marital_status")


def stays_table(stays: Stays, calendar: Calendar, units: Units) -> pl.DataFrame:
    """icu/icustays; a transferred patient leaves from another unit than the first."""
    person = calendar.uniforms[stays.patient[units.parent]]
    first = (person[:, 4] * len(CARE_UNITS)).astype(int)
    last = np.where(units.transferred, (first + 1) % len(CARE_UNITS), first)
    return pl.DataFrame(
        {
            "subject_id": calendar.subject_id[stays.patient[units.parent]],
            "hadm_id": calendar.hadm_id[units.parent],
            "stay_id": units.stay_id,
            "first_careunit": [CARE_UNITS[row] for row in first],
            "last_careunit": [CARE_UNITS[row] for row in last],
            "intime": tables.moments(units.intime),
            "outtime": tables.moments(units.outtime),
            "los": (units.outtime - units.intime) / DAY,
        }
    )


def diagnoses_table(subject: np.ndarray, hadm: np.ndarray, lists: list[list[str]], version: np.ndarray) -> pl.DataFrame:
    """hosp/diagnoses_icd from one list of codes an admission."""
    counts = np.array([len(codes) for codes in lists], dtype=np.int64)
    rows = np.repeat(np.arange(len(lists)), counts)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64) if len(lists) else np.zeros(0, np.int64)
    return pl.DataFrame(
        {
            "subject_id": subject[rows],
            "hadm_id": hadm[rows],
            "seq_num": np.arange(len(rows)) - starts[rows] + 1,
            "icd_code": pl.Series([code for codes in lists for code in codes], dtype=pl.String),
            "icd_version": version[rows].astype(np.int64),
        }
    )


def _choose(chance: np.ndarray, options: tuple[str, ...]) -> np.ndarray:
    return np.array(options)[(chance * len(options)).astype(int)]


def _weighted(chance: np.ndarray, options: tuple[tuple[str, float], ...]) -> np.ndarray:
    edges = np.cumsum([weight for _, weight in options])
    return np.array([name for name, _ in options])[
        np.minimum(np.searchsorted(edges, chance * edges[-1], side="right"), len(options) - 1)
    ]
