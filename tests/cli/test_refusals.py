"""What models, data modules and checkpoints refuse reaches the user in their own words, not as a parser's trace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from cardiozoo.cli import main

PAIR = ["--model", "ehr_lstm", "--data", "mimic_cxr_ehr"]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (["--data.batch_size", "0"], "OptionError", "batch_size is 0"),
        (["--data.fold", "2"], "OptionError", "folds is not given"),
        (["--data.store", "nowhere"], "StoreError", "There is no store at nowhere"),
        (["--data.store", "."], "StoreError", "it is no cardiozoo store"),
        (["--model.hidden_size", "0"], "OptionError", "hidden_size must be greater than zero"),
        (["--model.dropout", "3"], "OptionError", "between 0 and 1"),
    ],
)
def test_a_component_that_refuses_its_options(
    options: list[str],
    error: str,
    said: str,
    mini_store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *PAIR, "--data.store", str(mini_store), *options, "--run_dir", "run"]) == 2
    shown = capsys.readouterr().err
    found = re.search(rf"cardiozoo: {error}: (.+)\n(.+)\n(.+)\n$", shown)
    assert found and said in found.group(1), shown
    assert not (tmp_path / "run").exists()


def test_a_trainer_that_refuses_its_options(
    mini_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *PAIR, "--data.store", str(mini_store), "--trainer.max_epochs", "-5"]) == 2
    assert (
        "OptionError: The model, the data or the trainer refuse their options: `max_epochs`" in capsys.readouterr().err
    )


@pytest.mark.parametrize("content", [{"a": 1}, {"state_dict": {"weight": torch.ones(2)}}])
def test_a_foreign_checkpoint(
    content: dict, mini_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, "foreign.ckpt")
    assert main(["test", *PAIR, "--data.store", str(mini_store), "--ckpt_path", "foreign.ckpt"]) == 2
    assert "CheckpointError: foreign.ckpt holds no weights" in capsys.readouterr().err
