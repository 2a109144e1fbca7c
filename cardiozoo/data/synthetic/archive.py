"""The radiograph archive: draws the films, writes the files, collects the rows of its tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from cardiozoo.data.synthetic import radiograph, tables
from cardiozoo.data.synthetic.chest import Chest, chexpert
from cardiozoo.data.synthetic.dirt import DEFAULT_RATE, Ledger
from cardiozoo.data.synthetic.films import Film, schedule
from cardiozoo.data.synthetic.outcomes import Outcomes
from cardiozoo.data.synthetic.patient import Stays
from cardiozoo.data.synthetic.records import DAY, HOUR, Calendar
from cardiozoo.data.synthetic.streams import Modality, stream

BAD_FILES = ("16-bit file", "colour file", "truncated file", "missing file")
VIEW_NAMES = {"AP": "antero-posterior", "PA": "postero-anterior", "LATERAL": "lateral"}


@dataclass
class Archive:
    """Writer of the image files below ``root``; rows of the tables gather in lists, one dictionary a row.

    Args:
        root: Folder of the archive.
        seed: Seed of the cohort.
        short_side: Shorter side of the files in pixels.
        rate: Rate of dirty rows; bad files follow it.
    """

    root: Path
    seed: int
    short_side: int
    rate: float
    metadata: list[dict] = field(default_factory=list)
    labels: list[dict] = field(default_factory=list)
    truth: list[dict] = field(default_factory=list)

    def add(
        self, stays: Stays, outcomes: Outcomes, calendar: Calendar, now: Chest, earlier: Chest, ledger: Ledger
    ) -> None:
        """Draw and write all films of these stays."""
        for row in range(len(stays)):
            subject = int(calendar.subject_id[stays.patient[row]])
            films = schedule(self.seed, stays, outcomes, row)
            for film in films:
                self._write(film, subject, int(calendar.intime[row]), earlier if film.old else now, ledger)
            for study in {film.study: film for film in films}.values():
                self._report(study, subject, int(stays.index[row]), earlier if study.old else now)

    def _write(self, film: Film, subject: int, intime: int, chest: Chest, ledger: Ledger) -> None:
        picture, ratio = radiograph.render(chest, film.stay, film.view, film.aspect, film.generator)
        relative = f"files/p{subject // 1_000_000}/p{subject}/s{film.study_id}/{film.dicom}.jpg"
        chance = film.generator.random(4)
        scale = self.rate / DEFAULT_RATE
        fault = int(chance[0] / (0.006 * scale)) if scale > 0.0 and chance[0] < 0.006 * scale * len(BAD_FILES) else None
        path = self.root / relative
        if fault != BAD_FILES.index("missing file"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._content(picture, film.quality, fault))
        shape = radiograph.image_shape(film.aspect, self.short_side)
        swapped = scale > 0.0 and chance[1] < 0.01 * scale and shape[0] != shape[1]
        rows, columns = shape[::-1] if swapped else shape
        if fault is not None:
            ledger.add(table=["files"], kind=[BAD_FILES[fault]], subject_id=[subject], written=[relative])
        if swapped:
            ledger.add(
                table=["metadata"], kind=["rows and columns exchanged"], subject_id=[subject], written=[relative]
            )
        moment = intime + round(film.hours * HOUR)
        clock = moment % DAY
        self.metadata.append(
            {
                "dicom_id": film.dicom,
                "subject_id": subject,
                "study_id": film.study_id,
                "PerformedProcedureStepDescription": "CHEST (PORTABLE AP)"
                if film.view == "AP"
                else "CHEST (PA AND LAT)",
                "ViewPosition": film.view,
                "Rows": rows,
                "Columns": columns,
                "StudyDate": int(str(np.datetime64(moment, "s"))[:10].replace("-", "")),
                "StudyTime": float(clock // HOUR * 10000 + clock % HOUR // 60 * 100 + clock % 60)
                + round(float(chance[2]), 3),
                "ProcedureCodeSequence_CodeMeaning": "CHEST (PORTABLE AP)"
                if film.view == "AP"
                else "CHEST (PA AND LAT)",
                "ViewCodeSequence_CodeMeaning": VIEW_NAMES[film.view],
                "PatientOrientationCodeSequence_CodeMeaning": "Recumbent" if film.view == "AP" else "Erect",
            }
        )
        self.truth.append(
            {
                "dicom_id": film.dicom,
                "study_id": film.study_id,
                "subject_id": subject,
                "stay": film.stay,
                "view": film.view,
                "hours": film.hours,
                "linked": film.linked,
                "old_state": film.old,
                "ctr_measured": ratio,
                "fault": None if fault is None else BAD_FILES[fault],
            }
        )

    def _content(self, picture: np.ndarray, quality: int, fault: int | None) -> bytes:
        if fault == 0:
            return radiograph.encode_deep(picture)
        content = radiograph.encode(picture, self.short_side, quality, colour=fault == 1)
        return content[: len(content) // 3] if fault == 2 else content

    def _report(self, film: Film, subject: int, patient: int, chest: Chest) -> None:
        chance = stream(self.seed, patient, Modality.CXR, 8, film.study).random((2, 4, 14))
        one = chest.take(np.array([film.stay]))
        clean, noisy = chexpert(one, chance[:1])
        _, second = chexpert(one, chance[1:])
        self.labels.append(
            {
                "subject_id": subject,
                "study_id": film.study_id,
                "clean": clean[0],
                "chexpert": noisy[0],
                "negbio": second[0],
            }
        )

    def finish(self, folder: Path) -> None:
        """Write the four tables, their rows in the order of their ids."""
        schema = {name: pl.String for name in tables.CXR_METADATA} | {
            "subject_id": pl.Int64, "study_id": pl.Int64, "Rows": pl.Int64, "Columns": pl.Int64, "StudyDate": pl.Int64,
            "StudyTime": pl.Float64,
        }  # fmt: skip
        metadata = pl.DataFrame(self.metadata, schema=schema).sort("subject_id", "study_id", "dicom_id")
        split = (
            pl.when(pl.col("subject_id") % 50 == 0)
            .then(pl.lit("validate"))
            .when(pl.col("subject_id") % 50 == 1)
            .then(pl.lit("test"))
        )
        frames = {
            "metadata": metadata,
            "split": metadata.with_columns(split.otherwise(pl.lit("train")).alias("split")),
            "chexpert": self.label_table("chexpert"),
            "negbio": self.label_table("negbio"),
        }
        for name, frame in frames.items():
            writer = tables.TableWriter(folder, f"mimic-cxr/mimic-cxr-2.0.0-{name}")
            writer.write(frame)
            writer.close()

    def film_table(self) -> pl.DataFrame:
        """The truth of every image: where it belongs, which state it shows, its heart, its fault."""
        schema = {
            "dicom_id": pl.String, "study_id": pl.Int64, "subject_id": pl.Int64, "view": pl.String,
            "hours": pl.Float64,
            "linked": pl.Boolean, "old_state": pl.Boolean, "ctr_measured": pl.Float64, "fault": pl.String,
            "stay_id": pl.Int64,
        }  # fmt: skip
        return pl.DataFrame(self.truth, schema=schema).sort("subject_id", "study_id", "dicom_id")

    def label_table(self, tool: str) -> pl.DataFrame:
        """One row a study: the 14 labels as the tool gives them, or the ``clean`` ones."""
        values = np.array([row[tool] for row in self.labels]).reshape(len(self.labels), len(tables.CHEXPERT_LABELS))
        frame = pl.DataFrame(
            {
                "subject_id": pl.Series([row["subject_id"] for row in self.labels], dtype=pl.Int64),
                "study_id": pl.Series([row["study_id"] for row in self.labels], dtype=pl.Int64),
                **{name: values[:, column] for column, name in enumerate(tables.CHEXPERT_LABELS)},
            }
        )
        return frame.with_columns(pl.col(tables.CHEXPERT_LABELS).fill_nan(None)).sort("subject_id", "study_id")
