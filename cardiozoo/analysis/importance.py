"""What attributions come to: per lead, per wave, and over a cohort with intervals.

``signed_sum`` is a part of the logit (the parts add up to the difference between record and baseline). ``share`` is the
part of the absolute attribution, between 0 and 1. ``time_share`` is the share of recorded samples in a window, so that
``enrichment`` = share / time_share is 1 for attribution that knows nothing of waves. ``spread`` is the part that a lead
or wave has in what tells the records apart: what all records share (a large QRS complex) has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from cardiozoo.analysis.attribution import Attribution
from cardiozoo.analysis.waves import Waves
from cardiozoo.data.ecg import LEADS
from cardiozoo.evaluation.bootstrap import Interval, PatientDraws

OTHER = "other"


def lead_table(found: Attribution, samples: Sequence[int]) -> pl.DataFrame:
    """One row a record and lead that is there: ``sample``, ``lead``, ``signed_sum``, ``mean_abs``, ``share``, ``rank``.

    Args:
        found: Attributions of N records.
        samples: (N,) number of each record.
    """
    rows: list[dict[str, Any]] = []
    for number, padded, there, end in zip(samples, found.values, found.present, found.lengths, strict=True):
        values = padded[:, :end]
        absolute = np.abs(values).sum(axis=1, dtype=np.float64)
        total = absolute[there].sum()
        shares = absolute / total if total > 0 else np.full(len(LEADS), np.nan)
        # 1 is the lead with most; leads without any attribution at all have no rank.
        ranks = {lead: r + 1 for r, lead in enumerate(np.argsort(-np.where(there, absolute, -1), kind="stable"))}
        for lead in np.flatnonzero(there):
            rows.append(
                {
                    "sample": int(number),
                    "lead": LEADS[lead],
                    "signed_sum": float(values[lead].sum(dtype=np.float64)),
                    "mean_abs": float(absolute[lead] / values.shape[1]),
                    "share": float(shares[lead]),
                    "rank": ranks[lead] if total > 0 else None,
                }
            )
    schema = {"sample": pl.Int64, "lead": pl.String, "signed_sum": pl.Float64, "mean_abs": pl.Float64}
    return pl.DataFrame(rows, schema=schema | {"share": pl.Float64, "rank": pl.Int64})


def wave_table(found: Attribution, waves: Sequence[Waves], samples: Sequence[int]) -> pl.DataFrame:
    """One row a record, wave and lead, and one for all leads together (``lead`` = all).

    Columns: ``sample``, ``lead``, ``wave`` (with ``other``: outside all windows), ``signed_sum``, ``mean_abs``,
    ``share`` (of the lead, or of all), ``time_share``, ``enrichment``. Records without any window have no row.
    """
    rows: list[dict[str, Any]] = []
    records = zip(samples, found.values, found.present, waves, found.lengths, strict=True)
    for number, padded, there, own, end in records:
        if own.reason or not there.any():
            continue
        values, masks = padded[:, :end], {name: mask[:end] for name, mask in own.masks.items()}
        windows = {**masks, OTHER: ~np.any(list(masks.values()), axis=0)}
        parts = {LEADS[lead]: values[lead : lead + 1] for lead in np.flatnonzero(there)} | {"all": values[there]}
        for lead, part in parts.items():
            total = np.abs(part).sum(dtype=np.float64)
            for wave, mask in windows.items():
                absolute = np.abs(part[:, mask]).sum(dtype=np.float64)
                share = absolute / total if total > 0 else np.nan
                time_share = mask.mean()
                rows.append(
                    {
                        "sample": int(number),
                        "lead": lead,
                        "wave": wave,
                        "signed_sum": float(part[:, mask].sum(dtype=np.float64)),
                        "mean_abs": float(absolute / (mask.sum() * len(part))) if mask.any() else np.nan,
                        "share": float(share),
                        "time_share": float(time_share),
                        "enrichment": float(share / time_share) if mask.any() else np.nan,
                    }
                )
    floats = ("signed_sum", "mean_abs", "share", "time_share", "enrichment")
    schema: dict[str, Any] = {"sample": pl.Int64, "lead": pl.String, "wave": pl.String}
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(floats, pl.Float64))


def cohort_importance(
    table: pl.DataFrame,
    key: str,
    patients: dict[int, str],
    columns: Sequence[str] = ("share", "signed_sum"),
    n: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Mean over records of each lead or wave, with percentile intervals over bootstrap draws of patients.

    Args:
        table: Rows with ``sample``, ``key`` and the columns.
        key: ``lead`` or ``wave``.
        patients: Sample -> patient.
        columns: What is averaged; a record that lacks a lead is left out of the mean of that lead.
        n, seed: Draws.

    Returns:
        ``key``, ``records``, and per column ``<column>``, ``<column>_low``, ``<column>_high``; most important first.
    """
    samples = table["sample"].unique(maintain_order=True).to_list()
    names = table[key].unique(maintain_order=True).to_list()
    draws = PatientDraws(np.array([patients[s] for s in samples]), n, seed)
    row_of, column_of = {s: i for i, s in enumerate(samples)}, {name: j for j, name in enumerate(names)}
    rows: list[dict[str, Any]] = [{key: name} for name in names]
    for column in columns:
        matrix = np.full((len(samples), len(names)), np.nan)
        for sample, name, value in table.select("sample", key, column).iter_rows():
            matrix[row_of[sample], column_of[name]] = np.nan if value is None else value
        drawn = _bootstrap_means(matrix, draws)
        for j, row in enumerate(rows):
            own = matrix[~np.isnan(matrix[:, j]), j]
            interval = Interval.from_draws(own.mean() if len(own) else np.nan, drawn[:, j])
            row |= {"records": len(own), column: interval.value}
            row |= {f"{column}_low": interval.low, f"{column}_high": interval.high}
    return pl.DataFrame(rows).sort(columns[0], descending=True, nulls_last=True)


