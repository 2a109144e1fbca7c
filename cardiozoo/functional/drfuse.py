"""The mathematics of DrFuse: Yao, Yin, Cheung, Liu, Qin (AAAI 2024). Equation numbers are the paper's."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cardiozoo.functional.checks import full_precision, is_mask, require

LN2 = math.log(2.0)


@full_precision
def logit_pool(h1: Tensor, h2: Tensor) -> Tensor:
    """Logit of the mean of two probabilities given as logits, elementwise (DrFuse, Eq. 2).

    log(sigma(h1) + sigma(h2)) - log(sigma(-h1) + sigma(-h2)), both sums in log space; finite at |h| = 300 and beyond.
    """
    require(h1.shape == h2.shape, "logit_pool", "equal shapes", h1=h1, h2=h2)
    log_true = torch.logaddexp(F.logsigmoid(h1), F.logsigmoid(h2))
    log_false = torch.logaddexp(F.logsigmoid(-h1), F.logsigmoid(-h2))
    return log_true - log_false


@full_precision
def bernoulli_js_divergence(h1: Tensor, h2: Tensor) -> Tensor:
    """Jensen-Shannon divergence of Bernoulli(sigma(h1)) and Bernoulli(sigma(h2)), elementwise, in [0, ln 2].

    DrFuse, Eq. 1: both outcomes of the variable count, so the divergence is symmetric also in the sign of the logits.
    """
    require(h1.shape == h2.shape, "bernoulli_js_divergence", "equal shapes", h1=h1, h2=h2)

    def half(a: Tensor, b: Tensor) -> Tensor:
        log_a, log_b = F.logsigmoid(a), F.logsigmoid(b)
        log_mixture = torch.logaddexp(log_a, log_b) - LN2
        return log_a.exp() * (log_a - log_mixture) + log_b.exp() * (log_b - log_mixture)

    # Rounding may leave a tiny negative number where the logits are equal.
    return (0.5 * (half(h1, h2) + half(-h1, -h2))).clamp_min(0)


@full_precision
def orthogonality_loss(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over the (present) rows of |cosine(a, b)|: (B, D), (B, D), bool (B,) -> scalar (DrFuse, Eq. 4).

    Norms are clamped at 1e-8, so a zero vector counts as orthogonal, with zero gradient. Without any present row the
    result is 0, connected to the graph.
    """
    shapes_fit = a.dim() == 2 and a.shape == b.shape and is_mask(mask, a.shape[:1])
    require(shapes_fit, "orthogonality_loss", "a, b (B, D), mask bool (B,)", a=a, b=b, mask=mask)
    if mask is None:
        return absolute_cosine(a, b).sum() / max(len(a), 1)
    a, b = torch.where(mask[:, None], a, 0), torch.where(mask[:, None], b, 0)
    return absolute_cosine(a, b).sum() / mask.sum().clamp_min(1)


@full_precision
def absolute_cosine(a: Tensor, b: Tensor) -> Tensor:
    """|cosine| of each pair of rows, norms clamped at 1e-8: (B, D), (B, D) -> (B,)."""
    require(a.dim() == 2 and a.shape == b.shape, "absolute_cosine", "a, b (B, D)", a=a, b=b)
    norms = torch.linalg.vector_norm(a, dim=1).clamp_min(1e-8) * torch.linalg.vector_norm(b, dim=1).clamp_min(1e-8)
    return (a * b).sum(1).abs() / norms


