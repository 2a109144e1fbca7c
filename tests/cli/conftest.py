"""The plugin of these tests, installed as far as the command line can tell, and a way to run commands."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugin"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def tiny_zoo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Puts the plugin on the path of this process and works in an empty folder."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    importlib.invalidate_caches()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARDIOZOO_RUN_DIR", "")
    return tmp_path


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A suite that a script started in the background would hand on to its commands that Ctrl-C is to be ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of a process that finds the plugin."""
    path = os.pathsep.join([str(ROOT), str(PLUGIN)])
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CARDIOZOO", "PYTEST"))}
    return kept | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def cardiozoo(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command in a process of its own."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cardiozoo", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    return run
