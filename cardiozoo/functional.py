"""The mathematics of the models: pure functions on tensors, each with its equation and its source.

Common to all: float64 stays float64, float16 and bfloat16 are computed in float32 and autocast is switched off inside;
values and gradients are finite in the stated domain; masked entries may hold NaN or inf; inputs are never changed; a
wrong shape raises ``ValueError``. Shapes: E experts, B batch, D latent dimensions, C classes. ``mask`` is bool, True =
present.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "attention_ranking_loss",
    "bernoulli_js_divergence",
    "binary_focal_loss",
    "disease_attention",
    "kl_standard_normal",
    "linear_annealing",
    "logcosh_loss",
    "logit_pool",
    "orthogonality_loss",
    "product_of_experts",
    "reparameterize",
    "rmse_loss",
]

LN2 = math.log(2.0)
Reduction = Literal["mean", "sum", "none"]


def _full_precision(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run ``function`` without autocast, with every half-precision tensor argument widened to float32."""

    def widen(value: Any) -> Any:
        half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
        return value.float() if half else value

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        device = next((a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*map(widen, args), **{name: widen(value) for name, value in kwargs.items()})

    return wrapper


def _require(condition: bool, function: str, expected: str, **tensors: Tensor | None) -> None:
    if not condition:
        shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in tensors.items() if t is not None)
        raise ValueError(f"{function} got {shapes}; expected {expected}")


def _reduce(values: Tensor, reduction: Reduction) -> Tensor:
    match reduction:
        case "mean":
            return values.mean()
        case "sum":
            return values.sum()
        case "none":
            return values
    raise ValueError(f"reduction is {reduction!r}; expected 'mean', 'sum' or 'none'")


# --- Classification and regression -----------------------------------------------------------------------------------


@_full_precision
def binary_focal_loss(
    logits: Tensor, targets: Tensor, alpha: float | None = 0.25, gamma: float = 2.0, reduction: Reduction = "mean"
) -> Tensor:
    """alpha_t (1 - p_t)^gamma (-log p_t) with p_t the probability given to the true label.

    Lin et al., Focal Loss for Dense Object Detection (2017), Eq. 5. ``targets`` are 0 or 1, shaped as ``logits``;
    ``alpha=None`` leaves out the class weight.
    """
    _require(logits.shape == targets.shape, "binary_focal_loss", "equal shapes", logits=logits, targets=targets)
    targets = targets.to(logits.dtype)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    # log(1 - p_t) is the cross-entropy of the opposite label: no difference of nearly equal numbers, no 0^gamma whose
    # derivative is infinite for gamma < 1.
    log_wrong = -F.binary_cross_entropy_with_logits(logits, 1 - targets, reduction="none")
    loss = torch.exp(gamma * log_wrong) * cross_entropy
    if alpha is not None:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return _reduce(loss, reduction)


@_full_precision
def rmse_loss(prediction: Tensor, target: Tensor, eps: float = 1e-6) -> Tensor:
    """sqrt(mean squared error + eps); ``eps`` keeps the gradient finite where prediction and target agree."""
    _require(prediction.shape == target.shape, "rmse_loss", "equal shapes", prediction=prediction, target=target)
    return torch.sqrt(F.mse_loss(prediction, target.to(prediction.dtype)) + eps)


@_full_precision
def logcosh_loss(prediction: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """log cosh(e) of the error e, as |e| + softplus(-2|e|) - ln 2, which does not overflow."""
    _require(prediction.shape == target.shape, "logcosh_loss", "equal shapes", prediction=prediction, target=target)
    # log cosh is even, and e + softplus(-2e) - ln 2 is the same number on both sides; with the sign of e kept, the
    # derivative at 0 is exactly 0, where |e| would have none.
    error = prediction - target.to(prediction.dtype)
    stable = torch.where(error < 0, -error, error)
    return _reduce(stable + F.softplus(-2 * stable) - LN2, reduction)


# --- Gaussian experts ------------------------------------------------------------------------------------------------


@_full_precision
def product_of_experts(
    mu: Tensor, logvar: Tensor, mask: Tensor | None = None, prior: bool = False
) -> tuple[Tensor, Tensor]:
    """Product of E diagonal Gaussians: precisions add, means are weighted by precision.

    Wu and Goodman, Multimodal Generative Models (2018), Eq. 3. In log space, so that log-variances in [-100, 100]
    neither overflow nor vanish.

    Args:
        mu: Means (E, B, D).
        logvar: Log-variances (E, B, D).
        mask: Bool (E, B), True = this expert saw its modality; all of them if None.
        prior: Add the standard normal as a further expert, always present.

    Returns:
        Mean and log-variance (B, D).

    Raises:
        ValueError: Wrong shapes, or a row without any expert and no prior.
    """
    shapes_fit = mu.dim() == 3 and mu.shape == logvar.shape and (mask is None or mask.shape == mu.shape[:2])
    _require(shapes_fit, "product_of_experts", "mu, logvar (E, B, D), mask (E, B)", mu=mu, logvar=logvar, mask=mask)
    if mask is not None:
        mu = torch.where(mask[..., None], mu, 0)
        log_precision = torch.where(mask[..., None], -logvar, -math.inf)
    else:
        log_precision = -logvar
    if prior:
        standard = mu.new_zeros(1, *mu.shape[1:])
        mu, log_precision = torch.cat([mu, standard]), torch.cat([log_precision, standard])
    elif len(mu) == 0 or (mask is not None and not bool(mask.any(0).all())):
        raise ValueError("product_of_experts got a row without any present expert; pass prior=True or leave it out")
    total = torch.logsumexp(log_precision, 0)
    return (torch.softmax(log_precision, 0) * mu).sum(0), -total


@_full_precision
def kl_standard_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, I)) summed over the last axis: (B, D), (B, D) -> (B,)."""
    _require(mu.shape == logvar.shape and mu.dim() > 0, "kl_standard_normal", "equal shapes", mu=mu, logvar=logvar)
    # expm1 keeps the digits near logvar = 0, where exp(x) - 1 - x loses them.
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar).sum(-1)


def linear_annealing(step: int, total_steps: int, start: float = 0.0, stop: float = 1.0) -> float:
    """A weight that grows linearly from ``start`` to ``stop`` within ``total_steps`` and stays there."""
    if step < 0 or total_steps < 0:
        raise ValueError(f"linear_annealing got step {step} of {total_steps}; expected numbers >= 0")
    fraction = min(step / total_steps, 1.0) if total_steps else 1.0
    return start + (stop - start) * fraction


@_full_precision
def reparameterize(mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One sample mu + exp(logvar / 2) * noise, differentiable in both: (B, D), (B, D) -> (B, D)."""
    _require(mu.shape == logvar.shape, "reparameterize", "equal shapes", mu=mu, logvar=logvar)
    noise = torch.randn(mu.shape, dtype=mu.dtype, device=mu.device, generator=generator)
    return mu + torch.exp(0.5 * logvar) * noise


