"""MoPoE-VAE: a variational autoencoder whose posterior is a mixture over the products of all subsets of leads.

Sutter, Daunhawer and Vogt, Generalized Multimodal ELBO (ICLR 2021), with the leads of the electrocardiogram as
modalities, as in the comparison of Suvon et al. (LS-EMVAE, 2025). Twelve leads have 4095 subsets: their divergences are
averaged over a random sample of them in training and over all in evaluation.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cardiozoo.data.batch import Batch
from cardiozoo.data.ecg import LEADS
from cardiozoo.data.tasks import TaskKind
from cardiozoo.errors import OptionError, check_choice
from cardiozoo.functional import kl_standard_normal, reparameterize
from cardiozoo.functional.checks import widen
from cardiozoo.models.base import Optimizer, Schedule
from cardiozoo.models.generative import Annealing, Posterior, squared_errors
from cardiozoo.models.lead_vae import LeadVae
from cardiozoo.nn.ecg_fusion import ReleasedFusion
from cardiozoo.nn.ecg_lead_subsets import LeadSubsets
from cardiozoo.nn.losses import LossTerm

Fusion = Literal["mixture", "grouped"]
Selection = Literal["sample", "slices"]
Likelihood = Literal["gaussian", "laplace"]

#: Scale of the official Laplace likelihood.
LAPLACE_SCALE = 0.75


class MopoeVae(LeadVae):
    """Variational autoencoder with a mixture of products of experts over leads.

    Args:
        ecg_leads: Leads that the model knows, an encoder and a decoder each; all twelve if None.
        ecg_samples: Samples of a signal.
        latent_size: Dimensions of the latent vector.
        channels: Channels of the three convolutions of an encoder; the decoders mirror them.
        fusion: ``mixture`` over all subsets; ``grouped``: the average of four groups of leads that LS-EMVAE's authors
            run under this name.
        prior: N(0, I) is one more factor of the ``full`` subset of a record's leads, of ``all`` subsets or of ``none``.
        subsets: Subsets a record whose divergences are averaged in a training step; 0 takes all of them.
        selection: The component that a record is drawn from in training: ``sample`` chooses uniformly; ``slices`` cuts
            the batch into blocks as the official code does.
        likelihood: ``gaussian`` (squared error) or ``laplace`` (absolute error by 0.75, as the official code).
        logvar_limit: Log-variances of the leads are bent softly into +-this.
        reconstruction_weight: Factor of the summed error of a record.
        lead_weights: Factor of each lead in it, in the order of ``ecg_leads``; 1 each if None.
        beta: Final weight of the divergence from the prior; 2.5 in the official code.
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
        fusion: Fusion = "mixture",
        prior: Literal["full", "none", "all"] = "full",
        subsets: int = 64,
        selection: Selection = "sample",
        likelihood: Likelihood = "gaussian",
        logvar_limit: float = 10.0,
        reconstruction_weight: float = 1e-3,
        lead_weights: list[float] | None = None,
        beta: float = 1.0,
        annealing: Annealing = "step",
        annealing_epochs: int = 50,
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
        check_choice("fusion", fusion, Fusion)
        check_choice("selection", selection, Selection)
        check_choice("likelihood", likelihood, Likelihood)
        if subsets < 0:
            raise OptionError(
                f"subsets {subsets}.",
                "A number of at least 0; 0 takes all.",
                "Leave --model.subsets out for the default.",
            )
        self.selection, self.likelihood = selection, likelihood
        self.lead_subsets = LeadSubsets(len(self.leads), prior)
        self.sampled_subsets = subsets or len(self.lead_subsets.members)
        self.grouped = ReleasedFusion([LEADS.index(lead) // 3 for lead in self.leads]) if fusion == "grouped" else None

    def infer(self, signals: Tensor, present: Tensor) -> Posterior:
        """The product of all present leads, which is the largest subset; the mixture itself is sampled in training."""
        mu, logvar = self.experts(signals, present)
        parts = {"experts": mu, "expert_logvars": logvar}
        if self.grouped is not None:
            fused = self.grouped(mu, logvar, present.T)
            return Posterior(
                fused.mu, fused.logvar, present, parts | {"kl_mu": fused.kl_mu, "kl_logvar": fused.kl_logvar}
            )
        with torch.autocast(signals.device.type, enabled=False):
            joint = self.lead_subsets.products(mu, logvar, present[:, None], present)
        return Posterior(joint[0][:, 0], joint[1][:, 0], present, parts)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """As every generative model, and the divergence of each record (B,) under ``divergence``."""
        signals, present = self.signals(batch)
        posterior = self.infer(signals, present)
        with torch.autocast(signals.device.type, enabled=False):
            z, divergence = self._sample(posterior) if self.training else self._mean(posterior)
        drawn = self.draw(z)
        outputs = {"mu": posterior.mu, "logvar": posterior.logvar, "present": present, **posterior.parts}
        outputs |= {"reconstruction": drawn, "errors": squared_errors(drawn, signals), "divergence": divergence}
        if self.likelihood == "laplace":
            with torch.autocast(signals.device.type, enabled=False):
                outputs["absolute_errors"] = (widen(drawn) - widen(signals)).abs().sum(-1)
        return outputs

    def losses(self, batch: Batch, outputs: dict[str, Tensor]) -> dict[str, LossTerm]:
        """Reconstruction from one component, and the mean divergence of the components, one value a record."""
        terms = super().losses(batch, outputs)
        terms["kl"] = terms["kl"]._replace(values=outputs["divergence"])
        if self.likelihood == "laplace":
            values = self.reconstruction_loss(outputs["absolute_errors"] / LAPLACE_SCALE, outputs["present"])
            terms["reconstruction"] = terms["reconstruction"]._replace(values=values)
        return terms

    def _sample(self, posterior: Posterior) -> tuple[Tensor, Tensor]:
        """A latent vector of one component and the mean divergence over sampled components."""
        if self.grouped is not None:
            return reparameterize(posterior.mu, posterior.logvar), self._grouped_divergence(posterior)
        experts = (posterior.parts["experts"], posterior.parts["expert_logvars"])
        members, there = self.lead_subsets.sample(posterior.present, self.sampled_subsets)
        # They come in random order, so the first of them is a uniform draw from all.
        component = members[:, 0] & there[:, :1]
        if self.selection == "slices":
            component = self.lead_subsets.slices(posterior.present)
        chosen = self.lead_subsets.products(*experts, component[:, None], posterior.present)
        divergence = self.lead_subsets.divergence(*experts, members, there, posterior.present)
        return reparameterize(chosen[0][:, 0], chosen[1][:, 0]), divergence

    def _mean(self, posterior: Posterior) -> tuple[Tensor, Tensor]:
        """The mean of the largest subset and the mean divergence over all subsets."""
        if self.grouped is not None:
            return posterior.mu, self._grouped_divergence(posterior)
        present = posterior.present
        members = self.lead_subsets.members.expand(len(present), -1, -1)
        there = self.lead_subsets.available(present)
        experts = (posterior.parts["experts"], posterior.parts["expert_logvars"])
        # Subsets that hold an absent lead are not counted; without their members they cost nothing to leave in.
        divergence = self.lead_subsets.divergence(*experts, members & there[..., None], there, present)
        return posterior.mu, divergence

    def _grouped_divergence(self, posterior: Posterior) -> Tensor:
        return kl_standard_normal(posterior.parts["kl_mu"], posterior.parts["kl_logvar"])
