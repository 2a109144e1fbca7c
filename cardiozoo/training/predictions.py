"""Writes the records that models return as one predictions table, from however many processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from cardiozoo.data.batch import Record
from cardiozoo.errors import PredictionsError

SPLITS = {"validate": "val", "test": "test"}


def table(records: list[Record], split: str) -> pl.DataFrame:
    """One row a sample: ``id``, ``patient``, ``split``, ``group/``, ``present/``, ``target/``, ``score/``, ``extra/``.

    Raises:
        PredictionsError: a record lacks a required entry, or its columns differ in length.
    """
    frames = [_rows(record, split) for record in records]
    return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()


def _rows(record: Record, split: str) -> pl.DataFrame:
    lacking = [key for key in ("id", "class_names", "score", "target") if key not in record]
    if lacking:
        raise PredictionsError(
            f"The model's step returned a record without {', '.join(lacking)}.",
            "A cardiozoo.data.batch.Record from validation_step, test_step and predict_step.",
            "cardiozoo.testing.check_model tells what else a model needs.",
        )
    names = list(record["class_names"])
    columns: dict[str, Any] = {"id": list(record["id"])}
    if "patient" in record:
        columns["patient"] = list(record["patient"])
    columns["split"] = [split] * len(columns["id"])
    columns |= {f"group/{key}": _column(value) for key, value in record.get("groups", {}).items()}
    columns |= {f"present/{key}": _column(value) for key, value in record.get("present", {}).items()}
    columns |= _by_class("target", record["target"], names)
    columns |= _by_class("score", record["score"], names)
    for key, value in record.get("extra", {}).items():
        columns |= _by_class(f"extra/{key}", value, names) if value.ndim > 1 else {f"extra/{key}": _column(value)}
    lengths = {name: len(column) for name, column in columns.items()}
    if set(lengths.values()) != {lengths["id"]}:
        raise PredictionsError(
            f"The columns of a record differ in length: {lengths}.",
            "One entry a sample in each.",
            "The model's predict_step makes the record; cardiozoo.testing.check_model checks it.",
        )
    return pl.DataFrame(columns)


def _column(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return list(value)
    value = value.detach().cpu()
    return (value.float() if value.is_floating_point() else value).numpy()


def _by_class(kind: str, values: torch.Tensor, names: list[str]) -> dict[str, np.ndarray]:
    matrix = values.detach().float().cpu().numpy()
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    labels = names if matrix.shape[1] == len(names) else [str(i) for i in range(matrix.shape[1])]
    if kind in ("target", "score") and labels is not names:
        raise PredictionsError(
            f"{kind} has {matrix.shape[1]} columns for {len(names)} class names.",
            "One a class.",
            "The model's predict_step makes the record; cardiozoo.testing.check_model checks it.",
        )
    return {f"{kind}/{label}": matrix[:, i] for i, label in enumerate(labels)}


class PredictionWriter(Callback):
    """Collects the records of ``validate``, ``test`` and ``predict`` and writes ``predictions[.<split>].parquet``.

    Every process writes the part it saw; the first one joins them, drops the samples that came twice, and sorts by id,
    so that the file does not depend on the number of processes.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: Path | None = None
        self._records: list[Record] = []

    def on_validation_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, *_: Any) -> None:
        if trainer.state.fn == "validate":
            self._take(outputs)

    def on_test_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, *_: Any) -> None:
        self._take(outputs)

    def on_predict_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, *_: Any) -> None:
        self._take(outputs)

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._write(trainer, "val")

    def on_test_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._write(trainer, "test")

    def on_predict_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._write(trainer, str(getattr(trainer.datamodule, "predict_split", "predict")))

    def _take(self, outputs: Any) -> None:
        if not isinstance(outputs, dict):
            raise PredictionsError(
                f"The model's step returned {type(outputs).__name__}, not a record.",
                "A cardiozoo.data.batch.Record from validation_step, test_step and predict_step.",
                "cardiozoo.testing.check_model tells what else a model needs.",
            )
        # Rows are kept as numbers on the host: a device's memory is for the model.
        self._records.append(_on_host(outputs))

    def _write(self, trainer: Trainer, split: str) -> None:
        part = self.folder / f".predictions.{split}.{trainer.global_rank}.parquet"
        table(self._records, split).write_parquet(part)
        self._records = []
        trainer.strategy.barrier("predictions")
        name = "predictions.parquet" if trainer.state.fn == "test" else f"predictions.{split}.parquet"
        self.written = self.folder / name
        if trainer.is_global_zero:
            parts = [part.with_name(f".predictions.{split}.{rank}.parquet") for rank in range(trainer.world_size)]
            frames = [frame for frame in map(pl.read_parquet, parts) if frame.height]
            if not frames:
                raise PredictionsError(
                    f"The split {split!r} holds no samples.",
                    "A split with samples.",
                    "Choose a split that is there: cardiozoo predict --run RUN --data.predict_split train",
                )
            joined = pl.concat(frames, how="diagonal_relaxed").unique("id", keep="first").sort("id")
            partial = self.written.with_name(name + ".partial")
            joined.write_parquet(partial)
            partial.replace(self.written)
            for path in parts:
                path.unlink()
        trainer.strategy.barrier("predictions written")


def _on_host(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _on_host(part) for key, part in value.items()}
    return value
