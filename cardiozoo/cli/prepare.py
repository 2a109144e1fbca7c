"""``cardiozoo prepare NAME``: raw public files into a store."""

from __future__ import annotations

from cardiozoo.cli.functions import run_registered


def run(argv: list[str]) -> int:
    """Runs the preparation, or lists what can be prepared."""
    return run_registered("prepare", argv)
