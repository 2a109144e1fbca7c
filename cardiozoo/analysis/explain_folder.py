"""The folder of an explanation: it lists what it wrote, and only that makes room for the next explanation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cardiozoo.errors import OptionError
from cardiozoo.evaluation.folders import check_writable
from cardiozoo.evaluation.tables import write_json

SUMMARY = "summary.json"
MARK: dict[str, Any] = {"format": "cardiozoo-explanation", "version": 1}


def check_folder(folder: Path) -> None:
    """Make sure that an explanation may be written there; nothing is made or removed.

    Raises:
        OptionError: A file is in the way, the place cannot be written to, or the folder holds something but no
            explanation that lists its files.
    """
    check_writable(folder)
    if not folder.exists():
        return
    strangers = sorted(entry.name for entry in folder.iterdir())
    if strangers and _listed(folder) is None:
        named = ", ".join(strangers[:3]) + (", ..." if len(strangers) > 3 else "")
        raise OptionError(
            f"{folder} is not empty and holds no explanation that lists its files ({named}).",
            "A new or empty folder, or that of an earlier explanation, whose files are replaced.",
            "Choose another with --out, or move away what is there.",
        )


def clear_folder(folder: Path) -> None:
    """Remove the files that an earlier explanation lists as its own; they would belie the next one.

    The summary itself stays until the next one replaces it, so that a killed run leaves a folder that is still known.

    Raises:
        OptionError: See `check_folder`.
    """
    check_folder(folder)
    for name in _listed(folder) or ():
        path = folder / name
        if name != SUMMARY and path.is_file():
            path.unlink()


def _listed(folder: Path) -> list[str] | None:
    """Names that the explanation in a folder wrote; None where there is no explanation that says so."""
    try:
        content = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    files = content.get("files") if isinstance(content, dict) and content.get("format") == MARK["format"] else None
    if not isinstance(files, list):
        return None
    # A name with a path in it was not written by us, and may lead out of the folder.
    return [name for name in files if isinstance(name, str) and name == Path(name).name]


class WrittenFiles:
    """Keeps the list of the files of an explanation, on the disk before each of them is begun.

    Args:
        folder: It exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.names = [SUMMARY]

    def path(self, name: str) -> Path:
        """Where the file of that name goes, from now on one of ours."""
        if name not in self.names:
            self.names.append(name)
            write_json(self._folder / SUMMARY, {**MARK, "status": "running", "files": self.names})
        return self._folder / name

    def finish(self, content: dict[str, Any]) -> None:
        """Write the summary itself, with the list at its end."""
        write_json(self._folder / SUMMARY, {**MARK, "status": "completed", **content, "files": self.names})
