"""Integrated gradients for any model that takes an ECG (Sundararajan et al., "Axiomatic attribution", ICML 2017).

The attribution of a sample x against a baseline b is (x - b) times the gradient of the logit averaged over the straight
path from b to x (their equation 1). Attributions add up to the difference of the two logits (completeness); by how much
a finite number of steps misses that is reported for every record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from cardiozoo.data.ecg import LEADS
from cardiozoo.errors import OptionError

STEPS = 50
#: Rows of one forward pass inside the path.
INNER_ROWS = 25


@dataclass(frozen=True)
class Baseline:
    """Where the path begins.

    Attributes:
        name: As it is reported.
        signal: (12, T) in the units the model sees; None for zero, which standardised leads have as their mean.
    """

    name: str = "zero"
    signal: np.ndarray | None = None

    def like(self, ecg: Tensor, leads: Tensor, recorded: Sequence[int] | np.ndarray | None = None) -> Tensor:
        """(B, 12, T); absent leads and what follows a record's end stay as they are: nothing is attributed to them.

        Raises:
            OptionError: The baseline has another shape than the records.
        """
        if self.signal is None:
            path_begin = torch.zeros_like(ecg)
        else:
            if self.signal.shape != tuple(ecg.shape[1:]):
                raise OptionError(
                    f"The baseline {self.name!r} has shape {self.signal.shape}.",
                    f"{tuple(ecg.shape[1:])}, as the records that the model sees.",
                    "--baseline zero needs no file.",
                )
            path_begin = torch.as_tensor(self.signal, dtype=ecg.dtype, device=ecg.device).expand_as(ecg)
        moved = leads[..., None]
        if recorded is not None:
            end = torch.as_tensor(np.asarray(recorded), device=ecg.device)
            moved = moved & (torch.arange(ecg.shape[-1], device=ecg.device) < end[:, None, None])
        return torch.where(moved, path_begin, ecg)


@dataclass(frozen=True)
class Attribution:
    """Integrated gradients of some records.

    Attributes:
        values: (N, 12, T); 0 for absent leads and after the end of a record.
        present: (N, 12) bool, leads that the model has seen.
        output: (N,) logit of the records (for a regression the output of the model).
        at_baseline: (N,) the same at the baseline.
        baseline, steps: How they were computed.
        recorded: (N,) samples of each record before its end; None: all.
    """

    values: np.ndarray
    present: np.ndarray
    output: np.ndarray
    at_baseline: np.ndarray
    baseline: str
    steps: int
    recorded: np.ndarray | None = None

    @property
    def lengths(self) -> np.ndarray:
        """(N,) samples that count: those before the end of each record."""
        count, _, samples = self.values.shape
        return np.full(count, samples) if self.recorded is None else self.recorded

    @property
    def compared(self) -> np.ndarray:
        """(N, 12, T) bool, the samples that the model has seen something in: leads that are there, until the end."""
        before_end = np.arange(self.values.shape[2]) < self.lengths[:, None]
        return self.present[:, :, None] & before_end[:, None, :]

    @property
    def delta(self) -> np.ndarray:
        """(N,) sum of the attributions minus the difference of the outputs: 0 if complete."""
        return self.values.sum(axis=(1, 2), dtype=np.float64) - (self.output - self.at_baseline)

    @property
    def relative_delta(self) -> np.ndarray:
        """(N,) the same, without sign, as a share of the difference of the outputs; NaN where there is none."""
        difference = np.abs(self.output - self.at_baseline)
        return np.divide(np.abs(self.delta), difference, out=np.full_like(difference, np.nan), where=difference > 0)


def integrated_gradients(
    model: nn.Module,
    batch: Mapping[str, Any],
    target: int = 0,
    baseline: Baseline | None = None,
    steps: int = STEPS,
    inner_rows: int = INNER_ROWS,
    advance: Callable[[float], None] = lambda done: None,
    recorded: Sequence[int] | np.ndarray | None = None,
) -> Attribution:
    """Attribute one column of the logits to the samples of every lead.

    Args:
        model: Any model of the zoo that takes ``ecg``; it is put in evaluation mode.
        batch: A batch on the model's device; whatever else it holds (other modalities, masks) is held fixed.
        target: Column of ``logits``.
        baseline: Where the path begins; zero if None.
        steps: Points of the Gauss-Legendre rule on the path.
        inner_rows: Points that are computed in one forward pass.
        advance: Told of every record that is done.
        recorded: (B,) samples of each record before its end; the padding behind it is held fixed. None: all.

    Raises:
        OptionError: No ``ecg`` in the batch, no such column, steps below 1, or an output without gradient.
    """
    _check(model, batch, target, steps)
    model.eval()
    baseline = baseline or Baseline()
    leads = lead_mask(batch, leads_of(model))
    ecg = batch["ecg"].detach()
    begin = baseline.like(ecg, leads, recorded)
    values, outputs = [], []
    for row in range(len(ecg)):
        forward = _forward(model, batch, row, target)
        with torch.no_grad():
            outputs.append(torch.cat([forward(ecg[row : row + 1]), forward(begin[row : row + 1])]).double().cpu())
        try:
            found = IntegratedGradients(forward).attribute(
                ecg[row : row + 1], begin[row : row + 1], n_steps=steps, internal_batch_size=inner_rows
            )
        except (RuntimeError, AssertionError) as error:
            raise _without_gradient(model, error) from error
        values.append(torch.where(leads[row, :, None], found[0], 0).detach().cpu().numpy())
        advance(1)
    ends = torch.stack(outputs).numpy()
    end = None if recorded is None else np.asarray(recorded)
    return Attribution(np.stack(values), leads.cpu().numpy(), ends[:, 0], ends[:, 1], baseline.name, steps, end)


def lead_mask(batch: Mapping[str, Any], used: list[str] | tuple[str, ...] | None = None) -> Tensor:
    """(B, 12) bool: leads that are there and, if ``used`` names some, that the model looks at."""
    ecg = batch["ecg"]
    mask = batch.get("ecg_leads")
    mask = torch.ones(ecg.shape[:2], dtype=torch.bool, device=ecg.device) if mask is None else mask.bool()
    there = batch.get("present", {}).get("ecg")
    if there is not None:
        mask = mask & there[:, None]
    if used is not None:
        mask = mask & torch.tensor([lead in used for lead in LEADS], device=ecg.device)
    return mask


def leads_of(model: nn.Module) -> list[str] | None:
    """Names of the leads that a model looks at; None if it does not say."""
    for name in ("ecg_leads", "leads"):
        leads = getattr(model, name, None)
        if isinstance(leads, list | tuple) and leads and all(lead in LEADS for lead in leads):
            return list(leads)
    return None


def _forward(model: nn.Module, batch: Mapping[str, Any], row: int, target: int) -> Callable[[Tensor], Tensor]:
    """The logit as a function of the ECG alone: (n, 12, T) -> (n,); everything else is that of one row."""

    def forward(ecg: Tensor) -> Tensor:
        copies = {key: _repeat(value, row, len(ecg)) for key, value in batch.items() if key != "ecg"}
        logits = model({**copies, "ecg": ecg})["logits"][:, target]
        return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits

    return forward


def _repeat(value: Any, row: int, times: int) -> Any:
    match value:
        case Tensor():
            return value[row : row + 1].expand(times, *value.shape[1:])
        case dict():
            return {key: _repeat(part, row, times) for key, part in value.items()}
    return [value[row]] * times


def _check(model: nn.Module, batch: Mapping[str, Any], target: int, steps: int) -> None:
    if "ecg" not in batch:
        raise OptionError(
            f"Batches with {', '.join(sorted(batch))} but without `ecg`.",
            "A data module that gives 12-lead signals.",
            "Features of a frozen encoder cannot be attributed to leads; give the signals themselves.",
        )
    classes = getattr(model, "num_classes", None)
    if classes is not None and not 0 <= target < classes:
        raise OptionError(f"Column {target} of the logits.", f"0 to {classes - 1}.", "Name a class of the task.")
    if steps < 1:
        raise OptionError(f"{steps} steps.", "At least 1; 50 is usual.", "More steps, smaller completeness error.")


def _without_gradient(model: nn.Module, error: Exception) -> OptionError:
    return OptionError(
        f"{type(model).__name__} gives no gradient with respect to the ECG: {str(error).splitlines()[0]}",
        "A forward pass through which gradients flow from the logits to `ecg`.",
        "An encoder run under torch.no_grad() cuts them off; freeze its weights instead.",
    )
