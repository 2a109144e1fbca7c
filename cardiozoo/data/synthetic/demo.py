"""The small synthetic cohorts that data modules use when they are given no store: made once, then kept."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from rich.console import Console

from cardiozoo.errors import OptionError, StoreError

SEED = 0
_FEWEST = 50


@dataclass(frozen=True)
class Demo:
    """How the synthetic cohort of one data module is made.

    Attributes:
        patients: How many, unless ``CARDIOZOO_DEMO_PATIENTS`` says otherwise.
        build: Takes the simulator's and the preparer's functions, a folder for raw files, the store to be, and a number
            of patients.
        room: What it needs on the disk at most.
    """

    patients: int
    build: Callable[[Callable[..., object], Callable[..., object], Path, Path, int], object]
    room: str


def _mimic_cxr_ehr(synthesize: Callable, prepare: Callable, raw: Path, out: Path, patients: int) -> None:
    synthesize(raw, patients=patients, seed=SEED)
    prepare(raw / "mimic-iv", out, raw / "mimic-cxr", cxr_images="all", quiet=True)


def _mimic_iv_ecg(synthesize: Callable, prepare: Callable, raw: Path, out: Path, patients: int) -> None:
    synthesize(raw, patients=patients, seed=SEED, workers=_workers())
    # a part to test on too, which pre-training on the real release does without
    prepare(raw, out, mimic_iv=raw / "mimic-iv", test_fraction=0.1, quiet=True)


def _ecg_cohort(synthesize: Callable, prepare: Callable, raw: Path, out: Path, patients: int) -> None:
    synthesize(raw, patients=patients, seed=SEED, workers=_workers())
    prepare(raw / "cohort.csv", out, quiet=True)


def _workers() -> int:
    return min(4, os.cpu_count() or 1)


DEMOS = {
    "mimic_cxr_ehr": Demo(2000, _mimic_cxr_ehr, "some 500 MB"),
    "mimic_iv_ecg": Demo(600, _mimic_iv_ecg, "some 500 MB"),
    # as many as in the published cohort with right-heart catheter
    "ecg_cohort": Demo(892, _ecg_cohort, "some 500 MB"),
}
PATIENTS = DEMOS["mimic_cxr_ehr"].patients


def cache_folder() -> Path:
    """Where cardiozoo keeps what it can make again: ``CARDIOZOO_CACHE``, else in the user's cache folder."""
    if chosen := os.environ.get("CARDIOZOO_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cardiozoo"


def demo_store(name: str = "mimic_cxr_ehr") -> Path:
    """The store of the synthetic demonstration cohort of a data module; built on the first call, in about a minute.

    ``CARDIOZOO_DEMO_PATIENTS`` changes its size. Of several processes that ask at once (as in distributed training),
    one builds and the others wait for it.

    Args:
        name: A data module that has one: `DEMOS`.

    Raises:
        OptionError: CARDIOZOO_DEMO_PATIENTS is no number of at least 50, or there is no such cohort.
        StoreError: The cache folder cannot be written to, or the disk is full.
    """
    if name not in DEMOS:
        raise OptionError(
            f"There is no synthetic cohort for '{name}'.", f"There are some for {', '.join(DEMOS)}.", "Give a store."
        )
    patients, path = _patients(DEMOS[name].patients), demo_path(name)
    folder = path.parent
    if _usable(path, name):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(folder / f"{path.name}.lock"):
            if not _usable(path, name):
                _build(path, name, patients)
    except OSError as error:
        raise StoreError(
            f"The synthetic cohort cannot be kept in {folder} ({error}).",
            f"A folder that can be written to, with {DEMOS[name].room} of room.",
            "Set CARDIOZOO_CACHE to another folder, or give a store: --data.store.",
        ) from error
    return path


def demo_path(name: str) -> Path:
    """Where the store of a synthetic cohort lies, or will lie; `name` is one of `DEMOS`."""
    from cardiozoo import __version__

    simulator = import_module(f"cardiozoo.data.synthetic.{name}")
    patients = _patients(DEMOS[name].patients)
    file = f"{name}-demo-{patients}-simulator-{simulator.SIMULATOR_VERSION}-cardiozoo-{__version__}"
    return cache_folder() / file


def _build(path: Path, name: str, patients: int) -> None:
    console = Console(stderr=True)
    console.print(
        f"No store was given: building a synthetic cohort of {patients:,} patients once, in {path.parent} "
        "(a minute at most; they are no real patients)."
    )
    raw = path.with_name(f"{path.name}.raw")
    for remains in (raw, path):  # of a killed run, or damaged
        shutil.rmtree(remains, ignore_errors=True)
    synthesize = import_module(f"cardiozoo.data.synthetic.{name}").synthesize
    prepare = import_module(f"cardiozoo.data.prepare.{name}").prepare
    try:
        DEMOS[name].build(synthesize, prepare, raw, path, patients)
    finally:
        shutil.rmtree(raw, ignore_errors=True)


def _usable(path: Path, name: str) -> bool:
    """Whether the store is complete; what was damaged in the cache is built anew."""
    from cardiozoo.data.store import Store

    try:
        Store.open(path, name)
    except StoreError:
        return False
    return True


def _patients(default: int) -> int:
    text = os.environ.get("CARDIOZOO_DEMO_PATIENTS", str(default))
    if not text.isdigit() or int(text) < _FEWEST:
        raise OptionError(
            f"CARDIOZOO_DEMO_PATIENTS is {text!r}.",
            f"A number of at least {_FEWEST}, so that every split has patients.",
            f"Unset it for the default of {default}.",
        )
    return int(text)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Wait until no other process holds `path`; the system lets go of it when a process ends, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
