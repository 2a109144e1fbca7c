"""AUROC and average precision on many resamples of patients at once, equal to scikit-learn on the resampled rows.

Resampling repeats rows but never changes their order by score. So scores are sorted once; after that both metrics are
functions of a few sums of how often each patient was drawn: the positives at each score that a positive has, the
negatives tied with it, and the negatives between it and the next higher such score. Those sums are one sparse matrix
(segments x patients) times the counts (patients x draws).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix


class RankedScores:
    """The scores of one class, sorted, ready for resampling by patient.

    Args:
        target: float (N,) of 0, 1 or NaN; unlabelled rows take no part.
        score: float (N,).
        patient: int (N,), the patient of each row in 0 .. patients - 1.
        patients: Number of patients that are resampled.
    """

    def __init__(self, target: np.ndarray, score: np.ndarray, patient: np.ndarray, patients: int) -> None:
        labelled = ~np.isnan(target)
        target, score, patient = target[labelled], score[labelled], patient[labelled]
        order = np.argsort(-score, kind="stable")
        positive, patient = target[order] > 0.5, patient[order]
        level = np.concatenate([[0], np.cumsum(np.diff(score[order]) != 0)])[: len(order)]  # 0 = the highest score
        levels = np.unique(level[positive])
        self.levels = len(levels)
        at = np.searchsorted(levels, level)  # the first level with a positive that is not above this row
        tied = at < self.levels
        tied[tied] = levels[at[tied]] == level[tied]
        # Rows of the matrix: positives of each level | negatives before each level, after the last | negatives tied.
        segment = np.where(positive, at, np.where(tied, 2 * self.levels + 1 + at, self.levels + at))
        self._has_ties = bool((tied & ~positive).any())
        rows = (3 if self._has_ties else 2) * self.levels + 1
        self._segments = csr_matrix((np.ones(len(order)), (segment, patient)), shape=(rows, patients))

    def areas(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AUROC and average precision of each draw.

        Args:
            counts: float64 (patients, D), how often each patient was drawn.

        Returns:
            Two arrays (D,); NaN for draws without positives or without negatives.
        """
        sums = self._segments @ counts
        levels = self.levels
        positives, between = sums[:levels], sums[levels : 2 * levels + 1]
        tied = sums[2 * levels + 1 :] if self._has_ties else np.zeros_like(positives)
        true_positives = np.cumsum(positives, axis=0)
        above = np.cumsum(between[:-1] + tied, axis=0) - tied  # negatives strictly above each level
        total_positive = positives.sum(axis=0)
        total_negative = between.sum(axis=0) + tied.sum(axis=0)
        undefined = (total_positive == 0) | (total_negative == 0)
        total_positive, total_negative = np.where(undefined, 1, total_positive), np.where(undefined, 1, total_negative)
        won = (positives * (total_negative - above - tied / 2)).sum(axis=0)
        predicted = np.maximum(true_positives + above + tied, 1)  # a level nobody drew adds 0, whatever divides it
        precision = (positives * true_positives / predicted).sum(axis=0)
        auroc, auprc = won / (total_positive * total_negative), precision / total_positive
        return np.where(undefined, np.nan, auroc), np.where(undefined, np.nan, auprc)
