"""The callbacks every run has unless its config brings its own of the same kind."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint


def default_callbacks(
    given: list[Callback], folder: Path, monitor: str, mode: str, patience: int, every_n_steps: int | None
) -> list[Callback]:
    """Early stopping, ``checkpoints/best.ckpt`` and ``checkpoints/last.ckpt``.

    Args:
        given: Callbacks of the config; an EarlyStopping or ModelCheckpoint among them replaces ours.
        folder: The run folder.
        monitor: Logged metric that selects the best checkpoint and stops the training.
        mode: ``max`` or ``min``.
        patience: Validations without improvement before training stops; 0 never stops early.
        every_n_steps: Save ``last.ckpt`` also after so many steps, not only after each epoch.
    """
    callbacks: list[Callback] = []
    if patience > 0 and not any(isinstance(callback, EarlyStopping) for callback in given):
        # An undefined score (a class absent from the validation split) is no reason to stop.
        callbacks.append(EarlyStopping(monitor=monitor, mode=mode, patience=patience, check_finite=False))
    if any(isinstance(callback, ModelCheckpoint) for callback in given):
        return callbacks
    here = {"dirpath": folder / "checkpoints", "enable_version_counter": False, "auto_insert_metric_name": False}
    # The best one first: what it knows of the best score so far is then part of the last one.
    callbacks.append(ModelCheckpoint(**here, filename="best", monitor=monitor, mode=mode))
    callbacks.append(ModelCheckpoint(**here, filename="last", save_on_train_epoch_end=True))
    if every_n_steps:
        callbacks.append(ModelCheckpoint(**here, filename="last", every_n_train_steps=every_n_steps))
    return callbacks
