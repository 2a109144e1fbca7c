"""A miniature of MIMIC-IV 2.2 and MIMIC-CXR-JPG 2.0.0 in their raw layouts, written by hand: forty adults and a few
odd ones.

Patient i (0..39) stays 20 + 3 i hours, is charted every hour, dies in hospital if i is a multiple of 7, and has
radiographs if i is
even: an AP film five hours after admission, a PA film an hour later and a lateral one. The odd ones must not enter a
    cohort.
"""

from __future__ import annotations

import csv
import gzip
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

PATIENTS = 40
# these forty numbers fall into all three splits, with and without radiographs
FIRST_SUBJECT = 10_001_100
LABELS = (
    "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,"
    "No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
).split(",")

HEART_RATE, SYSTOLIC, DIASTOLIC, MEAN_PRESSURE = 220045, 220050, 220051, 220052
RESPIRATION, SATURATION, TEMPERATURE_F, EYE, MOTOR, VERBAL = 220210, 220277, 223761, 220739, 223901, 223900
LAB_GLUCOSE, LAB_PH = 50931, 50820
_UNITS = {
    HEART_RATE: "bpm",
    SYSTOLIC: "mmHg",
    DIASTOLIC: "mmHg",
    MEAN_PRESSURE: "mmHg",
    RESPIRATION: "insp/min",
    SATURATION: "%",
    TEMPERATURE_F: "°F",
}
_DIAGNOSES = [
    ("4019", 9),
    ("I10", 10),
    ("J9601", 10),
    ("42731", 9),
    ("N179", 10),
    ("0389", 9),
    ("E119", 10),
    ("486", 9),
]


def subject(i: int) -> int:
    return FIRST_SUBJECT + i


def admitted(i: int) -> datetime:
    return datetime(2150, 1, 1) + timedelta(days=i, hours=i % 24, minutes=30)


def los_hours(i: int) -> float:
    return 20.0 + 3 * i


def write_mini_raw(root: Path) -> tuple[Path, Path]:
    """Write both layouts under `root`: (MIMIC-IV folder, MIMIC-CXR-JPG folder)."""
    iv, cxr = root / "mimic-iv", root / "mimic-cxr"
    _write_hospital(iv)
    _write_events(iv)
    _write_cxr(cxr)
    return iv, cxr


def write_csv(path: Path, header: str, rows: list[tuple]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)


def _time(when: datetime | None) -> str:
    return "" if when is None else when.strftime("%Y-%m-%d %H:%M:%S")


def _write_hospital(iv: Path) -> None:
    patients, admissions, stays, diagnoses = [], [], [], []
    # odd ones: a minor, a transfer, two stays in one admission, a stay without events, one without diagnoses
    for i in range(PATIENTS + 5):
        odd = i - PATIENTS
        died, start, end = i % 7 == 0 and odd < 0, admitted(i), admitted(i) + timedelta(hours=los_hours(i))
        death = end if died else None
        patients.append((subject(i), "FM"[i % 2], 15 if odd == 0 else 30 + i, 2150, "2014 - 2016", _time(death)[:10]))
        admissions.append(
            (
                subject(i),
                20_000_000 + i,
                _time(start - timedelta(hours=2)),
                _time(end + timedelta(hours=0 if died else 24)),
                _time(death),
                "EW EMER.",
                "WHITE" if i % 3 else "ASIAN",
                int(died),
            )
        )
        last_unit = "SICU" if odd == 1 else "MICU"
        stays.append(
            (subject(i), 20_000_000 + i, 30_000_000 + i, "MICU", last_unit, _time(start), _time(end), los_hours(i) / 24)
        )
        if odd == 2:
            later = end + timedelta(hours=3)
            stays.append(
                (
                    subject(i),
                    20_000_000 + i,
                    31_000_000,
                    "MICU",
                    "MICU",
                    _time(later),
                    _time(later + timedelta(hours=9)),
                    0.375,
                )
            )
        if odd != 4:
            for n, (code, version) in enumerate(_DIAGNOSES[k] for k in {i % 8, (i * 3 + 1) % 8}):
                diagnoses.append((subject(i), 20_000_000 + i, n + 1, code, version))
    write_csv(iv / "hosp/patients.csv.gz", "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod", patients)
    header = "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,race,hospital_expire_flag"
    write_csv(iv / "hosp/admissions.csv.gz", header, admissions)
    header = "subject_id,hadm_id,stay_id,first_careunit,last_careunit,intime,outtime,los"
    write_csv(iv / "icu/icustays.csv.gz", header, stays)
    write_csv(iv / "hosp/diagnoses_icd.csv.gz", "subject_id,hadm_id,seq_num,icd_code,icd_version", diagnoses)


