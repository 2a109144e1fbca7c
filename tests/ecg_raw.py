"""Small raw layouts of ECG, written with nothing of cardiozoo, so that tests know every sample."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
MIMIC_ORDER = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")


def samples(seed: int, length: int = 500) -> np.ndarray:
    """int16 (12, length) in the order of `LEADS`: noise of some 200 units, the limb leads as Einthoven has them."""
    rng = np.random.default_rng(seed)
    chest = rng.normal(0, 200, (6, length))
    one, two = rng.normal(0, 200, (2, length))
    limb = np.stack([one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2])
    return np.rint(np.concatenate([limb, chest])).astype(np.int16)


def write_wfdb(
    folder: Path,
    name: str,
    signal: np.ndarray,
    rate: float = 500,
    gain: float = 200,
    names: Sequence[str] = LEADS,
    time: datetime | None = None,
    subject: Any = None,
) -> Path:
    """One record in format 16 with checksums; returns its path without an ending."""
    folder.mkdir(parents=True, exist_ok=True)
    signal = np.stack([signal[LEADS.index(next(n for n in LEADS if n.upper() == lead.upper()))] for lead in names])
    when = f" {time:%H:%M:%S %d/%m/%Y}" if time else ""
    lines = [f"{name} {len(names)} {rate:g} {signal.shape[1]}{when}"]
    for lead, row in zip(names, signal, strict=True):
        checksum = int(row.astype(np.int64).sum()) % 65536
        lines.append(f"{name}.dat 16 {gain:.1f}(0)/mV 16 0 {row[0]} {checksum} 0 {lead}")
    lines += [f"# <subject_id>: {subject}"] if subject is not None else []
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    (folder / f"{name}.dat").write_bytes(np.ascontiguousarray(signal.T, dtype="<i2").tobytes())
    return folder / name


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A table with the columns of its first row; ``.gz`` is compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def subject(number: int) -> int:
    return 10_000_000 + number


def write_mimic_iv_ecg(root: Path, patients: int = 12, length: int = 500) -> Path:
    """A miniature of MIMIC-IV-ECG with hosp/patients beside it: two records for each even patient, one for the others.

    Records are one second long (`length` samples at 500 Hz), record k has ``samples(k)``.
    """
    listed, measured, people = [], [], []
    number = 0
    for patient in range(patients):
        person = subject(patient)
        people.append(
            {
                "subject_id": person,
                "gender": "FM"[patient % 2],
                "anchor_age": 40 + patient,
                "anchor_year": 2150,
                "anchor_year_group": "2011 - 2013",
                "dod": "",
            }
        )
        for _ in range(1 + (patient % 2 == 0)):
            study, time = 40_000_000 + number, datetime(2152, 3, 1, 12, number % 60, 0)
            path = f"files/p{str(person)[:4]}/p{person}/s{study}/{study}"
            write_wfdb(
                (root / path).parent, str(study), samples(number, length), names=MIMIC_ORDER, time=time, subject=person
            )
            listed.append(
                {"subject_id": person, "study_id": study, "file_name": study, "ecg_time": f"{time}", "path": path}
            )
            measured.append(measurements(person, study, number))
            number += 1
    write_csv(root / "record_list.csv", listed)
    write_csv(root / "machine_measurements.csv", measured)
    write_csv(root / "mimic-iv" / "hosp" / "patients.csv.gz", people)
    return root


def measurements(person: int, study: int, number: int) -> dict[str, Any]:
    """A row of machine_measurements.csv."""
    row = {"subject_id": person, "study_id": study, "cart_id": 7, "ecg_time": "2152-03-01 12:00:00"}
    row |= {f"report_{n}": ("Sinus rhythm" if n == 0 else "Normal ECG" if n == 1 else "") for n in range(18)}
    row |= {"bandwidth": "0.005-150 Hz", "filtering": "60 Hz notch Baseline filter", "rr_interval": 800 + number}
    row |= {"p_onset": 40, "p_end": 150, "qrs_onset": 200, "qrs_end": 290, "t_end": 590}
    return row | {"p_axis": 50, "qrs_axis": -10, "t_axis": 30}
