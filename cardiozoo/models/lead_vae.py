"""What MVAE and MoPoE-VAE share: an encoder and a decoder a lead, none of them shared between leads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cardiozoo.errors import OptionError
from cardiozoo.functional import soft_clamp
from cardiozoo.functional.checks import widen
from cardiozoo.models.checkpoints import load_exactly, read_state
from cardiozoo.models.ecg_vae_weights import released_mvae
from cardiozoo.models.generative import GenerativeModel, Posterior
from cardiozoo.nn.ecg_lead_decoders import LeadDecoders
from cardiozoo.nn.ecg_lead_encoders import LeadEncoders

#: Beyond it a product of twelve precisions leaves float32.
LARGEST_LOGVAR = 40.0


class LeadVae(GenerativeModel):
    """Base of the two; a model adds ``infer``.

    Args:
        channels: Channels of the three convolutions of an encoder; the decoders mirror them.
        logvar_limit: Log-variances of the leads are bent softly into +-this.
        released_weights: File of the authors' weights to start from.
        swap_avl_avf: Exchange the networks of aVL and aVF on import.
        **options: See ``GenerativeModel``.
    """

    representations = ("fused", "lead_concat")

    def __init__(
        self,
        channels: tuple[int, int, int],
        logvar_limit: float,
        released_weights: str | None,
        swap_avl_avf: bool,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not 0 < logvar_limit <= LARGEST_LOGVAR:
            raise OptionError(
                f"logvar_limit {logvar_limit}.",
                f"A number above 0, at most {LARGEST_LOGVAR}.",
                "Leave --model.logvar_limit out for 10.",
            )
        self.logvar_limit = logvar_limit
        sizes = (len(self.leads), self.ecg_samples, self.latent_size, tuple(channels))
        self.encoders = LeadEncoders(*sizes)
        self.decoders = LeadDecoders(*sizes)
        if released_weights is not None:
            state, idle = released_mvae(read_state(released_weights), self.leads, swap_avl_avf)
            load_exactly(self, state, released_weights, idle)

    def experts(self, signals: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances of the leads (K, B, D) in float32 at least; N(0, I) where a lead is absent."""
        mu, logvar = self.encoders(signals)
        with torch.autocast(signals.device.type, enabled=False):
            logvar = soft_clamp(logvar, self.logvar_limit)
            there = present.T[..., None]
            return torch.where(there, widen(mu), 0), torch.where(there, logvar, 0)

    def draw(self, z: Tensor, leads: list[int] | None = None) -> Tensor:
        signals = self.decoders(z)
        return signals if leads is None else signals[:, leads]

    def represent(self, posterior: Posterior, representation: str, leads: list[int]) -> Tensor:
        """``fused``: mean of the posterior. ``lead_concat``: means of the leads side by side, 0 where absent."""
        if representation == "fused":
            return posterior.mu
        return torch.cat(list(posterior.parts["experts"][leads]), -1)
