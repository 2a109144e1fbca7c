"""A run's folder made by numpy: known strength, missing modalities, repeated patients, ties, rare classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl

ROUNDED = 1  # this class's scores have two digits, so many are tied
ABSENT = 2  # this class has no positive
HALF_LABELLED = 3


def predictions_table(
    rows: int = 400, classes: int = 6, patients: int = 300, seed: int = 0, strength: float = 1.0
) -> pl.DataFrame:
    """Scores that carry signal in proportion to ``strength``; men are scored better than women by construction."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, rows)
    sex = np.where(rng.random(patients) < 0.45, "F", "M")[patient]
    age = np.clip(rng.normal(64, 16, patients), 18, 95)[patient].round(1)
    prevalence = np.linspace(0.1, 0.45, classes)
    target = (rng.random((rows, classes)) < prevalence).astype(float)
    if classes > HALF_LABELLED:
        target[:, ABSENT] = 0
        target[rng.random(rows) < 0.5, HALF_LABELLED] = np.nan
    signal = strength * np.where(sex == "M", 1.6, 1.0)[:, None] * (np.nan_to_num(target) - prevalence)
    score = 1 / (1 + np.exp(-(signal + rng.normal(0, 1, (rows, classes)) + np.log(prevalence / (1 - prevalence)))))
    if classes > ROUNDED:
        score[:, ROUNDED] = score[:, ROUNDED].round(2)
    columns = {
        "id": [f"stay-{i:06d}" for i in range(rows)],
        "patient": [f"secret-patient-{p}" for p in patient],
        "split": ["test"] * rows,
        "group/age": age,
        "group/sex": sex,
        "present/ehr": np.ones(rows, dtype=bool),
        "present/cxr": rng.random(rows) < 0.3,
    }
    for c in range(classes):
        columns[f"target/{class_name(c)}"] = target[:, c]
        columns[f"score/{class_name(c)}"] = score[:, c].astype(np.float32)
    return pl.DataFrame(columns)


def class_name(c: int) -> str:
    return ("Shock <1>", "Septicemia (except in labor)", "Pneumonia", "Heart failure", "Arrhythmia")[c % 5] + (
        "" if c < 5 else f" {c}"
    )


def write_run(folder: Path, table: pl.DataFrame | None = None, synthetic: bool = True) -> Path:
    """All files a run's folder holds, but checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    table = predictions_table() if table is None else table
    table.write_parquet(folder / "predictions.parquet")
    classes = [c.removeprefix("target/") for c in table.columns if c.startswith("target/")]
    facts = {
        "format": "cardiozoo-run",
        "version": 1,
        "command": "cardiozoo fit --model drfuse --data mimic_cxr_ehr",
        "model": {
            "name": "drfuse",
            "title": "DrFuse: disentangled fusion",
            "parameters": 1234567,
            "trainable": 1234567,
        },
        "data": {"name": "mimic_cxr_ehr", "store": "demo", "manifest_sha256": "ab" * 32, "synthetic": synthetic},
        "task": {
            "name": "phenotyping",
            "kind": "multilabel",
            "classes": classes,
            "monitor": "val/auroc",
            "mode": "max",
        },
        "recipe": {"name": "drfuse/mimic_cxr_ehr.synthetic", "source": "cardiozoo", "preset_note": "small preset"},
        "class_groups": {"acute": classes[::2], "chronic": classes[1::2]},
        "seed": 0,
        "precision": "32-true",
        "devices": 1,
        "device": "a processor",
        "versions": {"python": "3.11.7", "cardiozoo": "0.1.0", "torch": "2.9.0"},
        "git": {"commit": "0" * 40, "dirty": False},
        "wall_seconds": 123.4,
        "epochs": 8,
        "steps": 240,
        "checkpoint": {"best": "checkpoints/best.ckpt", "monitor": "val/auroc", "score": 0.712},
        "deviations": ["resized for two cores"],
    }
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "data_manifest.json").write_text(json.dumps(manifest(synthetic)))
    (folder / "config.yaml").write_text("seed_everything: 0\nmodel:\n  init_args:\n    learning_rate: 0.0001\n")
    (folder / "logs").mkdir(exist_ok=True)
    curves().write_csv(folder / "logs" / "metrics.csv")
    return folder


def manifest(synthetic: bool) -> dict:
    """A cohort flow as a store tells it."""
    steps = [
        ("ICU stays read", 3200, 2900, 2500, None, 0, ""),
        ("one stay an admission", 2870, 2870, 2480, None, 330, "transferred or readmitted to an ICU in the admission"),
        ("adults", 2700, 2700, 2333, None, 170, "younger than 18"),
        ("with events", 2650, 2650, 2300, None, 50, "no charted event"),
        ("radiographs linked", None, None, 410, 1210, 33, "no frontal view"),
    ]
    keys = ("step", "stays", "admissions", "patients", "images", "excluded", "reason")
    flow = [dict(zip(keys, step, strict=True)) for step in steps]
    return {
        "format": "cardiozoo-store",
        "name": "mimic_cxr_ehr",
        "version": 1,
        "synthetic": synthetic,
        "release": {"mimic_iv": "2.2", "mimic_cxr": "2.0.0"},
        "flow": flow,
        "exclusions": {"younger than 18": 170, "unreadable image": 3},
        "counts": {"stays": 2650},
    }


def curves(epochs: int = 8) -> pl.DataFrame:
    """What a CSV logger writes: training rows and validation rows apart."""
    rows = []
    for epoch in range(epochs):
        for step in range(3):
            rows.append(
                {"epoch": epoch, "step": 30 * epoch + 10 * step, "train/loss_step": 0.7 - 0.03 * epoch + 0.01 * step}
            )
        loss, decay = 0.68 - 0.035 * epoch, 0.66 - 0.02 * epoch + 0.003 * max(0, epoch - 4) ** 2
        rows.append({"epoch": epoch, "step": 30 * epoch + 29, "train/loss_epoch": loss, "train/loss_orth": 0.3 * loss})
        metrics = {
            "val/loss": decay,
            "val/auroc": 0.5 + 0.03 * epoch - 0.004 * max(0, epoch - 5) ** 2,
            "val/auprc": 0.2 + 0.02 * epoch,
        }
        rows.append({"epoch": epoch, "step": 30 * epoch + 29} | metrics)
    return pl.DataFrame(rows, infer_schema_length=None)