# --- DrFuse: Yao et al., AAAI 2024 -----------------------------------------------------------------------------------


@_full_precision
def logit_pool(h1: Tensor, h2: Tensor) -> Tensor:
    """Logit of the mean of two probabilities given as logits, elementwise (DrFuse, Eq. 2).

    log(sigma(h1) + sigma(h2)) - log(sigma(-h1) + sigma(-h2)), both sums in log space; finite at |h| = 300 and beyond.
    """
    _require(h1.shape == h2.shape, "logit_pool", "equal shapes", h1=h1, h2=h2)
    log_true = torch.logaddexp(F.logsigmoid(h1), F.logsigmoid(h2))
    log_false = torch.logaddexp(F.logsigmoid(-h1), F.logsigmoid(-h2))
    return log_true - log_false


@_full_precision
def bernoulli_js_divergence(h1: Tensor, h2: Tensor) -> Tensor:
    """Jensen-Shannon divergence of Bernoulli(sigma(h1)) and Bernoulli(sigma(h2)), elementwise, in [0, ln 2].

    DrFuse, Eq. 1: both outcomes of the variable count, so the divergence is symmetric also in the sign of the logits.
    """
    _require(h1.shape == h2.shape, "bernoulli_js_divergence", "equal shapes", h1=h1, h2=h2)

    def half(a: Tensor, b: Tensor) -> Tensor:
        log_a, log_b = F.logsigmoid(a), F.logsigmoid(b)
        log_mixture = torch.logaddexp(log_a, log_b) - LN2
        return log_a.exp() * (log_a - log_mixture) + log_b.exp() * (log_b - log_mixture)

    # Rounding may leave a tiny negative number where the logits are equal.
    return (0.5 * (half(h1, h2) + half(-h1, -h2))).clamp_min(0)


@_full_precision
def orthogonality_loss(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over the (present) rows of |cosine(a, b)|: (B, D), (B, D), bool (B,) -> scalar (DrFuse, Eq. 4).

    Norms are clamped at 1e-8, so a zero vector counts as orthogonal, with zero gradient. Without any present row the
    result is 0, connected to the graph.
    """
    shapes_fit = a.dim() == 2 and a.shape == b.shape and (mask is None or mask.shape == a.shape[:1])
    _require(shapes_fit, "orthogonality_loss", "a, b (B, D), mask (B,)", a=a, b=b, mask=mask)
    if mask is None:
        return absolute_cosine(a, b).sum() / max(len(a), 1)
    a, b = torch.where(mask[:, None], a, 0), torch.where(mask[:, None], b, 0)
    return absolute_cosine(a, b).sum() / mask.sum().clamp_min(1)


@_full_precision
def absolute_cosine(a: Tensor, b: Tensor) -> Tensor:
    """|cosine| of each pair of rows, norms clamped at 1e-8: (B, D), (B, D) -> (B,)."""
    _require(a.dim() == 2 and a.shape == b.shape, "absolute_cosine", "a, b (B, D)", a=a, b=b)
    norms = torch.linalg.vector_norm(a, dim=1).clamp_min(1e-8) * torch.linalg.vector_norm(b, dim=1).clamp_min(1e-8)
    return (a * b).sum(1).abs() / norms


@_full_precision
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
        w_query, w_value: (D, D).
        w_key: (C, D, D), one projection a class.
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
    _require(
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


@_full_precision
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
    _require(shapes_fit, "attention_ranking_loss", "two (B, C, 3)", attention=attention, losses=losses)
    losses = losses.detach()
    better = losses[..., :, None] < losses[..., None, :]  # (B, C, i, j): i predicts better than j
    excess = attention[..., None, :] - attention[..., :, None]
    if gated:
        hinge = torch.where(better, (excess + margin).clamp_min(0), 0)
    else:
        other = ~torch.eye(attention.shape[-1], dtype=torch.bool, device=attention.device)
        hinge = torch.where(other, (torch.where(better, excess, 0) + margin).clamp_min(0), 0)
    return hinge.sum((-1, -2, -3)) / (2 * max(attention.shape[1], 1))