def _write_events(iv: Path) -> None:
    rng = np.random.default_rng(0)
    charts, labs = [], []
    for i in range(PATIENTS + 5):
        if i == PATIENTS + 3:
            continue
        ids = (subject(i), 20_000_000 + i, 30_000_000 + i)
        for hour in range(int(los_hours(i)) + 1):
            when = _time(admitted(i) + timedelta(hours=hour))
            systolic = round(float(rng.normal(120 - i / 2, 10)), 1)
            numbers = {
                HEART_RATE: round(float(rng.normal(70 + i, 8)), 0),
                SYSTOLIC: systolic,
                DIASTOLIC: round(systolic / 2, 1),
                MEAN_PRESSURE: round(systolic / 1.5, 1),
                RESPIRATION: round(float(rng.normal(18, 3)), 0),
                SATURATION: round(min(100.0, float(rng.normal(96, 2))), 0),
            }
            if hour % 4 == 0:
                numbers[TEMPERATURE_F] = round(float(rng.normal(98.6, 1)), 1)
            for item, number in numbers.items():
                charts.append((*ids, 1, when, when, item, number, number, _UNITS[item], 0))
            if hour % 4 == 0:
                for item, text in ((EYE, "To Speech"), (MOTOR, "Obeys Commands"), (VERBAL, "No Response-ETT")):
                    charts.append((*ids, 1, when, when, item, text, "", "", 0))
            if hour % 6 == 0:
                glucose = round(float(rng.normal(140, 30)), 0)
                labs.append((len(labs) + 1, ids[0], "", 1, LAB_GLUCOSE, when, when, "___", glucose, "mg/dL"))
                labs.append((len(labs) + 1, ids[0], ids[1], 1, LAB_PH, when, when, 7.4, 7.4, "units"))
    # dirty rows of patient 1: an absurd value, an unknown item, a time before the stay
    ids, start = (subject(1), 20_000_001, 30_000_001), admitted(1)
    charts.append((*ids, 1, _time(start), _time(start), HEART_RATE, 999999, 999999, "bpm", 0))
    charts.append((*ids, 1, _time(start), _time(start), 1, "x", "", "", 0))
    charts.append((*ids, 1, _time(start - timedelta(hours=5)), _time(start), HEART_RATE, 80, 80, "bpm", 0))
    header = "subject_id,hadm_id,stay_id,caregiver_id,charttime,storetime,itemid,value,valuenum,valueuom,warning"
    write_csv(iv / "icu/chartevents.csv.gz", header, charts)
    header = "labevent_id,subject_id,hadm_id,specimen_id,itemid,charttime,storetime,value,valuenum,valueuom"
    write_csv(iv / "hosp/labevents.csv.gz", header, labs)


def _write_cxr(cxr: Path) -> None:
    rng = np.random.default_rng(1)
    metadata, labels, splits = [], [], []
    for i in range(0, PATIENTS, 2):
        study = 50_000_000 + i
        for k, view in enumerate(("AP", "PA", "LATERAL")):
            when = admitted(i) + timedelta(hours=5 + k, seconds=7)
            dicom = f"{i:08x}-{k:08x}-00000000-00000000-00000000"
            rows, cols = (320, 280) if i % 4 else (280, 340)
            metadata.append(
                (dicom, subject(i), study, "CHEST", view, rows, cols, when.strftime("%Y%m%d"), _clock(when))
            )
            splits.append((dicom, study, subject(i), "train"))
            path = cxr / f"files/p{str(subject(i))[:2]}/p{subject(i)}/s{study}/{dicom}.jpg"
            _write_image(path, i, k, rows, cols, rng)
        values = [("1.0", "0.0", "-1.0", "")[(i // 2 + n) % 4] for n in range(14)]
        labels.append((subject(i), study, *values))
    # named in the metadata, absent on disk: one of patient 1, who has no other image
    when = admitted(1) + timedelta(hours=2)
    metadata.append(("absent", subject(1), 51_000_000, "CHEST", "AP", 300, 300, when.strftime("%Y%m%d"), _clock(when)))
    # somebody without any ICU stay
    metadata.append(("outsider", 19_999_999, 52_000_000, "CHEST", "AP", 300, 300, "21500101", "93000.5"))
    labels.append((19_999_999, 52_000_000, "1.0", *[""] * 13))
    _write_image(cxr / "files/p19/p19999999/s52000000/outsider.jpg", 2, 0, 300, 300, rng)
    header = (
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime"
    )
    write_csv(cxr / "mimic-cxr-2.0.0-metadata.csv.gz", header, metadata)
    write_csv(cxr / "mimic-cxr-2.0.0-split.csv.gz", "dicom_id,study_id,subject_id,split", splits)
    for labeller in ("chexpert", "negbio"):
        write_csv(cxr / f"mimic-cxr-2.0.0-{labeller}.csv.gz", ",".join(("subject_id", "study_id", *LABELS)), labels)


def _clock(when: datetime) -> str:
    """As in the release: a number, so leading zeros are lost."""
    return f"{int(when.strftime('%H%M%S'))}.{when.second * 13 % 1000:03d}"


def _write_image(path: Path, i: int, k: int, rows: int, cols: int, rng: np.random.Generator) -> None:
    """Smooth blobs; some files are of unusual kinds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = rng.integers(0, 256, (8, 8)).astype(np.uint8)
    image = Image.fromarray(small).resize((cols, rows), Image.Resampling.BICUBIC)
    if (i, k) == (4, 0):
        Image.merge("RGB", [image] * 3).save(path, quality=90)
    elif (i, k) == (6, 0):
        Image.fromarray(np.asarray(image).astype(np.uint16) * 200).save(path, format="PNG")
    elif (i, k) == (8, 1):
        image.save(path, quality=90)
        path.write_bytes(path.read_bytes()[:900])
    elif (i, k) == (12, 1):
        path.write_bytes(b"no image at all")
    else:
        image.save(path, quality=90)
