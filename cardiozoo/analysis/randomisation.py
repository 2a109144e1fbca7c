"""Do attributions depend on what the model has learnt? Weights are made random, from the head down to the encoder.

The cascading randomisation of Adebayo et al., "Sanity checks for saliency maps" (NeurIPS 2018, section 3.1): after each
stage the attributions are compared, by rank correlation, with those of the trained model. Here the weights of a layer
are shuffled among themselves, so that they keep their distribution and lose what they say, whatever the layer is.

Integrated gradients multiply by x - b, so part of their pattern is the record itself; no randomisation takes it away.
``input_alone`` is that part: the rank correlation of |attribution| with |x - b|.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from scipy.stats import spearmanr
from torch import nn

from cardiozoo.errors import OptionError

STAGES = 5
KEPT, LOST = 0.7, 0.3
# Correlation that the record alone explains, and a little more.
MARGIN = 0.1


@dataclass(frozen=True)
class Sanity:
    """Outcome of the check.

    Attributes:
        table: One row a stage: ``stage``, ``layers`` (made random so far), ``share`` (of the weights), ``last`` (the
            deepest of them), ``absolute`` and ``signed`` (mean rank correlation over records), ``low``, ``high`` (of
            ``absolute`` over records).
        input_alone: See the module.
        verdict: One sentence.
        records: Records that were compared.
    """

    table: pl.DataFrame
    input_alone: float
    verdict: str
    records: int

    @property
    def fails(self) -> bool:
        """Whether the attributions of the model with random weights are those of the trained one."""
        return _fails(self.table["absolute"][-1], self.table["signed"][-1], self.input_alone)


def randomisation_check(
    model: nn.Module,
    attribute: Callable[[], np.ndarray],
    inputs: np.ndarray,
    present: np.ndarray,
    stages: int = STAGES,
    seed: int = 0,
    advance: Callable[[float], None] = lambda done: None,
) -> Sanity:
    """Shuffle the weights stage by stage and compare attributions; the model is as before afterwards.

    Args:
        model: The trained model.
        attribute: Computes the attributions (N, 12, T) of the same records with the model as it is now. One call on the
            trained model tells which layers take part, and in which order.
        inputs: (N, 12, T) record minus baseline.
        present: (N, 12) or (N, 12, T) bool, the leads or samples compared.
        stages: From the head alone to all layers, at most so many.
        seed: Seed of the shuffles.
        advance: Told of every stage that is done.

    Raises:
        OptionError: The model has no weights that take part, or fewer than one stage.
    """
    if stages < 1:
        raise OptionError(f"{stages} stages.", "At least 1.", "5 is the default.")
    with _calls(model) as called:
        trained = attribute()
    layers = called[::-1]
    if not layers:
        raise OptionError(f"{type(model).__name__} has no weights.", "A model with layers.", "Leave the check out.")
    advance(1)
    modules, generator = dict(model.named_modules()), torch.Generator().manual_seed(seed)
    total = sum(p.numel() for name in layers for p in modules[name].parameters(recurse=False))
    rows, done = [], 0
    with _restored(modules[name] for name in layers):
        for stage, until in enumerate(_cuts(len(layers), stages), start=1):
            for name in layers[done:until]:
                _shuffle(modules[name], generator)
            done = until
            now = attribute()
            absolute = correlations(np.abs(trained), np.abs(now), present)
            signed = correlations(trained, now, present)
            size = sum(p.numel() for name in layers[:done] for p in modules[name].parameters(recurse=False))
            row = {
                "stage": stage,
                "layers": done,
                "share": size / total,
                "last": layers[done - 1] or "the model itself",
            }
            row |= {"absolute": _mean(absolute), "signed": _mean(signed)}
            rows.append(row | {"low": float(np.min(absolute)), "high": float(np.max(absolute))})
            advance(1)
    alone = _mean(correlations(np.abs(trained), np.abs(inputs), present))
    table = pl.DataFrame(rows)
    return Sanity(table, alone, _verdict(table["absolute"][-1], table["signed"][-1], alone), len(trained))


def correlations(a: np.ndarray, b: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(N,) Spearman's rank correlation over the leads or samples that are there; 0 where one side is constant."""
    found = []
    for x, y, there in zip(a, b, present, strict=True):
        x, y = x[there].ravel(), y[there].ravel()
        varies = len(x) > 1 and np.ptp(x) > 0 and np.ptp(y) > 0
        found.append(float(spearmanr(x, y).statistic) if varies else 0.0)
    return np.array(found)


def _cuts(layers: int, stages: int) -> list[int]:
    """How many layers are random after each stage: the head, then evenly on to all of them."""
    return sorted({max(1, round(1 + (layers - 1) * i / max(stages - 1, 1))) for i in range(stages)} | {layers})


def _shuffle(module: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in module.parameters(recurse=False):
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.reshape(-1)[order].view_as(parameter))


@contextmanager
def _calls(model: nn.Module) -> Iterator[list[str]]:
    """Names of the modules with weights of their own, in the order in which they are first called."""
    called: list[str] = []

    def note(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            if name not in called:
                called.append(name)

        return hook

    own = [(name, m) for name, m in model.named_modules() if any(True for _ in m.parameters(recurse=False))]
    handles = [module.register_forward_pre_hook(note(name)) for name, module in own]
    try:
        yield called
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _restored(modules: Iterator[nn.Module]) -> Iterator[None]:
    parameters = [p for module in modules for p in module.parameters(recurse=False)]
    before = [p.detach().clone() for p in parameters]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values))


def _fails(absolute: float, signed: float, alone: float) -> bool:
    return absolute >= KEPT and not _explained(absolute, signed, alone)


def _explained(absolute: float, signed: float, alone: float) -> bool:
    """Whether what is left of the correlation is that of the record alone."""
    return absolute <= max(alone + MARGIN, LOST) and abs(signed) <= LOST


def _verdict(absolute: float, signed: float, alone: float) -> str:
    measured = f"With all weights random the rank correlation is {absolute:.2f} (signed: {signed:.2f})"
    if absolute <= LOST:
        return f"{measured}: the attributions depend on what the model has learnt."
    if _explained(absolute, signed, alone):
        return (
            f"{measured}. The record alone, without a model, correlates with {alone:.2f}: where attribution is strong "
            "follows the size of the signal in part, its sign and its lead depend on what the model has learnt."
        )
    if not _fails(absolute, signed, alone):
        return (
            f"{measured}: the attributions depend on what the model has learnt only in part. Compare leads and waves "
            "with those of an untrained model before reading anything into them."
        )
    return f"{measured}: THE CHECK FAILS. Attributions like these say little about what the model has learnt."
