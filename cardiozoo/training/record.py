"""``run.json``: what was run, with what, on what, and how it ended."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "timm",
    "numpy",
    "polars",
    "scikit-learn",
    "jsonargparse",
)


class RunRecord:
    """The run.json of a run folder; written at the start and again whenever more is known. First process only.

    Args:
        folder: The run folder.
        facts: What is known at the start (see :func:`environment` for what is added here).
        write: False in every process but the first.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], write: bool = True) -> None:
        self.path, self.write = folder / "run.json", write
        self._clock = time.monotonic()
        self.facts = {"format": "cardiozoo-run", "version": 1, "status": "running", **facts}
        before = json.loads(self.path.read_text()) if self.path.is_file() else {}
        self._seconds_before = before.get("wall_seconds") or 0.0
        self.facts["started"] = before.get("started") or _now()
        if before:
            self.facts["resumed"] = [*before.get("resumed", []), _now()]
        self.update(finished=None)

    def update(self, **facts: Any) -> None:
        """Adds facts and writes the file anew, whole or not at all."""
        self.facts.update(facts)
        self.facts["wall_seconds"] = round(self._seconds_before + time.monotonic() - self._clock, 3)
        if self.write:
            write_json(self.path, self.facts)

    def finish(self, status: str, error: BaseException | None = None) -> None:
        """Ends the record as ``completed``, ``failed`` or ``interrupted``."""
        reason = {"error": f"{type(error).__name__}: {error}"} if error is not None else {}
        self.update(status=status, finished=_now(), **reason)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON so that a reader never sees half a file; numbers that JSON does not know become null."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(_plain(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else str(value)


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, git state and the device that computes."""
    return {"device": _device_name(device), "versions": _versions(), "git": _git(Path(__file__).parent)}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for package in ("cardiozoo", *PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git(folder: Path) -> dict[str, Any] | None:
    """The commit of the checkout that this package is imported from; None if it is installed otherwise."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        changed = git("status", "--porcelain", "--untracked-files=no")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
