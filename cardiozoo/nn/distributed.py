"""Means over the samples of all processes, with the gradient that one process would have."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes training together, 1 outside distributed training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum of a tensor over all processes, without gradient; every process must call it."""
    total = values.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def global_mean(values: Tensor, mask: Tensor | None = None, count: Tensor | None = None) -> Tensor:
    """Mean of ``values`` over the masked entries of all processes, scaled for the gradient averaging of DDP.

    Each process returns local sum * processes / global count. The average over processes, which DDP takes of the
    gradients, is then the mean over all entries, however unevenly they fall on the processes. Masked entries may hold
    NaN. Without any entry anywhere the result is 0, connected to the graph.

    Args:
        values: Any shape.
        mask: Bool, broadcastable to ``values``; True = counts. All entries if None.
        count: Global number of entries if it has been summed over the processes already.
    """
    if mask is None:
        mask = torch.ones_like(values, dtype=torch.bool)
    mask = mask.expand_as(values)
    if count is None:
        count = sum_over_processes(mask.sum())
    return torch.where(mask, values, 0).sum() * world_size() / count.clamp_min(1)
