"""DrFuse on a prepared store, killed in the middle of its second epoch and resumed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
import torch

from cardiozoo.cli import main

SMALL = (
    "--recipe none --evaluate false --save_every_n_steps 2 --trainer.max_epochs 2 --trainer.accelerator cpu "
    "--trainer.log_every_n_steps 1 --model.hidden_size 8 --model.num_heads 2 --model.feedforward 16 "
    "--model.backbone resnet18 --model.image_width 4 --data.window 48h --data.image_size 32 --data.batch_size 4 "
    "--data.num_workers 0 --data.crop random --data.cxr_dropout 0.3 --seed_everything 5"
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As many threads here as in the processes the test starts: sums over threads depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_killed_drfuse_ends_as_one_that_was_not(
    mini_store: Path, cardiozoo: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Bitwise: dropout, augmentation, BatchNorm statistics, Adam's moments and the order of samples are taken up."""
    fit = ["fit", "--model", "drfuse", "--data", "mimic_cxr_ehr", "--data.store", str(mini_store), *SMALL.split()]
    kill = ["--trainer.callbacks+=tiny_zoo.kill.KillAtStep", "--trainer.callbacks.step=9"]
    assert main([*fit, "--run_dir", "whole"]) == 0
    killed = cardiozoo(*fit, *kill, "--run_dir", "cut")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    Path("cured").touch()
    assert main(["fit", "--resume", "cut"]) == 0
    states, curves = [], []
    for run in (tmp_path / "whole", tmp_path / "cut"):
        states.append(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])
        log = pl.read_csv(run / "logs" / "metrics.csv", infer_schema_length=None).drop_nulls("train/loss_step")
        curves.append(log.select("step", "train/loss_step").rows())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    # the same seed gives the same losses, in another process and across the kill
    assert curves[0] == curves[1] and [step for step, _ in curves[0]] == list(range(12))
