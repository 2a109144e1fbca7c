"""What only a process of its own shows: a kill, an interrupt, two devices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import torch

from cardiozoo.cli import main

PAIR = ["--model", "tiny-net", "--data", "tiny_data", "--trainer.accelerator", "cpu"]
Run = Callable[..., subprocess.CompletedProcess[str]]


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def logged(run: Path) -> list[tuple[int, float]]:
    table = pl.read_csv(run / "logs" / "metrics.csv").drop_nulls("val/auroc")
    return list(zip(table["step"].to_list(), table["val/auroc"].to_list(), strict=True))


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(cardiozoo: Run, tmp_path: Path) -> None:
    """Dropout draws random numbers, a plateau schedule halves the rate, the order changes with each epoch."""
    options = [*PAIR, "--evaluate", "false", "--save_every_n_steps", "3"]
    assert main(["fit", *options, "--trainer.max_epochs", "5", "--run_dir", "whole"]) == 0
    # stopped within an epoch, by a kill, and between two, where Lightning restores less
    killed = cardiozoo("fit", *options, "--trainer.max_epochs", "5", "--run_dir", "cut", "--model.kill_at_step", "10")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert json.loads((tmp_path / "cut" / "run.json").read_text())["status"] == "running"
    Path("cured").touch()
    assert main(["fit", "--resume", "cut"]) == 0
    assert main(["fit", *options, "--trainer.max_epochs", "2", "--run_dir", "ended"]) == 0
    assert main(["fit", "--resume", "ended", "--trainer.max_epochs", "5"]) == 0
    whole = tmp_path / "whole"
    for resumed in (tmp_path / "cut", tmp_path / "ended"):
        for name in ("last", "best"):
            assert all(torch.equal(value, weights(resumed, name)[key]) for key, value in weights(whole, name).items())
        assert logged(resumed) == logged(whole) and len(logged(resumed)) == 5
        facts = json.loads((resumed / "run.json").read_text())
        assert facts["status"] == "completed" and len(facts["resumed"]) == 1 and facts["steps"] == 20


def test_an_interrupt_is_recorded_and_has_its_exit_code(environment: dict[str, str], tmp_path: Path) -> None:
    options = [*PAIR, "--trainer.max_epochs", "100000", "--patience", "0", "--run_dir", "stopped"]
    command = [sys.executable, "-m", "cardiozoo", "fit", *options]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch"):
            os.kill(process.pid, signal.SIGINT)
            break
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 130 and "Traceback" not in said
    assert json.loads((tmp_path / "stopped" / "run.json").read_text())["status"] == "interrupted"


def test_two_processes_train_and_write_one_predictions_table(cardiozoo: Run, tmp_path: Path) -> None:
    done = cardiozoo("fit", *PAIR, "--trainer.devices", "2", "--n_bootstrap", "5", "--trainer.max_epochs", "1")
    assert done.returncode == 0, done.stderr
    runs = list((tmp_path / "runs" / "tiny-net" / "tiny_data").iterdir())
    assert len(runs) == 1  # one folder, whichever process asked
    table = pl.read_parquet(runs[0] / "predictions.parquet")
    assert table["id"].to_list() == [f"test{row:03d}" for row in range(23)]
    assert not list(runs[0].glob(".predictions*"))
    facts = json.loads((runs[0] / "run.json").read_text())
    assert facts["status"] == "completed" and facts["devices"] == 2 and facts["strategy"] == "DDPStrategy"
    assert done.stdout.count("Report: ") == 1 and (runs[0] / "report.html").is_file()
