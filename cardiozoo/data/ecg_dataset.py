"""Batches of ECG records from a store: int16 read from the map, made float32 and transformed at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
import torch

from cardiozoo.data.batch import Batch
from cardiozoo.data.ecg import LEADS
from cardiozoo.data.ecg_samples import EcgSamples
from cardiozoo.data.ecg_transforms import SignalOptions, transform
from cardiozoo.data.loading import epoch_rng
from cardiozoo.data.store import Store
from cardiozoo.errors import OptionError

EvalWindow = Literal["full", "center"]


@dataclass(frozen=True)
class WindowOptions:
    """Which part of a record is seen.

    Attributes:
        samples: Length of the window after resampling, None for the whole record.
        crop: random (training), center, or full (the window is ignored).
        seed: Seed of the random crops.
    """

    samples: int | None = None
    crop: Literal["random", "center", "full"] = "full"
    seed: int = 0

    @property
    def cropped(self) -> bool:
        """Whether anything is cut off."""
        return self.samples is not None and self.crop != "full"


class StoredSignals:
    """The signals of a store and how they are shown; memory-mapped when first used in a process.

    Args:
        store: An ECG store.
        records: Its records.parquet.
        leads: Leads that are shown, in the order of `LEADS`.
        options: What is done to the samples.
        mean: float (L,) in mV, for a scale of the training split.
        sd: float (L,) in mV.
    """

    def __init__(
        self,
        store: Store,
        records: pl.DataFrame,
        leads: tuple[str, ...],
        options: SignalOptions,
        mean: np.ndarray | None = None,
        sd: np.ndarray | None = None,
    ) -> None:
        self._store, self.leads, self.options = store, leads, options
        self.columns = [LEADS.index(lead) for lead in leads]
        self._lengths = records["samples"].to_numpy().astype(np.int64)
        self._mean, self._sd = (None if v is None else v.astype(np.float32) for v in (mean, sd))
        first = self.columns[0]
        # leads that follow each other are a view of the map, so that only they are read
        alike = self.columns == list(range(first, first + len(leads)))
        self._chosen: Any = slice(first, first + len(leads)) if alike else self.columns

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values float32 (B, L, S'), usable bool (B, L) and lengths (B,) of some records, as of `transform`."""
        signals, gain, states = (np.asarray(self._store.array(f"{n}.npy")) for n in ("signals", "gain", "states"))
        raw = [signals[row, self._chosen] for row in rows.tolist()]
        usable = states[rows][:, self._chosen] == 0
        return transform(
            raw, gain[rows][:, self._chosen], usable, self._lengths[rows], self.options, self._mean, self._sd
        )


class EcgDataset:
    """The samples of one split; asked for batches by `cardiozoo.data.loading.BatchLoader`.

    Args:
        samples: The samples, and nothing else.
        facts: One row a record of the store: ``id``, ``patient``, ``age``, ``sex``.
        signals: The signals.
        window: Which part of a record is seen.
        features: id -> vector (D,) that stands in for the signals, which are not read then.
        present: bool (records, L), leads that each record has; needed with `features`.
    """

    def __init__(
        self,
        samples: EcgSamples,
        facts: pl.DataFrame,
        signals: StoredSignals,
        window: WindowOptions,
        features: Mapping[str, np.ndarray] | None = None,
        present: np.ndarray | None = None,
    ) -> None:
        self.samples, self.window = samples, window
        own = facts[samples.row]
        self._ids = own["id"].to_list()
        self._patients = own["patient"].cast(pl.String).to_list()
        self._age = torch.from_numpy(own["age"].cast(pl.Float32).fill_null(float("nan")).to_numpy().copy())
        self._sex = own["sex"].fill_null("unknown").to_list()
        self._signals = signals
        self._features = None if features is None else _matrix(features, self._ids)
        self._present = None if present is None else present[samples.row]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, pair: tuple[int, int]) -> Batch:
        """A batch of one sample."""
        return self.__getitems__([pair])

    def __getitems__(self, pairs: list[tuple[int, int]]) -> Batch:
        """The batch of (epoch, index) pairs; where a random crop begins follows from seed, epoch and index."""
        epoch, index = pairs[0][0], np.array([index for _, index in pairs], dtype=np.int64)
        numbers = index.tolist()
        batch = Batch(
            id=[self._ids[i] for i in numbers],
            patient=[self._patients[i] for i in numbers],
            groups={"age": self._age[index], "sex": [self._sex[i] for i in numbers]},
        )
        if self._features is not None:
            assert self._present is not None
            batch["features"] = self._features[index]
            usable = self._present[index]
        else:
            batch["ecg"], usable = self._ecg(epoch, index)
        batch["ecg_leads"] = torch.from_numpy(_twelve(usable, self._signals.columns))
        batch["present"] = {"ecg": batch["ecg_leads"].any(dim=1)}
        if self.samples.target is not None:
            batch["target"] = torch.from_numpy(self.samples.target[index])
        return batch

    def _ecg(self, epoch: int, index: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        """float32 (B, 12, T) with 0 in the leads that are not shown, and usable bool (B, L)."""
        values, usable, lengths = self._signals.read(self.samples.row[index])
        if self.window.cropped:
            values = self._crop(values, lengths, epoch, index)
        return torch.from_numpy(_twelve(values, self._signals.columns)), usable

    def _crop(self, values: np.ndarray, lengths: np.ndarray, epoch: int, index: np.ndarray) -> np.ndarray:
        wanted = self.window.samples
        assert wanted is not None
        cropped = np.empty((*values.shape[:2], wanted), dtype=values.dtype)
        for place, (number, length) in enumerate(zip(index.tolist(), lengths.tolist(), strict=True)):
            spare = max(length - wanted, 0)  # a short record is cut within its own samples
            if self.window.crop == "random":
                first = int(epoch_rng(self.window.seed, epoch, number).integers(0, spare + 1))
            else:
                first = spare // 2
            cropped[place] = values[place, :, first : first + wanted]
        return cropped


def _twelve(chosen: np.ndarray, columns: list[int]) -> np.ndarray:
    """Put (B, L, ...) of the shown leads at their places among all twelve; the others are 0."""
    if len(columns) == len(LEADS):
        return chosen
    everything = np.zeros((len(chosen), len(LEADS), *chosen.shape[2:]), dtype=chosen.dtype)
    everything[:, columns] = chosen
    return everything


def _matrix(features: Mapping[str, np.ndarray], ids: list[str]) -> torch.Tensor:
    missing = [name for name in ids if name not in features]
    if missing:
        raise OptionError(
            f"There are no features of {len(missing)} of {len(ids)} samples, for instance {missing[0]}.",
            "One vector a sample of every split.",
            "Compute them for the splits train, val and test.",
        )
    if not ids:
        return torch.zeros(0, 0)
    return torch.from_numpy(np.stack([np.asarray(features[name], dtype=np.float32) for name in ids]))
