"""``cardiozoo synthesize mimic_cxr_ehr``: virtual patients in the layouts of MIMIC-IV and MIMIC-CXR-JPG."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl
from rich.progress import Progress

from cardiozoo.data.synthetic import records, tables, truth
from cardiozoo.data.synthetic.archive import Archive
from cardiozoo.data.synthetic.block import Block, diagnoses, draw_block, event_tables, structural_dirt, unit_rounds
from cardiozoo.data.synthetic.calibrated import Coefficients, load_coefficients
from cardiozoo.data.synthetic.chest import oracle_features
from cardiozoo.data.synthetic.dirt import DEFAULT_RATE, Ledger
from cardiozoo.data.synthetic.films import STUDY_SLOTS
from cardiozoo.data.synthetic.items import CHART_ITEMS, LAB_ITEMS, Values
from cardiozoo.data.synthetic.output import MARKER, check_output, check_range, complete_folder, write_json
from cardiozoo.data.synthetic.patient import ADMISSION_SLOTS
from cardiozoo.data.synthetic.streams import ID_RANGE, IdKind, identify

SIMULATOR = "mimic_cxr_ehr"
SIMULATOR_VERSION = 3
BLOCK = 500
_MEGABYTES = 0.03  # a patient
MAX_PATIENTS = ID_RANGE // max(STUDY_SLOTS, ADMISSION_SLOTS)


def synthesize(
    out: Path,
    patients: int = 1000,
    seed: int = 0,
    image_size: int = 320,
    images: bool = True,
    dirt: float = DEFAULT_RATE,
    mnar: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write a synthetic cohort in the raw layouts of MIMIC-IV 2.2 and MIMIC-CXR-JPG 2.0.0, and the truth about it.

    Nothing in it comes from a real person. The folder appears under its name only when it is complete.

    Args:
        out: Folder to write: mimic-iv/, mimic-cxr/, truth/, SYNTHETIC.json. It must not exist or be empty.
        patients: Number of virtual patients; about one in five stays has radiographs.
        seed: The same seed gives the same bytes, and a larger cohort begins with the patients of a smaller one.
        image_size: Shorter side of the radiographs in pixels, 64 to 3056; they are drawn at 256.
        images: Whether to draw radiographs; without them no mimic-cxr/ is written.
        dirt: Chance of each kind of dirty row, 0 (none) to .05.
        mnar: Whether a radiograph is more likely in pneumonia beyond what the vital signs tell (missing not at random).
        overwrite: Whether to replace a folder that an earlier call wrote.

    Returns:
        The folder.

    Raises:
        OptionError: An option is out of its range, or ``out`` holds something already.
        StoreError: The folder cannot be written to, or the disk is full.
    """
    out = Path(out)
    check_range("patients", patients, 1, MAX_PATIENTS)
    check_range("seed", seed, 0, 2**32 - 1)
    check_range("image_size", image_size, 64, 3056)
    check_range("dirt", dirt, 0.0, 0.05)
    check_output(out, overwrite, SIMULATOR)
    options = {
        "patients": patients,
        "seed": seed,
        "image_size": image_size,
        "images": images,
        "dirt": dirt,
        "mnar": mnar,
    }
    marker = {
        "synthetic": True,
        "simulator": SIMULATOR,
        "simulator_version": SIMULATOR_VERSION,
        "seed": seed,
        "patients": patients,
        "preset": "icu",
    }
    with complete_folder(out, marker, _MEGABYTES * patients) as root:
        _Writer(root, options, marker, load_coefficients()).run()
    return out


