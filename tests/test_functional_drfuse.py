"""The mathematics of DrFuse against literal float64 forms, loops and numerical derivatives."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from cardiozoo.functional import (
    absolute_cosine,
    attention_ranking_loss,
    bernoulli_js_divergence,
    disease_attention,
    logit_pool,
    orthogonality_loss,
)

EXTREMES = torch.tensor([-1e4, -300.0, -90.0, -17.0, -1e-6, 0.0, 1e-6, 17.0, 90.0, 300.0, 1e4])
GRID = torch.cartesian_prod(EXTREMES, EXTREMES)
MODERATE = torch.cartesian_prod(torch.linspace(-8, 8, 23).double(), torch.linspace(-8, 8, 23).double())


def literal_pool(h1, h2):
    """Right-hand side of Eq. 2 as printed."""
    return torch.log((2 * torch.exp(h1 + h2) + h1.exp() + h2.exp()) / (2 + h1.exp() + h2.exp()))


def literal_jsd(h1, h2):
    """Both outcomes of the variable, from probabilities."""
    p, q = h1.sigmoid(), h2.sigmoid()
    m = (p + q) / 2

    def kl(a, b):
        return a * (a / b).log() + (1 - a) * ((1 - a) / (1 - b)).log()

    return (kl(p, m) + kl(q, m)) / 2


def test_logit_pool_is_the_printed_form_and_the_logit_of_the_mean():
    h1, h2 = MODERATE.T
    pooled = logit_pool(h1, h2)
    assert pooled.dtype == torch.float64
    torch.testing.assert_close(pooled, literal_pool(h1, h2))
    torch.testing.assert_close(pooled, torch.logit((h1.sigmoid() + h2.sigmoid()) / 2))


def test_logit_pool_symmetries():
    h1, h2 = MODERATE.T
    torch.testing.assert_close(logit_pool(h1, h2), logit_pool(h2, h1))
    torch.testing.assert_close(logit_pool(-h1, -h2), -logit_pool(h1, h2))
    torch.testing.assert_close(logit_pool(h1, h1), h1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("function", [logit_pool, bernoulli_js_divergence])
def test_values_and_gradients_are_finite_at_extreme_logits(function, dtype):
    h1, h2 = (h.to(dtype).clone().requires_grad_() for h in GRID.T)
    value = function(h1, h2)
    gradients = torch.autograd.grad(value.sum(), (h1, h2))
    assert value.isfinite().all() and all(g.isfinite().all() for g in gradients)


def test_logit_pool_at_extremes_is_known():
    h = torch.tensor([300.0, 300.0, -300.0, 300.0])
    g = torch.tensor([300.0, -300.0, -300.0, 0.0])
    # a sure event and an impossible one average to 1/2; a sure one and an even one to 3/4
    torch.testing.assert_close(logit_pool(h, g), torch.tensor([300.0, 0.0, -300.0, math.log(3)]))


def test_jsd_is_the_literal_form_and_bounded():
    h1, h2 = MODERATE.T
    value = bernoulli_js_divergence(h1, h2)
    torch.testing.assert_close(value, literal_jsd(h1, h2), rtol=1e-8, atol=1e-12)
    assert (value >= 0).all() and (value <= math.log(2)).all()
    torch.testing.assert_close(value, bernoulli_js_divergence(h2, h1))
    torch.testing.assert_close(value, bernoulli_js_divergence(-h1, -h2))
    assert bernoulli_js_divergence(h1, h1).max() < 1e-15


def test_jsd_is_a_mean_of_two_entropies_less():
    """Second way: entropy of the mixture minus the mean entropy."""

    def entropy(p):
        return torch.distributions.Bernoulli(p).entropy()

    h1, h2 = torch.randn(2, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    p, q = h1.sigmoid(), h2.sigmoid()
    expected = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    torch.testing.assert_close(bernoulli_js_divergence(h1, h2), expected, rtol=1e-6, atol=1e-12)


def test_jsd_of_opposite_certainties_is_ln2():
    h = torch.tensor([50.0, 300.0])
    torch.testing.assert_close(bernoulli_js_divergence(h, -h), torch.full((2,), math.log(2)))


def test_pool_and_jsd_derivatives():
    h1, h2 = (3 * torch.randn(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))).unbind()
    h1, h2 = h1.requires_grad_(), h2.requires_grad_()
    assert gradcheck(logit_pool, (h1, h2)) and gradcheck(bernoulli_js_divergence, (h1, h2))
    # closed forms: p (1 - p) / (2 m (1 - m)) and p (1 - p) (h1 - pooled) / 2
    p, q = h1.sigmoid(), h2.sigmoid()
    m = (p + q) / 2
    (d_pool,) = torch.autograd.grad(logit_pool(h1, h2).sum(), h1)
    torch.testing.assert_close(d_pool, p * (1 - p) / (2 * m * (1 - m)))
    (d_jsd,) = torch.autograd.grad(bernoulli_js_divergence(h1, h2).sum(), h1)
    torch.testing.assert_close(d_jsd, p * (1 - p) * (h1 - logit_pool(h1, h2)) / 2)


@pytest.mark.parametrize("function", [logit_pool, bernoulli_js_divergence])
def test_half_precision_is_computed_in_float32(function):
    h1, h2 = 20 * torch.randn(2, 500, generator=torch.Generator().manual_seed(2)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = function(h1, h2)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, function(h1.float(), h2.float()), rtol=0, atol=0)


@pytest.mark.parametrize("function", [logit_pool, bernoulli_js_divergence])
def test_shapes_that_differ_are_named(function):
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        function(torch.zeros(2, 3), torch.zeros(3, 2))


def test_orthogonality_is_the_mean_absolute_cosine():
    a, b = torch.randn(2, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    cosines = torch.nn.functional.cosine_similarity(a, b).abs()
    torch.testing.assert_close(absolute_cosine(a, b), cosines)
    torch.testing.assert_close(orthogonality_loss(a, b), cosines.mean())
    torch.testing.assert_close(orthogonality_loss(-3 * a, b), orthogonality_loss(a, b))
    assert orthogonality_loss(a, a).item() == pytest.approx(1.0)
    assert orthogonality_loss(torch.eye(2), torch.eye(2).flip(0)).item() == 0.0


def test_orthogonality_counts_present_rows_only():
    a, b = torch.randn(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    mask = torch.tensor([True, False, True, False])
    spoiled_a, spoiled_b = a.clone(), b.clone()
    spoiled_a[1], spoiled_b[3] = torch.nan, torch.inf
    spoiled_a.requires_grad_(), spoiled_b.requires_grad_()
    loss = orthogonality_loss(spoiled_a, spoiled_b, mask)
    torch.testing.assert_close(loss, orthogonality_loss(a[mask], b[mask]))
    loss.backward()
    assert spoiled_a.grad[~mask].eq(0).all() and spoiled_b.grad.isfinite().all()


def test_orthogonality_without_rows_or_length():
    a = torch.zeros(3, 4, requires_grad=True)
    empty = orthogonality_loss(a, torch.ones(3, 4), torch.zeros(3, dtype=torch.bool))
    assert empty.item() == 0.0 and empty.requires_grad
    zero = orthogonality_loss(a, torch.ones(3, 4))
    zero.backward()
    assert zero.item() == 0.0 and a.grad.eq(0).all()
    with pytest.raises(ValueError, match="mask"):
        orthogonality_loss(torch.ones(3, 4), torch.ones(3, 4), torch.ones(4, dtype=torch.bool))


def test_orthogonality_derivative():
    a, b = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).unbind()
    assert gradcheck(orthogonality_loss, (a.requires_grad_(), b.requires_grad_()))


def attention_arguments(batch=4, width=5, classes=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    h = [torch.randn(batch, width, dtype=torch.float64, generator=draw) for _ in range(3)]
    has_cxr = torch.tensor([i % 2 == 0 for i in range(batch)])
    w = [
        torch.randn(*shape, width, dtype=torch.float64, generator=draw)
        for shape in ((width,), (classes, width), (width,))
    ]
    biases = [
        torch.randn(*shape, dtype=torch.float64, generator=draw) for shape in ((width,), (classes, width), (width,))
    ]
    return h, has_cxr, w, biases


def attention_by_loops(h, has_cxr, w, biases):
    """Eq. 5-8 for one patient and one class at a time, a missing radiograph left out of every list."""
    (w_query, w_key, w_value), (b_query, b_key, b_value) = w, biases
    batch, width = h[0].shape
    attention = torch.zeros(batch, len(w_key), 3, dtype=torch.float64)
    fused = torch.zeros(batch, len(w_key), width, dtype=torch.float64)
    for b in range(batch):
        available = [h[i][b] for i in range(3 if has_cxr[b] else 2)]
        query = sum(x @ w_query + b_query for x in available) / len(available)
        for c in range(len(w_key)):
            scores = torch.stack([1 + query @ (x @ w_key[c] + b_key[c]) for x in available]) / math.sqrt(width)
            weights = scores.exp() / scores.exp().sum()
            attention[b, c, : len(available)] = weights
            fused[b, c] = sum(weight * (x @ w_value + b_value) for weight, x in zip(weights, available, strict=True))
    return attention, fused


@pytest.mark.parametrize("with_bias", [False, True])
def test_attention_equals_loops(with_bias):
    h, has_cxr, w, biases = attention_arguments()
    zeros = [torch.zeros_like(b) for b in biases]
    attention, fused = disease_attention(*h, has_cxr, *w, *(biases if with_bias else ()))
    expected = attention_by_loops(h, has_cxr, w, biases if with_bias else zeros)
    torch.testing.assert_close(attention, expected[0])
    torch.testing.assert_close(fused, expected[1])
    assert attention[~has_cxr][..., 2].eq(0).all()
    torch.testing.assert_close(attention.sum(-1), torch.ones(4, 3, dtype=torch.float64))


def test_key_bias_changes_nothing():
    h, has_cxr, w, biases = attention_arguments()
    plain = disease_attention(*h, has_cxr, *w, biases[0], None, biases[2])
    torch.testing.assert_close(disease_attention(*h, has_cxr, *w, *biases), plain)


@pytest.mark.parametrize("filler", [math.nan, math.inf])
def test_attention_does_not_see_missing_radiographs(filler):
    h, has_cxr, w, _ = attention_arguments()
    clean = disease_attention(*h, has_cxr, *w)
    h[2] = torch.where(has_cxr[:, None], h[2], filler).requires_grad_()
    attention, fused = disease_attention(*h, has_cxr, *w)
    torch.testing.assert_close((attention, fused), clean)
    fused.sum().backward()
    assert h[2].grad[~has_cxr].eq(0).all() and h[2].grad.isfinite().all()


def test_attention_derivative_and_extremes():
    h, has_cxr, w, _ = attention_arguments(batch=2, width=3, classes=2)
    inputs = [t.requires_grad_() for t in (*h, *w)]

    def fused(a, b, c, *weights):
        return disease_attention(a, b, c, has_cxr, *weights)

    assert gradcheck(fused, inputs)
    big = [(300 * x.detach()).float().requires_grad_() for x in h]
    attention, _ = disease_attention(*big, has_cxr, *(x.detach().float() for x in w))
    attention[..., 0].sum().backward()
    assert attention.isfinite().all() and all(x.grad is None or x.grad.isfinite().all() for x in big)


def test_attention_names_wrong_shapes():
    h, has_cxr, w, _ = attention_arguments()
    with pytest.raises(ValueError, match=r"w_key \(5, 5\)"):
        disease_attention(*h, has_cxr, w[0], w[0], w[2])
    with pytest.raises(ValueError, match="has_cxr"):
        disease_attention(*h, has_cxr[:2], *w)


def ranking_by_loops(attention, losses, margin, gated):
    batch, classes, slots = attention.shape
    result = []
    for b in range(batch):
        total = 0.0
        for c in range(classes):
            for i in range(slots):
                for j in range(slots):
                    if i == j:
                        continue
                    holds = bool(losses[b, c, i] < losses[b, c, j])
                    excess = float(attention[b, c, j] - attention[b, c, i])
                    total += holds * max(0.0, excess + margin) if gated else max(0.0, holds * excess + margin)
        result.append(total / (2 * classes))
    return torch.tensor(result, dtype=attention.dtype)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_ranking_equals_loops(gated, margin):
    draw = torch.Generator().manual_seed(6)
    attention = torch.rand(5, 4, 3, dtype=torch.float64, generator=draw).softmax(-1)
    losses = torch.rand(5, 4, 3, dtype=torch.float64, generator=draw)
    losses[0, 0, 1] = losses[0, 0, 0]
    losses[1, 2] = torch.nan
    got = attention_ranking_loss(attention, losses, margin, gated=gated)
    torch.testing.assert_close(got, ranking_by_loops(attention, losses, margin, gated))


def test_ranking_forms_differ_by_a_constant_only():
    """Without ties three ordered pairs a class hold and three do not: 3 margin C / (2 C) = 1.5 margin a row."""
    draw = torch.Generator().manual_seed(7)
    attention = torch.rand(5, 4, 3, dtype=torch.float64, generator=draw).softmax(-1).requires_grad_()
    losses = torch.rand(5, 4, 3, dtype=torch.float64, generator=draw)
    literal = attention_ranking_loss(attention, losses, 0.1)
    gated = attention_ranking_loss(attention, losses, 0.1, gated=True)
    torch.testing.assert_close(literal - gated, torch.full((5,), 0.15, dtype=torch.float64))
    gradients = [torch.autograd.grad(value.sum(), attention, retain_graph=True)[0] for value in (literal, gated)]
    torch.testing.assert_close(*gradients)


def test_ranking_takes_losses_as_constants_and_is_zero_when_order_agrees():
    losses = torch.tensor([[[0.1, 0.2, 0.3]]], requires_grad=True)
    attention = torch.tensor([[[0.5, 0.3, 0.2]]], requires_grad=True)
    assert attention_ranking_loss(attention, losses).item() == 0.0
    # pairs (1, 0): 0.2 - 0.3 and so on for the reversed order: 0.2 + 0.3 + 0.1, halved
    wrong = attention_ranking_loss(attention.flip(-1), losses)
    assert wrong.item() == pytest.approx(0.3)
    wrong.sum().backward()
    assert losses.grad is None and attention.grad is not None


def test_ranking_names_wrong_shapes():
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        attention_ranking_loss(torch.zeros(1, 2, 3), torch.zeros(2, 3))
