"""Losses as terms that remember which entries count, so that means can be taken over all processes."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from cardiozoo.data.tasks import TaskKind
from cardiozoo.functional import binary_focal_loss, logcosh_loss
from cardiozoo.functional.checks import widen
from cardiozoo.nn.distributed import sum_over_processes, world_size

ClassLoss = Literal["cross_entropy", "focal"]
RegressionLoss = Literal["mse", "smooth_l1", "rmse", "logcosh"]
Loss = Literal["cross_entropy", "focal", "mse", "smooth_l1", "rmse", "logcosh"]

#: Added under the root of ``rmse``; keeps its gradient finite where all predictions are right.
ROOT_EPS = 1e-6


def losses_for(kind: TaskKind) -> tuple[str, ...]:
    """Names of the losses that suit a kind of task."""
    return get_args(RegressionLoss) if kind == "regression" else get_args(ClassLoss)


class LossTerm(NamedTuple):
    """One term of a loss before its mean is taken.

    Attributes:
        values: One loss an entry, any shape; may hold anything where the mask is False.
        mask: Bool of the same shape, True = counts.
        weight: Factor of the mean in the total loss.
        root: Take the square root of the mean, as a root mean squared error does.
        distance_from: Take the absolute difference of the mean from this number, as a capacity does.
    """

    values: Tensor
    mask: Tensor
    weight: float = 1.0
    root: bool = False
    distance_from: float | None = None

    def total(self) -> Tensor:
        """Sum over the entries that count."""
        return torch.where(self.mask, self.values, 0).sum()

    @property
    def bends(self) -> bool:
        """Whether the term is a function of the mean other than the mean itself."""
        return self.root or self.distance_from is not None

    def bent(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """That function at ``mean``, and its derivative."""
        if self.distance_from is not None:
            difference = mean - self.distance_from
            return difference.abs(), difference.sign()
        if self.root:
            root = (mean + ROOT_EPS).sqrt()
            return root, 1 / (2 * root)
        return mean, torch.ones_like(mean)


def prediction_term(
    logits: Tensor,
    target: Tensor,
    kind: TaskKind,
    present: Tensor | None = None,
    loss: Loss = "cross_entropy",
    alpha: float | None = 0.25,
    gamma: float = 2.0,
) -> LossTerm:
    """Loss of the labelled entries.

    Args:
        logits: (B, C); for ``regression`` the predictions, in the units of ``target``.
        target: ``binary``, ``multilabel``, ``regression``: (B, C) with NaN = unlabelled; ``multiclass``: int (B,) with
            -1 = unlabelled.
        kind: Independent sigmoids, a softmax for ``multiclass``, or plain numbers for ``regression``.
        present: Bool (B,), rows that count; their logits alone have to be finite.
        loss: ``cross_entropy`` or ``focal``; for ``regression`` one of ``mse``, ``smooth_l1``, ``rmse``, ``logcosh``.
        alpha: Weight of the positive label in the focal loss of sigmoids, 1 - alpha that of the negative one; none if
            None. Two classes of a softmax are weighted alike, the second being the positive one, so that a task has
            the same loss in either form; more than two have no such weight.
        gamma: Exponent of the focal loss.

    Returns:
        Values and mask (B, C), or (B,) for ``multiclass``.

    Raises:
        ValueError: A loss that does not suit the kind of task.
    """
    if loss not in losses_for(kind):
        raise ValueError(f"loss is {loss!r}; expected one of {', '.join(losses_for(kind))} for a {kind} task")
    logits = widen(logits)
    if present is not None:
        logits = torch.where(present[:, None], logits, 0)
    if kind == "multiclass":
        mask = target >= 0
        values = _softmax_losses(logits, target.clamp_min(0), loss, alpha, gamma)
        return LossTerm(values, mask if present is None else mask & present)
    mask = ~target.isnan()
    target = torch.where(mask, target, 0).to(logits.dtype)
    if kind == "regression":
        values = _errors(logits, target, loss)
    elif loss == "focal":
        values = binary_focal_loss(logits, target, alpha, gamma, "none")
    else:
        values = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return LossTerm(values, mask if present is None else mask & present[:, None], root=loss == "rmse")


def _softmax_losses(logits: Tensor, target: Tensor, loss: Loss, alpha: float | None, gamma: float) -> Tensor:
    if loss == "cross_entropy":
        return F.cross_entropy(logits, target, reduction="none")
    if logits.shape[-1] == 2:
        difference = logits[:, 1] - logits[:, 0]
        return binary_focal_loss(difference, target, alpha, gamma, "none")
    log_p = logits.log_softmax(-1)
    # 1 - p of the true class is the sum over the others: no difference of nearly equal numbers, and with it in log
    # space no 0^gamma, whose derivative is infinite for gamma < 1.
    is_true = F.one_hot(target, logits.shape[-1]).bool()
    log_wrong = log_p.masked_fill(is_true, -torch.inf).logsumexp(-1)
    log_true = log_p.gather(-1, target[:, None]).squeeze(-1)
    return -torch.exp(gamma * log_wrong) * log_true


def _errors(prediction: Tensor, target: Tensor, loss: Loss) -> Tensor:
    match loss:
        case "smooth_l1":
            return F.smooth_l1_loss(prediction, target, reduction="none")
        case "logcosh":
            return logcosh_loss(prediction, target, "none")
    return F.mse_loss(prediction, target, reduction="none")


def combine(terms: dict[str, LossTerm]) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of the terms' means over all processes, and each mean by itself (without gradient).

    The counts of all terms travel in one collective. As with ``global_mean``, averaging the gradients over the
    processes gives the gradient of the mean over all entries; of what the term makes of it.
    """
    counts = sum_over_processes(torch.stack([term.mask.sum() for term in terms.values()]))
    some = dict(zip(terms, counts > 0, strict=True))
    scale = world_size() / counts.clamp_min(1).to(next(iter(terms.values())).values.dtype)
    means = {name: term.total() * scale[i] for i, (name, term) in enumerate(terms.items())}
    bent = [name for name, term in terms.items() if term.bends]
    if bent:
        # The derivative there needs the mean over all processes, not this process's share of it.
        everywhere = sum_over_processes(torch.stack([means[name] for name in bent])) / world_size()
        for name, mean in zip(bent, everywhere, strict=True):
            value, slope = terms[name].bent(mean)
            # Without any entry there is nothing to be a root of, or to be far from anything.
            means[name] = torch.where(some[name], value + slope * (means[name] - mean), means[name])
    total = torch.stack([term.weight * means[name] for name, term in terms.items()]).sum()
    return total, {name: mean.detach() for name, mean in means.items()}
