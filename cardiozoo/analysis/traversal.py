"""Walks through the latent space: what the decoder draws when one dimension moves and the others stay.

The dimensions shown are those that carry most information about the records: the largest divergence
KL(q(z_d | x) || N(0, 1)), averaged over records. Dimensions near 0 are switched off; walking along them moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cardiozoo.analysis.records import rows_of
from cardiozoo.data.ecg import LEADS

STEPS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
ROWS = 32


@dataclass(frozen=True)
class Traversal:
    """Decoded signals along some dimensions.

    Attributes:
        dimensions: (K,) numbers of the dimensions, most informative first.
        divergence: (D,) mean divergence of every dimension, nats.
        steps: (S,) standard deviations of the dimension's posterior means over the records.
        spread: (K,) that standard deviation.
        signals: (K, S, L, T).
        leads: Names of the L leads.
    """

    dimensions: np.ndarray
    divergence: np.ndarray
    steps: np.ndarray
    spread: np.ndarray
    signals: np.ndarray
    leads: tuple[str, ...]

    @property
    def active(self) -> int:
        """Dimensions with a divergence above 0.01 nats."""
        return int((self.divergence > 0.01).sum())


@torch.no_grad()
def traverse(
    model: Any, batch: Mapping[str, Any], count: int = 6, steps: tuple[float, ...] = STEPS, row: int = 0
) -> Traversal:
    """Walk from one record's posterior mean along the ``count`` most informative dimensions.

    Args:
        model: With ``encode`` (a posterior with ``mu`` and ``logvar``, (B, D)) and ``decode``.
        batch: Records that the divergence and the spread are computed from.
        count: Dimensions to walk along.
        steps: Where to stop, in standard deviations.
        row: The record to begin at.
    """
    model.eval()
    mu, logvar = _posterior(model, batch)
    divergence = 0.5 * (mu**2 + logvar.exp() - logvar - 1).mean(0)
    dimensions = divergence.argsort(descending=True)[:count]
    # With one record the posterior means have no spread; the prior's is 1.
    spread = mu.std(0)[dimensions] if len(mu) > 1 else torch.ones(len(dimensions), dtype=mu.dtype)
    device = batch["ecg"].device
    signals = []
    for dimension, sd in zip(dimensions.tolist(), spread, strict=True):
        z = mu[row].repeat(len(steps), 1)
        z[:, dimension] += torch.tensor(steps, dtype=z.dtype) * sd
        signals.append(model.decode(z.float().to(device)).float().cpu().numpy())
    leads = tuple(getattr(model, "leads", LEADS))
    stacked = np.stack(signals)
    return Traversal(dimensions.numpy(), divergence.numpy(), np.array(steps), spread.numpy(), stacked, leads)


def _posterior(model: Any, batch: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and log-variances of all records, (N, D) float64 on the host."""
    parts = []
    for first in range(0, len(batch["ecg"]), ROWS):
        rows = list(range(first, min(first + ROWS, len(batch["ecg"]))))
        posterior = model.encode(rows_of(batch, rows))
        parts.append((posterior.mu.double().cpu(), posterior.logvar.double().cpu()))
    mu, logvar = (torch.cat(values) for values in zip(*parts, strict=True))
    return mu, logvar
