"""Uni-modal Transformer on clinical time series: the EHR baseline of DrFuse (Yao et al., 2024)."""

from __future__ import annotations

from torch import Tensor, nn

from cardiozoo.data.batch import Batch
from cardiozoo.data.tasks import TaskKind
from cardiozoo.models.base import Schedule, ZooModel
from cardiozoo.nn.pooling import masked_mean
from cardiozoo.nn.transformer import StepEmbedding, TransformerBlock


class EhrTransformer(ZooModel):
    """Linear embedding, learned positions, post-norm Transformer layers, mean over the valid steps, linear classifier.

    Args:
        ehr_channels: Channels of a time step; 76 with the benchmark's 17 variables and their masks.
        num_classes: Columns of the target.
        class_names: One name a class.
        task_kind: ``binary``, ``multilabel`` or ``multiclass``.
        hidden_size: Width of the embedding.
        num_layers: Number of Transformer layers.
        num_heads: Attention heads a layer.
        feedforward: Width of the hidden layer of each feed-forward part.
        dropout: Dropout within the layers.
        max_steps: Number of positions learned; longer series are refused.
        learning_rate: Learning rate of Adam.
        weight_decay: L2 penalty of Adam.
        betas: Decay rates of Adam's moments.
        schedule: ``plateau`` halves the learning rate after 10 epochs without a better validation loss.
    """

    required = ("ehr",)

    def __init__(
        self,
        ehr_channels: int = 76,
        num_classes: int = 25,
        class_names: list[str] | None = None,
        task_kind: TaskKind = "multilabel",
        hidden_size: int = 256,
        num_layers: int = 2,
        num_heads: int = 4,
        feedforward: int = 2048,
        dropout: float = 0.3,
        max_steps: int = 350,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "none",
    ) -> None:
        super().__init__(num_classes, class_names, task_kind, learning_rate, weight_decay, betas, schedule)
        self.save_hyperparameters()
        self.embedding = StepEmbedding(ehr_channels, hidden_size, max_steps)
        self.encoder = TransformerBlock(hidden_size, num_layers, num_heads, feedforward, dropout)
        self.head = nn.Linear(hidden_size, num_classes)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"logits": self.head(self.embed(batch))}

    def embed(self, batch: Batch) -> Tensor:
        """Mean of the encoded steps (B, hidden_size)."""
        sequence, valid = self.embedding(batch["ehr"], batch["ehr_lengths"])
        return masked_mean(self.encoder(sequence, valid), valid)
