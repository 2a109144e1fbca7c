"""Encoder and decoder of the beta-VAE: all leads are the channels of one signal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad


class StridedEncoder(nn.Module):
    """Convolutions (kernel 4, stride 2) with BatchNorm and leaky ReLU, then mean and log-variance.

    Args:
        leads: Channels of the signal.
        samples: Samples of the signal; each convolution leaves the half, rounded down.
        latent: Latent dimensions.
        channels: Channels of the convolutions.
    """

    def __init__(self, leads: int, samples: int, latent: int, channels: Sequence[int]) -> None:
        super().__init__()
        sizes = pairwise((leads, *channels))
        self.convs = nn.ModuleList(nn.Conv1d(inner, outer, 4, stride=2, padding=1) for inner, outer in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm1d(outer) for outer in channels)
        width = channels[-1] * halves(samples, len(channels))[-1]
        self.mu, self.logvar = nn.Linear(width, latent), nn.Linear(width, latent)

    def forward(self, x: Tensor) -> Tensor:
        """Signals (N, leads, samples) -> mean and log-variance side by side (N, 2 latent)."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = leaky_relu(norm(conv(x)))
        x = x.flatten(1)
        return torch.cat([self.mu(x), self.logvar(x)], 1)


class StridedDecoder(nn.Module):
    """The mirror image of ``StridedEncoder``.

    Args:
        leads: Channels of the signal.
        samples: Samples of the signal.
        latent: Latent dimensions.
        channels: Channels of the encoder's convolutions, in the encoder's order.
        mirror_lengths: Where the encoder dropped an odd sample, put one back, so that as many samples come out as went
            in. Otherwise the signal comes out short and its end is filled with zeros, as the released code does.
    """

    def __init__(
        self, leads: int, samples: int, latent: int, channels: Sequence[int], mirror_lengths: bool = True
    ) -> None:
        super().__init__()
        lengths = halves(samples, len(channels))
        self.channels, self.frames, self.samples = channels[-1], lengths[-1], samples
        # The layers undo the encoder's from the last to the first; an odd length came from one sample more.
        odd = [length % 2 if mirror_lengths else 0 for length in (samples, *lengths[:-1])][::-1]
        self.fc = nn.Linear(latent, self.channels * self.frames)
        sizes = (*channels[::-1], leads)
        layers = [
            nn.ConvTranspose1d(inner, outer, 4, stride=2, padding=1, output_padding=extra)
            for (inner, outer), extra in zip(pairwise(sizes), odd, strict=True)
        ]
        self.convs, self.last = nn.ModuleList(layers[:-1]), layers[-1]
        self.norms = nn.ModuleList(nn.BatchNorm1d(outer) for outer in sizes[1:-1])

    def forward(self, z: Tensor) -> Tensor:
        """Latent vectors (N, latent) -> signals, lead behind lead (N, leads x samples)."""
        x = self.fc(z.to(self.fc.weight.dtype)).view(len(z), self.channels, self.frames)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = leaky_relu(norm(conv(x)))
        x = self.last(x)
        return pad(x, (0, self.samples - x.shape[-1])).flatten(1)


def halves(samples: int, times: int) -> list[int]:
    """Lengths after each of several halvings, rounded down."""
    return [samples // 2**time for time in range(1, times + 1)]
