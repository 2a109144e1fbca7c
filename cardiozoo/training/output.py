"""What a run says while it runs: advertisements and known false alarms are left out, each by its message."""

from __future__ import annotations

import logging
import sys
import warnings

from lightning.pytorch import Callback, LightningModule, Trainer

# Beginnings of log lines that say nothing about the run; the device and the seed are in run.json.
TIPS = ("💡 Tip", "GPU available", "TPU available", "HPU available", "Seed set to", "Using default `ModelCheckpoint`")
# Messages of warnings that are known and harmless here, as regular expressions that match their beginning.
WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\)",  # lightning's own code, torch 2.15
    r"Checkpoint directory .* exists and is not empty",  # a resumed run writes into its own folder
    r"Experiment logs directory .* exists and is not empty",  # its log is kept, see training.logs
    r".*does not have many workers which may be a bottleneck",  # batches are read from memory-mapped files
    r"The number of training batches .* is smaller than the logging interval",
    r"You have overridden `on_before_batch_transfer` in `LightningModule` but have passed",  # models check their input
    r"It is recommended to use .*sync_dist=True.* when logging on epoch level",  # the metrics synchronise themselves
)
# Only where nothing is trained: the weights of a checkpoint are used, and the callbacks that made it are not needed.
EVALUATING = (
    r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint need to be provided",
    r"The dirpath has changed from",
)


class _Tips(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().lstrip().startswith(TIPS)


def silence_known_noise(evaluating: bool = False) -> None:
    """Hides the lines in ``TIPS`` and the warnings in ``WARNINGS``; everything else is shown."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed", "lightning.pytorch"):
        logging.getLogger(name).addFilter(_Tips())
    for handler in logging.getLogger("lightning.pytorch").handlers:
        handler.addFilter(_Tips())
    for message in WARNINGS + (EVALUATING if evaluating else ()):
        warnings.filterwarnings("ignore", message=message)


class EpochLines(Callback):
    """One line on stderr after each validation, where there is no terminal for a progress bar."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        hidden = ("val/loss_", "val/undefined")  # the terms of the loss are in logs/metrics.csv
        metrics = trainer.callback_metrics.items()
        shown = {k: float(v) for k, v in metrics if k.startswith("val/") and not k.startswith(hidden)}
        values = "  ".join(f"{key} {value:.4f}" for key, value in sorted(shown.items()))
        print(f"epoch {trainer.current_epoch + 1:>3}/{trainer.max_epochs}  {values}", file=sys.stderr, flush=True)
