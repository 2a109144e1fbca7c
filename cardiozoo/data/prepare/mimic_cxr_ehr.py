"""`prepare`: MIMIC-IV and MIMIC-CXR-JPG, as delivered, into the store that `MimicCxrEhr` reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from rich.console import Console

from cardiozoo.data.ehr_options import EhrOptions
from cardiozoo.data.icd import LabelRule
from cardiozoo.data.prepare.cxr import (
    TYPICAL_BYTES,
    CxrSelection,
    cxr_table,
    decode_all,
    empty_cxr_tables,
    image_counts,
    link,
    select_images,
)
from cardiozoo.data.prepare.flow import print_flow
from cardiozoo.data.prepare.manifest import build_manifest, flow_step, image_step, long_stays_step
from cardiozoo.data.prepare.release import file_facts, same_simulation
from cardiozoo.data.prepare.sources import source_facts
from cardiozoo.data.prepare.tables import write_table
from cardiozoo.data.progress import progress_bar
from cardiozoo.data.readers.mimic_cxr import CxrRelease, Labeller, Views, open_cxr, read_cxr
from cardiozoo.data.readers.mimic_iv import Release, open_release, read_stays, write_events
from cardiozoo.data.splits import (
    assign_splits,
    check_fractions,
    check_listed,
    check_one_split_per_patient,
    read_split_file,
    splits_from_list,
)
from cardiozoo.data.store_builder import StoreBuilder
from cardiozoo.errors import OptionError, RawDataError

NAME = "mimic_cxr_ehr"


def prepare(
    mimic_iv: Path,
    out: Path,
    mimic_cxr: Path | None = None,
    one_stay: Literal["after_transfer", "before_transfer"] = "after_transfer",
    min_age: float = 18,
    age: Literal["at_admission", "anchor"] = "at_admission",
    mortality: Literal["flag_or_deathtime", "published"] = "flag_or_deathtime",
    number: Literal["valuenum_first", "text"] = "valuenum_first",
    zeros: Literal["keep", "missing"] = "keep",
    outliers: Literal["clean", "keep"] = "clean",
    duplicates: Literal["max", "priority", "latest_stored", "text_order"] = "max",
    lab_link: Literal["time", "hadm"] = "time",
    gcs_total: Literal["never", "derived"] = "never",
    items: Literal["extended", "published"] = "extended",
    urine_items: Literal["exclude", "include"] = "exclude",
    units: Literal["check", "item"] = "check",
    fio2: Literal["by_value", "always_percent"] = "by_value",
    height: Literal["centimetres", "as_charted"] = "centimetres",
    label_map: LabelRule = "any",
    label_fallback: Literal["on", "off"] = "on",
    cxr_labels: Labeller = "chexpert",
    cxr_views: Views = "AP+PA",
    cxr_images: CxrSelection = "linked",
    test_fraction: float = 0.2,
    val_fraction: float = 0.08,
    split_seed: int = 0,
    split_file: Path | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    memory_gb: float = 6.0,
    quiet: bool = False,
) -> Path:
    """Prepare MIMIC-IV and MIMIC-CXR-JPG for training: raw tables and images to a store.

    A killed run resumes when the same command is given again. The same input and options give the same bytes.

    Args:
        mimic_iv: Folder of MIMIC-IV (2.x, 3.x or 1.0), with hosp/ and icu/.
        out: Folder of the store to write; it must not exist yet.
        mimic_cxr: Folder of MIMIC-CXR-JPG 2.x; without it every radiograph is missing.
        one_stay: An admission enters with a single ICU stay, counted after stays with a transfer have been taken out
            (after_transfer, as published) or before (before_transfer).
        min_age: Youngest age in years.
        age: Age when the stay begins, or in the patient's anchor year (published).
        mortality: In-hospital death by the hospital's flag or the time of death, or as published by date too, which
            counts deaths at home on the day of discharge.
        number: Take the numeric column and else the text, or the text alone (published).
        zeros: Keep an exact 0, or take it for missing.
        outliers: Remove and clip impossible values, or keep them (published).
        duplicates: Which of several values of one variable at one time counts: the largest, that of the preferred item,
            the one stored last, or the largest as text (published).
        lab_link: A laboratory value belongs to the stay in which it was taken, or to that of its admission (published).
        gcs_total: The total of the Glasgow coma scale is never observed (published), or the sum of its parts.
        items: All items known to measure a variable, or those of the published map.
        urine_items: Whether glucose and pH of urine count as those of blood (published).
        units: Leave out values in a unit not in use for the item, or ignore units.
        fio2: Fractions as they are and percentages divided by 100, or everything divided by 100 (published).
        height: All heights in centimetres, or inches as charted (published).
        label_map: How ICD-10 codes find their phenotypes: any target of the mapping, the first, or the published
            look-up.
        label_fallback: Whether ICD-10 codes that the mapping lacks take what their family agrees on.
        cxr_labels: Labeller whose findings are stored.
        cxr_views: Projections to store; lateral ones only with all.
        cxr_images: linked: images taken during a stay of the cohort; cohort: all images of its patients; all: also
            those of other patients, for pre-training the image encoder (their split follows from the same hash).
        test_fraction: Share of the patients in the test split.
        val_fraction: Share of the patients in the validation split.
        split_seed: Seed of the hash that splits the patients.
        split_file: CSV or Parquet list (subject_id, split) to use instead of the hash; who is not listed is train.
        overwrite: Replace an existing store when the new one is complete.
        workers: Threads that decode images; the number of cores by default.
        memory_gb: Memory for streaming the event tables, in gigabytes; 1 to 2 more are used around it.
        quiet: Print no table at the end.

    Returns:
        The folder of the store.

    Raises:
        OptionError: An option is out of its range.
        RawDataError: Tables or columns are missing, or a file is truncated.
        StoreError: `out` exists, is being built by another process, or the disk is full.
    """
    given = locals()
    ehr = EhrOptions(**{name: given[name] for name in EhrOptions.__dataclass_fields__})
    _check(cxr_images, test_fraction, val_fraction, workers, memory_gb)
    listed = None if split_file is None else read_split_file(split_file)
    options = {
        **asdict(ehr),
        **{name: given[name] for name in ("cxr_labels", "cxr_views", "cxr_images")},
        **{name: given[name] for name in ("test_fraction", "val_fraction", "split_seed")},
        "split_file": None if split_file is None else file_facts(split_file),
    }
    release = open_release(Path(mimic_iv))
    cxr = None if mimic_cxr is None else open_cxr(mimic_cxr, cxr_labels)
    marker = same_simulation([Path(mimic_iv), release.root], [Path(mimic_cxr), cxr.root] if cxr and mimic_cxr else [])
    console = Console(stderr=True)

    def split_of(subjects: np.ndarray) -> np.ndarray:
        if listed is not None:
            console.print(check_listed(subjects, listed))
            return splits_from_list(subjects, listed)
        return assign_splits(subjects, split_seed, test_fraction, val_fraction)

    identity = {"options": options, "inputs": _inputs(release, cxr, cxr_labels), "marker": marker}
    with StoreBuilder(out, NAME, identity, overwrite, console.print) as builder:
        work = _Work(builder, release, cxr, ehr, options, split_of, workers or os.cpu_count() or 1, memory_gb)
        facts = work.run()
        manifest = build_manifest(NAME, options, marker, release, cxr, facts)
        size = sum(path.stat().st_size for path in builder.store.rglob("*") if path.is_file())
        with progress_bar("Checksums of the store", size) as advance:
            path = builder.finish(manifest, advance)
    if not quiet:
        print_flow(manifest, console)
    return path


class _Work:
    """The stages of one `prepare`, in order."""

    def __init__(
        self,
        builder: StoreBuilder,
        release: Release,
        cxr: CxrRelease | None,
        ehr: EhrOptions,
        options: dict[str, Any],
        split_of: Callable[[np.ndarray], np.ndarray],
        workers: int,
        memory_gb: float,
    ) -> None:
        self.builder, self.release, self.cxr, self.ehr, self.options = builder, release, cxr, ehr, options
        self.split_of, self.workers, self.memory_gb = split_of, workers, memory_gb

    def run(self) -> dict[str, Any]:
        """Run what is not done yet; the facts of all stages by name."""
        stage = self.builder.stage
        facts = {"sources": stage("sources", self._sources)}
        facts["stays"] = stage("stays", self._stays, ["scratch/candidates.parquet"])
        events = [f"store/events/{name}.npy" for name in ("offsets", "seconds", "variable", "value")]
        facts["events"] = stage("events", self._events, [*events, "store/stays.parquet"])
        if self.cxr is not None:
            facts["selection"] = stage("selection", self._selection, ["scratch/images.parquet"])
            facts["images"] = stage("images", self._images, ["store/images.bin", "scratch/decoded.parquet"])
        facts["tables"] = stage("tables", self._tables, ["store/cxr.parquet", "store/links.parquet"])
        return facts

    def _stays(self) -> dict[str, Any]:
        stays = read_stays(self.release, self.ehr)
        table = stays.table.with_row_index("stay").with_columns(pl.col("stay").cast(pl.Int32))
        write_table(table, self.builder.scratch / "candidates.parquet")
        return {"flow": stays.flow, "counts": dict(stays.counts)}

    def _events(self) -> dict[str, Any]:
        """Events of all candidates; stays without one are then taken out (they own nothing in the arrays)."""
        table = pl.read_parquet(self.builder.scratch / "candidates.parquet")
        folder = self.builder.store / "events"
        folder.mkdir(exist_ok=True)
        found = write_events(
            self.release,
            table,
            self.ehr,
            folder,
            memory_gb=self.memory_gb,
            threads=self.workers,
            scratch=self.builder.scratch / "events",
        )
        offsets = np.load(folder / "offsets.npy")
        n_events = np.diff(offsets)
        kept = n_events > 0
        if not kept.any():
            raise RawDataError(
                f"Not one of the {table.height} stays of {self.release.root} has a usable event: "
                f"{_dropped(found['counts'])}.",
                "Item ids, units and times as in MIMIC-IV, within the stays.",
                "Use chartevents and labevents as delivered, of the release that icustays is of.",
            )
        seconds = np.load(folder / "seconds.npy", mmap_mode="r")
        first = seconds[offsets[:-1][kept]] if kept.any() else np.zeros(0, dtype=np.int32)
        np.save(folder / "offsets.npy", np.concatenate([offsets[:-1][kept], offsets[-1:]]))
        stays = table.filter(pl.Series(kept)).with_columns(
            pl.int_range(pl.len(), dtype=pl.Int32).alias("stay"),
            pl.Series("n_events", n_events[kept].astype(np.int32)),
            pl.Series("first_event_seconds", np.asarray(first, dtype=np.int32)),
        )
        split = pl.Series("split", self.split_of(stays["subject_id"].to_numpy()), dtype=pl.String)
        first_columns = ["stay", "subject_id", "hadm_id", "stay_id", "split"]
        stays = stays.with_columns(split)
        write_table(stays.select(*first_columns, pl.exclude(first_columns)), self.builder.store / "stays.parquet")
        reason = "stay without a usable event"
        step = flow_step("stays with at least one event", stays, int((~kept).sum()), reason)
        return {"flow": [step], "counts": found["counts"]}

    def _selection(self) -> dict[str, Any]:
        assert self.cxr is not None
        images = read_cxr(self.cxr, self.options["cxr_labels"], self.options["cxr_views"])
        table, flow = select_images(images, self._stays_table(), self.options["cxr_images"])
        write_table(table, self.builder.scratch / "images.parquet")
        return {"flow": flow, "counts": dict(sorted(images.counts.items()))}

    def _images(self) -> dict[str, Any]:
        assert self.cxr is not None
        table = pl.read_parquet(self.builder.scratch / "images.parquet")
        self.builder.space_needed(table.height * TYPICAL_BYTES, f"{table.height:,} radiographs")
        with progress_bar("Radiographs", table.height) as advance:
            target, chunks = self.builder.store / "images.bin", self.builder.scratch / "chunks"
            decoded = decode_all(table, self.cxr.root, target, chunks, self.workers, advance)
        excluded, facts = image_counts(decoded)
        if table.height and excluded["image file absent"] == table.height:
            first = self.cxr.root / table["file"][0]
            raise RawDataError(
                f"None of the {table.height} radiographs is there; {first} was looked for first.",
                "The images beside the tables, in files/p1X/p1XXXXXXX/sXXXXXXXX/.",
                "Download the images, or leave --mimic_cxr out to go without.",
            )
        write_table(decoded, self.builder.scratch / "decoded.parquet")
        left, flow = table.height, []
        for reason, count in excluded.items():
            left -= count
            flow.append(image_step(f"images: {reason} left out", left, count, reason))
        return {"flow": flow, "counts": dict(facts)}

    def _tables(self) -> dict[str, Any]:
        stays = self._stays_table()
        cxr, links = empty_cxr_tables()
        if self.cxr is not None:
            decoded = pl.read_parquet(self.builder.scratch / "decoded.parquet")
            split = pl.Series("split", self.split_of(decoded["subject_id"].to_numpy()), dtype=pl.String)
            cxr = cxr_table(decoded, split)
            links = link(stays, cxr)
        else:
            (self.builder.store / "images.bin").touch()
        check_one_split_per_patient(
            (name, table["subject_id"].to_numpy(), table["split"].to_numpy().astype("<U5"))
            for name, table in (("stays", stays), ("images", cxr))
        )
        write_table(cxr, self.builder.store / "cxr.parquet")
        write_table(links, self.builder.store / "links.parquet")
        paired = stays.filter(pl.col("stay").is_in(links["stay"].unique().to_list()))
        step = flow_step("stays of the store", stays, 0, "")
        flow = [{**step, "images": cxr.height}, long_stays_step(stays, step["step"])]
        return {"flow": flow, "counts": _counts(stays, paired, cxr, links)}

    def _sources(self) -> dict[str, Any]:
        tables = _tables_read(self.release, self.cxr, self.options["cxr_labels"])
        return {"sources": source_facts(tables, self.workers)}

    def _stays_table(self) -> pl.DataFrame:
        return pl.read_parquet(self.builder.store / "stays.parquet")


def _dropped(counts: dict[str, Any]) -> str:
    """What became of the rows of the event tables, the most frequent fate first."""
    tables = ((name, counts[name]) for name in ("chartevents", "labevents"))
    fates = {name: [(n, what) for what, n in found.items() if isinstance(n, int) and n] for name, found in tables}
    return "; ".join(
        f"{name}: {', '.join(f'{n} {what}' for n, what in sorted(f)[:-5:-1])}" for name, f in fates.items()
    )


def _counts(stays: pl.DataFrame, paired: pl.DataFrame, cxr: pl.DataFrame, links: pl.DataFrame) -> dict[str, Any]:
    def of(table: pl.DataFrame, split: str) -> pl.DataFrame:
        return table.filter(pl.col("split") == split)

    return {
        "stays": stays.height,
        "admissions": stays["hadm_id"].n_unique(),
        "patients": stays["subject_id"].n_unique(),
        "events": int(stays["n_events"].cast(pl.Int64).sum()),
        "images": cxr.height,
        "links": links.height,
        "stays_with_image": paired.height,
        "splits": {
            split: {
                "patients": of(stays, split)["subject_id"].n_unique(),
                "stays": of(stays, split).height,
                "paired": of(paired, split).height,
                "images": of(cxr, split).height,
            }
            for split in ("train", "val", "test")
        },
    }


def _check(cxr_images: str, test_fraction: float, val_fraction: float, workers: int | None, memory_gb: float) -> None:
    check_fractions(test_fraction, val_fraction)
    if cxr_images not in get_args(CxrSelection):
        raise OptionError(
            f"cxr_images is '{cxr_images}'.", f"One of {', '.join(get_args(CxrSelection))}.", "Choose one."
        )
    if workers is not None and workers < 1:
        raise OptionError(f"workers is {workers}.", "At least 1.", "Leave it out to use all cores.")
    if not 0.5 <= memory_gb <= 1024:
        raise OptionError(f"memory_gb is {memory_gb}.", "At least 0.5 (gigabytes).", "The default is 6.")


def _tables_read(release: Release, cxr: CxrRelease | None, labels: str) -> dict[str, Path]:
    tables = {name: table.path for name, table in release.tables.items()}
    read = ("metadata", labels)
    return tables | ({f"cxr/{kind}": cxr.tables[kind] for kind in read if kind in cxr.tables} if cxr else {})


def _inputs(release: Release, cxr: CxrRelease | None, labels: str) -> dict[str, list[int]]:
    """What decides whether a killed run may go on: size and time of change of every table."""
    facts = {name: path.stat() for name, path in _tables_read(release, cxr, labels).items()}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in sorted(facts.items())}
