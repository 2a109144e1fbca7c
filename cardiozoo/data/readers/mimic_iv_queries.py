"""The SQL that turns a raw event table of MIMIC-IV into numbers: one query a table, every row in, one row out."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from cardiozoo.data.ehr_cleaning import Item
from cardiozoo.data.ehr_options import EhrOptions
from cardiozoo.data.ehr_vocabulary import LEVELS, VARIABLES
from cardiozoo.data.readers.mimic_iv_release import TableFile

__all__ = ["NO_ITEM", "NO_TIME", "TEXT_LENGTH", "event_query", "item_table"]

#: ``slot`` of rows whose item is not read.
NO_ITEM = 255
#: ``time`` and ``stored`` of rows whose time is empty or cannot be read.
NO_TIME = -(2**62)
#: Characters of charted text that are kept where texts are compared; no number has more.
TEXT_LENGTH = 16

_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_PAIR = r"(\d+\.?\d*)\s*/\s*(\d+\.?\d*)"
_READINGS = {
    "Capillary refill rate": "refill",
    "Diastolic blood pressure": "diastolic",
    "Systolic blood pressure": "systolic",
}


def item_table(table: str, slots: list[Item]) -> pa.Table:
    """The items of one raw table as a relation: itemid (text), slot, reading, levels, units (empty: any)."""
    rows = [
        {
            "itemid": str(item.itemid),
            "slot": slot,
            "reading": _READINGS.get(VARIABLES[item.variable], "level" if item.variable in LEVELS else "number"),
            "levels": list(LEVELS.get(item.variable, ())),
            "units": list(item.units),
        }
        for slot, item in enumerate(slots)
        if item.table == table
    ]
    schema = {
        "itemid": pl.String,
        "slot": pl.UInt8,
        "reading": pl.String,
        "levels": pl.List(pl.String),
        "units": pl.List(pl.String),
    }
    return pl.DataFrame(rows, schema=schema).to_arrow()


def event_query(table: TableFile, options: EhrOptions) -> str:
    """One row for each row of the file, in numbers without NULL; only rows of the relation ``items`` are parsed.

    Columns: slot (``NO_ITEM`` where the item is not read), the ids of the table (-1 where unreadable), time and stored
    (seconds since 1970, ``NO_TIME`` where unreadable; a date without a time of day is unreadable), number (NaN where
    there is none; the level's code for scores), has_value, usual_unit, odd_unit and odd_text (NULL where understood)
    and, where texts are compared, text.
    """
    ids = ("stay_id",) if table.name == "chartevents" else ("subject_id", "hadm_id")
    text, valuenum = "trim(coalesce(e.value, ''))", "trim(coalesce(e.valuenum, ''))"
    number = _number(text)
    if options.number == "valuenum_first":
        stated = f"TRY_CAST({valuenum} AS DOUBLE)"
        number = f"coalesce(CASE WHEN isfinite({stated}) THEN {stated} END, {number})"
    value = f"""CASE
            WHEN i.reading = 'level' THEN nullif(list_position(i.levels, {text}), 0) - 1
            WHEN i.reading = 'refill' THEN {_refill(text)}
            ELSE {number} END"""
    unit = "lower(trim(coalesce(e.valueuom, '')))"
    usual = f"({unit} = '' OR len(i.units) = 0 OR list_contains(i.units, {unit}))"
    known = "CASE WHEN i.slot IS NULL THEN -1 ELSE coalesce(TRY_CAST(e.{0} AS BIGINT), -1) END AS {0}"
    stored = _seconds("e.storetime")
    compared = f", CASE WHEN i.slot IS NULL THEN '' ELSE left({text}, {TEXT_LENGTH}) END AS text"
    return f"""
        SELECT
            slot, {", ".join(ids)}, time, stored, has_value, usual_unit,
            coalesce(value, 'nan'::DOUBLE) AS number,
            CASE WHEN NOT usual_unit THEN item || ' ' || unit END AS odd_unit,
            CASE WHEN value IS NULL AND has_value THEN item || ' ' || shown END AS odd_text
            {", text" if options.duplicates == "text_order" else ""}
        FROM (
            SELECT
                coalesce(i.slot, {NO_ITEM})::UTINYINT AS slot,
                {", ".join(known.format(key) for key in ids)},
                CASE WHEN i.slot IS NULL THEN {NO_TIME} ELSE {_seconds("e.charttime")} END AS time,
                CASE WHEN i.slot IS NULL THEN {NO_TIME} ELSE {stored} END AS stored,
                CASE WHEN i.slot IS NULL THEN false ELSE {text} <> '' OR {valuenum} <> '' END AS has_value,
                CASE WHEN i.slot IS NULL THEN true ELSE {usual} END AS usual_unit,
                CASE WHEN i.slot IS NULL THEN NULL ELSE ({value})::DOUBLE END AS value,
                i.itemid AS item, left(e.valueuom, 40) AS unit, left(e.value, 40) AS shown
                {compared if options.duplicates == "text_order" else ""}
            FROM ({table.select()}) e LEFT JOIN items i ON trim(e.itemid) = i.itemid
        )
    """


def _seconds(column: str) -> str:
    moment = f"TRY_CAST({column} AS TIMESTAMP)"
    return (
        f"CASE WHEN len({column}) >= 16 AND {moment} IS NOT NULL THEN floor(epoch({moment}))::BIGINT ELSE {NO_TIME} END"
    )


def _number(text: str) -> str:
    """A decimal number; for the two pressures also their part of "systolic/diastolic"."""
    parts = " ".join(
        f"WHEN i.reading = '{reading}' AND regexp_full_match({text}, '{_PAIR}')"
        f" THEN TRY_CAST(regexp_extract({text}, '{_PAIR}', {group}) AS DOUBLE)"
        for group, reading in enumerate(("systolic", "diastolic"), start=1)
    )
    return f"CASE WHEN regexp_full_match({text}, '{_NUMBER}') THEN TRY_CAST({text} AS DOUBLE) {parts} END"


def _refill(text: str) -> str:
    """Code of a capillary refill: MIMIC-IV's words, or the levels themselves as numbers."""
    return (
        f"CASE WHEN regexp_matches(lower({text}), '^(normal|brisk)') THEN 0"
        f" WHEN regexp_matches(lower({text}), '^(abnormal|delayed)') THEN 1"
        f" WHEN regexp_full_match({text}, '{_NUMBER}') AND TRY_CAST({text} AS DOUBLE) IN (0, 1)"
        f" THEN TRY_CAST({text} AS DOUBLE) END"
    )
