"""Encoding the present rows only: BatchNorm, gradients, and the agreement of processes."""

import pytest
import torch
from torch import nn

from cardiozoo.nn.present import batch_norm_in_eval, encode_present, touch
from cardiozoo.testing.processes import pair


def encoder():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


IMAGES = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
PRESENT = torch.tensor([True, False, True, True, False])


def test_rows_equal_those_encoded_alone_and_absent_rows_are_zero():
    net, alone = encoder(), encoder()
    images = torch.where(PRESENT.view(-1, 1, 1, 1), IMAGES, torch.nan)
    got = encode_present(net, images, PRESENT, 4)
    torch.testing.assert_close(got[PRESENT], alone(IMAGES[PRESENT]))
    assert got[~PRESENT].eq(0).all()
    # the statistics are those of the three present images, not of five
    torch.testing.assert_close(net[1].running_mean, alone[1].running_mean)
    got.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_leave_the_statistics_alone(rows):
    net = encoder()
    before = net[1].running_mean.clone()
    present = torch.arange(5) < rows
    got = encode_present(net, IMAGES, present, 4)
    torch.testing.assert_close(got[:rows], encoder().eval()(IMAGES[:rows]))
    assert torch.equal(net[1].running_mean, before) and net[1].num_batches_tracked == 0 and net[1].training
    got.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_frozen_statistics_stay():
    net = encoder()
    got = encode_present(net, IMAGES, PRESENT, 4, freeze_batch_norm=True)
    torch.testing.assert_close(got[PRESENT], encoder().eval()(IMAGES[PRESENT]))
    assert net[1].num_batches_tracked == 0


def test_batch_norm_trains_again_after_an_error():
    net = encoder()
    with pytest.raises(RuntimeError), batch_norm_in_eval(net):
        raise RuntimeError
    assert net[1].training


def test_touch_is_zero_whatever_the_parameters_hold():
    parameters = [nn.Parameter(torch.tensor([torch.inf, torch.nan])), nn.Parameter(torch.ones(2, 2))]
    frozen = nn.Parameter(torch.ones(1), requires_grad=False)
    zero = touch([*parameters, frozen])
    zero.backward()
    assert zero.item() == 0.0 and all(p.grad.eq(0).all() for p in parameters) and frozen.grad is None
    assert touch([]).item() == 0.0


class SumsOverProcesses(nn.SyncBatchNorm):
    """Stands in for SyncBatchNorm, which refuses the CPU: one collective forward and one backward in training."""

    def forward(self, x):
        if not self.training:
            return x
        total = torch.distributed.nn.all_reduce(x.sum((0, 2, 3)))
        return x + 0.0 * total.view(1, -1, 1, 1)


def encode_with_synchronised_norm(rows):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), SumsOverProcesses(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    present = torch.arange(3) < rows
    got = encode_present(net, IMAGES[:3], present, 4)
    got.sum().backward()
    return got.detach().numpy(), net[0].weight.grad is not None


@pytest.mark.parametrize("rows", [(3, 0), (1, 0), (0, 0), (1, 1)])
def test_synchronised_norm_does_not_wait_for_a_process_without_rows(rows):
    results = pair().run(encode_with_synchronised_norm, [(count,) for count in rows])
    for count, (got, has_gradient) in zip(rows, results, strict=True):
        assert has_gradient and (got[count:] == 0).all() and (got[:count] != 0).all()
