"""Uni-modal LSTM on clinical time series: the EHR baseline and first training stage of MedFuse (Hayat et al., 2022)."""

from __future__ import annotations

from torch import Tensor, nn

from cardiozoo.data.batch import Batch
from cardiozoo.data.tasks import TaskKind
from cardiozoo.models.base import Schedule, ZooModel
from cardiozoo.nn.lstm import LstmEncoder


class EhrLstm(ZooModel):
    """Two stacked LSTM layers, the last hidden state, dropout and a linear classifier.

    Args:
        ehr_channels: Channels of a time step; 76 with the benchmark's 17 variables and their masks.
        num_classes: Columns of the target.
        class_names: One name a class.
        task_kind: ``binary``, ``multilabel`` or ``multiclass``.
        hidden_size: Width of each LSTM layer.
        num_layers: Number of LSTM layers.
        dropout: Dropout on the last hidden state.
        learning_rate: Learning rate of Adam; the default is the published one for both tasks.
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
        learning_rate: float = 5.399e-4,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "plateau",
    ) -> None:
        super().__init__(num_classes, class_names, task_kind, learning_rate, weight_decay, betas, schedule)
        self.save_hyperparameters()
        self.encoder = LstmEncoder(ehr_channels, hidden_size, num_layers, dropout)
        self.head = nn.Linear(hidden_size, num_classes)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"logits": self.head(self.embed(batch))}

    def embed(self, batch: Batch) -> Tensor:
        """Last hidden state (B, hidden_size)."""
        return self.encoder(batch["ehr"], batch["ehr_lengths"])
