"""The radiographs of a store: which images, decoded in resumable chunks, linked to the stays."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import polars as pl

from cardiozoo.data.prepare.manifest import image_step
from cardiozoo.data.readers.cxr_images import SHORTER_SIDE, DecodedImage, decode_image
from cardiozoo.data.readers.mimic_cxr import LABELS, CxrImages
from cardiozoo.data.store_builder import write_json

CxrSelection = Literal["linked", "cohort", "all"]
CHUNK = 1024

#: bytes to expect of a stored image: 256 pixels times somewhat more
TYPICAL_BYTES = SHORTER_SIDE * round(SHORTER_SIDE * 1.25)

_LINK_HOURS = 48


def link(stays: pl.DataFrame, images: pl.DataFrame) -> pl.DataFrame:
    """All images of each stay's patient with study_time in [intime, max(outtime, intime + 48 h)], both ends included.

    Args:
        stays: Needs stay, subject_id, intime, outtime.
        images: Needs image, subject_id, study_id, dicom_id, study_time.

    Returns:
        stay (int32), image (int32), hours (float64, after intime), sorted by stay, study_time, study_id, dicom_id.
    """
    end = pl.max_horizontal("outtime", pl.col("intime") + pl.duration(hours=_LINK_HOURS))
    return (
        stays.select("stay", "subject_id", "intime", end.alias("end"))
        .join(images.select("image", "subject_id", "study_id", "dicom_id", "study_time"), on="subject_id")
        .filter(pl.col("study_time").is_between("intime", "end"))
        .sort("stay", "study_time", "study_id", "dicom_id")
        .select(
            pl.col("stay").cast(pl.Int32),
            pl.col("image").cast(pl.Int32),
            ((pl.col("study_time") - pl.col("intime")).dt.total_seconds() / 3600.0).alias("hours"),
        )
    )


def select_images(images: CxrImages, stays: pl.DataFrame, selection: CxrSelection) -> tuple[pl.DataFrame, list[dict]]:
    """The images to decode, and their part of the cohort flow.

    Args:
        images: What the metadata name.
        stays: The stays of the store.
        selection: ``linked``: images taken during a stay; ``cohort``: all of the stays' patients; ``all``.
    """
    flow = [image_step("images named in the metadata", images.rows, 0, "")]
    left = images.rows
    for reason, count in images.excluded.items():
        left -= count
        flow.append(image_step(f"images: {reason} left out", left, count, reason))
    table = images.table.with_row_index("image")
    if selection == "linked":
        kept = table.filter(pl.col("image").is_in(link(stays, table)["image"].cast(pl.UInt32).unique().to_list()))
        reason = "image taken during no stay of the cohort"
    elif selection == "cohort":
        kept = table.filter(pl.col("subject_id").is_in(stays["subject_id"].unique().to_list()))
        reason = "image of a patient without a stay in the cohort"
    else:
        kept, reason = table, ""
    if reason:
        flow.append(image_step(f"images selected ({selection})", kept.height, table.height - kept.height, reason))
    return kept.drop("image"), flow


def decode_all(
    table: pl.DataFrame, root: Path, target: Path, scratch: Path, workers: int, advance: Callable[[float], None]
) -> pl.DataFrame:
    """Decode the images of `table` in its order into one file; a killed run goes on after its last whole chunk.

    Args:
        table: Needs ``file``.
        root: Folder of the release.
        target: The file of all pixels, end to end.
        scratch: Holds one small file a finished chunk.
        workers: Threads (decoding and resizing run outside the interpreter's lock).
        advance: Progress, in images.

    Returns:
        `table` with rows, cols (0 for excluded images), offset, excluded (reason or null), converted (list), and the
        file's own size ``file_rows``, ``file_cols``.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    files = table["file"].to_list()
    facts: list[dict[str, Any]] = []
    written = 0
    with target.open("r+b" if target.exists() else "w+b") as output, ThreadPoolExecutor(workers) as pool:
        for number, first in enumerate(range(0, len(files), CHUNK)):
            part = files[first : first + CHUNK]
            mark = scratch / f"chunk-{number:06d}.json"
            if mark.is_file():
                chunk = json.loads(mark.read_text())
            else:
                output.truncate(written)
                output.seek(written)
                chunk = []
                for decoded in pool.map(lambda name: decode_image(root / name), part):
                    chunk.append(_facts(decoded))
                    if decoded.pixels is not None:
                        output.write(decoded.pixels.tobytes())
                output.flush()
                os.fsync(output.fileno())
                write_json(mark, chunk)
            facts += chunk
            written += sum(entry["rows"] * entry["cols"] for entry in chunk)
            advance(len(part))
        output.truncate(written)
    schema = {"rows": pl.Int32, "cols": pl.Int32, "excluded": pl.String, "converted": pl.List(pl.String)}
    columns = pl.DataFrame(facts, schema={**schema, "file_rows": pl.Int32, "file_cols": pl.Int32})
    size = pl.col("rows").cast(pl.Int64) * pl.col("cols").cast(pl.Int64)
    return table.hstack(columns).with_columns((size.cum_sum() - size).alias("offset"))


def image_counts(decoded: pl.DataFrame) -> tuple[Counter[str], Counter[str]]:
    """Reasons for exclusion, and facts about the images kept: conversions, sizes other than the metadata's."""
    excluded = Counter(decoded["excluded"].drop_nulls().to_list())
    kept = decoded.filter(pl.col("excluded").is_null())
    facts = Counter(kept["converted"].explode().drop_nulls().to_list())
    rows, cols = pl.col("metadata_rows"), pl.col("metadata_cols")
    swapped = (rows != cols) & (rows == pl.col("file_cols")) & (cols == pl.col("file_rows"))
    other = ((rows != pl.col("file_rows")) | (cols != pl.col("file_cols"))) & ~swapped
    for name, condition in (
        ("rows and columns swapped in the metadata", swapped),
        ("size other than in the metadata", other),
    ):
        if count := kept.filter(condition).height:
            facts[name] = count
    return Counter(dict(sorted(excluded.items()))), Counter(dict(sorted(facts.items())))


def cxr_table(decoded: pl.DataFrame, split: pl.Series) -> pl.DataFrame:
    """cxr.parquet: the images that were kept, renumbered."""
    kept = decoded.with_columns(split.alias("split")).filter(pl.col("excluded").is_null())
    return kept.with_row_index("image").select(
        pl.col("image").cast(pl.Int32),
        "dicom_id",
        "subject_id",
        "study_id",
        "view",
        "study_time",
        "rows",
        "cols",
        "offset",
        "split",
        *(f"label/{label}" for label in LABELS),
    )


def empty_cxr_tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    """cxr.parquet and links.parquet of a store without radiographs."""
    cxr = pl.DataFrame(
        schema={
            "image": pl.Int32,
            "dicom_id": pl.String,
            "subject_id": pl.Int64,
            "study_id": pl.Int64,
            "view": pl.String,
            "study_time": pl.Datetime("us"),
            "rows": pl.Int32,
            "cols": pl.Int32,
            "offset": pl.Int64,
            "split": pl.String,
            **{f"label/{label}": pl.Int8 for label in LABELS},
        }
    )
    return cxr, pl.DataFrame(schema={"stay": pl.Int32, "image": pl.Int32, "hours": pl.Float64})


def _facts(decoded: DecodedImage) -> dict[str, Any]:
    rows, cols = decoded.pixels.shape if decoded.pixels is not None else (0, 0)
    file_rows, file_cols = decoded.size or (None, None)
    return {
        "rows": rows,
        "cols": cols,
        "excluded": decoded.excluded,
        "converted": list(decoded.converted),
        "file_rows": file_rows,
        "file_cols": file_cols,
    }
