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
    # age widens the heart only a little here, so that a phenotype that hangs on age alone stays hidden in the film
    blood = circulation(
        stays,
        failure=gain[plants.FAILURE] * sick[:, plants.FAILURE],
        congestion=3.0 * gain[plants.INFARCTION] * sick[:, plants.INFARCTION],
        atrium=0.15 * gain[plants.RHYTHM] * sick[:, plants.RHYTHM],
        load=0.4 * (sick[:, plants.HYPERTENSION] + sick[:, plants.HYPERTENSION_COMPLICATED]) - 0.25,
        gauss=gauss[:, :11],
    )
    water = np.maximum(0.0, (blood.pawp - 14.0) / 8.0 + 0.2 * gauss[:, 11])
    left_atrium = np.log(blood.la_volume / blood.la_reference)
    hyperinflation = gain[plants.COPD] * sick[:, plants.COPD] + gauss[:, 12]
    knob = gain[plants.HYPERTENSION_COMPLICATED] * sick[:, plants.HYPERTENSION_COMPLICATED]
    knob = knob + gain[plants.HYPERTENSION] * sick[:, plants.HYPERTENSION] + person_gauss[:, 1]
    liver = gain[plants.LIVER] * sick[:, plants.LIVER]
    fluid = np.exp(-1.3 + 0.6 * gauss[:, 13]) * (flat[:, 0] < sigmoid(-2.6 + 0.9 * water + 1.2 * liver))
    pneumonia = np.where(sick[:, plants.PNEUMONIA] > 0, np.minimum(0.95, 0.62 * gain[plants.PNEUMONIA]), 0.06)
    pleura = flat[:, 2] < np.where(sick[:, plants.PLEURA] > 0, np.minimum(0.98, 0.75 * gain[plants.PLEURA]), 0.03)
    kind = flat[:, 3]
    side = np.where(flat[:, 4] < 0.5, 1.0, -1.0)
    return Chest(
        ctr=0.455
        + 0.055 * np.log(blood.lvedv / blood.lvedv_reference)
        + 0.030 * np.log(np.maximum(blood.rvedv / blood.rvedv_reference, 0.4))
        + 0.020 * left_atrium
        + 0.006 * decades(stays.age)
        + 0.025 * stays.body[:, 2],
        left_atrium=left_atrium,
        knob=knob,
        band=0.130 + 0.010 * person_gauss[:, 2] + 0.07 * (person[:, 0] < 0.03),
        water=water,
        effusion_right=fluid,
        effusion_left=fluid * flat[:, 1] * (flat[:, 5] < np.where(liver > 0, 0.25, 0.7)),
        consolidation=(0.25 + 0.25 * flat[:, 6]) * (flat[:, 7] < pneumonia),
        consolidation_radius=0.16 + 0.14 * flat[:, 8],
        consolidation_side=np.where(flat[:, 9] < 0.55, -1.0, 1.0),
        consolidation_height=0.35 + 0.5 * flat[:, 10],
        collapse=(0.6 + 0.4 * flat[:, 11]) * (pleura & (kind < 0.30)),
        collapse_side=side,
        pneumothorax=(0.18 + 0.18 * flat[:, 12]) * (pleura & (kind >= 0.30) & (kind < 0.65)),
        pneumothorax_side=side,
        loculated=(0.6 + 0.4 * flat[:, 13]) * (pleura & (kind >= 0.65)),
        loculated_side=side,
        hyperinflation=hyperinflation,
        pacemaker=person[:, 1]
        < np.where(sick[:, plants.CONDUCTION] > 0, np.minimum(0.98, 0.73 * gain[plants.CONDUCTION]), 0.02),
        wires=person[:, 2]
        < np.where(sick[:, plants.CORONARY] > 0, np.minimum(0.98, 0.50 * gain[plants.CORONARY]), 0.05),
        tube=ventilated & (flat[:, 14] < np.minimum(1.0, 0.7 * gain[plants.RESPIRATORY])),
        line=flat[:, 15] < 0.22 + 0.2 * gain[plants.KIDNEY] * sick[:, plants.KIDNEY],
        nodule=flat[:, 16] < 0.04,
        fracture=flat[:, 17] < 0.05,
        texture=flat[:, 18:22],
    ), blood


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
