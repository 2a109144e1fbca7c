"""What a data module says of itself: the task and the shape of its batches.

Models learn both through the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TaskKind = Literal["binary", "multilabel", "multiclass", "regression", "unsupervised"]


@dataclass(frozen=True)
class Task:
    """One prediction task.

    Attributes:
        name: Short name, as typed on the command line (``phenotyping``).
        kind: ``binary`` and ``multilabel`` are scored by independent sigmoids, ``multiclass`` by a softmax;
            ``regression`` predicts the columns in their own units, ``unsupervised`` has no target.
        classes: One name a column of the target, in order; none for ``unsupervised``.
        monitor: The logged metric that selects a model (``val/auroc``).
        mode: Whether the monitored metric is better when larger (``max``) or smaller (``min``).
    """

    name: str
    kind: TaskKind
    classes: tuple[str, ...]
    monitor: str = "val/auroc"
    mode: Literal["max", "min"] = "max"

    @property
    def num_classes(self) -> int:
        return len(self.classes)


@dataclass(frozen=True)
class DataSpec:
    """What the batches of a data module look like.

    Attributes:
        name: Registered name of the data module.
        modalities: Keys of the batch that hold a modality, in the order (``ehr``, ``cxr``, ``ecg``, ``mri``).
        task: The task of the targets.
        synthetic: Whether the data come from the simulator; carried into every table, plot and report.
        shapes: Shape of one sample per modality, ``None`` where it varies:
            ``{"ehr": (None, 76), "cxr": (3, 224, 224)}``.
        channels: Names of the channels per modality, where they have names.
    """

    name: str
    modalities: tuple[str, ...]
    task: Task
    synthetic: bool
    shapes: dict[str, tuple[int | None, ...]]
    channels: dict[str, tuple[str, ...]]
