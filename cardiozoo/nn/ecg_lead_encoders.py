"""One encoder a lead, none of them shared, with the weights of all leads stacked in one tensor a layer.

On a GPU the convolutions of all leads run as grouped ones and the fully connected layers as one batched product. On a
CPU grouped convolutions of so few channels take twice as long as one convolution a lead, so there the leads take turns;
the weights, and the result up to rounding, are the same.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LeadLinear(nn.Module):
    """One linear layer a lead.

    Stored as (leads, inputs, outputs): a batched product then leaves a contiguous gradient, where the transposed layout
    would have it rearranged in every step.

    Args:
        leads: Number of leads.
        inputs: Width of the input.
        outputs: Width of the output.
    """

    def __init__(self, leads: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(leads, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(leads, outputs))
        bound = 1 / math.sqrt(inputs)  # as nn.Linear
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(leads, B, inputs) -> (leads, B, outputs)."""
        return torch.baddbmm(self.bias[:, None], x, self.weight)


class LeadEncoders(nn.Module):
    """Three strided convolutions a lead, then its mean and log-variance (Suvon et al., LS-EMVAE, section 2).

    Args:
        leads: Number of leads.
        samples: Samples of a signal, any number; the convolutions leave ceil(samples / 8) frames.
        latent: Latent dimensions.
        channels: Channels of the three convolutions.
    """

    def __init__(
        self, leads: int, samples: int, latent: int = 256, channels: tuple[int, int, int] = (16, 32, 64)
    ) -> None:
        super().__init__()
        self.leads, self.latent = leads, latent
        sizes = (1, *channels)
        self.convs = nn.ModuleList(
            nn.Conv1d(leads * inner, leads * outer, 3, stride=2, padding=1, groups=leads)
            for inner, outer in pairwise(sizes)
        )
        self.frames = frames_of(samples)
        self.fc = LeadLinear(leads, channels[-1] * self.frames, 2 * latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signals (B, leads, samples) -> means and log-variances (leads, B, latent)."""
        mu, logvar = self.fc(self.features(x)).chunk(2, -1)
        return mu, logvar

    def features(self, x: Tensor) -> Tensor:
        """What the fully connected layers read, channel by channel: (B, leads, samples) -> (leads, B, features)."""
        if x.device.type != "cpu":
            for conv in self.convs:
                x = conv(x).relu_()
            return x.view(len(x), self.leads, -1).transpose(0, 1)
        weights = [(conv.weight.chunk(self.leads), conv.bias.chunk(self.leads)) for conv in self.convs]
        leads = []
        for lead in range(self.leads):
            signal = x[:, lead : lead + 1]
            for weight, bias in weights:
                signal = F.conv1d(signal, weight[lead], bias[lead], stride=2, padding=1).relu_()
            leads.append(signal.flatten(1))
        return torch.stack(leads)


def frames_of(samples: int) -> int:
    """Frames that three convolutions of stride 2, kernel 3 and padding 1 leave: ceil(samples / 8)."""
    return -(-samples // 8)
