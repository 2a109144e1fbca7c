"""The lead field: from a dipole of the heart (x left, y down, z back, in mV) to the leads on the body surface.

Rows for I, II and V1 to V6: Dower, Machado, Osborne 1980. The four other limb leads are never rendered on their own;
they follow from I and II by Einthoven's and Goldberger's relations, which therefore hold exactly. The atria lie farther
from the chest electrodes than the ventricles, so their field on the chest is weaker.
"""

from __future__ import annotations

import numpy as np

from cardiozoo.data.ecg import LEADS

INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""Leads that are rendered; the rest follows from them."""
ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
CHEST = slice(2, 8)
"""Rows of V1 to V6 among :data:`INDEPENDENT`."""

VENTRICLES = np.array(
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
ATRIA = VENTRICLES * np.array([1.0] * 2 + [0.65] * 6)[:, None]

LIMB_NULL = np.cross(VENTRICLES[0], VENTRICLES[1])
"""Unit vector that no limb lead sees: a force along it shows on the chest only (negative in V1 to V5)."""
LIMB_NULL = LIMB_NULL / np.linalg.norm(LIMB_NULL)

_TWELVE = np.zeros((len(LEADS), len(INDEPENDENT)))
_RELATIONS = {
    "III": {"II": 1.0, "I": -1.0},
    "aVR": {"I": -0.5, "II": -0.5},
    "aVL": {"I": 1.0, "II": -0.5},
    "aVF": {"II": 1.0, "I": -0.5},
}
for _row, _lead in enumerate(LEADS):
    for _source, _weight in _RELATIONS.get(_lead, {_lead: 1.0}).items():
        _TWELVE[_row, INDEPENDENT.index(_source)] = _weight

DERIVATIONS = np.zeros((len(INDEPENDENT), len(ELECTRODES)))
"""Leads from the potentials of the nine electrodes: I = LA - RA, II = LL - RA, V = electrode - mean of the limbs."""
DERIVATIONS[0, [0, 1]] = -1.0, 1.0
DERIVATIONS[1, [0, 2]] = -1.0, 1.0
DERIVATIONS[CHEST, :3] = -1.0 / 3.0
DERIVATIONS[CHEST, 3:] = np.eye(6)


def twelve(independent: np.ndarray) -> np.ndarray:
    """Leads in the project's order (..., 12, T) from I, II and V1 to V6 (..., 8, T)."""
    return np.matmul(_TWELVE.astype(independent.dtype), independent)


def rotate_frontal(vectors: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Turn vectors (N, 3) about the axis from front to back; positive angles move the axis towards the feet (N,)."""
    return _rotate(vectors, degrees, 0, 1)


def rotate_horizontal(vectors: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Turn vectors (N, 3) about the long axis of the body; positive angles move a leftward force backwards (N,)."""
    return _rotate(vectors, degrees, 0, 2)


def _rotate(vectors: np.ndarray, degrees: np.ndarray, first: int, second: int) -> np.ndarray:
    angle = np.deg2rad(degrees)
    turned = vectors.copy()
    turned[:, first] = np.cos(angle) * vectors[:, first] - np.sin(angle) * vectors[:, second]
    turned[:, second] = np.sin(angle) * vectors[:, first] + np.cos(angle) * vectors[:, second]
    return turned


def frontal_axis(lead_i: np.ndarray, lead_ii: np.ndarray) -> np.ndarray:
    """Axis in degrees, -180 to 180, from what leads I and II see of a wave (their net areas); 0 is left, 90 down."""
    avf = lead_ii - lead_i / 2.0
    return np.rad2deg(np.arctan2(2.0 / np.sqrt(3.0) * avf, lead_i))
