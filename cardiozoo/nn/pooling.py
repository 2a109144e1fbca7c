"""Reductions over the valid steps of right-padded sequences."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(sequence: Tensor, mask: Tensor) -> Tensor:
    """Mean over the valid steps: (B, T, D), bool (B, T) -> (B, D); 0 where a row has no valid step.

    Padded steps may hold anything.
    """
    total = torch.where(mask[..., None], sequence, 0).sum(1)
    return total / mask.sum(1).clamp_min(1)[:, None]


def last_valid(sequence: Tensor, lengths: Tensor) -> Tensor:
    """The entry at the last valid step: (B, T, D), int (B,) >= 1 -> (B, D)."""
    index = (lengths - 1)[:, None, None].expand(-1, 1, sequence.shape[-1])
    return sequence.gather(1, index).squeeze(1)
