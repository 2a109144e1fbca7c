"""What the variational autoencoders of electrocardiograms do alike: leads, annealing, loss, record, representations.

A model adds ``infer`` (signals to a posterior) and ``draw`` (latent vectors to signals). Whatever a lead holds that a
record does not have, it changes nothing; a record without any lead has the prior as its posterior and no part in the
loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from cardiozoo.data.batch import Batch, Record
from cardiozoo.data.ecg import LEADS
from cardiozoo.data.tasks import TaskKind
from cardiozoo.errors import OptionError, check_choice
from cardiozoo.functional import kl_standard_normal, linear_annealing, reparameterize
from cardiozoo.functional.checks import widen
from cardiozoo.models.base import ZooModel, presence
from cardiozoo.models.ecg import lead_indices
from cardiozoo.nn.losses import LossTerm

Annealing = Literal["step", "epoch", "none"]


@dataclass(frozen=True)
class Posterior:
    """What a model believes of the latent vector of each record.

    Attributes:
        mu, logvar: The Gaussian that is sampled (B, D).
        present: Which of the model's leads it was inferred from, bool (B, K).
        parts: Further tensors that the model's loss or its other representations need, by name.
    """

    mu: Tensor
    logvar: Tensor
    present: Tensor
    parts: dict[str, Tensor]


class GenerativeModel(ZooModel):
    """Base of the variational autoencoders. Learns without targets.

    Args:
        ecg_leads: Leads that the model knows; all twelve if None.
        ecg_samples: Samples of a signal.
        latent_size: Dimensions of the latent vector.
        reconstruction_weight: Factor c of the sum of squared errors of a record; 1 / (2 c) is the variance of the noise
            around the reconstruction.
        lead_weights: Factor of each lead in that sum, in the order of ``ecg_leads``; 1 each if None.
        beta: Final weight of the divergence from the prior.
        annealing: ``step`` raises beta linearly from 0 with every update; ``epoch`` is (e / annealing_epochs) beta in
            epoch e = 1, 2, ...; ``none`` begins with beta.
        annealing_epochs: Epochs until beta is reached.
        task_kind: ``unsupervised``; anything else is refused.
        **options: The optimiser's, see ``ZooModel``.
    """

    task_kinds: ClassVar[tuple[TaskKind, ...]] = ("unsupervised",)
    fused_optimizer = True
    representations: ClassVar[tuple[str, ...]] = ("fused",)

    def __init__(
        self,
        ecg_leads: list[str] | None,
        ecg_samples: int,
        latent_size: int,
        reconstruction_weight: float,
        lead_weights: list[float] | None,
        beta: float,
        annealing: Annealing,
        annealing_epochs: int,
        task_kind: TaskKind,
        **options: Any,
    ) -> None:
        super().__init__(0, [], task_kind, **options)
        self.rows = lead_indices(ecg_leads)
        self.leads = [LEADS[row] for row in self.rows]
        weights = [1.0] * len(self.leads) if lead_weights is None else [float(weight) for weight in lead_weights]
        if ecg_samples < 1 or latent_size < 1:
            raise OptionError(
                f"ecg_samples {ecg_samples} and latent_size {latent_size}.",
                "Numbers of at least 1.",
                "The data module answers ecg_samples; --model.latent_size is yours to choose.",
            )
        if not (reconstruction_weight >= 0 and beta >= 0):
            raise OptionError(
                f"reconstruction_weight {reconstruction_weight}, beta {beta}.",
                "Numbers of at least 0.",
                "0 leaves a term out of the loss; `cardiozoo fit --model.help NAME` tells the defaults.",
            )
        if len(weights) != len(self.leads) or not all(weight >= 0 for weight in weights):
            raise OptionError(
                f"lead_weights {weights}.",
                f"One number of at least 0 for each of {', '.join(self.leads)}.",
                "Leave --model.lead_weights out, and every lead counts the same.",
            )
        if annealing not in get_args(Annealing) or annealing_epochs < 0:
            allowed = f"One of {', '.join(get_args(Annealing))}, and a number of epochs of at least 0."
            came = f"annealing {annealing!r}, annealing_epochs {annealing_epochs}."
            raise OptionError(came, allowed, "--model.annealing none is without.")
        self.ecg_samples, self.latent_size = ecg_samples, latent_size
        self.reconstruction_weight = reconstruction_weight
        self.beta, self.annealing, self.annealing_epochs = beta, annealing, annealing_epochs
        self.register_buffer("lead_weights", torch.tensor(weights), persistent=False)

    # --- What a model defines ----------------------------------------------------------------------------------------

    def infer(self, signals: Tensor, present: Tensor) -> Posterior:
        """Signals (B, K, T) of the model's leads, 0 where absent, and which are present (B, K) -> the posterior."""
        raise NotImplementedError

    def draw(self, z: Tensor, leads: list[int] | None = None) -> Tensor:
        """Latent vectors (B, D) -> signals (B, K, T) of the model's leads with these numbers, all of them if None."""
        raise NotImplementedError

    def draw_rows(self, z: Tensor, rows: Tensor) -> Tensor:
        """As ``draw`` for all leads; the result matters in ``rows`` (B,) only."""
        return self.draw(z)

    # --- What all of them do -----------------------------------------------------------------------------------------

    def encode(self, batch: Batch, leads: Sequence[str] | None = None) -> Posterior:
        """The posterior of each record, from the given leads alone if any are named."""
        return self.infer(*self.signals(batch, leads))

    def decode(self, z: Tensor, leads: Sequence[str] | None = None) -> Tensor:
        """Signals (B, len(leads), T) of latent vectors (B, D), of all the model's leads if None are named."""
        return widen(self.draw(z, None if leads is None else self.numbers(leads)))

    def reconstruct(self, batch: Batch) -> Tensor:
        """Signals (B, 12, T) of the posterior means, in the order of ``LEADS``.

        Leads that a record lacks are reconstructed from the others. Leads that the model does not know are NaN.
        """
        signals = self.decode(self.encode(batch).mu)
        whole = signals.new_full((len(signals), len(LEADS), self.ecg_samples), math.nan)
        whole[:, self.rows] = signals
        return whole

    def embed(self, batch: Batch, representation: str | None = None, leads: Sequence[str] | None = None) -> Tensor:
        """A representation of each record (B, D), from the given leads alone if any are named.

        Args:
            batch: Records.
            representation: One of ``representations``; the first if None. ``fused``: mean of the posterior.
            leads: Leads to use; all the model knows if None.
        """
        return self.represent(self.encode(batch, leads), self.representation(representation), self.numbers(leads))

    def represent(self, posterior: Posterior, representation: str, leads: list[int]) -> Tensor:
        """A representation (B, D) of a posterior inferred from the leads with these numbers."""
        return posterior.mu

    def embedding_size(self, representation: str | None = None, leads: Sequence[str] | None = None) -> int:
        """Width D of what ``embed`` returns for the same arguments."""
        count = len(self.numbers(leads))
        multiple = {"fused": 1, "lead_concat": count, "experts": count + 1}
        return self.latent_size * multiple[self.representation(representation)]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Posterior, a reconstruction (B, K, T) and its squared error by lead (B, K).

        The latent vector is a sample in training and the mean in evaluation.
        """
        signals, present = self.signals(batch)
        posterior = self.infer(signals, present)
        z = reparameterize(posterior.mu, posterior.logvar) if self.training else posterior.mu
        reconstruction = self.draw_rows(z, present.any(1))
        outputs = {"mu": posterior.mu, "logvar": posterior.logvar, "present": present, **posterior.parts}
        return {**outputs, "reconstruction": reconstruction, "errors": squared_errors(reconstruction, signals)}

    def losses(self, batch: Batch, outputs: dict[str, Tensor]) -> dict[str, LossTerm]:
        """Weighted squared error of the present leads and divergence from the prior, one value a record."""
        some = outputs["present"].any(1)
        divergence = kl_standard_normal(outputs["mu"], outputs["logvar"])
        return {
            "reconstruction": LossTerm(self.reconstruction_loss(outputs["errors"], outputs["present"]), some),
            "kl": LossTerm(divergence, some, self.kl_weight()),
        }

    def reconstruction_loss(self, errors: Tensor, present: Tensor) -> Tensor:
        """c sum_i lambda_i ||x_i - y_i||^2 over the present leads: (B, K), (B, K) -> (B,)."""
        return self.reconstruction_weight * torch.where(present, self.lead_weights * errors, 0).sum(1)

    def kl_weight(self) -> float:
        """beta of the running update; the final one outside training, so that epochs can be compared."""
        trainer = self._trainer
        if not self.training or trainer is None or not trainer.training or self.annealing == "none":
            return self.beta
        if self.annealing == "epoch":
            return linear_annealing(trainer.current_epoch + 1, self.annealing_epochs, stop=self.beta)
        if not math.isfinite(trainer.num_training_batches):
            raise OptionError(
                "annealing step on data that does not say how many batches an epoch has.",
                "Data of known length, or annealing epoch.",
                "Set --model.annealing epoch.",
            )
        updates = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        return linear_annealing(trainer.global_step, self.annealing_epochs * updates, stop=self.beta)

    def training_step(self, batch: Batch, batch_idx: int = 0) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        if self.annealing != "none":
            self.log("train/beta", self.kl_weight(), on_step=False, on_epoch=True, batch_size=len(batch["id"]))
        return loss

    def record(self, batch: Batch, outputs: dict[str, Tensor]) -> Record:
        """No score and no target; what the loss and the mean squared error of each lead are, one row a record."""
        nothing = outputs["mu"].new_zeros(len(batch["id"]), 0).float()
        record = Record(
            id=batch["id"],
            class_names=[],
            score=nothing,
            target=nothing,
            present=dict(batch.get("present", {})),
            groups=dict(batch.get("groups", {})),
            extra={name: column.detach().float() for name, column in self.extra(outputs).items()},
        )
        if "patient" in batch:
            record["patient"] = batch["patient"]
        return record

    def extra(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """``loss``, ``reconstruction``, ``kl`` and ``mse/<lead>`` of each record, NaN where there is no such lead."""
        some, present = outputs["present"].any(1), outputs["present"]
        with torch.autocast(outputs["mu"].device.type, enabled=False):
            columns = self.loss_of_rows(outputs)
        columns = {name: torch.where(some, values, math.nan) for name, values in columns.items()}
        mse = torch.where(present, outputs["errors"] / self.ecg_samples, math.nan)
        return columns | {f"mse/{lead}": mse[:, i] for i, lead in enumerate(self.leads)}

    def loss_of_rows(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """``loss``, ``reconstruction`` and ``kl`` of each record by itself (B,)."""
        terms = self.losses({}, outputs)
        total = torch.stack([term.weight * torch.where(term.mask, term.values, 0) for term in terms.values()]).sum(0)
        return {"loss": total, "reconstruction": terms["reconstruction"].values, "kl": terms["kl"].values}

    def signals(self, batch: Batch, leads: Sequence[str] | None = None) -> tuple[Tensor, Tensor]:
        """The signals of the model's leads (B, K, T), 0 where absent, and which are present (B, K).

        Raises:
            OptionError: Signals of another length than the model's.
            ValueError: The batch does not hold twelve leads.
        """
        ecg = batch["ecg"]
        if ecg.dim() != 3 or ecg.shape[1] != len(LEADS):
            raise ValueError(f"ecg has shape {tuple(ecg.shape)}; expected (B, {len(LEADS)}, samples), as in LEADS")
        if ecg.shape[2] != self.ecg_samples:
            raise OptionError(
                f"Signals of {ecg.shape[2]} samples.",
                f"{self.ecg_samples}: this {type(self).__name__} was built for signals of that length.",
                "Choose --data.window and --data.rate as in the model's training.",
            )
        present = presence(batch, "ecg")[:, None].expand(-1, len(LEADS))
        if "ecg_leads" in batch:
            present = present & batch["ecg_leads"]
        if self.rows != list(range(len(LEADS))):
            ecg, present = ecg[:, self.rows], present[:, self.rows]
        if leads is not None:
            used = torch.zeros(len(self.leads), dtype=torch.bool, device=ecg.device)
            used[self.numbers(leads)] = True
            present = present & used
        return torch.where(present[..., None], ecg, 0), present

    def numbers(self, leads: Sequence[str] | None) -> list[int]:
        """Numbers of the named leads among the model's, in the order given; all of them if None."""
        if leads is None:
            return list(range(len(self.leads)))
        strange = [lead for lead in leads if lead not in self.leads]
        if strange or not len(leads) or len(set(leads)) < len(leads):
            raise OptionError(
                f"leads {list(leads)}.", f"At least one of {', '.join(self.leads)}, none of them twice.",
                "These are the leads that the model was built with.",
            )  # fmt: skip
        return [self.leads.index(lead) for lead in leads]

    def representation(self, name: str | None) -> str:
        """A checked name of a representation; the default if None."""
        if name is None:
            return self.representations[0]
        check_choice("representation", name, self.representations)
        return name


def squared_errors(reconstruction: Tensor, signals: Tensor) -> Tensor:
    """Squared error of each lead, summed over its samples in float32 at least: two (B, K, T) -> (B, K)."""
    with torch.autocast(signals.device.type, enabled=False):
        return (widen(reconstruction) - widen(signals)).square().sum(-1)
