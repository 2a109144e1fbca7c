"""Whether data suit an encoder: what it was trained on beside what it is given now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule

from cardiozoo.data.ecg import LEADS
from cardiozoo.models.encoders import PREPROCESSING, representations_of


def differences(
    encoder: LightningModule, trained: Mapping[str, Any], now: Mapping[str, Any]
) -> tuple[list[str], list[str], list[str]]:
    """What differs, in words: what makes the encoder useless, what changes its numbers, what is worth knowing.

    Facts that one side does not state are not compared.

    Args:
        encoder: The encoder.
        trained: ``ecg_rate``, ``ecg_samples``, ``ecg_leads`` and options of the data module in the encoder's training.
        now: The same of the data at hand.
    """
    fatal, grave, minor = [], [], []

    def differ(name: str) -> bool:
        return name in trained and now.get(name) is not None and trained[name] != now[name]

    if differ("ecg_rate"):
        fatal.append(f"{now['ecg_rate']:g} samples a second, trained on {trained['ecg_rate']:g}")
    if differ("ecg_samples"):
        grave.append(f"records of {now['ecg_samples']} samples, trained on {trained['ecg_samples']}")
    for name in PREPROCESSING:
        # None is a value here: no filter, no clipping.
        if name in trained and name in now and trained[name] != now[name]:
            grave.append(f"{name} {now[name]}, trained with {trained[name]}")
    leads = now.get("ecg_leads")
    if leads is not None:
        known = trained.get("ecg_leads") or list(LEADS)
        unseen = [lead for lead in leads if lead not in known]
        absent = [lead for lead in known if lead not in leads]
        if len(unseen) == len(leads):
            fatal.append(f"leads {', '.join(leads)}, of which it saw none")
        elif unseen:
            minor.append(f"it does not look at {', '.join(unseen)}, which it was trained without")
        if absent and not representations_of(encoder):
            minor.append(f"it was trained with {', '.join(absent)} as well, and now gets zeros there")
    return fatal, grave, minor
