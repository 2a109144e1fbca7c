"""ResNet1d: pre-activation residual network on electrocardiograms, the baseline "Resnet1d" of LS-EMVAE.

Hong et al., HOLMES: Health OnLine Model Ensemble Serving for Deep Learning Models in Intensive Care Units (KDD 2020):
many such networks of different widths for bedside signals. A block is twice (BatchNorm, ReLU, dropout, convolution)
around an identity; where it shortens the signal the identity is max-pooled, where it widens it zeros are appended on
both sides of the channels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from cardiozoo.data.batch import Batch
from cardiozoo.data.tasks import TaskKind
from cardiozoo.errors import CardiozooWarning, OptionError, check_choice
from cardiozoo.models.base import Optimizer, Schedule, presence
from cardiozoo.models.checkpoints import read_state
from cardiozoo.models.ecg import EcgNetwork, mean_over_time
from cardiozoo.models.ecg_weights import released_resnet1d
from cardiozoo.nn.losses import Loss
from cardiozoo.nn.present import encode_present

Variant = Literal["lsemvae", "holmes_small"]
PoolPadding = Literal["zero", "ignored"]


@dataclass(frozen=True)
class Architecture:
    """Sizes of a network; see the arguments of ``ResNet1d``."""

    base_filters: int = 64
    kernel_size: int = 7
    stride: int = 3
    groups: int = 1
    blocks: int = 16
    downsample_gap: int = 2
    widen_gap: int = 4

    def channels(self, block: int) -> tuple[int, int]:
        """Channels that enter and leave a block: doubled in every ``widen_gap``-th block after the first."""
        before = self.base_filters * 2 ** (max(block - 1, 0) // self.widen_gap)
        return before, self.base_filters * 2 ** (block // self.widen_gap)

    def stride_of(self, block: int) -> int:
        """Every ``downsample_gap``-th block shortens the signal, beginning with the second."""
        return self.stride if block % self.downsample_gap == 1 % self.downsample_gap else 1


VARIANTS: dict[str, Architecture] = {
    "lsemvae": Architecture(),
    "holmes_small": Architecture(kernel_size=16, stride=2, groups=64),
}


class ResNet1d(EcgNetwork):
    """Stem, 16 pre-activation blocks, mean over time and a linear classifier.

    Args:
        ecg_leads: Leads that the network sees; all twelve if None.
        ecg_samples: Samples of a record.
        ecg_rate: Samples a second.
        num_classes: Columns of the target.
        class_names: One name a class.
        task_kind: ``binary``, ``multilabel``, ``multiclass`` or ``regression``.
        target_mean: Mean of a regression target in training.
        target_std: Standard deviation of a regression target in training.
        variant: ``lsemvae`` is the baseline of that paper; ``holmes_small`` is narrower in its groups and has longer
            kernels. The options below change single sizes of it.
        base_filters: Channels of the first blocks.
        kernel_size: Width of every convolution.
        stride: Factor by which a block shortens the signal.
        groups: Groups of the convolutions; must divide the channels.
        blocks: Residual blocks.
        downsample_gap: Every so many blocks one shortens the signal.
        widen_gap: Every so many blocks the channels double.
        dropout: Dropout before every convolution but the first two.
        pool_padding: What surrounds the signal in the max-pooled shortcut: ``zero`` as in the released weights, or
            ``ignored``, so that padding is never the largest.
        released_weights: Weights trained with the authors' class (a state dict) to start from.
        loss: ``focal`` or ``cross_entropy``; for ``regression`` ``mse``, ``smooth_l1``, ``rmse`` or ``logcosh``. Focal
            and mse if None.
        focal_alpha: Weight of the positive label in the focal loss; none if None.
        focal_gamma: Exponent of the focal loss.
        learning_rate: Learning rate.
        weight_decay: L2 penalty of ``adam``, decoupled decay of ``adamw``.
        betas: Decay rates of the optimiser's moments.
        schedule: ``none``, ``plateau`` or ``one_cycle``.
        optimizer: ``adam`` or ``adamw``.
    """

    def __init__(
        self,
        ecg_leads: list[str] | None = None,
        ecg_samples: int = 5000,
        ecg_rate: float = 500.0,
        num_classes: int = 2,
        class_names: list[str] | None = None,
        task_kind: TaskKind = "multiclass",
        target_mean: list[float] | None = None,
        target_std: list[float] | None = None,
        variant: Variant = "lsemvae",
        base_filters: int | None = None,
        kernel_size: int | None = None,
        stride: int | None = None,
        groups: int | None = None,
        blocks: int | None = None,
        downsample_gap: int | None = None,
        widen_gap: int | None = None,
        dropout: float = 0.5,
        pool_padding: PoolPadding = "zero",
        released_weights: str | None = None,
        loss: Loss | None = None,
        focal_alpha: float | None = 0.25,
        focal_gamma: float = 2.0,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "none",
        optimizer: Optimizer = "adam",
    ) -> None:
        super().__init__(
            ecg_leads, ecg_samples, ecg_rate, num_classes=num_classes, class_names=class_names, task_kind=task_kind,
            learning_rate=learning_rate, weight_decay=weight_decay, betas=betas, schedule=schedule,
            optimizer=optimizer, loss=loss, focal_alpha=focal_alpha, focal_gamma=focal_gamma,
            target_mean=target_mean, target_std=target_std,
        )  # fmt: skip
        self.save_hyperparameters(ignore=["released_weights"])
        sizes = {
            "base_filters": base_filters, "kernel_size": kernel_size, "stride": stride, "groups": groups,
            "blocks": blocks, "downsample_gap": downsample_gap, "widen_gap": widen_gap,
        }  # fmt: skip
        architecture = _architecture(variant, sizes)
        _check(architecture, ecg_samples)
        self.encoder = Encoder(len(self.ecg_leads), architecture, dropout, pool_padding)
        self.head = nn.Linear(self.encoder.width, num_classes)
        if released_weights is not None:
            state, idle = released_resnet1d(read_state(released_weights))
            self.start_from(state, released_weights, idle)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"logits": self.head(self.embed(batch))}

    def embed(self, batch: Batch) -> Tensor:
        """Mean over time of the last block's channels (B, 8 base_filters)."""
        return encode_present(self.encoder, self.signals(batch), presence(batch, "ecg"), self.encoder.width)

    def embedding_size(self, representation: str | None = None, leads: list[str] | None = None) -> int:
        return self.encoder.width


