"""The random data in folds over its rows."""

from __future__ import annotations

import os
import signal

import numpy as np

from cardiozoo.data.loading import BatchLoader, epoch_rng
from cardiozoo.errors import OptionError
from tiny_zoo.data import CLASSES, Rows, TinyData

ROWS = 40


class TinyFolded(TinyData):
    """Forty rows, one a patient, without a validation split.

    Args:
        store: A file; its text goes into the manifest. None: synthetic.
        folds: Number of folds.
        fold: Which one is the test split.
        bad_fold: A fold that cannot be run.
        deadly_fold: A fold whose process is killed.
        overlap: Let every fold test row 0 too.
        batch_size: Rows a batch and process.
        num_workers: Looked at by nobody.
        seed: Of the order.
    """

    has_validation = False

    def __init__(
        self,
        store=None,
        folds: int | None = None,
        fold: int = 0,
        bad_fold: int | None = None,
        deadly_fold: int | None = None,
        overlap: bool = False,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(store, "first", batch_size, "test", seed)
        self.folds, self.fold, self.overlap = folds, fold, overlap
        if batch_size < 1:
            raise OptionError(f"batch_size is {batch_size}.", "At least 1.", "Leave it out.")
        if fold == bad_fold:
            raise ValueError("this fold is bad")
        if fold == deadly_fold and not os.path.exists("cured"):
            os.kill(os.getpid(), signal.SIGKILL)

    def _rows(self, split):
        rows = np.arange(ROWS)
        tested = (rows % self.folds == self.fold) | (self.overlap & (rows == 0))
        return np.flatnonzero(tested if split == "test" else ~tested)

    def cohort_summary(self):
        return {"splits": {split: {"samples": len(self._rows(split))} for split in ("train", "test")}}

    def _loader(self, split):
        if split == "val":
            return []
        rng = np.random.default_rng(5)
        ehr = rng.normal(size=(ROWS, 4)).astype(np.float32)
        target = (ehr[:, :3] + rng.normal(size=(ROWS, 3)) > 0).astype(np.float32)
        rows = self._rows(split)
        arrays = {"id": [f"row{r:03d}a" for r in rows], "ehr": ehr[rows], "target": target[rows]}

        def order(epoch):
            return epoch_rng(self.seed, epoch).permutation(len(rows)) if split == "train" else np.arange(len(rows))

        return BatchLoader(Rows(arrays), order, self.batch_size, training=split == "train", rank=0, world_size=1)


assert len(CLASSES["first"]) == 3
