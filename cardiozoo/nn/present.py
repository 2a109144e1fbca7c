"""Encode only the rows that have a modality, while every parameter takes part in every step.

A batch mixes samples with and without a radiograph. Running the network on placeholder images would waste most of the
work and feed the placeholders to the statistics of BatchNorm; skipping the network when a batch has none would leave
its parameters without gradient and break distributed training. ``encode_present`` does neither.

SyncBatchNorm exchanges statistics in every forward pass in training mode, so either all processes run the network or
none does. They agree beforehand by adding up their rows; a process without any then runs the network on an empty
batch, which SyncBatchNorm counts with weight zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cardiozoo.functional.checks import widen
from cardiozoo.nn.distributed import sum_over_processes, world_size


def touch(parameters: Iterable[nn.Parameter]) -> Tensor:
    """A zero that depends on every trainable parameter: gradients become 0 instead of None.

    Sums empty slices, so a parameter that is infinite or NaN cannot reach the result.
    """
    slices = [p.reshape(-1)[:0] for p in parameters if p.requires_grad]
    return torch.cat([widen(part) for part in slices]).sum() if slices else torch.zeros(())


@contextmanager
def batch_norm_in_eval(module: nn.Module) -> Iterator[None]:
    """Let BatchNorm use its running statistics, and not update them, within the block."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]
    for norm in norms:
        norm.training = False
    try:
        yield
    finally:
        for norm in norms:
            norm.training = True


def encode_present(
    encoder: nn.Module, inputs: Tensor, present: Tensor, width: int, freeze_batch_norm: bool = False
) -> Tensor:
    """Encode the present rows of a batch; the others get a zero vector.

    BatchNorm uses its running statistics where fewer than two rows are present, or always with ``freeze_batch_norm``.
    With SyncBatchNorm the rows of all processes count.

    Args:
        encoder: Maps (N, ...) to (N, width), N >= 0.
        inputs: (B, ...); absent rows may hold anything.
        present: Bool (B,).
        width: Width of the encoder's output.

    Returns:
        (B, width), connected to every trainable parameter of the encoder also when no row is present.
    """
    rows = present.nonzero().squeeze(1)
    batch_norm_trains = (
        any(isinstance(m, _BatchNorm) and m.training for m in encoder.modules()) and not freeze_batch_norm
    )
    count = len(rows)
    if batch_norm_trains and world_size() > 1 and any(isinstance(m, nn.SyncBatchNorm) for m in encoder.modules()):
        count = int(sum_over_processes(present.sum()))
        together = count >= 2
    else:
        together = False
    zero = touch(encoder.parameters())
    if len(rows) == 0 and not together:
        return torch.zeros(len(present), width, dtype=zero.dtype, device=inputs.device) + zero.to(inputs.device)
    selected = inputs if len(rows) == len(present) else inputs[rows]
    if batch_norm_trains and count >= 2:
        features = encoder(selected)
    else:
        with batch_norm_in_eval(encoder):
            features = encoder(selected)
    scattered = features.new_zeros(len(present), width).index_copy(0, rows, features)
    return scattered + zero.to(scattered)
