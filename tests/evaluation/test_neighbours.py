"""Neighbourhoods by brute force."""

import numpy as np
import pytest

from cardiozoo.evaluation.neighbours import recall_at_k, same_group_share


def nearest(z: np.ndarray, i: int, k: int) -> list[int]:
    return sorted((j for j in range(len(z)) if j != i), key=lambda j: float(((z[i] - z[j]) ** 2).sum()))[:k]


@pytest.mark.parametrize("k", [1, 3])
def test_equals_brute_force(k: int) -> None:
    rng = np.random.default_rng(k)
    z, labels = rng.normal(size=(50, 4)), rng.integers(0, 3, 50)
    hits = [any(labels[j] == labels[i] for j in nearest(z, i, k)) for i in range(50)]
    assert recall_at_k(z, labels, k) == pytest.approx(np.mean(hits))
    sex = np.where(rng.random(50) < 0.4, "F", "M")
    shares = [np.mean([sex[j] == "F" for j in nearest(z, i, k)]) for i in range(50) if sex[i] == "F"]
    assert same_group_share(z, sex, k, "F") == pytest.approx(np.mean(shares))


def test_no_sample_is_its_own_neighbour() -> None:
    z = np.array([[0.0], [0.1], [5.0]])
    assert recall_at_k(z, np.array([0, 1, 2])) == 0
    assert same_group_share(z, np.array(["F", "M", "M"]), 1, "F") == 0
    assert np.isnan(same_group_share(z, np.array(["F", "M", "M"]), 1, "X"))


@pytest.mark.parametrize("k", [0, 3])
def test_k_out_of_range(k: int) -> None:
    with pytest.raises(ValueError, match=r"1 \.\. 2"):
        recall_at_k(np.zeros((3, 1)), np.zeros(3), k)
