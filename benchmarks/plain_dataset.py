"""The baseline of the loader benchmark: one CSV file a stay, read and binned in plain Python, one sample at a time.

This is how the published pipelines on the 17 variables feed their models: an extraction leaves a text file for every
stay (a row a time, a column a variable), and the dataset opens it whenever the sample is drawn, walks through its rows,
fills the bins, repeats the last value, encodes levels one-hot and standardises. Written anew here, with the same rules
as the store's loader, so that both give the same numbers. The radiograph of a sample is read and cut by the very code
the store's loader uses, so the ratio says nothing about images.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

from cardiozoo.data.cxr_transforms import to_model_input, transform_image
from cardiozoo.data.ehr import (
    CHANNELS,
    CONTINUOUS_COLUMNS,
    FIRST_COLUMN,
    LEVELS,
    MASK_COLUMNS,
    NORMAL_VALUES,
    VARIABLES,
)
from cardiozoo.data.mimic_cxr_ehr_dataset import MimicDataset, StoredImages
from cardiozoo.data.standardise import Normalizer

HOUR = 3600
TOLERANCE = 1e-6


def write_texts(folder: Path, dataset: MimicDataset, events: dict[str, np.ndarray]) -> None:
    """One file a sample of `dataset`, named by its position: Hours and the 17 variables, empty where not charted."""
    folder.mkdir(parents=True, exist_ok=True)
    for position, stay in enumerate(dataset.samples.stay.tolist()):
        first, stop = int(events["offsets"][stay]), int(events["offsets"][stay + 1])
        rows: dict[int, list[str]] = {}
        for second, variable, value in zip(
            *(events[name][first:stop] for name in ("seconds", "variable", "value")), strict=True
        ):
            row = rows.setdefault(int(second), [repr(int(second) / HOUR), *[""] * len(VARIABLES)])
            levels = LEVELS.get(int(variable))
            row[1 + int(variable)] = levels[int(value)] if levels else str(value)
        with (folder / f"{position}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["Hours", *VARIABLES])
            writer.writerows(rows[second] for second in sorted(rows))


class PlainDataset(torch.utils.data.Dataset):
    """Samples as dictionaries, one at a time.

    Args:
        folder: Files of ``write_texts``.
        dataset: The store's samples and facts, of which the time series are not used.
        images: The radiographs of the store.
        normalizer: Mean and standard deviation.
    """

    def __init__(self, folder: Path, dataset: MimicDataset, images: StoredImages, normalizer: Normalizer) -> None:
        self.folder, self.images, self.options = folder, images, dataset.options
        self.samples, self.facts = dataset.samples, dataset.facts
        self.mean, self.sd = normalizer.mean.astype(np.float32), normalizer.sd.astype(np.float32)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> dict:
        stay, image = int(self.samples.stay[position]), int(self.samples.image[position])
        size = self.options.image.size
        cxr = torch.zeros(1, 3, size, size)
        if image >= 0:
            cxr = to_model_input(transform_image(self.images[image], self.options.image)[None], np.array([0]), 1)
        hours = float(self.samples.end_seconds[position]) / HOUR
        return {
            "id": str(self.facts.ids[stay]),
            "ehr": self.time_series(self.folder / f"{position}.csv", hours),
            "cxr": cxr[0],
            "present": image >= 0,
            "target": torch.from_numpy(self.samples.target[position]),
        }

    def time_series(self, path: Path, end: float) -> np.ndarray:
        """The bins of one stay, (T, 76) float32, standardised."""
        step = self.options.timestep
        bins = max(1, int(end / step + 1 - TOLERANCE))
        observed: list[list[str]] = [[""] * len(VARIABLES) for _ in range(bins)]
        with path.open(newline="") as file:
            reader = csv.reader(file)
            next(reader)
            for row in reader:
                hour = float(row[0])
                if hour > end + TOLERANCE:
                    continue
                place = min(max(int(hour / step - TOLERANCE), 0), bins - 1)
                for variable, text in enumerate(row[1:]):
                    if text:
                        observed[place][variable] = text
        matrix = np.zeros((bins, len(CHANNELS)), dtype=np.float32)
        state = [str(normal) for normal in NORMAL_VALUES]
        for place, texts in enumerate(observed):
            for variable, text in enumerate(texts):
                if text:
                    state[variable] = text
                    matrix[place, MASK_COLUMNS[variable]] = 1
                if variable in LEVELS:
                    matrix[place, FIRST_COLUMN[variable] + LEVELS[variable].index(state[variable])] = 1
                else:
                    matrix[place, FIRST_COLUMN[variable]] = float(state[variable])
        limit = self.options.clip
        for column, mean, sd in zip(CONTINUOUS_COLUMNS, self.mean, self.sd, strict=True):
            matrix[:, column] = (matrix[:, column] - mean) / sd
            if limit is not None:
                matrix[:, column] = np.clip(matrix[:, column], -limit, limit)
        return matrix


def collate(samples: list[dict]) -> dict:
    """A batch: time series padded with zeros to the longest."""
    lengths = [len(sample["ehr"]) for sample in samples]
    ehr = np.zeros((len(samples), max(lengths), len(CHANNELS)), dtype=np.float32)
    for row, sample in enumerate(samples):
        ehr[row, : lengths[row]] = sample["ehr"]
    return {
        "id": [sample["id"] for sample in samples],
        "ehr": torch.from_numpy(ehr),
        "ehr_lengths": torch.tensor(lengths),
        "cxr": torch.stack([sample["cxr"] for sample in samples]),
        "present": {"cxr": torch.tensor([sample["present"] for sample in samples])},
        "target": torch.stack([sample["target"] for sample in samples]),
    }
