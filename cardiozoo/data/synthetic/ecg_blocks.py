"""Work on the people of a synthetic ECG cohort, block by block and by as many processes as are wanted."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import numpy as np
from rich.progress import Progress

BLOCK = 100
"""People drawn at once."""

Job = TypeVar("Job")
Result = TypeVar("Result")


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
