"""The folder of a command that runs others: made or refused in words, and held by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cardiozoo.errors import OptionError, StoreError


def make_folder(folder: Path) -> None:
    """Make a folder to write to.

    Raises:
        StoreError: It cannot be made or written to.
    """
    from cardiozoo.evaluation.folders import why_not_made

    if reason := why_not_made(folder):
        raise StoreError(
            f"{folder} cannot be written ({reason}).",
            "A place where folders may be made.",
            "Choose another --out, or have the rights changed.",
        )


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder while the block runs; the system lets go of it when the process ends, however it ends.

    Raises:
        OptionError: Another process holds it.
    """
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OptionError(
                f"Another command is at work in {folder}.",
                "One command a folder.",
                "Wait for it or end it, or choose another --out.",
            ) from None
        yield
    finally:
        os.close(held)
