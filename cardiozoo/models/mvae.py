"""MVAE: a variational autoencoder whose posterior is the product of one expert a lead and the prior.

Wu and Goodman, Multimodal Generative Models for Scalable Weakly-Supervised Learning (NeurIPS 2018), with the leads of
the electrocardiogram as modalities, as in the comparison of Suvon et al. (LS-EMVAE, 2025). Trained with a sum of
bounds, that of all leads together and those of some subsets, so that any subset can be encoded later.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cardiozoo.data.batch import Batch
from cardiozoo.data.ecg import LIMB_LEADS
from cardiozoo.data.tasks import TaskKind
from cardiozoo.errors import OptionError, check_choice
from cardiozoo.functional import kl_standard_normal, product_of_experts, reparameterize
from cardiozoo.models.base import Optimizer, Schedule
from cardiozoo.models.generative import Annealing, Posterior, squared_errors
from cardiozoo.models.lead_vae import LeadVae
from cardiozoo.nn.ecg_fusion import average
from cardiozoo.nn.ecg_lead_subsets import random_subsets
from cardiozoo.nn.losses import LossTerm

Subsampling = Literal["subsets", "official", "joint"]
Divergence = Literal["posterior", "released"]


class Mvae(LeadVae):
    """Product-of-experts variational autoencoder over leads.

    Args:
        ecg_leads: Leads that the model knows, an encoder and a decoder each; all twelve if None.
        ecg_samples: Samples of a signal.
        latent_size: Dimensions of the latent vector.
        channels: Channels of the three convolutions of an encoder; the decoders mirror them.
        subsampling: Which bounds are added to that of all present leads. ``subsets``: some random subsets and the limb
            leads; ``official``: every lead by itself and some random subsets; ``joint``: none.
        random_subsets: Number of random subsets, each of a size drawn from 2 to one less than all.
        reconstruct: Draw the ``members`` of a subset, or ``all`` present leads from it.
        divergence: Of the ``posterior`` that is sampled, or as in the ``released`` code of the plain average of the
            leads' means and log-variances.
        logvar_limit: Log-variances of the leads are bent softly into +-this.
        reconstruction_weight: Factor c of the summed squared error of a record.
        lead_weights: Factor of each lead in it, in the order of ``ecg_leads``; 1 each if None.
        beta: Final weight of the divergence from the prior.
        annealing: ``step`` raises beta linearly with every update, ``epoch`` with every epoch, ``none`` not at all.
        annealing_epochs: Epochs until beta is reached.
        released_weights: File of weights of LS-EMVAE's authors to start from.
        swap_avl_avf: Exchange the networks of aVL and aVF on import, as the authors' fine-tuning does by mistake.
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
        channels: tuple[int, int, int] = (16, 32, 64),
        subsampling: Subsampling = "subsets",
        random_subsets: int = 1,
        reconstruct: Literal["members", "all"] = "members",
        divergence: Divergence = "posterior",
        logvar_limit: float = 10.0,
        reconstruction_weight: float = 1e-3,
        lead_weights: list[float] | None = None,
        beta: float = 1.0,
        annealing: Annealing = "step",
        annealing_epochs: int = 20,
        released_weights: str | None = None,
        swap_avl_avf: bool = False,
        task_kind: TaskKind = "unsupervised",
        learning_rate: float = 1e-4,
        weight_decay: float = 1e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "none",
        optimizer: Optimizer = "adamw",
    ) -> None:
        super().__init__(
            channels, logvar_limit, released_weights, swap_avl_avf, ecg_leads=ecg_leads, ecg_samples=ecg_samples,
            latent_size=latent_size, reconstruction_weight=reconstruction_weight, lead_weights=lead_weights, beta=beta,
            annealing=annealing, annealing_epochs=annealing_epochs, task_kind=task_kind, learning_rate=learning_rate,
            weight_decay=weight_decay, betas=betas, schedule=schedule, optimizer=optimizer,
        )  # fmt: skip
        # Where the weights began is no part of the model: its own checkpoints must load when that file is gone.
        self.save_hyperparameters(ignore=["released_weights", "swap_avl_avf"])
        check_choice("subsampling", subsampling, Subsampling)
        check_choice("reconstruct", reconstruct, ("members", "all"))
        check_choice("divergence", divergence, Divergence)
        if random_subsets < 0:
            raise OptionError(
                f"random_subsets {random_subsets}.", "A number of at least 0.", "--model.random_subsets 0 draws none."
            )
        self.subsampling, self.draw_all, self.divergence = subsampling, reconstruct == "all", divergence
        self.random_count = 0 if subsampling == "joint" else random_subsets
        is_limb = torch.tensor([lead in LIMB_LEADS for lead in self.leads])
        self.register_buffer("is_limb", is_limb, persistent=False)

    def infer(self, signals: Tensor, present: Tensor) -> Posterior:
        mu, logvar = self.experts(signals, present)
        joint = product_of_experts(mu, logvar, present.T, prior=True)
        return Posterior(*joint, present, {"experts": mu, "expert_logvars": logvar})

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """As every generative model; in training also the bounds of the subsets.

        Those are ``subset_mu``, ``subset_logvar`` (S, B, D), ``members`` and ``subset_errors`` (S, B, K); with single
        leads also ``single_kl`` and ``single_errors`` (B, K).
        """
        if not self.training:
            return super().forward(batch)
        signals, present = self.signals(batch)
        posterior = self.infer(signals, present)
        mu, logvar = posterior.parts["experts"], posterior.parts["expert_logvars"]
        members = torch.stack([present, *self.subsets(present)])  # (S, B, K), all leads first
        count = len(members)
        # Encoded once; every subset is a mask, and all subsets are one product and one pass through the decoders.
        several = [values.repeat(1, count, 1) for values in (mu, logvar)]
        product = product_of_experts(*several, members.flatten(0, 1).T, prior=True)
        z = reparameterize(*product)
        single: dict[str, Tensor] = {}
        if self.subsampling == "official":
            alone = [part.view_as(mu) for part in product_of_experts(*_rows(mu, logvar), prior=True)]
            own = reparameterize(*alone)  # (K, B, D), each for its own decoder
            own = own.flatten(0, 1).expand(len(mu), -1, -1) if self.draw_all else own
            z = torch.cat([z.expand(len(mu), *z.shape), own], 1)
            single["single_kl"] = kl_standard_normal(*alone).T
        drawn = self.draw(z)
        if single:
            drawn, each = drawn.split([count * len(signals), own.shape[1]])
            single["single_errors"] = self._single_errors(each, signals, present)
        drawn = drawn.view(count, *signals.shape)
        errors = torch.stack([squared_errors(one, signals) for one in drawn])
        subset_mu, subset_logvar = (part.view(count, *posterior.mu.shape)[1:] for part in product)
        return {
            "mu": posterior.mu, "logvar": posterior.logvar, "present": present, **posterior.parts,
            "reconstruction": drawn[0], "errors": errors[0], "members": members[1:], "subset_errors": errors[1:],
            "subset_mu": subset_mu, "subset_logvar": subset_logvar, **single,
        }  # fmt: skip

    def _single_errors(self, drawn: Tensor, signals: Tensor, present: Tensor) -> Tensor:
        """Errors (B, K) of the single leads' bounds: of each drawing itself, or of all of them drawing every lead."""
        if not self.draw_all:
            return squared_errors(drawn, signals)
        errors = torch.stack([squared_errors(one, signals) for one in drawn.split(len(signals))])  # (K, B, K)
        return torch.where(present.T[..., None], errors, 0).sum(0)

    def subsets(self, present: Tensor) -> list[Tensor]:
        """Members (B, K) of each further subset of one training step; none in a row that has no such subset."""
        found = [random_subsets(present) for _ in range(self.random_count)]
        if self.subsampling == "subsets":
            limb = present & self.is_limb
            proper = limb.any(1) & (limb != present).any(1)
            found.append(limb & proper[:, None])
        return found

    def losses(self, batch: Batch, outputs: dict[str, Tensor]) -> dict[str, LossTerm]:
        """The bound of all present leads and, in training, those of the subsets; they are added, not averaged."""
        terms = super().losses(batch, outputs)
        weight, present = terms["kl"].weight, outputs["present"]
        experts = (outputs["experts"], outputs["expert_logvars"])
        if self.divergence == "released":
            terms["kl"] = terms["kl"]._replace(values=_divergence_of_the_average(*experts, present))
        for number, members in enumerate(outputs.get("members", [])):
            name = "limb" if number == self.random_count else f"random_{number + 1}"
            rows = members.any(1)
            drawn = present if self.draw_all else members
            values = self.reconstruction_loss(outputs["subset_errors"][number], drawn)
            terms[f"reconstruction_{name}"] = LossTerm(values, rows)
            divergence = kl_standard_normal(outputs["subset_mu"][number], outputs["subset_logvar"][number])
            if self.divergence == "released":
                divergence = _divergence_of_the_average(*experts, members)
            terms[f"kl_{name}"] = LossTerm(divergence, rows, weight)
        if "single_kl" in outputs:
            some = present.any(1)
            values = self.reconstruction_loss(outputs["single_errors"], present)
            terms["reconstruction_single"] = LossTerm(values, some)
            terms["kl_single"] = LossTerm(torch.where(present, outputs["single_kl"], 0).sum(1), some, weight)
        return terms


def _rows(mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
    """Every lead of every record as the one expert of a row of its own: (K, B, D) -> (1, K B, D)."""
    return mu.flatten(0, 1)[None], logvar.flatten(0, 1)[None]


def _divergence_of_the_average(mu: Tensor, logvar: Tensor, members: Tensor) -> Tensor:
    return kl_standard_normal(average(mu, members.T), average(logvar, members.T))
