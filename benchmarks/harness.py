"""What all benchmarks share: facts about the machine, peak memory, runs in a process of their own, tables and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

CACHE = Path(os.environ.get("CARDIOZOO_CACHE") or Path.home() / ".cache" / "cardiozoo") / "benchmarks"
ROOT = Path(__file__).resolve().parents[1]
_GIGABYTE = 1e9


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options that every benchmark takes."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="a size that runs in seconds, to see that it works")
    made.add_argument("--json", type=Path, help="write the numbers to this file")
    made.add_argument("--cache", type=Path, default=CACHE, help="where inputs are kept between runs (%(default)s)")
    return made


def versions(*packages: str) -> dict[str, str]:
    """Version of Python and of each package, ``absent`` where it is not installed."""
    found = {"python": platform.python_version()}
    for package in ("cardiozoo", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def machine() -> dict[str, Any]:
    """Processor, usable cores and memory; nothing that names this very computer."""
    processor, memory = platform.processor() or platform.machine(), None
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIGABYTE)
    except (OSError, StopIteration, ValueError):
        pass
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": memory,
        "system": platform.system(),
        # above the number of cores, others were at work too
        "load_before": round(os.getloadavg()[0], 1),
    }


def peak_gigabytes() -> float:
    """Most memory this process has held, in units of 10^9 bytes; pages of mapped files that were touched count."""
    try:
        # unlike getrusage's, this figure does not begin at that of the process that started this one
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / _GIGABYTE
    except (OSError, StopIteration):
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / _GIGABYTE


def in_own_process(script: str, task: dict[str, Any]) -> dict[str, Any]:
    """Run ``script --task JSON`` in a fresh interpreter; what it prints last, as JSON, comes back.

    Raises:
        RuntimeError: It failed; its messages are shown.
    """
    command = [sys.executable, script, "--task", json.dumps(task)]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def spread(seconds: list[float]) -> dict[str, Any]:
    """Median, least and most of several passes."""
    return {
        "median": statistics.median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "passes": len(seconds),
    }


def report(title: str, columns: list[str], rows: list[list[str]], notes: list[str]) -> None:
    """Print a table and what must be known to read it."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    for note in notes:
        console.print(f"- {note}", highlight=False)


def finish(path: Path | None, result: dict[str, Any], checks: dict[str, bool]) -> int:
    """Write the numbers; the exit status is 1 where a check of equal results failed."""
    result = {**result, "checks": checks}
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n")
    for check, passed in checks.items():
        print(f"{'ok    ' if passed else 'FAILED'}  {check}")
    return 0 if all(checks.values()) else 1
