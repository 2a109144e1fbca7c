"""Mean and standard deviation of the continuous EHR columns over the bins of the training stays.

The sums run in float64 over blocks, merged by the update of Chan, Golub and LeVeque (1983), because a plain sum of
squares cancels. Columns that hold one-hot levels or masks are left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cardiozoo.data.ehr import CHANNELS, CONTINUOUS_COLUMNS, LEGACY_NORMALIZER
from cardiozoo.data.progress import progress_bar
from cardiozoo.errors import OptionError

SMALLEST_SD = 1e-7
_FORMAT = "cardiozoo-normalizer"
# bins of a block, padding included: 76 columns of float32 each, some 30 MB
_BLOCK_BINS = 100_000


@dataclass(frozen=True)
class Normalizer:
    """Mean and standard deviation of the 12 continuous columns.

    Attributes:
        mean: float64 (12,), in the unit of each variable.
        sd: float64 (12,), N - 1 in the denominator, at least 1e-7.
        source: Where the numbers come from, for the report.
    """

    mean: np.ndarray
    sd: np.ndarray
    source: str

    def apply(self, matrix: np.ndarray, lengths: np.ndarray, clip: float | None) -> np.ndarray:
        """Standardise a padded block in place.

        Args:
            matrix: float32 (S, T, 76).
            lengths: Valid bins (S,); the padding becomes 0.
            clip: Limit the standardised values to [-clip, clip]; None does not.
        """
        mean = np.zeros(matrix.shape[-1], dtype=np.float32)
        inverse = np.ones(matrix.shape[-1], dtype=np.float32)
        mean[list(CONTINUOUS_COLUMNS)], inverse[list(CONTINUOUS_COLUMNS)] = self.mean, 1.0 / self.sd
        matrix -= mean
        matrix *= inverse
        if clip is not None:
            np.clip(matrix, -max(clip, 1.0), max(clip, 1.0), out=matrix)
            if clip < 1.0:  # the 0/1 columns must survive a narrow clip
                columns = list(CONTINUOUS_COLUMNS)
                matrix[..., columns] = np.clip(matrix[..., columns], -clip, clip)
        padding = np.arange(matrix.shape[1])[None, :] >= lengths[:, None]
        if padding.any():
            matrix[padding] = 0.0
        return matrix

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: per column its mean and standard deviation."""
        names = [CHANNELS[column] for column in CONTINUOUS_COLUMNS]
        return {
            "format": _FORMAT,
            "source": self.source,
            "mean": dict(zip(names, self.mean.tolist(), strict=True)),
            "sd": dict(zip(names, self.sd.tolist(), strict=True)),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any], where: str) -> Normalizer:
        """Read what `to_json` wrote.

        Raises:
            OptionError: It is something else, or a number is not finite or not positive.
        """
        names = [CHANNELS[column] for column in CONTINUOUS_COLUMNS]
        try:
            mean, sd = (np.array([float(content[key][name]) for name in names]) for key in ("mean", "sd"))
            valid = (
                content["format"] == _FORMAT and np.isfinite(mean).all() and np.isfinite(sd).all() and (sd > 0).all()
            )
        except (KeyError, TypeError, ValueError):
            valid = False
        if not valid:
            raise OptionError(
                f"{where} is no normaliser.",
                "JSON with the format 'cardiozoo-normalizer' and the mean and sd of the 12 continuous columns.",
                "Use one from a store's statistics/ folder, or --data.normalizer train.",
            )
        return cls(mean, np.maximum(sd, SMALLEST_SD), str(content.get("source", where)))


def legacy_normalizer() -> Normalizer:
    """The published MIMIC-III constants, to be used with weights that were trained on them only."""
    return Normalizer(
        np.asarray(LEGACY_NORMALIZER.mean, dtype=np.float64),
        np.maximum(np.asarray(LEGACY_NORMALIZER.sd, dtype=np.float64), SMALLEST_SD),
        "published MIMIC-III constants",
    )


def read_normalizer(path: str | Path) -> Normalizer:
    """A normaliser that another run has saved.

    Raises:
        OptionError: There is no such file, or it is no normaliser.
    """
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise OptionError(
            f"normalizer is '{path}', which cannot be read ({error}).",
            "'train', 'mimic3_legacy', or a JSON file written by a data module.",
            "Choose one of them.",
        ) from error
    return Normalizer.from_json(content, str(path))


