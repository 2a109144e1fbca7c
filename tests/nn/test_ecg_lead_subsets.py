"""Subsets of present leads against enumeration."""

import itertools

import pytest
import torch

from cardiozoo.errors import OptionError
from cardiozoo.functional import kl_standard_normal, subset_posteriors
from cardiozoo.nn import ecg_lead_subsets
from cardiozoo.nn.ecg_lead_subsets import LeadSubsets, random_subsets

PRESENT = torch.tensor([[1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]]).bool()


def experts(scale=1.0):
    torch.manual_seed(0)
    return torch.randn(4, 5, 3, dtype=torch.float64), scale * torch.randn(4, 5, 3, dtype=torch.float64)


def expected_divergence(mu, logvar, present, prior):
    """Mean over all subsets of a row's present leads, each row by itself."""
    rows = []
    for row, there in enumerate(present):
        if not there.any():
            rows.append(torch.zeros((), dtype=mu.dtype))
            continue
        posteriors = subset_posteriors(mu[there, row][:, None], logvar[there, row][:, None], prior)
        rows.append(kl_standard_normal(*posteriors).mean())
    return torch.stack(rows)


@pytest.mark.parametrize("chunk", [2**24, 20])
@pytest.mark.parametrize("prior", ["full", "none", "all"])
def test_divergence_over_all_subsets_is_that_of_enumeration(prior, chunk, monkeypatch):
    monkeypatch.setattr(ecg_lead_subsets, "CHUNK", chunk)  # 15 subsets in one chunk, or one by one
    mu, logvar = experts(scale=3)
    subsets = LeadSubsets(4, prior)
    there = subsets.available(PRESENT)
    assert there.sum(1).tolist() == [15, 3, 7, 1, 0]
    members = subsets.members & there[..., None]
    mu.requires_grad_(), logvar.requires_grad_()
    got = subsets.divergence(mu, logvar, members, there, PRESENT)
    expected = expected_divergence(mu, logvar, PRESENT, prior)
    torch.testing.assert_close(got, expected)
    ours, theirs = (torch.autograd.grad(value.sum(), (mu, logvar)) for value in (got, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_samples_are_different_subsets_of_present_leads_and_uniform():
    subsets = LeadSubsets(4)
    torch.manual_seed(0)
    counts = torch.zeros(5, 15)
    for _ in range(3000):
        members, there = subsets.sample(PRESENT, 5)
        assert there.sum(1).tolist() == [5, 3, 5, 1, 0]
        assert not (members & ~PRESENT[:, None] & there[..., None]).any()
        for row in range(5):
            codes = [tuple(m) for m in members[row][there[row]].tolist()]
            assert len(set(codes)) == len(codes) and all(any(code) for code in codes)
        first = (members[:, :1] == subsets.members).all(-1).float().argmax(1)
        counts[torch.arange(5), first] += there[:, 0].float()
    # the first of them is a fair draw: each of n subsets in about 3000 / n of the draws
    for row, number in enumerate([15, 3, 7, 1]):
        share = counts[row][counts[row] > 0] / 3000
        assert len(share) == number
        assert share.sub(1 / number).abs().max() < 4 * (1 / number / 3000) ** 0.5


def test_the_sampled_divergence_is_unbiased():
    mu, logvar = experts()
    subsets = LeadSubsets(4)
    torch.manual_seed(1)
    draws = torch.stack([
        subsets.divergence(mu, logvar, *subsets.sample(PRESENT, 4), PRESENT) for _ in range(2000)
    ])  # fmt: skip
    expected = expected_divergence(mu, logvar, PRESENT, "full")
    error = draws.std(0) / 2000**0.5
    assert ((draws.mean(0) - expected).abs() <= 5 * error + 1e-9).all()


def test_official_slices_are_blocks_of_the_batch_in_order_of_size():
    subsets, present = LeadSubsets(2), torch.ones(8, 2, dtype=torch.bool)
    # three subsets and eight rows: blocks of two, the last takes the rest
    expected = [[1, 0]] * 2 + [[0, 1]] * 2 + [[1, 1]] * 4
    assert subsets.slices(present).int().tolist() == expected
    # more subsets than rows: the full one for everybody
    assert LeadSubsets(4).slices(torch.ones(5, 4, dtype=torch.bool)).all()
    rows = subsets.slices(torch.tensor([[True, False]] * 3 + [[False, False]]))
    assert rows.int().tolist() == [[1, 0]] * 3 + [[0, 0]]


def test_random_subsets_have_uniform_sizes_and_uniform_members():
    present = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
    torch.manual_seed(0)
    draws = torch.stack([random_subsets(present) for _ in range(4000)]).float()
    sizes = draws.sum(-1)
    assert set(sizes[:, 0].tolist()) == {2, 3, 4} and set(sizes[:, 1].tolist()) == {2}
    assert not sizes[:, 2:].any() and not (draws.bool() & ~present).any()
    for size in (2, 3, 4):
        assert (sizes[:, 0] == size).float().mean().item() == pytest.approx(1 / 3, abs=0.03)
    torch.testing.assert_close(draws[:, 0].mean(0), torch.full((5,), 0.6), atol=0.03, rtol=0)
    pairs = {tuple(row.nonzero().flatten().tolist()) for row in draws[:, 1]}
    assert pairs == set(itertools.combinations([0, 2, 3], 2))


def test_an_unknown_prior_is_refused():
    with pytest.raises(OptionError, match="prior 'half'"):
        LeadSubsets(3, "half")
