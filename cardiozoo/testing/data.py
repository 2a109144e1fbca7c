"""The contract of a data module, one function a rule."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from cardiozoo.data.batch import step_mask
from cardiozoo.data.tasks import DataSpec
from cardiozoo.testing.subject import Check, locate

SPLITS = ("train", "val", "test")
#: Batches of a loader that are looked at where not all of them are needed.
FEW = 4


@dataclass
class DataSubject:
    """A data module under test: how to build a fresh one, and batches that were read already."""

    cls: type[LightningDataModule]
    card: Mapping[str, Any]
    init: dict[str, Any] = field(default_factory=dict)
    _batches: dict[str, list[Any]] = field(default_factory=dict)

    def build(self) -> Any:
        """A fresh instance, made ready for every split."""
        module = self.cls(**{**self.card.get("tiny", {}), **self.init})
        module.prepare_data()
        for stage in ("fit", "test"):
            module.setup(stage)
        return module

    def batches(self, split: str) -> list[Any]:
        """All batches of a split, read once; none of a validation or test split that the data do not have."""
        if split not in self._batches:
            self._batches[split] = list(loader(self.build(), split))
        return self._batches[split]


def loader(module: Any, split: str) -> Any:
    """The loader of a split."""
    return getattr(module, f"{split}_dataloader")()


def datamodule_checks(name_or_class: str | type, **init: Any) -> list[Check]:
    """The checks of a data module, for ``pytest.mark.parametrize("check", datamodule_checks(...), ids=str)``.

    Args:
        name_or_class: Registered name, class path or class.
        **init: Arguments of ``__init__`` over the card's ``tiny``, ``store`` for one.
    """
    cls, card = locate(name_or_class, "data")
    subject = DataSubject(cls, card, init)
    return [Check(function.__name__.removeprefix("check_"), partial(function, subject)) for function in CHECKS]


def check_datamodule(name_or_class: str | type, **init: Any) -> None:
    """Run every check of the contract on a data module; arguments as for ``datamodule_checks``.

    Raises:
        AssertionError: A rule is broken; the message names the rule.
    """
    for check in datamodule_checks(name_or_class, **init):
        try:
            check()
        except AssertionError as error:
            raise AssertionError(f"{check}: {error}") from error


def check_specification(subject: DataSubject) -> None:
    """What a model is told of the data is there right after ``__init__`` and agrees with itself."""
    module: Any = subject.cls(**{**subject.card.get("tiny", {}), **subject.init})
    spec = module.spec
    assert isinstance(spec, DataSpec), f"spec is a {type(spec).__name__}, expected a DataSpec"
    facts = {
        "num_classes": spec.task.num_classes,
        "class_names": list(spec.task.classes),
        "task_kind": spec.task.kind,
        "monitor": spec.task.monitor,
        "monitor_mode": spec.task.mode,
        "synthetic": spec.synthetic,
    }
    for name, expected in facts.items():
        assert getattr(module, name) == expected, f"{name} is {getattr(module, name)!r}, the spec says {expected!r}"
    assert set(spec.modalities) == set(spec.shapes), "the spec's shapes are not those of its modalities"


def check_batches(subject: DataSubject) -> None:
    """Keys, shapes, types and fill values of the batches of every split.

    A data module without a validation or test split says so by an empty list in place of a loader.
    """
    module = subject.build()
    spec = module.spec
    for split in SPLITS:
        without = split != "train" and isinstance(loader(module, split), list)
        assert subject.batches(split) or without, f"the {split} split has no batch"
        for batch in subject.batches(split):
            _check_batch(batch, spec, split)


def check_targets(subject: DataSubject) -> None:
    """Targets have the shape and the values of their task's kind; an unsupervised task has none."""
    module = subject.build()
    task = module.spec.task
    if task.kind == "unsupervised":
        assert task.num_classes == 0, f"an unsupervised task names the classes {task.classes}"
        return
    if task.kind == "regression":
        for name in ("target_mean", "target_std"):
            numbers = getattr(module, name, None)
            fits = isinstance(numbers, list) and len(numbers) == task.num_classes
            assert fits, f"{name} is {numbers!r}, expected one number a column of the target"
    for split in SPLITS:
        for batch in subject.batches(split):
            target, size = batch["target"], len(batch["id"])
            expected = (size,) if task.kind == "multiclass" else (size, task.num_classes)
            assert target.shape == expected, f"{split}: target has shape {tuple(target.shape)}, expected {expected}"
            if task.kind == "multiclass":
                assert target.dtype == torch.int64, f"{split}: target is {target.dtype}, expected int64"
                good = (target >= -1) & (target < task.num_classes)
            else:
                assert target.dtype == torch.float32, f"{split}: target is {target.dtype}, expected float32"
                good = target.isnan() | (target == 0) | (target == 1)
            assert good.all() or task.kind == "regression", f"{split}: targets hold {target[~good][:5].tolist()}"


