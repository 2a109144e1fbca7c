"""The state of the chest that a radiograph shows: heart size, lung water, effusions, consolidation, devices, labels."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from cardiozoo.data.synthetic import plants
from cardiozoo.data.synthetic.calibrated import Coefficients
from cardiozoo.data.synthetic.conditions import sigmoid
from cardiozoo.data.synthetic.icu import ventilation
from cardiozoo.data.synthetic.patient import Circulation, Stays, circulation, decades
from cardiozoo.data.synthetic.streams import Modality, draws
from cardiozoo.data.synthetic.tables import CHEXPERT_LABELS

EDEMA_FROM = 0.6
CARDIOMEGALY_FROM = 0.50
EFFUSION_FROM = 0.08
LABEL_FLIP = 0.03
UNCERTAIN_BAND = 0.10


@dataclass
class Chest:
    """One row a stay. Sides: +1 is the patient's left (image right), -1 the right; sizes in units of the phantom."""

    ctr: np.ndarray  # cardiothoracic ratio at two metres, before the magnification of a bedside film
    left_atrium: np.ndarray  # log size relative to the reference
    knob: np.ndarray  # aortic knob, N(0, 1) without hypertension
    band: np.ndarray  # half width of the mediastinum
    water: np.ndarray  # lung water w: 0 none, .5 interstitial, above 1.3 alveolar
    effusion_right: np.ndarray
    effusion_left: np.ndarray
    consolidation: np.ndarray  # strength, 0 = none
    consolidation_radius: np.ndarray
    consolidation_side: np.ndarray
    consolidation_height: np.ndarray  # 0 apex, 1 base
    collapse: np.ndarray  # strength of basal atelectasis, 0 = none
    collapse_side: np.ndarray
    pneumothorax: np.ndarray  # width at the apex, 0 = none
    pneumothorax_side: np.ndarray
    loculated: np.ndarray  # size of an effusion against the lateral wall, 0 = none
    loculated_side: np.ndarray
    hyperinflation: np.ndarray  # N(0, 1), shifted in COPD
    pacemaker: np.ndarray
    wires: np.ndarray
    tube: np.ndarray  # endotracheal
    line: np.ndarray  # central venous
    nodule: np.ndarray
    fracture: np.ndarray
    texture: np.ndarray  # (S, 4) uniforms: where the nodule and the fracture are

    def columns(self) -> dict[str, np.ndarray]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "texture"}

    def take(self, rows: np.ndarray) -> Chest:
        return Chest(*(getattr(self, field.name)[rows] for field in fields(self)))

    def where(self, rows: np.ndarray, other: Chest) -> Chest:
        """This state, with that of ``other`` in the rows where the mask is true."""
        mixed = {}
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            mixed[field.name] = np.where(rows[:, None] if mine.ndim == 2 else rows, theirs, mine)
        return Chest(**mixed)


def draw_chest(
    seed: int, stays: Stays, present: np.ndarray, ventilated: np.ndarray, coefficients: Coefficients, episode: int
) -> tuple[Chest, Circulation]:
    """State of the chest, and the pressures behind it, at one episode: 0 is now, 1 an earlier, independent one.

    In an earlier episode heart failure, pneumonia, respiratory failure and the ventilator are drawn anew at their
    prevalence; the person (heart shape, devices, chronic conditions) stays the same.
    """
    person_gauss, person = draws(seed, stays.index, Modality.CXR, 0, normals=4, uniforms=12)
    gauss, flat = draws(seed, stays.index, Modality.CXR, 1 + episode, normals=24, uniforms=32, parts=stays.number)
    sick = present.astype(float)
    if episode:
        for label, chance in zip((plants.FAILURE, plants.PNEUMONIA, plants.RESPIRATORY), flat[:, 28:31].T, strict=True):
            sick[:, label] = chance < plants.PREVALENCE[label]
        ventilated = flat[:, 31] < ventilation(0.0, sick[:, plants.RESPIRATORY])
    gain = coefficients.cxr_gain
    blood = _circulation(stays, sick, gain, gauss[:, :11])
    water = np.maximum(0.0, (blood.pawp - 14.0) / 8.0 + 0.2 * gauss[:, 11])
    left_atrium = np.log(blood.la_volume / blood.la_reference)
    tension = gain[plants.HYPERTENSION_COMPLICATED] * sick[:, plants.HYPERTENSION_COMPLICATED]
    tension = tension + gain[plants.HYPERTENSION] * sick[:, plants.HYPERTENSION]
    chest = Chest(
        ctr=_heart_size(stays, blood, left_atrium),
        left_atrium=left_atrium,
        knob=tension + person_gauss[:, 1],
        band=0.130 + 0.010 * person_gauss[:, 2] + 0.07 * (person[:, 0] < 0.03),
        water=water,
        hyperinflation=gain[plants.COPD] * sick[:, plants.COPD] + gauss[:, 12],
        pacemaker=person[:, 1] < _chance(sick, gain, plants.CONDUCTION, 0.73, 0.02),
        wires=person[:, 2] < _chance(sick, gain, plants.CORONARY, 0.50, 0.05),
        tube=ventilated & (flat[:, 14] < np.minimum(1.0, 0.7 * gain[plants.RESPIRATORY])),
        line=flat[:, 15] < 0.22 + 0.2 * gain[plants.KIDNEY] * sick[:, plants.KIDNEY],
        nodule=flat[:, 16] < 0.04,
        fracture=flat[:, 17] < 0.05,
        texture=flat[:, 18:22],
        **_fluid(sick, gain, water, gauss[:, 13], flat),
        **_infiltrate(sick, gain, flat),
        **_pleural_space(sick, gain, flat),
    )
    return chest, blood


