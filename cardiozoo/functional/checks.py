"""Common to the functions: full precision inside, shapes checked, reductions by name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]


def full_precision(function: Callable[..., Any]) -> Callable[..., Any]:
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


def require(condition: bool, function: str, expected: str, **tensors: Tensor | None) -> None:
    if not condition:
        shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in tensors.items() if t is not None)
        raise ValueError(f"{function} got {shapes}; expected {expected}")


def reduce(values: Tensor, reduction: Reduction) -> Tensor:
    match reduction:
        case "mean":
            return values.mean()
        case "sum":
            return values.sum()
        case "none":
            return values
    raise ValueError(f"reduction is {reduction!r}; expected 'mean', 'sum' or 'none'")
