"""MedFuse: fusion of clinical time series and chest radiograph as a sequence of modalities.

Hayat, Geras, Shamout (MLHC 2022). Each modality becomes one vector; an LSTM reads the time series' vector and then,
where there is one, the radiograph's. A patient without a radiograph is a shorter sequence. Equation numbers are the
paper's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cardiozoo.data.batch import Batch
from cardiozoo.data.tasks import TaskKind
from cardiozoo.models.base import Schedule, ZooModel, presence, radiographs
from cardiozoo.models.checkpoints import load_exactly, read_state
from cardiozoo.models.medfuse_weights import encoder_of, released_fusion
from cardiozoo.nn.image import PUBLISHED_WIDTH, ImageEncoder
from cardiozoo.nn.lstm import LstmEncoder
from cardiozoo.nn.pooling import last_valid
from cardiozoo.nn.present import encode_present


class MedFuse(ZooModel):
    """LSTM encoder for the time series, ResNet for the radiograph, and an LSTM over the two.

    Args:
        ehr_channels: Channels of a time step; 76 with the benchmark's 17 variables and their masks.
        num_classes: Columns of the target.
        class_names: One name a class.
        task_kind: ``binary``, ``multilabel`` or ``multiclass``.
        hidden_size: Width of the EHR encoder and of the projected radiograph.
        num_layers: LSTM layers of the EHR encoder.
        dropout: Dropout on the EHR vector.
        fusion_size: Width of the fusion LSTM.
        backbone: Image network, by its name in timm.
        image_width: Channels of the first ResNet stage; 64 is the published network, less is for quick runs.
        pretrained: Start the image network from ImageNet weights, fetched by timm.
        freeze_batch_norm: BatchNorm keeps its running statistics as they are.
        ehr_encoder: Checkpoint of ``ehr_lstm`` (or an official MedFuse file) whose encoder to start from.
        cxr_encoder: Checkpoint of ``cxr_resnet`` (or an official MedFuse file) whose image network to start from.
        released_weights: Official MedFuse file whose whole fusion network to start from.
        learning_rate: Learning rate of Adam; the default is the published one for phenotyping.
        weight_decay: L2 penalty of Adam.
        betas: Decay rates of Adam's moments; the released code trains with (0.9, 0.9).
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
        dropout: float = 0.3,
        fusion_size: int = 512,
        backbone: str = "resnet34",
        image_width: int = PUBLISHED_WIDTH,
        pretrained: bool = False,
        freeze_batch_norm: bool = False,
        ehr_encoder: str | None = None,
        cxr_encoder: str | None = None,
        released_weights: str | None = None,
        learning_rate: float = 7.347e-5,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "plateau",
    ) -> None:
        super().__init__(num_classes, class_names, task_kind, learning_rate, weight_decay, betas, schedule)
        # Where the weights began is no part of the model: its own checkpoints must load when those files are gone.
        self.save_hyperparameters(ignore=["pretrained", "ehr_encoder", "cxr_encoder", "released_weights"])
        self.freeze_batch_norm = freeze_batch_norm
        self.ehr_encoder = LstmEncoder(ehr_channels, hidden_size, num_layers, dropout)
        self.cxr_encoder = ImageEncoder(backbone, image_width, pretrained)
        self.projection = nn.Linear(self.cxr_encoder.width, hidden_size)  # phi, Eq. 3
        self.fusion = nn.LSTM(hidden_size, fusion_size, batch_first=True)
        self.head = nn.Linear(fusion_size, num_classes)
        self._start_from(ehr_encoder, cxr_encoder, released_weights)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"logits": self.head(self.embed(batch))}

    def embed(self, batch: Batch) -> Tensor:
        """Last hidden state of the fusion LSTM (B, fusion_size)."""
        v_ehr = self.ehr_encoder(batch["ehr"], batch["ehr_lengths"])
        has_cxr = presence(batch, "cxr")
        v_cxr = encode_present(
            self.cxr_encoder, radiographs(batch), has_cxr, self.cxr_encoder.width, self.freeze_batch_norm
        )
        with torch.autocast(v_ehr.device.type, enabled=False):
            v_cxr = self.projection(v_cxr.to(v_ehr.dtype))
            sequence = torch.stack([v_ehr, v_cxr], 1)  # (B, 2, D), Eq. 4
            states, _ = self.fusion(sequence)
        return last_valid(states, 1 + has_cxr.long())

    def _start_from(self, ehr_encoder: str | None, cxr_encoder: str | None, released_weights: str | None) -> None:
        if released_weights is not None:
            state, idle = released_fusion(read_state(released_weights))
            load_exactly(self, state, released_weights, idle)
        for modality, path, module in (
            ("ehr", ehr_encoder, self.ehr_encoder),
            ("cxr", cxr_encoder, self.cxr_encoder),
        ):
            if path is not None:
                state, skipped = encoder_of(read_state(path), modality, path)
                load_exactly(module, state, path, skipped)
