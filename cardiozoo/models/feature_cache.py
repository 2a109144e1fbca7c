"""Embeddings of a frozen encoder, computed once for all splits and kept on disk.

A frozen encoder gives the same vector for the same record in every epoch, every fold and every run. What is kept is
found again by everything that decides the numbers: the encoder's weights, the store, what the data module does to the
signals, the records themselves, the precision. Only the first process touches the disk; the others are told.
"""

from __future__ import annotations

import contextlib
import os
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, Trainer
from rich.console import Console
from rich.progress import track
from torch import Tensor

from cardiozoo.data.batch import Batch
from cardiozoo.models.data_facts import data_facts
from cardiozoo.models.encoders import fingerprint
from cardiozoo.nn.distributed import world_size

Features = dict[str, np.ndarray]
SPLITS = ("train", "val", "test")


def can_attach(data: Any) -> bool:
    """Whether a data module takes features in place of signals, and gives the same signals in every epoch."""
    return hasattr(data, "attach_features") and getattr(data, "window", None) is None


def cache_file(data: LightningDataModule, encoder: Mapping[str, Any], trainer: Trainer) -> Path | None:
    """Where the features of these samples are kept; None for a data module that does not say what it reads.

    Args:
        data: The data module, after its ``setup``.
        encoder: What decides the encoder's numbers: weights, representation, leads.
        trainer: Its precision and device decide the rounding.
    """
    manifest, ids = getattr(data, "manifest_sha256", None), getattr(data, "sample_ids", None)
    if manifest is None or ids is None:
        return None
    scale = getattr(data, "scale", None)
    options = {**data_facts(data), "scale": None if scale is None else scale.to_json()}
    rounding = {"precision": str(trainer.precision), "device": trainer.strategy.root_device.type}
    key = {"encoder": encoder, "store": manifest, "options": options, "ids": sorted(ids), **rounding}
    return _cache_folder() / "features" / f"{fingerprint(key)}.npz"


def features_of(
    data: Any, trainer: Trainer, embed: Callable[[Batch], Tensor], width: int, file: Path | None
) -> Features:
    """The features of every sample of every split, from ``file`` or computed and written there; alike in all processes.

    Args:
        data: The data module, after its ``setup``.
        trainer: The trainer that is about to begin.
        embed: Batch -> (B, width), the batch being on the host.
        width: Width of a vector.
        file: Where they are kept, or None.
    """
    found = read_features(file, width) if file is not None and trainer.is_global_zero else None
    found = trainer.strategy.broadcast(found)
    if found is None:
        # Drawing nothing from the generators of the training: its dropout is the same with and without a cache.
        with torch.random.fork_rng(_devices(trainer)):
            found = _gathered(_compute(_loaders(data), embed))
        if file is not None and trainer.is_global_zero:
            write_features(file, found)
    return found


def read_features(file: Path, width: int) -> Features | None:
    """What a cache file holds; None if there is none, or if it is damaged, which is said and repaired by computing."""
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as content:
            ids, vectors = content["ids"], content["vectors"]
        good = vectors.shape == (len(ids), width) and vectors.dtype == np.float32 and len(set(ids.tolist())) == len(ids)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        good = False
    if not good:
        print(f"cardiozoo: {file} is damaged; the features are computed again", file=sys.stderr)
        return None
    return dict(zip(ids.tolist(), vectors, strict=True))


def write_features(file: Path, features: Features) -> None:
    """Write a cache file, whole or not at all; a disk that is full or read-only costs the cache, not the run."""
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            np.savez(stream, ids=np.array(list(features)), vectors=np.stack(list(features.values())))
        os.replace(partial, file)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        print(f"cardiozoo: the features cannot be kept in {file.parent}: {error}", file=sys.stderr)


def _loaders(data: Any) -> list[Iterable[Batch]]:
    # The training split as it is evaluated: in order, all of it.
    return [data.evaluation_dataloader("train"), data.val_dataloader(), data.test_dataloader()]


def _compute(loaders: list[Iterable[Batch]], embed: Callable[[Batch], Tensor]) -> Features:
    found: Features = {}
    console = Console(stderr=True)
    for split, loader in zip(SPLITS, loaders, strict=True):
        words = f"Embedding the {split} split once"
        for batch in track(loader, words, console=console, disable=not sys.stderr.isatty(), transient=True):
            vectors = embed(batch).float().cpu().numpy()
            found.update(zip(batch["id"], vectors, strict=True))
    return found


def _devices(trainer: Trainer) -> list[torch.device]:
    device = trainer.strategy.root_device
    return [device] if device.type == "cuda" else []


def _gathered(own: Features) -> Features:
    """Each process has embedded its share of the samples; now all have all of them."""
    if world_size() == 1:
        return own
    parts: list[Features] = [{} for _ in range(world_size())]
    torch.distributed.all_gather_object(parts, own)
    return {name: vector for part in parts for name, vector in part.items()}


def _cache_folder() -> Path:
    """Where cardiozoo keeps what it can make again: ``CARDIOZOO_CACHE``, else in the user's cache folder."""
    if chosen := os.environ.get("CARDIOZOO_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cardiozoo"
