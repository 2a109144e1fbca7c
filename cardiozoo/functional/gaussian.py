"""Diagonal Gaussian experts: their product, their mixture, their divergences.

E experts, B rows, D latent dimensions; a Gaussian is given by its mean ``mu`` and its log-variance ``logvar``.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
from torch import Tensor

from cardiozoo.functional.checks import full_precision, is_mask, require

SubsetPrior = Literal["full", "none", "all"]

#: More subsets than those of so many experts do not fit into memory at once.
MOST_EXPERTS = 16
#: exp(x) is finite in float32, also squared by half, up to here.
LARGEST_EXPONENT = 85.0


@full_precision
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
    _require_experts("product_of_experts", mu, logvar, mask)
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


@full_precision
def mixture_of_experts(
    mu: Tensor, logvar: Tensor, weights: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The Gaussian with the mean and the variance of a weighted mixture of E diagonal Gaussians.

    mu_M = sum_k w_k mu_k; var_M = sum_k w_k (var_k + (mu_k - mu_M)^2). The spread is taken around mu_M: the textbook's
    sum_k w_k (var_k + mu_k^2) - mu_M^2 is the same number, but where the experts agree it is a difference of nearly
    equal ones and may come out negative. Suvon et al., LS-EMVAE (2025), section 2.

    Args:
        mu: Means (E, B, D).
        logvar: Log-variances (E, B, D), in [-100, 100].
        weights: (E, B), at least 0; they are divided by their sum over the experts that are present.
        mask: Bool (E, B), True = present; all of them if None.

    Returns:
        Mean and log-variance (B, D).

    Raises:
        ValueError: Wrong shapes, a negative weight, an infinite one, or a row whose present experts have no weight.
    """
    _require_experts("mixture_of_experts", mu, logvar, mask)
    require(weights.shape == mu.shape[:2], "mixture_of_experts", "weights (E, B)", mu=mu, weights=weights)
    weights = weights.to(mu.dtype)
    if mask is not None:
        mu, logvar = (torch.where(mask[..., None], values, 0) for values in (mu, logvar))
        weights = torch.where(mask, weights, 0)
    total = weights.sum(0)
    if len(mu) == 0 or not bool(((total > 0) & total.isfinite() & (weights >= 0).all(0)).all()):
        raise ValueError(
            "mixture_of_experts got a negative weight, an infinite one, or a row whose present experts have no weight; "
            "expected weights >= 0 with a positive, finite sum in every row"
        )
    weights = (weights / total)[..., None]
    mean = (weights * mu).sum(0)
    deviation = mu - mean
    # Every term is divided by the largest one before it is exponentiated or squared. The divisor drops out of value and
    # gradient, so none flows through it. An expert without weight has no say in it, and its own terms may be anything.
    with torch.no_grad():
        largest = torch.maximum(logvar, 2 * deviation.abs().clamp_min(torch.finfo(mu.dtype).tiny).log())
        scale = (weights.log() + largest).amax(0)
    bound = math.exp(0.5 * LARGEST_EXPONENT)
    own = torch.exp((logvar - scale).clamp_max(LARGEST_EXPONENT))
    spread = (deviation * torch.exp(-0.5 * scale)).clamp(-bound, bound).square()
    return mean, scale + (weights * (own + spread)).sum(0).log()


@full_precision
def subset_posteriors(mu: Tensor, logvar: Tensor, prior: SubsetPrior = "full") -> tuple[Tensor, Tensor]:
    """Products of the experts of every non-empty subset, S = 2^E - 1 of them.

    Sutter, Daunhawer and Vogt, Generalized Multimodal ELBO (2021), Eq. 6. Built up expert by expert in log space: each
    subset is a smaller one times one expert, so the work does not grow with the size of the subsets.

    Args:
        mu: Means (E, B, D).
        logvar: Log-variances (E, B, D).
        prior: The standard normal is one more expert in the ``full`` subset only (as in the authors' code), in ``all``
            of them, or in ``none``.

    Returns:
        Means and log-variances (S, B, D), in the order of ``itertools.combinations`` of sizes 1, 2, ..., E.

    Raises:
        ValueError: Wrong shapes, no expert or more than 16, or an unknown ``prior``.
    """
    _require_experts("subset_posteriors", mu, logvar, None)
    experts = len(mu)
    if not 1 <= experts <= MOST_EXPERTS:
        raise ValueError(f"subset_posteriors got {experts} experts; expected 1 to {MOST_EXPERTS}")
    if prior not in ("full", "none", "all"):
        raise ValueError(f"prior is {prior!r}; expected 'full', 'none' or 'all'")
    log_precision = -logvar
    # Row of a subset while they are being built: the binary number of its members, less one.
    means, precisions = mu[:1], log_precision[:1]
    for k in range(1, experts):
        joined = _multiply(means, precisions, mu[k], log_precision[k])
        means = torch.cat([means, mu[k : k + 1], joined[0]])
        precisions = torch.cat([precisions, log_precision[k : k + 1], joined[1]])
    order = ((subset_members(experts).long() * 2 ** torch.arange(experts)).sum(1) - 1).to(mu.device)
    means, precisions = means[order], precisions[order]
    if prior == "none":
        return means, -precisions
    standard = torch.zeros_like(mu[0])
    if prior == "all":
        means, precisions = _multiply(means, precisions, standard, standard)
    else:
        full = _multiply(means[-1:], precisions[-1:], standard, standard)
        means, precisions = torch.cat([means[:-1], full[0]]), torch.cat([precisions[:-1], full[1]])
    return means, -precisions


