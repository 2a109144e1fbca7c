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

    Raises:
        ValueError: Unequal shapes, ``alpha`` outside [0, 1], ``gamma`` below 0, or an unknown ``reduction``.
    """
    require(logits.shape == targets.shape, "binary_focal_loss", "equal shapes", logits=logits, targets=targets)
    if not ((alpha is None or 0 <= alpha <= 1) and gamma >= 0):
        raise ValueError(f"binary_focal_loss got alpha {alpha} and gamma {gamma}; expected alpha in [0, 1], gamma >= 0")
    targets = targets.to(logits.dtype)
    log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
    # Unlike torch's cross-entropy of logits, which rounds to 0 beyond 16 in float32, this keeps its digits on the side
    # of the right label.
    cross_entropy = -(targets * log_p + (1 - targets) * log_q)
    # log(1 - p_t) is the log-probability of the opposite label: no difference of nearly equal numbers, no 0^gamma whose
    # derivative is infinite for gamma < 1.
    log_wrong = (1 - targets) * log_p + targets * log_q
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
