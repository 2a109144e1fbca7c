"""DrFuse: disentangled representations for clinical fusion with missing modality and modal inconsistency.

Yao, Yin, Cheung, Liu, Qin (AAAI 2024). From the time series and from the radiograph, one representation of what both
modalities know (shared) and one of what only the modality itself knows (distinct); the shared ones are aligned and
pooled as logits, and each disease attends over the three in its own way. Without a radiograph the shared representation
of the time series stands in. Equation numbers are the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from cardiozoo.data.batch import Batch
from cardiozoo.data.tasks import TaskKind
from cardiozoo.errors import OptionError
from cardiozoo.functional import logit_pool
from cardiozoo.models.base import Schedule, ZooModel, presence, radiographs
from cardiozoo.models.drfuse_loss import Alignment, DrFuseLoss, Ranking, RowAverage
from cardiozoo.nn.attention import DiseaseAttention
from cardiozoo.nn.image import PUBLISHED_WIDTH, TwinImageEncoder
from cardiozoo.nn.losses import LossTerm
from cardiozoo.nn.pooling import masked_mean
from cardiozoo.nn.present import encode_present
from cardiozoo.nn.transformer import StepEmbedding, TransformerBlock


class DrFuse(ZooModel):
    """Disentangled shared and distinct representations of EHR and radiograph, fused by disease-wise attention.

    Args:
        ehr_channels: Channels of a time step; 76 with the benchmark's 17 variables and their masks.
        num_classes: Columns of the target.
        class_names: One name a class.
        task_kind: ``binary``, ``multilabel``, or ``multiclass`` (softmax over the classes' own vectors).
        hidden_size: Width d of every representation.
        num_layers: Transformer layers of each of the three EHR blocks (common, shared, distinct).
        num_heads: Attention heads a layer.
        feedforward: Width of the hidden layer of each feed-forward part.
        dropout: Dropout within the Transformer layers.
        max_steps: Number of time positions learned; longer series are refused.
        backbone: Image network, by its name in timm.
        image_width: Channels of the first ResNet stage; 64 is the published network, less is for quick runs.
        pretrained: Start the image networks from ImageNet weights, fetched by timm; the paper starts at random.
        share_stem: Both image encoders use one first convolution; otherwise two whole networks.
        freeze_batch_norm: BatchNorm keeps its running statistics as they are.
        shared_project: Pass both shared representations through one three-layer perceptron, as the released code does.
        attention_bias: Biases in query, key and value projections.
        aux_heads: Auxiliary classifiers: ``linear`` as released, ``mlp`` with two layers as in the paper.
        lambda_jsd: Weight of the alignment of the shared representations (Eq. 1).
        lambda_orth: Weight of the orthogonality of shared and distinct (Eq. 4).
        lambda_attention: Weight of the attention ranking (Eq. 10).
        lambda_aux: Weight of the auxiliary classifiers (Eq. 9): one number, or three (EHR, shared, radiograph).
        alignment: ``jsd``; ``jsd_one_sided``, the half of it that the released code computes; ``mse``, the ablation,
            which also replaces logit pooling by the plain average.
        reduction: ``mean`` over classes and latent dimensions, or their ``sum`` as the equations are written.
        average_over: Terms that need a radiograph are averaged over the rows that have one (``present``) or over all
            rows (``batch``, Eq. 13).
        ranking: ``gated`` hinge, ``literal`` Eq. 10 with its constant, or ``released``.
        margin: Margin of the ranking hinge.
        aux_on_partial: Keep the EHR and shared auxiliary losses for rows without a radiograph; Eq. 13 drops them.
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
        num_layers: int = 1,
        num_heads: int = 4,
        feedforward: int = 2048,
        dropout: float = 0.3,
        max_steps: int = 350,
        backbone: str = "resnet50",
        image_width: int = PUBLISHED_WIDTH,
        pretrained: bool = False,
        share_stem: bool = True,
        freeze_batch_norm: bool = False,
        shared_project: bool = True,
        attention_bias: bool = True,
        aux_heads: Literal["linear", "mlp"] = "linear",
        lambda_jsd: float = 1.0,
        lambda_orth: float = 1.0,
        lambda_attention: float = 0.5,
        lambda_aux: float | list[float] = 0.5,
        alignment: Alignment = "jsd",
        reduction: Literal["mean", "sum"] = "mean",
        average_over: RowAverage = "present",
        ranking: Ranking = "gated",
        margin: float = 0.0,
        aux_on_partial: bool = True,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "none",
    ) -> None:
        super().__init__(num_classes, class_names, task_kind, learning_rate, weight_decay, betas, schedule)
        # Whether the weights began at ImageNet does not matter to whoever loads them later, perhaps without a network.
        self.save_hyperparameters(ignore=["pretrained"])
        self.alignment, self.freeze_batch_norm = alignment, freeze_batch_norm
        self.objective = DrFuseLoss(
            task_kind, lambda_jsd, lambda_orth, lambda_attention, _three(lambda_aux), alignment, reduction,
            average_over, ranking, margin, aux_on_partial,
        )  # fmt: skip

        self.embedding = StepEmbedding(ehr_channels, hidden_size, max_steps)
        sizes = (hidden_size, num_layers, num_heads, feedforward, dropout)
        self.ehr_common, self.ehr_shared, self.ehr_distinct = (TransformerBlock(*sizes) for _ in range(3))
        self.cxr = TwinImageEncoder(hidden_size, backbone, image_width, pretrained, share_stem)
        self.shared_project = _perceptron(hidden_size) if shared_project else nn.Identity()
        self.aux_ehr, self.aux_shared, self.aux_cxr = (_aux_head(aux_heads, hidden_size, num_classes) for _ in range(3))
        self.attention = DiseaseAttention(hidden_size, num_classes, attention_bias)
        self.head = nn.Linear(hidden_size, num_classes)

    def representations(self, batch: Batch) -> dict[str, Tensor]:
        """The disentangled representations of a batch and the attention over them.

        Returns:
            ``distinct_ehr``, ``shared_ehr``, ``shared_cxr``, ``distinct_cxr`` (B, D), the two of the radiograph 0 where
            there is none; ``shared`` (B, D), pooled (Eq. 3); ``attention`` (B, C, 3) over distinct EHR, shared and
            distinct radiograph (Eq. 7); ``fused`` (B, C, D), one vector a class (Eq. 8).
        """
        distinct_ehr, shared_ehr = self._encode_ehr(batch)
        has_cxr = presence(batch, "cxr")
        distinct_cxr, shared_cxr = self._encode_cxr(batch, has_cxr)
        shared = torch.where(has_cxr[:, None], self._pool(shared_ehr, shared_cxr), shared_ehr)
        attention, fused = self.attention(distinct_ehr, shared, distinct_cxr, has_cxr)
        return {
            "distinct_ehr": distinct_ehr, "shared_ehr": shared_ehr,
            "shared_cxr": shared_cxr, "distinct_cxr": distinct_cxr,
            "shared": shared, "attention": attention, "fused": fused,
        }  # fmt: skip

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        r = self.representations(batch)
        # Class c reads its own vector with its own row of the head.
        logits = (r["fused"] * self.head.weight).sum(-1) + self.head.bias
        aux = [self.aux_ehr(r["distinct_ehr"]), self.aux_shared(r["shared"]), self.aux_cxr(r["distinct_cxr"])]
        return {**r, "logits": logits, "aux_logits": torch.stack([a.float() for a in aux], 1)}  # aux (B, 3, C)

    def losses(self, batch: Batch, outputs: dict[str, Tensor]) -> dict[str, LossTerm]:
        return self.objective(outputs, batch["target"], presence(batch, "cxr"))

    def embed(self, batch: Batch) -> Tensor:
        """Distinct EHR, shared and distinct radiograph (0 where missing) side by side, (B, 3 hidden_size)."""
        r = self.representations(batch)
        return torch.cat([r["distinct_ehr"], r["shared"].to(r["distinct_ehr"]), r["distinct_cxr"]], 1)

    def extra(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Attention of each class on the distinct EHR, the shared and the distinct radiograph representation."""
        names = ("attention_ehr", "attention_shared", "attention_cxr")
        return dict(zip(names, outputs["attention"].unbind(-1), strict=True))

    def _encode_ehr(self, batch: Batch) -> tuple[Tensor, Tensor]:
        sequence, valid = self.embedding(batch["ehr"], batch["ehr_lengths"])
        common = self.ehr_common(sequence, valid)
        distinct = masked_mean(self.ehr_distinct(common, valid), valid)
        return distinct, self.shared_project(masked_mean(self.ehr_shared(common, valid), valid))

    def _encode_cxr(self, batch: Batch, has_cxr: Tensor) -> tuple[Tensor, Tensor]:
        both = encode_present(self.cxr, radiographs(batch), has_cxr, self.cxr.width, self.freeze_batch_norm)
        distinct, shared = both.chunk(2, 1)
        shared = self.shared_project(shared)
        return distinct, torch.where(has_cxr[:, None], shared, torch.zeros_like(shared))

    def _pool(self, shared_ehr: Tensor, shared_cxr: Tensor) -> Tensor:
        if self.alignment == "mse":
            return 0.5 * (shared_ehr + shared_cxr)
        return logit_pool(shared_ehr, shared_cxr)  # Eq. 2


def _three(weights: float | Sequence[float]) -> tuple[float, float, float]:
    three = tuple(weights) if isinstance(weights, Sequence) else (weights,) * 3
    if len(three) != 3:
        raise OptionError(
            f"lambda_aux with {len(three)} numbers.",
            "One number, or three: EHR, shared, radiograph.",
            "For example --model.lambda_aux '[0.5, 0.5, 0.5]'.",
        )
    return three


def _perceptron(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width)
    )


def _aux_head(kind: str, width: int, num_classes: int) -> nn.Module:
    match kind:
        case "linear":
            return nn.Linear(width, num_classes)
        case "mlp":
            return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, num_classes))
    raise OptionError(f"aux_heads {kind!r}.", "One of linear, mlp.", "Leave --model.aux_heads out for linear.")
