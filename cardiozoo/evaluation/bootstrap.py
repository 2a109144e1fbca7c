"""Percentile bootstrap intervals over patients (Efron and Tibshirani 1993, chapter 13).

A patient with several stays brings all of them, or none, into a draw; rows of one patient are not independent, and
resampling rows would make intervals too narrow. The same seed gives the same draws for every metric, class and subset,
so differences between them can be taken draw by draw.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from cardiozoo.evaluation.metrics import Metric


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap distribution.

    Attributes:
        value: The metric on the sample itself; NaN if undefined.
        low, high: Percentile limits over the draws where it is defined; NaN if it is nowhere.
        mean, sd: Of the defined draws (sd with n - 1).
        n: Draws made.
        undefined: Draws, of these, in which the metric has no value.
        level: Coverage aimed at, 0.95 for the percentiles 2.5 and 97.5.
    """

    value: float
    low: float
    high: float
    mean: float
    sd: float
    n: int
    undefined: int
    level: float = 0.95

    @classmethod
    def from_draws(cls, value: float, draws: np.ndarray, level: float = 0.95) -> Interval:
        """Summarise draws (D,), NaN = undefined."""
        defined = draws[~np.isnan(draws)]
        nan = float("nan")
        low, high = np.percentile(defined, [50 * (1 - level), 50 * (1 + level)]) if len(defined) else (nan, nan)
        mean = float(defined.mean()) if len(defined) else nan
        sd = float(defined.std(ddof=1)) if len(defined) > 1 else nan
        return cls(float(value), float(low), float(high), mean, sd, len(draws), len(draws) - len(defined), level)

    def row(self) -> dict[str, float | int]:
        """As columns of a table."""
        names = {"n": "draws", "undefined": "undefined_draws"}
        return {names.get(key, key): value for key, value in asdict(self).items() if key != "level"}


class PatientDraws:
    """Resamples of whole patients, the same for whoever asks with the same seed.

    Args:
        patient: (N,) of anything sortable: the patient of each row.
        n: Number of draws.
        seed: Seed of numpy's PCG64.
    """

    def __init__(self, patient: np.ndarray, n: int, seed: int) -> None:
        _check_draws(n)
        names, codes = np.unique(patient, return_inverse=True)
        self.codes = codes.astype(np.int64).reshape(-1)  # (N,) in 0 .. patients - 1
        self.patients, self.n, self.seed = len(names), n, seed

    def __iter__(self) -> Iterator[np.ndarray]:
        """Each draw as the multiplicity of each patient, int (patients,)."""
        generator = np.random.default_rng(self.seed)
        for _ in range(self.n):
            drawn = generator.integers(0, self.patients, self.patients)
            yield np.bincount(drawn, minlength=self.patients)

    def blocks(self, size: int = 64) -> Iterator[tuple[slice, np.ndarray]]:
        """Draws side by side: (which draws, counts float64 (patients, at most size))."""
        draws = iter(self)
        for start in range(0, self.n, size):
            stop = min(start + size, self.n)
            yield slice(start, stop), np.stack([next(draws) for _ in range(start, stop)], axis=1).astype(np.float64)


def confidence_interval(
    metric: Metric,
    target: np.ndarray,
    score: np.ndarray,
    n: int = 1000,
    seed: int = 0,
    groups: np.ndarray | None = None,
    level: float = 0.95,
) -> Interval:
    """Bootstrap interval of any metric.

    Args:
        metric: (target, score) -> float; NaN or ValueError means undefined on that sample.
        target, score: Arrays of N rows, of any further shape the metric takes.
        n: Number of draws.
        seed: Seed of the draws.
        groups: (N,), the patient of each row: whole patients are drawn. None: rows are.
        level: Coverage aimed at.

    Raises:
        ValueError: Arrays of different lengths, no rows, fewer than 2 draws, or a level outside (0, 1).
    """
    target, score = np.asarray(target), np.asarray(score)
    groups = np.arange(len(target)) if groups is None else np.asarray(groups)
    if not len(target) or len(target) != len(score) or len(target) != len(groups):
        raise ValueError(
            f"need rows of one number, got {len(target)} targets, {len(score)} scores, {len(groups)} groups"
        )
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    draws = PatientDraws(groups, n, seed)
    values = np.full(n, np.nan)
    for i, counts in enumerate(draws):
        rows = np.repeat(np.arange(len(target)), counts[draws.codes])
        values[i] = evaluate_or_nan(metric, target[rows], score[rows])
    return Interval.from_draws(evaluate_or_nan(metric, target, score), values, level)


def evaluate_or_nan(metric: Metric, target: np.ndarray, score: np.ndarray) -> float:
    """The metric, with its ways of being undefined (NaN, ValueError) made one: NaN."""
    try:
        return float(metric(target, score))
    except ValueError:
        return float("nan")


def _check_draws(n: int) -> None:
    if n < 2:
        raise ValueError(f"need at least 2 bootstrap draws, got {n}")
