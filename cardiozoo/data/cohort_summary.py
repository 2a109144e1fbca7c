"""What a report says of the cohort: samples, patients, radiographs, how often each class occurs, what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np

from cardiozoo.data.mimic_cxr_ehr_samples import Samples
from cardiozoo.data.splits import SPLITS
from cardiozoo.data.tasks import Task


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