def with_spread(
    importance: pl.DataFrame,
    table: pl.DataFrame,
    key: str,
    found: Attribution,
    samples: Sequence[int],
    patients: dict[int, str],
    n: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Add ``spread``, ``spread_low``, ``spread_high``: cov(signed sum, total) / var(total) over the records.

    The signed sums of a record add up to the total (the output less that of the baseline, by completeness), so the
    parts add up to 1. A part is negative where it works against the others. Fewer than three patients give no interval.

    Args:
        importance: What `cohort_importance` returned.
        table: The rows that it came from.
        key: ``lead`` or ``wave``.
        found, samples: Attributions and numbers of the records; those without a row in ``table`` do not count.
        patients, n, seed: See `cohort_importance`.
    """
    names = importance[key].to_list()
    kept = [s for s in samples if s in set(table["sample"].to_list())]
    row_of, column_of = {s: i for i, s in enumerate(kept)}, {name: j for j, name in enumerate(names)}
    sums = np.zeros((len(kept), len(names)))
    for sample, name, value in table.select("sample", key, "signed_sum").iter_rows():
        sums[row_of[sample], column_of[name]] = value
    totals = dict(zip(samples, found.values.sum(axis=(1, 2), dtype=np.float64), strict=True))
    total = np.array([totals[s] for s in kept])
    draws = PatientDraws(np.array([patients[s] for s in kept]), n, seed)
    drawn = np.stack([_spread(sums, total, times[draws.codes].astype(float)) for times in draws])
    if draws.patients < 3:  # each draw is one line through the same two points: an interval of no width
        drawn[:] = np.nan
    values = _spread(sums, total, np.ones(len(kept)))
    intervals = [Interval.from_draws(value, drawn[:, j]) for j, value in enumerate(values)]
    limits = {"spread": "value", "spread_low": "low", "spread_high": "high"}
    return importance.with_columns(
        pl.Series(column, [getattr(interval, part) for interval in intervals], dtype=pl.Float64)
        for column, part in limits.items()
    )


def _spread(sums: np.ndarray, total: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(columns,) weighted covariances with the total over its variance; NaN if all records have the same total."""
    centred = total - np.average(total, weights=weights)
    variance = float(weights @ centred**2)
    if variance <= 1e-12 * float(weights @ total**2) or variance == 0:
        return np.full(sums.shape[1], np.nan)
    return (weights * centred) @ sums / variance


def _bootstrap_means(matrix: np.ndarray, draws: PatientDraws) -> np.ndarray:
    """(draws, columns) means over the rows of the patients drawn; NaN where none of them has a value."""
    there = ~np.isnan(matrix)
    sums = np.zeros((draws.patients, matrix.shape[1]))
    counts = np.zeros_like(sums)
    np.add.at(sums, draws.codes, np.where(there, matrix, 0.0))
    np.add.at(counts, draws.codes, there)
    drawn = np.stack([np.concatenate([times @ sums, times @ counts]) for times in draws])
    top, bottom = np.split(drawn, 2, axis=1)
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
