"""The virtual patient: body, severity, circulation. Every modality is rendered from this state and from nothing else.

Patients are held as a structure of arrays, one row a patient (:class:`Patients`) or one row an admission with its stay
in the intensive care unit (:class:`Stays`). A modality to come (ECG, cine MRI, genotypes) reads the same rows and draws
its own nuisance from its own streams. Reference volumes: Petersen et al. 2017 (UK Biobank cardiac MRI); body surface:
Mosteller 1987; invasive pressures follow the identity mPAP = PAWP + PVR * CO.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from cardiozoo.data.synthetic.streams import Modality, draws

MAX_ADMISSIONS = 3
ADMISSION_SLOTS = 8
"""Numbers reserved a patient: three admissions, their second stays, and one admission without intensive care."""


@dataclass
class Patients:
    """One row a patient; ``index`` is the number in the cohort from which all streams and ids follow."""

    index: np.ndarray
    male: np.ndarray
    age: np.ndarray  # years at the first admission
    height: np.ndarray  # cm
    weight: np.ndarray  # kg
    admissions: np.ndarray  # 1 to MAX_ADMISSIONS
    frailty: np.ndarray  # what the severities of one patient's admissions share, N(0, 1)
    chronic: np.ndarray  # (N, 25) uniforms that decide the conditions of the person
    body: np.ndarray  # (N, 8) normals: chest and heart geometry that every film of the person shares

    def __len__(self) -> int:
        return len(self.index)


@dataclass
class Stays:
    """One row an admission with intensive care. All patient columns are repeated, so that a row stands alone."""

    patient: np.ndarray  # row in Patients
    index: np.ndarray  # number of the patient in the cohort
    number: np.ndarray  # 0 for the first admission of the patient
    male: np.ndarray
    age: np.ndarray
    height: np.ndarray
    weight: np.ndarray
    severity: np.ndarray  # s, N(0, 1)
    distress: np.ndarray  # respiratory distress, .6 s + .8 e
    chronic: np.ndarray
    acute: np.ndarray  # (S, 25) uniforms that decide the conditions of the admission
    body: np.ndarray

    def __len__(self) -> int:
        return len(self.index)


@dataclass
class Circulation:
    """Pressures (mmHg), flow (l/min), resistance (Wood units), volumes (ml), mass (g) of one row each.

    ``pawp`` and ``pvr`` are drawn, ``mpap`` is their identity; ``h``, ``l`` and ``r`` are the log ratios from which an
    electrocardiogram or a film of the heart would be rendered.
    """

    pawp: np.ndarray
    pvr: np.ndarray
    output: np.ndarray
    mpap: np.ndarray
    h: np.ndarray
    l: np.ndarray
    r: np.ndarray
    hypertrophy: np.ndarray
    lvedv: np.ndarray
    lvedv_reference: np.ndarray
    lvef: np.ndarray
    lv_mass: np.ndarray
    rvedv: np.ndarray
    rvedv_reference: np.ndarray
    la_volume: np.ndarray
    la_reference: np.ndarray
    ra_volume: np.ndarray

    def columns(self) -> dict[str, np.ndarray]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def decades(age: np.ndarray) -> np.ndarray:
    """Age in decades from 60 years."""
    return (age - 60.0) / 10.0


def body_surface(height: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Body surface in square metres: sqrt(cm * kg / 3600) (Mosteller 1987)."""
    return np.sqrt(height * weight / 3600.0)


def draw_patients(seed: int, index: np.ndarray) -> Patients:
    """Patients of the given cohort numbers."""
    gauss, flat = draws(seed, index, Modality.PHYSIOLOGY, 0, normals=16, uniforms=36)
    male = flat[:, 0] < 0.56
    height = np.where(male, 176.0 + 7.0 * gauss[:, 1], 163.0 + 6.5 * gauss[:, 1])
    admissions = 1 + (flat[:, 1] < 0.16).astype(int) + (flat[:, 1] < 0.04)
    return Patients(
        index=index,
        male=male,
        age=np.clip(64.0 + 16.5 * gauss[:, 0], 18.0, 95.0),
        height=np.clip(height, 135.0, 210.0),
        weight=np.clip(
            np.where(male, 85.0, 70.0) + 14.0 * gauss[:, 2] + 0.4 * (height - np.where(male, 176.0, 163.0)), 35.0, 200.0
        ),
        admissions=admissions,
        frailty=gauss[:, 3],
        chronic=flat[:, 2:27],
        body=gauss[:, 4:12],
    )


