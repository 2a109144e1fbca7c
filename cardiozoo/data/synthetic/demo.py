"""The small synthetic cohort that a data module uses when it is given no store: made once, then kept."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from cardiozoo.errors import OptionError, StoreError

PATIENTS = 2000
SEED = 0
_FEWEST = 50


def cache_folder() -> Path:
    """Where cardiozoo keeps what it can make again: ``CARDIOZOO_CACHE``, else in the user's cache folder."""
    if chosen := os.environ.get("CARDIOZOO_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cardiozoo"


def demo_store() -> Path:
    """The store of the synthetic demonstration cohort; built on the first call, in at most a minute on two cores.

    ``CARDIOZOO_DEMO_PATIENTS`` changes its size. Of several processes that ask at once (as in distributed training),
    one builds and the others wait for it.

    Raises:
        OptionError: CARDIOZOO_DEMO_PATIENTS is no number of at least 50.
        StoreError: The cache folder cannot be written to, or the disk is full.
    """
    from cardiozoo import __version__
    from cardiozoo.data.synthetic.mimic_cxr_ehr import SIMULATOR_VERSION

    patients = _patients()
    folder = cache_folder()
    path = folder / f"mimic_cxr_ehr-demo-{patients}-simulator-{SIMULATOR_VERSION}-cardiozoo-{__version__}"
    if _usable(path):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(folder / f"{path.name}.lock"):
            if not _usable(path):
                _build(path, patients)
    except OSError as error:
        raise StoreError(
            f"The synthetic cohort cannot be kept in {folder} ({error}).",
            "A folder that can be written to, with some 500 MB of room.",
            "Set CARDIOZOO_CACHE to another folder, or give a store: --data.store.",
        ) from error
    return path


def _build(path: Path, patients: int) -> None:
    from cardiozoo.data.prepare.mimic_cxr_ehr import prepare
    from cardiozoo.data.synthetic.mimic_cxr_ehr import synthesize

    console = Console(stderr=True)
    console.print(
        f"No store was given: building a synthetic cohort of {patients:,} patients once, in {path.parent} "
        "(a minute at most; they are no real patients)."
    )
    raw = path.with_name(f"{path.name}.raw")
    for remains in (raw, path):  # of a killed run, or damaged
        shutil.rmtree(remains, ignore_errors=True)
    try:
        synthesize(raw, patients=patients, seed=SEED)
        prepare(raw / "mimic-iv", path, raw / "mimic-cxr", cxr_images="all", quiet=True)
    finally:
        shutil.rmtree(raw, ignore_errors=True)


def _usable(path: Path) -> bool:
    """Whether the store is complete; what was damaged in the cache is built anew."""
    from cardiozoo.data.store import Store

    try:
        Store.open(path, "mimic_cxr_ehr")
    except StoreError:
        return False
    return True


def _patients() -> int:
    text = os.environ.get("CARDIOZOO_DEMO_PATIENTS", str(PATIENTS))
    if not text.isdigit() or int(text) < _FEWEST:
        raise OptionError(
            f"CARDIOZOO_DEMO_PATIENTS is {text!r}.",
            f"A number of at least {_FEWEST}, so that every split has patients.",
            f"Unset it for the default of {PATIENTS}.",
        )
    return int(text)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Wait until no other process holds `path`; the system lets go of it when a process ends, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
