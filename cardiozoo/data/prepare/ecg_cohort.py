"""`prepare`: a table of ECG files of one's own, with targets, into the store that `EcgCohort` reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import polars as pl

from cardiozoo.data.ecg import LEADS, lead_and_sign
from cardiozoo.data.ecg_record import check_units
from cardiozoo.data.ecg_standard import Quality
from cardiozoo.data.prepare.ecg import build_ecg_store
from cardiozoo.data.prepare.ecg_cohort_columns import AgeUnit, SexCode
from cardiozoo.data.prepare.ecg_cohort_table import read_cohort
from cardiozoo.data.prepare.ecg_form import DEFAULT_QUALITY, Cut, Duplicates, EcgForm, EcgSource
from cardiozoo.data.prepare.ecg_listing import Listing, look_for_files
from cardiozoo.data.prepare.release import read_simulator
from cardiozoo.data.readers.ecg import FORMATS
from cardiozoo.data.readers.wfdb_files import files_of_record
from cardiozoo.data.splits import assign_splits, check_fractions
from cardiozoo.errors import OptionError, RawDataError

NAME = "ecg_cohort"
#: endings of files that hold numbers alone -> what must be said of them
_NEEDS = {
    **dict.fromkeys((".npy", ".npz", ".h5", ".hdf5"), ("record_rate", "record_units", "record_leads")),
    **dict.fromkeys((".csv", ".tsv", ".txt", ".asc"), ("record_rate",)),
}


def prepare(
    cohort: Path,
    out: Path,
    root: Path | None = None,
    record_format: str | None = None,
    record_rate: float | None = None,
    record_units: str | None = None,
    record_leads: list[str] | str | None = None,
    record_checksums: bool = True,
    sex_code: SexCode | None = None,
    age_unit: AgeUnit = "years",
    rate: float = 500.0,
    seconds: float = 10.0,
    cut: Cut = "start",
    min_leads: int = 1,
    quality: Quality = DEFAULT_QUALITY,
    duplicates: Duplicates = "keep",
    test_fraction: float = 0.2,
    val_fraction: float = 0.08,
    split_seed: int = 0,
    overwrite: bool = False,
    workers: int | None = None,
    quiet: bool = False,
) -> Path:
    """Prepare a labelled cohort of one's own: a CSV of ECG files and targets to a store.

    Columns of the table: path (required), patient, age, sex, id, time, index, split, fold; every other one is a
    target. A killed run resumes when the same command is given again. The same input and options give the same bytes.

    Args:
        cohort: CSV with a row for each ECG.
        out: Folder of the store to write; it must not exist yet.
        root: Folder that relative paths start from, by default that of the table.
        record_format: Format of all records (wfdb, dicom, muse_xml, cardiosoft_xml, csv, npy, hdf5), by default
            recognised file by file.
        record_rate: Samples per second of records that do not say it (CSV, NPY, HDF5).
        record_units: Units of records that do not say it: mV, uV, V, or that many a unit such as 4.88uV.
        record_leads: Leads of records that do not name them, in their order: names, or all for I II III aVR aVL aVF
            V1 ... V6.
        record_checksums: Leave out WFDB records whose samples are not those that their header has checksums of.
        sex_code: What numbers in the column sex mean: 0=male (and 1=female), 0=female (and 1=male) or 2=female (and
            1=male).
        age_unit: Unit of the column age.
        rate: Samples per second of the store; records at another rate are resampled.
        seconds: Length of a record in the store.
        cut: Which part of a longer record is kept.
        min_leads: Records with fewer leads in order are left out.
        quality: When a lead is not in order.
        duplicates: Whether records with exactly the samples of an earlier one stay.
        test_fraction: Share of the patients in the test split, where the table has no split and no fold.
        val_fraction: Share of the patients in the validation split, likewise.
        split_seed: Seed of the hash that splits the patients.
        overwrite: Replace an existing store.
        workers: Processes that read records, by default one a core.
        quiet: Print no summary at the end.

    Returns:
        The folder of the store.

    Raises:
        RawDataError: The table cannot be read or understood, a patient is in two splits, or no record is left.
        OptionError: An option is out of its range, or missing for the records' format.
        StoreError: The place is taken, or the disk too small.
    """
    reading = {
        "format": record_format,
        "rate": record_rate,
        "units": record_units,
        "leads": _lead_names(record_leads),
        "verify": record_checksums,
    }
    form = EcgForm(rate, seconds, cut, min_leads, duplicates, quality, reading)
    form.check()
    check_fractions(test_fraction, val_fraction)
    _check_choices(record_format, sex_code, age_unit)
    if record_units is not None:
        check_units(record_units)
    if record_rate is not None and not 0 < record_rate < 1e6:
        raise OptionError(f"record_rate is {record_rate:g}.", "Samples per second, above 0.", "Correct the option.")
    cohort = Path(cohort)
    folder = cohort.absolute().parent if root is None else Path(root).absolute()
    if not folder.is_dir():
        raise RawDataError(f"{folder} is no folder.", "The folder that paths of the table start from.", "Check --root.")
    listing = read_cohort(cohort, folder, sex_code, age_unit)
    _check_reading(listing, reading)
    if "split" not in listing.table.columns:
        patients = listing.table["patient"].to_numpy().astype(str)
        split = assign_splits(patients, split_seed, test_fraction, val_fraction)
        listing.table = listing.table.with_columns(pl.Series("split", split, dtype=pl.String))
    fingerprint = look_for_files(listing, folder, files_of_record)
    options = {
        "sex_code": sex_code,
        "age_unit": age_unit,
        **form.as_options(),
        "test_fraction": test_fraction,
        "val_fraction": val_fraction,
        "split_seed": split_seed,
    }
    source = EcgSource(
        NAME,
        folder,
        {"cohort": cohort},
        fingerprint,
        {"table": cohort.name},
        read_simulator([cohort.absolute().parent, folder]),
        refuse=_patients_of_files,
        fill=True,
    )
    return build_ecg_store(out, source, listing, form, options, overwrite, workers, quiet)


def _lead_names(leads: list[str] | str | None) -> list[str] | None:
    """The names of the channels of a file, in its order; names that are no leads are channels to be ignored."""
    if leads is None:
        return None
    if isinstance(leads, str):
        leads = list(LEADS) if leads.strip().lower() == "all" else re.split(r"\s*[,;]\s*|\s+", leads.strip(" ,;[]"))
    found = [lead for name in leads if (lead := lead_and_sign(str(name)))]
    known = [lead for lead, _ in found]
    if not known or len(set(known)) < len(known):
        why = "names a lead twice" if known else "names no lead"
        raise OptionError(
            f"record_leads {why}: {', '.join(map(str, leads))}.",
            f"The channels of a file in its order, leads among {', '.join(LEADS)} in any spelling, each once; or all.",
            "Correct the option.",
        )
    return [str(name) for name in leads]


def _check_choices(record_format: str | None, sex_code: str | None, age_unit: str) -> None:
    for name, value, choices in (
        ("record_format", record_format, FORMATS),
        ("sex_code", sex_code, get_args(SexCode)),
        ("age_unit", age_unit, get_args(AgeUnit)),
    ):
        if value is not None and value not in choices:
            raise OptionError(f"{name} is '{value}'.", f"One of {', '.join(choices)}.", "Choose one.")


def _check_reading(listing: Listing, reading: dict[str, Any]) -> None:
    """Refuse early what every single record would be left out for."""
    for ending in sorted({Path(file).suffix.lower() for file in listing.table["file"].to_list()} & _NEEDS.keys()):
        absent = [name for name in _NEEDS[ending] if reading[name.removeprefix("record_")] is None]
        if absent:
            raise OptionError(
                f"The table names {ending} files, which do not say their {', '.join(absent).replace('record_', '')}.",
                "record_rate (samples per second), record_units (mV, uV, 4.88uV ...), record_leads (names in order).",
                f"Give {' and '.join('--' + name for name in absent)}.",
            )


def _patients_of_files(read: pl.DataFrame, listing: Listing) -> pl.Series:
    """Say so when the table names no patients and the files show that some have several records."""
    if "records without a patient, each a patient of its own" in listing.counts:
        named = read.filter(pl.col("file_reason").is_null())["file_patient"].drop_nulls()
        if named.n_unique() < len(named):
            listing.note(
                f"The table leaves patients out, and the files name {named.n_unique():,} for {len(named):,} records: "
                "one person may be in several splits. Add a column patient."
            )
    return pl.Series([None] * read.height, dtype=pl.String)
