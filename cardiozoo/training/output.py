"""What a run says while it runs: advertisements and known false alarms are left out, each by its message."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from cardiozoo.training.callbacks import validates

# Beginnings of log lines that say nothing about the run; the device and the seed are in run.json.
TIPS = (
    "💡 Tip",
    "GPU available",
    "TPU available",
    "HPU available",
    "Seed set to",
    "Using default `ModelCheckpoint`",
    "[rank: ",
    "Initializing distributed",  # the number of processes is in the first lines and in run.json
    "-----",
    "Restoring states from",  # a second line says which checkpoint was loaded
)
FABRIC = ("lightning.fabric.utilities.seed", "lightning.fabric.utilities.distributed")
# Messages of warnings that are known and harmless here, as regular expressions that match their beginning.
WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\)",  # lightning's own code, torch 2.15
    r"Checkpoint directory .* exists and is not empty",  # a resumed run writes into its own folder
    r"Experiment logs directory .* exists and is not empty",  # its log is kept, see training.logs
    r".*does not have many workers which may be a bottleneck",  # batches are read from memory-mapped files
    r"The number of training batches .* is smaller than the logging interval",
    r"You have overridden `on_before_batch_transfer` in `LightningModule` but have passed",  # models check their input
    r"Total length of `list` across ranks is zero",  # data without a validation or test split say so themselves
    r"Found \d+ module\(s\) in eval mode at the start of training",  # a frozen encoder stays in it
    r"It is recommended to use .*sync_dist=True.* when logging on epoch level",  # the metrics synchronise themselves
)
# Only where nothing is trained: the weights of a checkpoint are used, and the callbacks that made it are not needed.
EVALUATING = (
    r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint need to be provided",
    r"The dirpath has changed from",
)


# What an epoch's line tells, as far as the model logs it.
SHOWN = ("val/loss", "val/auroc", "val/auprc", "val/rmse", "val/r2")


class _Tips(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().lstrip().startswith(TIPS)


def silence_known_noise(evaluating: bool = False) -> None:
    """Hides the lines in ``TIPS`` and the warnings in ``WARNINGS``; everything else is shown."""
    for name in ("lightning.pytorch.utilities.rank_zero", *FABRIC, "lightning.pytorch"):
        logging.getLogger(name).addFilter(_Tips())
    for handler in logging.getLogger("lightning.pytorch").handlers:
        handler.addFilter(_Tips())
    for message in WARNINGS + (EVALUATING if evaluating else ()):
        warnings.filterwarnings("ignore", message=message)


class EpochLines(Callback):
    """One line on stderr after each validation, or after each epoch where there is none.

    It fits a terminal of eighty columns whatever the model logs.
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        _say_epoch(trainer, short_metrics(trainer, *SHOWN))  # everything else is in logs/metrics.csv

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and not validates(trainer) and "train/loss" in trainer.callback_metrics:
            _say_epoch(trainer, f"train/loss {float(trainer.callback_metrics['train/loss']):.4f}")


class ShortProgressBar(RichProgressBar):
    """The progress bar of a terminal with the training loss beside it; the epoch lines above it say the rest."""

    def __init__(self) -> None:
        super().__init__(leave=False)

    def _get_train_description(self, current_epoch: int) -> str:
        # Lightning counts from 0, which would contradict the epoch lines.
        return f"Epoch {current_epoch + 1}/{_last_epoch(self.trainer)} "

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        loss = trainer.progress_bar_metrics.get("train/loss_step")
        return {} if loss is None else {"loss": loss}


def _say_epoch(trainer: Trainer, shown: str) -> None:
    print(f"epoch {trainer.current_epoch + 1:>3}/{_last_epoch(trainer)}  {shown}", file=sys.stderr, flush=True)


def _last_epoch(trainer: Trainer) -> str:
    return "-" if trainer.max_epochs is None or trainer.max_epochs < 0 else str(trainer.max_epochs)


def short_metrics(trainer: Trainer, *names: str) -> str:
    """The metrics that the model logged, the validation metrics of a stranger's model if none of the usual ones."""
    logged = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val/")}
    wanted = [name for name in names if name in logged] or sorted(logged)[:3]
    return "  ".join(f"{name} {logged[name]:.4f}" for name in wanted)
