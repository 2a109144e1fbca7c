"""`prepare`: PTB-XL, as delivered, into the store that `PtbXl` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from cardiozoo.data.ecg_standard import Quality
from cardiozoo.data.prepare.ecg import build_ecg_store
from cardiozoo.data.prepare.ecg_form import DEFAULT_QUALITY, Cut, Duplicates, EcgForm, EcgSource
from cardiozoo.data.prepare.ecg_listing import Listing, data_file, look_for_files
from cardiozoo.data.prepare.ptb_xl_tables import read_database
from cardiozoo.data.prepare.release import read_simulator, release_folder
from cardiozoo.data.scp import ScpStatements, read_scp_statements
from cardiozoo.errors import OptionError, RawDataError

NAME = "ptb_xl"
_RECORDS_OF_1_0_3 = 21_799
_RATES = {"hr": 500.0, "lr": 100.0}
_FOLDERS = {"hr": "records500", "lr": "records100"}
_LAYOUT = "PTB-XL, with ptbxl_database.csv, scp_statements.csv, records100/ and records500/"


def prepare(
    ptb_xl: Path,
    out: Path,
    source: Literal["hr", "lr"] = "hr",
    rate: float | None = None,
    seconds: float = 10.0,
    cut: Cut = "start",
    min_leads: int = 1,
    quality: Quality = DEFAULT_QUALITY,
    duplicates: Duplicates = "keep",
    overwrite: bool = False,
    workers: int | None = None,
    quiet: bool = False,
) -> Path:
    """Prepare PTB-XL for training: records and statements to a store, split by the folds of the release.

    A killed run resumes when the same command is given again. The same input and options give the same bytes. Folds 1-8
    are the training split, 9 is for validation, 10 the test.

    Args:
        ptb_xl: Folder of PTB-XL 1.0.1 to 1.0.3.
        out: Folder of the store to write; it must not exist yet.
        source: The records at 500 Hz (hr), or the publisher's own reduction to 100 Hz (lr).
        rate: Samples per second of the store, by default those of the source; others are resampled.
        seconds: Length of a record in the store.
        cut: Which part of a longer record is kept.
        min_leads: Records with fewer leads in order are left out.
        quality: When a lead is not in order.
        duplicates: Whether records with exactly the samples of an earlier one stay.
        overwrite: Replace an existing store.
        workers: Processes that read records, by default one a core.
        quiet: Print no summary at the end.

    Returns:
        The folder of the store.

    Raises:
        RawDataError: Tables missing, changed by a spreadsheet program, or not in the documented layout; no record left.
        OptionError: An option out of its range.
        StoreError: The place is taken, or the disk too small.
    """
    if source not in _RATES:
        raise OptionError(f"source is '{source}'.", "hr (500 Hz) or lr (100 Hz).", "Choose one.")
    form = EcgForm(_RATES[source] if rate is None else rate, seconds, cut, min_leads, duplicates, quality)
    form.check()
    root = release_folder(Path(ptb_xl), "ptbxl_database", _LAYOUT)
    tables = {"ptbxl_database": root / "ptbxl_database.csv", "scp_statements": root / "scp_statements.csv"}
    for path in tables.values():
        if not path.is_file():
            raise RawDataError(f"There is no file {path}.", f"Accepted: the folder of {_LAYOUT}.", "Download it.")
    _check_source(root, source)
    statements = read_scp_statements(tables["scp_statements"])
    listing = read_database(tables["ptbxl_database"], statements, source)
    if listing.flow[0]["records"] != _RECORDS_OF_1_0_3:
        listing.note(
            f"ptbxl_database.csv lists {listing.flow[0]['records']:,} records and version 1.0.3 {_RECORDS_OF_1_0_3:,}: "
            "scores of another version, or of a part, are not comparable with published ones to the third digit."
        )
    all_listed = _superclasses(listing.table, statements)
    fingerprint = look_for_files(listing, root, data_file)
    options = {"source": source, **form.as_options()}

    def count_classes(read: pl.DataFrame, account: Listing) -> pl.Series:
        stored = _superclasses(read.filter(pl.col("file_reason").is_null()), statements)
        both = {name: {"listed": all_listed[name], "stored": stored[name]} for name in all_listed}
        account.counts["superclasses"] = both
        return pl.Series([None] * read.height, dtype=pl.String)

    origin = EcgSource(
        NAME,
        root,
        tables,
        fingerprint,
        {"records": listing.flow[0]["records"]},
        read_simulator([Path(ptb_xl), root]),
        stored={"scp_statements.parquet": statements.table},
        refuse=count_classes,
    )
    return build_ecg_store(out, origin, listing, form, options, overwrite, workers, quiet)


def _check_source(root: Path, source: str) -> None:
    """Raise RawDataError where only the records of the other rate are there."""
    other = "lr" if source == "hr" else "hr"
    if not (root / _FOLDERS[source]).is_dir() and (root / _FOLDERS[other]).is_dir():
        raise RawDataError(
            f"{root} has no folder {_FOLDERS[source]}, the records of source {source}; {_FOLDERS[other]} is there.",
            f"Accepted: the folder of {_LAYOUT}.",
            f"Give --source {other}, or download {_FOLDERS[source]}.",
        )


def _superclasses(records: pl.DataFrame, statements: ScpStatements) -> dict[str, int]:
    present = statements.labels(records, "superclass").sum(axis=0).tolist()
    return dict(zip(statements.classes("superclass"), present, strict=True))
