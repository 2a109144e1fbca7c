"""Decoders from one latent vector to the signals of all leads: one that the leads share, or one a lead.

Both end with as many samples as the signals have: ceil(samples / 8) frames are brought to eight times as many, and what
is over is cut off.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cardiozoo.errors import check_choice
from cardiozoo.nn.ecg_lead_encoders import LeadLinear, frames_of

Conditioning = Literal["lead", "single", "multichannel"]


class SharedLeadDecoder(nn.Module):
    """One decoder for all leads (Suvon et al., LS-EMVAE, section 2), told which lead it is to draw.

    Args:
        leads: Number of leads.
        samples: Samples of a signal.
        latent: Latent dimensions.
        channels: Channels of the encoder's convolutions, in the encoder's order.
        conditioning: ``lead`` adds a learned vector of the lead, at first 0, to the latent one. ``single`` decodes
            once: the same signal for every lead. ``multichannel`` decodes once into one channel a lead.
    """

    def __init__(
        self,
        leads: int,
        samples: int,
        latent: int = 256,
        channels: tuple[int, int, int] = (16, 32, 64),
        conditioning: Conditioning = "lead",
    ) -> None:
        super().__init__()
        check_choice("decoder", conditioning, Conditioning)
        self.leads, self.samples, self.conditioning = leads, samples, conditioning
        self.frames, (first, second, third) = frames_of(samples), channels
        self.fc = nn.Linear(latent, third * self.frames)
        self.convtrans1 = _doubling(third, second)
        self.convtrans2 = _doubling(second, first)
        self.convtrans3 = _doubling(first, leads if conditioning == "multichannel" else 1)
        if conditioning == "lead":
            self.lead_embedding = nn.Parameter(torch.zeros(leads, latent))

    def forward(self, z: Tensor, leads: list[int] | None = None) -> Tensor:
        """Latent vectors (B, latent) -> signals (B, K, samples) of the K leads asked for, all of them if None."""
        chosen = list(range(self.leads)) if leads is None else leads
        # Up to the first ReLU everything is linear, so z and the vectors of the leads go through it apart and are added
        # behind it: B + K passes instead of B times K.
        hidden = self.convtrans1(self.fc(z.to(self.fc.weight.dtype)).view(len(z), -1, self.frames))
        if self.conditioning != "lead":
            signal = self._finish(hidden.relu_())[..., : self.samples]
            return signal[:, chosen] if self.conditioning == "multichannel" else signal.expand(-1, len(chosen), -1)
        vectors = self.lead_embedding if leads is None else self.lead_embedding[chosen]
        shift = F.linear(vectors, self.fc.weight).view(len(chosen), -1, self.frames)
        shift = F.conv_transpose1d(shift, self.convtrans1.weight, stride=2, padding=1)
        hidden = (hidden[:, None] + shift).relu_()  # (B, K, channels, 2 frames)
        return self._finish(hidden.flatten(0, 1)).view(len(z), len(chosen), -1)[..., : self.samples]

    def _finish(self, hidden: Tensor) -> Tensor:
        return self.convtrans3(self.convtrans2(hidden).relu_())


class LeadDecoders(nn.Module):
    """One decoder a lead, none of them shared, with the weights of all leads stacked as in ``LeadEncoders``.

    Args:
        leads: Number of leads.
        samples: Samples of a signal.
        latent: Latent dimensions.
        channels: Channels of the encoder's convolutions, in the encoder's order.
    """

    def __init__(
        self, leads: int, samples: int, latent: int = 256, channels: tuple[int, int, int] = (16, 32, 64)
    ) -> None:
        super().__init__()
        self.leads, self.samples = leads, samples
        self.frames, (first, second, third) = frames_of(samples), channels
        self.fc = LeadLinear(leads, latent, third * self.frames)
        sizes = (third, second, first, 1)
        self.convs = nn.ModuleList(_doubling(leads * inner, leads * outer, leads) for inner, outer in pairwise(sizes))

    def forward(self, z: Tensor) -> Tensor:
        """Latent vectors (B, latent), or (leads, B, latent) of one for each lead -> signals (B, leads, samples)."""
        rows = z.shape[-2]
        hidden = self.fc(z.to(self.fc.weight.dtype).expand(self.leads, rows, -1))  # (leads, B, channels x frames)
        if z.device.type != "cpu":
            hidden = hidden.transpose(0, 1).reshape(rows, -1, self.frames)
            for conv in self.convs[:-1]:
                hidden = conv(hidden).relu_()
            return self.convs[-1](hidden)[..., : self.samples]
        # A transposed convolution's weight is (in, out, kernel): the leads lie one behind the other along the inputs.
        weights = [(conv.weight.chunk(self.leads), conv.bias.chunk(self.leads)) for conv in self.convs]
        signals = []
        for lead in range(self.leads):
            signal = hidden[lead].view(rows, -1, self.frames)
            for layer, (weight, bias) in enumerate(weights):
                signal = signal if layer == 0 else signal.relu_()
                signal = F.conv_transpose1d(signal, weight[lead], bias[lead], stride=2, padding=1)
            signals.append(signal)
        return torch.cat(signals, 1)[..., : self.samples]


def _doubling(inner: int, outer: int, groups: int = 1) -> nn.ConvTranspose1d:
    """A transposed convolution that doubles the number of samples."""
    return nn.ConvTranspose1d(inner, outer, 4, stride=2, padding=1, groups=groups)
