"""Losses of predictions: focal, root mean square, log-cosh."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cardiozoo.functional.checks import Reduction, full_precision, reduce, require

LN2 = math.log(2.0)


@full_precision
def binary_focal_loss(
    logits: Tensor, targets: Tensor, alpha: float | None = 0.25, gamma: float = 2.0, reduction: Reduction = "mean"
) -> Tensor:
    """alpha_t (1 - p_t)^gamma (-log p_t) with p_t the probability given to the true label.

    Lin et al., Focal Loss for Dense Object Detection (2017), Eq. 5. ``targets`` are 0 or 1, shaped as ``logits``;
    ``alpha=None`` leaves out the class weight.
    """
    require(logits.shape == targets.shape, "binary_focal_loss", "equal shapes", logits=logits, targets=targets)
    targets = targets.to(logits.dtype)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    # log(1 - p_t) is the cross-entropy of the opposite label: no difference of nearly equal numbers, no 0^gamma whose
    # derivative is infinite for gamma < 1.
    log_wrong = -F.binary_cross_entropy_with_logits(logits, 1 - targets, reduction="none")
    loss = torch.exp(gamma * log_wrong) * cross_entropy
    if alpha is not None:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return reduce(loss, reduction)


@full_precision
def rmse_loss(prediction: Tensor, target: Tensor, eps: float = 1e-6) -> Tensor:
    """sqrt(mean squared error + eps); ``eps`` keeps the gradient finite where prediction and target agree."""
    require(prediction.shape == target.shape, "rmse_loss", "equal shapes", prediction=prediction, target=target)
    return torch.sqrt(F.mse_loss(prediction, target.to(prediction.dtype)) + eps)


@full_precision
def logcosh_loss(prediction: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """log cosh(e) of the error e, as |e| + softplus(-2|e|) - ln 2, which does not overflow."""
    require(prediction.shape == target.shape, "logcosh_loss", "equal shapes", prediction=prediction, target=target)
    # log cosh is even, and e + softplus(-2e) - ln 2 is the same number on both sides; with the sign of e kept, the
    # derivative at 0 is exactly 0, where |e| would have none.
    error = prediction - target.to(prediction.dtype)
    stable = torch.where(error < 0, -error, error)
    return reduce(stable + F.softplus(-2 * stable) - LN2, reduction)
