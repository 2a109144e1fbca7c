"""`prepare`: MIMIC-IV-ECG, as delivered, into the store that `MimicIvEcg` reads."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cardiozoo.data.ecg_standard import Quality
from cardiozoo.data.prepare.ecg import build_ecg_store
from cardiozoo.data.prepare.ecg_form import DEFAULT_QUALITY, Cut, Duplicates, EcgForm, EcgSource
from cardiozoo.data.prepare.ecg_listing import Listing, data_file, look_for_files
from cardiozoo.data.prepare.machine_measurements import read_machine_measurements
from cardiozoo.data.prepare.release import file_facts, release_folder, same_origin
from cardiozoo.data.prepare.tables import one_table, read_text_table
from cardiozoo.data.splits import assign_splits, check_fractions, check_listed, read_split_file, splits_from_list
from cardiozoo.errors import RawDataError

NAME = "mimic_iv_ecg"
_COLUMNS = ("subject_id", "study_id", "ecg_time", "path")
_ELDEST = 120


def prepare(
    mimic_iv_ecg: Path,
    out: Path,
    mimic_iv: Path | None = None,
    rate: float = 500.0,
    seconds: float = 10.0,
    cut: Cut = "start",
    min_leads: int = 1,
    quality: Quality = DEFAULT_QUALITY,
    duplicates: Duplicates = "keep",
    test_fraction: float = 0.0,
    val_fraction: float = 0.1,
    split_seed: int = 0,
    split_file: Path | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    quiet: bool = False,
) -> Path:
    """Prepare MIMIC-IV-ECG for training: 800,035 pairs of small files to one memory-mapped store.

    A killed run resumes when the same command is given again. The same input and options give the same bytes.

    Args:
        mimic_iv_ecg: Folder of MIMIC-IV-ECG 1.0, with record_list.csv and files/.
        out: Folder of the store to write; it must not exist yet.
        mimic_iv: Folder of MIMIC-IV with hosp/patients.csv.gz, for age and sex; unknown without it.
        rate: Samples per second of the store; records at another rate are resampled.
        seconds: Length of a record in the store.
        cut: Which part of a longer record is kept.
        min_leads: Records with fewer leads in order are left out.
        quality: When a lead is not in order.
        duplicates: Whether records with exactly the samples of an earlier one stay.
        test_fraction: Share of the patients in the test split.
        val_fraction: Share of the patients in the validation split.
        split_seed: Seed of the hash that splits the patients.
        split_file: CSV or Parquet with subject_id and split, instead of the hash.
        overwrite: Replace an existing store.
        workers: Processes that read records, by default one a core.
        quiet: Print no summary at the end.

    Returns:
        The folder of the store.

    Raises:
        RawDataError: Tables missing, or not in the documented layout; no record left.
        OptionError: An option out of its range.
        StoreError: The place is taken, or the disk too small.
    """
    form = EcgForm(rate, seconds, cut, min_leads, duplicates, quality)
    form.check()
    check_fractions(test_fraction, val_fraction)
    listed = None if split_file is None else read_split_file(split_file)
    root = release_folder(Path(mimic_iv_ecg), "record_list", "MIMIC-IV-ECG 1.0, with record_list.csv and files/")
    patients = None if mimic_iv is None else _patients_file(Path(mimic_iv))
    marker = same_origin([Path(mimic_iv_ecg), root], [] if mimic_iv is None else [Path(mimic_iv)])
    tables = {"record_list": one_table(root, "record_list")}
    tables["machine_measurements"] = one_table(root, "machine_measurements")
    tables["patients"] = patients
    found = {name: path for name, path in tables.items() if path is not None}

    listing = _read_record_list(found["record_list"])
    if patients is None:
        listing.note("Age and sex are unknown: --mimic_iv names the folder of MIMIC-IV, whose hosp/patients has them.")
        listing.table = listing.table.with_columns(age=pl.lit(None, pl.Float32), sex=pl.lit(None, pl.String))
    else:
        _join_patients(listing, patients)
    read_machine_measurements(listing, found.get("machine_measurements"))
    subjects = listing.table["patient"].cast(pl.Int64).to_numpy()
    if listed is not None:
        listing.note(check_listed(subjects, listed))
    split = (
        assign_splits(subjects, split_seed, test_fraction, val_fraction)
        if listed is None
        else splits_from_list(subjects, listed)
    )
    listing.table = listing.table.with_columns(pl.Series("split", split, dtype=pl.String))
    fingerprint = look_for_files(listing, root, data_file)
    options = {
        "mimic_iv": mimic_iv is not None,
        **form.as_options(),
        "test_fraction": test_fraction,
        "val_fraction": val_fraction,
        "split_seed": split_seed,
        "split_file": None if split_file is None else file_facts(split_file),
    }
    facts = {"records": listing.flow[0]["records"]}
    source = EcgSource(NAME, root, found, fingerprint, facts, marker, refuse=_other_patient)
    return build_ecg_store(out, source, listing, form, options, overwrite, workers, quiet)


def _read_record_list(path: Path) -> Listing:
    """record_list.csv: the paths as they are, never rebuilt from the ids."""
    raw = read_text_table(path, _COLUMNS)
    if not raw.height:
        raise RawDataError(f"{path} lists no record.", "The table as delivered.", "Download it again.")
    table = raw.select(
        pl.col("study_id").alias("id"),
        pl.col("subject_id").cast(pl.Int64, strict=False).cast(pl.String).alias("patient"),
        "path",
        (pl.col("path") + ".hea").alias("file"),
        pl.col("ecg_time").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False).alias("time"),
    )
    listing = Listing(table)
    outside = pl.col("path").str.starts_with("/") | pl.col("path").str.contains(r"(^|/)\.\.(/|$)")
    listing.exclude(pl.col("id").is_null() | pl.col("patient").is_null(), "no study_id or subject_id")
    listing.exclude(pl.col("path").is_null() | outside, "no path within the release")
    listing.exclude(pl.col("id").is_first_distinct().not_(), "study listed again")
    if not listing.table.height:
        raise RawDataError(
            f"None of the {raw.height} rows of {path} has a subject_id, a study_id and a path.",
            "The table as delivered.",
            "Download it again.",
        )
    listing.count("ecg_time missing or unreadable", listing.table["time"].null_count())
    return listing


def _patients_file(folder: Path) -> Path:
    places = [folder, folder / "hosp", folder / "core"]
    if folder.is_dir():
        places += sorted(inner / "hosp" for inner in folder.iterdir() if inner.is_dir())
    found = folder if folder.is_file() else next((p for place in places if (p := one_table(place, "patients"))), None)
    if found is None:
        raise RawDataError(
            f"{folder} holds no hosp/patients.csv or hosp/patients.csv.gz.",
            "Accepted: the folder of MIMIC-IV, of whose tables only this one is read here.",
            "Check --mimic_iv, or leave it out to go without age and sex.",
        )
    return found


def _join_patients(listing: Listing, path: Path) -> None:
    """Sex, and age at the ECG: anchor_age + years from anchor_year. Both are shifted as the times of the ECG are."""
    raw = read_text_table(path, ("subject_id", "gender", "anchor_age", "anchor_year"))
    known = raw.select(
        pl.col("subject_id").cast(pl.Int64, strict=False).cast(pl.String).alias("patient"),
        pl.when(pl.col("gender").is_in(["F", "M"])).then("gender").otherwise(None).alias("sex"),
        *(pl.col(name).cast(pl.Float64, strict=False) for name in ("anchor_age", "anchor_year")),
        pl.lit(True).alias("known"),
    ).unique("patient", keep="first", maintain_order=True)
    table = listing.table.join(known, on="patient", how="left", maintain_order="left")
    listing.count("records of subjects that the table of patients lacks", table["known"].null_count())
    age = pl.col("anchor_age") + pl.col("time").dt.year() - pl.col("anchor_year")
    # the release gives everybody over 89 the anchor age 91
    listing.count("anchor age 91, which stands for over 89", table.select((pl.col("anchor_age") >= 91).sum()).item())
    table = table.with_columns(age.cast(pl.Float32).alias("age"))
    listing.table = table.drop("anchor_age", "anchor_year", "known")
    listing.clear_outside("age", 0, _ELDEST)


def _other_patient(read: pl.DataFrame, listing: Listing) -> pl.Series:
    """Records whose header names another subject than the table does: whose they are is not known."""
    used = read.filter(pl.col("file_reason").is_null())
    stated = pl.col("file_patient").is_not_null()
    listing.count("headers that name no subject", used.select((~stated).sum()).item())
    time = pl.col("file_time").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    listing.count("headers with another time than the table", used.select((time != pl.col("time")).sum()).item())
    other = stated & (pl.col("file_patient") != pl.col("patient"))
    return read.select(pl.when(other).then(pl.lit("header names another subject")).alias("reason")).to_series()
