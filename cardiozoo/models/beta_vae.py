"""beta-VAE on the electrocardiogram with all leads as channels of one signal.

The comparison of Suvon et al. (LS-EMVAE, 2025): a plain convolutional variational autoencoder whose divergence is held
at a capacity that grows during training (Burgess et al., Understanding disentangling in beta-VAE, 2018, Eq. 8), or
weighted (Higgins et al., beta-VAE, 2017, Eq. 4). Beside the network of the release, which sees whole records, there is
the one that the paper cites, of single beats (van der Valk et al., MICCAI 2023).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cardiozoo.data.batch import Batch
from cardiozoo.data.tasks import TaskKind
from cardiozoo.errors import OptionError, check_choice
from cardiozoo.functional import kl_standard_normal, linear_annealing, soft_clamp
from cardiozoo.functional.checks import widen
from cardiozoo.models.base import Optimizer, Schedule
from cardiozoo.models.checkpoints import load_exactly, read_state
from cardiozoo.models.ecg_vae_weights import released_beta_vae
from cardiozoo.models.generative import GenerativeModel, Posterior
from cardiozoo.nn.ecg_beat_networks import BeatDecoder, BeatEncoder, beat_lengths
from cardiozoo.nn.ecg_beta_networks import StridedDecoder, StridedEncoder, halves
from cardiozoo.nn.losses import LossTerm
from cardiozoo.nn.present import encode_present

Objective = Literal["capacity", "beta"]
Network = Literal["record", "beat"]

#: Channels of the convolutions where none are given, as published.
CHANNELS = {"record": (32, 64, 128, 256), "beat": (8, 16, 32, 64)}


class BetaVae(GenerativeModel):
    """Convolutional variational autoencoder with a capacity or a weighted divergence.

    An absent lead enters as zeros, the mean of a standardised lead, and is not asked for in the reconstruction; but the
    network was not made for that, so for six leads build a model of six leads.

    Args:
        ecg_leads: Leads that are the channels of the signal; all twelve if None.
        ecg_samples: Samples of a signal.
        latent_size: Dimensions of the latent vector.
        network: ``record``: the leads are channels of one signal. ``beat``: each lead is a row of its own up to the
            means, meant for median beats (``--data.beat 0.8``); its reconstruction is what the last layer draws, so
            ``mirror_lengths`` says nothing there.
        channels: Channels of the convolutions, as published if None: 32, 64, 128, 256 of ``record``, each of which
            halves the signal; 8, 16, 32, 64 of ``beat``, where the first two do not.
        halvings: How often the last convolution of ``beat`` is used again, each time on half the length.
        objective: ``capacity``: reconstruction + gamma |KL - C|, C rising from 0. ``beta``: reconstruction + beta KL.
        gamma: Weight of the distance from the capacity.
        capacity: Final capacity C in nats.
        capacity_steps: Training steps in which C rises.
        beta: Weight of the divergence with the objective ``beta``.
        mirror_lengths: Put back the sample that the encoder drops of an odd length. False fills the end of the
            reconstruction with zeros, as the released code does.
        logvar_limit: Log-variances are bent softly into +-this.
        lead_weights: Factor of each lead in the mean squared error, in the order of ``ecg_leads``; 1 each if None.
        released_weights: File of weights of LS-EMVAE's authors to start from.
        task_kind: ``unsupervised``.
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
        latent_size: int = 256,
        network: Network = "record",
        channels: tuple[int, ...] | None = None,
        halvings: int = 5,
        objective: Objective = "capacity",
        gamma: float = 1000.0,
        capacity: float = 25.0,
        capacity_steps: int = 100_000,
        beta: float = 4.0,
        mirror_lengths: bool = True,
        logvar_limit: float = 10.0,
        lead_weights: list[float] | None = None,
        released_weights: str | None = None,
        task_kind: TaskKind = "unsupervised",
        learning_rate: float = 1e-4,
        weight_decay: float = 1e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "none",
        optimizer: Optimizer = "adamw",
    ) -> None:
        super().__init__(
            ecg_leads, ecg_samples, latent_size, 1.0, lead_weights, beta, "none", 0, task_kind,
            learning_rate=learning_rate, weight_decay=weight_decay, betas=betas, schedule=schedule, optimizer=optimizer,
        )  # fmt: skip
        # Where the weights began is no part of the model: its own checkpoints must load when that file is gone.
        self.save_hyperparameters(ignore=["released_weights"])
        check_choice("objective", objective, Objective)
        numbers = {"gamma": gamma, "capacity": capacity, "capacity_steps": capacity_steps}
        if not (all(value >= 0 for value in numbers.values()) and logvar_limit > 0):
            came = ", ".join(f"{name} {value}" for name, value in (numbers | {"logvar_limit": logvar_limit}).items())
            raise OptionError(
                f"{came}.",
                "Numbers of at least 0, a limit above 0.",
                "Leave an option out for its default; `cardiozoo fit --model.help beta_vae` tells it.",
            )
        check_choice("network", network, Network)
        channels = CHANNELS[network] if channels is None else tuple(channels)
        if network == "record":
            lengths = halves(ecg_samples, len(channels))
        else:
            lengths = beat_lengths(ecg_samples, channels, halvings)
        # an instance norm needs more than one value
        least = 1 if network == "record" else 2
        if not channels or halvings < 0 or min(*lengths[: len(channels)], 1 + lengths[-1]) < least:
            raise OptionError(
                f"{len(channels)} convolutions on {ecg_samples} samples, network {network}, halvings {halvings}.",
                "At least one convolution, no more than leave a sample of the signal, and halvings of at least 0.",
                "Every number of --model.channels is one; leave the option out for the default.",
            )
        self.objective, self.gamma, self.logvar_limit = objective, gamma, logvar_limit
        self.capacity, self.capacity_steps = capacity, capacity_steps
        sizes = (len(self.leads), ecg_samples, latent_size, channels)
        if network == "record":
            self.encoder, self.decoder = StridedEncoder(*sizes), StridedDecoder(*sizes, mirror_lengths)
        else:
            self.encoder, self.decoder = BeatEncoder(*sizes, halvings), BeatDecoder(*sizes, halvings)
        #: Training steps so far; in the checkpoint, so that a resumed run goes on with its capacity.
        self.register_buffer("steps", torch.tensor(0))
        if released_weights is not None:
            state, idle = released_beta_vae(read_state(released_weights))
            load_exactly(self, state | {"steps": self.steps}, released_weights, idle)

    def infer(self, signals: Tensor, present: Tensor) -> Posterior:
        # BatchNorm must not count records without any lead, so they are not encoded at all.
        both = encode_present(self.encoder, signals, present.any(1), 2 * self.latent_size)
        with torch.autocast(signals.device.type, enabled=False):
            mu, logvar = widen(both).chunk(2, 1)
            return Posterior(mu, soft_clamp(logvar, self.logvar_limit), present, {})

    def draw(self, z: Tensor, leads: list[int] | None = None) -> Tensor:
        signals = self.draw_rows(z, torch.ones(len(z), dtype=torch.bool, device=z.device))
        return signals if leads is None else signals[:, leads]

    def draw_rows(self, z: Tensor, rows: Tensor) -> Tensor:
        flat = encode_present(self.decoder, z, rows, len(self.leads) * self.ecg_samples)
        return flat.view(len(z), len(self.leads), self.ecg_samples)

    def losses(self, batch: Batch, outputs: dict[str, Tensor]) -> dict[str, LossTerm]:
        """Mean squared error over all present leads and samples, divergence, and its distance from the capacity."""
        some = outputs["present"].any(1)
        divergence = kl_standard_normal(outputs["mu"], outputs["logvar"])
        mse = LossTerm(self.lead_weights * outputs["errors"] / self.ecg_samples, outputs["present"])
        if self.objective == "beta":
            return {"reconstruction": mse, "kl": LossTerm(divergence, some, self.beta)}
        # The divergence itself has no weight and is there to be seen; what counts is how far its mean is from C.
        distance = LossTerm(divergence, some, self.gamma, distance_from=self.current_capacity())
        return {"reconstruction": mse, "kl": LossTerm(divergence, some, 0.0), "capacity": distance}

    def loss_of_rows(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """As ``losses`` with one record a batch."""
        terms, present = self.losses({}, outputs), outputs["present"]
        errors = torch.where(present, terms["reconstruction"].values, 0)
        mse, divergence = errors.sum(1) / present.sum(1).clamp_min(1), terms["kl"].values
        if self.objective == "beta":
            return {"loss": mse + self.beta * divergence, "reconstruction": mse, "kl": divergence}
        loss = mse + self.gamma * (divergence - self.current_capacity()).abs()
        return {"loss": loss, "reconstruction": mse, "kl": divergence}

    def current_capacity(self) -> float:
        """C of the running training step; the final one in evaluation, so that epochs can be compared."""
        if not self.training:
            return self.capacity
        return linear_annealing(int(self.steps), self.capacity_steps, stop=self.capacity)

    def training_step(self, batch: Batch, batch_idx: int = 0) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        if self.objective == "capacity":
            capacity = self.current_capacity()
            self.log("train/capacity", capacity, on_step=False, on_epoch=True, batch_size=len(batch["id"]))
        if self.training:
            self.steps += 1
        return loss
