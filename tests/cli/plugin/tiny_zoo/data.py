"""Random data whose loader resumes exactly and shards by rank itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningDataModule

CLASSES = {"first": ["a", "b", "c"], "second": ["d", "e"]}
SIZES = {"train": 32, "val": 21, "test": 23}


class Loader:
    """Batches in an order that (seed, epoch) alone decide; its state is (epoch, batches handed out)."""

    def __init__(self, arrays, batch_size, shuffle, seed, rank, world):
        self.arrays, self.batch_size, self.shuffle, self.seed = arrays, batch_size, shuffle, seed
        self.rank, self.world, self.epoch, self.done = rank, world, 0, 0

    def __len__(self):
        rows = len(self.arrays["id"])
        shares = [len(range(r, rows, self.world)) for r in range(self.world)]
        return -(-(min(shares) if self.shuffle else max(shares)) // self.batch_size)

    def __iter__(self):
        rows = np.arange(len(self.arrays["id"]))
        if self.shuffle:
            np.random.default_rng((self.seed, self.epoch)).shuffle(rows)
        rows = rows[self.rank :: self.world]
        first, self.done = self.done, 0
        for i in range(first, len(self)):
            self.done = i + 1
            if self.done == len(self):
                self.epoch, self.done = self.epoch + 1, 0
            chosen = rows[i * self.batch_size : (i + 1) * self.batch_size]
            yield {
                "id": [self.arrays["id"][r] for r in chosen],
                "patient": [self.arrays["id"][r][:-1] for r in chosen],
                "ehr": torch.from_numpy(self.arrays["ehr"][chosen]),
                "target": torch.from_numpy(self.arrays["target"][chosen]),
            }

    def state_dict(self):
        return {"epoch": self.epoch, "done": self.done}

    def load_state_dict(self, state):
        self.epoch, self.done = state["epoch"], state["done"]


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
        return Loader(arrays, self.batch_size, split == "train", self.seed, rank, world)

    def train_dataloader(self):
        return self._loader("train")

    def val_dataloader(self):
        return self._loader("val")

    def test_dataloader(self):
        return self._loader("test")

    def predict_dataloader(self):
        return self._loader(self.predict_split)
