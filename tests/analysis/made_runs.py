"""Run folders made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from lightning.pytorch import LightningModule, Trainer

RATE, SAMPLES = 100.0, 500


def write_run(folder: Path, model: LightningModule, store: Path, **data: object) -> Path:
    """A run folder as `cardiozoo fit` leaves it, but without a training."""
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(folder / "checkpoints" / "best.ckpt")
    path = f"{type(model).__module__}.{type(model).__qualname__}"
    options = {"store": str(store), "highpass": None, "powerline": None, "num_workers": 0, **data}
    config = {"model": {"class_path": path, "init_args": {}}}
    config["data"] = {"class_path": "cardiozoo.data.ecg_cohort.EcgCohort", "init_args": options}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    facts = {"model": {"name": type(model).__name__}, "data": {"name": "ecg_cohort", "synthetic": False}, "task": {}}
    (folder / "run.json").write_text(json.dumps(facts))
    return folder
