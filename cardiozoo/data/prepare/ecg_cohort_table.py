"""The user's table as a listing: what columns mean, whose each record is, and which rows contradict each other."""

from __future__ import annotations

import os
import unicodedata
from functools import cache
from pathlib import Path

import polars as pl

from cardiozoo.data.prepare.ecg_cohort_columns import (
    NOTHING,
    AgeUnit,
    SexCode,
    nothing_to_null,
    read_age,
    read_fold,
    read_sex,
    read_split,
    read_target,
    read_time,
    split_of_folds,
)
from cardiozoo.data.prepare.ecg_cohort_csv import read_user_table
from cardiozoo.data.prepare.ecg_listing import Listing
from cardiozoo.errors import RawDataError

#: column -> other names under which it is recognised; what is taken for it is said aloud
ALIASES = {
    "path": ("file", "filename", "file_name", "file_path", "filepath", "ecg_path", "trace_file"),
    "patient": ("patient_id", "patientid", "subject_id", "subject", "pid"),
    "sex": ("gender", "is_male", "is_female"),
    "age": ("age_years",),
    "id": ("ecg_id", "record_id"),
    "time": ("ecg_time", "recording_date"),
    "index": (),
    "exam_id": (),
    "split": (),
    "fold": ("strat_fold",),
}
# CODE-15 asks whether a person is male
_MALE = {"true": "M", "1": "M", "false": "F", "0": "F"}
_SEX_OF = {"is_male": _MALE, "is_female": {word: "F" if sex == "M" else "M" for word, sex in _MALE.items()}}
_ENDINGS = (".csv", ".tsv", ".txt", ".asc", ".npy", ".npz", ".h5", ".hdf5", ".dcm", ".dicom", ".xml")
_MANY = (".npy", ".npz", ".h5", ".hdf5")
_ACCEPTED = "Columns: path (required), patient, age, sex, id, time, index, split, fold; every other one is a target."
_NO_PATIENT = "records without a patient, each a patient of its own"


def read_cohort(path: Path, root: Path, sex_code: SexCode | None, age_unit: AgeUnit) -> Listing:
    """The records of a table of one's own.

    Args:
        path: The CSV.
        root: Folder of relative paths.
        sex_code: What numbers in the column sex mean.
        age_unit: Unit of the column age.

    Raises:
        RawDataError: The table cannot be read, has no path, no row, or columns that cannot be understood; an id is
            there twice; a patient is in two splits or folds.
    """
    table, assumed = read_user_table(path, NOTHING)
    raw, notes = _named(table, path)
    notes = [*assumed, *notes]
    if not raw.height:
        raise RawDataError(f"{path} has no row.", "A row for each ECG.", "Fill the table.")
    raw = raw.with_columns(nothing_to_null(name) for name in raw.columns if name != "path")
    table, said = _identified(raw, root)
    listing = Listing(table)
    for note in [*notes, *said]:
        listing.note(note)
    listing.count(_NO_PATIENT, raw["patient"].null_count() if "patient" in raw.columns else raw.height)
    if missing := listing.counts.get(_NO_PATIENT):
        which = f"{missing:,} rows name no patient" if "patient" in raw.columns else "The table has no column patient"
        listing.note(f"{which}: each such record counts as a patient of its own. If people have several, say whose.")
    _add_people(listing, raw, sex_code, age_unit)
    _add_splits(listing, raw)
    targets = [read_target(raw[name], listing) for name in raw.columns if name.startswith("target/")]
    listing.table = listing.table.hstack(targets)
    if not targets:
        listing.note("The table has no target: every column has a meaning of its own.")
    listing.exclude(pl.col("path").is_null(), "no path")
    _exclude_repeated(listing, root)
    return listing


