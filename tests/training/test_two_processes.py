"""Two processes with batches of B see, learn and score what one process with batches of 2 B does.

The real models, loader and Trainer on a prepared store; dropout is 0 and BatchNorm frozen, because both would differ
by themselves. Three kinds of batches: as they come, radiographs hidden at random, and one process without any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

from cardiozoo.data.mimic_cxr_ehr import MimicCxrEhr
from cardiozoo.models.drfuse import DrFuse
from cardiozoo.models.medfuse import MedFuse
from cardiozoo.testing.processes import pair

BATCH, STEPS = 4, 3
SIZES: dict[str, dict[str, Any]] = {
    "drfuse": {"hidden_size": 8, "num_heads": 2, "feedforward": 16, "max_steps": 200},
    "medfuse": {"hidden_size": 8, "num_layers": 1, "fusion_size": 8},
}


class RowsWithRadiographFirst(MimicCxrEhr):
    """Deals each step's rows so that those with a radiograph come first: the last process may get none."""

    def _epoch_order(self, paired: np.ndarray, epoch: int) -> np.ndarray:
        order = super()._epoch_order(paired, epoch)
        with_image, without = order[paired[order]], order[~paired[order]]
        half = min(len(with_image), len(without)) // BATCH * BATCH
        steps = [(with_image[i : i + BATCH], without[i : i + BATCH]) for i in range(0, half, BATCH)]
        return np.concatenate([rows for step in steps for rows in step])


class Losses(L.Callback):
    """The training loss of each step, and how many rows of it had a radiograph."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.paired: list[int] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(float(outputs["loss"]))
        self.paired.append(int(batch["present"]["cxr"].sum()))


def trained(name: str, store: str, sorted_rows: bool, precision: str, processes: int, folder: str) -> dict[str, Any]:
    """Weights, losses and metrics after a few steps; runs in each process of the pair, or here."""
    L.seed_everything(1, verbose=False)
    cls = RowsWithRadiographFirst if sorted_rows else MimicCxrEhr
    options: dict[str, Any] = {"image_size": 32, "num_workers": 0, "window": "48h", "augment": "none"}
    data = cls(store, batch_size=BATCH * (2 // processes), **options)
    model = {"drfuse": DrFuse, "medfuse": MedFuse}[name](
        **SIZES[name], num_classes=25, dropout=0.0, backbone="resnet18", image_width=4, freeze_batch_norm=True,
    )  # fmt: skip
    # Plain descent: Adam makes a step of full size of a gradient that is zero but for rounding (that of a key's bias).
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), 0.1)
    losses = Losses()
    trainer = L.Trainer(
        accelerator="cpu", devices=processes, strategy=_strategy(processes), max_epochs=1, limit_train_batches=STEPS,
        default_root_dir=folder, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, precision=precision, callbacks=[losses],
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    found = {key: float(value) for key, value in trainer.callback_metrics.items()}
    found |= {key: float(value) for key, value in trainer.test(model, datamodule=data, verbose=False)[0].items()}
    weights = {key: value.detach().numpy().copy() for key, value in model.state_dict().items()}
    return {"losses": losses.losses, "paired": losses.paired, "metrics": found, "weights": weights}


class _InThePair(LightningEnvironment):
    """The processes are there already and joined."""

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def global_rank(self) -> int:
        return torch.distributed.get_rank()

    def local_rank(self) -> int:
        return torch.distributed.get_rank()

    def world_size(self) -> int:
        return 2

    def set_global_rank(self, rank: int) -> None:
        pass

    def set_world_size(self, size: int) -> None:
        pass

    def teardown(self) -> None:
        pass


class _JoinedDDP(DDPStrategy):
    """DDP in a process group that outlives the trainer."""

    def teardown(self) -> None:
        pass


def _strategy(processes: int) -> Any:
    if processes == 1:
        return "auto"
    return _JoinedDDP(cluster_environment=_InThePair(), process_group_backend="gloo")


@pytest.mark.parametrize(
    ("name", "sorted_rows", "precision"),
    [("drfuse", False, "32"), ("drfuse", True, "32"), ("medfuse", True, "32"), ("drfuse", True, "bf16-mixed")],
)
def test_two_processes_learn_what_one_learns(
    name: str, sorted_rows: bool, precision: str, mini_store: Path, tmp_path: Path
) -> None:
    arguments = (name, str(mini_store), sorted_rows, precision)
    first, second = pair().run(trained, [(*arguments, 2, str(tmp_path)), (*arguments, 2, str(tmp_path))])
    alone = trained(*arguments, 1, str(tmp_path))
    assert [a + b for a, b in zip(first["paired"], second["paired"], strict=True)] == alone["paired"]
    assert len(alone["paired"]) == STEPS and (not sorted_rows or second["paired"] == [0] * STEPS)
    exact = precision == "32"
    tolerance = {"rel": 1e-5, "abs": 1e-6} if exact else {"rel": 0.02, "abs": 1e-3}
    mean = np.mean([first["losses"], second["losses"]], axis=0)
    assert mean == pytest.approx(alone["losses"], **tolerance)
    for key, value in alone["weights"].items():
        assert np.array_equal(first["weights"][key], second["weights"][key]), key
        np.testing.assert_allclose(first["weights"][key], value, atol=1e-6 if exact else 4e-3, err_msg=key)
    assert first["metrics"] == pytest.approx(second["metrics"], nan_ok=True)
    shared = {key for key in alone["metrics"] if exact or "loss" in key}
    assert {"val/loss", "test/auroc", "test/auprc", "train/loss"} <= shared or not exact
    for key in shared:
        assert first["metrics"][key] == pytest.approx(alone["metrics"][key], nan_ok=True, **tolerance), key
