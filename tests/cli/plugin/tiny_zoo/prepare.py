"""A preparer for the tests."""

from __future__ import annotations

from pathlib import Path

from cardiozoo.errors import RawDataError


def prepare(raw_files: Path, out: Path, rows: int = 3) -> Path:
    """Copies a number into a store.

    Args:
        raw_files: Folder of raw files.
        out: Where the store goes.
        rows: How many rows to keep.
    """
    if not raw_files.is_dir():
        raise RawDataError(f"There is no folder {raw_files}.", "A folder.", "Give another --raw-files.")
    out.write_text(str(rows))
    return out