def _chance(sick: np.ndarray, gain: np.ndarray, label: int, share: float, otherwise: float) -> np.ndarray:
    """Probability of a sign: ``share`` times the gain among the sick, ``otherwise`` among all others."""
    return np.where(sick[:, label] > 0, np.minimum(0.98, share * gain[label]), otherwise)


def _circulation(stays: Stays, sick: np.ndarray, gain: np.ndarray, gauss: np.ndarray) -> Circulation:
    return circulation(
        stays,
        failure=gain[plants.FAILURE] * sick[:, plants.FAILURE],
        congestion=3.0 * gain[plants.INFARCTION] * sick[:, plants.INFARCTION],
        atrium=0.15 * gain[plants.RHYTHM] * sick[:, plants.RHYTHM],
        load=0.4 * (sick[:, plants.HYPERTENSION] + sick[:, plants.HYPERTENSION_COMPLICATED]) - 0.25,
        gauss=gauss,
    )


def _heart_size(stays: Stays, blood: Circulation, left_atrium: np.ndarray) -> np.ndarray:
    """Cardiothoracic ratio from the volumes of the heart.

    Age widens it only a little, so that a phenotype that hangs on age alone stays hidden in the film.
    """
    ratio = 0.455 + 0.055 * np.log(blood.lvedv / blood.lvedv_reference) + 0.020 * left_atrium
    ratio = ratio + 0.030 * np.log(np.maximum(blood.rvedv / blood.rvedv_reference, 0.4))
    return ratio + 0.006 * decades(stays.age) + 0.025 * stays.body[:, 2]


def _fluid(
    sick: np.ndarray, gain: np.ndarray, water: np.ndarray, gauss: np.ndarray, flat: np.ndarray
) -> dict[str, np.ndarray]:
    """Free effusions, of heart failure on both sides, of liver disease mostly on the right."""
    liver = gain[plants.LIVER] * sick[:, plants.LIVER]
    amount = np.exp(-1.3 + 0.6 * gauss) * (flat[:, 0] < sigmoid(-2.6 + 0.9 * water + 1.2 * liver))
    left = amount * flat[:, 1] * (flat[:, 5] < np.where(liver > 0, 0.25, 0.7))
    return {"effusion_right": amount, "effusion_left": left}


def _infiltrate(sick: np.ndarray, gain: np.ndarray, flat: np.ndarray) -> dict[str, np.ndarray]:
    """One consolidation, mostly in pneumonia."""
    return {
        "consolidation": (0.25 + 0.25 * flat[:, 6]) * (flat[:, 7] < _chance(sick, gain, plants.PNEUMONIA, 0.62, 0.06)),
        "consolidation_radius": 0.16 + 0.14 * flat[:, 8],
        "consolidation_side": np.where(flat[:, 9] < 0.55, -1.0, 1.0),
        "consolidation_height": 0.35 + 0.5 * flat[:, 10],
    }


