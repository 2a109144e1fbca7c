"""Losses and Gaussian experts against literal forms, sampling, quadrature and numerical derivatives."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch.autograd import gradcheck
from torch.distributions import Normal, kl_divergence
from torchvision.ops import sigmoid_focal_loss

from cardiozoo.functional import (
    binary_focal_loss,
    kl_standard_normal,
    linear_annealing,
    logcosh_loss,
    product_of_experts,
    reparameterize,
    rmse_loss,
)


def draw(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("alpha", [0.25, None])
def test_focal_loss_is_that_of_torchvision(alpha, reduction):
    logits, targets = draw(6, 4, scale=3), (draw(6, 4, seed=1) > 0).double()
    expected = sigmoid_focal_loss(logits, targets, -1 if alpha is None else alpha, 2.0, reduction)
    torch.testing.assert_close(binary_focal_loss(logits, targets, alpha, 2.0, reduction), expected)


def test_focal_loss_without_focus_is_cross_entropy():
    logits, targets = draw(20), (draw(20, seed=1) > 0).double()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(binary_focal_loss(logits, targets, alpha=None, gamma=0.0), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_focal_loss_is_finite_at_extreme_logits(gamma, dtype):
    logits = torch.tensor([-300.0, -200.0, 0.0, 200.0, 300.0], dtype=dtype).repeat(2).requires_grad_()
    targets = torch.tensor([0.0] * 5 + [1.0] * 5)
    loss = binary_focal_loss(logits, targets, gamma=gamma, reduction="none")
    loss.sum().backward()
    assert loss.dtype == dtype and loss.isfinite().all() and logits.grad.isfinite().all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_focal_loss_keeps_its_digits_where_the_label_is_nearly_certain(gamma, dtype, tolerance):
    # there -log p_t = 1 - p_t = exp(-|logit|), up to its square
    logits = torch.tensor([16.0, 25.0, -16.0, -25.0], dtype=dtype)
    loss = binary_focal_loss(logits, (logits > 0).to(dtype), alpha=None, gamma=gamma, reduction="none")
    wrong = torch.tensor([16.0, 25.0, 16.0, 25.0], dtype=torch.float64).neg().exp()
    expected = (wrong / (1 + wrong)) ** gamma * torch.log1p(wrong)
    torch.testing.assert_close(loss.double(), expected, rtol=tolerance, atol=0)


def test_focal_loss_derivative_and_errors():
    logits, targets = draw(8, scale=2).requires_grad_(), (draw(8, seed=1) > 0).double()
    assert gradcheck(lambda x: binary_focal_loss(x, targets), logits)
    with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
        binary_focal_loss(torch.zeros(3), torch.zeros(2))
    with pytest.raises(ValueError, match="average"):
        binary_focal_loss(torch.zeros(3), torch.zeros(3), reduction="average")
    with pytest.raises(ValueError, match="alpha"):
        binary_focal_loss(torch.zeros(3), torch.zeros(3), alpha=1.5)
    with pytest.raises(ValueError, match="gamma"):
        binary_focal_loss(torch.zeros(3), torch.zeros(3), gamma=-1)


def test_rmse():
    a, b = draw(50), draw(50, seed=1)
    assert rmse_loss(a, b, eps=0.0).item() == pytest.approx(float(np.sqrt(np.mean((a.numpy() - b.numpy()) ** 2))))
    same = a.clone().requires_grad_()
    loss = rmse_loss(same, a)
    loss.backward()
    assert loss.item() == pytest.approx(1e-3) and same.grad.eq(0).all()
    assert gradcheck(rmse_loss, (a.requires_grad_(), b))
    with pytest.raises(ValueError, match="rmse_loss"):
        rmse_loss(torch.zeros(2), torch.zeros(2, 1))


def test_logcosh():
    error = torch.linspace(-15, 15, 101, dtype=torch.float64)
    zero = torch.zeros_like(error)
    torch.testing.assert_close(logcosh_loss(error, zero, "none"), error.cosh().log(), atol=1e-14, rtol=1e-12)
    torch.testing.assert_close(logcosh_loss(error, zero), error.cosh().log().mean())
    far = torch.tensor([-1e4, -300.0, 300.0, 1e4], requires_grad=True)
    loss = logcosh_loss(far, torch.zeros(4), "none")
    torch.testing.assert_close(loss, far.detach().abs() - math.log(2))
    loss.sum().backward()
    torch.testing.assert_close(far.grad, far.detach().sign())
    at_zero = torch.zeros(1, requires_grad=True)
    logcosh_loss(at_zero, torch.zeros(1)).backward()
    assert at_zero.grad.item() == 0.0
    assert gradcheck(logcosh_loss, (draw(7).requires_grad_(), draw(7, seed=1).requires_grad_()))
    with pytest.raises(ValueError, match="logcosh_loss"):
        logcosh_loss(torch.zeros(2), torch.zeros(3))


@pytest.mark.parametrize("function", [rmse_loss, logcosh_loss, binary_focal_loss])
def test_losses_are_float32_under_autocast(function):
    a, b = torch.randn(64).bfloat16(), (torch.randn(64) > 0).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = function(a, b)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, function(a.float(), b.float()), rtol=0, atol=0)


def test_product_of_experts_by_quadrature():
    """The normalised product of three densities, integrated numerically."""
    mu, logvar = draw(3, 1, 1), draw(3, 1, 1, seed=1)
    experts = [Normal(m, (0.5 * v).exp()) for m, v in zip(mu.flatten(), logvar.flatten(), strict=True)]

    def density(x):
        return math.exp(sum(e.log_prob(torch.tensor(x)).item() for e in experts))

    total = quad(density, -10, 10)[0]
    mean = quad(lambda x: x * density(x), -10, 10)[0] / total
    variance = quad(lambda x: (x - mean) ** 2 * density(x), -10, 10)[0] / total
    joint_mu, joint_logvar = product_of_experts(mu, logvar)
    assert joint_mu.item() == pytest.approx(mean, abs=1e-7)
    assert joint_logvar.exp().item() == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize("prior", [False, True])
def test_product_of_experts_equals_the_literal_sum_over_present_experts(prior):
    mu, logvar = draw(3, 5, 4), draw(3, 5, 4, seed=1)
    mask = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 1, 1, 0], [1, 0, 0, 1, 1]]).bool()
    spoiled_mu = torch.where(mask[..., None], mu, torch.nan).requires_grad_()
    spoiled_logvar = torch.where(mask[..., None], logvar, torch.inf).requires_grad_()
    got_mu, got_logvar = product_of_experts(spoiled_mu, spoiled_logvar, mask, prior)
    for b in range(5):
        precision = [(-logvar[e, b]).exp() for e in range(3) if mask[e, b]]
        weighted = [(-logvar[e, b]).exp() * mu[e, b] for e in range(3) if mask[e, b]]
        total = sum(precision) + (1.0 if prior else 0.0)
        torch.testing.assert_close(got_mu[b], sum(weighted) / total)
        torch.testing.assert_close(got_logvar[b], -torch.log(total))
    (got_mu.sum() + got_logvar.sum()).backward()
    assert spoiled_mu.grad.isfinite().all() and spoiled_logvar.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_product_of_experts_is_stable(dtype):
    mu = torch.tensor([300.0, -300.0], dtype=dtype).view(2, 1, 1).requires_grad_()
    for pair in ((-100.0, -100.0), (100.0, 100.0), (-100.0, 100.0), (100.0, -100.0)):
        logvar = torch.tensor(pair, dtype=dtype).view(2, 1, 1).requires_grad_()
        joint_mu, joint_logvar = product_of_experts(mu, logvar)
        gradients = torch.autograd.grad((joint_mu + joint_logvar).sum(), (mu, logvar))
        assert joint_mu.isfinite().all() and joint_logvar.isfinite().all()
        assert all(g.isfinite().all() for g in gradients)
        expected_logvar = min(pair) if pair[0] != pair[1] else pair[0] - math.log(2)
        assert joint_logvar.item() == pytest.approx(expected_logvar, abs=1e-4)


def test_product_of_experts_derivative_and_errors():
    mu, logvar = draw(2, 3, 2).requires_grad_(), draw(2, 3, 2, seed=1).requires_grad_()
    assert gradcheck(lambda m, v: product_of_experts(m, v, prior=True), (mu, logvar))
    nobody = torch.tensor([[True, False, True], [True, False, False]])
    with pytest.raises(ValueError, match="without any present expert"):
        product_of_experts(mu, logvar, nobody)
    with pytest.raises(ValueError, match="without any present expert"):
        product_of_experts(torch.zeros(0, 3, 2), torch.zeros(0, 3, 2))
    joint_mu, joint_logvar = product_of_experts(torch.zeros(0, 3, 2), torch.zeros(0, 3, 2), prior=True)
    assert joint_mu.eq(0).all() and joint_logvar.eq(0).all() and joint_mu.shape == (3, 2)
    with pytest.raises(ValueError, match="mask"):
        product_of_experts(mu, logvar, nobody.T)


def test_kl_is_that_of_torch_and_of_sampling():
    mu, logvar = draw(6, 3), draw(6, 3, seed=1)
    posterior, prior = Normal(mu, (0.5 * logvar).exp()), Normal(torch.zeros_like(mu), torch.ones_like(mu))
    got = kl_standard_normal(mu, logvar)
    torch.testing.assert_close(got, kl_divergence(posterior, prior).sum(-1))
    torch.manual_seed(0)
    z = posterior.sample((40000,))
    sampled = (posterior.log_prob(z) - prior.log_prob(z)).sum(-1).mean(0)
    torch.testing.assert_close(got, sampled, rtol=0.03, atol=0.03)
    assert gradcheck(kl_standard_normal, (mu.requires_grad_(), logvar.requires_grad_()))


def test_kl_keeps_its_digits_near_the_prior():
    tiny = torch.full((1, 1), 1e-3)
    # logvar^2 / 4 to leading order, which 0.5 (exp(x) - 1 - x) in float32 gets wrong by a fifth
    assert kl_standard_normal(torch.zeros(1, 1), tiny).item() == pytest.approx(2.5e-7, rel=0.05)
    with pytest.raises(ValueError, match="kl_standard_normal"):
        kl_standard_normal(torch.zeros(2, 3), torch.zeros(3, 2))


def test_reparameterize_has_the_moments_it_should_and_passes_gradients():
    mu, logvar = torch.full((200_000, 1), 1.5), torch.full((200_000, 1), math.log(4.0))
    z = reparameterize(mu, logvar, torch.Generator().manual_seed(0))
    assert z.mean().item() == pytest.approx(1.5, abs=0.02) and z.std().item() == pytest.approx(2.0, abs=0.02)
    again = reparameterize(mu, logvar, torch.Generator().manual_seed(0))
    assert torch.equal(z, again)
    a, b = draw(3, 2).requires_grad_(), draw(3, 2, seed=1).requires_grad_()
    assert gradcheck(lambda m, v: reparameterize(m, v, torch.Generator().manual_seed(1)), (a, b))
    with pytest.raises(ValueError, match="reparameterize"):
        reparameterize(torch.zeros(2), torch.zeros(3))


def test_linear_annealing():
    assert [linear_annealing(step, 4) for step in range(7)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert linear_annealing(1, 4, start=2.0, stop=1.0) == 1.75
    assert linear_annealing(0, 0, stop=3.0) == 3.0
    with pytest.raises(ValueError, match="-1"):
        linear_annealing(-1, 4)
