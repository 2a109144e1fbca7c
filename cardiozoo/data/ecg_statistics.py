"""Mean and standard deviation of ECG samples over the training split, when a recipe wants one scale for all records."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cardiozoo.data.progress import progress_bar
from cardiozoo.data.standardise import cache_file, write_cache
from cardiozoo.errors import OptionError

_FORMAT = "cardiozoo-ecg-scale"
_SMALLEST_SD = 1e-7  # mV
_BLOCK_RECORDS = 64


@dataclass(frozen=True)
class EcgScale:
    """Mean and standard deviation of each lead, all alike when fitted over all leads together.

    Attributes:
        leads: Names of the leads.
        mean: float64 (L,), mV.
        sd: float64 (L,), mV, N in the denominator, at least 1e-7.
        samples: How many samples they come from.
    """

    leads: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray
    samples: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: per lead its mean and standard deviation."""
        return {
            "format": _FORMAT,
            "samples": self.samples,
            "mean": dict(zip(self.leads, self.mean.tolist(), strict=True)),
            "sd": dict(zip(self.leads, self.sd.tolist(), strict=True)),
        }


class _Moments:
    """Running count, mean and sum of squared deviations (Chan, Golub and LeVeque, 1983), one column each."""

    def __init__(self, columns: int) -> None:
        self.count, self.mean, self.squares = (np.zeros(columns) for _ in range(3))

    def add(self, count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
        total = self.count + count
        safe = np.maximum(total, 1)
        delta = mean - self.mean
        self.squares += squares + np.square(delta) * self.count * count / safe
        self.mean += delta * count / safe
        self.count = total


def fit_scale(
    blocks: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], leads: tuple[str, ...], per_lead: bool
) -> EcgScale:
    """Mean and standard deviation over all present leads and all samples that are not padding.

    Args:
        blocks: (values float32 (B, L, S) in mV, usable bool (B, L), lengths int (B,)) of every training record once.
        leads: Names of the L leads.
        per_lead: One pair of numbers a lead instead of one for all.

    Raises:
        OptionError: There is no sample, or a lead has none and `per_lead` is set.
    """
    moments = _Moments(len(leads))
    for values, usable, lengths in blocks:
        valid = usable[:, :, None] & (np.arange(values.shape[-1]) < lengths[:, None])[:, None, :]
        count = valid.sum(axis=(0, 2)).astype(np.float64)
        exact = np.where(valid, values, 0.0).astype(np.float64)
        mean = exact.sum(axis=(0, 2)) / np.maximum(count, 1)
        deviation = np.where(valid, exact - mean[:, None], 0.0)
        moments.add(count, mean, np.square(deviation).sum(axis=(0, 2)))
    if not per_lead:
        pooled = _Moments(1)
        for column in range(len(leads)):
            pooled.add(moments.count[[column]], moments.mean[[column]], moments.squares[[column]])
        mean, squares, count = (np.repeat(part, len(leads)) for part in (pooled.mean, pooled.squares, pooled.count))
    else:
        mean, squares, count = moments.mean, moments.squares, moments.count
    empty = [lead for lead, n in zip(leads, count, strict=True) if n < 2]
    if empty:
        raise OptionError(
            f"No training record shows {', '.join(empty)}: no mean and standard deviation can be computed.",
            "At least one training record with each lead, or one scale for all leads (train) or a record's own (lead).",
            "Choose another --data.standardise, or other leads.",
        )
    return EcgScale(leads, mean, np.maximum(np.sqrt(squares / count), _SMALLEST_SD), int(moments.count.sum()))


def training_scale(
    folder: Path, key: dict[str, Any], leads: tuple[str, ...], per_lead: bool, rows: np.ndarray, read: Any
) -> EcgScale:
    """The scale of the training records: kept from an earlier run, or computed now and kept.

    Args:
        folder: Where results are kept.
        key: Everything the result depends on, as plain JSON.
        leads: Names of the leads.
        per_lead: See `fit_scale`.
        rows: int (R,), the training records.
        read: Takes some rows and returns a block as `fit_scale` wants it.
    """
    kept = cache_file(folder, key)
    if (scale := _read_cache(kept, key, leads)) is not None:
        return scale
    ordered = np.sort(rows)

    def blocks() -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        with progress_bar("Scale of the training records", len(ordered)) as advance:
            for first in range(0, len(ordered), _BLOCK_RECORDS):
                part = ordered[first : first + _BLOCK_RECORDS]
                yield read(part)
                advance(len(part))

    scale = fit_scale(blocks(), leads, per_lead)
    write_cache(kept, key, scale)
    return scale


def _read_cache(path: Path, key: dict[str, Any], leads: tuple[str, ...]) -> EcgScale | None:
    """The scale kept for `key`, None when there is none or it cannot be trusted."""
    try:
        content = json.loads(path.read_text())
        if content.get("key") != key or content.get("format") != _FORMAT:
            return None
        mean, sd = (np.array([float(content[name][lead]) for lead in leads]) for name in ("mean", "sd"))
        samples = int(content["samples"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return EcgScale(leads, mean, sd, samples) if np.isfinite(mean).all() and (sd > 0).all() else None
