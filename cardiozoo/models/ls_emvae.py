"""LS-EMVAE: a variational autoencoder that treats each lead of the electrocardiogram as a modality of its own.

Suvon, Zhou, Tripathi, Fan, Alabed, Khanal, Osmani, Swift, Chen, Lu, Multimodal Lead-Specific Modeling of ECG for
Low-Cost Pulmonary Hypertension Assessment (2025). Twelve encoders that share nothing; their Gaussians are multiplied to
one of what all leads know; a gated mixture of the leads and the product is the posterior; one decoder draws every lead;
a penalty pulls the experts' means to the posterior's. Equation numbers are the paper's.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cardiozoo.data.batch import Batch
from cardiozoo.data.ecg import LEADS
from cardiozoo.data.tasks import TaskKind
from cardiozoo.errors import OptionError, check_choice
from cardiozoo.functional import alignment_distance, kl_standard_normal, soft_clamp
from cardiozoo.models.base import Optimizer, Schedule
from cardiozoo.models.checkpoints import load_exactly, read_state
from cardiozoo.models.ecg_vae_weights import released_ls_emvae
from cardiozoo.models.generative import Annealing, GenerativeModel, Posterior
from cardiozoo.nn.ecg_fusion import ExpertFusion, Gate, ReleasedFusion
from cardiozoo.nn.ecg_lead_decoders import Conditioning, SharedLeadDecoder
from cardiozoo.nn.ecg_lead_encoders import LeadEncoders
from cardiozoo.nn.losses import LossTerm

Fusion = Literal["paper", "released"]


class LsEmvae(GenerativeModel):
    """Lead-specific multimodal variational autoencoder.

    Args:
        ecg_leads: Leads that the model knows, an encoder each; all twelve if None. A record may lack any of them.
        ecg_samples: Samples of a signal.
        latent_size: Dimensions of the latent vector.
        channels: Channels of the three convolutions of an encoder; the decoder mirrors them.
        fusion: ``paper``, or ``released``: the fusion that the authors' code computes, see the departures.
        gate: Weights of the mixture: ``learned`` or ``uniform``.
        poe: The product of the leads is an expert of the mixture. Without it: the paper's ablation without PoE.
        moe: The posterior is the mixture. Without it, it is the product of the leads: the ablation without MoE.
        prior: N(0, I) is one more factor of the product.
        alignment: Pull the experts' means to the posterior's (Eq. 1). Without it: the ablation without alignment.
        gamma: Weight of the alignment; 0.1 / latent_size if None.
        decoder: ``lead`` tells the shared decoder which lead to draw; ``single`` draws one signal for all leads, as the
            authors' code does; ``multichannel`` draws all leads as the channels of one signal.
        logvar_limit: Log-variances of the leads are bent softly into +-this.
        reconstruction_weight: Factor c of the summed squared error of a record.
        lead_weights: Factor of each lead in it, lambda of Eq. 2, in the order of ``ecg_leads``; 1 each if None.
        beta: Final weight of the divergence from the prior.
        annealing: ``step`` raises beta linearly with every update, ``epoch`` with every epoch, ``none`` not at all.
        annealing_epochs: Epochs until beta is reached.
        released_weights: File of the authors' weights to start from; gate and lead embedding begin at 0.
        swap_avl_avf: Exchange the encoders of aVL and aVF on import, as the authors' fine-tuning does by mistake.
        task_kind: ``unsupervised``.
        learning_rate: Learning rate.
        weight_decay: L2 penalty of ``adam``, decoupled decay of ``adamw``.
        betas: Decay rates of the optimiser's moments.
        schedule: ``none``, ``plateau`` or ``one_cycle``.
        optimizer: ``adam`` or ``adamw``.
    """

    representations = ("fused", "lead_concat", "experts")

    def __init__(
        self,
        ecg_leads: list[str] | None = None,
        ecg_samples: int = 5000,
        latent_size: int = 256,
        channels: tuple[int, int, int] = (16, 32, 64),
        fusion: Fusion = "paper",
        gate: Gate = "learned",
        poe: bool = True,
        moe: bool = True,
        prior: bool = False,
        alignment: bool = True,
        gamma: float | None = None,
        decoder: Conditioning = "lead",
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
            ecg_leads, ecg_samples, latent_size, reconstruction_weight, lead_weights, beta, annealing, annealing_epochs,
            task_kind, learning_rate=learning_rate, weight_decay=weight_decay, betas=betas, schedule=schedule,
            optimizer=optimizer,
        )  # fmt: skip
        # Where the weights began is no part of the model: its own checkpoints must load when that file is gone.
        self.save_hyperparameters(ignore=["released_weights", "swap_avl_avf"])
        gamma = 0.1 / latent_size if gamma is None else gamma
        check_choice("fusion", fusion, Fusion)
        if not (gamma >= 0 and logvar_limit > 0):
            raise OptionError(
                f"gamma {gamma}, logvar_limit {logvar_limit}.",
                "gamma >= 0 and logvar_limit > 0.",
                "Leave both out: gamma is then 0.1 / latent_size, and logvar_limit 10.",
            )
        self.gamma, self.logvar_limit, self.aligned = gamma, logvar_limit, alignment
        sizes = (len(self.leads), ecg_samples, latent_size, tuple(channels))
        self.encoders = LeadEncoders(*sizes)
        self.fusion: ExpertFusion | ReleasedFusion
        if fusion == "paper":
            self.fusion = ExpertFusion(len(self.leads), latent_size, gate, poe, moe, prior)
        else:
            # Three leads a group in the order I, II, III | aVR, aVL, aVF | V1, V2, V3 | V4, V5, V6.
            self.fusion = ReleasedFusion([LEADS.index(lead) // 3 for lead in self.leads], poe, moe)
        self.decoder = SharedLeadDecoder(*sizes, decoder)
        if released_weights is not None:
            state, idle = released_ls_emvae(read_state(released_weights), self.leads, swap_avl_avf)
            own = {name: value for name, value in self.state_dict().items() if name not in state}
            kept = {n: v for n, v in own.items() if n.startswith(("fusion.", "decoder.lead_embedding"))}
            load_exactly(self, state | kept, released_weights, idle)

    def infer(self, signals: Tensor, present: Tensor) -> Posterior:
        mu, logvar = self.encoders(signals)
        with torch.autocast(signals.device.type, enabled=False):
            logvar = soft_clamp(logvar, self.logvar_limit)
            fused = self.fusion(mu, logvar, present.T)
        parts = {
            "kl_mu": fused.kl_mu, "kl_logvar": fused.kl_logvar,
            "experts": fused.experts, "experts_present": fused.present, "centre": fused.centre,
        }  # fmt: skip
        if fused.weights is not None:
            parts["gate"] = fused.weights.T  # (B, experts)
        if fused.product is not None:
            parts["product"] = fused.product
        return Posterior(fused.mu, fused.logvar, present, parts)

    def draw(self, z: Tensor, leads: list[int] | None = None) -> Tensor:
        return self.decoder(z, leads)

    def losses(self, batch: Batch, outputs: dict[str, Tensor]) -> dict[str, LossTerm]:
        """Reconstruction, divergence (Eq. 2) and alignment (Eq. 1), one value a record."""
        terms = super().losses(batch, outputs)
        some = terms["kl"].mask
        terms["kl"] = terms["kl"]._replace(values=kl_standard_normal(outputs["kl_mu"], outputs["kl_logvar"]))
        if self.aligned:
            distance = alignment_distance(outputs["experts"], outputs["centre"], outputs["experts_present"])
            terms["alignment"] = LossTerm(distance, some, self.gamma)
        return terms

    def represent(self, posterior: Posterior, representation: str, leads: list[int]) -> Tensor:
        """``fused``: mean of the posterior. ``lead_concat``: means of the leads side by side, 0 where absent.
        ``experts``: the same and the mean of their product."""
        if representation == "fused":
            return posterior.mu
        means = list(posterior.parts["experts"][leads])
        if representation == "experts":
            if "product" not in posterior.parts:
                raise OptionError(
                    "representation 'experts' of a model without product of experts.", "fused or lead_concat.",
                    "Choose another representation, or a model trained with poe true and fusion paper.",
                )  # fmt: skip
            means.append(posterior.parts["product"])
        return torch.cat(means, -1)
