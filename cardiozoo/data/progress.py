"""What shows on stderr that work goes on, only on a terminal and only after two seconds: a bar, or a sign of life."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_PATIENCE = 2.0


@contextmanager
def progress_bar(title: str, total: float) -> Iterator[Callable[[float], None]]:
    """Yield a function that takes how much has been done since its last call.

    Args:
        title: What is being done.
        total: How much there is to do, in the unit of the calls.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(title, total=total)
    started, shown = time.monotonic(), False

    def advance(done: float) -> None:
        nonlocal shown
        if not shown and time.monotonic() - started > _PATIENCE:
            bar.start()
            shown = True
        bar.advance(task, done)

    try:
        yield advance
    finally:
        if shown:
            bar.stop()


@contextmanager
def busy(title: str) -> Iterator[None]:
    """A moving sign beside `title`, for work of one piece that cannot say how far it has come."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    status = console.status(title)
    later = threading.Timer(_PATIENCE, status.start)
    later.start()
    try:
        yield
    finally:
        later.cancel()
        later.join()
        status.stop()
