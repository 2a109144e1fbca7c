"""One recording of a person: the rate of the day, the electrodes as they were put on, whether fibrillation is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cardiozoo.data.synthetic.ecg_field import CHEST
from cardiozoo.data.synthetic.ecg_heart import Hearts
from cardiozoo.data.synthetic.ecg_person import ESCAPE, LONGEST_PR, NORMAL, PACED, People
from cardiozoo.data.synthetic.streams import Modality, draws

VISIT = 3
"""Purpose of the stream; its part is the number of the recording."""

SINUS, FIBRILLATION, PACED_RHYTHM = range(3)
RHYTHMS = ("sinus rhythm", "atrial fibrillation", "paced rhythm")


@dataclass
class Visits:
    """One row a recording; ``person`` is the row in the hearts and people, ``index`` their number in the cohort."""

    person: np.ndarray
    index: np.ndarray
    number: np.ndarray  # 0 for the first recording of the person
    rhythm: np.ndarray
    conduction: np.ndarray
    av_block: np.ndarray
    fibrillating: np.ndarray  # whether the atria are, also under a pacemaker
    interval: np.ndarray  # ms between the P waves, or between the beats in fibrillation
    pr: np.ndarray
    qtc: np.ndarray
    premature_ventricular: np.ndarray  # number planted
    premature_atrial: np.ndarray
    breathing: np.ndarray  # Hz
    breath_phase: np.ndarray
    frontal: np.ndarray  # degrees by which the limb electrodes and the posture turn the axis
    horizontal: np.ndarray
    chest_gain: np.ndarray  # (R, 8)

    def __len__(self) -> int:
        return len(self.person)

    def rhythm_name(self, row: int) -> str:
        """Rhythm in words."""
        if self.av_block[row] == 3:
            return "complete atrioventricular block"
        return RHYTHMS[self.rhythm[row]]


def draw_visits(seed: int, hearts: Hearts, people: People, count: np.ndarray) -> Visits:
    """Recordings of these people, ``count`` (N,) of each, in their order."""
    person = np.repeat(np.arange(len(hearts)), count)
    number = np.concatenate([np.arange(n) for n in count]) if len(count) else np.zeros(0, int)
    gauss, flat = draws(seed, hearts.index[person], Modality.ECG, VISIT, normals=14, uniforms=8, parts=number)
    fibrillation = people.fibrillation[person] & (flat[:, 0] < 0.85)
    conduction, av_block = people.conduction[person], people.av_block[person]
    paced = conduction == PACED
    rhythm = np.where(paced, PACED_RHYTHM, np.where(fibrillation, FIBRILLATION, SINUS))
    # in fibrillation the ventricles follow as fast as the node lets them, slowed by drugs in many
    conducted = fibrillation * (12.0 + 16.0 * gauss[:, 3])
    rate = np.clip(people.rate[person] + 6.0 * gauss[:, 0] + conducted, 40.0, 150.0)
    rate = np.where(av_block == 1, np.minimum(rate, 115.0), rate)
    rate = np.where(av_block == 3, np.clip(rate, 70.0, 100.0), np.where(av_block == 2, np.minimum(rate, 85.0), rate))
    rate = np.where(paced & ~people.tracking[person], 60.0 + 10.0 * (flat[:, 1] < 0.4), rate)
    widening = np.isin(conduction, (NORMAL, ESCAPE), invert=True) * np.maximum(people.qrs[person] - 95.0, 0.0)
    breath = flat[:, 6:8]
    chest_gain = people.chest_gain[person].copy()
    chest_gain[:, CHEST] *= np.exp(0.05 * gauss[:, 8:14])
    interval = 60_000.0 / rate
    # a long PR must leave room for the T wave before it
    pr = np.minimum(people.pr[person] + 4.0 * gauss[:, 1], 0.42 * interval)
    pr = np.where(av_block == 1, np.maximum(pr, 202.0), np.where(av_block == 0, np.minimum(pr, LONGEST_PR), pr))
    return Visits(
        person=person,
        index=hearts.index[person],
        number=number,
        rhythm=rhythm,
        conduction=conduction,
        av_block=av_block,
        fibrillating=(rhythm == FIBRILLATION) | (paced & people.fibrillation[person]),
        interval=interval,
        pr=pr,
        qtc=people.qtc[person] + 6.0 * gauss[:, 2] + 0.5 * widening,
        premature_ventricular=_premature(people.ventricular_ectopy[person], flat[:, 2], flat[:, 3]) * (av_block < 2),
        premature_atrial=_premature(people.atrial_ectopy[person], flat[:, 4], flat[:, 5])
        * ((av_block < 2) & ~fibrillation & ~paced),
        breathing=0.18 + 0.12 * breath[:, 0],
        breath_phase=2.0 * np.pi * breath[:, 1],
        frontal=4.0 * gauss[:, 6],
        horizontal=4.0 * gauss[:, 7],
        chest_gain=chest_gain,
    )


def _premature(person: np.ndarray, today: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Premature beats in ten seconds: none today, one, two or three."""
    return np.where(person & (today < 0.8), 1 + (many < 0.45) + (many < 0.18), 0)
