"""From MIMIC-IV tables to the cohort: which stays, with which labels, and why the others are not among them.

The order of the steps matters and is that of the published extraction: stays without a transfer between units, whose
admission and patient are on file, the only such stay of their admission, of an adult, with diagnoses.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import duckdb
import polars as pl

from cardiozoo.data.ehr_options import EhrOptions
from cardiozoo.data.icd import PHENOTYPES, code_map
from cardiozoo.data.readers.mimic_iv_release import Release, TableFile, connect, fetch, read_text, reading
from cardiozoo.errors import RawDataError

__all__ = ["Stays", "read_stays"]

_LONGEST_HOURS = 366 * 24.0  # the longest stay on record is well below; a year typed wrong is far above
_OLDEST = 130
_SHOWN = 20


@dataclass
class Stays:
    """The cohort before its events are read.

    Attributes:
        table: One row a stay, sorted by (subject_id, intime, stay_id): subject_id, hadm_id, stay_id (int64), sex (F, M
            or U where not on file), age (years), race, intime, outtime, los_hours, mortality (died in hospital),
            death_hours (since intime; null for survivors or where only a date is known), icu_mortality, and 25
            columns ``phenotype/<name>`` (bool).
        flow: One entry a step: step, stays, admissions, patients, deaths (admissions that end in death), images (None),
            excluded (stays), reason.
        counts: What was found on the way: repeated and contradictory rows, fields that could not be read, ICD codes by
            the way they were mapped.
    """

    table: pl.DataFrame
    flow: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)


def read_stays(release: Release, options: EhrOptions | None = None) -> Stays:
    """Reads the four small tables and applies the rules of the cohort.

    Args:
        release: From ``open_release``.
        options: The choices; the defaults where None.

    Raises:
        RawDataError: A table that cannot be read to its end, or a cohort without a single stay.
    """
    options = options or EhrOptions()
    counts: dict[str, Any] = {}
    with connect(2.0) as connection:
        cohort = _read_cohort(connection, release, options, counts)
    if cohort.table.is_empty():
        last = "; ".join(f"{step['step']}: {step['stays']}" for step in cohort.flow[1:])
        unreadable = [
            f"{table}: {count} {what}"
            for table, found in counts.items()
            for what, count in found.items()
            if "readable" in what and count
        ]
        last += "".join(f"; {line}" for line in unreadable)
        raise RawDataError(
            f"No stay of {release.root} is left ({last}).",
            "Accepted: tables that belong together and hold at least one adult's stay.",
            "Look at the step where the stays end.",
        )
    bits = [
        ((pl.col("phenotypes") // (1 << number)) % 2 == 1).alias(f"phenotype/{name}")
        for number, name in enumerate(PHENOTYPES)
    ]
    columns = ["subject_id", "hadm_id", "stay_id", "sex", "age", "race", "intime", "outtime", "los_hours"]
    columns += ["mortality", "death_hours", "icu_mortality"]
    table = cohort.table.select(*columns, *bits).sort("subject_id", "intime", "stay_id")
    counts["deaths without a time"] = table.filter(pl.col("mortality") & pl.col("death_hours").is_null()).height
    counts["sex not on file"] = table.filter(pl.col("sex") == "U").height
    told = cohort.table["los"] * 24
    counts["length differs from its times by over a minute"] = int(
        ((told - cohort.table["los_hours"]).abs() > 1 / 60).sum()
    )
    return Stays(table, cohort.flow, counts)


def _read_cohort(
    connection: duckdb.DuckDBPyConnection, release: Release, options: EhrOptions, counts: dict[str, Any]
) -> _Cohort:
    """The four tables, joined and thinned out."""
    patients = _read_patients(_unique(connection, release.tables["patients"], "subject_id", counts), counts)
    admissions = _read_admissions(_unique(connection, release.tables["admissions"], "hadm_id", counts), counts)
    stays = _read_icustays(_unique(connection, release.tables["icustays"], "stay_id", counts), counts)
    first = _admissions_step(admissions.join(patients, on="subject_id", how="left"), options)
    cohort = _Cohort(_label_outcomes(stays, admissions, patients, options), [first])
    cohort.enter("ICU stays")
    cohort = _choose(cohort, options)
    coded = _read_phenotypes(connection, release.tables["diagnoses_icd"], cohort.table, options, counts)
    cohort.table = cohort.table.join(coded, on="hadm_id", how="left")
    cohort.keep("with diagnoses", pl.col("phenotypes").is_not_null(), "the admission has no diagnosis")
    return cohort


class _Cohort:
    """A shrinking table of stays and the record of how it shrank."""

    def __init__(self, table: pl.DataFrame, flow: list[dict[str, Any]]) -> None:
        self.table, self.flow = table, flow

    def enter(self, step: str, excluded: int = 0, reason: str = "") -> None:
        admissions = self.table.unique("hadm_id")
        self.flow.append(
            {
                "step": step,
                "stays": self.table.height,
                "admissions": admissions.height,
                "patients": self.table["subject_id"].n_unique(),
                "deaths": int(admissions["mortality"].fill_null(False).sum()),
                "images": None,
                "excluded": excluded,
                "reason": reason,
            }
        )

    def keep(self, step: str, condition: pl.Expr, reason: str) -> None:
        before = self.table.height
        self.table = self.table.filter(condition.fill_null(False))
        self.enter(step, before - self.table.height, reason)


def _admissions_step(admissions: pl.DataFrame, options: EhrOptions) -> dict[str, Any]:
    return {
        "step": "admissions",
        "stays": None,
        "admissions": admissions.height,
        "patients": admissions["subject_id"].n_unique(),
        "deaths": admissions.filter(_died_in_hospital(options)).height,
        "images": None,
        "excluded": 0,
        "reason": "",
    }


def _choose(cohort: _Cohort, options: EhrOptions) -> _Cohort:
    """The steps up to the age, in the order that ``one_stay`` asks for."""
    single = ("single stay of the admission", pl.len().over("hadm_id") == 1, "the admission has several such stays")
    before = options.one_stay == "before_transfer"
    if before:
        cohort.keep(*single)
    same_unit = pl.col("first_careunit") == pl.col("last_careunit")
    cohort.keep("without unit transfer", same_unit, "first and last unit differ, or one is not on file")
    cohort.keep("admission on file", pl.col("has_admission"), "no admission, or of another patient")
    cohort.keep("patient on file", pl.col("has_patient"), "no patient")
    if not before:
        cohort.keep(*single)
    hours = pl.col("los_hours")
    cohort.keep("length known", hours.is_not_null(), "a time of the stay or its length is missing or unreadable")
    cohort.keep("length possible", hours.is_between(0, _LONGEST_HOURS), "ends before it begins, or after over a year")
    cohort.keep("age possible", pl.col("age").is_between(0, _OLDEST), "age missing, unreadable or impossible")
    cohort.keep(f"age >= {options.min_age:g}", pl.col("age") >= options.min_age, "younger")
    return cohort


def _label_outcomes(
    stays: pl.DataFrame, admissions: pl.DataFrame, patients: pl.DataFrame, options: EhrOptions
) -> pl.DataFrame:
    """Stays with what their admission and patient say of them; rows without either stay, marked."""
    table = stays.join(admissions.with_columns(has_admission=pl.lit(True)), on=["subject_id", "hadm_id"], how="left")
    table = table.join(patients.with_columns(has_patient=pl.lit(True)), on="subject_id", how="left")
    died, death = _died_in_hospital(options), pl.col("deathtime")
    in_unit = death.is_between("intime", "outtime").fill_null(False)
    if options.mortality == "published":
        in_unit |= pl.col("dod").is_between("intime", "outtime").fill_null(False)
    seconds = (pl.col("outtime") - pl.col("intime")).dt.total_seconds()
    age = pl.col("anchor_age")
    if options.age == "at_admission":
        age = age + pl.col("intime").dt.year() - pl.col("anchor_year")
    return table.with_columns(
        mortality=died,
        icu_mortality=died & in_unit,
        death_hours=pl.when(died).then((death - pl.col("intime")).dt.total_seconds() / 3600),
        los_hours=pl.when(pl.col("los").is_not_null()).then(seconds / 3600),
        age=age.cast(pl.Float64),
        race=pl.col("race").fill_null("UNKNOWN"),
    )


def _died_in_hospital(options: EhrOptions) -> pl.Expr:
    during = pl.col("deathtime").is_between("admittime", "dischtime").fill_null(False)
    if options.mortality == "published":
        return during | pl.col("dod").is_between("admittime", "dischtime").fill_null(False)
    return during | (pl.col("hospital_expire_flag") == 1).fill_null(False)


def _read_patients(table: pl.DataFrame, counts: dict[str, Any]) -> pl.DataFrame:
    sex = pl.col("gender").str.to_uppercase()
    return _parse(
        table.with_columns(sex=pl.when(sex.is_in(["F", "M"])).then(sex).otherwise(pl.lit("U"))).drop("gender"),
        "patients",
        counts,
        numbers=("anchor_age", "anchor_year"),
        times=("dod",),
    )


def _read_admissions(rows: pl.DataFrame, counts: dict[str, Any]) -> pl.DataFrame:
    table = _parse(
        rows,
        "admissions",
        counts,
        ids=("subject_id",),
        numbers=("hospital_expire_flag",),
        times=("admittime", "dischtime", "deathtime"),
    )
    return _with_ids(table, "admissions", counts, "subject_id")


def _with_ids(table: pl.DataFrame, name: str, counts: dict[str, Any], *columns: str) -> pl.DataFrame:
    """The rows that say whose they are; the others are counted."""
    kept = table.drop_nulls(columns)
    if kept.height < table.height:
        counts[name][f"left out without a readable {' or '.join(columns)}"] = table.height - kept.height
    return kept


def _read_icustays(rows: pl.DataFrame, counts: dict[str, Any]) -> pl.DataFrame:
    table = _parse(
        rows,
        "icustays",
        counts,
        ids=("subject_id", "hadm_id"),
        numbers=("los",),
        times=("intime", "outtime"),
    )
    return _with_ids(table, "icustays", counts, "subject_id", "hadm_id")


def _unique(connection: duckdb.DuckDBPyConnection, file: TableFile, key: str, counts: dict[str, Any]) -> pl.DataFrame:
    """The table as text with an integer key: exact repetitions once, rows that contradict each other not at all."""
    rows = read_text(connection, file)
    distinct = rows.unique(maintain_order=True).with_columns(_integer(key))
    readable = distinct.filter(pl.col(key).is_not_null())
    kept = readable.filter(pl.len().over(key) == 1)
    counts[file.name] = {
        "rows": rows.height,
        "repeated": rows.height - distinct.height,
        f"without a readable {key}": distinct.height - readable.height,
        f"contradicting another row of their {key}": readable.height - kept.height,
    }
    return kept


def _integer(column: str) -> pl.Expr:
    """Text to int64, null where it is none; tools that know no missing integer write 30000001.0."""
    return pl.col(column).str.replace(r"\.0+$", "").str.to_integer(strict=False)


def _parse(
    table: pl.DataFrame,
    name: str,
    counts: dict[str, Any],
    ids: tuple[str, ...] = (),
    numbers: tuple[str, ...] = (),
    times: tuple[str, ...] = (),
) -> pl.DataFrame:
    """Text columns to numbers and times; what cannot be read becomes null and is counted."""
    day = pl.col(times).str.to_datetime("%Y-%m-%d", time_unit="us", strict=False) if times else None
    parsed = table.with_columns(
        *[_integer(column) for column in ids],
        *[pl.col(column).cast(pl.Float64, strict=False) for column in numbers],
        *[pl.col(column).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False) for column in times],
    )
    if day is not None and "dod" in times:  # the one field that is a date
        parsed = parsed.with_columns(dod=pl.coalesce(parsed["dod"], table.select(day)["dod"]))
    for column in (*ids, *numbers, *times):
        lost = int((parsed[column].is_null() & table[column].is_not_null()).sum())
        if lost:
            counts[name][f"{column} unreadable"] = lost
    return parsed


def _read_phenotypes(
    connection: duckdb.DuckDBPyConnection,
    file: TableFile,
    cohort: pl.DataFrame,
    options: EhrOptions,
    counts: dict[str, Any],
) -> pl.DataFrame:
    """hadm_id and the bit mask of phenotypes of every cohort admission that has a diagnosis row."""
    query = f"""
        SELECT
            a.hadm_id AS hadm_id,
            CASE WHEN a.hadm_id IS NOT NULL THEN regexp_replace(trim(d.icd_version), '\\.0$', '') END AS version,
            CASE WHEN a.hadm_id IS NOT NULL THEN nullif(trim(d.icd_code), '') END AS code,
            count(*) AS times
        FROM ({file.select("hadm_id", "icd_code", "icd_version")}) d
        LEFT JOIN admitted a ON TRY_CAST(d.hadm_id AS BIGINT) = a.hadm_id
        GROUP BY ALL
    """
    connection.register("admitted", cohort.select("hadm_id").unique().to_arrow())
    with reading(file):
        everything = fetch(connection, query)
    text = pl.col("version", "code").cast(pl.String).fill_null("")
    rows = everything.filter(pl.col("hadm_id").is_not_null()).with_columns(text)
    codes = rows.group_by("version", "code").agg(pl.len().alias("admissions")).sort("version", "code")
    mapped, found = _map_codes(codes, options)
    counts["diagnoses_icd"] = {
        "rows": int(everything["times"].sum()),
        "of the cohort": int(rows["times"].sum()),
        "repeated": int((rows["times"] - 1).sum()),
        **found,
    }
    masks = rows.join(mapped, on=["version", "code"], how="left")
    return masks.group_by("hadm_id").agg(pl.col("mask").bitwise_or().alias("phenotypes"))


def _map_codes(codes: pl.DataFrame, options: EhrOptions) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Bit mask of each (version, code), and how many diagnoses were mapped in which way; odd ones named."""
    table = code_map(options.label_map, options.label_fallback == "on")
    masks, ways = [], Counter[str]()
    named: dict[str, Counter[str]] = {"family": Counter(), "zeros restored": Counter(), "unmapped": Counter()}
    for version, code, admissions in codes.rows():
        mask, way = 0, "without a code"
        if version not in ("9", "10"):
            way = "neither ICD-9 nor ICD-10"
        elif code:
            mask, way = table.look_up(code, int(version))
        masks.append(mask)
        ways[way] += admissions
        if way in named:
            named[way][f"ICD-{version} {code}"] += admissions
    found: dict[str, Any] = {f"diagnoses {way}": ways[way] for way in sorted(ways)}
    for way, tally in named.items():
        frequent = sorted(tally.items(), key=lambda pair: (-pair[1], pair[0]))[:_SHOWN]
        found[f"most frequent codes {way}"] = dict(frequent)
    nine = codes.filter((pl.col("version") == "9") & pl.col("code").str.contains(r"^\d+$"))
    found["ICD-9 codes that begin with a zero"] = nine.filter(pl.col("code").str.starts_with("0")).height
    return codes.select("version", "code").with_columns(mask=pl.Series(masks, dtype=pl.Int64)), found
