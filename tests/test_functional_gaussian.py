"""Mixtures, subsets and alignment of Gaussian experts against literal sums, sampling and numerical derivatives."""

import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from cardiozoo.functional import (
    alignment_distance,
    alignment_loss,
    mixture_of_experts,
    product_of_experts,
    reparameterize,
    soft_clamp,
    subset_members,
    subset_posteriors,
)

MASK = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 1, 1, 0], [1, 0, 0, 1, 1]]).bool()


def draw(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def spoil(values, mask, filler):
    return torch.where(mask[..., None], values, filler).requires_grad_()


def test_mixture_has_the_moments_that_torch_gives_the_mixture():
    mu, logvar, weights = draw(4, 6, 3, scale=2), draw(4, 6, 3, seed=1), draw(4, 6, seed=2).exp()
    components = Independent(Normal(mu.permute(1, 2, 0), (0.5 * logvar).exp().permute(1, 2, 0)), 0)
    shares = Categorical(weights.T[:, None].expand(6, 3, 4))
    expected = MixtureSameFamily(shares, components)
    got_mu, got_logvar = mixture_of_experts(mu, logvar, weights)
    torch.testing.assert_close(got_mu, expected.mean)
    torch.testing.assert_close(got_logvar.exp(), expected.variance)


@pytest.mark.parametrize("filler", [torch.nan, torch.inf])
def test_mixture_is_the_literal_sum_over_the_present_experts(filler):
    mu, logvar, weights = draw(3, 5, 4), draw(3, 5, 4, seed=1), draw(3, 5, seed=2).exp()
    spoiled = (spoil(mu, MASK, filler), spoil(logvar, MASK, -filler))
    got_mu, got_logvar = mixture_of_experts(*spoiled, torch.where(MASK, weights, filler), MASK)
    for row in range(5):
        there = MASK[:, row]
        w = (weights[there, row] / weights[there, row].sum())[:, None]
        mean = (w * mu[there, row]).sum(0)
        # the textbook's form, which is right in float64
        variance = (w * (logvar[there, row].exp() + mu[there, row] ** 2)).sum(0) - mean**2
        torch.testing.assert_close(got_mu[row], mean)
        torch.testing.assert_close(got_logvar[row], variance.log())
    (got_mu.sum() + got_logvar.sum()).backward()
    for values in spoiled:
        assert values.grad.isfinite().all() and (values.grad[~MASK] == 0).all()


def test_mixture_derivatives():
    mu, logvar = draw(3, 2, 2).requires_grad_(), draw(3, 2, 2, seed=1).requires_grad_()
    weights = draw(3, 2, seed=2).exp().requires_grad_()
    assert gradcheck(mixture_of_experts, (mu, logvar, weights))
    # also where experts agree exactly, and where one has no weight
    same = mu.detach()[:1].expand(3, 2, 2).clone().requires_grad_()
    assert gradcheck(mixture_of_experts, (same, logvar, weights))
    without = torch.tensor([[1.0, 2.0], [0.5, 1.0], [0.0, 0.0]], dtype=torch.float64)
    assert gradcheck(lambda m, v: mixture_of_experts(m, v, without), (mu, logvar))


@pytest.mark.parametrize(("mu", "spread", "logvar"), [(2.0, 0.02, -6.0), (100.0, 0.01, -6.0), (300.0, 1e-3, -20.0)])
def test_mixture_of_agreeing_experts_keeps_its_variance_in_single_precision(mu, spread, logvar):
    mu = mu + spread * draw(13, 50, 2)
    logvar = torch.full_like(mu, logvar)
    weights = draw(13, 50, seed=3).exp()
    single = mu.float()  # rounded once; both sides start from the same numbers
    exact = mixture_of_experts(single.double(), logvar, weights.float().double())[1]
    got = mixture_of_experts(single, logvar.float(), weights.float())[1]
    assert got.isfinite().all()
    # the mean is known to one unit in the last place, which enters the spread
    torch.testing.assert_close(got.double(), exact, rtol=1e-3, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shares", [(0.5, 0.5), (1.0, 0.0), (1e-6, 1 - 1e-6)])
def test_mixture_is_stable(dtype, shares):
    for pair in itertools.product((-100.0, 0.0, 100.0), repeat=2):
        for distance in (0.0, 1e-3, 600.0):
            mu = torch.tensor([0.0, distance], dtype=dtype).view(2, 1, 1).requires_grad_()
            logvar = torch.tensor(pair, dtype=dtype).view(2, 1, 1).requires_grad_()
            weights = torch.tensor(shares, dtype=dtype).view(2, 1).requires_grad_()
            mean, joint = mixture_of_experts(mu, logvar, weights)
            gradients = torch.autograd.grad((mean + joint).sum(), (mu, logvar, weights))
            assert mean.isfinite().all() and all(g.isfinite().all() for g in gradients)
            # in whole numbers of arbitrary size
            w = [s / sum(shares) for s in shares]
            middle = w[1] * distance
            exact = sum(a * (math.exp(v) + (m - middle) ** 2) for a, v, m in zip(w, pair, (0.0, distance), strict=True))
            assert joint.item() == pytest.approx(math.log(exact), abs=1e-3)


def test_mixture_refuses_what_is_no_mixture():
    mu, logvar = draw(3, 5, 4), draw(3, 5, 4, seed=1)
    with pytest.raises(ValueError, match=r"weights \(E, B\)"):
        mixture_of_experts(mu, logvar, torch.ones(5, 3))
    with pytest.raises(ValueError, match="no weight"):
        mixture_of_experts(mu, logvar, torch.zeros(3, 5))
    with pytest.raises(ValueError, match="negative weight"):
        mixture_of_experts(mu, logvar, torch.tensor([2.0, -1.0, 1.0])[:, None].expand(3, 5))
    with pytest.raises(ValueError, match="no weight"):
        mixture_of_experts(mu, logvar, torch.ones(3, 5), torch.zeros(3, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="infinite"):
        mixture_of_experts(mu, logvar, torch.full((3, 5), math.inf))
    for function in (product_of_experts, lambda *values: alignment_loss(values[0], values[1][0], 0.1, values[2])):
        with pytest.raises(ValueError, match=r"mask \(3, 5\) float32; expected .* mask bool \(E, B\)"):
            function(mu, logvar, torch.ones(3, 5))
    # a negative weight of an absent expert is nobody's business
    absent = torch.tensor([True, False, True])[:, None].expand(3, 5)
    weights = torch.tensor([2.0, -1.0, 1.0])[:, None].expand(3, 5)
    assert mixture_of_experts(mu, logvar, weights, absent)[0].isfinite().all()


@pytest.mark.parametrize("prior", ["full", "none", "all"])
@pytest.mark.parametrize("experts", [1, 2, 5])
def test_subsets_are_products_in_the_order_of_itertools(experts, prior):
    mu, logvar = draw(experts, 3, 4), draw(experts, 3, 4, seed=1, scale=3)
    got_mu, got_logvar = subset_posteriors(mu, logvar, prior)
    expected = [s for size in range(1, experts + 1) for s in itertools.combinations(range(experts), size)]
    assert len(got_mu) == len(expected) == 2**experts - 1
    for row, members in enumerate(expected):
        chosen = list(members)
        precision = torch.exp(-logvar[chosen])
        extra = 1.0 if prior == "all" or (prior == "full" and len(chosen) == experts) else 0.0
        total = precision.sum(0) + extra
        torch.testing.assert_close(got_mu[row], (precision * mu[chosen]).sum(0) / total)
        torch.testing.assert_close(got_logvar[row], -total.log())
        assert subset_members(experts)[row].nonzero().flatten().tolist() == chosen


def test_subsets_are_stable_where_precisions_differ_by_200_orders():
    logvar = torch.tensor([-100.0, 100.0, 40.0, -30.0]).view(4, 1, 1).requires_grad_()
    mu = torch.tensor([5.0, -7.0, 300.0, 1.0]).view(4, 1, 1).requires_grad_()
    got_mu, got_logvar = subset_posteriors(mu, logvar, "none")
    exact = subset_posteriors(mu.double(), logvar.double(), "none")
    torch.testing.assert_close(got_mu.double(), exact[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got_logvar.double(), exact[1], rtol=1e-5, atol=1e-4)
    # the subset of the two vaguest is not swallowed by the sharper ones outside it
    vague = subset_members(4).tolist().index([False, True, True, False])
    assert got_logvar[vague].item() == pytest.approx(40.0, abs=1e-4)
    gradients = torch.autograd.grad(got_mu.sum() + got_logvar.sum(), (mu, logvar))
    assert all(g.isfinite().all() for g in gradients)


def test_subsets_agree_with_the_product_of_experts_and_have_its_derivative():
    mu, logvar = draw(3, 2, 2).requires_grad_(), draw(3, 2, 2, seed=1).requires_grad_()
    full = subset_posteriors(mu, logvar, "full")
    for got, expected in zip(full, product_of_experts(mu, logvar, prior=True), strict=True):
        torch.testing.assert_close(got[-1], expected)
    assert gradcheck(subset_posteriors, (mu, logvar))
    with pytest.raises(ValueError, match="prior"):
        subset_posteriors(mu, logvar, "some")
    with pytest.raises(ValueError, match="17 experts"):
        subset_posteriors(torch.zeros(17, 1, 1), torch.zeros(17, 1, 1))
    with pytest.raises(ValueError, match="0 experts"):
        subset_posteriors(torch.zeros(0, 1, 1), torch.zeros(0, 1, 1))


@pytest.mark.parametrize("filler", [torch.nan, torch.inf])
def test_alignment_is_the_mean_squared_distance_of_the_present_experts(filler):
    mu, joint = draw(3, 5, 4), draw(5, 4, seed=1)
    spoiled = spoil(mu, MASK, filler)
    got = alignment_loss(spoiled, joint, 0.3, MASK)
    rows = []
    for row in range(5):
        distances = [((mu[e, row] - joint[row]) ** 2).sum() for e in range(3) if MASK[e, row]]
        rows.append(sum(distances) / len(distances))
    torch.testing.assert_close(got, 0.3 * sum(rows) / 5)
    got.backward()
    assert spoiled.grad.isfinite().all() and (spoiled.grad[~MASK] == 0).all()
    torch.testing.assert_close(alignment_loss(mu, joint, 2.0), 2.0 * ((mu - joint) ** 2).sum(-1).mean())


def test_alignment_of_a_row_without_experts_is_nothing():
    mu, joint, mask = draw(3, 5, 4), draw(5, 4, seed=1), MASK.clone()
    mask[:, 2] = False
    joint[2] = torch.nan
    others = [0, 1, 3, 4]
    expected = alignment_loss(mu[:, others], joint[others], 1.0, mask[:, others])
    torch.testing.assert_close(alignment_loss(mu, joint, 1.0, mask), expected)
    assert alignment_distance(mu, joint, mask)[2] == 0
    assert alignment_loss(mu, joint, 1.0, torch.zeros_like(mask)) == 0
    with pytest.raises(ValueError, match="mu_joint"):
        alignment_loss(mu, joint[:4], 1.0)


def test_soft_clamp_is_the_identity_inside_and_keeps_a_gradient_outside():
    x = torch.tensor([-1e6, -40.0, -8.0, -1.0, 0.0, 3.0, 7.9, 8.1, 500.0], dtype=torch.float64).requires_grad_()
    y = soft_clamp(x, 10.0)
    assert torch.equal(y[2:7], x[2:7]) and (y.abs() < 10).all()
    assert (y.diff() > 0).all()
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert (slope > 0).all() and torch.equal(slope[2:7], torch.ones_like(slope[2:7]))
    assert gradcheck(
        lambda v: soft_clamp(v, 10.0), (torch.tensor([-20.0, 8.5, 3.0], dtype=torch.float64, requires_grad=True),)
    )
    torch.testing.assert_close(soft_clamp(torch.tensor([9.0]), 10.0), torch.tensor([8.0 + 2 * 0.5 / 1.5]))
    with pytest.raises(ValueError, match="limit"):
        soft_clamp(x, 0.0)


def test_bfloat16_is_computed_in_single_precision_also_under_autocast():
    mu, logvar = (2 + 0.02 * draw(13, 20, 8)).bfloat16(), torch.full((13, 20, 8), -6.0).bfloat16()
    weights = torch.ones(13, 20).bfloat16()
    calls = (
        lambda m, v: mixture_of_experts(m, v, weights),
        lambda m, v: subset_posteriors(m[:4], v[:4]),
        product_of_experts,
        lambda m, v: (alignment_loss(m, m[0], 1.0),),
        lambda m, v: (reparameterize(m, v, torch.Generator().manual_seed(0)),),
    )
    for call in calls:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = call(mu, logvar)
        for half, full in zip(got, call(mu.float(), logvar.float()), strict=True):
            assert half.dtype == torch.float32
            torch.testing.assert_close(half, full)


def test_inputs_stay_as_they_were():
    mu, logvar, weights = draw(3, 5, 4), draw(3, 5, 4, seed=1), draw(3, 5, seed=2).exp()
    before = [values.clone() for values in (mu, logvar, weights)]
    mixture_of_experts(mu, logvar, weights, MASK)
    subset_posteriors(mu, logvar)
    alignment_loss(mu, logvar[0], 1.0, MASK)
    soft_clamp(mu, 1.0)
    assert all(torch.equal(now, then) for now, then in zip((mu, logvar, weights), before, strict=True))
