"""What makes one person's electrocardiogram theirs: body, electrodes, conduction times, disturbances of rhythm.

None of it depends on pressure except through the size of the left atrium (P, PR, fibrillation) and the mass of the left
ventricle (QRS). All electrocardiograms of the person share it. Conduction times and axes of healthy adults:
ELSA-Brasil.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cardiozoo.data.synthetic.ecg_field import CHEST, INDEPENDENT
from cardiozoo.data.synthetic.ecg_heart import Hearts, Population
from cardiozoo.data.synthetic.patient import decades
from cardiozoo.data.synthetic.streams import Modality, draws

BODY, DISTURBANCES = 1, 2
"""Purposes of the two streams."""

NORMAL, LBBB, RBBB, LAFB, LPFB, PACED, ESCAPE = range(7)
CONDUCTION = ("normal", "LBBB", "RBBB", "LAFB", "LPFB", "paced", "escape")
LOCAL_SOURCES = 2
LONGEST_PR = 194.0
"""PR in ms without a block, from the onset of the waves; their edges make 3 to 5 ms more of it."""


@dataclass
class People:
    """One row a person, in the order of the hearts. Times are ms, angles degrees.

    ``chest_gain`` (N, 8) holds 1 for I and II; ``local`` (N, 2, 8) are the amplitudes in mV of two small sources under
    the chest electrodes, 0 in I and II, so that twelve leads are twelve signals and not views of one dipole.
    """

    p_duration: np.ndarray
    pr: np.ndarray
    qrs: np.ndarray
    qtc: np.ndarray
    rate: np.ndarray
    gain: np.ndarray
    size: np.ndarray  # (N, 3) of the septal wave, of S and of the last S
    frontal: np.ndarray
    horizontal: np.ndarray
    p_rotation: np.ndarray
    p_gain: np.ndarray
    t_rotation: np.ndarray
    t_gain: np.ndarray
    chest_gain: np.ndarray
    local: np.ndarray
    local_time: np.ndarray  # (N, 2) shares of the QRS duration
    conduction: np.ndarray  # one of NORMAL to PACED
    av_block: np.ndarray  # degree, 0 to 3
    fibrillation: np.ndarray
    tracking: np.ndarray  # of those paced: whether the pacemaker follows the atria
    ventricular_ectopy: np.ndarray
    atrial_ectopy: np.ndarray
    ectopic_force: np.ndarray  # (N, 3) direction of the premature ventricular beats
    ectopic_p: np.ndarray  # rotation of the premature P wave
    ischaemia: np.ndarray
    st: np.ndarray  # (N, 3) displaced ST segment in mV
    fibrillatory_gain: np.ndarray
    fibrillatory_rate: np.ndarray  # Hz
    variability: np.ndarray  # of the sinus rate, 1 in the young


def draw_people(seed: int, hearts: Hearts, population: Population) -> People:
    """Body and disturbances of the people of these hearts."""
    gauss, flat = draws(seed, hearts.index, Modality.ECG, BODY, normals=40, uniforms=8)
    chance = draws(seed, hearts.index, Modality.ECG, DISTURBANCES, normals=6, uniforms=16)
    a, male = decades(hearts.age), hearts.male
    fibrillation, conduction, av_block = _disturbances(hearts, population, chance[1])
    long = 212.0 + 108.0 * flat[:, 0] ** 1.7
    p_duration = np.clip(np.where(male, 110.0, 106.0) + 10.0 * hearts.la + 10.0 * gauss[:, 1], 70.0, 160.0)
    # without a block below 200 ms as drawn, and never shorter than the P wave
    pr = np.where(male, 164.0, 158.0) + 3.0 * a + 6.0 * hearts.la + 22.0 * gauss[:, 0]
    pr = np.clip(pr, np.maximum(115.0, 1.08 * p_duration + 6.0), LONGEST_PR)
    qrs = np.where(male, 92.0, 86.0) + 10.0 * hearts.lv + 9.0 * gauss[:, 2]
    ischaemia = chance[1][:, 7] < population.ischaemia
    return People(
        p_duration=p_duration,
        pr=np.where(av_block == 1, long, pr),
        qrs=_qrs_duration(np.clip(qrs, 68.0, 118.0), conduction, gauss[:, 3]),
        qtc=np.clip(np.where(male, 410.0, 421.0) + 18.0 * gauss[:, 4], 350.0, 500.0),
        rate=np.clip(np.where(male, 63.0, 66.0) + population.rate + 10.0 * gauss[:, 5], 42.0, 130.0),
        gain=np.exp(0.22 * gauss[:, 6]) * np.where(male, 1.0, 0.88),
        size=np.exp(0.25 * gauss[:, 7:10]),
        frontal=-4.0 + 15.0 * gauss[:, 10] - 3.0 * a - 6.0 * hearts.lv,
        horizontal=12.0 * gauss[:, 11],
        p_rotation=8.0 * gauss[:, 12],
        p_gain=np.exp(0.12 * gauss[:, 13]),
        t_rotation=10.0 * gauss[:, 14],
        t_gain=np.exp(0.20 * gauss[:, 15]) * np.where(male, 1.0, 0.75),
        chest_gain=_chest_gain(gauss[:, 16:22]),
        local=_local_sources(gauss[:, 22:24], flat[:, 1:3]),
        local_time=0.30 + 0.40 * flat[:, 3:5],
        conduction=conduction,
        av_block=av_block,
        fibrillation=fibrillation,
        tracking=(conduction == PACED) & ~fibrillation & (chance[1][:, 6] < 0.6),
        ventricular_ectopy=chance[1][:, 4] < population.ventricular_ectopy,
        atrial_ectopy=(chance[1][:, 5] < population.atrial_ectopy) & ~fibrillation,
        ectopic_force=_directions(gauss[:, 24:27]),
        ectopic_p=-70.0 + 40.0 * gauss[:, 27],
        ischaemia=ischaemia,
        st=_st_segment(ischaemia, gauss[:, 28:31], chance[0][:, 0]),
        fibrillatory_gain=np.exp(0.35 * gauss[:, 31]),
        fibrillatory_rate=np.clip(6.0 + 0.9 * gauss[:, 32], 4.0, 9.0),
        variability=0.5 ** ((hearts.age - 30.0) / 50.0) * np.exp(0.25 + 0.70 * gauss[:, 33]),
    )


def _disturbances(
    hearts: Hearts, population: Population, chance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atrial fibrillation (N,) bool, conduction (N,) and degree of atrioventricular block (N,)."""
    log_odds = population.fibrillation + 0.0765 * (hearts.age - 60.0) + 0.6 * hearts.la
    fibrillation = chance[:, 0] < 1.0 / (1.0 + np.exp(-log_odds))
    older = np.exp(0.25 * decades(hearts.age))
    conduction = np.full(len(hearts), NORMAL)
    start = np.zeros(len(hearts))
    for code, share in (
        (LBBB, population.lbbb),
        (RBBB, population.rbbb),
        (LAFB, population.anterior_fascicle),
        (LPFB, population.posterior_fascicle),
    ):
        conduction[(chance[:, 1] >= start) & (chance[:, 1] < start + share * older)] = code
        start = start + share * older
    conduction[chance[:, 2] < population.paced * older] = PACED
    av_block = np.zeros(len(hearts), dtype=int)
    start = np.zeros(len(hearts))
    for degree, share in ((1, population.av_first), (2, population.av_second), (3, population.av_third)):
        av_block[(chance[:, 3] >= start) & (chance[:, 3] < start + share * older)] = degree
        start = start + share * older
    av_block[fibrillation | (conduction == PACED)] = 0
    conduction[av_block == 3] = ESCAPE
    return fibrillation, conduction, av_block


