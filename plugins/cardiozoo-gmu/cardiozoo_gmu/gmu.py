"""Gated multimodal unit: each modality proposes a vector, and a learned gate mixes them per dimension.

Arevalo, Solorio, Montes-y-Gomez, Gonzalez: "Gated Multimodal Units for Information Fusion" (ICLR workshop 2017).
With h_m = tanh(W_m x_m) and z = sigmoid(W_z [x_ehr, x_cxr]) the fused vector is h = z h_ehr + (1 - z) h_cxr.
The paper has every modality present. Here a row without a radiograph takes h = h_ehr, i.e. z = 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cardiozoo.data.batch import Batch
from cardiozoo.data.tasks import TaskKind
from cardiozoo.models.base import ZooModel, presence, radiographs
from cardiozoo.nn.image import ImageEncoder
from cardiozoo.nn.lstm import LstmEncoder
from cardiozoo.nn.present import encode_present


class GatedMultimodalUnit(ZooModel):
    """LSTM for the time series, ResNet for the radiograph, and a gate that mixes the two.

    Args:
        ehr_channels: Channels of a time step.
        num_classes: Columns of the target.
        class_names: One name a class.
        task_kind: ``binary``, ``multilabel`` or ``multiclass``.
        hidden_size: Width of the EHR encoder and of the fused vector.
        num_layers: LSTM layers of the EHR encoder.
        dropout: Dropout on the EHR vector.
        backbone: Image network, by its name in timm.
        image_width: Channels of the first ResNet stage; 64 is the published network, less is for quick runs.
        learning_rate: Learning rate of Adam.
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
        dropout: float = 0.3,
        backbone: str = "resnet34",
        image_width: int = 64,
        learning_rate: float = 1e-4,
    ) -> None:
        super().__init__(num_classes, class_names, task_kind, learning_rate)
        self.save_hyperparameters()
        self.ehr_encoder = LstmEncoder(ehr_channels, hidden_size, num_layers, dropout)
        self.cxr_encoder = ImageEncoder(backbone, image_width)
        self.propose_ehr = nn.Linear(hidden_size, hidden_size)
        self.propose_cxr = nn.Linear(self.cxr_encoder.width, hidden_size)
        self.gate = nn.Linear(hidden_size + self.cxr_encoder.width, hidden_size)
        self.head = nn.Linear(hidden_size, num_classes)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"logits": self.head(self.embed(batch))}

    def embed(self, batch: Batch) -> Tensor:
        """The fused vector (B, hidden_size)."""
        x_ehr = self.ehr_encoder(batch["ehr"], batch["ehr_lengths"])
        has_cxr = presence(batch, "cxr")
        x_cxr = encode_present(self.cxr_encoder, radiographs(batch), has_cxr, self.cxr_encoder.width).to(x_ehr.dtype)
        h_ehr, h_cxr = self.propose_ehr(x_ehr).tanh(), self.propose_cxr(x_cxr).tanh()
        z = self.gate(torch.cat([x_ehr, x_cxr], 1)).sigmoid()
        # Arithmetic instead of a branch: gate and proposal take part also in a batch without any radiograph.
        z = torch.where(has_cxr[:, None], z, 1 + 0 * z)
        return z * h_ehr + (1 - z) * h_cxr
