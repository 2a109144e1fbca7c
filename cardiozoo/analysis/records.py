"""Which records are explained: by their ids, or a random part of a split."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cardiozoo.errors import OptionError

SPLITS = ("test", "val", "train")


def records_by_id(data: Any, ids: Sequence[str], split: str | None = None) -> tuple[dict[str, Any], list[str]]:
    """The named records as one batch, in the order given, and the split of each.

    Args:
        data: A data module.
        ids: Ids of records.
        split: Where to look; in every split if None.

    Raises:
        OptionError: An id that is not there, or that comes twice.
    """
    twice = sorted({name for name in ids if list(ids).count(name) > 1})
    if twice:
        raise OptionError(f"The sample {twice[0]} twice.", "Every sample once.", "Leave one of them out.")
    found: dict[str, tuple[dict[str, Any], str]] = {}
    known: list[str] = []
    for name in (split,) if split else SPLITS:
        if not _size(data, name):
            continue
        own = split_ids(data, name)
        known += own
        wanted = [own.index(one) for one in ids if one in set(own) and one not in found]
        if wanted:
            part = read_rows(data, name, wanted)
            for row, one in enumerate(part["id"]):
                found[one] = (rows_of(part, [row]), name)
    lacking = [name for name in ids if name not in found]
    if lacking:
        close = difflib.get_close_matches(lacking[0], known, n=3, cutoff=0.6)
        raise OptionError(
            f"There is no sample {lacking[0]!r} in {f'the {split} split' if split else 'any split'} of the run's data.",
            f"Ids of its {len(known)} samples, as in the column `id` of predictions.parquet.",
            f"Did you mean {', '.join(close)}?" if close else "--cohort N takes a random part of a split.",
        )
    return concatenate([found[name][0] for name in ids]), [found[name][1] for name in ids]


def random_records(data: Any, count: int, split: str = "test", seed: int = 0) -> dict[str, Any]:
    """So many records of a split, or all that it has, chosen by the seed and in the order of the split.

    Raises:
        OptionError: A count below 1, or an empty split.
    """
    if count < 1:
        raise OptionError(f"A cohort of {count}.", "At least 1 record.", "200 give narrow intervals.")
    size = _size(data, split)
    if not size:
        sizes = ", ".join(f"{_size(data, name)} {name}" for name in SPLITS)
        raise OptionError(f"The {split} split has no sample.", f"A split with samples: {sizes}.", "--split chooses.")
    chosen = np.sort(np.random.default_rng(seed).permutation(size)[:count])
    return read_rows(data, split, chosen.tolist())


def usual_split(data: Any) -> str:
    """The split that is explained where none is chosen: test, or val where the data have no other, as `fit` judges."""
    return "val" if not _size(data, "test") and _size(data, "val") else "test"


def split_ids(data: Any, split: str) -> list[str]:
    """Ids of a split, without reading a signal where the data module can tell."""
    if hasattr(data, "samples") and hasattr(data, "records"):
        samples = data.samples
        return data.records["id"][samples.row[samples.rows_of(split)].tolist()].to_list()
    return [name for batch in _loader(data, split) for name in batch["id"]]


def read_rows(data: Any, split: str, rows: list[int]) -> dict[str, Any]:
    """Rows of a split as one batch, in that order."""
    loader = _loader(data, split)
    source = getattr(loader, "dataset", None)
    size = max(int(getattr(loader, "batch_size", None) or 32), 1)
    if hasattr(source, "__getitems__") and hasattr(data, "samples"):
        chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
        return concatenate([source.__getitems__([(0, row) for row in chunk]) for chunk in chunks])
    kept, first = {}, 0
    for batch in loader:
        for row in set(rows) & set(range(first, first + len(batch["id"]))):
            kept[row] = rows_of(batch, [row - first])
        first += len(batch["id"])
    return concatenate([kept[row] for row in rows])


def rows_of(batch: Mapping[str, Any], rows: Sequence[int]) -> dict[str, Any]:
    """Some rows of a batch, in that order."""

    def pick(value: Any) -> Any:
        match value:
            case Tensor():
                return value[torch.as_tensor(rows, device=value.device)]
            case dict():
                return {key: pick(part) for key, part in value.items()}
        return [value[i] for i in rows]

    return {key: pick(value) for key, value in batch.items()}


def concatenate(batches: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several batches as one."""

    def join(parts: list[Any]) -> Any:
        match parts[0]:
            case Tensor():
                return torch.cat(parts)
            case dict():
                return {name: join([part[name] for part in parts]) for name in parts[0]}
        return [value for part in parts for value in part]

    return join([dict(batch) for batch in batches])


def on_device(value: Any, device: torch.device | str) -> Any:
    """A batch on another device."""
    match value:
        case Tensor():
            return value.to(device)
        case dict():
            return {key: on_device(part, device) for key, part in value.items()}
    return value


def _loader(data: Any, split: str) -> Any:
    if hasattr(data, "evaluation_dataloader"):
        return data.evaluation_dataloader(split)
    return getattr(data, f"{split}_dataloader")()


def _size(data: Any, split: str) -> int:
    if hasattr(data, "samples") and hasattr(data.samples, "rows_of"):
        return len(data.samples.rows_of(split))
    return sum(len(batch["id"]) for batch in _loader(data, split) or [])
