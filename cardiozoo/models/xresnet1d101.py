"""xresnet1d101: residual network with the "bag of tricks" on electrocardiograms.

Strodthoff, Wagner, Schaeffter, Samek: Deep Learning for ECG Analysis: Benchmarks and Insights from PTB-XL (IEEE JBHI
2020). A stem of three small convolutions, average pooling before the 1x1 convolution of a shortcut, maximum and average
over time side by side, and a head with a hidden layer. Unlike its namesake for images it is 64 wide in every stage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cardiozoo.data.batch import Batch
from cardiozoo.data.tasks import TaskKind
from cardiozoo.errors import OptionError, check_choice
from cardiozoo.models.base import Optimizer, Schedule, presence
from cardiozoo.models.checkpoints import read_state
from cardiozoo.models.ecg import EcgNetwork, mean_over_time
from cardiozoo.models.ecg_weights import released_xresnet1d
from cardiozoo.models.ecg_windows import Aggregation, join, windows
from cardiozoo.nn.losses import Loss
from cardiozoo.nn.present import batch_norm_in_eval, encode_present

Variant = Literal[
    "xresnet1d18", "xresnet1d34", "xresnet1d50", "xresnet1d101", "xresnet1d152",
    "xresnet1d34_lsemvae", "xresnet1d34_lsemvae_short",
]  # fmt: skip
STEM = (32, 32, 64)


@dataclass(frozen=True)
class Architecture:
    """Sizes of a network; see the arguments of ``XResNet1d101``."""

    layers: tuple[int, ...]
    expansion: int
    kernel_size: int = 5
    stem_kernel_size: int = 5
    widths: tuple[int, ...] = (64, 64, 64, 64)
    dropout: float = 0.0
    zero_init: bool = False
    plain_head: bool = False


VARIANTS: dict[str, Architecture] = {
    "xresnet1d18": Architecture((2, 2, 2, 2), 1),
    "xresnet1d34": Architecture((3, 4, 6, 3), 1),
    "xresnet1d50": Architecture((3, 4, 6, 3), 4),
    "xresnet1d101": Architecture((3, 4, 23, 3), 4),
    "xresnet1d152": Architecture((3, 8, 36, 3), 4),
    "xresnet1d34_lsemvae": Architecture((3, 4, 6, 3), 1, 5, 11, dropout=0.07, zero_init=True, plain_head=True),
    "xresnet1d34_lsemvae_short": Architecture((3, 4, 6, 3), 1, 3, 9, dropout=0.1, zero_init=True, plain_head=True),
}


class XResNet1d101(EcgNetwork):
    """Stem, four stages of residual blocks, maximum and mean over time, and a head with one hidden layer.

    Args:
        ecg_leads: Leads that the network sees; all twelve if None.
        ecg_samples: Samples of a training batch, and of the windows that longer records are cut into.
        ecg_rate: Samples a second.
        num_classes: Columns of the target.
        class_names: One name a class.
        task_kind: ``binary``, ``multilabel``, ``multiclass`` or ``regression``.
        target_mean: Mean of a regression target in training.
        target_std: Standard deviation of a regression target in training.
        variant: The published network, its siblings with 18 to 152 layers, or the network that LS-EMVAE's authors ran
            under this name, with long kernels or with short ones. The options below change single parts of it.
        layers: Blocks of each stage.
        expansion: 1 for blocks of two convolutions; more for bottlenecks that end so many times wider.
        kernel_size: Width of the convolutions in the blocks.
        stem_kernel_size: Width of the three convolutions of the stem.
        widths: Channels of each stage.
        dropout: Dropout after the stem and after every block.
        zero_init: Start every block as its shortcut: the scale of its last BatchNorm is 0.
        head_dropout: Dropout before the two layers of the head.
        eval_windows: Cut records longer than ``ecg_samples`` into windows in evaluation and join the windows'
            probabilities by ``max`` or ``mean`` (the predictions of a ``regression`` by ``mean`` only); ``none`` takes
            the record as a whole.
        eval_stride: Samples between the starts of two windows; half a window if None.
        released_weights: Weights of the PTB-XL benchmark (``learn.save`` of fastai) to start from.
        loss: ``focal`` or ``cross_entropy``; for ``regression`` ``mse``, ``smooth_l1``, ``rmse`` or ``logcosh``. Focal
            and mse if None.
        focal_alpha: Weight of the positive label in the focal loss; none if None.
        focal_gamma: Exponent of the focal loss.
        learning_rate: Learning rate; the highest one of ``one_cycle``.
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
        num_classes: int = 71,
        class_names: list[str] | None = None,
        task_kind: TaskKind = "multilabel",
        target_mean: list[float] | None = None,
        target_std: list[float] | None = None,
        variant: Variant = "xresnet1d101",
        layers: list[int] | None = None,
        expansion: int | None = None,
        kernel_size: int | None = None,
        stem_kernel_size: int | None = None,
        widths: list[int] | None = None,
        dropout: float | None = None,
        zero_init: bool | None = None,
        head_dropout: tuple[float, float] = (0.25, 0.5),
        eval_windows: Aggregation = "none",
        eval_stride: int | None = None,
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
        sizes = _architecture(
            variant, layers=layers and tuple(layers), expansion=expansion, kernel_size=kernel_size,
            stem_kernel_size=stem_kernel_size, widths=widths and tuple(widths), dropout=dropout, zero_init=zero_init,
        )  # fmt: skip
        _check_windows(eval_windows, eval_stride, task_kind)
        self.eval_windows, self.eval_stride = eval_windows, eval_stride or max(ecg_samples // 2, 1)
        self.encoder = Encoder(len(self.ecg_leads), sizes)
        self.head = _head(2 * self.encoder.width, num_classes, sizes, head_dropout)
        self.apply(_initialise)
        if sizes.zero_init:
            for block in self.encoder.blocks():
                nn.init.zeros_(block.layers[-1].norm.weight)
        if released_weights is not None:
            state, idle = released_xresnet1d(read_state(released_weights, nested="model"))
            self.start_from(state, released_weights, idle)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        signals = self.signals(batch)
        if self._whole(signals):
            return {"logits": self._classify(self._encode(signals, presence(batch, "ecg")))}
        cut, count = windows(signals, self.ecg_samples, self.eval_stride)
        logits = self._classify(self._encode(cut, presence(batch, "ecg").repeat_interleave(count)))
        return {"logits": join(logits.unflatten(0, (-1, count)), self.eval_windows, self.task_kind)}

    def embed(self, batch: Batch) -> Tensor:
        """Maximum and mean over time of the last stage (B, 2 expansion widths[-1]); a mean over windows if it cuts."""
        signals = self.signals(batch)
        if self._whole(signals):
            return self._encode(signals, presence(batch, "ecg"))
        cut, count = windows(signals, self.ecg_samples, self.eval_stride)
        return self._encode(cut, presence(batch, "ecg").repeat_interleave(count)).unflatten(0, (-1, count)).mean(1)

    def embedding_size(self, representation: str | None = None, leads: list[str] | None = None) -> int:
        return 2 * self.encoder.width

    def _whole(self, signals: Tensor) -> bool:
        return self.training or self.eval_windows == "none" or signals.shape[-1] <= self.ecg_samples

    def _encode(self, signals: Tensor, present: Tensor) -> Tensor:
        return encode_present(self.encoder, signals, present, 2 * self.encoder.width)

    def _classify(self, features: Tensor) -> Tensor:
        if len(features) > 1 or not self.training:
            return self.head(features)
        # One row has no statistics of its own.
        with batch_norm_in_eval(self.head):
            return self.head(features)


class Encoder(nn.Module):
    """From leads (B, K, T) to one vector (B, 2 width): maximum and mean over time."""

    def __init__(self, leads: int, sizes: Architecture) -> None:
        super().__init__()
        stem = zip((leads, *STEM[:-1]), STEM, (2, 1, 1), strict=True)
        self.stem = nn.ModuleList(ConvNorm(before, after, sizes.stem_kernel_size, s) for before, after, s in stem)
        self.dropout = nn.Dropout(sizes.dropout)
        self.stages, before = nn.ModuleList(), STEM[-1]
        for stage, (count, width) in enumerate(zip(sizes.layers, sizes.widths, strict=True)):
            strides = [1 if stage == 0 else 2] + [1] * (count - 1)
            blocks = nn.ModuleList()
            for stride in strides:
                blocks.append(Block(before, width, sizes.expansion, sizes.kernel_size, stride))
                before = width * sizes.expansion
            self.stages.append(blocks)
        self.width = before

    def blocks(self) -> list[Block]:
        """The residual blocks of all stages."""
        return [block for stage in self.stages for block in stage]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.stem:
            x = F.relu(layer(x))
        x = self.dropout(F.max_pool1d(x, 3, stride=2, padding=1))
        for block in self.blocks():
            x = self.dropout(block(x))
        mean = mean_over_time(x)
        return torch.cat([x.amax(-1).to(mean.dtype), mean], 1).to(self.stem[0].norm.weight.dtype)


class Block(nn.Module):
    """Two convolutions, or a bottleneck of three, added to a shortcut; the shortcut is averaged before it is mapped."""

    def __init__(self, before: int, width: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        after = width * expansion
        if expansion == 1:
            shape = [(before, width, kernel, stride), (width, after, kernel, 1)]
        else:
            shape = [(before, width, 1, 1), (width, width, kernel, stride), (width, after, 1, 1)]
        self.layers = nn.ModuleList(ConvNorm(*sizes) for sizes in shape)
        self.stride = stride
        self.project = ConvNorm(before, after, 1, 1) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for layer in self.layers[:-1]:
            out = F.relu(layer(out))
        out = self.layers[-1](out)
        if self.stride > 1:
            # The last window may hold one sample; it is divided by what it holds.
            x = F.avg_pool1d(x, self.stride, ceil_mode=True)
        return F.relu(out + (x if self.project is None else self.project(x)))


class ConvNorm(nn.Module):
    """Convolution without bias, then BatchNorm; as long as its input divided by the stride, rounded up."""

    def __init__(self, before: int, after: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(before, after, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm1d(after)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


def _head(width: int, num_classes: int, sizes: Architecture, dropout: tuple[float, float]) -> nn.Sequential:
    if sizes.plain_head:
        return nn.Sequential(nn.Linear(width, 128), nn.BatchNorm1d(128), nn.Linear(128, num_classes))
    return nn.Sequential(
        nn.BatchNorm1d(width), nn.Dropout(dropout[0]), nn.Linear(width, 128), nn.ReLU(),
        nn.BatchNorm1d(128), nn.Dropout(dropout[1]), nn.Linear(128, num_classes),
    )  # fmt: skip


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _architecture(variant: str, **chosen: object) -> Architecture:
    check_choice("variant", variant, VARIANTS)
    sizes = replace(VARIANTS[variant], **{name: value for name, value in chosen.items() if value is not None})
    if len(sizes.layers) != len(sizes.widths):
        raise OptionError(
            f"{len(sizes.layers)} layers and {len(sizes.widths)} widths.",
            "One of each a stage.",
            "Give --model.layers and --model.widths lists of one length; one left out is as --model.variant has it.",
        )
    numbers = (*sizes.layers, *sizes.widths, sizes.expansion, sizes.kernel_size, sizes.stem_kernel_size)
    if min(numbers) < 1 or not sizes.kernel_size % 2 or not sizes.stem_kernel_size % 2:
        raise OptionError(
            f"Sizes {numbers}.",
            "At least 1 everywhere, and odd kernels: shortcut and main path meet.",
            "They are layers, widths, expansion, kernel_size and stem_kernel_size; one left out is as --model.variant "
            "has it.",
        )
    return sizes


def _check_windows(eval_windows: str, eval_stride: int | None, kind: TaskKind) -> None:
    if eval_windows == "max" and kind == "regression":
        raise OptionError(
            "eval_windows max for a regression.",
            "none or mean: predictions have no larger certainty.",
            "Give --model.eval_windows mean.",
        )
    if eval_stride is not None and eval_stride < 1:
        raise OptionError(
            f"eval_stride {eval_stride}.",
            "At least 1 sample, or null.",
            "Leave --model.eval_stride out for half a window.",
        )
