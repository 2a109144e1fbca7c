"""What every model of the zoo does alike: the steps, the metrics, the record, the optimiser.

A model adds ``forward`` and, where it has one, ``embed``; it overrides ``losses`` if its loss is more than that of its
logits and ``extra`` if its predictions table has columns of its own.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from cardiozoo.data.batch import Batch, Record
from cardiozoo.data.tasks import TaskKind
from cardiozoo.errors import OptionError, check_choice
from cardiozoo.functional.checks import widen
from cardiozoo.models.data_facts import data_facts
from cardiozoo.nn.losses import Loss, LossTerm, combine, losses_for, prediction_term
from cardiozoo.nn.metrics import EpochMeters

Optimizer = Literal["adam", "adamw"]
Schedule = Literal["none", "plateau", "one_cycle"]


def presence(batch: Batch, modality: str) -> Tensor:
    """Which rows have a modality, bool (B,); no row if the batch does not hold it at all."""
    masks = batch.get("present", {})
    if modality in masks:
        return masks[modality]
    device = next(value.device for value in batch.values() if isinstance(value, Tensor))
    return torch.full((len(batch["id"]),), modality in batch, dtype=torch.bool, device=device)


def radiographs(batch: Batch) -> Tensor:
    """The images of a batch (B, 3, H, W); placeholders, which nobody encodes, if it holds none at all."""
    if "cxr" in batch:
        return batch["cxr"]
    return torch.zeros(len(batch["id"]), 3, 64, 64, device=presence(batch, "cxr").device)


class ZooModel(LightningModule):
    """Base of the models.

    Args:
        num_classes: Columns of the target.
        class_names: One name a class; numbered if None.
        task_kind: ``binary``, ``multilabel`` (independent sigmoids), ``multiclass`` (softmax) or ``regression``
            (numbers in their own units), as far as the class allows, see ``task_kinds``.
        learning_rate: Learning rate; the highest one of ``one_cycle``.
        weight_decay: L2 penalty of ``adam``, decoupled decay of ``adamw``.
        betas: Decay rates of the optimiser's two moments.
        schedule: ``plateau`` halves the learning rate after 10 epochs without a better validation loss; ``one_cycle``
            raises it from 1/25 within 30 % of the steps, then lowers it to nearly nothing (cosines).
        optimizer: ``adam`` or ``adamw``.
        loss: Loss of the predictions, see ``prediction_term``; if None, ``mse`` for ``regression``, otherwise the
            ``default_loss`` of the class.
        focal_alpha: Weight of the positive label in the focal loss; none if None.
        focal_gamma: Exponent of the focal loss.
        target_mean: Mean of each column of a ``regression`` target over the training split. The model learns
            standardised targets; its records are in the target's units.
        target_std: Standard deviation of each of them.
    """

    #: Modalities that every row must have.
    required: ClassVar[tuple[str, ...]] = ()
    #: Kinds of task that the model can be trained for.
    task_kinds: ClassVar[tuple[TaskKind, ...]] = ("binary", "multilabel", "multiclass")
    #: Loss of the classes where none is asked for.
    default_loss: ClassVar[Loss] = "cross_entropy"
    #: Update all parameters in one kernel, where the device can: a third of the time for 10^8 of them. The sums are
    #: rounded in another order, so models whose numbers are on record stay without.
    fused_optimizer: ClassVar[bool] = False

    def __init__(
        self,
        num_classes: int,
        class_names: list[str] | None = None,
        task_kind: TaskKind = "multilabel",
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "none",
        optimizer: Optimizer = "adam",
        loss: Loss | None = None,
        focal_alpha: float | None = 0.25,
        focal_gamma: float = 2.0,
        target_mean: list[float] | None = None,
        target_std: list[float] | None = None,
    ) -> None:
        super().__init__()
        _check_task(num_classes, class_names, task_kind, self.task_kinds)
        _check_optimiser(learning_rate, weight_decay, betas, schedule, optimizer)
        self.num_classes = num_classes
        self.class_names = list(class_names or (f"class_{i}" for i in range(num_classes)))
        self.task_kind = task_kind
        self.learning_rate, self.weight_decay, self.betas, self.schedule = learning_rate, weight_decay, betas, schedule
        self.optimizer = optimizer
        self.loss: Loss = loss or ("mse" if task_kind == "regression" else self.default_loss)
        _check_loss(self.loss, task_kind, focal_alpha, focal_gamma)
        self.focal_alpha, self.focal_gamma = focal_alpha, focal_gamma
        if task_kind == "regression":
            # In the checkpoint: trained weights mean nothing without the units they were trained in.
            mean, std = _scale(num_classes, target_mean, target_std)
            self.register_buffer("target_mean", torch.tensor(mean))
            self.register_buffer("target_std", torch.tensor(std))
        self.meters = torch.nn.ModuleDict({"val": EpochMeters(task_kind), "test": EpochMeters(task_kind)})

    # --- What a model defines ----------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """At least ``logits`` (B, C)."""
        raise NotImplementedError

    def embed(self, batch: Batch) -> Tensor:
        """One representation a sample, (B, D).

        A model that has several names them in a class attribute ``representations: tuple[str, ...]``, the default
        first, and takes ``embed(batch, representation=None, leads=None)``.
        """
        raise NotImplementedError(f"{type(self).__name__} learns no representation")

    def embedding_size(self, representation: str | None = None, leads: list[str] | None = None) -> int:
        """Width D of what ``embed`` returns, known without a batch."""
        raise NotImplementedError(f"{type(self).__name__} does not say how wide its representation is")

    def losses(self, batch: Batch, outputs: dict[str, Tensor]) -> dict[str, LossTerm]:
        """The terms of the loss by name, computed in float32."""
        target = batch["target"]
        if self.task_kind == "regression":
            target = (target - self.target_mean) / self.target_std
        options = (self.judged(batch), self.loss, self.focal_alpha, self.focal_gamma)
        return {"prediction": prediction_term(outputs["logits"], target, self.task_kind, *options)}

    def judged(self, batch: Batch) -> Tensor | None:
        """Rows that count in the loss and in validation and test metrics, bool (B,); all of them if None."""
        return None

    def extra(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Further columns for the predictions table: name -> (B,) or (B, C)."""
        return {}

    # --- What all of them do -----------------------------------------------------------------------------------------

    def loss_terms(self, batch: Batch, outputs: dict[str, Tensor]) -> dict[str, LossTerm]:
        """``losses``, outside autocast and from outputs in full precision."""
        device = next(value.device.type for value in outputs.values() if isinstance(value, Tensor))
        with torch.autocast(device, enabled=False):
            return self.losses(batch, {name: widen(value) for name, value in outputs.items()})

    def training_step(self, batch: Batch, batch_idx: int = 0) -> Tensor:
        terms = self.loss_terms(batch, self(batch))
        loss, means = combine(terms)
        per_epoch = {"train/loss": loss.detach()}
        if len(means) > 1:
            per_epoch |= {f"train/loss_{name}": mean for name, mean in means.items()}
        size = len(batch["id"])
        self.log("train/loss_step", loss.detach(), on_step=True, on_epoch=False, prog_bar=True, sync_dist=True)
        self.log_dict(per_epoch, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int = 0) -> Record:
        return self._evaluate(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int = 0) -> Record:
        return self._evaluate(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> Record:
        return self.record(batch, self(batch))

    def on_validation_epoch_end(self) -> None:
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        self._log_epoch("test")

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int = 0) -> Batch:
        # Before the transfer the masks are still on the host, so looking at them does not stall the device.
        for modality in self.required:
            self.require(batch, modality)
        return batch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Whoever finds the file can tell what it holds and what data it is for, also if no command line wrote it.
        checkpoint["class_path"] = f"{type(self).__module__}.{type(self).__qualname__}"
        checkpoint["data_facts"] = data_facts(getattr(self._trainer, "datamodule", None))

    def require(self, batch: Batch, modality: str) -> None:
        """Raise ``OptionError`` if a row lacks a modality that this model cannot do without."""
        mask = presence(batch, modality)
        if modality not in batch or not bool(mask.all()):
            missing = len(batch["id"]) if modality not in batch else int((~mask).sum())
            raise OptionError(
                f"{missing} of {len(batch['id'])} samples of a batch have no {modality!r}.",
                f"{type(self).__name__} needs {modality!r} in every sample.",
                "Choose a task whose samples all have it, or another model (`cardiozoo list --missing`).",
            )

    def record(self, batch: Batch, outputs: dict[str, Tensor]) -> Record:
        """The rows of the predictions table: probabilities (or predicted values), targets and who they belong to."""
        score = self._score(outputs["logits"].detach().float())
        record = Record(
            id=batch["id"],
            class_names=self.class_names,
            score=score,
            target=self._target_columns(batch, score),
            present=dict(batch.get("present", {})),
            groups=dict(batch.get("groups", {})),
            extra={name: column.detach().float() for name, column in self.extra(outputs).items()},
        )
        if "patient" in batch:
            record["patient"] = batch["patient"]
        return record

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is optimised, in groups that may have a learning rate (``lr``) of their own."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def configure_optimizers(self) -> Any:
        groups = self.parameter_groups()
        cls = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.optimizer]
        fused = {"fused": True} if self._may_fuse([p for group in groups for p in group["params"]]) else {}
        options = {"lr": self.learning_rate, "betas": tuple(self.betas), "weight_decay": self.weight_decay}
        optimizer = cls(groups, **options, **fused)
        if self.schedule == "none":
            return optimizer
        if self.schedule == "one_cycle":
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._cycle(optimizer), "interval": "step"}}
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=10)
        return {
            "optimizer": optimizer,
            # Not strict: a run without validation trains at a constant rate.
            "lr_scheduler": {"scheduler": plateau, "monitor": "val/loss", "interval": "epoch", "strict": False},
        }

    # --- Inner workings ----------------------------------------------------------------------------------------------

    def _may_fuse(self, trained: list[Tensor]) -> bool:
        """Whether the device has a fused kernel, and nothing has to come between the gradients and the update."""
        devices = {parameter.device.type for parameter in trained}
        trainer = self._trainer
        # A fused update divides by the loss scale of float16 itself, so clipping could not come in between.
        clips = trainer is not None and trainer.precision == "16-mixed" and bool(trainer.gradient_clip_val)
        return self.fused_optimizer and devices in ({"cpu"}, {"cuda"}) and not clips

    def _cycle(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        steps = self.trainer.estimated_stepping_batches
        if not 0 < steps < float("inf"):
            raise OptionError(
                "schedule one_cycle, but nobody said how long the training is.",
                "A number of epochs or steps: the cycle ends with the training.",
                "Add --trainer.max_epochs N.",
            )
        rates = [group["lr"] for group in optimizer.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, int(steps), pct_start=0.3)

    def _score(self, logits: Tensor) -> Tensor:
        match self.task_kind:
            case "multiclass":
                return logits.softmax(-1)
            case "regression":
                return logits * self.target_std + self.target_mean
        return logits.sigmoid()

    def _evaluate(self, batch: Batch, stage: str) -> Record:
        outputs = self(batch)
        record = self.record(batch, outputs)
        rows = self.judged(batch)
        target = record["target"] if rows is None else torch.where(rows[:, None], record["target"], torch.nan)
        self.meters[stage].update(self.loss_terms(batch, outputs), record["score"], target)
        return record

    def _log_epoch(self, stage: str) -> None:
        meters = self.meters[stage]
        values = {f"{stage}/{name}": value for name, value in meters.compute().items()}
        meters.reset()
        # The meters have summed over the processes already, so the mean that sync_dist takes changes nothing.
        shown = {name: name in ("val/loss", "val/auroc", "val/rmse") for name in values}
        for name, value in values.items():
            self.log(name, value.to(self.device), prog_bar=shown[name], sync_dist=True)

    def _target_columns(self, batch: Batch, score: Tensor) -> Tensor:
        """(B, C) float with NaN where unlabelled; one-hot for ``multiclass``."""
        target = batch.get("target")
        if target is None:
            return torch.full_like(score, torch.nan)
        if self.task_kind != "multiclass":
            return target.float()
        columns = torch.nn.functional.one_hot(target.clamp_min(0), self.num_classes).float()
        return torch.where((target >= 0)[:, None], columns, torch.nan)


def _check_task(num_classes: int, class_names: list[str] | None, kind: str, allowed: tuple[str, ...]) -> None:
    if kind not in allowed:
        raise OptionError(f"task_kind {kind!r}.", f"One of {', '.join(allowed)}.", "Choose another --data.task.")
    least, most = {"binary": (1, 1), "multiclass": (2, None), "unsupervised": (0, 0)}.get(kind, (1, None))
    if num_classes < least or (most is not None and num_classes > most):
        upper = "" if most is None else f", at most {most}"
        raise OptionError(
            f"num_classes {num_classes} for a {kind} task.",
            f"At least {least}{upper}.",
            "The data module answers it: choose another --data.task.",
        )
    if class_names is not None and len(class_names) != num_classes:
        raise OptionError(
            f"{len(class_names)} class names for {num_classes} classes.",
            "One name a class.",
            "The data module answers both; cardiozoo.testing.check_datamodule checks one of your own.",
        )


def _check_optimiser(
    learning_rate: float, weight_decay: float, betas: tuple[float, float], schedule: str, optimizer: str
) -> None:
    if not learning_rate > 0:
        raise OptionError(
            f"learning_rate {learning_rate}.", "A number above 0.", "For example --model.learning_rate 1e-4."
        )
    if not weight_decay >= 0:
        raise OptionError(
            f"weight_decay {weight_decay}.", "A number of at least 0.", "--model.weight_decay 0 is without."
        )
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise OptionError(f"betas {betas}.", "Two numbers in [0, 1).", "For example --model.betas '[0.9, 0.999]'.")
    check_choice("schedule", schedule, Schedule)
    check_choice("optimizer", optimizer, Optimizer)


def _check_loss(loss: str, kind: TaskKind, alpha: float | None, gamma: float) -> None:
    if kind != "unsupervised" and loss not in losses_for(kind):
        raise OptionError(
            f"loss {loss!r} for a {kind} task.",
            f"One of {', '.join(losses_for(kind))}.",
            "Leave --model.loss out: every kind of task has a default.",
        )
    if alpha is not None and not 0 < alpha < 1:
        raise OptionError(
            f"focal_alpha {alpha}.",
            "A number between 0 and 1, or null.",
            "--model.focal_alpha null leaves the weight of the classes out.",
        )
    if not gamma >= 0:
        raise OptionError(
            f"focal_gamma {gamma}.", "A number of at least 0.", "--model.focal_gamma 0 gives easy samples full weight."
        )


def _scale(columns: int, mean: list[float] | None, std: list[float] | None) -> tuple[list[float], list[float]]:
    mean = [0.0] * columns if mean is None else [float(value) for value in mean]
    std = [1.0] * columns if std is None else [float(value) for value in std]
    if len(mean) != columns or len(std) != columns:
        raise OptionError(
            f"{len(mean)} means and {len(std)} deviations for {columns} columns.",
            "One of each a column.",
            "The data module answers them; cardiozoo.testing.check_datamodule checks one of your own.",
        )
    bad = [value for value in std if not (value > 0 and math.isfinite(value))]
    if bad or not all(map(math.isfinite, mean)):
        raise OptionError(
            f"A target with mean {mean} and standard deviation {std} over the training split.",
            "Finite numbers, and a spread above 0.",
            "A target that is the same for everybody cannot be learned; choose another, or another split.",
        )
    return mean, std
