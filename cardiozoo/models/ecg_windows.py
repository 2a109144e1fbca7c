"""A long record judged in windows as long as those that a network was trained on."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cardiozoo.data.tasks import TaskKind

Aggregation = Literal["none", "max", "mean"]


def windows(signals: Tensor, length: int, stride: int) -> tuple[Tensor, int]:
    """Cut (B, K, T) into (B N, K, length), the N windows of a record side by side; returns them and N.

    Windows begin every ``stride`` samples; where the last of them would leave an end unseen, one more ends with the
    record.
    """
    last = signals.shape[-1] - length
    starts = [*range(0, last + 1, stride)]
    if starts[-1] < last:
        starts.append(last)
    cut = torch.stack([signals[..., start : start + length] for start in starts], 1)
    return cut.flatten(0, 1), len(starts)


def join(logits: Tensor, how: Aggregation, kind: TaskKind) -> Tensor:
    """Logits (B, N, C) of windows -> (B, C), whose probabilities are the maximum or the mean of the windows'.

    The largest softmax probabilities of several windows sum to more than one and are scaled back to one. Predictions of
    a ``regression`` are averaged.
    """
    if kind == "regression":
        return logits.mean(1)
    if kind == "multiclass":
        log_p = logits.log_softmax(-1)
        # The softmax of log-probabilities are those probabilities, scaled to sum to one.
        return log_p.amax(1) if how == "max" else log_p.logsumexp(1)
    if how == "max":
        return logits.amax(1)
    # The logit of a mean probability, as the difference of two sums in log space.
    return F.logsigmoid(logits).logsumexp(1) - F.logsigmoid(-logits).logsumexp(1)
