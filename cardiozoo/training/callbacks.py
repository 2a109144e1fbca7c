"""The callbacks every run has unless its config brings its own of the same kind."""

from __future__ import annotations

import math
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from cardiozoo.errors import OptionError


def validates(trainer: Trainer) -> bool:
    """Whether a training has anything to validate on; a data module without such a split has no batch of it."""
    return bool(trainer.enable_validation and sum(trainer.num_val_batches))


class DefinedEarlyStopping(EarlyStopping):
    """Early stopping that passes over validations whose score is undefined (a class absent from the split).

    Raises:
        OptionError: The monitored metric is not among those that the model logs.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if validates(trainer):  # without a validation nothing was logged that could stop the training
            super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = trainer.callback_metrics
        if self.monitor not in metrics:
            known = sorted(name for name in metrics if name.startswith("val/"))
            raise OptionError(
                f"monitor {self.monitor!r} is not logged by {type(pl_module).__name__}.",
                f"Logged in validation: {', '.join(known) or 'nothing'}.",
                "Choose one of them with --monitor (and --monitor_mode).",
            )
        if not math.isnan(float(metrics[self.monitor])):
            super().on_validation_end(trainer, pl_module)


def default_callbacks(
    given: list[Callback],
    folder: Path,
    monitor: str,
    mode: str,
    patience: int,
    every_n_steps: int | None,
    validation: bool = True,
) -> list[Callback]:
    """Early stopping, ``checkpoints/best.ckpt`` and ``checkpoints/last.ckpt``.

    Args:
        given: Callbacks of the config; an EarlyStopping or ModelCheckpoint among them replaces ours.
        folder: The run folder.
        monitor: Logged metric that selects the best checkpoint and stops the training.
        mode: ``max`` or ``min``.
        patience: Validations without improvement before training stops; 0 never stops early.
        every_n_steps: Save ``last.ckpt`` also after so many steps, not only after each epoch.
        validation: Whether the data have a validation split; without one nothing stops the training early, nothing
            selects a checkpoint, and there is the last one only.

    Raises:
        OptionError: A negative patience.
    """
    if patience < 0:
        raise OptionError(
            f"patience {patience}.", "A number of validations, or 0 to never stop early.", "For example --patience 10."
        )
    callbacks: list[Callback] = []
    if validation and patience > 0 and not any(isinstance(callback, EarlyStopping) for callback in given):
        callbacks.append(DefinedEarlyStopping(monitor=monitor, mode=mode, patience=patience, check_finite=False))
    if any(isinstance(callback, ModelCheckpoint) for callback in given):
        return callbacks
    here = {"dirpath": folder / "checkpoints", "enable_version_counter": False, "auto_insert_metric_name": False}
    # The best one first: what it knows of the best score so far is then part of the last one.
    if validation:
        callbacks.append(ModelCheckpoint(**here, filename="best", monitor=monitor, mode=mode))
    callbacks.append(ModelCheckpoint(**here, filename="last", save_on_train_epoch_end=True))
    if every_n_steps:
        callbacks.append(ModelCheckpoint(**here, filename="last", every_n_train_steps=every_n_steps))
    return callbacks
