"""Common to the functions: full precision inside, shapes checked, reductions by name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]


def widen(value: Any) -> Any:
    """A half-precision tensor in float32; anything else, double precision included, as it is."""
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value


def full_precision(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run ``function`` without autocast, with every half-precision tensor argument widened to float32."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        device = next((a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*map(widen, args), **{name: widen(value) for name, value in kwargs.items()})

    return wrapper


def require(condition: bool, function: str, expected: str, **tensors: Tensor | None) -> None:
    if not condition:
        given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        came = ", ".join(f"{n} {tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for n, t in given.items())
        raise ValueError(f"{function} got {came}; expected {expected}")


def is_mask(mask: Tensor | None, shape: torch.Size) -> bool:
    """Whether a mask is left out, or bool and of this shape."""
    return mask is None or (mask.dtype == torch.bool and mask.shape == shape)


def reduce(values: Tensor, reduction: Reduction) -> Tensor:
    match reduction:
        case "mean":
            return values.mean()
        case "sum":
            return values.sum()
        case "none":
            return values
    raise ValueError(f"reduction is {reduction!r}; expected 'mean', 'sum' or 'none'")
