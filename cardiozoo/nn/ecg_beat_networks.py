"""Encoder and decoder of single beats: every lead is a row of its own up to the layer of the means.

The beta-VAE of van der Valk et al. ("Joint optimization of a beta-VAE for ECG task-specific feature extraction",
MICCAI 2023), which LS-EMVAE (Suvon et al., 2025) cites, without its classifier.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import instance_norm, leaky_relu


class BeatEncoder(nn.Module):
    """Convolutions (kernel 3) along time with instance norm and leaky ReLU, one of them used again and again.

    The instance norm takes mean and variance over all leads and samples of a record, so the size of a whole record is
    not seen, the proportions of its leads are.

    Args:
        leads: Rows of a beat.
        samples: Samples of a beat.
        latent: Latent dimensions.
        channels: Channels of the convolutions; the first two keep the length but for its ends, the others halve it.
        halvings: How often the last convolution, from and to the last channels, halves what is left.
    """

    def __init__(self, leads: int, samples: int, latent: int, channels: Sequence[int], halvings: int) -> None:
        super().__init__()
        sizes = zip((1, *channels), channels, _strides(channels), strict=False)
        self.convs = nn.ModuleList(
            nn.Conv2d(inner, outer, (1, 3), stride=(1, stride), padding=(0, stride - 1))
            for inner, outer, stride in sizes
        )
        self.again = nn.Conv2d(channels[-1], channels[-1], (1, 3), stride=(1, 2), padding=(0, 1))
        self.halvings = halvings
        width = channels[-1] * leads * beat_lengths(samples, channels, halvings)[-1]
        self.mu, self.logvar = nn.Linear(width, latent), nn.Linear(width, latent)

    def forward(self, x: Tensor) -> Tensor:
        """Beats (N, leads, samples) -> mean and log-variance side by side (N, 2 latent)."""
        x = x[:, None]
        for conv in self.convs:
            x = leaky_relu(instance_norm(conv(x)))
        for _ in range(self.halvings):
            x = leaky_relu(self.again(x))
        x = x.flatten(1)
        return torch.cat([self.mu(x), self.logvar(x)], 1)


class BeatDecoder(nn.Module):
    """The mirror image of ``BeatEncoder``; a linear layer along time gives the samples that are short at its end.

    Args:
        leads: Rows of a beat.
        samples: Samples of a beat.
        latent: Latent dimensions.
        channels: Channels of the encoder's convolutions, in the encoder's order.
        halvings: As the encoder's.
    """

    def __init__(self, leads: int, samples: int, latent: int, channels: Sequence[int], halvings: int) -> None:
        super().__init__()
        length = beat_lengths(samples, channels, halvings)[-1]
        self.shape = (channels[-1], leads, length)
        self.halvings = halvings
        self.fc = nn.Linear(latent, channels[-1] * leads * length)
        self.again = nn.ConvTranspose2d(channels[-1], channels[-1], (1, 3), stride=(1, 2), padding=(0, 1))
        strides = _strides(channels)[::-1]
        sizes = zip(channels[::-1], (*channels[-2::-1], 1), strides, strict=True)
        layers = [
            nn.ConvTranspose2d(inner, outer, (1, 3), stride=(1, stride), padding=(0, stride - 1))
            for inner, outer, stride in sizes
        ]
        self.convs, self.last = nn.ModuleList(layers[:-1]), layers[-1]
        for _ in range(halvings):
            length = 2 * length - 1
        for stride in strides:
            length = 2 * length - 1 if stride == 2 else length + 2
        self.time = nn.Linear(length, samples)

    def forward(self, z: Tensor) -> Tensor:
        """Latent vectors (N, latent) -> beats, lead behind lead (N, leads x samples)."""
        x = leaky_relu(self.fc(z.to(self.fc.weight.dtype))).view(len(z), *self.shape)
        for _ in range(self.halvings):
            x = leaky_relu(self.again(x))
        for conv in self.convs:
            x = leaky_relu(instance_norm(conv(x)))
        return self.time(self.last(x)).flatten(1)


def beat_lengths(samples: int, channels: Sequence[int], halvings: int) -> list[int]:
    """Lengths after each convolution of the encoder; below 1 where the beat is too short for them."""
    lengths, length = [], samples
    for stride in [*_strides(channels), *[2] * halvings]:
        length = (length + 1) // 2 if stride == 2 else length - 2
        lengths.append(length)
    return lengths


def _strides(channels: Sequence[int]) -> list[int]:
    return [1 if layer < 2 else 2 for layer in range(len(channels))]