def check_splits(subject: DataSubject) -> None:
    """No patient in two splits; no id twice in a split."""
    patients: dict[str, set[str]] = {}
    for split in SPLITS:
        ids = [i for batch in subject.batches(split) for i in batch["id"]]
        assert len(ids) == len(set(ids)), f"{split}: {len(ids) - len(set(ids))} ids come twice"
        patients[split] = {p for batch in subject.batches(split) for p in batch["patient"]}
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        both = patients[a] & patients[b]
        assert not both, f"{len(both)} patients are in {a} and {b}, first {sorted(both)[0]}"


def check_determinism(subject: DataSubject) -> None:
    """Two modules with the same arguments give the same batches; evaluation gives them every time."""
    again = subject.build()
    for split in SPLITS:
        first = subject.batches(split)[:FEW]
        _same_batches(list(islice(iter(loader(again, split)), FEW)), first, f"{split}, a second module")
    for split in ("val", "test"):
        evaluation = loader(again, split)
        list(evaluation)
        _same_batches(list(islice(iter(evaluation), FEW)), subject.batches(split)[:FEW], f"{split}, a second pass")


def check_epochs(subject: DataSubject) -> None:
    """The order of training differs between epochs."""
    training = loader(subject.build(), "train")
    epochs = [[i for batch in training for i in batch["id"]] for _ in range(2)]
    assert len(epochs[0]) < 4 or epochs[0] != epochs[1], "two epochs of training have the same order"


