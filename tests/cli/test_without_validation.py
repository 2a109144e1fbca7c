"""Training without targets, without a validation split, without a test split."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import torch

from cardiozoo.cli import main

MODEL = ["--model", "tiny_zoo.unlabelled.TinyAutoencoder", "--data", "tiny_zoo.unlabelled.TinyUnlabelled"]
QUICK = ["--n_bootstrap", "5", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "2"]


def record(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())


def test_a_run_without_targets_is_judged_by_what_the_model_says_of_each_sample(tmp_path: Path, capsys) -> None:
    assert main(["fit", *MODEL, *QUICK, "--run_dir", "whole"]) == 0
    assert "mse/first" in capsys.readouterr().out
    run = tmp_path / "whole"
    table = pl.read_parquet(run / "predictions.parquet")
    assert not [c for c in table.columns if c.startswith(("score/", "target/"))]
    metrics = {row["metric"]: row for row in json.loads((run / "evaluation/metrics.json").read_text())["rows"]}
    assert metrics["mse/last"]["value"] == pytest.approx(table["extra/mse/last"].mean())
    assert record(run)["checkpoint"]["best"] == "checkpoints/best.ckpt"
    assert "AUROC" not in (run / "report.html").read_text()
    for command in (["test"], ["validate"], ["predict", "--data.predict_split", "val"]):
        assert main([*command, "--run", "whole", *QUICK[:4], "--run_dir", f"again-{command[0]}"]) == 0
    assert main(["evaluate", "whole", "--bootstrap", "5", "--no-report", "--json"]) == 0


def test_without_a_validation_split_the_last_checkpoint_counts_and_it_is_said(tmp_path: Path, capsys) -> None:
    assert main(["fit", *MODEL, "--data.absent", "val", *QUICK, "--run_dir", "blind"]) == 0
    error = capsys.readouterr().err
    assert "no validation split" in error and "train/loss" in error and "epoch   2/2" in error
    run = tmp_path / "blind"
    facts = record(run)
    assert (facts["task"]["monitor"], facts["checkpoint"]["best"]) == (None, None)
    assert facts["checkpoint"]["judged"] == "checkpoints/last.ckpt" and facts["epochs"] == 2
    assert any("no validation split" in line for line in facts["deviations"])
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    assert main(["validate", "--run", "blind", *QUICK[2:4], "--run_dir", "asked"]) == 2  # and not nothing, in silence
    assert "no validation split" in capsys.readouterr().err and record(tmp_path / "asked")["status"] == "failed"
    weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert weights["epoch"] == 1
    assert main(["test", "--run", "blind", *QUICK[:4], "--run_dir", "later"]) == 0
    a, b = (pl.read_parquet(tmp_path / name / "predictions.parquet")["extra/loss"] for name in ("blind", "later"))
    assert (a - b).abs().max() < 1e-6


def test_without_a_test_split_the_validation_split_is_judged_and_it_is_said(tmp_path: Path, capsys) -> None:
    assert main(["fit", *MODEL, "--data.absent", "test", *QUICK, "--run_dir", "own"]) == 0
    assert "validation split is judged" in capsys.readouterr().err
    run = tmp_path / "own"
    assert (run / "report.val.html").is_file() and not (run / "predictions.parquet").exists()
    assert pl.read_parquet(run / "predictions.val.parquet").height == 21
    assert (run / "evaluation" / "val" / "metrics.csv").is_file()


def test_validation_switched_off_is_no_validation(tmp_path: Path) -> None:
    assert main(["fit", *MODEL, *QUICK, "--trainer.limit_val_batches", "0", "--run_dir", "off"]) == 0
    facts = record(tmp_path / "off")
    assert facts["checkpoint"]["judged"] == "checkpoints/last.ckpt" and facts["status"] == "completed"
