"""Subsets of the leads that a record has."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cardiozoo.errors import OptionError
from cardiozoo.functional import kl_standard_normal, subset_members

#: Numbers that one chunk of subset posteriors may hold.
CHUNK = 2**24


def random_subsets(present: Tensor) -> Tensor:
    """One random proper subset of the present leads a row: (B, K) -> bool (B, K).

    Its size is drawn from 2 to n - 1, n being the number of leads present, then its members; without members where
    fewer than three leads are present (Wu and Goodman, 2018, as in their code).
    """
    count = present.sum(1)
    sizes = 2 + (torch.rand(len(present), device=present.device) * (count - 2)).long()
    keys = torch.rand(present.shape, device=present.device).masked_fill(~present, math.inf)
    rank = keys.argsort(1).argsort(1)
    return (rank < sizes[:, None]) & present & (count >= 3)[:, None]


class LeadSubsets(nn.Module):
    """All non-empty subsets of the leads, and the products of their experts, for rows that lack some leads.

    A row's subsets are those of its present leads. The products are taken in precision space, where all of them are one
    matrix product; log-variances must be within +-40.

    Args:
        leads: Number of leads.
        prior: N(0, I) is one more factor of the ``full`` subset (all present leads of the row), of ``all`` or ``none``.
    """

    def __init__(self, leads: int, prior: str = "full") -> None:
        super().__init__()
        if prior not in ("full", "none", "all"):
            raise OptionError(f"prior {prior!r}.", "One of full, none, all.", "Leave --model.prior out for full.")
        self.prior = prior
        self.register_buffer("members", subset_members(leads), persistent=False)  # (S, K), small subsets first

    def available(self, present: Tensor) -> Tensor:
        """Which subsets consist of present leads: (B, K) -> bool (B, S)."""
        return ((~present).float() @ self.members.T.float()) == 0

    def sample(self, present: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """``count`` different subsets a row, uniformly, in random order.

        Returns:
            Members (B, count, K), and which of them there are (B, count): a row may have fewer subsets.
        """
        available = self.available(present)
        keys = torch.rand(available.shape, device=present.device).masked_fill(~available, 2.0)
        chosen = keys.topk(min(count, len(self.members)), 1, largest=False, sorted=True)
        return self.members[chosen.indices], chosen.values < 2

    def slices(self, present: Tensor) -> Tensor:
        """The component of each row in the official code (B, K): consecutive blocks of equal size, in order of size.

        The last subset takes what is left; all rows if there are more subsets than rows.
        """
        available = self.available(present)
        count = available.sum(1)
        block = len(present) // count.clamp_min(1)
        rows = torch.arange(len(present), device=present.device)
        number = torch.where(block > 0, rows // block.clamp_min(1), count).minimum(count - 1)
        found = (available & (available.cumsum(1) == number[:, None] + 1)).float().argmax(1)
        return self.members[found] & present

    def products(self, mu: Tensor, logvar: Tensor, members: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Products of chosen subsets: (K, B, D) twice, members (B, N, K), present (B, K) -> (B, N, D) twice.

        A subset without members gives N(0, I).
        """
        precision = torch.exp(-logvar).transpose(0, 1)  # (B, K, D)
        chosen = members.to(precision.dtype)
        total = chosen @ precision
        mean = chosen @ (precision * mu.transpose(0, 1))
        total = total + self._prior(members, present).to(total.dtype)[..., None]
        return mean / total, -total.log()

    def divergence(self, mu: Tensor, logvar: Tensor, members: Tensor, there: Tensor, present: Tensor) -> Tensor:
        """Mean over a row's subsets of their divergence from N(0, I): there (B, N) -> (B,).

        In chunks of subsets, each computed again in the backward pass, so memory does not grow with their number.
        """
        size = max(1, CHUNK // max(mu[0].numel(), 1))
        total = mu.new_zeros(len(present))
        for chunk, counted in zip(members.split(size, 1), there.split(size, 1), strict=True):
            again = torch.is_grad_enabled() and members.shape[1] > size
            arguments = (mu, logvar, chunk, counted, present)
            part = checkpoint(self._divergence, *arguments, use_reentrant=False) if again else None
            total = total + (self._divergence(*arguments) if part is None else part)
        return total / there.sum(1).clamp_min(1)

    def _divergence(self, mu: Tensor, logvar: Tensor, members: Tensor, there: Tensor, present: Tensor) -> Tensor:
        values = kl_standard_normal(*self.products(mu, logvar, members, present))
        return torch.where(there, values, 0).sum(1)

    def _prior(self, members: Tensor, present: Tensor) -> Tensor:
        """Which subsets have the prior as a factor (B, N)."""
        empty = ~members.any(-1)
        match self.prior:
            case "all":
                return torch.ones_like(empty)
            case "full":
                return empty | (members == present[:, None]).all(-1)
        return empty
