"""The raw tables as files: their checksums, and proof that the compressed ones are whole.

No engine that reads compressed text can be relied on to check it: some take a file that was cut at the end of a row for
complete, some ignore the checksum that gzip keeps of its content. One pass before all other work does both.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cardiozoo.data.progress import progress_bar
from cardiozoo.errors import RawDataError

_BLOCK = 1 << 18
_GZIP = 31  # zlib: with the header, checksum and length of gzip


def source_facts(tables: dict[str, Path], workers: int) -> list[dict[str, Any]]:
    """Name, file name, size and checksum of every source table, by name.

    Args:
        tables: Name -> file.
        workers: Files read at the same time.

    Raises:
        RawDataError: A compressed table is cut short or damaged.
    """
    names = sorted(tables)
    with (
        progress_bar("Checking the raw tables", sum(path.stat().st_size for path in tables.values())) as advance,
        ThreadPoolExecutor(workers) as pool,
    ):
        sums = list(pool.map(lambda name: _checked_sha256(tables[name], advance), names))
    return [
        {"table": name, "file": tables[name].name, "bytes": tables[name].stat().st_size, "sha256": sha256}
        for name, sha256 in zip(names, sums, strict=True)
    ]


def _checked_sha256(path: Path, advance: Callable[[int], None]) -> str:
    """SHA-256 of a file; a ``.gz`` is inflated on the way, which compares its content with its own checksum."""
    digest = hashlib.sha256()
    inflate = _Members() if path.suffix == ".gz" else None
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                if inflate is not None:
                    inflate.feed(block)
                advance(len(block))
        if inflate is not None and not inflate.complete:
            raise EOFError("the compressed data end too early")
    except (OSError, EOFError, zlib.error) as error:
        raise RawDataError(
            f"{path} cannot be read to its end: it is cut short or damaged ({error}).",
            "Accepted: the file as delivered, complete.",
            "Compare it with the release's SHA256SUMS.txt and download it again.",
        ) from error
    return digest.hexdigest()


class _Members:
    """Inflates a gzip file, which may be several one after another, and forgets the content."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP)
        self._begun = False

    @property
    def complete(self) -> bool:
        """Whether the file may end here."""
        return self._inflate.eof or not self._begun

    def feed(self, data: bytes) -> None:
        while data:
            if self.complete:
                data = data.lstrip(b"\0")  # padding between and after members is allowed
                if not data:
                    return
                self._inflate, self._begun = zlib.decompressobj(_GZIP), True
            self._inflate.decompress(data)
            data = self._inflate.unused_data
