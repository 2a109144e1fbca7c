"""What every model of the zoo does alike: the steps, the metrics, the record, the optimiser.

A model adds ``forward`` and, where it has one, ``embed``; it overrides ``losses`` if its loss is more than the
cross-entropy of its logits and ``extra`` if its predictions table has columns of its own.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from cardiozoo.data.batch import Batch, Record
from cardiozoo.data.tasks import TaskKind
from cardiozoo.errors import OptionError
from cardiozoo.nn.losses import LossTerm, combine, prediction_term
from cardiozoo.nn.metrics import EpochMeters

Schedule = Literal["none", "plateau"]


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
        task_kind: ``binary``, ``multilabel`` (independent sigmoids) or ``multiclass`` (softmax).
        learning_rate: Learning rate of Adam.
        weight_decay: L2 penalty of Adam.
        betas: Decay rates of Adam's two moments.
        schedule: ``plateau`` halves the learning rate after 10 epochs without a better validation loss.
    """

    #: Modalities that every row must have.
    required: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        num_classes: int,
        class_names: list[str] | None = None,
        task_kind: TaskKind = "multilabel",
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "none",
    ) -> None:
        super().__init__()
        _check_task(num_classes, class_names, task_kind)
        _check_optimiser(learning_rate, weight_decay, betas, schedule)
        self.num_classes = num_classes
        self.class_names = list(class_names or (f"class_{i}" for i in range(num_classes)))
        self.task_kind = task_kind
        self.learning_rate, self.weight_decay, self.betas, self.schedule = learning_rate, weight_decay, betas, schedule
        self.meters = torch.nn.ModuleDict({"val": EpochMeters(), "test": EpochMeters()})

    # --- What a model defines ----------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """At least ``logits`` (B, C)."""
        raise NotImplementedError

    def embed(self, batch: Batch) -> Tensor:
        """One representation a sample, (B, D)."""
        raise NotImplementedError(f"{type(self).__name__} learns no representation")

    def losses(self, batch: Batch, outputs: dict[str, Tensor]) -> dict[str, LossTerm]:
        """The terms of the loss by name, computed in float32."""
        return {"prediction": prediction_term(outputs["logits"], batch["target"], self.task_kind, self.judged(batch))}

    def judged(self, batch: Batch) -> Tensor | None:
        """Rows that count in the loss and in validation and test metrics, bool (B,); all of them if None."""
        return None

    def extra(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Further columns for the predictions table: name -> (B,) or (B, C)."""
        return {}

    # --- What all of them do -----------------------------------------------------------------------------------------

    def loss_terms(self, batch: Batch, outputs: dict[str, Tensor]) -> dict[str, LossTerm]:
        """``losses``, outside autocast and from outputs in full precision."""
        with torch.autocast(outputs["logits"].device.type, enabled=False):
            full = {k: v.float() if v.dtype in (torch.float16, torch.bfloat16) else v for k, v in outputs.items()}
            return self.losses(batch, full)

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
        """The rows of the predictions table: probabilities, targets and who they belong to."""
        logits = outputs["logits"].detach().float()
        score = logits.softmax(-1) if self.task_kind == "multiclass" else logits.sigmoid()
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

    def configure_optimizers(self) -> Any:
        trained = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, self.learning_rate, tuple(self.betas), weight_decay=self.weight_decay)
        if self.schedule == "none":
            return optimizer
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=10)
        return {
            "optimizer": optimizer,
            # Not strict: a run without validation trains at a constant rate.
            "lr_scheduler": {"scheduler": plateau, "monitor": "val/loss", "interval": "epoch", "strict": False},
        }

    # --- Inner workings ----------------------------------------------------------------------------------------------

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
        shown = {name: name in ("val/loss", "val/auroc") for name in values}
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


def _check_task(num_classes: int, class_names: list[str] | None, task_kind: str) -> None:
    allowed = [kind for kind in get_args(TaskKind) if kind != "regression"]
    if task_kind not in allowed:
        raise OptionError(f"task_kind {task_kind!r}.", f"One of {', '.join(allowed)}.", "Choose another --data.task.")
    least, most = {"binary": (1, 1), "multilabel": (1, None), "multiclass": (2, None)}[task_kind]
    if num_classes < least or (most is not None and num_classes > most):
        raise OptionError(f"num_classes {num_classes} for a {task_kind} task.", f"At least {least}, at most {most}.")
    if class_names is not None and len(class_names) != num_classes:
        raise OptionError(f"{len(class_names)} class names for {num_classes} classes.", "One name a class.")


def _check_optimiser(learning_rate: float, weight_decay: float, betas: tuple[float, float], schedule: str) -> None:
    if not learning_rate > 0:
        raise OptionError(f"learning_rate {learning_rate}.", "A number above 0.")
    if not weight_decay >= 0:
        raise OptionError(f"weight_decay {weight_decay}.", "A number of at least 0.")
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise OptionError(f"betas {betas}.", "Two numbers in [0, 1).")
    if schedule not in get_args(Schedule):
        raise OptionError(f"schedule {schedule!r}.", f"One of {', '.join(get_args(Schedule))}.")