def _pleural_space(sick: np.ndarray, gain: np.ndarray, flat: np.ndarray) -> dict[str, np.ndarray]:
    """Collapsed base, pneumothorax or encapsulated fluid: one of the three, on one side."""
    any_of_them, kind = flat[:, 2] < _chance(sick, gain, plants.PLEURA, 0.75, 0.03), flat[:, 3]
    side = np.where(flat[:, 4] < 0.5, 1.0, -1.0)
    return {
        "collapse": (0.6 + 0.4 * flat[:, 11]) * (any_of_them & (kind < 0.30)),
        "pneumothorax": (0.18 + 0.18 * flat[:, 12]) * (any_of_them & (kind >= 0.30) & (kind < 0.65)),
        "loculated": (0.6 + 0.4 * flat[:, 13]) * (any_of_them & (kind >= 0.65)),
        "collapse_side": side,
        "pneumothorax_side": side,
        "loculated_side": side,
    }


def oracle_features(chest: Chest) -> np.ndarray:
    """What a perfect reader sees, as numbers (S, 16): the features of the oracle for the radiograph."""
    return np.stack(
        [
            chest.ctr, chest.left_atrium, chest.knob, chest.band, chest.water,
            chest.effusion_right, chest.effusion_left,
            chest.consolidation > 0, chest.collapse > 0, chest.pneumothorax > 0, chest.loculated > 0,
            chest.hyperinflation, chest.pacemaker, chest.wires, chest.tube, chest.line,
        ],
        axis=1,
    ).astype(float)  # fmt: skip


def chexpert(chest: Chest, chance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 14 CheXpert labels of each row: clean (1, 0) and as a labelling tool reports them (1, 0, -1, NaN).

    Args:
        chest: States.
        chance: Uniforms (S, 4, 14): flip, mention, pneumonia among consolidations, threshold of the reader.
    """
    size = np.maximum(chest.effusion_right, chest.effusion_left)
    graded = {
        "Cardiomegaly": (chest.ctr + 0.02 * (2.0 * chance[:, 3, 1] - 1.0), CARDIOMEGALY_FROM),
        "Edema": (chest.water, EDEMA_FROM),
        "Pleural Effusion": (np.maximum(size, 0.3 * (chest.loculated > 0)), EFFUSION_FROM),
    }
    infiltrate = chest.consolidation > 0
    sure = {
        "Atelectasis": chest.collapse > 0,
        "Consolidation": infiltrate,
        "Enlarged Cardiomediastinum": chest.band > 0.18,
        "Fracture": chest.fracture,
        "Lung Lesion": chest.nodule,
        "Lung Opacity": infiltrate | (chest.collapse > 0) | (chest.water > 1.0),
        "Pleural Other": chest.loculated > 0,
        "Pneumonia": infiltrate & (chance[:, 2, 11] < 0.7),
        "Pneumothorax": chest.pneumothorax > 0,
        "Support Devices": chest.pacemaker | chest.wires | chest.tube | chest.line,
    }
    clean = np.zeros((len(chest.ctr), len(CHEXPERT_LABELS)))
    unsure = np.zeros_like(clean, dtype=bool)
    for column, name in enumerate(CHEXPERT_LABELS):
        if name in graded:
            value, threshold = graded[name]
            clean[:, column] = value > threshold
            unsure[:, column] = np.abs(value - threshold) < UNCERTAIN_BAND * threshold
        elif name in sure:
            clean[:, column] = sure[name]
    nothing, devices = CHEXPERT_LABELS.index("No Finding"), CHEXPERT_LABELS.index("Support Devices")
    findings = np.delete(clean, [nothing, devices], axis=1).any(axis=1)
    clean[:, nothing] = ~findings
    unsure[:, CHEXPERT_LABELS.index("Cardiomegaly")] &= np.abs(chest.ctr - CARDIOMEGALY_FROM) < 0.01
    noisy = np.where(chance[:, 0] < LABEL_FLIP, 1.0 - clean, clean)
    noisy = np.where(unsure, -1.0, noisy)
    noisy = np.where((noisy == 0.0) & (chance[:, 1] < 0.75), np.nan, noisy)
    noisy[:, nothing] = np.where(clean[:, nothing] > 0, 1.0, np.nan)
    return clean, noisy
