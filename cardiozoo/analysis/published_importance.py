"""Importance as the LS-EMVAE release counts it: thresholds on attributions that were scaled lead by lead to [0, 1].

Scaling by minimum and maximum maps an attribution of zero to whatever level the extremes leave it, so these numbers
depend on single samples and cannot be added up. They are here to be compared with published ones; `importance` is what
this project reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from cardiozoo.analysis.attribution import Attribution
from cardiozoo.analysis.waves import Waves
from cardiozoo.data.ecg import LEADS

FIGURE, LEAD, WAVE = 0.75, 0.7, 0.6


def scaled(values: np.ndarray) -> np.ndarray:
    """(12, T) to [0, 1] lead by lead; leads whose attribution is constant become NaN."""
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    span = high - low
    return np.divide(values - low, span, out=np.full(values.shape, np.nan), where=span > 0)


def published_leads(found: Attribution, samples: Sequence[int]) -> pl.DataFrame:
    """Per record and lead the fraction of samples at or above 0.7, and that fraction in per cent over the leads.

    ``in_figure`` is the fraction at or above 0.75, the samples that the paper's figure colours.
    """
    rows: list[dict[str, Any]] = []
    for number, values, there, end in zip(samples, found.values, found.present, found.lengths, strict=True):
        levels = scaled(values[:, :end])[there]
        fractions = (levels >= LEAD).mean(axis=1)
        total = fractions.sum()
        for lead, fraction, level in zip(np.flatnonzero(there), fractions, levels, strict=True):
            percent = 100 * fraction / total if total > 0 else np.nan
            row = {"sample": int(number), "lead": LEADS[lead], "important_fraction": float(fraction)}
            rows.append(row | {"percent": float(percent), "in_figure": float((level >= FIGURE).mean())})
    floats = dict.fromkeys(("important_fraction", "percent", "in_figure"), pl.Float64)
    return pl.DataFrame(rows, schema={"sample": pl.Int64, "lead": pl.String, **floats})


def published_waves(found: Attribution, waves: Sequence[Waves], samples: Sequence[int]) -> pl.DataFrame:
    """Per record, lead and point (P, Q, R, S, T): the samples at or above 0.6 in the windows around it, in per cent of
    those in the windows of all points. ``waves`` come from ``delineate(..., half_width=0.04)``, 20 samples at 500 Hz.
    """
    rows: list[dict[str, Any]] = []
    records = zip(samples, found.values, found.present, waves, found.lengths, strict=True)
    for number, values, there, own, end in records:
        if own.reason:
            continue
        important = scaled(values[:, :end]) >= WAVE
        for lead in np.flatnonzero(there):
            counts = {name: int((important[lead] & mask[:end]).sum()) for name, mask in own.masks.items()}
            total = sum(counts.values())
            for name, count in counts.items():
                percent = 100 * count / total if total else np.nan
                row = {"sample": int(number), "lead": LEADS[lead], "point": name}
                rows.append(row | {"important_samples": count, "percent": float(percent)})
    schema: dict[str, Any] = {"sample": pl.Int64, "lead": pl.String, "point": pl.String}
    return pl.DataFrame(rows, schema=schema | {"important_samples": pl.Int64, "percent": pl.Float64})
