"""What is recorded besides the heart: muscle, baseline, mains, a loose electrode.

Noise arises at the nine electrodes, and the leads are formed from them, so that the relations of the limb leads survive
it as they do in a real recorder. Levels follow ten recordings of PTB-XL: 2 to 10 uV between 20 and 150 Hz, 36 to 104 uV
below 0.5 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve1d
from scipy.signal import firwin, lfilter

from cardiozoo.data.synthetic.ecg_field import DERIVATIONS, ELECTRODES
from cardiozoo.data.synthetic.ecg_visit import Visits
from cardiozoo.data.synthetic.streams import Modality, stream

NOISE = 7
"""Purpose of the stream; its part is the number of the recording."""
LOW_PASS, HIGH_PASS = 150.0, 0.05  # Hz
_KINDS = ("muscle", "wander", "mains", "burst", "motion")


@dataclass
class NoiseLevels:
    """What was planted (R,): standard deviations in mV, and whether there was a burst or a moving electrode."""

    muscle: np.ndarray
    wander: np.ndarray
    mains: np.ndarray
    burst: np.ndarray
    motion: np.ndarray


def draw_noise(seed: int, visits: Visits, samples: int, rate: float, mains: float) -> tuple[np.ndarray, NoiseLevels]:
    """Noise in mV of I, II, V1 to V6 (R, 8, T) float32, and its levels.

    Args:
        seed: Seed of the cohort.
        visits: The recordings.
        samples: T.
        rate: Samples a second.
        mains: Frequency of the mains in Hz.
    """
    low_pass = firwin(15, LOW_PASS, fs=rate).astype(np.float32)
    seconds = (np.arange(samples) / rate).astype(np.float32)
    derivations = DERIVATIONS.astype(np.float32)
    noise = np.empty((len(visits), len(DERIVATIONS), samples), dtype=np.float32)
    levels = {name: np.zeros(len(visits)) for name in _KINDS}
    for row in range(len(visits)):
        generator = stream(seed, int(visits.index[row]), Modality.ECG, NOISE, int(visits.number[row]))
        muscle = 0.0032 * np.exp(0.35 * generator.standard_normal()) * (4.0 if generator.random() < 0.04 else 1.0)
        wander = 0.052 * np.exp(0.45 * generator.standard_normal()) * (3.0 if generator.random() < 0.04 else 1.0)
        hum = 0.010 * generator.random() ** 2
        electrodes = _muscle(generator, muscle, samples, low_pass)
        electrodes += _wander(generator, wander, seconds)
        electrodes += _mains(generator, hum, mains, seconds)
        levels["burst"][row] = _burst(generator, electrodes, low_pass, rate)
        levels["motion"][row] = _motion(generator, electrodes, seconds)
        np.matmul(derivations, electrodes, out=noise[row])
        levels["muscle"][row], levels["wander"][row], levels["mains"][row] = muscle, wander, hum
    return noise, NoiseLevels(**levels)


def _muscle(generator: np.random.Generator, level: float, samples: int, low_pass: np.ndarray) -> np.ndarray:
    own = level * np.exp(0.25 * generator.standard_normal((len(ELECTRODES), 1))).astype(np.float32)
    white = generator.standard_normal((len(ELECTRODES), samples), dtype=np.float32)
    return own * convolve1d(white, low_pass, axis=1, mode="reflect")


def _wander(generator: np.random.Generator, level: float, seconds: np.ndarray) -> np.ndarray:
    """Four slow sines, their weights differing between the electrodes."""
    frequency = generator.uniform(0.05, 0.50, 4).astype(np.float32)
    phase = generator.uniform(0.0, 2.0 * np.pi, 4).astype(np.float32)
    angle = (2.0 * np.pi * frequency[:, None]).astype(np.float32) * seconds + phase[:, None]
    weights = generator.standard_normal((len(ELECTRODES), 8)).astype(np.float32) * (level / 2.0)
    return weights @ np.concatenate([np.sin(angle), np.cos(angle)])


def _mains(generator: np.random.Generator, level: float, mains: float, seconds: np.ndarray) -> np.ndarray:
    phase, slow = generator.uniform(0.0, 2.0 * np.pi, 2)
    own = level * generator.uniform(0.2, 1.0, (len(ELECTRODES), 1))
    swell = 1.0 + 0.3 * np.sin(2.0 * np.pi * 0.15 * seconds + slow)
    return (own * (swell * np.sin(2.0 * np.pi * mains * seconds + phase))).astype(np.float32)


def _burst(generator: np.random.Generator, electrodes: np.ndarray, low_pass: np.ndarray, rate: float) -> bool:
    """In one of ten recordings a muscle tightens for one to three seconds."""
    chance, start, length, level = generator.random(4)
    if chance >= 0.10:
        return False
    samples = electrodes.shape[1]
    span = int((1.0 + 2.0 * length) * rate)
    first = int(start * max(samples - span, 1))
    span = min(span, samples - first)
    tense = generator.random((len(electrodes), 1)) < 0.4
    tense[int(generator.integers(len(electrodes)))] = True
    white = generator.standard_normal((len(electrodes), span), dtype=np.float32)
    shaped = convolve1d(white, low_pass, axis=1, mode="reflect") * np.hanning(span).astype(np.float32)
    electrodes[:, first : first + span] += (0.020 + 0.030 * level) * tense.astype(np.float32) * shaped
    return True


def _motion(generator: np.random.Generator, electrodes: np.ndarray, seconds: np.ndarray) -> bool:
    """In three of a hundred an electrode moves: a step of .2 to 1 mV that decays."""
    chance, start, height = generator.random(3)
    if chance >= 0.03:
        return False
    since = seconds - np.float32(0.9 * start * seconds[-1])
    step = (0.2 + 0.8 * height) * np.where(since >= 0.0, np.exp(-np.maximum(since, 0.0) / 0.3), 0.0)
    sign = 1.0 if generator.random() < 0.5 else -1.0
    electrodes[int(generator.integers(len(electrodes)))] += (sign * step).astype(np.float32)
    return True


def high_pass(signal: np.ndarray, rate: float) -> np.ndarray:
    """First-order high-pass of the recorder at .05 Hz (..., T), settled on the mean of each lead at its start."""
    decay = np.exp(-2.0 * np.pi * HIGH_PASS / rate)
    gain = (1.0 + decay) / 2.0
    values = signal.astype(np.float64)
    settled = -gain * values.mean(axis=-1, keepdims=True)
    filtered, _ = lfilter([gain, -gain], [1.0, -decay], values, axis=-1, zi=settled)
    return filtered.astype(np.float32)