def _qrs_duration(usual: np.ndarray, conduction: np.ndarray, gauss: np.ndarray) -> np.ndarray:
    wide = {LBBB: 145.0, RBBB: 138.0, PACED: 162.0, ESCAPE: 150.0}
    duration = usual + np.where(np.isin(conduction, (LAFB, LPFB)), 8.0, 0.0)
    for code, mean in wide.items():
        duration = np.where(conduction == code, mean + 7.0 * gauss, duration)
    return duration


def _chest_gain(gauss: np.ndarray) -> np.ndarray:
    gain = np.ones((len(gauss), len(INDEPENDENT)))
    gain[:, CHEST] = np.exp(0.10 * gauss)
    return gain


def _local_sources(gauss: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Amplitudes in mV (N, 2, 8): each source lies under one place of the chest and fades to its neighbours."""
    sources = np.zeros((len(gauss), LOCAL_SOURCES, len(INDEPENDENT)))
    distance = np.arange(6)[None, None, :] - 5.0 * place[:, :, None]
    sources[:, :, CHEST] = 0.08 * gauss[:, :, None] * np.exp(-0.5 * distance**2)
    return sources


def _directions(gauss: np.ndarray) -> np.ndarray:
    return gauss / np.linalg.norm(gauss, axis=1, keepdims=True)


def _st_segment(present: np.ndarray, direction: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The ST segment of everyone points slightly forwards; a wall without blood draws it along its direction."""
    wall = 0.10 * np.clip(1.0 + 0.4 * size, 0.3, 2.0)[:, None] * _directions(direction)
    return np.array([0.02, 0.02, -0.04]) + np.where(present[:, None], wall, 0.0)
