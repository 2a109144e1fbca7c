"""Multimodal-CNN: the encoders of LS-EMVAE, one a lead, trained from scratch on the labelled task.

Suvon et al., Multimodal Lead-Specific Modeling of ECG for Low-Cost Pulmonary Hypertension Assessment (2025), where it
is the control without pre-training. Nothing is shared between leads before the classifier; nothing is normalised.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cardiozoo.data.batch import Batch
from cardiozoo.data.tasks import TaskKind
from cardiozoo.errors import OptionError
from cardiozoo.models.base import Optimizer, Schedule
from cardiozoo.models.checkpoints import read_state
from cardiozoo.models.ecg import EcgNetwork
from cardiozoo.models.ecg_weights import released_multimodal_cnn
from cardiozoo.nn.ecg_lead_encoders import frames_of
from cardiozoo.nn.losses import Loss


class MultimodalCnn(EcgNetwork):
    """Three convolutions and one linear layer a lead, the leads' vectors side by side, and a classifier.

    Args:
        ecg_leads: Leads that the network sees; all twelve if None. Each has an encoder of its own.
        ecg_samples: Samples of every record, in training and in evaluation.
        ecg_rate: Samples a second.
        num_classes: Columns of the target.
        class_names: One name a class.
        task_kind: ``binary``, ``multilabel``, ``multiclass`` or ``regression``.
        target_mean: Mean of a regression target in training.
        target_std: Standard deviation of a regression target in training.
        latent_size: Width of a lead's vector.
        channels: Channels of the three convolutions of an encoder.
        hidden_size: Width of the classifier's hidden layer.
        dropout: Dropout on the hidden layer.
        released_weights: Weights of the authors' network (a state dict) to start from.
        loss: ``focal`` or ``cross_entropy``; for ``regression`` ``mse``, ``smooth_l1``, ``rmse`` or ``logcosh``. Focal
            and mse if None.
        focal_alpha: Weight of the positive label in the focal loss; none if None.
        focal_gamma: Exponent of the focal loss.
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
        ecg_rate: float = 500.0,
        num_classes: int = 2,
        class_names: list[str] | None = None,
        task_kind: TaskKind = "multiclass",
        target_mean: list[float] | None = None,
        target_std: list[float] | None = None,
        latent_size: int = 256,
        channels: tuple[int, int, int] = (16, 32, 64),
        hidden_size: int = 128,
        dropout: float = 0.5,
        released_weights: str | None = None,
        loss: Loss | None = None,
        focal_alpha: float | None = 0.25,
        focal_gamma: float = 2.0,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "none",
        optimizer: Optimizer = "adam",
    ) -> None:
        super().__init__(
            ecg_leads, ecg_samples, ecg_rate, num_classes=num_classes, class_names=class_names, task_kind=task_kind,
            learning_rate=learning_rate, weight_decay=weight_decay, betas=betas, schedule=schedule,
            optimizer=optimizer, loss=loss, focal_alpha=focal_alpha, focal_gamma=focal_gamma,
            target_mean=target_mean, target_std=target_std,
        )  # fmt: skip
        self.save_hyperparameters(ignore=["released_weights"])
        if min(latent_size, hidden_size, *channels) < 1:
            came = f"latent_size {latent_size}, channels {list(channels)}, hidden_size {hidden_size}."
            raise OptionError(
                came,
                "At least 1 each.",
                "Leave one out for its default; `cardiozoo fit --model.help multimodal_cnn` tells it.",
            )
        self.latent_size = latent_size
        self.encoders = nn.ModuleList(LeadEncoder(ecg_samples, latent_size, channels) for _ in self.ecg_leads)
        self.head = nn.Sequential(
            nn.Linear(len(self.encoders) * latent_size, hidden_size), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(hidden_size, num_classes),
        )  # fmt: skip
        if released_weights is not None:
            state, idle = released_multimodal_cnn(read_state(released_weights))
            self.start_from(state, released_weights, idle)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"logits": self.head(self.embed(batch))}

    def embed(self, batch: Batch) -> Tensor:
        """The vectors of the leads side by side (B, leads latent_size), in the order of ``ecg_leads``.

        An absent lead has the vector 0: the head is then that of a network without this lead.
        """
        signals = self.signals(batch)
        if signals.shape[-1] != self.ecg_samples:
            raise OptionError(
                f"Records of {signals.shape[-1]} samples for a network of {self.ecg_samples}.",
                "Records as long as those it was built for: its linear layers see every sample in its place.",
                "Take the same --data.window and --data.rate, and --data.eval_window center.",
            )
        vectors = torch.stack([encoder(signals[:, [i]]) for i, encoder in enumerate(self.encoders)], 1)
        if "ecg_leads" in batch:
            vectors = torch.where(batch["ecg_leads"].index_select(1, self.lead_indices)[..., None], vectors, 0)
        return vectors.flatten(1)

    def embedding_size(self, representation: str | None = None, leads: list[str] | None = None) -> int:
        return len(self.encoders) * self.latent_size


class LeadEncoder(nn.Module):
    """One lead (B, 1, T) to one vector (B, latent_size): three convolutions that halve it, and a linear layer."""

    def __init__(self, samples: int, latent_size: int, channels: tuple[int, int, int]) -> None:
        super().__init__()
        first, second, third = channels
        self.conv1 = nn.Conv1d(1, first, 3, stride=2, padding=1)
        self.conv2 = nn.Conv1d(first, second, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(second, third, 3, stride=2, padding=1)
        self.latent = nn.Linear(third * frames_of(samples), latent_size)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2, self.conv3):
            x = conv(x).relu()
        return self.latent(x.flatten(1))
