"""Losses as terms that remember which entries count, so that means can be taken over all processes."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cardiozoo.data.tasks import TaskKind
from cardiozoo.nn.distributed import sum_over_processes, world_size


class LossTerm(NamedTuple):
    """One term of a loss before its mean is taken.

    Attributes:
        values: One loss an entry, any shape; may hold anything where the mask is False.
        mask: Bool of the same shape, True = counts.
        weight: Factor of the mean in the total loss.
    """

    values: Tensor
    mask: Tensor
    weight: float = 1.0

    def total(self) -> Tensor:
        """Sum over the entries that count."""
        return torch.where(self.mask, self.values, 0).sum()


def prediction_term(logits: Tensor, target: Tensor, kind: TaskKind, present: Tensor | None = None) -> LossTerm:
    """Cross-entropy of the labelled entries.

    Args:
        logits: (B, C).
        target: ``binary``, ``multilabel``: (B, C) with NaN = unlabelled; ``multiclass``: int (B,) with -1 = unlabelled.
        kind: Independent sigmoids, or a softmax for ``multiclass``.
        present: Bool (B,), rows that count; their logits alone have to be finite.

    Returns:
        Values and mask (B, C), or (B,) for ``multiclass``.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if present is not None:
        logits = torch.where(present[:, None], logits, 0)
    if kind == "multiclass":
        mask = target >= 0
        values = F.cross_entropy(logits, target.clamp_min(0), reduction="none")
        return LossTerm(values, mask if present is None else mask & present)
    mask = ~target.isnan()
    values = F.binary_cross_entropy_with_logits(logits, torch.where(mask, target, 0).to(logits.dtype), reduction="none")
    return LossTerm(values, mask if present is None else mask & present[:, None])


def combine(terms: dict[str, LossTerm]) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of the terms' means over all processes, and each mean by itself (without gradient).

    The counts of all terms travel in one collective. As with ``global_mean``, averaging the gradients over the
    processes gives the gradient of the mean over all entries.
    """
    counts = sum_over_processes(torch.stack([term.mask.sum() for term in terms.values()]))
    scale = world_size() / counts.clamp_min(1)
    means = {name: term.total() * scale[i] for i, (name, term) in enumerate(terms.items())}
    total = torch.stack([term.weight * means[name] for name, term in terms.items()]).sum()
    return total, {name: mean.detach() for name, mean in means.items()}
