"""The store: a prepared directory of memory-mapped arrays and Parquet tables, described by its ``manifest.json``.

The manifest is written last, so a directory with a manifest is complete. It names every file with its size and
checksum; `Store.open` compares the sizes each time (milliseconds), `Store.verify` the checksums too (reads everything).
Building a store is the business of `cardiozoo.data.store_builder`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from cardiozoo.errors import StoreError

if TYPE_CHECKING:
    import polars as pl

FORMAT = "cardiozoo-store"
VERSION = 1
MANIFEST = "manifest.json"

_REQUIRED = {"name": str, "synthetic": bool, "options": dict, "flow": list, "counts": dict, "files": list}


class Store:
    """A complete store, opened for reading. Open one with `Store.open`.

    Arrays are mapped on first use and never travel with a pickle, so a store may be handed to worker processes
    that are forked or spawned.

    Attributes:
        path: The directory.
        manifest: The content of ``manifest.json``.
        manifest_sha256: SHA-256 of ``manifest.json``; it covers the checksum of every file, hence the whole store.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], manifest_sha256: str) -> None:
        self.path, self.manifest, self.manifest_sha256 = path, manifest, manifest_sha256
        self._maps: dict[str, np.ndarray] = {}

    @classmethod
    def open(cls, path: str | Path, name: str | None = None) -> Store:
        """Open a store and check that it is complete.

        Args:
            path: The directory that ``cardiozoo prepare`` wrote.
            name: The data module that the store must have been prepared for; any when not given.

        Raises:
            StoreError: The store is absent, half-written, foreign, of another version or name, or files are missing or
                have another size than the manifest says.
        """
        path = Path(path)
        text = _manifest_bytes(path, name)
        manifest = _parse_manifest(path, text)
        if name is not None and manifest["name"] != name:
            raise StoreError(
                f"{path} is a store of '{manifest['name']}'.",
                f"This data module reads stores of '{name}'.",
                f"Give the right store, or prepare one: cardiozoo prepare {name} --help",
            )
        _check_files(path, manifest)
        return cls(path, manifest, hashlib.sha256(text).hexdigest())

    def verify(self, progress: Callable[[int], None] | None = None) -> None:
        """Compare the checksum of every file with the manifest.

        Args:
            progress: Called with the number of bytes read since the last call.

        Raises:
            StoreError: One or more files differ.
        """
        damaged = [
            entry["path"]
            for entry in self.manifest["files"]
            if sha256_of(self.path / entry["path"], progress) != entry["sha256"]
        ]
        if damaged:
            raise _damaged(self.path, [f"{name}: another checksum than the manifest says" for name in damaged])

    @property
    def name(self) -> str:
        """The data module it was prepared for."""
        return self.manifest["name"]

    @property
    def synthetic(self) -> bool:
        """Whether its patients come from the simulator."""
        return self.manifest["synthetic"]

    def has(self, relative: str) -> bool:
        """Whether the manifest lists this file."""
        return any(entry["path"] == relative for entry in self.manifest["files"])

    def array(self, relative: str) -> np.ndarray:
        """The ``.npy`` file `relative`, memory-mapped read-only."""
        return self._map(relative, lambda path: np.load(path, mmap_mode="r", allow_pickle=False))

    def raw(self, relative: str, dtype: DTypeLike) -> np.ndarray:
        """The headerless file `relative` as a flat array of `dtype`, memory-mapped read-only."""

        def read(path: Path) -> np.ndarray:
            # an empty file cannot be mapped
            return np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype=dtype)

        return self._map(relative, read)

    def table(self, relative: str, columns: list[str] | None = None) -> pl.DataFrame:
        """The Parquet file `relative`."""
        import polars as pl

        try:
            return pl.read_parquet(self.path / relative, columns=columns)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise _damaged(self.path, [f"{relative}: {error}"]) from error

    def _map(self, relative: str, read: Callable[[Path], np.ndarray]) -> np.ndarray:
        if relative not in self._maps:
            try:
                self._maps[relative] = read(self.path / relative)
            except (OSError, ValueError) as error:
                raise _damaged(self.path, [f"{relative}: {error}"]) from error
        return self._maps[relative]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}


def sha256_of(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file, as a hexadecimal string; `progress` receives the bytes of each block read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            if progress is not None:
                progress(len(block))
    return digest.hexdigest()


def _manifest_bytes(path: Path, name: str | None) -> bytes:
    prepare = f"Prepare one: cardiozoo prepare {name} --help" if name else "Prepare one: cardiozoo prepare --help"
    partial = path.parent / f"{path.name}.partial"
    if not path.exists():
        if partial.exists():
            raise StoreError(
                f"{path} is not finished: only {partial.name} exists, which a running or killed `prepare` left.",
                "A store is complete when `prepare` has given it its final name.",
                "Wait for it, or run the same `prepare` again: it resumes where it stopped.",
            )
        raise StoreError(f"There is no store at {path}.", "A directory with a manifest.json.", prepare)
    if not path.is_dir():
        raise StoreError(f"{path} is a file.", "A store is a directory with a manifest.json.", prepare)
    if not (path / MANIFEST).is_file():
        half = path.name.endswith(".partial") or path.parent.name.endswith(".partial")
        raise StoreError(
            f"{path} holds no manifest.json: " + ("it is half-written." if half else "it is no cardiozoo store."),
            "The manifest is written last, so every complete store has one.",
            "Run the same `prepare` again: it resumes where it stopped." if half else prepare,
        )
    return (path / MANIFEST).read_bytes()


def _parse_manifest(path: Path, text: bytes) -> dict[str, Any]:
    again = "Prepare the store again with this version of cardiozoo."
    try:
        manifest = json.loads(text)
    except ValueError as error:
        raise StoreError(
            f"{path / MANIFEST} is no JSON ({error}).", "The manifest that `prepare` wrote.", again
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise StoreError(
            f"{path / MANIFEST} has the format {found!r}.",
            f"A manifest of the format '{FORMAT}'.",
            "Give another folder.",
        )
    if manifest.get("version") != VERSION:
        raise StoreError(
            f"{path} is a store of version {manifest.get('version')}, written by cardiozoo "
            f"{manifest.get('cardiozoo', 'of unknown version')}.",
            f"This cardiozoo reads version {VERSION}.",
            again,
        )
    wrong = [key for key, kind in _REQUIRED.items() if not isinstance(manifest.get(key), kind)]
    if wrong:
        raise StoreError(f"{path / MANIFEST} lacks {', '.join(wrong)}.", "The manifest that `prepare` wrote.", again)
    return manifest


def _check_files(path: Path, manifest: dict[str, Any]) -> None:
    problems = []
    for entry in manifest["files"]:
        relative = PurePosixPath(entry["path"])
        if relative.is_absolute() or ".." in relative.parts:
            problems.append(f"{relative}: lies outside the store")
            continue
        file = path / relative
        if not file.is_file():
            problems.append(f"{relative}: missing")
        elif file.stat().st_size != entry["bytes"]:
            problems.append(f"{relative}: {file.stat().st_size} bytes instead of {entry['bytes']}")
    if problems:
        raise _damaged(path, problems)


def _damaged(path: Path, problems: list[str]) -> StoreError:
    shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
    return StoreError(
        f"The store {path} is damaged: {shown}.",
        "Files as `prepare` wrote them.",
        "Copy the store again, or prepare it again with --overwrite true.",
    )
