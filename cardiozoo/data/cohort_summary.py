"""What a report says of the cohort: samples, patients, radiographs, how often each class occurs, what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cardiozoo.data.ehr import VARIABLES
from cardiozoo.data.mimic_cxr_ehr_samples import Samples
from cardiozoo.data.progress import progress_bar
from cardiozoo.data.splits import SPLITS
from cardiozoo.data.store import Store
from cardiozoo.data.tasks import Task

if TYPE_CHECKING:
    from cardiozoo.data.mimic_cxr_ehr import MimicCxrEhr

_BLOCK_STAYS = 2048


def summarise(samples: Samples, task: Task, patients: np.ndarray, by_image: bool) -> dict[str, Any]:
    """Plain JSON for the report.

    Args:
        samples: The samples of all splits.
        task: Their task.
        patients: Patient of each stay (of each image when `by_image`).
        by_image: Whether the samples are images.

    Returns:
        ``task``; ``splits``: per split ``samples``, ``stays``, ``patients``, ``paired``, ``cxr_missing`` (share), and
        ``prevalence`` (per class: ``all`` and ``paired``, None where no sample is labelled); ``excluded``: reason ->
        count.
    """
    splits = {}
    for split in SPLITS:
        part = samples.take(samples.rows_of(split))
        rows = part.image if by_image else part.stay
        paired = part.image >= 0
        splits[split] = {
            "samples": len(part),
            "stays": 0 if by_image else len(np.unique(rows)),
            "patients": len(np.unique(patients[rows])),
            "paired": int(paired.sum()),
            "cxr_missing": float(1.0 - paired.mean()) if len(part) else None,
            "prevalence": {
                name: {"all": everyone, "paired": with_image}
                for name, everyone, with_image in zip(
                    task.classes, _prevalence(part.target, task), _prevalence(part.target[paired], task), strict=True
                )
            },
        }
    return {"task": task.name, "splits": splits, "excluded": dict(samples.excluded)}


def _prevalence(target: np.ndarray, task: Task) -> list[float | None]:
    if target.ndim == 1:
        labelled = target[target >= 0]
        target = (labelled[:, None] == np.arange(task.num_classes)).astype(np.float32)
    counts = (~np.isnan(target)).sum(axis=0)
    sums = np.nansum(target, axis=0, dtype=np.float64)
    return [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]


def never_observed(store: Store, samples: Samples) -> dict[str, dict[str, float | None]]:
    """Per split and variable, the share of stays without a single value in the window that the samples see.

    Args:
        store: Where the events are.
        samples: Of a task with time series; of several samples of a stay the longest window counts.
    """
    offsets = np.asarray(store.array("events/offsets.npy"))
    seconds, variable = (store.array(f"events/{name}.npy") for name in ("seconds", "variable"))
    end = np.full(len(offsets) - 1, -1, dtype=np.int64)
    np.maximum.at(end, samples.stay, samples.end_seconds)
    observed = np.zeros((len(end), len(VARIABLES)), dtype=bool)
    with progress_bar("Missing values", len(end)) as advance:
        for first in range(0, len(end), _BLOCK_STAYS):
            stays = np.arange(first, min(first + _BLOCK_STAYS, len(end)))
            part = slice(int(offsets[stays[0]]), int(offsets[stays[-1] + 1]))
            stay = np.repeat(stays, np.diff(offsets[stays[0] : stays[-1] + 2]))
            seen = np.asarray(seconds[part]) <= end[stay]
            observed[stay[seen], np.asarray(variable[part])[seen]] = True
            advance(len(stays))
    shares: dict[str, dict[str, float | None]] = {}
    for split in SPLITS:
        own = observed[np.unique(samples.stay[samples.rows_of(split)])]
        missing = 1.0 - own.mean(axis=0) if len(own) else [None] * len(VARIABLES)
        shares[split] = {
            name: None if share is None else float(share) for name, share in zip(VARIABLES, missing, strict=True)
        }
    return shares


def processing(data: MimicCxrEhr) -> dict[str, Any]:
    """What is done to the values before a model sees them, after `setup`."""
    image = data.image
    shown = {
        "views": data.views,
        "image": f"{image.size} x {image.size} pixels, grey, standardised as ImageNet",
        "image_in_training": f"augmentation {image.augment}, crop {image.crop}",
        "image_in_evaluation": "no augmentation, crop center",
    }
    if data.normalizer is None:  # radiology: an image a sample
        return {**shown, "uncertain_labels": data.uncertain_labels, "missing_labels": data.missing_labels}
    return {
        "window": data.window,
        "bin_hours": data.timestep,
        "imputation": "last value carried forward; before the first, the normal value of the variable",
        "channels": data.ehr_channels,
        "clip_sd": data.clip,
        "radiograph": "the last one taken within the window of the sample",
        **shown,
        "pairing": data.pairing,
        "unimodal_fraction_in_training": data.unimodal_fraction,
        "cxr_dropout_in_training": data.cxr_dropout,
        "cxr_withheld_in_evaluation": data.cxr_withhold,
        "standardisation": {
            "source": data.normalizer.source,
            "constants": f"{len(data.normalizer.mean)} continuous variables, in their units",
            **{key: data.normalizer.to_json()[key] for key in ("mean", "sd")},
        },
    }
