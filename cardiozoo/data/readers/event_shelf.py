"""Events on disk by ranges of stays, so that what does not fit into memory can be sorted piece by piece."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cardiozoo.data.ehr_cleaning import Events

__all__ = ["ArrayFile", "EventShelf"]

_MOST_FILES = 4096


class EventShelf:
    """Takes events in any order and gives them back in ranges of ascending stays, each whole.

    Args:
        folder: Where the files go; must exist.
        stays: How many stays there are; numbers 0 to ``stays - 1``.
        files: Into about how many files to divide them.
        text_length: Longest charted text that is kept with an event; 0 keeps none.
    """

    def __init__(self, folder: Path, stays: int, files: int, text_length: int = 0) -> None:
        text = [("text", f"S{text_length}")] if text_length else []
        self.dtype = np.dtype(
            [("stay", "<i4"), ("seconds", "<i4"), ("slot", "u1"), ("value", "<f8"), ("stored", "<i8"), *text]
        )
        self.folder, self.stays = folder, stays
        self.width = -(-max(stays, 1) // max(1, min(files, _MOST_FILES)))

    def add(self, events: Events) -> None:
        """Files a batch of events."""
        records = np.empty(len(events.stay), dtype=self.dtype)
        for name in self.dtype.names or ():
            records[name] = getattr(events, name)
        place = events.stay // self.width
        order = np.argsort(place, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(place[order])) + 1) if len(order) else ():
            with self._path(int(place[part[0]])).open("ab") as file:
                file.write(records[part].view(np.uint8))

    def take(self, largest: int) -> Iterator[Events]:
        """Gives all events back, ascending ranges of stays of at most `largest` events, and removes the files.

        A single stay with more events than that comes whole.
        """
        for number, start in enumerate(range(0, self.stays, self.width)):
            path = self._path(number)
            if not path.is_file():
                continue
            stop = min(start + self.width, self.stays)
            records = np.memmap(path, dtype=self.dtype, mode="r")
            ends = np.cumsum(np.bincount(records["stay"] - start, minlength=stop - start))
            low, taken = start, 0
            while low < stop:
                high = max(low + 1, start + int(np.searchsorted(ends, taken + largest, side="right")))
                taken = int(ends[high - start - 1])
                whole = (low, high) == (start, stop)
                rows = slice(None) if whole else np.flatnonzero((records["stay"] >= low) & (records["stay"] < high))
                yield self._events(records[rows])
                low = high
            del records
            path.unlink()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:04d}.events"

    def _events(self, records: np.ndarray) -> Events:
        columns = {name: np.ascontiguousarray(records[name]) for name in self.dtype.names or ()}
        return Events(**columns)


class ArrayFile:
    """A one-dimensional ``.npy`` file of a length that is known only at the end.

    Args:
        path: The file.
        dtype: Type of its elements.
        scratch: Folder for the elements until then.
    """

    def __init__(self, path: Path, dtype: str, scratch: Path) -> None:
        self.path, self.dtype, self.raw, self.length = path, np.dtype(dtype), scratch / f"{path.name}.raw", 0
        self.raw.write_bytes(b"")

    def append(self, values: np.ndarray) -> None:
        with self.raw.open("ab") as file:
            file.write(np.ascontiguousarray(values, dtype=self.dtype).view(np.uint8))
        self.length += len(values)

    def close(self) -> None:
        """Writes the header and the elements behind it."""
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.length,)}
        # written and not mapped: a process that writes to a map of a full disk is killed
        with self.path.open("wb") as out, self.raw.open("rb") as raw:
            np.lib.format.write_array_header_1_0(out, header)
            shutil.copyfileobj(raw, out, 1 << 22)
        self.raw.unlink()