class Encoder(nn.Module):
    """From leads (B, K, T) to one vector (B, width)."""

    def __init__(self, leads: int, sizes: Architecture, dropout: float, pool_padding: PoolPadding) -> None:
        super().__init__()
        self.width = sizes.channels(sizes.blocks - 1)[1]
        self.stem = SameConv1d(leads, sizes.base_filters, sizes.kernel_size)
        self.stem_norm = nn.BatchNorm1d(sizes.base_filters)
        self.blocks = nn.ModuleList(Block(i, sizes, dropout, pool_padding) for i in range(sizes.blocks))
        self.norm = nn.BatchNorm1d(self.width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return mean_over_time(F.relu(self.norm(x))).to(self.norm.weight.dtype)


class Block(nn.Module):
    """Twice (BatchNorm, ReLU, dropout, convolution), added to a shortened and widened identity."""

    def __init__(self, index: int, sizes: Architecture, dropout: float, pool_padding: PoolPadding) -> None:
        super().__init__()
        before, after = sizes.channels(index)
        self.stride, self.widening, self.pool_padding = sizes.stride_of(index), after - before, pool_padding
        # The stem has just normalised what enters the first block.
        self.norm1 = None if index == 0 else nn.BatchNorm1d(before)
        self.conv1 = SameConv1d(before, after, sizes.kernel_size, self.stride, sizes.groups)
        self.norm2 = nn.BatchNorm1d(after)
        self.conv2 = SameConv1d(after, after, sizes.kernel_size, 1, sizes.groups)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        out = x if self.norm1 is None else self.dropout(F.relu(self.norm1(x)))
        out = self.conv1(out)
        out = self.conv2(self.dropout(F.relu(self.norm2(out))))
        return out + self._shortcut(x)

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            # Padded as for a pool of stride 1: as long as what the convolution returns, but aligned differently.
            left, right = same_padding(x.shape[-1], self.stride, 1)
            fill = 0.0 if self.pool_padding == "zero" else -float("inf")
            x = F.max_pool1d(F.pad(x, (left, right), value=fill), self.stride)
        if self.widening:
            x = F.pad(x, (0, 0, self.widening // 2, self.widening - self.widening // 2))
        return x


class SameConv1d(nn.Module):
    """Convolution whose output has ceil(T / stride) samples; the odd one of the padding stands on the right."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(before, after, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        padding = same_padding(x.shape[-1], self.conv.kernel_size[0], self.conv.stride[0])
        return self.conv(F.pad(x, padding))


def same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after a signal so that a window of ``kernel`` at ``stride`` gives ceil(length / stride)."""
    total = max(0, (-(-length // stride) - 1) * stride + kernel - length)
    return total // 2, total - total // 2


def _architecture(variant: str, sizes: dict[str, int | None]) -> Architecture:
    check_choice("variant", variant, VARIANTS)
    chosen = {name: value for name, value in sizes.items() if value is not None}
    small = [f"{name} {value}" for name, value in chosen.items() if value < 1]
    if small:
        raise OptionError(
            f"{', '.join(small)}.", "Whole numbers of at least 1.", "One left out is as --model.variant has it."
        )
    return replace(VARIANTS[variant], **chosen)


def _check(sizes: Architecture, samples: int) -> None:
    if sizes.base_filters % sizes.groups:
        raise OptionError(
            f"{sizes.groups} groups of {sizes.base_filters} channels.",
            "A number of groups that divides the channels.",
            "Change --model.groups or --model.base_filters.",
        )
    length = samples
    for block in range(sizes.blocks):
        length = -(-length // sizes.stride_of(block))
    if length < 4:
        shortenings = sum(sizes.stride_of(block) > 1 for block in range(sizes.blocks))
        warnings.warn(
            f"{shortenings} shortenings by {sizes.stride} leave {length} of {samples} samples, so the mean over time "
            "averages next to nothing. That is the published network; a stride of 2 keeps more.",
            CardiozooWarning,
            stacklevel=3,
        )