def draw_stays(seed: int, patients: Patients) -> Stays:
    """Admissions with intensive care of these patients, in their order; part of the severity is that of the person."""
    rows = np.repeat(np.arange(len(patients)), patients.admissions)
    first = np.concatenate([[0], np.cumsum(patients.admissions)[:-1]]) if len(patients) else np.zeros(0, int)
    number = np.arange(len(rows)) - np.repeat(first, patients.admissions)
    gauss, flat = draws(seed, patients.index[rows], Modality.PHYSIOLOGY, 1, normals=2, uniforms=25, parts=number)
    severity = np.sqrt(0.3) * patients.frailty[rows] + np.sqrt(0.7) * gauss[:, 0]
    return Stays(
        patient=rows,
        index=patients.index[rows],
        number=number,
        male=patients.male[rows],
        age=patients.age[rows],
        height=patients.height[rows],
        weight=patients.weight[rows],
        severity=severity,
        distress=0.6 * severity + 0.8 * gauss[:, 1],
        chronic=patients.chronic[rows],
        acute=flat,
        body=patients.body[rows],
    )


def circulation(
    stays: Stays, failure: np.ndarray, congestion: np.ndarray, atrium: np.ndarray, load: np.ndarray, gauss: np.ndarray
) -> Circulation:
    """Pressures and volumes from the conditions of the heart.

    Args:
        stays: Rows to be given a circulation.
        failure: Left-heart disease adds LN(ln 10, .45) times this factor to the wedge pressure (S,).
        congestion: Further wedge pressure in mmHg (S,).
        atrium: Further log size of the left atrium (S,).
        load: Pressure load of the left ventricle, in units of its mass score (S,).
        gauss: Standard normals (S, 11).
    """
    a, male = decades(stays.age), stays.male
    size = body_surface(stays.height, stays.weight) / np.where(male, 2.0, 1.75)
    pulmonary = (gauss[:, 0] < -1.1).astype(float)
    pawp = (
        np.exp(np.log(9.5) + 0.05 * a + 0.28 * gauss[:, 1])
        + failure * np.exp(np.log(10.0) + 0.45 * gauss[:, 2])
        + congestion
    )
    pvr = np.exp(np.log(1.7) + 0.04 * a + 0.35 * gauss[:, 3]) + pulmonary * np.exp(np.log(4.0) + 0.6 * gauss[:, 4])
    output = np.exp(np.log(5.6) - 0.02 * a + 0.06 * male + 0.18 * gauss[:, 5]) * np.where(pvr > 4.0, 0.85, 1.0)
    mpap = pawp + pvr * output
    h, l = np.log2(mpap / 14.0), np.log2(pawp / 8.6)
    r = 0.35 * np.maximum(0.0, np.log2(pvr * output / 7.0)) + 0.10 * np.maximum(h, 0.0)
    hypertrophy = 0.15 * a + 0.12 * male + 0.15 * l + load + 0.22 * stays.body[:, 0]
    lvedv_reference = np.where(male, 166.0, 124.0) * size**0.8
    rvedv_reference = np.where(male, 182.0, 130.0) * size**0.8
    la_reference = np.where(male, 71.0, 62.0) * size**0.8
    lvedv = lvedv_reference * np.exp(0.16 * stays.body[:, 1] + 0.22 * failure)
    return Circulation(
        pawp=pawp,
        pvr=pvr,
        output=output,
        mpap=mpap,
        h=h,
        l=l,
        r=r,
        hypertrophy=hypertrophy,
        lvedv=lvedv,
        lvedv_reference=lvedv_reference,
        lvef=np.clip(np.where(male, 58.0, 61.0) + 5.0 * gauss[:, 6] - 14.0 * failure, 12.0, 80.0),
        lv_mass=np.where(male, 103.0, 70.0) * np.exp(0.20 * hypertrophy),
        rvedv=rvedv_reference * (1.0 + 0.25 * r + 0.10 * gauss[:, 7]),
        rvedv_reference=rvedv_reference,
        la_volume=la_reference * np.exp(0.30 * l + 0.15 * gauss[:, 8] + atrium),
        la_reference=la_reference,
        ra_volume=np.where(male, 93.0, 69.0) * size**0.8 * np.exp(0.25 * h + 0.15 * gauss[:, 9]),
    )
