"""Random data whose loader resumes exactly and shards by rank itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningDataModule

from cardiozoo.data.loading import BatchLoader, epoch_rng

CLASSES = {"first": ["a", "b", "c"], "second": ["d", "e"]}
SIZES = {"train": 32, "val": 21, "test": 23}


class Rows:
    """Batches of rows, for :class:`cardiozoo.data.loading.BatchLoader`."""

    def __init__(self, arrays):
        self.arrays = arrays

    def __len__(self):
        return len(self.arrays["id"])

    def __getitems__(self, pairs):
        rows = [row for _, row in pairs]
        return {
            "id": [self.arrays["id"][row] for row in rows],
            "patient": [self.arrays["id"][row][:-1] for row in rows],
            "ehr": torch.from_numpy(self.arrays["ehr"][rows]),
            "target": torch.from_numpy(self.arrays["target"][rows]),
        }


class TinyData(LightningDataModule):
    """Random numbers with a weak signal.

    Args:
        store: A file; its text goes into the manifest. None: synthetic.
        task: first (three classes) or second (two).
        batch_size: Rows a batch and process.
        predict_split: train, val or test.
        seed: Of the data and of their order.
    """

    task_kind = "multilabel"
    ehr_channels = 4
    monitor = "val/auroc"
    monitor_mode = "max"

    def __init__(
        self,
        store: Path | None = None,
        task: str = "first",
        batch_size: int = 16,
        predict_split: str = "test",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.store_path, self.synthetic, self.task = store, store is None, task
        self.batch_size, self.predict_split, self.seed = batch_size, predict_split, seed
        self.class_names = CLASSES[task]
        self.num_classes = len(self.class_names)
        self.manifest = {"format": "cardiozoo-store", "text": store.read_text() if store else "synthetic"}
        self.manifest_sha256 = hashlib.sha256(self.manifest["text"].encode()).hexdigest()

    def _loader(self, split):
        rng = np.random.default_rng([self.seed, *split.encode()])
        ehr = rng.normal(size=(SIZES[split], 4)).astype(np.float32)
        target = (ehr[:, : self.num_classes] + rng.normal(size=(SIZES[split], self.num_classes)) > 0).astype(np.float32)
        arrays = {"id": [f"{split}{r:03d}" for r in range(SIZES[split])], "ehr": ehr, "target": target}
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        training, rows = split == "train", SIZES[split]

        def order(epoch):
            return epoch_rng(self.seed, epoch).permutation(rows) if training else np.arange(rows)

        return BatchLoader(Rows(arrays), order, self.batch_size, training=training, rank=rank, world_size=world)

    def train_dataloader(self):
        return self._loader("train")

    def val_dataloader(self):
        return self._loader("val")

    def test_dataloader(self):
        return self._loader("test")

    def predict_dataloader(self):
        return self._loader(self.predict_split)
