"""A network with dropout (so that it draws random numbers) and a plateau schedule."""

from __future__ import annotations

import os
import signal

import torch
from lightning.pytorch import LightningModule
from torch import nn
from torchmetrics.classification import MultilabelAUROC


class TinyNet(LightningModule):
    """One hidden layer.

    Args:
        num_classes: Linked from the data.
        class_names: Linked from the data.
        ehr_channels: Linked from the data.
        width: Hidden width.
        learning_rate: Of Adam.
        kill_at_step: Kill this process, as a power cut would, once this many steps are done; not with a file ``cured``.
    """

    def __init__(
        self,
        num_classes: int,
        class_names: list[str] | None = None,
        ehr_channels: int = 4,
        width: int = 8,
        learning_rate: float = 0.01,
        kill_at_step: int | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.class_names = class_names or [str(c) for c in range(num_classes)]
        self.net = nn.Sequential(
            nn.Linear(ehr_channels, width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, num_classes)
        )
        self.auroc = MultilabelAUROC(num_classes)

    def training_step(self, batch, batch_idx):
        deadly = self.hparams.kill_at_step is not None and not os.path.exists("cured")
        if deadly and self.global_step >= self.hparams.kill_at_step:
            os.kill(os.getpid(), signal.SIGKILL)
        loss = nn.functional.binary_cross_entropy_with_logits(self.net(batch["ehr"]), batch["target"])
        self.log("train/loss", loss, on_epoch=True, batch_size=len(batch["id"]))
        return loss

    def _record(self, batch):
        return {
            "id": batch["id"],
            "patient": batch["patient"],
            "class_names": self.class_names,
            "score": self.net(batch["ehr"]).sigmoid(),
            "target": batch["target"],
            "present": {"ehr": torch.ones(len(batch["id"]), dtype=torch.bool)},
            "groups": {
                "age": batch["ehr"][:, 0],
                "sex": ["F", "M"] * (len(batch["id"]) // 2) + ["F"] * (len(batch["id"]) % 2),
            },
        }

    def validation_step(self, batch, batch_idx):
        record = self._record(batch)
        self.auroc.update(record["score"], record["target"].int())
        self.log("val/auroc", self.auroc, on_epoch=True, batch_size=len(batch["id"]))
        return record

    def test_step(self, batch, batch_idx):
        return self._record(batch)

    def predict_step(self, batch, batch_idx):
        return self._record(batch)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val/auroc"}}


class TinyOther(TinyNet):
    """The same network under another name, without a card."""


class TinySteady(TinyNet):
    """The same network at a constant learning rate, which needs no validation."""

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)


class TinyPlanned(TinyNet):
    """The same network at a learning rate whose course is planned to the last step."""

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
        steps = self.trainer.estimated_stepping_batches
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.hparams.learning_rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}
