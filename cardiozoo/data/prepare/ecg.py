"""A listing of ECG records into a store: read in shards by several processes, resumable, the same bytes each time.

``signals.npy`` int16 (records, 12, samples) in ADC units, ``gain.npy`` float32 (records, 12) in units per mV,
``states.npy`` uint8 (records, 12), ``records.parquet``, ``excluded.parquet``, ``duplicates.parquet``. Records keep the
order of the listing, except that the last ones take the places of those that turned out to be unusable: the signals
are written once, at their place, and lie on the disk once.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console

from cardiozoo.data.ecg import LEAD_STATES, LEADS, MISSING
from cardiozoo.data.prepare.ecg_form import EcgForm, EcgSource
from cardiozoo.data.prepare.ecg_listing import EXCLUDED, Listing
from cardiozoo.data.prepare.ecg_pool import read_shards
from cardiozoo.data.prepare.ecg_records import (
    check_splits,
    count_notes,
    count_records,
    duplicates_table,
    fill_from_files,
    records_table,
)
from cardiozoo.data.prepare.ecg_summary import print_summary
from cardiozoo.data.prepare.ecg_worker import FACTS, GAIN, SIGNALS, STATES, ShardWriter
from cardiozoo.data.prepare.sources import source_facts
from cardiozoo.data.prepare.tables import write_table
from cardiozoo.data.progress import progress_bar
from cardiozoo.data.store import FORMAT, VERSION
from cardiozoo.data.store_builder import StoreBuilder
from cardiozoo.errors import OptionError, RawDataError

_FACT_TYPES = {
    "reason": pl.String,
    "samples": pl.Int32,
    "raw_rate": pl.Float32,
    "digest": pl.String,
    "notes": pl.List(pl.String),
    "patient": pl.String,
    "time": pl.String,
    "age": pl.Float32,
    "sex": pl.String,
}


def build_ecg_store(
    out: Path,
    source: EcgSource,
    listing: Listing,
    form: EcgForm,
    options: dict[str, Any],
    overwrite: bool = False,
    workers: int | None = None,
    quiet: bool = False,
) -> Path:
    """Read the records of `listing` and write their store.

    Args:
        out: Folder of the store.
        source: Where they come from.
        listing: The records, `look_for_files` done; it goes on with the account.
        form: The form they take.
        options: All options, for the manifest; plain JSON. They decide, with source and form, the bytes of the store.
        overwrite: Replace an existing store.
        workers: Processes that read, all cores when None.
        quiet: Print no summary.

    Raises:
        OptionError: Less than one worker.
        RawDataError: No record is left.
        StoreError: The place is taken, the disk too small, or a worker was killed.
    """
    if workers is not None and workers < 1:
        raise OptionError(f"workers is {workers}.", "At least 1.", "Leave it out to use all cores.")
    workers = workers or _cores()
    if not listing.table.height:
        raise RawDataError(
            f"Of the {listing.flow[0]['records']:,} records that the tables of {source.root} list, none can be read: "
            f"{_reasons(listing)}.",
            "Accepted: the records' files where the tables say.",
            "Check the folder, and download the files of the records.",
        )
    console = Console(stderr=True)
    identity = {
        "options": options,
        "marker": source.marker,
        "inputs": {name: list(_size_and_time(path)) for name, path in sorted(source.tables.items())},
        "records": {"count": listing.table.height, "fingerprint": source.fingerprint},
    }
    with StoreBuilder(out, source.name, identity, overwrite, console.print) as builder:
        for note in () if quiet else listing.notes:
            console.print(f"Note: {note}", highlight=False)
        build = _Build(builder, source, listing, form, workers)
        manifest = build.run(options)
        size = sum(path.stat().st_size for path in builder.store.rglob("*") if path.is_file())
        with progress_bar("Checksums of the store", size) as advance:
            path = builder.finish(manifest, advance)
    if not quiet:
        print_summary(manifest, console)
    return path


class _Build:
    """The stages of one store, in order."""

    def __init__(self, builder: StoreBuilder, source: EcgSource, listing: Listing, form: EcgForm, workers: int) -> None:
        self.builder, self.source, self.listing, self.form, self.workers = builder, source, listing, form, workers

    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        """Run what is not done yet; the manifest."""
        stage, arrays = self.builder.stage, [f"store/{name}" for name in (SIGNALS, GAIN, STATES)]
        sources = stage("sources", lambda: {"sources": source_facts(self.source.tables, self.workers)})
        stage("signals", self._signals, [*arrays, "scratch/read.parquet"])
        # the account of the listing is made anew each time, and the tables with it: a matter of seconds
        counts = self._tables()
        return self._manifest(options, sources["sources"], counts)

    def _signals(self) -> dict[str, Any]:
        """Read all records, then close the gaps that the excluded ones leave."""
        table, folder = self.listing.table, self.builder.store
        job = self.form.job(folder)
        there = sum(path.stat().st_blocks * 512 for path in folder.glob("*.npy"))
        self.builder.space_needed(table.height * self.form.record_bytes - there, f"{table.height:,} records")
        files = [str(self.source.root / file) for file in table["file"].to_list()]
        index = table["index"].to_list() if "index" in table.columns else [None] * len(files)
        with progress_bar("Electrocardiograms", len(files)) as advance:
            records = [list(pair) for pair in zip(files, index, strict=True)]
            shards = read_shards(job, records, self.builder.scratch / "shards", self.workers, advance)
        columns = {name: [value for shard in shards for value in shard[name]] for name in FACTS}
        read = pl.DataFrame(columns, schema=_FACT_TYPES)
        read = read.with_columns(self._reasons(read).alias("reason"))
        kept = read["reason"].is_null().to_numpy()
        if not kept.any():
            raise RawDataError(
                f"None of the {len(kept):,} records can be used: {_counted(read['reason'])}.",
                "At least one record.",
                "Look at one of the files; give its format, rate, units and leads if it does not tell them.",
            )
        rows, moves = place(kept)
        writer = ShardWriter(job)
        for array in writer.files:
            array.finish(moves, int(kept.sum()))
        writer.close()
        write_table(read.with_columns(pl.Series("row", rows, dtype=pl.Int32)), self.builder.scratch / "read.parquet")
        return {}

    def _reasons(self, read: pl.DataFrame) -> pl.Series:
        """Why each record is left out: unreadable, refused by the preparer, or a duplicate that is not wanted."""
        reason = read["reason"]
        if self.source.refuse is not None:
            reason = reason.zip_with(reason.is_not_null(), self.source.refuse(self._with_facts(read), self.listing))
        if self.form.duplicates == "drop":
            known = read.with_columns(reason.alias("reason")).with_row_index("position")
            again = known.filter(pl.col("reason").is_null()).filter(pl.col("digest").is_first_distinct().not_())
            drop = pl.Series(np.isin(np.arange(read.height), again["position"].to_numpy()))
            reason = pl.select(pl.when(drop).then(pl.lit("samples of an earlier record")).otherwise(reason)).to_series()
        return reason.alias("reason")

    def _with_facts(self, read: pl.DataFrame) -> pl.DataFrame:
        return self.listing.table.hstack(read.rename({name: f"file_{name}" for name in read.columns}))

    def _tables(self) -> dict[str, Any]:
        """The Parquet tables of the store; returns the counts."""
        listing, store, read = self.listing, self.builder.store, pl.read_parquet(self.builder.scratch / "read.parquet")
        if self.source.refuse is not None:
            self.source.refuse(self._with_facts(read), listing)
        listing.table = self._with_facts(read)
        listing.exclude_with_reasons(listing.table["file_reason"])
        if self.source.fill:
            fill_from_files(listing)
        listing.close()
        duplicates = duplicates_table(listing)
        notes = count_notes(listing.table["file_notes"])
        records = records_table(listing.table)
        check_splits(records)
        write_table(records, store / "records.parquet")
        write_table(listing.excluded.cast(EXCLUDED), store / "excluded.parquet")
        write_table(duplicates, store / "duplicates.parquet")
        for name, table in self.source.stored.items():
            write_table(table, store / name)
        states = np.load(store / STATES)
        return {**count_records(records, states, self.form.samples), **listing.counts, "notes": notes}

    def _manifest(self, options: dict[str, Any], sources: list[dict], counts: dict[str, Any]) -> dict[str, Any]:
        """Everything of the manifest but the list of files. It holds no time and no absolute path."""
        from cardiozoo import __version__

        exclusions: Counter[str] = Counter()
        for step in self.listing.flow:
            if step["excluded"]:
                exclusions[step["reason"]] += step["excluded"]
        manifest = {
            "format": FORMAT,
            "name": self.source.name,
            "version": VERSION,
            "synthetic": self.source.marker is not None,
            "cardiozoo": __version__,
            "versions": {package: version(package) for package in ("numpy", "polars", "pydicom", "scipy", "wfdb")},
            "release": self.source.release,
            "options": options,
            "ecg": {
                "rate": self.form.rate,
                "samples": self.form.samples,
                "seconds": self.form.seconds,
                "leads": list(LEADS),
                "missing": MISSING,
                "states": list(LEAD_STATES),
                "quality": asdict(self.form.quality),
            },
            "flow": self.listing.flow,
            "exclusions": dict(exclusions),
            "counts": counts,
            "notes": self.listing.notes,
            "sources": sources,
        }
        return manifest | ({"simulator": self.source.marker} if self.source.marker else {})


def place(kept: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Where records go so that no row is empty and as few as possible move.

    Args:
        kept: bool (N,) whether a record was written to its row.

    Returns:
        int (N,) the row of each record, -1 for those left out; and (from, to) of the rows that move: the last ones
        into the gaps, in order.
    """
    total = int(kept.sum())
    rows = np.where(kept, np.arange(len(kept)), -1)
    holes = np.flatnonzero(~kept[:total])
    last = np.flatnonzero(kept[total:]) + total
    rows[last] = holes
    return rows, list(zip(last.tolist(), holes.tolist(), strict=True))


def _cores() -> int:
    """Cores that this process may use, which on a shared machine are fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _size_and_time(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _reasons(listing: Listing) -> str:
    return _counted(listing.excluded["reason"]) if listing.excluded.height else "they are none"


def _counted(reasons: pl.Series) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in Counter(reasons.drop_nulls().to_list()).most_common(5))