@dataclass
class _Writer:
    """Writes one cohort block by block, in the order of the patients' ids; event tables are never held whole."""

    root: Path
    options: dict
    marker: dict
    coefficients: Coefficients
    ledger: Ledger = field(default_factory=Ledger)
    frames: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    truth_rows: list[pl.DataFrame] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)
    chests: list[np.ndarray] = field(default_factory=list)
    shown: list[np.ndarray] = field(default_factory=list)

    def run(self) -> None:
        seed, count = self.options["seed"], self.options["patients"]
        subject = identify(seed, IdKind.PATIENT, np.arange(count))
        order = np.argsort(subject)
        chart = tables.TableWriter(self.root, "mimic-iv/icu/chartevents")
        lab = tables.TableWriter(self.root, "mimic-iv/hosp/labevents")
        archive = (
            Archive(self.root / "mimic-cxr", seed, self.options["image_size"], self.options["dirt"])
            if self.options["images"]
            else None
        )
        values = Values()
        with Progress(transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("synthetic cohort", total=count)
            for start in range(0, count, BLOCK):
                index = order[start : start + BLOCK]
                self._block(index, chart, lab, archive, values)
                progress.advance(task, len(index))
        chart.close()
        lab.close()
        self._small_tables()
        if archive:
            archive.finish(self.root)
        self._truth(archive, {"chartevents": chart.rows, "labevents": lab.rows})
        self._marks()

    def _block(
        self,
        index: np.ndarray,
        chart: tables.TableWriter,
        lab: tables.TableWriter,
        archive: Archive | None,
        values: Values,
    ) -> None:
        seed, rate = self.options["seed"], self.options["dirt"]
        block = draw_block(seed, index, self.coefficients, self.options["mnar"], rate / DEFAULT_RATE)
        rounds, course, rows = unit_rounds(seed, block)
        charted, sampled = event_tables(seed, block, rounds, course, rows, values, rate, self.ledger)
        chart.write(charted)
        lab.write(sampled.with_columns(pl.Series("labevent_id", np.arange(lab.rows + 1, lab.rows + 1 + len(sampled)))))
        structural_dirt(block, self.ledger)
        ward, ward_codes = records.ward_admissions(seed, block.patients, block.calendar)
        for name, frame in (
            (
                "mimic-iv/hosp/patients",
                records.patients_table(block.patients, block.stays, block.outcomes, block.calendar),
            ),
            (
                "mimic-iv/hosp/admissions",
                pl.concat([records.admissions_table(block.stays, block.calendar).select(tables.ADMISSIONS), ward]),
            ),
            ("mimic-iv/hosp/diagnoses_icd", pl.concat([diagnoses(seed, block, rate, self.ledger), ward_codes])),
            ("mimic-iv/icu/icustays", records.stays_table(block.stays, block.calendar, block.units)),
        ):
            self.frames.setdefault(name, []).append(frame)
        if archive:
            first = len(archive.truth)
            archive.add(block.stays, block.outcomes, block.calendar, block.now, block.earlier, self.ledger)
            for film in archive.truth[first:]:
                film["stay_id"] = int(block.units.stay_id[film.pop("stay")])
        self._remember(block, truth.ehr_features(rounds, course, len(rows)), rows)

    def _remember(self, block: Block, features: np.ndarray, rows: np.ndarray) -> None:
        main = np.arange(len(block.stays))
        ehr = np.full((len(main), features.shape[1]), np.nan, dtype=np.float32)
        own = rows < len(main)
        ehr[rows[own]] = features[own]
        self.features.append(ehr)
        self.chests.append(oracle_features(block.now).astype(np.float32))
        shown = block.now.where(block.outcomes.disagree, block.earlier)
        self.shown.append(oracle_features(shown).astype(np.float32))
        self.truth_rows.append(truth.stay_rows(block, shown))

    def _small_tables(self) -> None:
        """Tables that fit into memory; patients, admissions and stays come in an order of their own."""
        shuffle = np.random.default_rng(np.random.SeedSequence((self.options["seed"], 0x0DE5)))
        for name, blocks in self.frames.items():
            frame = pl.concat(blocks)
            if name.endswith("diagnoses_icd"):
                frame = frame.sort("subject_id", "hadm_id", "seq_num")
            else:
                frame = frame[shuffle.permutation(len(frame))]
            _write_table(self.root, name, frame)
        items = [
            (
                item.itemid,
                item.label,
                item.label,
                "chartevents",
                item.category,
                item.unit or None,
                item.param_type,
                None,
                None,
            )
            for item in CHART_ITEMS
        ]
        _write_table(self.root, "mimic-iv/icu/d_items", pl.DataFrame(items, schema=list(tables.D_ITEMS), orient="row"))
        samples = [(item.itemid, item.label, item.fluid, item.category) for item in LAB_ITEMS]
        _write_table(
            self.root, "mimic-iv/hosp/d_labitems", pl.DataFrame(samples, schema=list(tables.D_LABITEMS), orient="row")
        )

    def _truth(self, archive: Archive | None, rows: dict[str, int]) -> None:
        folder = self.root / "truth"
        folder.mkdir()
        stays = pl.concat(self.truth_rows).sort("subject_id", "stay_id")
        stays.write_parquet(folder / "stays.parquet")
        self.ledger.table().write_parquet(folder / "dirt.parquet")
        if archive:
            archive.film_table().write_parquet(folder / "films.parquet")
            archive.label_table("clean").write_parquet(folder / "studies.parquet")
        everything = pl.concat(self.truth_rows)
        summary = truth.summary(
            everything,
            np.concatenate(self.features),
            np.concatenate(self.chests),
            np.concatenate(self.shown),
            self.ledger.table(),
        )
        manifest = {
            **self.marker,
            "options": self.options,
            "versions": {name: version(name) for name in ("cardiozoo", "numpy", "polars", "pillow", "scipy")},
            "rows": rows,
            "images": len(archive.truth) if archive else 0,
            **summary,
        }
        write_json(folder / "manifest.json", manifest)

    def _marks(self) -> None:
        """Say in the folders of both releases too that nothing there comes from a real person."""
        for folder in (self.root / "mimic-iv", self.root / "mimic-cxr"):
            if folder.exists():
                write_json(folder / MARKER, self.marker)


def _write_table(root: Path, name: str, frame: pl.DataFrame) -> None:
    writer = tables.TableWriter(root, name)
    writer.write(frame)
    writer.close()
