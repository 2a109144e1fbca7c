"""The event rules of `cardiozoo prepare`, default options, as one would write them in pandas: the baseline to beat.

It reads each gzip-compressed table in chunks of a million rows, only the columns that it needs, all as text, with
pandas' C parser (its Arrow parser does not read in chunks); throws rows of other items away before parsing anything;
joins to the stays, parses, converts and cleans a chunk with whole-column operations, and keeps the cleaned events of
all chunks in memory until the final sort. It counts nothing, checks no header and survives no cut file. Items, levels
and ranges come from the same tables as cardiozoo's; the rules are written anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cardiozoo.data.ehr import LEVELS, RANGES, VARIABLES
from cardiozoo.data.ehr_vocabulary import read_table

CHUNK = 1_000_000
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
PAIR = r"(\d+\.?\d*)\s*/\s*(\d+\.?\d*)"
FIO2, SATURATION, TEMPERATURE, DIASTOLIC, SYSTOLIC, REFILL = (
    VARIABLES.index(name)
    for name in (
        "Fraction inspired oxygen",
        "Oxygen saturation",
        "Temperature",
        "Diastolic blood pressure",
        "Systolic blood pressure",
        "Capillary refill rate",
    )
)


def write_events(raw: Path, stays: pd.DataFrame, folder: Path, chunk: int = CHUNK) -> int:
    """Writes offsets, seconds, variable and value of the stays (subject_id, stay_id, intime, outtime); returns rows."""
    stays = stays.assign(stay=np.arange(len(stays)))
    rows, parts = 0, []
    for table, path, columns, link in (
        ("chartevents", raw / "icu" / "chartevents.csv.gz", ["stay_id"], by_stay),
        ("labevents", raw / "hosp" / "labevents.csv.gz", ["subject_id"], by_time),
    ):
        items = item_map(table)
        wanted = [*columns, "charttime", "itemid", "value", "valuenum", "valueuom"]
        # text, and no field but the empty one missing: the Glasgow answer "None" is a word
        for rows_read in pd.read_csv(path, usecols=wanted, dtype=str, keep_default_na=False, chunksize=chunk):
            rows += len(rows_read)
            parts.append(clean(link(rows_read.merge(items, on="itemid"), stays)))
    events = same_time(pd.concat(parts, ignore_index=True))
    counts = np.bincount(events["stay"], minlength=len(stays))
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(counts)]))
    np.save(folder / "seconds.npy", events["seconds"].to_numpy(np.int32))
    np.save(folder / "variable.npy", events["variable"].to_numpy(np.uint8))
    np.save(folder / "value.npy", events["value"].to_numpy(np.float32))
    return rows


def item_map(table: str) -> pd.DataFrame:
    """Items of one table: itemid as text, variable, factor, accepted units."""
    items = pd.DataFrame(read_table("ehr_items.csv"))
    items = items[(items["table"] == table) & (items["group"] != "urine")]
    return items[["itemid", "variable", "factor", "units"]].astype({"variable": int, "factor": float})


def by_stay(events: pd.DataFrame, stays: pd.DataFrame) -> pd.DataFrame:
    """Charted events belong to the stay that they name, while it lasts."""
    events["stay_id"] = pd.to_numeric(events["stay_id"], errors="coerce")
    return during(events.merge(stays[["stay_id", "stay", "intime", "outtime"]], on="stay_id"))


def by_time(events: pd.DataFrame, stays: pd.DataFrame) -> pd.DataFrame:
    """Laboratory values belong to any stay of the patient in which they were taken."""
    events["subject_id"] = pd.to_numeric(events["subject_id"], errors="coerce")
    return during(events.merge(stays[["subject_id", "stay", "intime", "outtime"]], on="subject_id"))


def during(events: pd.DataFrame) -> pd.DataFrame:
    """Events between the beginning and the end of their stay, with their second."""
    time = pd.to_datetime(events["charttime"], format="%Y-%m-%d %H:%M:%S", errors="coerce")
    within = (time >= events["intime"]) & (time <= events["outtime"])
    seconds = (time[within] - events.loc[within, "intime"]) // pd.Timedelta(seconds=1)
    return events[within].assign(seconds=seconds.astype(np.int64))


def clean(events: pd.DataFrame) -> pd.DataFrame:
    """Unit, number, conversion, range: stay, seconds, variable and value of the rows that pass."""
    unit = events["valueuom"].str.strip().str.lower()
    accepted = {units: set(units.split("|")) for units in events["units"].unique()}
    usual = (unit == "") | (events["units"] == "")
    for units, texts in accepted.items():
        usual |= (events["units"] == units) & unit.isin(texts)
    events = events[usual]
    variable, value = events["variable"], numbers(events) * events["factor"]
    value = value.mask((variable == FIO2) & (value > 1), value / 100)
    value = value.mask((variable == SATURATION) & (value <= 1), value * 100)
    value = value.mask((variable == TEMPERATURE) & (value >= 79), (value - 32) * 5 / 9)
    bounds = pd.DataFrame(RANGES, index=["low", "valid_low", "valid_high", "high"]).T
    limits = bounds.reindex(variable).fillna(
        {"low": -np.inf, "valid_low": -np.inf, "valid_high": np.inf, "high": np.inf}
    )
    low, valid_low, valid_high, high = (limits[name].to_numpy() for name in limits)
    kept = value.notna() & (value >= low) & (value <= high)
    value = value.clip(valid_low, valid_high)
    return pd.DataFrame({"stay": events["stay"], "seconds": events["seconds"], "variable": variable, "value": value})[
        kept
    ]


def numbers(events: pd.DataFrame) -> pd.Series:
    """What each row says, as a number: a level's code for categorical variables, NaN where it says nothing."""
    text, variable = events["value"].str.strip(), events["variable"]
    value = pd.to_numeric(events["valuenum"].str.strip(), errors="coerce")
    value = value.where(np.isfinite(value))
    unread = value.isna() & ~variable.isin(list(LEVELS))
    words = text[unread]
    value[unread] = pd.to_numeric(words.where(words.str.fullmatch(NUMBER)), errors="coerce")
    for pressure, part in ((SYSTOLIC, 0), (DIASTOLIC, 1)):
        pairs = words[(variable[unread] == pressure) & words.str.fullmatch(PAIR)]
        if len(pairs):
            value[pairs.index] = pd.to_numeric(pairs.str.extract(PAIR)[part])
    for number, levels in LEVELS.items():
        rows = variable == number
        value[rows] = text[rows].map({level: code for code, level in enumerate(levels)})
    rows = variable == REFILL
    value[rows] = refill(text[rows])
    return value


def refill(text: pd.Series) -> pd.Series:
    """Capillary refill: MIMIC-IV's words, or 0 and 1."""
    word, number = text.str.lower(), pd.to_numeric(text, errors="coerce")
    code = number.where(number.isin([0, 1]))
    code = code.mask(word.str.startswith(("abnormal", "delayed")), 1.0)
    return code.mask(word.str.startswith(("normal", "brisk")), 0.0)


def same_time(events: pd.DataFrame) -> pd.DataFrame:
    """Sorted by stay, second and variable; of several values at one time the largest, of levels the last by text."""
    size = events["value"].copy()
    for number, levels in LEVELS.items():
        order = {float(levels.index(level)): place for place, level in enumerate(sorted(levels))}
        rows = events["variable"] == number
        size[rows] = events.loc[rows, "value"].map(order)
    key = ["stay", "seconds", "variable"]
    ordered = events.assign(size=size).sort_values([*key, "size"], kind="stable")
    return ordered.drop_duplicates(key, keep="last")
