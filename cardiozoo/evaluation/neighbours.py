"""Neighbourhoods of an embedding: same label (Recall@k), same group (segregation). No sample is its own neighbour."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors


def recall_at_k(z: np.ndarray, labels: np.ndarray, k: int = 1) -> float:
    """Share of samples with at least one of the same label among their k nearest others.

    Args:
        z: (N, D) embeddings, used raw, Euclidean distance.
        labels: (N,).
        k: Neighbours looked at, 1 <= k < N.

    Raises:
        ValueError: Wrong shapes or k out of range.
    """
    labels = np.asarray(labels)
    neighbours = _nearest(z, labels, k)
    return float((labels[neighbours] == labels[:, None]).any(axis=1).mean())


def same_group_share(z: np.ndarray, group: np.ndarray, k: int, value: Any) -> float:
    """Mean share of ``value`` among the k nearest others of the samples whose group is ``value``; NaN if there is none.

    Without segregation it equals the share of ``value`` among the others. Arguments and errors as in ``recall_at_k``.
    """
    group = np.asarray(group)
    neighbours = _nearest(z, group, k)
    members = group == value
    return float((group[neighbours[members]] == value).mean()) if members.any() else float("nan")


def _nearest(z: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    z = np.asarray(z)
    if z.ndim != 2 or labels.shape != (len(z),):
        raise ValueError(f"z must be (N, D) and the labels (N,), got {z.shape} and {labels.shape}")
    if not 1 <= k < len(z):
        raise ValueError(f"k must lie in 1 .. {len(z) - 1}, got {k}")
    # Asked without a query, scikit-learn leaves each point out of its own neighbours, duplicates of it stay in.
    return NearestNeighbors(n_neighbors=k).fit(z).kneighbors(return_distance=False)
