"""Random number generators, whole checkpoint files and the log of a resumed run, each by itself."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from cardiozoo.errors import CheckpointError, OptionError
from cardiozoo.training.checkpoints import check_linked, read_hyperparameters
from cardiozoo.training.logs import join, set_aside
from cardiozoo.training.resume import WholeFiles, rng_state, set_rng_state
from cardiozoo.training.run_folder import choose_run_folder


def draws() -> list[float]:
    return [random.gauss(0, 1), float(np.random.normal()), float(torch.randn(())), random.random()]


def test_generators_survive_a_checkpoint_of_plain_types(tmp_path: Path) -> None:
    draws()
    random.gauss(0, 1)  # leaves the second of a pair in the state
    torch.save(rng_state(), tmp_path / "rng.pt")
    expected = [draws() for _ in range(3)]
    set_rng_state(torch.load(tmp_path / "rng.pt", weights_only=True))
    assert [draws() for _ in range(3)] == expected


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "last.ckpt"
    WholeFiles().save_checkpoint({"a": torch.ones(2)}, path)

    def cut(content, file) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", cut)
    with pytest.raises(OSError, match="disk full"):
        WholeFiles().save_checkpoint({"a": torch.zeros(2)}, path)
    assert torch.equal(torch.load(path, weights_only=True)["a"], torch.ones(2))


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_the_log_of_a_resumed_run_is_one_file_without_the_steps_done_again(tmp_path: Path) -> None:
    write(tmp_path / "metrics.csv", [{"step": str(step), "loss": f"0.{step}"} for step in (3, 7, 9)])
    set_aside(tmp_path, step=8)
    assert not (tmp_path / "metrics.csv").exists()
    set_aside(tmp_path, step=8)  # killed again before anything was logged
    write(tmp_path / "metrics.csv", [{"step": "9", "auroc": "0.5"}])
    join(tmp_path)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["3", "7", "9"] and rows[2] == {"step": "9", "loss": "", "auroc": "0.5"}
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize("content", [b"not a checkpoint", None, {"weights": 1}])
def test_what_is_no_checkpoint_is_said_so(content: object, tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save({"a": Path("x"), "state_dict": {}} if content is None else content, path)
    with pytest.raises(CheckpointError, match=r"x\.ckpt"):
        read_hyperparameters(path)


def test_what_the_data_decided_then_is_compared_with_now() -> None:
    trained = {"num_classes": 2, "class_names": ["a", "b"], "monitor": "val/auroc"}
    check_linked(Path("x"), trained, {"class_names": ("a", "b"), "num_classes": 2, "monitor": "val/loss", "other": 1})
    with pytest.raises(CheckpointError, match="class_names"):
        check_linked(Path("x"), trained, {"class_names": ["a", "c"]})


def test_run_folders_are_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDIOZOO_RUN_DIR", "")
    first, second = (choose_run_folder(tmp_path, "net", "data", "fit", None) for _ in range(2))
    assert first != second and first.is_dir() and second.is_dir() and first.parent == tmp_path / "net" / "data"
    (first / "run.json").touch()
    with pytest.raises(OptionError, match="is not empty"):
        choose_run_folder(tmp_path, "net", "data", "fit", first)
    monkeypatch.setenv("LOCAL_RANK", "1")  # a process that the first one started
    assert choose_run_folder(tmp_path, "net", "data", "fit", None) == second


def test_processes_started_from_outside_must_agree_on_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDIOZOO_RUN_DIR", "")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.delenv("CARDIOZOO_RUN_DIR")
    assert choose_run_folder(tmp_path, "net", "data", "fit", None) == tmp_path / "net" / "data" / "slurm-77"
    monkeypatch.delenv("SLURM_NTASKS")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(OptionError, match="--run_dir"):
        choose_run_folder(tmp_path, "net", "data", "fit", None)