def subset_members(experts: int) -> Tensor:
    """Members of the non-empty subsets of E experts, bool (2^E - 1, E), in ``itertools`` order by size."""
    sizes = range(1, experts + 1)
    found = list(itertools.chain.from_iterable(itertools.combinations(range(experts), size) for size in sizes))
    members = torch.zeros(len(found), experts, dtype=torch.bool, device="cpu")
    for row, subset in enumerate(found):
        members[row, list(subset)] = True
    return members


def _multiply(mu_a: Tensor, precision_a: Tensor, mu_b: Tensor, precision_b: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-precision of the product of two Gaussians given by mean and log-precision, broadcast."""
    share = torch.sigmoid(precision_b - precision_a)
    return mu_a + share * (mu_b - mu_a), torch.logaddexp(precision_a, precision_b)


@full_precision
def kl_standard_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, I)) summed over the last axis: (B, D), (B, D) -> (B,)."""
    require(mu.shape == logvar.shape and mu.dim() > 0, "kl_standard_normal", "equal shapes", mu=mu, logvar=logvar)
    # expm1 keeps the digits near logvar = 0, where exp(x) - 1 - x loses them.
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar).sum(-1)


@full_precision
def alignment_distance(mu_experts: Tensor, mu_joint: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over the present experts of ||mu_k - mu_joint||^2: (E, B, D), (B, D), mask (E, B) -> (B,).

    The sum runs over D. A row without any expert gets 0.
    """
    shapes_fit = mu_experts.dim() == 3 and mu_joint.shape == mu_experts.shape[1:]
    shapes_fit = shapes_fit and is_mask(mask, mu_experts.shape[:2])
    require(
        shapes_fit, "alignment_distance", "mu_experts (E, B, D), mu_joint (B, D), mask bool (E, B)",
        mu_experts=mu_experts, mu_joint=mu_joint, mask=mask,
    )  # fmt: skip
    if mask is None:
        return (mu_experts - mu_joint).square().sum(-1).sum(0) / max(len(mu_experts), 1)
    # A row without any expert is taken out before the arithmetic: its joint mean may be anything.
    mu_joint = torch.where(mask.any(0)[:, None], mu_joint, 0)
    distance = torch.where(mask[..., None], mu_experts - mu_joint, 0).square().sum(-1)
    return distance.sum(0) / mask.sum(0).clamp_min(1)


@full_precision
def alignment_loss(mu_experts: Tensor, mu_joint: Tensor, gamma: float, mask: Tensor | None = None) -> Tensor:
    """gamma / N sum_k ||mu_k - mu_joint||^2 over the N present experts, averaged over the rows (LS-EMVAE, Eq. 1).

    Args:
        mu_experts: Means (E, B, D).
        mu_joint: Mean of the fused posterior (B, D).
        gamma: Weight.
        mask: Bool (E, B), True = present; all of them if None. A row without any expert does not count in the average.

    Returns:
        A scalar.
    """
    distance = alignment_distance(mu_experts, mu_joint, mask)
    rows = len(distance) if mask is None else mask.any(0).sum().clamp_min(1)
    return gamma * distance.sum() / max(rows, 1) if mask is None else gamma * distance.sum() / rows


def linear_annealing(step: int, total_steps: int, start: float = 0.0, stop: float = 1.0) -> float:
    """A weight that grows linearly from ``start`` to ``stop`` within ``total_steps`` and stays there."""
    if step < 0 or total_steps < 0:
        raise ValueError(f"linear_annealing got step {step} of {total_steps}; expected numbers >= 0")
    fraction = min(step / total_steps, 1.0) if total_steps else 1.0
    return start + (stop - start) * fraction


@full_precision
def reparameterize(mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One sample mu + exp(logvar / 2) * noise, differentiable in both: (B, D), (B, D) -> (B, D)."""
    require(mu.shape == logvar.shape, "reparameterize", "equal shapes", mu=mu, logvar=logvar)
    noise = torch.randn(mu.shape, dtype=mu.dtype, device=mu.device, generator=generator)
    return mu + torch.exp(0.5 * logvar) * noise


@full_precision
def soft_clamp(x: Tensor, limit: float, knee: float = 0.8) -> Tensor:
    """x within +-knee * limit, bending smoothly towards +-limit beyond; the derivative is never 0.

    Beyond the knee k = knee * limit: sign(x) (k + (limit - k) u / (1 + u)) with u = (|x| - k) / (limit - k). A hard
    clamp would stop the gradient of every log-variance that has run away, and tanh would nearly do so.
    """
    if not (limit > 0 and 0 <= knee < 1):
        raise ValueError(f"soft_clamp got limit {limit} and knee {knee}; expected limit > 0 and knee in [0, 1)")
    start = knee * limit
    width = limit - start
    beyond = (x.abs() - start).clamp_min(0) / width
    bent = x.sign() * (start + width * beyond / (1 + beyond))
    return torch.where(x.abs() <= start, x, bent)


def _require_experts(function: str, mu: Tensor, logvar: Tensor, mask: Tensor | None) -> None:
    shapes_fit = mu.dim() == 3 and mu.shape == logvar.shape and is_mask(mask, mu.shape[:2])
    require(shapes_fit, function, "mu, logvar (E, B, D), mask bool (E, B)", mu=mu, logvar=logvar, mask=mask)