def _named(raw: pl.DataFrame, path: Path) -> tuple[pl.DataFrame, list[str]]:
    """Columns under their own names, whatever the letter case or alias; all others as ``target/<name>``."""
    by_lower: dict[str, list[str]] = {}
    for name in raw.columns:
        by_lower.setdefault(name.lower(), []).append(name)
    renamed, notes = {}, []
    for column, others in ALIASES.items():
        found = next((names for alias in (column, *others) if (names := by_lower.get(alias))), [])
        if len(found) > 1:
            raise RawDataError(f"{path} has the columns {' and '.join(found)}.", _ACCEPTED, "Rename one of them.")
        if found:
            renamed[found[0]] = column
            if found[0].lower() != column:
                notes.append(f"The column '{found[0]}' is taken for {column}.")
    if "path" not in renamed.values():
        raise RawDataError(
            f"{path} has no column path; it has {', '.join(raw.columns)[:300]}.",
            _ACCEPTED,
            "Rename the column of files.",
        )
    timed = next((name for name, column in renamed.items() if column == "time"), None)
    if timed is not None and read_time(raw[timed]).is_null().all():
        del renamed[timed]  # a time to an event, perhaps
        notes = [note for note in notes if not note.endswith("for time.")]
        notes.append(f"The column '{timed}' holds no dates such as 2024-05-31 12:30:00 and is taken for a target.")
    named = raw.select(pl.col(name).alias(renamed.get(name, f"target/{name}")) for name in raw.columns if name)
    asked = next((name.lower() for name, column in renamed.items() if column == "sex"), "")
    if asked in _SEX_OF:
        said = pl.col("sex").str.to_lowercase().str.strip_suffix(".0")
        named = named.with_columns(said.replace(_SEX_OF[asked]))
    return named, notes


def _identified(raw: pl.DataFrame, root: Path) -> tuple[pl.DataFrame, list[str]]:
    """id, patient, path, file and, where files hold many records, index; and what is to be said of the index."""
    files = [None if path is None else _header_of(root, path) for path in raw["path"].to_list()]
    table = raw.select("path").with_columns(pl.Series("file", files, dtype=pl.String))
    index, notes = _index(raw, files)
    if index is not None:
        table = table.with_columns(index.alias("index"))
    table = table.with_columns(_ids(raw, files, index).alias("id"))
    alone = pl.format("record {}", pl.col("id").fill_null("without a path"))
    if "patient" not in raw.columns:
        return table.with_columns(alone.alias("patient")), notes
    # a program that met a gap has written 123 as 123.0
    patient = raw["patient"].str.replace(r"^(\d+)\.0+$", "$1")
    table = table.with_columns(patient.alias("patient"))
    return table.with_columns(pl.coalesce("patient", alone).alias("patient")), notes


def _index(raw: pl.DataFrame, files: list[str | None]) -> tuple[pl.Series | None, list[str]]:
    """Which record of its file each row means: a row (int) or an id of exams (text); null for files of one record."""
    given = [name for name in ("exam_id", "index") if name in raw.columns]
    many = pl.Series([file is not None and file.lower().endswith(_MANY) for file in files], dtype=pl.Boolean)
    if not given or not many.any():
        unused = [f"The column '{name}' is not used: no file holds several records." for name in given]
        return None, unused
    values = raw[given[0]].str.strip_suffix(".0")
    numbers = values.cast(pl.Int64, strict=False)
    if given[0] == "index" and numbers.null_count() == values.null_count():
        values = numbers
    chosen = pl.select(pl.when(many).then(values).otherwise(None).alias("index")).to_series()
    return chosen, ["The column 'exam_id' says which record of its file each row means."] if given[
        0
    ] == "exam_id" else []


def _ids(raw: pl.DataFrame, files: list[str | None], index: pl.Series | None) -> pl.Series:
    """The table's own ids, or names of files (their paths where names repeat) with the index of the record."""
    if "id" in raw.columns:
        ids = raw["id"]
        if ids.null_count() or ids.n_unique() < len(ids):
            raise RawDataError(
                "The column id is empty in some rows, or holds one id twice.",
                "An id of its own for each record.",
                "Correct the column, or remove it: the names of the files are the ids then.",
            )
        return ids
    records = [None if file is None else _record_of(file) for file in files]
    stems = [None if record is None else _without_ending(Path(record).name) for record in records]
    named = pl.DataFrame({"stem": stems, "record": records, "path": raw["path"]}).cast(pl.String)
    if index is not None:
        suffix = pl.select(pl.when(index.is_null()).then(pl.lit("")).otherwise(pl.lit("#") + index.cast(pl.String)))
        named = named.select(pl.all() + suffix.to_series())
    unique = named["stem"].n_unique() == named["record"].n_unique()
    return named["stem" if unique else "path"]


