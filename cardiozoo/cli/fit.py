"""``cardiozoo fit | validate | test | predict``: expands what was typed, then hands over to LightningCLI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cardiozoo.cli.arguments import announce, expand
from cardiozoo.training.processes import global_rank

TERMINATED = 143  # 128 + SIGTERM


def run(argv: list[str]) -> int:
    """Runs ``[command, *options]``; lightning is imported only once the names and weights asked for are known."""
    arguments = expand(argv, _read_hyperparameters)
    if not arguments.only_looking and global_rank() == 0:
        announce(arguments)
    from cardiozoo.training.output import silence_known_noise

    silence_known_noise(evaluating=arguments.command != "fit")
    from cardiozoo.cli.lightning import ZooCLI, run_interrupted

    try:
        ZooCLI(arguments)
    except SystemExit as stop:
        if run_interrupted():
            raise KeyboardInterrupt from stop
        return stop.code if isinstance(stop.code, int) else (0 if stop.code is None else 1)
    return 0


def _read_hyperparameters(path: Path) -> dict[str, Any]:
    from cardiozoo.training.checkpoints import read_hyperparameters

    return read_hyperparameters(path)
