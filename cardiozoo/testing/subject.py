"""What is under test: a model's class, its card, and how to build a tiny one for each task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from cardiozoo.cards import read_card
from cardiozoo.data.batch import Batch
from cardiozoo.data.tasks import TaskKind
from cardiozoo.registry import Registered, find, normalized, registered, resolve
from cardiozoo.testing.batches import SHAPES, make_batch

#: Columns of the target in the checks, by kind of task.
CLASSES: dict[str, int] = {"binary": 1, "multilabel": 3, "multiclass": 4, "regression": 2, "unsupervised": 0}
#: What a data module would say of the columns of a regression target; far from 0 and 1, so that units show.
TARGET_MEAN, TARGET_STD = (20.0, -3.0), (5.0, 0.5)


@dataclass(frozen=True)
class Check:
    """One check of the contract, bound to its subject: call it; its ``str`` is its name."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        self.run()

    def __str__(self) -> str:
        return self.name


def locate(name_or_class: str | type, kind: str) -> tuple[type, dict[str, Any]]:
    """The class behind a registered name, a class path or a class itself, and its card (empty if it has none)."""
    if isinstance(name_or_class, str):
        cls = resolve(name_or_class, kind)
        known = normalized(name_or_class) in registered(kind)
        entry = find(kind, name_or_class) if known else _entry_of(cls, kind)
        return cls, read_card(entry)
    return name_or_class, read_card(_entry_of(name_or_class, kind))


def _entry_of(cls: type, kind: str) -> Registered:
    for entry in (claimants[0] for claimants in registered(kind).values()):
        if entry.class_path == f"{cls.__module__}.{cls.__qualname__}":
            return entry
    return Registered(kind, cls.__name__, f"{cls.__module__}:{cls.__qualname__}", "", "")


@dataclass
class Subject:
    """A model under test.

    Attributes:
        cls: The LightningModule class.
        card: Its card.
        init: Arguments of ``__init__`` over those of the card's ``tiny``.
        missing: Modalities that rows may lack, over the card's.
        shapes: Shape of one sample a modality, over the default.
    """

    cls: type[LightningModule]
    card: Mapping[str, Any]
    init: dict[str, Any] = field(default_factory=dict)
    missing: Sequence[str] | None = None
    shapes: Mapping[str, tuple[int, ...]] | None = None

    @property
    def name(self) -> str:
        return str(self.card.get("name", self.cls.__name__))

    @property
    def modalities(self) -> list[str]:
        return list(self.card.get("modalities", ["ehr", "cxr"]))

    @property
    def may_miss(self) -> list[str]:
        return list(self.card.get("missing", []) if self.missing is None else self.missing)

    @property
    def kinds(self) -> list[TaskKind]:
        return [kind for kind in self.card.get("tasks", ["multilabel"]) if kind in CLASSES]

    @property
    def kind(self) -> TaskKind:
        """The kind of task in which everything is checked that does not depend on it."""
        return "multilabel" if "multilabel" in self.kinds else self.kinds[0]

    def takes(self, name: str) -> bool:
        """Whether ``__init__`` takes an argument of that name, or any."""
        known = inspect.signature(self.cls.__init__).parameters
        return name in known or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())

    def arguments(self, kind: TaskKind | None = None) -> dict[str, Any]:
        """Arguments of ``__init__``: the tiny preset, what the caller set, and what data modules say of themselves."""
        kind = kind or self.kind
        shapes = {**SHAPES, **(self.shapes or {})}
        linked: dict[str, Any] = {"num_classes": CLASSES[kind], "task_kind": kind, "ehr_channels": shapes["ehr"][-1]}
        linked |= {"class_names": [f"finding {i}" for i in range(CLASSES[kind])], "ecg_samples": shapes["ecg"][-1]}
        if kind == "regression":
            linked |= {"target_mean": list(TARGET_MEAN), "target_std": list(TARGET_STD)}
        linked = {name: value for name, value in linked.items() if self.takes(name)}
        return {**linked, **self.card.get("tiny", {}), **self.init}

    def build(self, kind: TaskKind | None = None, seed: int = 0) -> LightningModule:
        """A tiny model; the same seed gives the same weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.cls(**self.arguments(kind))

    def batch(self, kind: TaskKind | None = None, **options: Any) -> Batch:
        """A random batch for this model, see ``make_batch``."""
        kind = kind or self.kind
        options.setdefault("num_classes", CLASSES[kind])
        return make_batch(self.modalities, task_kind=kind, shapes=self.shapes, **options)

    def compositions(self, size: int = 4) -> dict[str, dict[str, list[bool]]]:
        """Which rows have which modality: all; and for every modality that may be missing, some, one and none."""
        found: dict[str, dict[str, list[bool]]] = {"every row complete": {}}
        for modality in self.may_miss:
            for words, count in ((f"half of the rows with {modality}", size // 2), (f"one row with {modality}", 1)):
                found[words] = {modality: [i < count for i in range(size)][::-1]}
            found[f"no row with {modality}"] = {modality: [False] * size}
        return found


@contextmanager
def silent(model: LightningModule) -> Iterator[None]:
    """Let steps run outside a Trainer: what they log goes nowhere."""
    model.__dict__["log"] = model.__dict__["log_dict"] = lambda *args, **kwargs: None
    try:
        yield
    finally:
        del model.__dict__["log"], model.__dict__["log_dict"]


def training_loss(model: LightningModule, batch: Batch) -> Tensor:
    """The loss that ``training_step`` returns, alone or under ``loss``."""
    with silent(model):
        result = model.training_step(batch, 0)
    loss = result["loss"] if isinstance(result, Mapping) else result
    assert isinstance(loss, Tensor) and loss.dim() == 0, f"training_step returned {loss!r}, not a scalar loss"
    return loss


def answers_of(model: LightningModule, batch: Batch) -> Tensor:
    """What a model in evaluation mode says of each row, (B, N), without gradient.

    The logits; of an unsupervised model, which has none, its representation and the further columns of its predictions
    table, in which NaN (nothing to say of that row) is taken for 0.
    """
    model.eval()
    with torch.no_grad():
        if getattr(model, "task_kind", None) != "unsupervised":
            return model(batch)["logits"]
        columns = [column for _, column in sorted(model.predict_step(batch, 0).get("extra", {}).items())]
        columns = [column[:, None] if column.dim() == 1 else column for column in columns]
        return torch.cat([model.embed(batch).float(), *[column.nan_to_num(0.0) for column in columns]], 1)
