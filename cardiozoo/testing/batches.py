"""Random batches that keep the batch contract, for tests of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cardiozoo.data.batch import Batch, step_mask
from cardiozoo.data.tasks import TaskKind

#: Shape of one sample a modality: enough for the smallest presets.
SHAPES: dict[str, tuple[int, ...]] = {
    "ehr": (12, 76),
    "cxr": (3, 64, 64),
    "ecg": (12, 1000),
    "mri": (8, 64, 64),
}


def make_batch(
    modalities: Sequence[str],
    size: int = 6,
    num_classes: int = 3,
    task_kind: TaskKind = "multilabel",
    present: Mapping[str, Sequence[bool]] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    seed: int = 0,
) -> Batch:
    """A random batch.

    Args:
        modalities: Keys of the batch: ``ehr``, ``cxr``, ``ecg``, ``mri``, or any other with its shape in ``shapes``.
        size: Samples.
        num_classes: Columns of the target.
        task_kind: Kind of the target; ``unsupervised`` has none.
        present: Which rows have a modality; all of them where it is not named.
        shapes: Shape of one sample a modality, over ``SHAPES``; ``ehr`` is (steps, channels).
        seed: The same seed gives the same batch.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = {**SHAPES, **(shapes or {})}
    batch: dict[str, Any] = {
        "id": [f"sample-{seed}-{i}" for i in range(size)],
        "patient": [f"patient-{seed}-{i}" for i in range(size)],
        "present": {},
        "groups": {"age": torch.linspace(20.0, 90.0, size), "sex": ["F" if i % 2 else "M" for i in range(size)]},
    }
    if task_kind != "unsupervised":
        batch["target"] = _target(task_kind, size, num_classes, generator)
    for modality in modalities:
        mask = torch.tensor((present or {}).get(modality, [True] * size))
        values = torch.randn(size, *shapes[modality], generator=generator)
        if modality == "ehr":
            steps = shapes["ehr"][0]
            lengths = torch.randint(1, steps + 1, (size,), generator=generator)
            lengths[0] = steps
            batch["ehr_lengths"] = lengths
            values = torch.where(step_mask(lengths, steps)[..., None], values, 0)
        if modality == "ecg":
            leads = torch.rand(size, shapes["ecg"][0], generator=generator) < 0.8
            leads[0], leads[:, 1] = True, True
            batch["ecg_leads"] = leads & mask[:, None]
            values = torch.where(leads[..., None], values, 0)
        batch[modality] = torch.where(mask.view(-1, *[1] * (values.dim() - 1)), values, 0)
        batch["present"][modality] = mask
    return batch  # type: ignore[return-value]


def _target(kind: TaskKind, size: int, num_classes: int, generator: torch.Generator) -> Tensor:
    if kind == "multiclass":
        return torch.randint(0, num_classes, (size,), generator=generator)
    if kind == "regression":
        return 10 + 5 * torch.randn(size, num_classes, generator=generator)
    # Both labels in every class, so that rankings are defined.
    target = torch.randint(0, 2, (size, num_classes), generator=generator).float()
    if size > 1:
        target[0], target[1] = 0.0, 1.0
    return target


def select(batch: Batch, rows: Sequence[int]) -> Batch:
    """The given rows of a batch, in that order."""

    def pick(value: Any) -> Any:
        match value:
            case Tensor():
                return value[torch.as_tensor(rows)]
            case dict():
                return {name: pick(part) for name, part in value.items()}
        return [value[i] for i in rows]

    return pick(dict(batch))


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Several batches as one; all must have the same modalities and the same padded length."""

    def join(parts: list[Any]) -> Any:
        match parts[0]:
            case Tensor():
                return torch.cat(parts)
            case dict():
                return {name: join([part[name] for part in parts]) for name in parts[0]}
        return [value for part in parts for value in part]

    return join([dict(batch) for batch in batches])


def spoil_masked(batch: Batch, filler: float = float("nan")) -> Batch:
    """A copy whose masked entries (absent rows, padded steps, absent leads) hold ``filler``."""
    spoiled: dict[str, Any] = dict(batch)
    for modality, mask in batch["present"].items():
        values: Tensor = spoiled[modality]
        spoiled[modality] = torch.where(mask.view(-1, *[1] * (values.dim() - 1)), values, filler)
    if "ehr" in spoiled:
        valid = step_mask(batch["ehr_lengths"], spoiled["ehr"].shape[1])
        spoiled["ehr"] = torch.where(valid[..., None], spoiled["ehr"], filler)
    if "ecg_leads" in spoiled:
        spoiled["ecg"] = torch.where(batch["ecg_leads"][..., None], spoiled["ecg"], filler)
    return spoiled  # type: ignore[return-value]
