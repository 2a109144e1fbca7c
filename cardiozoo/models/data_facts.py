"""What data a model was trained on, as far as it decides what the model's numbers mean, beside the data at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cardiozoo.data.ecg import LEADS

#: Options of a data module that change the numbers in a batch, besides rate, samples and leads.
PREPROCESSING = ("beat", "highpass", "powerline", "standardise", "clip", "timestep", "use_masks")
FACTS = ("ecg_rate", "ecg_samples", "ecg_leads", *PREPROCESSING)


def data_facts(data: Any) -> dict[str, Any]:
    """Rate, samples, leads and processing of a data module, as far as it states them; plain values."""
    return {name: plain(getattr(data, name)) for name in FACTS if hasattr(data, name)}


def differences(
    trained: Mapping[str, Any], now: Mapping[str, Any], any_leads: bool
) -> tuple[list[str], list[str], list[str]]:
    """What differs, in words: what makes a model useless, what changes its numbers, what is worth knowing.

    Facts that one side does not state are not compared.

    Args:
        trained: Facts of the data the model was trained on.
        now: Facts of the data at hand.
        any_leads: Whether the model infers from whichever of its leads are present.
    """
    fatal, grave, minor = [], [], []

    def differ(name: str) -> bool:
        return None not in (trained.get(name), now.get(name)) and trained[name] != now[name]

    if differ("ecg_rate"):
        fatal.append(f"{now['ecg_rate']:g} samples a second, trained on {trained['ecg_rate']:g}")
    if differ("ecg_samples"):
        grave.append(f"records of {now['ecg_samples']} samples, trained on {trained['ecg_samples']}")
    for name in PREPROCESSING:
        # None is a value here: no filter, no clipping.
        if name in trained and name in now and trained[name] != now[name]:
            grave.append(f"{name} {now[name]}, trained with {trained[name]}")
    if now.get("ecg_leads") is not None:
        known = trained.get("ecg_leads") or list(LEADS)
        unseen = [lead for lead in now["ecg_leads"] if lead not in known]
        absent = [lead for lead in known if lead not in now["ecg_leads"]]
        if len(unseen) == len(now["ecg_leads"]):
            fatal.append(f"leads {', '.join(unseen)}, of which it saw none")
        elif unseen:
            minor.append(f"it does not look at {', '.join(unseen)}, which it was trained without")
        if absent and not any_leads:
            minor.append(f"it was trained with {', '.join(absent)} as well, and now gets zeros there")
    return fatal, grave, minor


def plain(value: Any) -> Any:
    """Lists for tuples, so that facts look the same before and after a checkpoint, a config or JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value
