"""What goes wrong between the electrodes and the file; every fault is entered in the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cardiozoo.data.ecg import LEADS, MISSING
from cardiozoo.data.synthetic.ecg_visit import Visits
from cardiozoo.data.synthetic.streams import Modality, stream

FAULTS = 8
"""Purpose of the stream; its part is the number of the recording."""

RATES = {
    "arms exchanged": 0.010,
    "flat lead": 0.020,
    "gap": 0.010,
    "saturated": 0.005,
    "short": 0.005,
    "zeros at the end": 0.005,
}
"""Share of recordings with each fault at ``scale`` 1."""
LIMIT = 5.0  # mV, at which a saturated lead stays


@dataclass
class Fault:
    """What was done to one recording: ``lead`` is that of a stored lead, "" if all are concerned."""

    kind: str = ""
    lead: str = ""
    first: int = 0
    last: int = 0


def exchange_arms(independent: np.ndarray) -> None:
    """Electrodes of the arms on the wrong arms (8, T), in place: I turns over, II and III change places."""
    independent[1] -= independent[0]
    independent[0] *= -1.0


def draw_fault(seed: int, visits: Visits, row: int, samples: int, scale: float) -> Fault:
    """The fault of a recording; most have none, and none has two."""
    generator = stream(seed, int(visits.index[row]), Modality.ECG, FAULTS, int(visits.number[row]))
    chance, place, start, length = generator.random(4)
    lead = LEADS[int(place * len(LEADS))]
    for kind, share in RATES.items():
        chance -= share * scale
        if chance >= 0.0:
            continue
        if kind == "arms exchanged":
            return Fault(kind, "", 0, samples)
        if kind == "short":
            return Fault(kind, "", int(samples * (0.5 + 0.4 * length)), samples)
        if kind == "zeros at the end":
            return Fault(kind, "", int(samples * (0.6 + 0.3 * length)), samples)
        if kind == "flat lead":
            return Fault(kind, lead, 0, samples)
        first = int(samples * 0.7 * start)
        span = samples * (0.02 + (0.25 if kind == "gap" else 0.5) * length)
        return Fault(kind, lead, first, min(samples, first + int(span)))
    return Fault()


def store(fault: Fault, digital: np.ndarray, gain: float) -> np.ndarray:
    """The samples of the file (12, T') from those of the converter (12, T), in LEADS order; int16."""
    if fault.kind == "short":
        return digital[:, : fault.first]
    digital = digital.copy()
    span = slice(fault.first, fault.last)
    if fault.kind == "zeros at the end":
        digital[:, span] = 0
    elif fault.lead:
        lead = LEADS.index(fault.lead)
        if fault.kind == "flat lead":
            digital[lead] = 0
        elif fault.kind == "gap":
            digital[lead, span] = MISSING
        elif fault.kind == "saturated":
            digital[lead, span] = round(LIMIT * gain)
    return digital
