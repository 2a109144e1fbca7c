"""Building a store so that it is complete or absent, and so that a killed run can go on.

All work happens in ``OUT.partial`` beside the final place::

    OUT.partial/building.json    what is being built: name, options, inputs (a fingerprint)
    OUT.partial/stages/*.json    one mark a finished stage, with what it found and the sizes of what it wrote
    OUT.partial/scratch/         files of unfinished or intermediate work
    OUT.partial/store/           what becomes OUT by one rename, after its manifest has been written
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cardiozoo.data.disk_space import lacks_room
from cardiozoo.data.store import MANIFEST, sha256_of
from cardiozoo.errors import CardiozooError, StoreError

_OURS = {"building.json", "building.json.tmp", "stages", "scratch", "store"}


class StoreBuilder:
    """Builds the store `out`; use it as a context manager, run its stages in order, then `finish`.

    Args:
        out: The final directory.
        name: The data module the store is for.
        identity: Everything that decides the bytes of the store: options and inputs, as plain JSON.
            Work of a killed run is taken up again only if this is equal.
        overwrite: Replace an existing `out` (only after the new one is complete).
        say: Receives one line about each decision (resuming, starting clean).

    Raises:
        StoreError: `out` exists and may not be replaced, there is something else where it is built, another process
            builds it, or the disk is full.
    """

    def __init__(
        self,
        out: str | Path,
        name: str,
        identity: dict[str, Any],
        overwrite: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.out = Path(out).absolute()
        if not self.out.name:
            raise StoreError(f"The store was to be {self.out} itself.", "A new folder.", f"--out {self.out}NAME")
        self.name, self.overwrite, self.say = name, overwrite, say
        self.identity = json.loads(json.dumps({"name": name, **identity}))
        self.work = self.out.with_name(self.out.name + ".partial")
        self.store, self.scratch, self.stages = (self.work / part for part in ("store", "scratch", "stages"))
        self._lock: int | None = None
        self._passed: set[str] = set()  # stages that are done, in this run or an earlier one

    def __enter__(self) -> StoreBuilder:
        self._check_target()
        with disk_errors(self.work):
            self._make_work_folder()
            self._take_lock()
            try:
                self._resume_or_clean()
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def stage(self, name: str, run: Callable[[], dict[str, Any]], outputs: list[str] | None = None) -> dict[str, Any]:
        """Run one stage, or skip it when an earlier run has finished it.

        Args:
            name: Name of the stage, unique in this build.
            run: Does the work and returns facts (plain JSON) that later stages and the manifest need.
            outputs: Files it writes, relative to the work folder; a finished stage whose outputs have changed is run
                again, and so is every stage after it.

        Returns:
            The facts.
        """
        mark = self.stages / f"{name}.json"
        saved = read_json(mark)
        if saved is not None:
            if saved["outputs"] == self._sizes(outputs or []):
                self._passed.add(name)
                return saved["facts"]
            self.say(f"Stage '{name}' is incomplete on disk and runs again.")
        with disk_errors(self.work):
            self._forget_the_rest()
            facts = run()
            write_json(mark, {"facts": facts, "outputs": self._sizes(outputs or []), "order": len(self._passed)})
        self._passed.add(name)
        return json.loads(mark.read_text())["facts"]

    def finish(self, manifest: dict[str, Any], progress: Callable[[int], None] | None = None) -> Path:
        """List and checksum the files, write the manifest, and give the store its final name.

        Args:
            manifest: Everything of the manifest but ``files``.
            progress: Called with the number of bytes checksummed since the last call.
        """
        with disk_errors(self.work):
            paths = sorted(p for p in self.store.rglob("*") if p.is_file() and p != self.store / MANIFEST)
            files = [
                {
                    "path": p.relative_to(self.store).as_posix(),
                    "bytes": p.stat().st_size,
                    "sha256": sha256_of(p, progress),
                }
                for p in paths
            ]
            for path in paths:
                _sync(path)
            write_json(self.store / MANIFEST, {**manifest, "files": files})
            self._move_into_place()
        return self.out

    def space_needed(self, size: int, what: str) -> None:
        """Refuse early when the disk has less than `size` bytes left.

        Raises:
            StoreError: The disk is too small.
        """
        free = shutil.disk_usage(self.work).free
        if free < size:
            raise StoreError(
                f"{what} need about {_amount(size)}, and the disk of {self.work} has {_amount(free)} left.",
                "Room for the whole store.",
                "Free some space or choose another --out, then run the same command again: it resumes.",
            )

    def _check_target(self) -> None:
        replaced = self._replaced
        if replaced.exists() and not (replaced / MANIFEST).is_file():
            raise _not_ours(replaced)
        if replaced.exists() and not self.out.exists():
            os.rename(replaced, self.out)  # a run was killed between the two renames of an overwrite
        if self.out.exists() and not self.overwrite:
            raise StoreError(
                f"{self.out} exists already.",
                "A place where nothing is yet.",
                "Choose another --out, or replace it with --overwrite true.",
            )
        if self.out.exists() and not (self.out / MANIFEST).is_file():
            raise StoreError(
                f"{self.out} exists and is no store.",
                "--overwrite replaces stores only.",
                "Choose another --out, or remove what lies there yourself.",
            )

    def _make_work_folder(self) -> None:
        if self.work.exists() and not (self.work.is_dir() and _OURS >= {path.name for path in self.work.iterdir()}):
            raise _not_ours(self.work)
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            writable = os.access(self.work, os.W_OK)
        except OSError as error:
            if lacks_room(error):
                raise
            writable, reason = False, f": {error.strerror}"
        else:
            reason = ""
        if not writable:
            raise StoreError(
                f"{self.work} cannot be written{reason}.",
                "A place where folders may be made.",
                "Choose another --out, or have the rights changed.",
            )

    def _take_lock(self) -> None:
        # the lock lives as long as the process: a killed run leaves none behind
        self._lock = os.open(self.work, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            self._lock = None
            raise StoreError(
                f"Another process is building {self.out}.",
                "One at a time.",
                "Wait for it to end, or choose another --out.",
            ) from error

    def _resume_or_clean(self) -> None:
        building = self.work / "building.json"
        fingerprint = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()
        old = read_json(building)
        if old is not None and old.get("fingerprint") == fingerprint:
            done = [path.stem for path in self._marks()]
            self.say(f"Resuming a killed run in {self.work}; finished stages: {', '.join(done) or 'none'}.")
        else:
            if any(self.work.iterdir()):
                changed = (
                    _changed(old.get("identity", {}), self.identity) if old else "no readable record of its options"
                )
                self.say(f"Starting clean: {self.work} was left by a run with other options or inputs ({changed}).")
            for path in self.work.iterdir():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for folder in (self.store, self.scratch, self.stages):
            folder.mkdir(exist_ok=True)
        write_json(building, {"fingerprint": fingerprint, "identity": self.identity})

    def _marks(self) -> list[Path]:
        marks = [(saved["order"], path) for path in self.stages.glob("*.json") if (saved := read_json(path))]
        return [path for _, path in sorted(marks)]

    def _forget_the_rest(self) -> None:
        """Later stages have read what this one writes: when it runs again, so do they."""
        for path in self.stages.glob("*.json"):
            if path.stem not in self._passed:
                path.unlink()

    def _sizes(self, outputs: list[str]) -> dict[str, int]:
        return {name: (self.work / name).stat().st_size if (self.work / name).is_file() else -1 for name in outputs}

    @property
    def _replaced(self) -> Path:
        return self.out.with_name(self.out.name + ".replaced")

    def _move_into_place(self) -> None:
        if self.out.exists():
            shutil.rmtree(self._replaced, ignore_errors=True)
            os.rename(self.out, self._replaced)
        os.rename(self.store, self.out)
        _sync(self.out.parent)
        shutil.rmtree(self._replaced, ignore_errors=True)
        shutil.rmtree(self.work, ignore_errors=True)


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn "the disk is full" of any library into a `StoreError` that says where and what to do."""
    try:
        yield
    except CardiozooError:
        raise
    except Exception as error:
        if not lacks_room(error):
            raise
        raise StoreError(
            f"The disk is full or a size limit is reached while writing {place} ({error}).",
            "Room for the whole store; nothing there is taken for a complete one.",
            "Free some space or choose another --out, then run the same command again: it resumes.",
        ) from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that the file is whole or absent, also after a power cut. Same content, same bytes."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, ensure_ascii=False, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync(path.parent)


def _not_ours(place: Path) -> StoreError:
    return StoreError(
        f"{place} holds what no run of cardiozoo has left there.",
        "The place beside the store where it is built: free, or with the work of a killed run.",
        "Choose another --out, or move away what lies there.",
    )


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def read_json(path: Path) -> dict[str, Any] | None:
    """What `write_json` has written; None if there is nothing, or something else."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _changed(old: dict[str, Any], new: dict[str, Any]) -> str:
    """The entries in which two identities differ, one level into dictionaries."""

    def flat(identity: dict[str, Any]) -> dict[str, Any]:
        pairs = {}
        for key, value in identity.items():
            pairs.update({f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value})
        return pairs

    before, after = flat(old), flat(new)
    names = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
