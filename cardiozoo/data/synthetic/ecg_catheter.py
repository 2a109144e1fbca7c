"""The catheter laboratory: who is sent there, and what is measured of their pressures."""

from __future__ import annotations

import numpy as np

from cardiozoo.data.synthetic.ecg_heart import Hearts
from cardiozoo.data.synthetic.streams import Modality, draws

REFERRED, CATHETER = 12, 13
"""Purposes of the streams."""
PRESSURE_ERROR = 1.5
"""Standard deviation in mmHg of one reading of a pressure."""
FLOW_ERROR = 0.05
"""Relative error of one measurement of the cardiac output."""


def referred(seed: int, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sex (N,) bool, True for men, and age in years (N,) of the people of a catheter clinic."""
    gauss, flat = draws(seed, index, Modality.ECG, REFERRED, normals=1, uniforms=1)
    return flat[:, 0] < 0.5, np.clip(62.0 + 14.0 * gauss[:, 0], 18.0, 90.0)


def measured_pressures(seed: int, hearts: Hearts) -> dict[str, np.ndarray]:
    """Columns of the labels as a report gives them: whole mmHg, l/min and Wood units with one decimal.

    PAWP and mPCWP are two readings of one latent pressure. PVR follows from the measured values, (mPAP - PAWP) / CO.
    """
    gauss, _ = draws(seed, hearts.index, Modality.ECG, CATHETER, normals=4, uniforms=0)
    mpap = np.maximum(np.rint(hearts.mpap + PRESSURE_ERROR * gauss[:, 0]), 5.0)
    wedge = [np.rint(hearts.pawp + PRESSURE_ERROR * gauss[:, column]) for column in (1, 2)]
    pawp, mpcwp = (np.clip(reading, 1.0, mpap - 1.0) for reading in wedge)
    output = np.round(hearts.output * np.exp(FLOW_ERROR * gauss[:, 3]), 1)
    return {
        "mPAP": mpap,
        "PAWP": pawp,
        "mPCWP": mpcwp,
        "PVR": np.round((mpap - pawp) / output, 1),
        "CO": output,
    }
