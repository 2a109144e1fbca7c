"""What a store says of its ECGs: their rate and length, and which leads each record has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cardiozoo.data.ecg import LEADS
from cardiozoo.data.store import Store
from cardiozoo.errors import StoreError


@dataclass(frozen=True)
class Stored:
    """What the manifest says of the signals: samples per second, and samples of a record."""

    rate: float
    samples: int


def stored_form(store: Store) -> Stored:
    """What the manifest of an ECG store says of its signals.

    Raises:
        StoreError: It says nothing, or the signals have another form.
    """
    ecg = store.manifest.get("ecg")
    try:
        assert isinstance(ecg, dict)
        found = Stored(float(ecg["rate"]), int(ecg["samples"]))
        known = tuple(ecg.get("leads", LEADS)) == LEADS
        known = known and store.array("signals.npy").shape[1:] == (len(LEADS), found.samples)
    except (AssertionError, KeyError, TypeError, ValueError):
        known = False
    if not known:
        raise StoreError(
            f"{store.path} does not say how its ECGs are sampled, or holds them in another form.",
            f"Signals of the leads {', '.join(LEADS)}, with rate and samples in its manifest.",
            f"Prepare it again: cardiozoo prepare {store.name} --help",
        )
    return found


def usable_leads(store: Store, columns: list[int]) -> np.ndarray:
    """Which of the chosen leads each record has: bool (N, L)."""
    states = np.asarray(store.array("states.npy"))
    return states[:, columns] == 0
