"""Fusion of leads against literal loops over records, and against models of the present leads only."""

import math

import pytest
import torch

from cardiozoo.errors import OptionError
from cardiozoo.nn.ecg_fusion import ExpertFusion, ReleasedFusion

K, B, D = 6, 5, 3
GROUPS = [0, 0, 0, 1, 1, 1]


def experts(seed=0):
    generator = torch.Generator().manual_seed(seed)
    mu, logvar = (torch.randn(K, B, D, generator=generator) for _ in range(2))
    mask = torch.rand(K, B, generator=generator) < 0.6
    mask[:, 0], mask[:, 1], mask[2, 2:] = True, False, True
    return mu, logvar, mask


def gated(fusion, seed=1):
    torch.manual_seed(seed)
    if fusion.score is not None:
        torch.nn.init.normal_(fusion.score)
        torch.nn.init.normal_(fusion.bias)
    return fusion


@pytest.mark.parametrize("prior", [False, True])
def test_posterior_is_the_moment_matched_mixture_of_present_leads_and_their_product(prior):
    mu, logvar, mask = experts()
    fusion = gated(ExpertFusion(K, D, prior=prior))
    fused = fusion(mu, logvar, mask)
    for row in [0, 2, 3, 4]:
        there = mask[:, row].nonzero().flatten().tolist()
        means, variances = [mu[k, row] for k in there], [logvar[k, row].exp() for k in there]
        precision = sum(1 / v for v in variances) + (1 if prior else 0)
        means.append(sum(m / v for m, v in zip(means, variances, strict=True)) / precision)
        variances.append(1 / precision)
        numbers = [*there, K]
        scores = torch.stack([
            torch.cat([m, v.log()]) @ fusion.score + fusion.bias[k]
            for m, v, k in zip(means, variances, numbers, strict=True)
        ])  # fmt: skip
        shares = scores.softmax(0)
        mean = sum(w * m for w, m in zip(shares, means, strict=True))
        variance = sum(w * (v + m * m) for w, m, v in zip(shares, means, variances, strict=True)) - mean**2
        torch.testing.assert_close(fused.mu[row], mean)
        torch.testing.assert_close(fused.logvar[row], variance.log())
        torch.testing.assert_close(fused.weights[numbers, row], shares)
        assert fused.weights[:, row].sum().item() == pytest.approx(1)
        torch.testing.assert_close(fused.product[row], means[-1])
        assert fused.present[:, row].sum() == len(numbers)
    assert fused.kl_mu is fused.mu and fused.centre is fused.mu


@pytest.mark.parametrize("fusion", [
    ExpertFusion(K, D), ExpertFusion(K, D, prior=True), ExpertFusion(K, D, gate="uniform"),
    ExpertFusion(K, D, poe=False), ExpertFusion(K, D, moe=False), ReleasedFusion(GROUPS),
    ReleasedFusion(GROUPS, poe=False), ReleasedFusion(GROUPS, moe=False),
])  # fmt: skip
@pytest.mark.parametrize("filler", [torch.nan, torch.inf, -torch.inf])
def test_absent_leads_do_not_matter_and_no_lead_gives_the_prior(fusion, filler):
    mu, logvar, mask = experts()
    clean = fusion(mu, logvar, mask)
    spoiled = [torch.where(mask[..., None], values, filler).requires_grad_() for values in (mu, logvar)]
    fused = fusion(*spoiled, mask)
    for name in ("mu", "logvar", "kl_mu", "kl_logvar", "centre"):
        assert torch.equal(getattr(fused, name), getattr(clean, name))
        assert not getattr(fused, name)[1].any(), f"{name} of the row without leads"
    assert not fused.present[:, 1].any()
    total = fused.mu.square().sum() + fused.logvar.sum() + fused.kl_mu.sum() + fused.kl_logvar.sum()
    total.backward()
    for values in spoiled:
        assert values.grad.isfinite().all() and not values.grad[~mask].any()


