"""What a report says of the records of a run: samples, patients, classes, absent leads, processing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cardiozoo.data.ecg import LEADS
from cardiozoo.data.ecg_samples import EcgSamples, Labelled
from cardiozoo.data.ecg_transforms import anti_aliasing_length
from cardiozoo.data.splits import SPLITS
from cardiozoo.data.tasks import Task

if TYPE_CHECKING:
    from cardiozoo.data.ecg_datamodule import EcgDataModule


def summarise(
    samples: EcgSamples, labelled: Labelled, records: pl.DataFrame, present: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Counts per split, prevalence or distribution of the target, shares of absent leads: plain JSON for the report.

    Args:
        samples: The samples of all splits.
        labelled: Their task and what it left out.
        records: records.parquet.
        present: Lead -> bool (records,).
    """
    patient = records["patient"].to_numpy()
    splits: dict[str, Any] = {}
    missing: dict[str, dict[str, float]] = {}
    for name in SPLITS:
        part = samples.take(samples.rows_of(name))
        splits[name] = {
            "samples": len(part),
            "patients": len(np.unique(patient[part.row].astype(str))),
            **_target_account(part.target, labelled.task),
        }
        if len(part):
            missing[name] = {lead: float(1.0 - has[part.row].mean()) for lead, has in present.items()}
    summary: dict[str, Any] = {"task": labelled.task.name, "splits": splits, "excluded": samples.excluded}
    return summary | {"leads_absent": missing} | _class_counts(samples, labelled.task) | dict(labelled.facts)


def _class_counts(samples: EcgSamples, task: Task) -> dict[str, Any]:
    """Per class, how many samples of each split have it."""
    if samples.target is None or task.kind == "regression":
        return {}
    target = samples.target
    if target.ndim == 1:
        target = target[:, None] == np.arange(task.num_classes)
    counts = {name: target[samples.rows_of(name)].sum(axis=0) for name in SPLITS}
    return {
        "samples_per_class": {
            word: {name: int(count[column]) for name, count in counts.items()}
            for column, word in enumerate(task.classes)
        }
    }


def _target_account(target: np.ndarray | None, task: Task) -> dict[str, Any]:
    if target is None:
        return {}
    if task.kind == "regression":
        if not len(target):
            return {}
        numbers = {"mean": target.mean(axis=0), "sd": target.std(axis=0), "min": target.min(0), "max": target.max(0)}
        return {
            f"{name} {word}": float(values[column])
            for column, name in enumerate(task.classes)
            for word, values in numbers.items()
        }
    if target.ndim == 1:
        target = (target[:, None] == np.arange(task.num_classes)).astype(np.float32)
    return {
        "prevalence": {
            name: {"all": float(target[:, column].mean(dtype=np.float64)) if len(target) else None}
            for column, name in enumerate(task.classes)
        }
    }


def processing(data: EcgDataModule) -> dict[str, Any]:
    """What is done to the samples before a model sees them, after `setup`."""
    options, stored = data.signal_options, data.stored
    resampled, left_out = options.ratio != 1, data.manifest.get("exclusions", {})
    scales = {
        "lead": "each lead of each record: mean 0, sample standard deviation 1",
        "none": "none, values in mV",
        "train": "one mean and standard deviation of the training records for all leads",
        "train_lead": "mean and standard deviation of each lead over the training records",
    }
    window = {}
    if data.window is not None:
        window = {
            "window_in_training": f"{data.window:g} s from a random place",
            "window_in_evaluation": "the whole record" if data.eval_window == "full" else f"{data.window:g} s, centred",
        }
    if data.beat is not None:
        window = {"beat": f"median of the record's beats, {data.beat:g} s around R; without a beat, no leads"}
    return {
        "leads": ", ".join(data.leads),
        "rows": f"12, in the order {' '.join(LEADS)}; leads that are absent or not shown are 0",
        "stored": f"{stored.samples} samples at {stored.rate:g} Hz",
        "left_out_of_the_store": ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "none",
        "seen": f"{data.ecg_samples} samples at {data.ecg_rate:g} Hz",
        "unit": "mV" if data.standardise == "none" else "none, standardised from mV",
        "missing_samples": "a line between neighbours within the lead; the first and last value held at the ends",
        "highpass": f"{data.highpass:g} Hz, Butterworth of order 5, zero-phase" if data.highpass else "none",
        "powerline": f"average over a period of {data.powerline:g} Hz, zero-phase" if data.powerline else "none",
        "resampling": f"polyphase, {anti_aliasing_length(options.ratio)} taps" if resampled else "none",
        "standardisation": scales[data.standardise],
        **({"scale": data.scale.to_json()} if data.scale is not None else {}),
        "clip": data.clip,
        **window,
        "split": _split(data),
        "val_fraction": data.partition.val_fraction,
        "train_patients": data.partition.train_patients,
    }


def _split(data: EcgDataModule) -> str:
    how, own = data.partition, data.own_folds()
    if how.folds is None:
        return "of the store"
    if own is not None:
        return f"fold {how.fold} of {how.folds}, the data's own number {own[how.fold]}"
    unused = ", the data's own folds not used" if "fold" in data.records.columns else ""
    return f"fold {how.fold} of {how.folds}, seed {how.fold_seed}{unused}"