def _header_of(root: Path, path: str) -> str:
    """The file to look for: of a WFDB record named without an ending, its header.

    A table from another system may have backslashes, or its accents in another of Unicode's two forms.
    """
    slashes = path.replace("\\", "/")
    forms = (path, slashes, *(unicodedata.normalize(form, slashes) for form in ("NFC", "NFD")))
    for name in dict.fromkeys(forms):
        for file in (name, f"{name}.hea"):
            if os.path.isfile(root / file):
                return file
    return path


def _record_of(file: str) -> str:
    """What tells records apart: the file, and for the files of a WFDB record its name."""
    path = os.path.normpath(file)
    return path[:-4] if path.lower().endswith((".hea", ".dat", ".mat")) else path


def _without_ending(name: str) -> str:
    stem, ending = os.path.splitext(name)
    return stem if ending.lower() in _ENDINGS else name


def _add_people(listing: Listing, raw: pl.DataFrame, sex_code: SexCode | None, age_unit: AgeUnit) -> None:
    """time, age and sex; people with two sexes are reported."""
    if "time" in raw.columns:
        time = read_time(raw["time"])
        listing.count("time not understood, taken as missing", (time.is_null() & raw["time"].is_not_null()).sum())
        listing.table = listing.table.with_columns(time.alias("time"))
    if "sex" in raw.columns:
        listing.table = listing.table.with_columns(read_sex(raw["sex"], sex_code, listing).alias("sex"))
        sexes = listing.table.group_by("patient").agg(pl.col("sex").drop_nulls().n_unique())
        several = sexes.filter(pl.col("sex") > 1).height
        listing.count("patients with two sexes", several)
        if several:
            listing.note(
                f"{several:,} patients are female in one row and male in another: is the column patient right?"
            )
    if "age" in raw.columns:
        listing.table = listing.table.with_columns(read_age(raw["age"], age_unit, listing).alias("age"))
        listing.clear_outside("age", 0, 120)


def _add_splits(listing: Listing, raw: pl.DataFrame) -> None:
    """The table's own split and fold, each of them one a patient."""
    for name, read in (("split", read_split), ("fold", read_fold)):
        if name in raw.columns:
            listing.table = listing.table.with_columns(read(raw[name]).alias(name))
            several = listing.table.select(patient="patient", many=pl.col(name).n_unique().over("patient") > 1)
            if several["many"].any():
                patients, row = several.filter("many")["patient"].n_unique(), several["many"].arg_true()[0]
                raise RawDataError(
                    f"{patients:,} patients are in more than one {name}; the first is that of row {row + 1}.",
                    f"All records of a patient in one {name}.",
                    f"Correct the column {name}, or remove it: patients are then split by a hash.",
                )
    if "fold" in listing.table.columns and "split" not in listing.table.columns:
        listing.table = listing.table.with_columns(split_of_folds(listing.table["fold"], listing).alias("split"))


def _exclude_repeated(listing: Listing, root: Path) -> None:
    """Rows of one record: the first stays where they agree; where they do not, nobody knows which is right."""
    table = listing.table
    # folders, not files, are followed to where links lead: some tools keep equal files once, and link to them
    folder = cache(lambda path: os.path.realpath(root / path))
    split = [os.path.split(_record_of(file)) for file in table["file"].to_list()]
    keys = [os.path.join(folder(path), name) for path, name in split]
    key = ["_key", "index"] if "index" in table.columns else ["_key"]
    table = table.with_columns(pl.Series("_key", keys, dtype=pl.String))
    facts = [name for name in table.columns if name not in ("id", "path", "file", *key)]
    facts += [] if "patient" in facts else ["patient"]
    # a record without a patient is a patient named after its id, which says nothing of agreement
    own = pl.col("patient").str.starts_with("record ")
    told = table.with_columns(pl.when(own).then(None).otherwise(pl.col("patient")).alias("patient"))
    kinds = pl.struct(facts).n_unique().over(key)
    conflict = told.select(kinds.alias("kinds"))["kinds"] > 1
    again = ~table.select(pl.struct(key).is_first_distinct().alias("first"))["first"]
    reason = pl.when(conflict).then(pl.lit("record listed again with other values"))
    reason = reason.when(again).then(pl.lit("record listed again"))
    listing.exclude_with_reasons(pl.select(reason.otherwise(None)).to_series())
