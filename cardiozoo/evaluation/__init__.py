"""Judging a predictions table, whoever wrote the model: metrics, intervals, subgroups, calibration, report.

Nothing here knows a model, a store or torch; the door in is a table (see ``predictions``).
Names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Evaluation": "evaluate",
    "evaluate_run": "evaluate",
    "evaluate_table": "evaluate",
    "Comparison": "comparison",
    "compare": "comparison",
    "Predictions": "predictions",
    "read_predictions": "predictions",
    "confidence_interval": "bootstrap",
    "gaps": "subgroups",
}
_MODULES = ("bootstrap", "calibration", "metrics", "neighbours", "predictions", "subgroups")

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
