"""The raw layouts: column lists of MIMIC-IV 2.2 and MIMIC-CXR-JPG 2.0.0, and a gzip writer for them."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import polars as pl

PATIENTS = ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod")
ADMISSIONS = (
    "subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type", "admit_provider_id",
    "admission_location", "discharge_location", "insurance", "language", "marital_status", "race", "edregtime",
    "edouttime", "hospital_expire_flag",
)  # fmt: skip
DIAGNOSES = ("subject_id", "hadm_id", "seq_num", "icd_code", "icd_version")
LABEVENTS = (
    "labevent_id", "subject_id", "hadm_id", "specimen_id", "itemid", "order_provider_id", "charttime", "storetime",
    "value", "valuenum", "valueuom", "ref_range_lower", "ref_range_upper", "flag", "priority", "comments",
)  # fmt: skip
D_LABITEMS = ("itemid", "label", "fluid", "category")
ICUSTAYS = ("subject_id", "hadm_id", "stay_id", "first_careunit", "last_careunit", "intime", "outtime", "los")
CHARTEVENTS = (
    "subject_id", "hadm_id", "stay_id", "caregiver_id", "charttime", "storetime", "itemid", "value", "valuenum",
    "valueuom", "warning",
)  # fmt: skip
D_ITEMS = (
    "itemid",
    "label",
    "abbreviation",
    "linksto",
    "category",
    "unitname",
    "param_type",
    "lownormalvalue",
    "highnormalvalue",
)
CXR_METADATA = (
    "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns",
    "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)  # fmt: skip
CXR_SPLIT = ("dicom_id", "study_id", "subject_id", "split")
CHEXPERT_LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
CXR_LABELS = ("subject_id", "study_id", *CHEXPERT_LABELS)

LAYOUT = {
    "mimic-iv/hosp/patients": PATIENTS,
    "mimic-iv/hosp/admissions": ADMISSIONS,
    "mimic-iv/hosp/diagnoses_icd": DIAGNOSES,
    "mimic-iv/hosp/labevents": LABEVENTS,
    "mimic-iv/hosp/d_labitems": D_LABITEMS,
    "mimic-iv/icu/icustays": ICUSTAYS,
    "mimic-iv/icu/chartevents": CHARTEVENTS,
    "mimic-iv/icu/d_items": D_ITEMS,
    "mimic-cxr/mimic-cxr-2.0.0-metadata": CXR_METADATA,
    "mimic-cxr/mimic-cxr-2.0.0-split": CXR_SPLIT,
    "mimic-cxr/mimic-cxr-2.0.0-chexpert": CXR_LABELS,
    "mimic-cxr/mimic-cxr-2.0.0-negbio": CXR_LABELS,
}
"""Tables by their path below the output folder, without ``.csv.gz``."""

COMPRESSION = 1
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


class TableWriter:
    """A gzip-compressed CSV that grows block by block; no time stamp, so the same rows give the same bytes."""

    def __init__(self, root: Path, name: str) -> None:
        self.columns = LAYOUT[name]
        path = root / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._raw = path.open("wb")
        self._zip = gzip.GzipFile(filename="", mode="wb", compresslevel=COMPRESSION, fileobj=self._raw, mtime=0)
        self._zip.write((",".join(self.columns) + "\n").encode())
        self.rows = 0

    def write(self, block: pl.DataFrame) -> None:
        """Append rows; columns are put into the order of the layout, null becomes an empty field."""
        buffer = io.BytesIO()
        block.select(self.columns).write_csv(buffer, include_header=False, datetime_format=TIME_FORMAT)
        self._zip.write(buffer.getbuffer())
        self.rows += len(block)

    def close(self) -> None:
        self._zip.close()
        self._raw.close()


def moments(seconds: np.ndarray) -> pl.Series:
    """Seconds since 1970 (int64, negative: none) as a datetime column."""
    series = pl.Series(values=seconds, dtype=pl.Int64)
    return pl.select(pl.when(series >= 0).then(series * 1_000_000).cast(pl.Datetime("us"))).to_series()
