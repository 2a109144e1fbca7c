"""A linear model whose weights are written by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from cardiozoo.data.batch import Batch
from cardiozoo.models.base import ZooModel


class PlantedModel(ZooModel):
    """Sum over the last quarter of lead II, three times, and of V1, once; absent leads count as 0."""

    def __init__(self, num_classes: int = 1, class_names: list[str] | None = None, task_kind: str = "binary") -> None:
        super().__init__(num_classes, class_names, task_kind)  # type: ignore[arg-type]
        self.save_hyperparameters()
        self.weight = torch.nn.Parameter(torch.zeros(12, 500))
        with torch.no_grad():
            self.weight[1, 375:], self.weight[6, 375:] = 0.3, -0.1

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        ecg = torch.where(batch["ecg_leads"][..., None], batch["ecg"], 0)
        return {"logits": (ecg * self.weight).sum((1, 2))[:, None].expand(-1, self.num_classes)}