@full_precision
def disease_attention(
    distinct_ehr: Tensor,
    shared: Tensor,
    distinct_cxr: Tensor,
    has_cxr: Tensor,
    w_query: Tensor,
    w_key: Tensor,
    w_value: Tensor,
    b_query: Tensor | None = None,
    b_key: Tensor | None = None,
    b_value: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Disease-wise attention over the three representations of a patient (DrFuse, Eq. 5-8).

    Row vectors: query = mean of the available representations @ ``w_query``, keys of class c = H @ ``w_key[c]``, values
    = H @ ``w_value``, H the three representations stacked in the order of the arguments. The radiograph's slot is
    closed where ``has_cxr`` is False; ``distinct_cxr`` may hold anything there.

    Args:
        distinct_ehr, shared, distinct_cxr: Representations (B, D).
        has_cxr: Bool (B,).
        w_query, w_value, w_key: (D, D) twice, and (C, D, D), one projection a class.
        b_query, b_value: Biases (D,), absent in the paper.
        b_key: Biases (C, D). They shift all three scores of a class alike, so the softmax is blind to them.

    Returns:
        Attention (B, C, 3), rows summing to 1, and the fused vector of each class (B, C, D).
    """
    batch, width = distinct_ehr.shape if distinct_ehr.dim() == 2 else (-1, -1)
    classes = len(w_key) if w_key.dim() == 3 else -1
    shapes_fit = (
        all(h.shape == (batch, width) for h in (shared, distinct_cxr))
        and has_cxr.shape == (batch,)
        and w_query.shape == w_value.shape == (width, width)
        and w_key.shape == (classes, width, width)
        and all(b is None or b.shape == (width,) for b in (b_query, b_value))
        and (b_key is None or b_key.shape == (classes, width))
    )
    require(
        shapes_fit, "disease_attention", "three (B, D), has_cxr (B,), w_query and w_value (D, D), w_key (C, D, D)",
        distinct_ehr=distinct_ehr, shared=shared, distinct_cxr=distinct_cxr, has_cxr=has_cxr,
        w_query=w_query, w_key=w_key, w_value=w_value, b_query=b_query, b_key=b_key, b_value=b_value,
    )  # fmt: skip
    distinct_cxr = torch.where(has_cxr[:, None], distinct_cxr, 0)
    stacked = torch.stack([distinct_ehr, shared, distinct_cxr], 1)  # (B, 3, D)
    query = stacked.sum(1) / (2 + has_cxr.to(stacked.dtype))[:, None] @ w_query
    if b_query is not None:
        query = query + b_query
    # (q W_c^K') H' instead of q (H W_c^K)': the same number with a third of the work.
    by_class = torch.einsum("bd,ced->bce", query, w_key)
    scores = torch.einsum("bce,bie->bci", by_class, stacked)
    if b_key is not None:
        scores = scores + torch.einsum("bd,cd->bc", query, b_key)[..., None]
    slots = torch.stack([torch.ones_like(has_cxr), torch.ones_like(has_cxr), has_cxr], 1)  # (B, 3)
    scores = (scores / math.sqrt(width)).masked_fill(~slots[:, None], -math.inf)
    attention = torch.softmax(scores, -1)
    values = stacked @ w_value
    if b_value is not None:
        values = values + b_value
    return attention, attention @ values


@full_precision
def attention_ranking_loss(attention: Tensor, losses: Tensor, margin: float = 0.0, gated: bool = False) -> Tensor:
    """Ask attention to rank the representations as their losses do (DrFuse, Eq. 10).

    1 / (2C) sum_c sum_{i != j} max(0, [l_ci < l_cj] (a_cj - a_ci) + margin). In this literal form a pair whose
    condition does not hold still adds the constant ``margin``; ``gated=True`` puts the indicator before the hinge
    instead, which has the same gradient. A tie or a NaN loss (an unlabelled class) orders nothing.

    Args:
        attention: (B, C, 3), or any number of representations instead of 3.
        losses: The loss of each representation's own prediction (B, C, 3); taken as constants.

    Returns:
        One loss a row (B,).
    """
    shapes_fit = attention.dim() == 3 and attention.shape == losses.shape
    require(shapes_fit, "attention_ranking_loss", "two (B, C, 3)", attention=attention, losses=losses)
    losses = losses.detach()
    better = losses[..., :, None] < losses[..., None, :]  # (B, C, i, j): i predicts better than j
    excess = attention[..., None, :] - attention[..., :, None]
    if gated:
        hinge = torch.where(better, (excess + margin).clamp_min(0), 0)
    else:
        other = ~torch.eye(attention.shape[-1], dtype=torch.bool, device=attention.device)
        hinge = torch.where(other, (torch.where(better, excess, 0) + margin).clamp_min(0), 0)
    return hinge.sum((-1, -2, -3)) / (2 * max(attention.shape[1], 1))