def test_the_gate_starts_uniform_and_learns_at_once():
    mu, logvar, mask = experts()
    fusion, uniform = ExpertFusion(K, D), ExpertFusion(K, D, gate="uniform")
    fused = fusion(mu, logvar, mask)
    torch.testing.assert_close(fused.mu, uniform(mu, logvar, mask).mu)
    assert fused.weights[0, 0].item() == pytest.approx(1 / (K + 1))
    fused.mu.square().sum().backward()
    assert fusion.score.grad.any() and fusion.bias.grad.any()
    assert not list(uniform.parameters())


def test_fewer_experts_give_the_same_as_a_mask():
    mu, logvar, _ = experts()
    fusion, mask = gated(ExpertFusion(K, D)), torch.ones(K, B, dtype=torch.bool)
    kept = [0, 3, 4]
    mask[[1, 2, 5]] = False
    smaller = ExpertFusion(3, D)
    smaller.score.data, smaller.bias.data = fusion.score.data, fusion.bias.data[[*kept, K]]
    whole, part = fusion(mu, logvar, mask), smaller(mu[kept], logvar[kept], mask[kept])
    torch.testing.assert_close(whole.mu, part.mu, rtol=0, atol=1e-6)
    torch.testing.assert_close(whole.logvar, part.logvar, rtol=0, atol=1e-6)


def test_released_fusion_is_what_its_description_says():
    mu, logvar, _ = experts()
    mask = torch.ones(K, B, dtype=torch.bool)
    fused = ReleasedFusion(GROUPS)(mu, logvar, mask)
    means, logvars = [], []
    for group in (slice(0, 3), slice(3, 6)):
        precision = (-logvar[group]).exp()
        means.append((precision * mu[group]).sum(0) / precision.sum(0))
        logvars.append(-precision.sum(0).log())
    torch.testing.assert_close(fused.mu, sum(means) / 2)
    torch.testing.assert_close(fused.logvar, sum(logvars) / 2)
    torch.testing.assert_close(fused.kl_mu, mu.mean(0))
    torch.testing.assert_close(fused.kl_logvar, logvar.mean(0))
    torch.testing.assert_close(fused.centre, mu.mean(0))
    without_poe = ReleasedFusion(GROUPS, poe=False)(mu, logvar, mask)
    torch.testing.assert_close(without_poe.mu, mu.mean(0))
    without_moe = ReleasedFusion(GROUPS, moe=False)(mu, logvar, mask)
    precision = 1 + (-logvar).exp().sum(0)
    torch.testing.assert_close(without_moe.mu, ((-logvar).exp() * mu).sum(0) / precision)
    assert without_moe.kl_mu is without_moe.mu


def test_the_released_divergence_is_blind_where_ours_is_not():
    """Opposite means with opposite log-variances: the average is the prior, what is sampled is not."""
    a = b = 2.0
    mu, logvar = torch.tensor([a, -a]).view(2, 1, 1), torch.tensor([b, -b]).view(2, 1, 1)
    mask = torch.ones(2, 1, dtype=torch.bool)
    released = ReleasedFusion([0, 0])(mu, logvar, mask)
    assert released.kl_mu.item() == released.kl_logvar.item() == 0
    assert abs(released.mu.item()) > 1.5
    ours = ExpertFusion(2, 1)(mu, logvar, mask)
    assert ours.kl_mu.item() == ours.mu.item() != 0


def test_bfloat16_experts_are_fused_in_single_precision():
    mu, logvar, mask = (2 + 0.02 * experts()[0]).bfloat16(), torch.full((K, B, D), -6.0).bfloat16(), experts()[2]
    fusion = gated(ExpertFusion(K, D))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = fusion(mu, logvar, mask)
    full = fusion(mu.float(), logvar.float(), mask)
    assert half.mu.dtype == torch.float32 and torch.equal(half.logvar, full.logvar)
    assert (half.logvar[0] > -6.1 - math.log(K)).all()


def test_nothing_to_fuse_with_is_refused():
    for build in (lambda: ExpertFusion(K, D, poe=False, moe=False), lambda: ReleasedFusion(GROUPS, False, False)):
        with pytest.raises(OptionError, match="poe false and moe false"):
            build()
    with pytest.raises(OptionError, match="gate 'soft'"):
        ExpertFusion(K, D, gate="soft")