def check_resuming(subject: DataSubject) -> None:
    """A training loader taken up at a saved position goes on as the first would have, within and between epochs."""
    whole = loader(subject.build(), "train")
    for name in ("state_dict", "load_state_dict"):
        assert hasattr(whole, name), f"the training loader has no {name}: a run cannot be resumed exactly"
    expected = [batch for _ in range(2) for batch in whole]
    per_epoch = len(expected) // 2
    for position in sorted({1, per_epoch // 2, per_epoch, per_epoch + 1} & set(range(1, len(expected)))):
        first = loader(subject.build(), "train")
        _consume(first, position)
        second = loader(subject.build(), "train")
        second.load_state_dict(first.state_dict())
        rest = list(islice(_endless(second), FEW))
        _same_batches(rest[: len(expected) - position], expected[position : position + FEW], f"after batch {position}")


def check_features(subject: DataSubject) -> None:
    """Features that are attached stand in for the ECG, sample by sample, and nothing else changes."""
    module = subject.build()
    if not hasattr(module, "attach_features"):
        return
    vectors = _Vectors()
    module.attach_features(vectors)
    for split in SPLITS:
        batches = list(islice(iter(loader(module, split)), FEW))
        for got, expected in zip(batches, subject.batches(split)[:FEW], strict=True):
            assert "ecg" not in got, f"{split}: a batch with features still holds the ECG"
            assert got["id"] == expected["id"], f"{split}: features change which samples a batch holds"
            wanted = torch.from_numpy(np.stack([vectors[name] for name in got["id"]]))
            assert torch.equal(got["features"], wanted), f"{split}: features are not those of their samples"
            same = "target" not in expected or torch.equal(got["target"].nan_to_num(), expected["target"].nan_to_num())
            assert same, f"{split}: features change the target"


CHECKS: tuple[Callable[[DataSubject], None], ...] = (
    check_specification,
    check_batches,
    check_targets,
    check_splits,
    check_determinism,
    check_epochs,
    check_resuming,
    check_features,
)


def _check_batch(batch: Mapping[str, Any], spec: DataSpec, split: str) -> None:
    needed = ["id", "patient", "present", "groups", *spec.modalities]
    needed += [] if spec.task.kind == "unsupervised" else ["target"]
    absent = [key for key in needed if key not in batch]
    assert not absent, f"{split}: a batch lacks {', '.join(absent)}"
    size = len(batch["id"])
    assert size > 0 and len(batch["patient"]) == size, f"{split}: {size} ids and {len(batch['patient'])} patients"
    assert all(isinstance(i, str) for i in [*batch["id"], *batch["patient"]]), f"{split}: ids must be str"
    for name, column in batch["groups"].items():
        assert len(column) == size, f"{split}: group {name!r} has {len(column)} entries, expected {size}"
    for modality in spec.modalities:
        values, mask = batch[modality], batch["present"].get(modality)
        shape = spec.shapes[modality]
        fits = values.dim() == 1 + len(shape) and len(values) == size
        fits = fits and all(want is None or got == want for got, want in zip(values.shape[1:], shape, strict=True))
        assert fits, f"{split}: {modality} has shape {tuple(values.shape)}, the spec says (B, {shape})"
        assert values.dtype == torch.float32, f"{split}: {modality} is {values.dtype}, expected float32"
        assert isinstance(mask, Tensor) and mask.shape == (size,) and mask.dtype == torch.bool, (
            f"{split}: present[{modality!r}] must be bool ({size},)"
        )
        assert values[mask].isfinite().all(), f"{split}: {modality} is not finite where it is present"
        assert not values[~mask].any(), f"{split}: {modality} is not 0 where it is absent"
    if "ecg" in spec.modalities:
        _check_leads(batch, spec, split)
    if "ehr" in spec.modalities:
        lengths, steps = batch["ehr_lengths"], batch["ehr"].shape[1]
        assert lengths.shape == (size,) and lengths.dtype == torch.int64, f"{split}: ehr_lengths must be int64 (B,)"
        assert ((lengths >= 1) & (lengths <= steps)).all(), f"{split}: lengths outside 1..{steps}"
        padding = batch["ehr"][~step_mask(lengths, steps)]
        assert not padding.any(), f"{split}: time series are not padded with 0"


def _check_leads(batch: Mapping[str, Any], spec: DataSpec, split: str) -> None:
    """The mask of the leads, and zeros where it says that there is none."""
    leads, names = batch.get("ecg_leads"), spec.channels.get("ecg", ())
    shape = (len(batch["id"]), len(names))
    fits = isinstance(leads, Tensor) and leads.shape == shape and leads.dtype == torch.bool
    assert fits, f"{split}: ecg_leads must be bool {shape}, one column a lead of the spec's channels"
    assert torch.equal(batch["present"]["ecg"], leads.any(dim=1)), f"{split}: present['ecg'] is not any lead"
    assert not batch["ecg"][~leads].any(), f"{split}: ecg is not 0 in absent leads"


class _Vectors(dict[str, np.ndarray]):
    """Eight numbers for any id, other ones for each."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)

    def __missing__(self, name: str) -> np.ndarray:
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        return np.frombuffer(digest, dtype=np.uint8).astype(np.float32)


def _endless(training: Any) -> Any:
    while True:
        yield from training


def _consume(training: Any, batches: int) -> None:
    """Take so many batches, epoch by epoch, as a trainer does."""
    taken = 0
    while taken < batches:
        for _ in training:
            taken += 1
            if taken == batches:
                return


def _same_batches(got: list[Any], expected: list[Any], words: str) -> None:
    assert len(got) >= len(expected), f"{words}: {len(got)} batches, expected {len(expected)}"
    for number, (a, b) in enumerate(zip(got, expected, strict=False)):
        assert a["id"] == b["id"], f"{words}: batch {number} holds other samples"
        for key, value in b.items():
            same = not isinstance(value, Tensor) or torch.equal(a[key].nan_to_num(), value.nan_to_num())
            assert same, f"{words}: {key!r} of batch {number} differs"
