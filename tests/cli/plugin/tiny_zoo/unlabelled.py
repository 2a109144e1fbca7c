"""Data without targets, without a validation split or without a test split, and a model for them."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule
from torch import nn

from tiny_zoo.data import TinyData


class TinyUnlabelled(TinyData):
    """The numbers of ``TinyData`` without their targets.

    Args:
        store: A file; its text goes into the manifest. None: synthetic.
        absent: The split there is not: val, test or none.
        batch_size: Rows a batch and process.
        predict_split: train, val or test.
        seed: Of the data and of their order.
    """

    task_kind = "unsupervised"
    monitor = "val/loss"
    monitor_mode = "min"

    def __init__(self, store=None, absent: str = "none", batch_size: int = 16, predict_split="test", seed: int = 0):
        super().__init__(store, "first", batch_size, predict_split, seed)
        self.absent, self.class_names, self.num_classes = absent, [], 0

    @property
    def has_validation(self) -> bool:
        return self.absent != "val"

    def _loader(self, split):
        self.num_classes = 3  # the rows are drawn with targets, which the model does not look at
        loader = super()._loader(split)
        self.num_classes = 0
        return [] if split == self.absent else loader


class TinyAutoencoder(LightningModule):
    """One hidden layer that repeats its input.

    Args:
        learning_rate: Of Adam.
    """

    def __init__(self, learning_rate: float = 0.01) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 4))

    def _errors(self, batch):
        return (self.net(batch["ehr"]) - batch["ehr"]) ** 2

    def training_step(self, batch, batch_idx):
        loss = self._errors(batch).mean()
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["id"]))
        return loss

    def _record(self, batch):
        errors = self._errors(batch)
        none = torch.zeros(len(errors), 0)
        extra = {"loss": errors.mean(1), "mse/first": errors[:, 0], "mse/last": errors[:, 3]}
        return {"id": batch["id"], "patient": batch["patient"], "class_names": [], "score": none, "target": none} | {
            "extra": extra
        }

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self._errors(batch).mean(), on_epoch=True, batch_size=len(batch["id"]))
        return self._record(batch)

    def test_step(self, batch, batch_idx):
        return self._record(batch)

    def predict_step(self, batch, batch_idx):
        return self._record(batch)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
