"""One training step under DDP, as it runs in each of two processes."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from cardiozoo.data.batch import Batch
from cardiozoo.testing.subject import training_loss


def distributed_gradients(
    cls: type[LightningModule], init: dict[str, Any], state: dict[str, Any], batch: dict[str, Any]
) -> tuple[float, dict[str, Any]]:
    """Loss and averaged gradients of one training step under DDP; runs in a process of ``ProcessPair``.

    In evaluation mode, because dropout and batch statistics would differ between the ways by themselves.
    """
    model = cls(**init).eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    step = nn.parallel.DistributedDataParallel(_TrainingStep(model))
    loss = step(to_torch(batch))
    loss.backward()
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    return loss.item(), gradients


class _TrainingStep(nn.Module):
    """The training step as a forward pass, which is where DDP hooks in."""

    def __init__(self, model: LightningModule) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Tensor:
        return training_loss(self.model, batch)


def to_numpy(value: Any) -> Any:
    # Tensors would travel between processes as shared memory, arrays travel as bytes.
    if isinstance(value, Tensor):
        return value.numpy()
    return {name: to_numpy(part) for name, part in value.items()} if isinstance(value, dict) else value


def to_torch(value: Any) -> Any:
    if type(value).__module__ == "numpy":
        return torch.from_numpy(value)
    return {name: to_torch(part) for name, part in value.items()} if isinstance(value, dict) else value
