"""The folder of a synthetic cohort: checked before work begins, there under its name only when it is complete."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.progress import Progress

from cardiozoo.errors import OptionError, StoreError

MARKER = "SYNTHETIC.json"
BLOCK = 100
"""People drawn at once."""

Job = TypeVar("Job")
Result = TypeVar("Result")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise OptionError unless ``low <= value <= high``."""
    if not (math.isfinite(value) and low <= value <= high):
        raise OptionError(f"{name} is {value}.", f"{name} may be {low} to {high}.", f"Give another value to {name}.")


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise OptionError unless the value is one of the choices."""
    if value not in tuple(choices):
        raise OptionError(f"{name} is {value!r}.", f"{name} may be {', '.join(choices)}.", f"Choose another {name}.")


def check_output(out: Path, overwrite: bool) -> None:
    """Raise OptionError if the folder holds what no earlier call wrote, or what may not be replaced."""
    partial = _partial(out)
    if partial.exists() and not (partial / MARKER).is_file():
        raise OptionError(
            f"{partial} is in the way, and no earlier call left it.",
            f"The cohort is written to {partial.name} first.",
            "Rename that folder, or name another output.",
        )
    if not out.exists():
        return
    if not out.is_dir():
        raise OptionError(f"{out} is a file.", "The output is a new or empty folder.", "Name another folder.")
    if any(out.iterdir()):
        ours = (out / MARKER).is_file()
        if not (overwrite and ours):
            hint = "Remove it, name another one, or allow overwriting." if ours else "Name another folder."
            raise OptionError(f"{out} holds something already.", "The output is a new or empty folder.", hint)


@contextmanager
def complete_folder(out: Path, marker: dict, megabytes: float) -> Iterator[Path]:
    """A folder to write to, which takes the place of ``out`` when the block ends without an error.

    Args:
        out: Folder that the user named.
        marker: Content of SYNTHETIC.json: nothing here comes from a real person.
        megabytes: Room that is needed, for the error.
    """
    partial = _partial(out)
    try:
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        write_json(partial / MARKER, marker)
        yield partial
        if out.exists():
            shutil.rmtree(out)
        os.replace(partial, out)
    except OSError as error:
        raise StoreError(
            f"The cohort cannot be written to {out}: {error}.",
            f"Roughly {megabytes:,.0f} MB are needed, in a folder that can be written to.",
            f"Free the disk or name another folder; {partial.name} is what was written so far and may be removed.",
        ) from error


def write_json(path: Path, content: dict) -> None:
    """Write JSON to be read by people too."""
    path.write_text(json.dumps(content, indent=1, sort_keys=False) + "\n", encoding="utf-8")


def in_blocks(
    task: Callable[[Job], Result], job: Callable[[np.ndarray], Job], patients: int, workers: int, label: str
) -> list[Result]:
    """Results of ``task(job(index))`` over blocks of the cohort, in order, with a progress bar on a terminal.

    Every block is drawn from streams of its own, so the number of workers changes nothing but the time.

    Args:
        task: Function of a module, so that another process can import it.
        job: What it is to be given for the numbers (B,) of some people.
        patients: Size of the cohort.
        workers: Processes; 1 works in this one.
        label: Text beside the bar.
    """
    blocks = [np.arange(start, min(start + BLOCK, patients)) for start in range(0, patients, BLOCK)]
    results = []
    with Progress(transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(label, total=patients)
        for index, result in zip(blocks, _run(task, [job(index) for index in blocks], workers), strict=True):
            results.append(result)
            progress.advance(bar, len(index))
    return results


def _run(task: Callable[[Job], Result], jobs: list[Job], workers: int) -> Iterator[Result]:
    if workers == 1 or len(jobs) == 1:
        yield from map(task, jobs)
        return
    # polars and threaded libraries do not survive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        yield from pool.map(task, jobs)


def _partial(out: Path) -> Path:
    return out.with_name(out.name + ".partial")
