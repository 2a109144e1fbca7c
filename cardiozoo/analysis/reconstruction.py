"""What a generative model makes of a record: reconstructions beside the signals, lead by lead.

A model that has only one signal for all leads can do no better than their mean, so the mean of the leads that are there
is the reference: a lead is reconstructed as a lead of its own if its error is below that of the mean of the leads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn

from cardiozoo.analysis.attribution import lead_mask
from cardiozoo.analysis.records import rows_of
from cardiozoo.data.ecg import LEADS
from cardiozoo.errors import OptionError
from cardiozoo.evaluation.bootstrap import Interval, PatientDraws

ROWS = 16


@dataclass(frozen=True)
class Reconstruction:
    """Signals and what became of them, in the units that the model sees.

    Attributes:
        original, reconstructed: (N, 12, T); leads that the model does not know are NaN in the second.
        present: (N, 12) bool, leads that both have.
        recorded: (N,) samples of each record before its end; None: all.
    """

    original: np.ndarray
    reconstructed: np.ndarray
    present: np.ndarray
    recorded: np.ndarray | None = None

    @property
    def lengths(self) -> np.ndarray:
        """(N,) samples that count: those before the end of each record."""
        count, _, samples = self.original.shape
        return np.full(count, samples) if self.recorded is None else self.recorded


def generative_part(model: nn.Module) -> nn.Module | None:
    """The model itself, or its encoder, if it can encode, decode and reconstruct; else None."""
    for part in (model, getattr(model, "encoder", None)):
        if part is not None and all(
            callable(getattr(part, name, None)) for name in ("encode", "decode", "reconstruct")
        ):
            return part
    return None


@torch.no_grad()
def reconstruct(
    model: Any,
    batch: Mapping[str, Any],
    advance: Callable[[float], None] = lambda done: None,
    recorded: np.ndarray | None = None,
) -> Reconstruction:
    """Reconstruct every record of a batch from its own leads.

    Args:
        model: The model, or one whose encoder is generative.
        batch: The records.
        advance: Told how many records are done.
        recorded: (B,) samples of each record before its end; None: all.

    Raises:
        OptionError: The model is not generative.
    """
    part = generative_part(model)
    if part is None:
        raise OptionError(
            f"{type(model).__name__} does not reconstruct.",
            "A model with encode, decode and reconstruct.",
            "Explain a generative model, such as ls_emvae, or one that was fine-tuned on it.",
        )
    part.eval()
    found = []
    for first in range(0, len(batch["ecg"]), ROWS):
        rows = list(range(first, min(first + ROWS, len(batch["ecg"]))))
        found.append(part.reconstruct(rows_of(batch, rows)).float().cpu().numpy())
        advance(len(rows))
    reconstructed = np.concatenate(found)
    present = lead_mask(batch).cpu().numpy() & np.isfinite(reconstructed).all(axis=2)
    return Reconstruction(batch["ecg"].float().cpu().numpy(), reconstructed, present, recorded)


def error_table(found: Reconstruction, samples: Sequence[int]) -> pl.DataFrame:
    """One row a record and lead: ``sample``, ``lead``, ``mse``, ``mse_of_mean`` (of the mean of the leads), ``better``.

    Errors are means over time, until the end of the record, of squares, in squared units of the signal (1 is all of a
    standardised lead).
    """
    rows = []
    records = zip(samples, found.original, found.reconstructed, found.present, found.lengths, strict=True)
    for number, original, reconstructed, there, end in records:
        if not there.any():
            continue
        x, y = original[:, :end], reconstructed[:, :end]
        mean = x[there].mean(axis=0)
        for lead in np.flatnonzero(there):
            mse = float(np.mean((x[lead] - y[lead]) ** 2, dtype=np.float64))
            reference = float(np.mean((x[lead] - mean) ** 2, dtype=np.float64))
            row = {"sample": int(number), "lead": LEADS[lead], "mse": mse, "mse_of_mean": reference}
            rows.append(row | {"better": mse < reference})
    schema: dict[str, Any] = {"sample": pl.Int64, "lead": pl.String, "mse": pl.Float64, "mse_of_mean": pl.Float64}
    return pl.DataFrame(rows, schema=schema | {"better": pl.Boolean})


def lead_errors(table: pl.DataFrame, patients: Mapping[int, str], n: int = 1000, seed: int = 0) -> pl.DataFrame:
    """Mean over records per lead, with percentile intervals of the paired difference over bootstrap draws of patients.

    Returns:
        ``lead``, ``records``, ``mse``, ``mse_of_mean``, ``difference`` (below 0: better than the mean of the leads),
        ``difference_low``, ``difference_high``; in the order of ``LEADS``.
    """
    rows = []
    for lead in LEADS:
        own = table.filter(pl.col("lead") == lead)
        if own.is_empty():
            continue
        difference = (own["mse"] - own["mse_of_mean"]).to_numpy()
        draws = PatientDraws(np.array([patients[s] for s in own["sample"]]), n, seed)
        weights = (times[draws.codes] for times in draws)
        interval = Interval.from_draws(
            difference.mean(), np.array([np.average(difference, weights=w) for w in weights])
        )
        row = {"lead": lead, "records": own.height, "mse": own["mse"].mean(), "mse_of_mean": own["mse_of_mean"].mean()}
        row |= {"difference": interval.value, "difference_low": interval.low, "difference_high": interval.high}
        rows.append(row)
    return pl.DataFrame(rows)


def distinct_leads(found: Reconstruction, tolerance: float = 1e-3) -> tuple[int, float]:
    """How many of the reconstructed leads are signals of their own.

    Returns:
        Size of the largest set built lead by lead in which any two differ, and the smallest difference between two
        leads: root mean square over time and records, relative to that of the reconstructions. Leads that differ by
        less than ``tolerance`` of it count as one.
    """
    known = np.flatnonzero(np.isfinite(found.reconstructed).all(axis=(0, 2)))
    signals = found.reconstructed[:, known].astype(np.float64)
    size = np.sqrt(np.mean(signals**2)) if signals.size else 0.0
    if not size > 0:
        return min(len(known), 1), 0.0
    apart = np.full((len(known), len(known)), np.inf)
    for a, b in combinations(range(len(known)), 2):
        apart[a, b] = apart[b, a] = np.sqrt(np.mean((signals[:, a] - signals[:, b]) ** 2)) / size
    kept: list[int] = []
    for lead in range(len(known)):
        if all(apart[lead, other] > tolerance for other in kept):
            kept.append(lead)
    return len(kept), float(apart.min()) if len(known) > 1 else 0.0
