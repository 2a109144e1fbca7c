"""Reductions over valid steps against loops."""

import torch

from cardiozoo.data.batch import step_mask
from cardiozoo.nn.pooling import last_valid, masked_mean

LENGTHS = torch.tensor([4, 1, 3])
SEQUENCE = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))


def test_masked_mean_is_the_mean_of_each_row_alone():
    spoiled = torch.where(step_mask(LENGTHS, 4)[..., None], SEQUENCE, torch.nan).requires_grad_()
    mean = masked_mean(spoiled, step_mask(LENGTHS, 4))
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(mean[row], SEQUENCE[row, :length].mean(0))
    mean.sum().backward()
    assert spoiled.grad.isfinite().all()


def test_masked_mean_of_nothing_is_zero():
    assert masked_mean(SEQUENCE, torch.zeros(3, 4, dtype=torch.bool)).eq(0).all()


def test_last_valid_picks_the_last_step_of_each_row():
    picked = last_valid(SEQUENCE, LENGTHS)
    for row, length in enumerate(LENGTHS):
        assert torch.equal(picked[row], SEQUENCE[row, length - 1])
