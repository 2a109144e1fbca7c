"""The folder of a synthetic cohort: checked before work begins, there under its name only when it is complete."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cardiozoo.errors import OptionError, StoreError

MARKER = "SYNTHETIC.json"


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise OptionError unless ``low <= value <= high``."""
    if not (math.isfinite(value) and low <= value <= high):
        raise OptionError(f"{name} is {value}.", f"{name} may be {low} to {high}.", f"Give another value to {name}.")


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise OptionError unless the value is one of the choices."""
    if value not in tuple(choices):
        raise OptionError(f"{name} is {value!r}.", f"{name} may be {', '.join(choices)}.", f"Choose another {name}.")


def check_output(out: Path, overwrite: bool, simulator: str) -> None:
    """Raise OptionError if the folder cannot be named so, or holds what no earlier call of this simulator wrote."""
    place = out.resolve()
    if not place.name or place == Path.cwd():
        raise OptionError(
            f"out is {out}, {'the folder that you are in' if place.name else 'the root of the disk'}.",
            "The output is a new or empty folder, which is moved to its place when it is complete.",
            "Name a folder within it.",
        )
    partial = _partial(place)
    if partial.exists() and not (partial / MARKER).is_file():
        raise OptionError(
            f"{partial} is in the way, and no earlier call left it.",
            f"The cohort is written to {partial.name} first.",
            "Rename that folder, or name another output.",
        )
    if not place.exists():
        return
    if not place.is_dir():
        raise OptionError(f"{out} is a file.", "The output is a new or empty folder.", "Name another folder.")
    if any(place.iterdir()):
        _check_replaceable(out, overwrite, simulator)


def _check_replaceable(out: Path, overwrite: bool, simulator: str) -> None:
    """Raise OptionError unless overwriting is allowed and everything in the folder is an earlier cohort's."""
    ours = (out / MARKER).is_file()
    if not (overwrite and ours):
        hint = "Remove it, name another one, or allow overwriting." if ours else "Name another folder."
        raise OptionError(f"{out} holds something already.", "The output is a new or empty folder.", hint)
    try:
        marker = json.loads((out / MARKER).read_text(encoding="utf-8"))
        earlier, written = str(marker["simulator"]), {MARKER, *marker["contents"]}
    except (OSError, ValueError, KeyError, TypeError):
        earlier, written = "another version", {MARKER}
    strangers = sorted({path.name for path in out.iterdir()} - written)
    if earlier != simulator or strangers:
        more = f", also {', '.join(strangers[:3])}" if strangers else ""
        raise OptionError(
            f"{out} holds a cohort of {earlier}{more}.",
            f"What an earlier call for {simulator} wrote, and nothing else, is overwritten.",
            "Move or remove what is there, or name another folder.",
        )


@contextmanager
def complete_folder(out: Path, marker: dict, megabytes: float) -> Iterator[Path]:
    """A folder to write to, which takes the place of ``out`` when the block ends without an error.

    Args:
        out: Folder that the user named.
        marker: Content of SYNTHETIC.json: nothing here comes from a real person. The names of what is written beside it
            are added when all of it is there.
        megabytes: Room that is needed, for the error.
    """
    place = out.resolve()
    partial = _partial(place)
    try:
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        write_json(partial / MARKER, marker)
        yield partial
        contents = sorted(path.name for path in partial.iterdir() if path.name != MARKER)
        write_json(partial / MARKER, {**marker, "contents": contents})
        if place.exists():
            shutil.rmtree(place)
        os.replace(partial, place)
    except OSError as error:
        raise StoreError(
            f"The cohort cannot be written to {out}: {error}.",
            f"Roughly {math.ceil(megabytes):,} MB are needed, in a folder that can be written to.",
            f"Free the disk or name another folder; {partial.name} is what was written so far and may be removed.",
        ) from error


def write_json(path: Path, content: dict) -> None:
    """Write JSON to be read by people too."""
    path.write_text(json.dumps(content, indent=1, sort_keys=False) + "\n", encoding="utf-8")


def _partial(out: Path) -> Path:
    return out.with_name(out.name + ".partial")
