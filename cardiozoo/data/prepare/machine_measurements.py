"""machine_measurements.csv of MIMIC-IV-ECG: intervals and axes as the cart measured them, and its reading in words.

The release documents no mark for "could not be measured"; 29999 and 0 occur. A value outside what can be is taken as
missing and counted, whatever it is, so that no mark reaches a target or a mean.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cardiozoo.data.prepare.ecg_listing import Listing
from cardiozoo.data.prepare.tables import read_text_table

_MARKS = ("p_onset", "p_end", "qrs_onset", "qrs_end", "t_end")
_AXES = ("p_axis", "qrs_axis", "t_axis")

#: milliseconds from the start of the representative beat, and degrees
PLAUSIBLE: dict[str, tuple[float, float]] = {
    "rr_interval": (200, 3000),
    **{name: (1, 2000) for name in _MARKS},
    **{name: (-360, 360) for name in _AXES},
}
#: name -> (from, to, least, most), in milliseconds
INTERVALS: dict[str, tuple[str, str, float, float]] = {
    "p_duration": ("p_onset", "p_end", 10, 400),
    "pr_interval": ("p_onset", "qrs_onset", 20, 800),
    "qrs_duration": ("qrs_onset", "qrs_end", 20, 400),
    "qt_interval": ("qrs_onset", "t_end", 100, 1000),
}


def read_machine_measurements(listing: Listing, path: Path | None) -> None:
    """Add ``target/<measurement>`` (float64: ms, degrees, heart rate per minute) and ``machine_report`` (text).

    Joined to the listing by study; a study without a row has nulls, and implausible values are null and counted.

    Args:
        listing: Its ``id`` is the study.
        path: The table; None where the release was downloaded without it.

    Raises:
        RawDataError: The table cannot be read or lacks columns.
    """
    if path is None:
        listing.note("There is no machine_measurements.csv: no intervals, axes and machine readings.")
        listing.table = listing.table.with_columns(
            *(pl.lit(None, pl.Float64).alias(f"target/{name}") for name in (*PLAUSIBLE, "heart_rate", *INTERVALS)),
            machine_report=pl.lit(None, pl.String),
        )
        return
    raw = read_text_table(path, ("study_id", *PLAUSIBLE))
    phrases = sorted((n for n in raw.columns if n.removeprefix("report_").isdigit()), key=lambda n: int(n[7:]))
    report = pl.concat_str([pl.col(name) for name in phrases], separator="; ", ignore_nulls=True)
    table = raw.select(
        pl.col("study_id").alias("id"),
        *(pl.col(name).cast(pl.Float64, strict=False).alias(f"target/{name}") for name in PLAUSIBLE),
        (report.replace("", None) if phrases else pl.lit(None, pl.String)).alias("machine_report"),
        pl.lit(True).alias("measured"),
    )
    listing.count("machine_measurements: rows of a study listed again", table.height - table["id"].n_unique())
    table = table.unique("id", keep="first", maintain_order=True)
    strangers = table.join(listing.table, on="id", how="anti").height
    listing.count("machine_measurements: rows of studies not in record_list", strangers)
    joined = listing.table.join(table, on="id", how="left", maintain_order="left")
    listing.count("records without machine measurements", joined["measured"].null_count())
    listing.table = joined.drop("measured")
    for name, (low, high) in PLAUSIBLE.items():
        listing.clear_outside(f"target/{name}", low, high)
    listing.table = listing.table.with_columns((60_000 / pl.col("target/rr_interval")).alias("target/heart_rate"))
    for name, (begin, end, low, high) in INTERVALS.items():
        length = pl.col(f"target/{end}") - pl.col(f"target/{begin}")
        listing.table = listing.table.with_columns(length.alias(f"target/{name}"))
        listing.clear_outside(f"target/{name}", low, high)
