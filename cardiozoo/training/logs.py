"""Keeps one ``logs/metrics.csv`` for a run that was stopped and resumed: its logger would begin a new one."""

from __future__ import annotations

import csv
from pathlib import Path

METRICS, EARLIER = "metrics.csv", "metrics.earlier.csv"


def set_aside(folder: Path, step: int) -> None:
    """Moves what was logged up to ``step`` aside before the logger starts; later rows will be logged again."""
    join(folder)
    if (folder / METRICS).is_file():
        rows = [row for row in _read(folder / METRICS) if float(row.get("step") or 0) < step]
        _write(folder / EARLIER, rows)
        (folder / METRICS).unlink()


def join(folder: Path) -> None:
    """Puts what was set aside and what was logged since into one file."""
    if (folder / EARLIER).is_file():
        rows = _read(folder / EARLIER) + (_read(folder / METRICS) if (folder / METRICS).is_file() else [])
        _write(folder / METRICS, rows)
        (folder / EARLIER).unlink()


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)
