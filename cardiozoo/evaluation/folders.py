"""Folders for what is judged or explained: made, or refused in words."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from cardiozoo.errors import OptionError


def check_writable(folder: Path) -> None:
    """Make sure, before any work, that files can be written there; nothing is made.

    Raises:
        OptionError: The place, or the next one above it that exists, is no folder or cannot be written to.
    """
    # os.path answers "no" where a place above must not be searched, for which pathlib has an exception.
    there = next((place for place in (folder, *folder.absolute().parents) if os.path.exists(place)), folder)
    if not there.is_dir():
        raise _refused(folder, f"{there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise _refused(folder, f"no permission to write in {there}")


def make_folder(folder: Path) -> None:
    """Make it and those above it.

    Raises:
        OptionError: It cannot be made or written to.
    """
    if why := why_not_made(folder):
        raise _refused(folder, why)


def why_not_made(folder: Path) -> str:
    """Make a folder and those above it; why it cannot be made or written to, empty if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(folder, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)


def _refused(folder: Path, why: str) -> OptionError:
    return OptionError(
        f"{folder} cannot be written to: {why}.", "A place that can be written to.", "--out DIR names another one."
    )