def fit_normalizer(blocks: Iterable[tuple[np.ndarray, np.ndarray]], source: str = "training split") -> Normalizer:
    """Mean and standard deviation over all valid bins, imputed ones included.

    Args:
        blocks: (matrix (S, T, 76), lengths (S,)) of every training stay once.
        source: Kept in the result.

    Raises:
        OptionError: There are fewer than two bins.
    """
    columns = list(CONTINUOUS_COLUMNS)
    count, mean, squares = 0, np.zeros(len(columns)), np.zeros(len(columns))
    for matrix, lengths in blocks:
        valid = np.arange(matrix.shape[1])[None, :] < lengths[:, None]
        values = matrix[..., columns][valid].astype(np.float64)
        if not len(values):
            continue
        block_mean = values.mean(axis=0)
        block_squares = np.square(values - block_mean).sum(axis=0)
        total = count + len(values)
        delta = block_mean - mean
        mean = mean + delta * (len(values) / total)
        squares = squares + block_squares + np.square(delta) * (count * len(values) / total)
        count = total
    if count < 2:
        raise OptionError(
            f"The training stays have {count} bins: no standard deviation can be computed.",
            "At least one training stay of two bins.",
            "Use a larger store, or --data.normalizer mimic3_legacy.",
        )
    return Normalizer(mean, np.maximum(np.sqrt(squares / (count - 1)), SMALLEST_SD), source)


def cache_file(folder: Path, key: dict[str, Any]) -> Path:
    """Where a normaliser computed for `key` (plain JSON) is kept: the name is a hash of the key."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return folder / f"normalizer-{digest[:16]}.json"


def read_cache(path: Path, key: dict[str, Any]) -> Normalizer | None:
    """The normaliser kept for `key`, None when there is none or it cannot be trusted."""
    try:
        content = json.loads(path.read_text())
        return Normalizer.from_json(content, str(path)) if content.get("key") == key else None
    except (OSError, ValueError, AttributeError):
        return None


class AsJson(Protocol):
    """Statistics that can be kept."""

    def to_json(self) -> dict[str, Any]: ...


def write_cache(path: Path, key: dict[str, Any], normalizer: AsJson) -> None:
    """Keep a normaliser; a store that cannot be written to simply keeps none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        temporary.write_text(json.dumps({**normalizer.to_json(), "key": key}, indent=1))
        os.replace(temporary, path)


class BinnedStays(Protocol):
    """Bins some stays up to their ends, as `cardiozoo.data.ehr.bin_block` returns them."""

    def binned(self, stay: np.ndarray, end_seconds: np.ndarray, timestep: float) -> tuple[np.ndarray, np.ndarray]: ...


def training_normalizer(
    folder: Path, key: dict[str, Any], events: BinnedStays, stay: np.ndarray, end_seconds: np.ndarray, timestep: float
) -> Normalizer:
    """The normaliser of the training stays: kept from an earlier run, or computed now and kept.

    Args:
        folder: Where results are kept.
        key: Everything the result depends on.
        events: Gives the bins of stays.
        stay: (S,) training stays, each once.
        end_seconds: (S,) end of each stay's window.
        timestep: Width of a bin in hours.
    """
    kept = cache_file(folder, key)
    if (normalizer := read_cache(kept, key)) is not None:
        return normalizer
    # stays of similar length share a block, so that little of it is padding
    order = np.argsort(end_seconds, kind="stable")

    def blocks() -> Iterable[tuple[np.ndarray, np.ndarray]]:
        with progress_bar("Statistics of the training split", len(order)) as advance:
            first = 0
            while first < len(order):
                bins = max(1, int(end_seconds[order[min(first + 1023, len(order) - 1)]] / 3600 / timestep))
                part = order[first : first + max(1, min(1024, _BLOCK_BINS // bins))]
                yield events.binned(stay[part], end_seconds[part], timestep)
                first += len(part)
                advance(len(part))

    normalizer = fit_normalizer(blocks())
    write_cache(kept, key, normalizer)
    return normalizer
