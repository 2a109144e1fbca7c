"""Which files a WFDB record consists of, by its headers alone."""

from __future__ import annotations

import os

__all__ = ["files_of_record"]

_LARGEST = 1 << 20  # bytes, as for the reader of headers


def files_of_record(path: str) -> list[str]:
    """The other files of the record that one of its files belongs to: its header, signal files and segments.

    Nothing is checked and no file need exist: the reader does that. A file of another format has none.

    Args:
        path: A ``.hea``, ``.dat`` or ``.mat``.
    """
    stem, ending = os.path.splitext(path)
    if ending.lower() not in (".hea", ".dat", ".mat"):
        return []
    header = path if ending.lower() == ".hea" else f"{stem}.hea"
    found = [header, *_named(header, segments=True)]
    return [file for file in dict.fromkeys(found) if file != path]


def _named(header: str, segments: bool) -> list[str]:
    """What a header names, and what the headers of its segments name in turn."""
    try:
        with open(header, encoding="utf-8", errors="replace") as file:
            text = file.read(_LARGEST)
    except (OSError, ValueError):
        return []
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    words = [line.split()[0] for line in lines]
    beside = [os.path.join(os.path.dirname(header), word) for word in words[1:]]
    if not words or "/" not in words[0]:
        return beside
    parts = [f"{part}.hea" for part in beside] if segments else []
    return [file for part in parts for file in (part, *_named(part, segments=False))]
