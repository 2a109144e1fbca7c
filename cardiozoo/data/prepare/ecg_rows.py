"""Arrays of one row a record that several processes write at once: ``.npy`` files whose number of rows is settled last.

Rows are written with plain writes at their place, not through a memory map: a full disk is then an error that can be
told, where a map ends the process. Rows that stay empty are filled from the end, so nothing is ever held twice.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

_HEADER_BYTES = 128


class RowFile:
    """One array on disk, open for writing rows in any order.

    Args:
        path: The ``.npy`` file; it is created if it is not there.
        dtype: Type of the elements.
        shape: Shape of one row.
    """

    def __init__(self, path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
        self.path, self.dtype, self.shape = Path(path), np.dtype(dtype).newbyteorder("<"), shape
        self.row_bytes = self.dtype.itemsize * int(np.prod(shape))
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    def write(self, row: int, values: np.ndarray) -> None:
        """Put one row at its place.

        Raises:
            OSError: The disk is full.
        """
        data = memoryview(np.ascontiguousarray(values, dtype=self.dtype)).cast("B")
        if len(data) != self.row_bytes:
            raise ValueError(f"{self.path.name}: a row of {len(data)} bytes instead of {self.row_bytes}")
        self._put(data, _HEADER_BYTES + row * self.row_bytes)

    def reaches(self, rows: int) -> bool:
        """Whether the file is long enough for so many rows."""
        return not rows or os.fstat(self._descriptor).st_size >= _HEADER_BYTES + rows * self.row_bytes

    def sync(self) -> None:
        """Return when all that was written is on the disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def finish(self, moves: list[tuple[int, int]], rows: int) -> None:
        """Move the last rows into the holes and make it an array of `rows` rows. May be repeated after a kill.

        Args:
            moves: (from, to) of each row to move, every `from` at or after `rows` and every `to` before it: no move
                overwrites what another one reads.
            rows: Number of rows to keep.
        """
        end = _HEADER_BYTES + rows * self.row_bytes
        if os.fstat(self._descriptor).st_size > end:
            # otherwise an earlier run has cut the file after its moves were on the disk
            for source, target in moves:
                data = os.pread(self._descriptor, self.row_bytes, _HEADER_BYTES + source * self.row_bytes)
                self._put(memoryview(data), _HEADER_BYTES + target * self.row_bytes)
        self._put(memoryview(self._header(rows)), 0)
        self.sync()
        os.ftruncate(self._descriptor, end)
        self.sync()

    def _put(self, data: memoryview, at: int) -> None:
        while data:
            written = os.pwrite(self._descriptor, data, at)
            data, at = data[written:], at + written

    def _header(self, rows: int) -> bytes:
        content = BytesIO()
        facts = {"descr": self.dtype.str, "fortran_order": False, "shape": (rows, *self.shape)}
        np.lib.format.write_array_header_1_0(content, facts)
        if content.tell() != _HEADER_BYTES:
            raise ValueError(f"{self.path.name}: a header of {content.tell()} bytes")
        return content.getvalue()
