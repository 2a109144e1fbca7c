"""``cardiozoo synthesize NAME``: a synthetic cohort in the raw public layout."""

from __future__ import annotations

from cardiozoo.cli.functions import run_registered


def run(argv: list[str]) -> int:
    """Runs the simulator, or lists those that are registered."""
    return run_registered("synthesize", argv)
