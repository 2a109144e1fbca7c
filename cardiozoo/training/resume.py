"""What Lightning leaves out when it resumes, so that a killed run ends with the very weights of one that was not.

- The states of the random number generators of every process.
- The position of the training loader when the checkpoint was written at the end of an epoch: Lightning restores it
  in the middle of an epoch only.
- The step of a plateau schedule at the end of an epoch, taken after the checkpoint of that epoch was written.
- A write that is whole or not at all, wherever the temporary folder lies.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.trainer.states import TrainerFn


def rng_state() -> dict[str, Any]:
    """The states of python, numpy, torch and CUDA of this process, as plain types and tensors."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [str(name), torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Sets what :func:`rng_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


class ExactResume(Callback):
    """Saves and restores what a resumed run needs; see the module docstring."""

    def __init__(self) -> None:
        self._trainer: Trainer | None = None
        self._states: list[dict[str, Any]] | None = None
        self._pending: list[float | None] = []
        self._loader: dict[str, Any] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        # Every process comes here when a checkpoint is made, the first one writes it.
        trainer = self._trainer
        if trainer is None or trainer.state.fn != TrainerFn.FITTING:
            return {}
        states: list[Any] = [None] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(states, rng_state())
        else:
            states = [rng_state()]
        loader = getattr(trainer.train_dataloader, "state_dict", dict)()
        return {"rng": states, "plateau": self._plateau_values(trainer), "loader": loader}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._states = state_dict.get("rng")
        self._pending = list(state_dict.get("plateau") or [])
        self._loader = state_dict.get("loader") or None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for config, value in zip(trainer.lr_scheduler_configs, self._pending, strict=False):
            if value is not None:
                pl_module.lr_scheduler_step(config.scheduler, torch.tensor(value))
        if self._loader is not None and not trainer.fit_loop.restarting:
            trainer.train_dataloader.load_state_dict(self._loader)
        self._pending, self._loader = [], None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._states is not None and len(self._states) == trainer.world_size:
            set_rng_state(self._states[trainer.global_rank])
        self._states = None

    def _plateau_values(self, trainer: Trainer) -> list[float | None]:
        """The value each plateau schedule is about to be stepped with, at the end of an epoch before that step."""
        progress = trainer.fit_loop.epoch_progress.current
        epoch_over = progress.processed == progress.started and progress.completed < progress.processed
        values: list[float | None] = []
        for config in trainer.lr_scheduler_configs:
            due = config.reduce_on_plateau and config.interval == "epoch" and epoch_over
            due = due and (trainer.current_epoch + 1) % config.frequency == 0
            value = trainer.callback_metrics.get(config.monitor) if due else None
            values.append(None if value is None else float(value))
        return values


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its final place and renames it, so that a kill leaves the old one or the new one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        final = Path(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(final.name + ".partial")
        with partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, final)
