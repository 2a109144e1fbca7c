"""Errors of a regression beside scikit-learn's."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from cardiozoo.nn.metrics import EpochMeters, Errors


def test_errors_are_means_over_columns_of_all_batches():
    rng = np.random.default_rng(0)
    target = rng.normal([1000.0, -3.0], [1.0, 20.0], (50, 2)).astype(np.float32)
    prediction = (target + rng.normal(0, 1, target.shape)).astype(np.float32)
    target[[3, 10], 0], target[7, 1] = np.nan, np.nan
    metric = Errors()
    for rows in np.array_split(np.arange(50), 7):
        metric.update(torch.from_numpy(prediction[rows]), torch.from_numpy(target[rows]))
    found = {name: float(value) for name, value in metric.compute().items()}
    kept = [~np.isnan(target[:, c]) for c in range(2)]
    for name, function in (("rmse", root_mean_squared_error), ("mae", mean_absolute_error), ("r2", r2_score)):
        columns = [function(target[kept[c], c].astype(float), prediction[kept[c], c].astype(float)) for c in range(2)]
        assert found[name] == pytest.approx(np.mean(columns), rel=1e-5), name
    assert found["undefined_columns"] == 0


def test_columns_without_spread_or_labels_are_counted():
    target = torch.tensor([[1.0, 5.0, torch.nan], [2.0, 5.0, torch.nan], [4.0, 5.0, torch.nan]])
    metric = Errors()
    metric.update(torch.full_like(target, 3.0), target)
    found = metric.compute()
    assert found["undefined_columns"] == 2
    assert float(found["r2"]) == pytest.approx(r2_score([1, 2, 4], [3, 3, 3]))
    assert float(found["mae"]) == pytest.approx((4 / 3 + 2) / 2)
    metric.reset()
    metric.update(torch.zeros(2, 1), torch.full((2, 1), torch.nan))
    assert all(math.isnan(metric.compute()[name]) for name in ("rmse", "mae", "r2"))


def test_each_kind_of_task_has_its_metrics():
    assert EpochMeters("binary").ranking is not None and EpochMeters("binary").errors is None
    assert EpochMeters("regression").ranking is None and EpochMeters("regression").errors is not None
    assert EpochMeters("unsupervised").ranking is None and EpochMeters("unsupervised").errors is None
