"""From people to stored samples: where heart, rhythm, waves, noise, converter and faults come together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cardiozoo.data.synthetic.ecg_faults import Fault, draw_fault, exchange_arms, store
from cardiozoo.data.synthetic.ecg_field import twelve
from cardiozoo.data.synthetic.ecg_heart import Hearts
from cardiozoo.data.synthetic.ecg_noise import NoiseLevels, draw_noise, high_pass
from cardiozoo.data.synthetic.ecg_person import People
from cardiozoo.data.synthetic.ecg_render import draw_fibrillation, draw_spikes, draw_waves
from cardiozoo.data.synthetic.ecg_rhythm import Beats, draw_beats
from cardiozoo.data.synthetic.ecg_visit import Visits, draw_visits
from cardiozoo.data.synthetic.ecg_waves import Morphology, morphology

RATE = 500.0
SAMPLES = 5000
GAIN = 200.0
"""Units of the converter per mV: steps of 5 uV."""
LARGEST = 32_767


@dataclass
class Recordings:
    """Recordings of some people; rows of ``visits``, ``levels``, ``faults`` and ``digital`` agree.

    ``digital`` holds a (12, T) int16 array a recording, in the project's order of the leads, T less than
    :data:`SAMPLES` where the recording is short.
    """

    visits: Visits
    beats: Beats
    shape: Morphology
    levels: NoiseLevels
    faults: list[Fault]
    digital: list[np.ndarray]


def record(
    seed: int, hearts: Hearts, people: People, count: np.ndarray, mains: float = 60.0, fault_scale: float = 1.0
) -> Recordings:
    """Record these people, ``count`` (N,) times each, 10 s at 500 Hz and 200 units a mV."""
    visits = draw_visits(seed, hearts, people, count)
    beats = draw_beats(seed, visits, people, 1000.0 * SAMPLES / RATE)
    shape = morphology(hearts, people, visits)
    signal = clean_signal(seed, visits, people, beats, shape)
    noise, levels = draw_noise(seed, visits, SAMPLES, RATE, mains)
    signal += noise
    signal = high_pass(signal, RATE)
    draw_spikes(seed, visits, beats, signal, RATE)
    faults = [draw_fault(seed, visits, row, SAMPLES, fault_scale) for row in range(len(visits))]
    for row, fault in enumerate(faults):
        if fault.kind == "arms exchanged":
            exchange_arms(signal[row])
    digital = convert(twelve(signal))
    stored = [store(fault, digital[row], GAIN) for row, fault in enumerate(faults)]
    return Recordings(visits, beats, shape, levels, faults, stored)


def clean_signal(seed: int, visits: Visits, people: People, beats: Beats, shape: Morphology) -> np.ndarray:
    """What the heart alone gives in I, II, V1 to V6 (R, 8, T), in mV."""
    signal = draw_waves(visits, beats, shape, SAMPLES, RATE)
    draw_fibrillation(seed, visits, people, signal, RATE)
    return signal


def convert(millivolt: np.ndarray) -> np.ndarray:
    """Round to the steps of the converter (int16), within its range; the lowest code means "no sample"."""
    return np.clip(np.rint(millivolt * np.float32(GAIN)), -LARGEST, LARGEST).astype(np.int16)
