"""From one Gaussian a lead to one Gaussian a record, over whichever leads a record has.

All of it in float32 at least, without autocast. A record without any lead gets the prior N(0, I), and no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from cardiozoo.errors import OptionError, check_choice
from cardiozoo.functional import mixture_of_experts, product_of_experts
from cardiozoo.functional.checks import widen

Gate = Literal["learned", "uniform"]


@dataclass(frozen=True)
class Fused:
    """A fused posterior and what the loss needs to know of how it came about.

    Attributes:
        mu, logvar: The posterior that is sampled (B, D).
        kl_mu, kl_logvar: The Gaussian whose divergence from the prior is penalised (B, D).
        experts: Means of the experts that are to agree (E, B, D).
        present: Which of them there are, bool (E, B).
        centre: The mean they are to agree with (B, D).
        weights: Share of each expert in the mixture (E, B), 0 where absent; None without a mixture.
        product: Mean of the product of the leads (B, D); None without a product.
    """

    mu: Tensor
    logvar: Tensor
    kl_mu: Tensor
    kl_logvar: Tensor
    experts: Tensor
    present: Tensor
    centre: Tensor
    weights: Tensor | None = None
    product: Tensor | None = None


class ExpertFusion(nn.Module):
    """A product of the leads' experts, then a gated mixture of the leads and the product (LS-EMVAE, section 2).

    Args:
        leads: Number of leads.
        latent: Latent dimensions.
        gate: ``learned``: one linear score of mean and log-variance, the same for all experts, and a bias for each,
            softmax over the experts that are present, everything 0 at first. ``uniform``: equal shares.
        poe: The product is an expert of the mixture; without it the leads alone are mixed.
        moe: Mix; without it the product is the posterior.
        prior: N(0, I) is one more factor of the product.
    """

    def __init__(
        self, leads: int, latent: int, gate: Gate = "learned", poe: bool = True, moe: bool = True, prior: bool = False
    ) -> None:
        super().__init__()
        check_choice("gate", gate, Gate)
        check_parts(poe, moe)
        self.poe, self.moe, self.prior = poe, moe, prior
        if moe and gate == "learned":
            self.score = nn.Parameter(torch.zeros(2 * latent))
            self.bias = nn.Parameter(torch.zeros(leads + int(poe)))
        else:
            self.score = self.bias = None

    def forward(self, mu: Tensor, logvar: Tensor, mask: Tensor) -> Fused:
        """Experts (leads, B, D), mask bool (leads, B) -> the fused posterior."""
        with torch.autocast(mu.device.type, enabled=False):
            return self._fuse(mu, logvar, mask)

    def _fuse(self, mu: Tensor, logvar: Tensor, mask: Tensor) -> Fused:
        mu, logvar, mask, some = stand_in_for_empty_rows(mu, logvar, mask)
        product = None
        if self.poe:
            product, product_logvar = product_of_experts(mu, logvar, mask, self.prior)
            if not self.moe:
                joint = (prior_where_empty(product, some), prior_where_empty(product_logvar, some))
                return Fused(*joint, *joint, mu, mask & some, joint[0], None, joint[0])
            mu, logvar = torch.cat([mu, product[None]]), torch.cat([logvar, product_logvar[None]])
            mask = torch.cat([mask, torch.ones_like(mask[:1])])
        weights = self._weights(mu, logvar, mask)
        joint_mu, joint_logvar = mixture_of_experts(mu, logvar, weights, mask)
        joint = (prior_where_empty(joint_mu, some), prior_where_empty(joint_logvar, some))
        product = None if product is None else prior_where_empty(product, some)
        return Fused(*joint, *joint, mu, mask & some, joint[0], torch.where(some, weights, 0), product)

    def _weights(self, mu: Tensor, logvar: Tensor, mask: Tensor) -> Tensor:
        """Shares of the experts that are present (E, B), summing to 1."""
        if self.score is None:
            return mask / mask.sum(0)
        scores = torch.cat([mu, logvar], -1) @ self.score.to(mu.dtype) + self.bias[:, None]
        return scores.masked_fill(~mask, -math.inf).softmax(0)


class ReleasedFusion(nn.Module):
    """The fusion of the authors' released code, without parameters, for its weights.

    Products within groups of three consecutive leads; their plain average, also of the log-variances, is sampled. The
    divergence penalised is that of the plain average of the leads, and the leads are to agree with its mean.

    Args:
        groups: Group of each lead.
        poe: Groups as above; without it the plain average of the leads is sampled as well (the ablation without PoE).
        moe: As above; without it the product of the prior and all leads is sampled and penalised (without MoE).
    """

    def __init__(self, groups: Sequence[int], poe: bool = True, moe: bool = True) -> None:
        super().__init__()
        check_parts(poe, moe)
        self.poe, self.moe = poe, moe
        found = sorted(set(groups))
        self.members = [[lead for lead, group in enumerate(groups) if group == one] for one in found]

    def forward(self, mu: Tensor, logvar: Tensor, mask: Tensor) -> Fused:
        """Experts (leads, B, D), mask bool (leads, B) -> the posterior that is sampled, and the one penalised."""
        with torch.autocast(mu.device.type, enabled=False):
            return self._fuse(mu, logvar, mask)

    def _fuse(self, mu: Tensor, logvar: Tensor, mask: Tensor) -> Fused:
        mu, logvar, mask, some = stand_in_for_empty_rows(mu, logvar, mask)
        mean = tuple(prior_where_empty(average(values, mask), some) for values in (mu, logvar))
        if not self.moe:
            joint = tuple(prior_where_empty(part, some) for part in product_of_experts(mu, logvar, mask, prior=True))
            return Fused(*joint, *joint, mu, mask & some, joint[0], None, joint[0])
        if not self.poe:
            return Fused(*mean, *mean, mu, mask & some, mean[0])
        products = [self._group(mu, logvar, mask, members) for members in self.members]
        group_mu, group_logvar, there = (torch.stack(parts) for parts in zip(*products, strict=True))
        joint = tuple(prior_where_empty(average(values, there), some) for values in (group_mu, group_logvar))
        return Fused(*joint, *mean, mu, mask & some, mean[0])

    def _group(self, mu: Tensor, logvar: Tensor, mask: Tensor, members: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """The product of one group, and which rows have any lead of it."""
        there = mask[members].any(0)
        parts = stand_in_for_empty_rows(mu[members], logvar[members], mask[members])
        return *product_of_experts(*parts[:3]), there


def average(values: Tensor, mask: Tensor) -> Tensor:
    """Plain mean over the present experts: (E, B, D), (E, B) -> (B, D)."""
    return torch.where(mask[..., None], values, 0).sum(0) / mask.sum(0).clamp_min(1)[:, None]


def stand_in_for_empty_rows(mu: Tensor, logvar: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Absent experts are filled with N(0, I), and the first stands in where a row has none.

    Returns:
        Means and log-variances (E, B, D), the mask (E, B) with at least one expert a row, and which rows had one (B,).
    """
    some = mask.any(0)
    mu, logvar = (torch.where(mask[..., None], widen(values), 0) for values in (mu, logvar))
    return mu, logvar, torch.cat([mask[:1] | ~some, mask[1:]]), some


def prior_where_empty(values: Tensor, some: Tensor) -> Tensor:
    """Mean or log-variance (B, D) of N(0, I), which is 0, in the rows without any lead."""
    return torch.where(some[:, None], values, 0)


def check_parts(poe: bool, moe: bool) -> None:
    """Refuse a fusion without any part."""
    if not (poe or moe):
        raise OptionError("poe false and moe false.", "At least one of them.", "Without both nothing fuses the leads.")
