"""Draws recordings without noise: every wave of every beat onto the samples, then through the lead field."""

from __future__ import annotations

import numpy as np

from cardiozoo.data.synthetic.ecg_field import INDEPENDENT, VENTRICLES, rotate_frontal
from cardiozoo.data.synthetic.ecg_person import PACED, People
from cardiozoo.data.synthetic.ecg_rhythm import ATRIAL, VENTRICULAR, Beats
from cardiozoo.data.synthetic.ecg_visit import Visits
from cardiozoo.data.synthetic.ecg_waves import ATRIAL_WAVES, Morphology, Wave
from cardiozoo.data.synthetic.streams import Modality, stream

FIBRILLATORY, SPIKES = 5, 6
"""Purposes of the streams; their part is the number of the recording."""
_REACH = 4.0  # widths of a Gaussian that are drawn
_CHUNK = 16  # recordings drawn at once: the time courses of their waves fit into the cache of a processor
_BREATH = 0.03
_FIBRILLATORY_FORCE = np.array([[0.0, 0.028, -0.040]])
# the right atrium, where most of them arise, lies under V1
_FIBRILLATORY_FIELD = VENTRICLES * np.array([1.0, 1.0, 1.3, 0.7, 0.5, 0.4, 0.4, 0.4])[:, None]


def draw_waves(
    visits: Visits, beats: Beats, shape: Morphology, samples: int, rate: float, waves: tuple[Wave, ...] = tuple(Wave)
) -> np.ndarray:
    """Potentials in mV of I, II, V1 to V6 (R, 8, T) float32 without noise.

    Args:
        visits: The recordings.
        beats: Their beats.
        shape: Their waves.
        samples: T.
        rate: Samples a second.
        waves: Which waves to draw.
    """
    signal = np.empty((len(visits), len(INDEPENDENT), samples), dtype=np.float32)
    for start in range(0, len(visits), _CHUNK):
        rows = slice(start, min(start + _CHUNK, len(visits)))
        own = slice(*np.searchsorted(beats.record, [rows.start, rows.stop]))
        courses = np.zeros((rows.stop - rows.start, len(Wave), samples), dtype=np.float32)
        for wave in waves:
            courses[:, wave] = _course(wave, visits, beats, shape, own, rows, samples, rate)
        np.matmul(shape.leads[rows].transpose(0, 2, 1), courses, out=signal[rows])
    return signal


def anchors(beats: Beats, wave: Wave, own: slice = slice(None)) -> np.ndarray:
    """Time in ms from which a wave is placed in each beat, NaN where the beat has no such wave."""
    kind, p, q = beats.kind[own], beats.p[own], beats.q[own]
    if wave in range(ATRIAL_WAVES.start, ATRIAL_WAVES.stop):
        return np.where(kind == ATRIAL, np.nan, p)
    if wave == Wave.P_ECTOPIC:
        return np.where(kind == ATRIAL, p, np.nan)
    of_ectopic = wave >= Wave.ECTOPIC_1
    onset = np.where((kind == VENTRICULAR) == of_ectopic, q, np.nan)
    return onset + beats.qt[own] if wave in (Wave.T_EARLY, Wave.T_LATE, Wave.ECTOPIC_T) else onset


def _course(
    wave: Wave, visits: Visits, beats: Beats, shape: Morphology, own: slice, rows: slice, samples: int, rate: float
) -> np.ndarray:
    """Time course (R, T) of one wave in some recordings: a Gaussian of height one a beat."""
    anchor = anchors(beats, wave, own)
    there = np.isfinite(anchor)
    record = beats.record[own][there]
    per_ms = rate / 1000.0
    centre = (anchor[there] + shape.centre[record, wave]) * per_ms
    sigma = shape.sigma[record, wave] * per_ms
    reach = int(np.ceil(_REACH * sigma.max())) if len(sigma) else 0
    nearest = np.rint(centre).astype(np.int64)
    place = nearest[:, None] + np.arange(-reach, reach + 1)
    distance = ((place - centre[:, None]) / sigma[:, None]).astype(np.float32)
    phase = 2.0 * np.pi * visits.breathing[record] * centre / rate + visits.breath_phase[record]
    height = np.exp(-0.5 * distance * distance) * (1.0 + _BREATH * np.sin(phase)).astype(np.float32)[:, None]
    height[(place < 0) | (place >= samples) | (np.abs(distance) > _REACH)] = 0.0
    flat = (record - rows.start)[:, None] * samples + np.clip(place, 0, samples - 1)
    course = np.bincount(flat.ravel(), weights=height.ravel(), minlength=(rows.stop - rows.start) * samples)
    return course.reshape(-1, samples)


def draw_fibrillation(seed: int, visits: Visits, people: People, signal: np.ndarray, rate: float) -> None:
    """Add fibrillatory waves where the atria fibrillate: a sawtooth of 4 to 9 Hz whose frequency and height drift."""
    samples = signal.shape[2]
    seconds = np.arange(samples) / rate
    for row in np.flatnonzero(visits.fibrillating):
        generator = stream(seed, int(visits.index[row]), Modality.ECG, FIBRILLATORY, int(visits.number[row]))
        person = visits.person[row]
        phases = generator.uniform(0.0, 2.0 * np.pi, 4)
        drift, swell = generator.uniform(0.10, 0.45, 2)
        walk = np.cumsum(generator.standard_normal(samples // 50 + 2)) * 0.12
        walk = np.interp(np.arange(samples), np.arange(len(walk)) * 50, walk - walk.mean())
        frequency = people.fibrillatory_rate[person] + 0.5 * np.sin(2 * np.pi * drift * seconds + phases[0])
        angle = 2.0 * np.pi * np.cumsum(frequency + np.clip(walk, -1.0, 1.0)) / rate + phases[1]
        saw = np.sin(angle) + 0.40 * np.sin(2.0 * angle + 0.5) + 0.18 * np.sin(3.0 * angle + 1.0)
        height = 1.0 + 0.35 * np.sin(2.0 * np.pi * swell * seconds + phases[2])
        turned = rotate_frontal(_FIBRILLATORY_FORCE, 3.0 * people.p_rotation[[person]])[0]
        force = _FIBRILLATORY_FIELD @ turned * people.fibrillatory_gain[person]
        signal[row] += (force[:, None] * (saw * height)).astype(np.float32)


def draw_spikes(seed: int, visits: Visits, beats: Beats, signal: np.ndarray, rate: float) -> None:
    """Add the pulses of pacemakers, 2 ms before each paced beat; no filter of the recorder has rounded them."""
    samples = signal.shape[2]
    for row in np.flatnonzero(visits.conduction == PACED):
        generator = stream(seed, int(visits.index[row]), Modality.ECG, SPIKES, 0)
        force = np.exp(0.35 * generator.standard_normal()) * np.array([0.9, 1.3, -0.5]) + 0.2 * generator.normal(size=3)
        own = slice(*np.searchsorted(beats.record, [row, row + 1]))
        paced = (beats.kind[own] != VENTRICULAR) & np.isfinite(beats.q[own])
        place = np.rint((beats.q[own][paced] - 2.0) * rate / 1000.0).astype(int)
        place = place[(place >= 0) & (place < samples)]
        signal[row][:, place] += (VENTRICLES @ force).astype(np.float32)[:, None]
