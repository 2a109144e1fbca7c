"""Twelve leads of Gaussian waves from a dipole, for the tests alone: where the waves lie is known exactly."""

from __future__ import annotations

import numpy as np

# Dower's lead field: I, II, V1 to V6 from x, y, z.
FIELD = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)


def record(seed: int = 0, rate: float = 500, seconds: float = 10.0, heart_rate: float = 70.0):
    """Signal (12, T) in mV and a list of {wave: (onset, offset)} in seconds, one entry a beat."""
    rng = np.random.default_rng(seed)
    pr, p, q, qt = 0.16, 0.11, 0.095, 0.39 * (60 / heart_rate) ** (1 / 3)
    waves = [
        (-pr + 0.36 * p, 0.17 * p, (0.070, 0.080, -0.055)),
        (-pr + 0.66 * p, 0.17 * p, (0.105, 0.045, 0.035)),
        (0.20 * q, 0.085 * q, (-0.13, -0.05, -0.32)),
        (0.43 * q, 0.115 * q, (1.20, 0.64, 0.32)),
        (0.62 * q, 0.105 * q, (-0.22, 0.0, 0.75)),
        (qt - 0.118, 0.050, (0.21, 0.09, -0.13)),
        (qt - 0.066, 0.031, (0.26, 0.12, -0.10)),
    ]
    t = np.arange(round(seconds * rate)) / rate
    dipole, beats = np.zeros((3, len(t))), []
    onset = 0.4
    while onset < seconds - 0.1:
        for centre, width, vector in waves:
            dipole += np.array(vector)[:, None] * np.exp(-0.5 * ((t - onset - centre) / width) ** 2)
        beats.append(
            {
                "P": (onset - pr + 0.36 * p - 2.2 * 0.17 * p, onset - pr + 0.66 * p + 2.2 * 0.17 * p),
                "QRS": (onset, onset + q),
                "T": (onset + qt - 0.218, onset + qt),
            }
        )
        onset += 60 / heart_rate * (1 + 0.02 * rng.normal())
    eight = FIELD @ dipole
    i, ii = eight[0], eight[1]
    signal = np.concatenate([[i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2], eight[2:]])
    wander = 0.05 * np.sin(2 * np.pi * 0.2 * t + rng.uniform(0, 6, size=(12, 1)))
    return signal + wander + 0.004 * rng.normal(size=signal.shape), beats


def truth_mask(beats, wave: str, rate: float, samples: int) -> np.ndarray:
    """bool (T,): within the wave of any beat."""
    t = np.arange(samples) / rate
    return np.any([(t >= beat[wave][0]) & (t <= beat[wave][1]) for beat in beats], axis=0)
