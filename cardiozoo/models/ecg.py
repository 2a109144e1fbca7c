"""What the networks on electrocardiograms share: leads chosen by name, absent leads that do not matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from cardiozoo.data.batch import Batch
from cardiozoo.data.ecg import LEADS
from cardiozoo.data.tasks import TaskKind
from cardiozoo.errors import OptionError
from cardiozoo.models.base import ZooModel
from cardiozoo.models.checkpoints import load_exactly
from cardiozoo.nn.losses import Loss


def lead_indices(leads: Sequence[str] | None) -> list[int]:
    """Rows of the twelve that the named leads stand in; all twelve if None.

    Raises:
        OptionError: No lead, one that is none of the twelve, or one named twice.
    """
    names = LEADS if leads is None else tuple(leads)
    strange = [name for name in names if name not in LEADS]
    if not names or strange or len(set(names)) < len(names):
        raise OptionError(
            f"ecg_leads {list(names)}.",
            f"At least one of {', '.join(LEADS)}, none of them twice.",
            "--data.leads chooses them.",
        )
    return [LEADS.index(name) for name in names]


class EcgNetwork(ZooModel):
    """Base of the supervised networks on electrocardiograms.

    Args:
        ecg_leads: Names of the leads, in the order of the network's channels; all twelve if None.
        ecg_samples: Samples of a training batch.
        ecg_rate: Samples a second.
        **options: Those of ``ZooModel``.
    """

    required = ("ecg",)
    task_kinds: ClassVar[tuple[TaskKind, ...]] = ("binary", "multilabel", "multiclass", "regression")
    default_loss: ClassVar[Loss] = "focal"
    fused_optimizer = True

    def __init__(self, ecg_leads: list[str] | None, ecg_samples: int, ecg_rate: float, **options: Any) -> None:
        super().__init__(**options)
        indices = lead_indices(ecg_leads)
        if ecg_samples < 1 or not ecg_rate > 0:
            raise OptionError(
                f"ecg_samples {ecg_samples} at ecg_rate {ecg_rate}.",
                "Numbers above 0.",
                "The data module answers both; cardiozoo.testing.check_datamodule checks one of your own.",
            )
        self.ecg_leads = [LEADS[i] for i in indices]
        self.ecg_samples, self.ecg_rate = ecg_samples, ecg_rate
        self.register_buffer("lead_indices", torch.tensor(indices), persistent=False)

    def signals(self, batch: Batch) -> Tensor:
        """The chosen leads (B, K, T), 0 where a lead is absent whatever stands there."""
        return present_leads(batch, self.lead_indices)

    def start_from(self, state: Mapping[str, Tensor], source: str, skipped: list[str]) -> None:
        """Load somebody else's weights, translated into the names of this network, if they fit one by one."""
        own = {name: value for name, value in self.state_dict().items() if name.startswith("target_")}
        load_exactly(self, {**own, **state}, source, skipped)


def mean_over_time(x: Tensor) -> Tensor:
    """Mean over the last axis, summed in float32 at least: half precision has too few bits for a long signal."""
    return x.mean(-1, dtype=torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype)


def present_leads(batch: Batch, indices: Tensor) -> Tensor:
    """Rows ``indices`` (K,) of the twelve leads of a batch, (B, K, T), with absent leads filled with 0.

    Raises:
        ValueError: The batch does not hold twelve leads.
    """
    ecg = batch["ecg"]
    if ecg.dim() != 3 or ecg.shape[1] != len(LEADS):
        raise ValueError(f"ecg has shape {tuple(ecg.shape)}; expected (B, {len(LEADS)}, samples), leads in their order")
    chosen = ecg if len(indices) == len(LEADS) and _in_order(indices) else ecg.index_select(1, indices)
    if "ecg_leads" in batch:
        chosen = torch.where(batch["ecg_leads"].index_select(1, indices)[..., None], chosen, 0)
    return chosen


def _in_order(indices: Tensor) -> bool:
    return indices.device.type == "cpu" and indices.tolist() == list(range(len(LEADS)))
