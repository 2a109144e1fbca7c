"""The tables of MIMIC-CXR-JPG 2.x as delivered: one row an image, with its time, its view, its file and its labels.

The tables are found by the ending of their names (``...-metadata.csv.gz``, ``...-chexpert.csv``), columns by name.
The official split is not read: it knows nothing of the EHR cohort, and one patient must be in one split for both
modalities.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from cardiozoo.errors import OptionError, RawDataError

LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
Labeller = Literal["chexpert", "negbio", "none"]
Views = Literal["AP", "AP+PA", "all"]

_METADATA_COLUMNS = (
    "dicom_id",
    "subject_id",
    "study_id",
    "ViewPosition",
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
)
_LABEL_CODES = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1}


@dataclass(frozen=True)
class CxrRelease:
    """A folder of MIMIC-CXR-JPG.

    Attributes:
        root: The folder that holds the tables and ``files/``.
        tables: Kind (``metadata``, ``chexpert``, ``negbio``) -> file.
        version: The version in the tables' names (``2.0.0``), None when they have none.
    """

    root: Path
    tables: dict[str, Path]
    version: str | None


@dataclass
class CxrImages:
    """The images that the metadata name and that could be used.

    Attributes:
        table: One row an image, sorted by (subject_id, study_time, study_id, dicom_id): dicom_id, subject_id, study_id,
            view, study_time (datetime), metadata_rows, metadata_cols, file (relative to the release's folder), and
            ``label/<name>`` (int8: 1, 0, -1 uncertain, null not mentioned).
        rows: Rows of the metadata table.
        excluded: Reason -> rows left out.
        counts: Further facts: images of each view left out, images without a row of labels, label values not
            understood.
    """

    table: pl.DataFrame
    rows: int
    excluded: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)


def open_cxr(root: str | Path, labels: Labeller = "chexpert") -> CxrRelease:
    """Find the tables of a MIMIC-CXR-JPG folder.

    Args:
        root: The folder with the tables, or one whose single sub-folder has them.
        labels: Which labeller's table is needed.

    Raises:
        RawDataError: The folder or a table is missing, or two versions lie side by side.
        OptionError: `labels` is none of its values.
    """
    if labels not in get_args(Labeller):
        raise OptionError(f"cxr_labels is '{labels}'.", f"One of {', '.join(get_args(Labeller))}.", "Choose one.")
    root = Path(root)
    layout = "A MIMIC-CXR-JPG folder: mimic-cxr-2.x-metadata.csv(.gz), ...-chexpert.csv(.gz) and files/."
    if not root.is_dir():
        raise RawDataError(
            f"There is no folder {root}.", layout, "Check --mimic_cxr; leave it out to go without images."
        )
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir() and path.name != "files")]
    found = [folder for folder in folders if _tables_of(folder).get("metadata")]
    if not found or (found[0] != root and len(found) > 1):
        what = f"{len(found)} sub-folders of {root} hold" if found else f"Neither {root} nor a sub-folder of it holds"
        raise RawDataError(f"{what} a *-metadata.csv(.gz).", layout, "Give the folder itself.")
    tables = {kind: _one_version(kind, paths) for kind, paths in _tables_of(found[0]).items()}
    if labels != "none" and labels not in tables:
        others = [kind for kind in ("chexpert", "negbio") if kind in tables]
        raise RawDataError(
            f"{found[0]} holds no *-{labels}.csv(.gz).",
            layout,
            f"Use --cxr_labels {others[0]}."
            if others
            else "Download it, or use --cxr_labels none (no radiology task).",
        )
    version = re.search(r"(\d+\.\d+\.\d+)", tables["metadata"].name)
    return CxrRelease(found[0], tables, version.group(1) if version else None)


def read_cxr(release: CxrRelease, labels: Labeller = "chexpert", views: Views = "AP+PA") -> CxrImages:
    """Read the images' table: keys, time, view, file, labels.

    Rows that cannot be used are left out and counted: numbers that are none, repeated or contradicting rows, no
    valid study time, other views.

    Raises:
        RawDataError: A table is truncated, unreadable or lacks a column.
        OptionError: `views` is none of its values.
    """
    if views not in get_args(Views):
        raise OptionError(f"cxr_views is '{views}'.", f"One of {', '.join(get_args(Views))}.", "Choose one.")
    raw = _read_table(release.tables["metadata"], _METADATA_COLUMNS)
    images = CxrImages(pl.DataFrame(), raw.height)
    table = _parse_metadata(raw, images)
    table = _drop_repeated(table, images)
    table = _keep(table, pl.col("study_time").is_not_null(), images, "no valid study date and time")
    table = _keep_views(table, views, images)
    table = _join_labels(table, release, labels, images)
    images.table = table.sort("subject_id", "study_time", "study_id", "dicom_id")
    return images


def image_file(subject_id: int, study_id: int, dicom_id: str) -> str:
    """Where the release keeps an image: ``files/p10/p10000032/s50414267/<dicom_id>.jpg``."""
    return f"files/p{str(subject_id)[:2]}/p{subject_id}/s{study_id}/{dicom_id}.jpg"


def study_time() -> pl.Expr:
    """The study's date and time; null where they are none.

    StudyDate is an integer YYYYMMDD. StudyTime is a number HHMMSS.fff that has lost its leading zeros, so 5 past
    midnight reads ``500.0``; fractions of a second are cut.
    """
    date = pl.col("StudyDate").str.strip_chars().str.replace(r"\.0*$", "")
    clock = pl.col("StudyTime").str.strip_chars().str.replace(r"\..*$", "").str.zfill(6)
    return (date + clock).str.to_datetime("%Y%m%d%H%M%S", strict=False, time_unit="us")


def _tables_of(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for kind in ("metadata", "chexpert", "negbio"):
        paths = [path for end in (".csv", ".csv.gz") for path in folder.glob(f"*-{kind}{end}")]
        if paths:
            found[kind] = sorted(paths)
    return found


def _one_version(kind: str, paths: list[Path]) -> Path:
    stems = {path.name.removesuffix(".gz") for path in paths}
    if len(stems) > 1:
        raise RawDataError(
            f"There are {len(stems)} {kind} tables: {', '.join(sorted(stems))}.", "One.", "Keep one version a folder."
        )
    return paths[-1]  # the compressed one, as delivered, where both exist


def _read_table(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    """The columns of a CSV, all as strings; only an empty field is missing."""
    try:
        table = pl.read_csv(path, infer_schema=False)  # text, so that nothing is guessed
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RawDataError(
            f"{path} cannot be read: {error}", "A whole CSV file, plain or gzip-compressed.", "Download it again."
        ) from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise RawDataError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}.",
            f"Columns {', '.join(columns)}; it has {', '.join(table.columns[:20])}.",
            "Use the file as delivered.",
        )
    if table.is_empty():
        raise RawDataError(f"{path} holds a header and no row.", "The table as delivered.", "Download it again.")
    return table.select(columns)


def _keep(table: pl.DataFrame, condition: pl.Expr, images: CxrImages, reason: str) -> pl.DataFrame:
    kept = table.filter(condition)
    if kept.height < table.height:
        images.excluded[reason] += table.height - kept.height
    return kept


def _parse_metadata(raw: pl.DataFrame, images: CxrImages) -> pl.DataFrame:
    table = raw.select(
        pl.col("dicom_id").str.strip_chars(),
        pl.col("subject_id", "study_id").str.strip_chars().cast(pl.Int64, strict=False),
        pl.col("ViewPosition").str.strip_chars().str.to_uppercase().fill_null("").alias("view"),
        study_time().alias("study_time"),
        pl.col("Rows")
        .str.strip_chars()
        .cast(pl.Float64, strict=False)
        .cast(pl.Int32, strict=False)
        .alias("metadata_rows"),
        pl.col("Columns")
        .str.strip_chars()
        .cast(pl.Float64, strict=False)
        .cast(pl.Int32, strict=False)
        .alias("metadata_cols"),
    )
    # the identifier becomes part of a path: nothing in it may lead elsewhere
    table = _keep(
        table,
        pl.col("dicom_id").str.contains(r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$").fill_null(False),
        images,
        "no usable dicom_id",
    )
    numbers = pl.col("subject_id").is_not_null() & pl.col("study_id").is_not_null()
    table = _keep(table, numbers, images, "no number as subject_id or study_id")
    file = pl.format(
        "files/p{}/p{}/s{}/{}.jpg",
        pl.col("subject_id").cast(pl.String).str.head(2),
        "subject_id",
        "study_id",
        "dicom_id",
    )
    return table.with_columns(file.alias("file"))


def _drop_repeated(table: pl.DataFrame, images: CxrImages) -> pl.DataFrame:
    unique = table.unique(maintain_order=True)
    if unique.height < table.height:
        images.excluded["repeated metadata row"] += table.height - unique.height
    single = pl.len().over("dicom_id") == 1
    return _keep(unique, single, images, "one dicom_id with contradicting metadata rows")


def _keep_views(table: pl.DataFrame, views: Views, images: CxrImages) -> pl.DataFrame:
    if views == "all":
        return table
    wanted = pl.col("view").is_in(views.split("+"))
    for view, count in sorted(table.filter(~wanted)["view"].value_counts().iter_rows()):
        images.counts[f"view {view or '(empty)'}"] += count
    return _keep(table, wanted, images, f"view is not {' or '.join(views.split('+'))}")


def _join_labels(table: pl.DataFrame, release: CxrRelease, labels: Labeller, images: CxrImages) -> pl.DataFrame:
    names = [f"label/{label}" for label in LABELS]
    if labels == "none":
        return table.with_columns(pl.lit(None, dtype=pl.Int8).alias(name) for name in names)
    raw = _read_table(release.tables[labels], ("subject_id", "study_id", *LABELS))
    text = raw.select(
        pl.col("subject_id", "study_id").str.strip_chars().cast(pl.Int64, strict=False),
        *(pl.col(label).str.strip_chars().alias(f"label/{label}") for label in LABELS),
    )
    # a value that is none of the four becomes null, and is counted
    coded = text.with_columns(pl.col(names).replace_strict(_LABEL_CODES, default=None, return_dtype=pl.Int8))
    given = text.select(pl.sum_horizontal(pl.col(names).fill_null("").ne("").sum())).item()
    understood = coded.select(pl.sum_horizontal(pl.col(names).is_not_null().sum())).item()
    if given > understood:
        images.counts["label values not understood"] += given - understood
    coded = coded.unique(maintain_order=True)
    contradicting = coded.filter(pl.len().over("subject_id", "study_id") > 1)
    if contradicting.height:
        images.counts["studies with contradicting label rows"] += contradicting["study_id"].n_unique()
        coded = coded.filter(pl.len().over("subject_id", "study_id") == 1)
    joined = table.join(
        coded.with_columns(pl.lit(True).alias("labelled")),
        on=["subject_id", "study_id"],
        how="left",
        maintain_order="left",
    )
    unlabelled = joined["labelled"].null_count()
    if unlabelled:
        images.counts["images without a row of labels"] += unlabelled
    return joined.drop("labelled")
