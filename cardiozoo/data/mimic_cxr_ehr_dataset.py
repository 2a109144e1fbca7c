"""Batches of MIMIC-IV + MIMIC-CXR-JPG from the store: binned, standardised, augmented, collated a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from cardiozoo.data.batch import Batch
from cardiozoo.data.cxr_transforms import ImageOptions, to_model_input, transform_image
from cardiozoo.data.ehr import CHANNELS, MASK_COLUMNS, bin_block
from cardiozoo.data.loading import epoch_rng
from cardiozoo.data.mimic_cxr_ehr_samples import Samples
from cardiozoo.data.standardise import Normalizer
from cardiozoo.data.store import Store


@dataclass(frozen=True)
class BatchOptions:
    """How samples become batches.

    Attributes:
        timestep: Width of a bin in hours.
        use_masks: Keep the 17 observation masks among the channels.
        clip: Limit of the standardised values, None for none.
        image: Size and augmentation of the radiographs.
        training: Augment images and hide radiographs (`cxr_dropout`).
        cxr_dropout: Share of the rows of a training batch whose radiograph is hidden: int(share * B) rows.
        seed: Seed of augmentation and hiding.
    """

    timestep: float
    use_masks: bool
    clip: float | None
    image: ImageOptions
    training: bool
    cxr_dropout: float
    seed: int


class StayEvents:
    """The events of the stays, in the order of stays.parquet; memory-mapped when first used in a process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._offsets = np.array(store.array("events/offsets.npy"))

    def binned(self, stay: np.ndarray, end_seconds: np.ndarray, timestep: float) -> tuple[np.ndarray, np.ndarray]:
        """Bin some stays up to their ends: float32 (S, T, 76), lengths int64 (S,)."""
        seconds, variable, value = (
            self._store.array(f"events/{name}.npy") for name in ("seconds", "variable", "value")
        )
        slices = []
        for row, end in zip(stay.tolist(), end_seconds.tolist(), strict=True):
            first, stop = int(self._offsets[row]), int(self._offsets[row + 1])
            slices.append(slice(first, first + int(np.searchsorted(seconds[first:stop], end, side="right"))))
        offsets = np.concatenate([[0], np.cumsum([part.stop - part.start for part in slices])])
        block = (np.concatenate([array[part] for part in slices]) for array in (seconds, variable, value))
        return bin_block(offsets, *block, end_seconds, timestep)


class StoredImages:
    """The radiographs, in the order of cxr.parquet; memory-mapped when first used in a process."""

    def __init__(self, store: Store, cxr: pl.DataFrame) -> None:
        self._store = store
        self._offset = cxr["offset"].to_numpy()
        self._rows, self._cols = cxr["rows"].to_numpy().astype(np.int64), cxr["cols"].to_numpy().astype(np.int64)

    def __getitem__(self, image: int) -> np.ndarray:
        """uint8 (rows, cols), a view of the mapped file."""
        first, rows, cols = int(self._offset[image]), int(self._rows[image]), int(self._cols[image])
        pixels = self._store.raw("images.bin", np.uint8)
        return pixels[first : first + rows * cols].reshape(rows, cols)


@dataclass(frozen=True)
class SampleFacts:
    """What travels with a sample beside its modalities: one entry a row of the samples' table."""

    ids: np.ndarray
    patients: np.ndarray
    groups: dict[str, np.ndarray]

    def of(self, rows: np.ndarray, hours: np.ndarray) -> tuple[list[str], list[str], dict]:
        """ids, patients and groups of some stays (or images)."""
        ids = [f"{name}" if hour < 0 else f"{name}-{hour}" for name, hour in zip(self.ids[rows], hours, strict=True)]
        groups: dict = {}
        for name, values in self.groups.items():
            chosen = values[rows]
            numeric = np.issubdtype(chosen.dtype, np.floating)
            groups[name] = torch.from_numpy(chosen) if numeric else [str(value) for value in chosen]
        return ids, [str(patient) for patient in self.patients[rows]], groups


class MimicDataset:
    """The samples of one split; asked for batches by `cardiozoo.data.loading.BatchLoader`.

    Args:
        samples: The samples, and nothing else.
        facts: Ids, patients and groups by stay (by image for radiology).
        options: How samples become batches.
        images: The radiographs.
        events: The events, None for radiology.
        normalizer: Standardises the events' bins.
    """

    def __init__(
        self,
        samples: Samples,
        facts: SampleFacts,
        options: BatchOptions,
        images: StoredImages,
        events: StayEvents | None = None,
        normalizer: Normalizer | None = None,
    ) -> None:
        self.samples, self.facts, self.options = samples, facts, options
        self._images, self._events, self._normalizer = images, events, normalizer

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, pair: tuple[int, int]) -> Batch:
        """A batch of one sample."""
        return self.__getitems__([pair])

    def __getitems__(self, pairs: list[tuple[int, int]]) -> Batch:
        """The batch of (epoch, index) pairs; what is random in it follows from seed, epoch and index."""
        epoch, index = pairs[0][0], np.array([index for _, index in pairs], dtype=np.int64)
        samples = self.samples.take(index)
        images, present = self._image_tensor(samples.image, epoch, index)
        rows = samples.stay if self._events is not None else samples.image
        ids, patients, groups = self.facts.of(rows, samples.hour)
        batch = Batch(
            id=ids,
            patient=patients,
            cxr=images,
            present={"cxr": present},
            target=torch.from_numpy(samples.target),
            groups=groups,
        )
        if self._events is not None:
            batch["ehr"], batch["ehr_lengths"] = self._ehr_tensor(samples)
            batch["present"] = {"ehr": torch.ones(len(index), dtype=torch.bool), "cxr": present}
        return batch

    def _ehr_tensor(self, samples: Samples) -> tuple[torch.Tensor, torch.Tensor]:
        assert self._events is not None and self._normalizer is not None
        matrix, lengths = self._events.binned(samples.stay, samples.end_seconds, self.options.timestep)
        self._normalizer.apply(matrix, lengths, self.options.clip)
        if not self.options.use_masks:
            matrix = np.ascontiguousarray(matrix[..., : MASK_COLUMNS[0]])
        return torch.from_numpy(matrix), torch.from_numpy(lengths)

    def _image_tensor(self, image: np.ndarray, epoch: int, index: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        options = self.options
        shown = image >= 0
        hidden = int(options.cxr_dropout * len(image)) if options.training else 0
        if hidden:
            rng = epoch_rng(options.seed, epoch, int(index[0]), len(index))
            shown = shown.copy()
            shown[rng.choice(len(image), hidden, replace=False)] = False
        size = options.image.size
        rows = np.flatnonzero(shown)
        pixels = np.zeros((len(rows), size, size), dtype=np.uint8)
        for place, row in enumerate(rows.tolist()):
            rng = epoch_rng(options.seed, epoch, int(index[row])) if options.training else None
            pixels[place] = transform_image(self._images[int(image[row])], options.image, rng)
        return to_model_input(pixels, rows, len(image)), torch.from_numpy(shown)


def channel_names(use_masks: bool) -> tuple[str, ...]:
    """Names of the EHR channels of a batch."""
    return tuple(CHANNELS) if use_masks else tuple(CHANNELS[: MASK_COLUMNS[0]])
