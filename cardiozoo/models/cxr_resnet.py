"""Uni-modal image network on chest radiographs: the CXR baseline and first training stage of MedFuse."""

from __future__ import annotations

from torch import Tensor, nn

from cardiozoo.data.batch import Batch
from cardiozoo.data.tasks import TaskKind
from cardiozoo.models.base import Schedule, ZooModel, presence, radiographs
from cardiozoo.nn.image import PUBLISHED_WIDTH, ImageEncoder
from cardiozoo.nn.present import encode_present


class CxrResNet(ZooModel):
    """ResNet, global average pooling and a linear classifier, for the 14 radiology labels or the labels of a task.

    Only rows with a radiograph count in the loss and in validation and test metrics. A row without one is scored by the
    classifier's bias, the same for all such rows.

    Args:
        num_classes: Columns of the target.
        class_names: One name a class.
        task_kind: ``binary``, ``multilabel`` or ``multiclass``.
        backbone: Image network, by its name in timm.
        image_width: Channels of the first ResNet stage; 64 is the published network, less is for quick runs.
        embedding_size: Width of a linear projection before the classifier; none by default.
        pretrained: Start from ImageNet weights, fetched by timm.
        freeze_batch_norm: BatchNorm keeps its running statistics as they are.
        learning_rate: Learning rate of Adam.
        weight_decay: L2 penalty of Adam.
        betas: Decay rates of Adam's moments; the released code trains with (0.9, 0.9).
        schedule: ``plateau`` halves the learning rate after 10 epochs without a better validation loss.
    """

    def __init__(
        self,
        num_classes: int = 14,
        class_names: list[str] | None = None,
        task_kind: TaskKind = "multilabel",
        backbone: str = "resnet34",
        image_width: int = PUBLISHED_WIDTH,
        embedding_size: int | None = None,
        pretrained: bool = False,
        freeze_batch_norm: bool = False,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "plateau",
    ) -> None:
        super().__init__(num_classes, class_names, task_kind, learning_rate, weight_decay, betas, schedule)
        self.save_hyperparameters(ignore=["pretrained"])
        self.freeze_batch_norm = freeze_batch_norm
        self.encoder = ImageEncoder(backbone, image_width, pretrained, embedding_size)
        self.head = nn.Linear(self.encoder.width, num_classes)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"logits": self.head(self.embed(batch))}

    def embed(self, batch: Batch) -> Tensor:
        """Pooled features (B, width); 0 where there is no radiograph."""
        has_cxr = presence(batch, "cxr")
        return encode_present(self.encoder, radiographs(batch), has_cxr, self.encoder.width, self.freeze_batch_norm)

    def judged(self, batch: Batch) -> Tensor:
        return presence(batch, "cxr")
