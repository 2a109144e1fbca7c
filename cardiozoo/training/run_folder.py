"""Where a run is written: a new folder for each, never one that is already there."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cardiozoo.errors import OptionError
from cardiozoo.training.processes import RUN_DIR, global_rank, shared_run_name


def choose_run_folder(runs: Path, model: str, data: str, command: str, run_dir: Path | None) -> Path:
    """Makes and returns ``run_dir``, or ``runs/<model>/<data>/<YYYYmmdd-HHMMSS>[-<command>]``.

    Every process of a run gets the same folder; the first one makes it.

    Raises:
        OptionError: ``run_dir`` holds something already, or cannot be made.
    """
    if global_rank() > 0 and RUN_DIR in os.environ:
        return Path(os.environ[RUN_DIR])
    suffix = "" if command == "fit" else f"-{command}"
    if run_dir is None:
        name = shared_run_name() or time.strftime("%Y%m%d-%H%M%S")
        run_dir = runs / model / data / f"{name}{suffix}"
        number = 1
        while global_rank() == 0 and run_dir.exists():
            number += 1
            run_dir = runs / model / data / f"{name}{suffix}-{number}"
    if global_rank() == 0:
        _make(run_dir)
        os.environ[RUN_DIR] = str(run_dir)
    return run_dir


def continue_run_folder(run: Path) -> Path:
    """The folder of a run that is resumed; the processes that this one starts are told of it."""
    os.environ[RUN_DIR] = str(run)
    return run


def _make(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        raise OptionError(
            f"--run_dir {folder} is not empty.",
            "A new folder: a run is never written over another one.",
            f"cardiozoo fit --resume {folder} continues the run in it, if it is one.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"The run folder {folder} cannot be made: {error}",
            "A place that can be written to.",
            "--run_dir FOLDER or --runs FOLDER names another one.",
        ) from error
