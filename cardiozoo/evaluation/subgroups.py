"""Who is served how well: a metric by subgroup, and the gaps between subgroups with paired bootstrap intervals.

All subgroups are judged on the same resampled patients, so a gap is taken draw by draw. An absolute gap cannot be
negative: its bootstrap distribution lies above the value when the groups do not differ, so whether groups differ
is read from the signed gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from cardiozoo.evaluation.bootstrap import Interval, PatientDraws, evaluate_or_nan
from cardiozoo.evaluation.metrics import Metric, mean_of_defined

# Left-closed bands in years: those of the haemodynamics papers, and those of MedFuse (MLHC 2022).
AGE_BANDS: dict[str, tuple[float, ...]] = {"default": (18, 35, 50, 75, np.inf), "medfuse": (18, 40, 60, 80, np.inf)}
MANY_VALUES = 12


@dataclass(frozen=True)
class Gap:
    """Metric at ``level`` minus metric at ``reference``, and its absolute value, each with its own interval."""

    level: str
    reference: str
    signed: Interval
    absolute: Interval


@dataclass(frozen=True)
class Gaps:
    """A metric by subgroup.

    Attributes:
        groups: Level -> interval of the metric there.
        sizes: Level -> rows.
        pairs: One gap for each two levels, the later minus the earlier (older - younger, M - F).
        mean_absolute: Mean over all pairs of the absolute gap.
        unassigned: Rows with no group, or outside all bands.
    """

    groups: dict[str, Interval]
    sizes: dict[str, int]
    pairs: list[Gap]
    mean_absolute: Interval
    unassigned: int


def assign_levels(
    values: np.ndarray, bands: tuple[float, ...] | None = AGE_BANDS["default"]
) -> tuple[list[str], np.ndarray]:
    """Names of the levels in order, and the level of each row (N,) as an index, -1 = none.

    Text and booleans are their own levels, in sorted order. Numbers fall into the left-closed ``bands`` ((18, 35, 50)
    means [18,35) and [35,50)); they too are their own levels if ``bands`` is None, or if no number lies in any band
    (codes 0, 1, 2).
    """
    values = np.asarray(values)
    if bands is not None and np.issubdtype(values.dtype, np.number):
        number = values.astype(np.float64)
        index = np.searchsorted(bands, number, side="right") - 1
        index = np.where(np.isnan(number) | (index >= len(bands) - 1), -1, index)
        if (index >= 0).any():
            return [_band(low, high) for low, high in pairwise(bands)], index
    missing = np.array([v is None or v != v for v in values.tolist()], dtype=bool)
    present, index = np.unique(values[~missing].astype(str), return_inverse=True)
    if np.issubdtype(values.dtype, np.number):
        numbers, index = np.unique(values[~missing], return_inverse=True)
        present = np.array([f"{v:g}" for v in numbers.tolist()])
    levels = np.full(len(values), -1)
    levels[~missing] = index
    return [str(name) for name in present], levels


def pairwise_gaps(
    values: np.ndarray, draws: np.ndarray, names: list[str], level: float = 0.95
) -> tuple[list[Gap], Interval]:
    """Gaps between each two of L levels, over the classes defined at both.

    Args:
        values: float (L, C), the metric of each level and class on the sample; NaN = undefined.
        draws: float (L, D, C), the same on each draw.
        names: L names.

    Returns:
        The gaps of all pairs, and the mean absolute gap over the pairs that are defined.
    """
    pairs = list(combinations(range(len(names)), 2))
    signed_values = np.array([mean_of_defined(values[b] - values[a]) for a, b in pairs])
    signed_draws = np.array([mean_of_defined(draws[b] - draws[a]) for a, b in pairs]).reshape(
        len(pairs), draws.shape[1]
    )
    gaps = [
        Gap(
            names[b],
            names[a],
            Interval.from_draws(signed_values[i], signed_draws[i], level),
            Interval.from_draws(abs(signed_values[i]), np.abs(signed_draws[i]), level),
        )
        for i, (a, b) in enumerate(pairs)
    ]
    if not pairs:
        return gaps, Interval.from_draws(np.nan, np.full(draws.shape[1], np.nan), level)
    mean = Interval.from_draws(
        mean_of_defined(np.abs(signed_values)), mean_of_defined(np.abs(signed_draws), axis=0), level
    )
    return gaps, mean


def gaps(
    metric: Metric,
    target: np.ndarray,
    score: np.ndarray,
    group: np.ndarray,
    *,
    bands: tuple[float, ...] | None = AGE_BANDS["default"],
    n: int = 1000,
    seed: int = 0,
    patients: np.ndarray | None = None,
    level: float = 0.95,
) -> Gaps:
    """A metric in each subgroup and the gaps between subgroups.

    Args:
        metric: (target, score) -> float; NaN or ValueError means undefined there.
        target, score: Arrays of N rows.
        group: (N,) names, or ages in years that fall into ``bands``; see ``assign_levels``. None and NaN: no group.
        bands: Limits of the age bands, left-closed; None takes each number as a level of its own.
        n, seed, level: Number of draws, their seed, coverage of the intervals.
        patients: (N,), whole patients are drawn; None draws rows.

    Raises:
        ValueError: Arrays of different lengths, or fewer than 2 draws.
    """
    target, score, group = np.asarray(target), np.asarray(score), np.asarray(group)
    if not len(target) == len(score) == len(group):
        raise ValueError(f"need rows of one number: {len(target)} targets, {len(score)} scores, {len(group)} groups")
    names, index = assign_levels(group, bands)
    draws = PatientDraws(np.arange(len(target)) if patients is None else np.asarray(patients), n, seed)
    members = [np.flatnonzero(index == i) for i in range(len(names))]
    values = np.array([[evaluate_or_nan(metric, target[rows], score[rows])] for rows in members]).reshape(-1, 1)
    drawn = np.full((len(names), n, 1), np.nan)
    for d, counts in enumerate(draws):
        for i, rows in enumerate(members):
            again = np.repeat(rows, counts[draws.codes[rows]])
            drawn[i, d, 0] = evaluate_or_nan(metric, target[again], score[again]) if len(again) else np.nan
    pairs, mean_absolute = pairwise_gaps(values, drawn, names, level)
    return Gaps(
        {name: Interval.from_draws(values[i, 0], drawn[i, :, 0], level) for i, name in enumerate(names)},
        {name: len(rows) for name, rows in zip(names, members, strict=True)},
        pairs,
        mean_absolute,
        int((index < 0).sum()),
    )


def quartile_bands(values: np.ndarray) -> tuple[float, ...]:
    """Limits of four left-closed bands with about a quarter of the values each, for numbers that are no age."""
    finite = values[np.isfinite(values)]
    inner = np.unique(np.quantile(finite, [0.25, 0.5, 0.75])) if len(finite) else np.array([])
    return (-np.inf, *(float(v) for v in inner), np.inf)


def bands_for(name: str, values: np.ndarray, age_bands: tuple[float, ...]) -> tuple[float, ...] | None:
    """Which bands a group column takes: ages the age bands, other many-valued numbers their quartiles, text none."""
    if not np.issubdtype(values.dtype, np.number):
        return None
    if name == "age":
        return age_bands
    return quartile_bands(values) if len(np.unique(values[~np.isnan(values)])) > MANY_VALUES else None


def levels_of(
    groups: Mapping[str, np.ndarray], age_bands: tuple[float, ...]
) -> dict[str, tuple[list[str], np.ndarray]]:
    """``assign_levels`` of each group column with the bands that suit it."""
    return {name: assign_levels(values, bands_for(name, values, age_bands)) for name, values in groups.items()}


def _band(low: float, high: float) -> str:
    if np.isneginf(low):
        return f"< {high:.4g}"
    return f"≥ {low:.4g}" if np.isposinf(high) else f"[{low:.4g}, {high:.4g})"
