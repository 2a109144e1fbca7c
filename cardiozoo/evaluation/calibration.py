"""Do probabilities mean what they say: Brier score, expected calibration error and reliability curves.

The calibration error is the mean over bins of |mean target - mean score|, weighted by the rows in each bin (Naeini et
al. 2015), in two binnings with names: ``equal_width`` cuts [0, 1] into equal parts, ``equal_mass`` cuts at quantiles of
the scores so that each bin holds about as many rows (tied scores stay together). It is never negative and so lies above
0 for a perfect model too, the more the fewer the rows; compare it only between models on the same rows. Bins are set
once on the sample and kept in all draws.

Every quantity is a function of sums over patients, so all draws are one sparse product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, vstack

from cardiozoo.evaluation.bootstrap import Interval, PatientDraws
from cardiozoo.evaluation.predictions import Predictions

BINNINGS = ("equal_width", "equal_mass")
MEASURES = ("brier", "ece_equal_width", "ece_equal_mass")
POOLED = "(all classes pooled)"


def bin_edges(score: np.ndarray, bins: int, binning: str) -> np.ndarray:
    """Inner edges of the bins, ascending, at most bins - 1; a score on an edge belongs to the bin above it."""
    if binning == "equal_width":
        return np.arange(1, bins) / bins
    if binning != "equal_mass":
        raise ValueError(f"binning must be one of {BINNINGS}, got {binning!r}")
    edges = np.unique(np.quantile(score, np.arange(1, bins) / bins, method="higher")) if len(score) else np.empty(0)
    return edges[edges > score.min()] if len(score) else edges


@dataclass(frozen=True)
class ReliabilityBin:
    """One point of a reliability curve: mean score of the bin against the share of positives, with its interval."""

    curve: str
    binning: str
    bin: int
    lower: float
    upper: float
    rows: int
    mean_score: float
    observed: Interval


@dataclass(frozen=True)
class Calibration:
    """Intervals by (class, measure), ``POOLED`` and ``macro`` included, and the reliability curves' points."""

    measures: dict[tuple[str, str], Interval]
    curves: list[ReliabilityBin]


def calibration(predictions: Predictions, draws: PatientDraws, bins: int = 10, level: float = 0.95) -> Calibration:
    """Calibration of each class, of all cells pooled, and the mean over classes (``macro``).

    Args:
        predictions: The table.
        draws: Resamples of its patients.
        bins: Bins of the calibration error and of the curves.
        level: Coverage of the intervals.
    """
    columns = [_Curve(name, predictions, [c], draws, bins) for c, name in enumerate(predictions.classes)]
    if len(predictions.classes) > 1:
        columns.append(_Curve(POOLED, predictions, list(range(len(predictions.classes))), draws, bins))
    for span, counts in draws.blocks():
        for curve in columns:
            curve.add(span, counts)
    measures = {
        (curve.name, measure): Interval.from_draws(curve.value[measure], curve.draws[measure], level)
        for curve in columns
        for measure in MEASURES
    }
    single = columns[: len(predictions.classes)]
    for measure in MEASURES:
        values = np.array([curve.value[measure] for curve in single])
        drawn = np.stack([curve.draws[measure] for curve in single])
        defined = ~np.isnan(values)
        mean = drawn[defined].mean(axis=0) if defined.any() else np.full(draws.n, np.nan)
        measures["macro", measure] = Interval.from_draws(
            values[defined].mean() if defined.any() else np.nan, mean, level
        )
    return Calibration(measures, [point for curve in columns for point in curve.points(level)])


class _Curve:
    """Sums of one class, or of several pooled: rows, targets and scores in each bin, and squared errors."""

    def __init__(self, name: str, predictions: Predictions, classes: list[int], draws: PatientDraws, bins: int) -> None:
        target, score = predictions.target[:, classes], predictions.score[:, classes]
        labelled = ~np.isnan(target)
        patient = np.broadcast_to(draws.codes[:, None], target.shape)[labelled]
        target, score = target[labelled], score[labelled]
        self.name = name
        self.edges = {binning: bin_edges(score, bins, binning) for binning in BINNINGS}
        parts = [_sums(np.zeros(len(score), dtype=int), (target - score) ** 2, patient, 1, draws.patients)]
        for edges in self.edges.values():
            at, size = np.searchsorted(edges, score, side="right"), len(edges) + 1
            for values in (np.ones(len(score)), target, score):
                parts.append(_sums(at, values, patient, size, draws.patients))
        self._sums = vstack(parts, format="csr")
        # Summing over draws of "everybody once" gives the sample itself.
        self.once = self._measure(self._sums @ np.ones((draws.patients, 1)))
        self.value = {measure: float(self.once[measure][0]) for measure in MEASURES}
        self.draws = {measure: np.full(draws.n, np.nan) for measure in MEASURES}
        self.observed = {b: np.full((len(self.edges[b]) + 1, draws.n), np.nan) for b in BINNINGS}

    def add(self, span: slice, counts: np.ndarray) -> None:
        result = self._measure(self._sums @ counts)
        for measure in MEASURES:
            self.draws[measure][span] = result[measure]
        for binning in BINNINGS:
            self.observed[binning][:, span] = result[f"observed_{binning}"]

    def points(self, level: float) -> list[ReliabilityBin]:
        points = []
        for binning in BINNINGS:
            edges = [0.0, *self.edges[binning], 1.0]
            rows, mean_score = self.once[f"rows_{binning}"][:, 0], self.once[f"score_{binning}"][:, 0]
            for i in np.flatnonzero(rows):
                interval = Interval.from_draws(self.once[f"observed_{binning}"][i, 0], self.observed[binning][i], level)
                limits = float(edges[i]), float(edges[i + 1])
                points.append(
                    ReliabilityBin(self.name, binning, int(i), *limits, int(rows[i]), float(mean_score[i]), interval)
                )
        return points

    def _measure(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Sums (rows of the matrix, D) -> each measure (D,) and each binning's curve (bins, D)."""
        result, at = {}, 1
        for binning in BINNINGS:
            size = len(self.edges[binning]) + 1
            rows, target, score = (sums[at + k * size : at + (k + 1) * size] for k in range(3))
            at += 3 * size
            total = rows.sum(axis=0)
            divisor = np.where(total > 0, total, np.nan)
            result[f"ece_{binning}"] = np.abs(target - score).sum(axis=0) / divisor
            result["brier"] = sums[0] / divisor
            result[f"rows_{binning}"] = rows
            result[f"observed_{binning}"] = target / np.where(rows > 0, rows, np.nan)
            result[f"score_{binning}"] = score / np.where(rows > 0, rows, np.nan)
        return result


def _sums(row: np.ndarray, value: np.ndarray, patient: np.ndarray, rows: int, patients: int) -> csr_matrix:
    return csr_matrix((value, (row, patient)), shape=(rows, patients))
