"""``cardiozoo list``: what is installed, read from metadata and cards; no plugin is imported."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from cardiozoo.cards import listing, matching
from cardiozoo.registry import NOUNS

KINDS = {"models": "model", "data": "data"}


def run(argv: list[str]) -> int:
    """Prints the tables, or JSON with ``--json``."""
    options = _parser().parse_args(argv)
    found = _found(options)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        for what, rows in found.items():
            _print_table(what, rows)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cardiozoo list",
        description="List the installed models and data modules, built in or from plugins.",
        allow_abbrev=False,
    )
    parser.add_argument("what", nargs="?", choices=list(KINDS), help="only models, or only data modules")
    parser.add_argument("--modality", action="append", metavar="NAME", help="that use it (ehr, cxr, ...); repeatable")
    parser.add_argument("--task", action="append", metavar="NAME", help="models: a kind of task; data: a task's name")
    parser.add_argument(
        "--missing", "--tolerates", action="append", metavar="MODALITY", help="models that tolerate its absence"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable")
    return parser


def _found(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    rows = {what: listing(KINDS[what]) for what in ([options.what] if options.what else KINDS)}
    # Filtered together: a word that only models know (a kind of task) or only data know (its name) is no mistake.
    everything = [row for of_kind in rows.values() for row in of_kind]
    kept = matching(everything, modalities=options.modality, tasks=options.task, missing=options.missing)
    return {what: [row for row in of_kind if row in kept] for what, of_kind in rows.items()}


def _print_table(what: str, rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 140)
    tolerates = what == "models"
    table = Table(box=box.SIMPLE_HEAD, title=f"{what.capitalize()} ({len(rows)})", title_justify="left", pad_edge=False)
    for column in ("name", "modalities", "tasks", *(["may miss"] if tolerates else []), "package", "what it is"):
        table.add_column(column, no_wrap=column == "name", overflow="fold")
    for row in rows:
        about = Text(row["problem"], style="red") if row["problem"] else Text(row["title"] or row["summary"])
        if not about.plain:
            about = Text(f"no card ({row['class_path']})", style="dim")
        cells = [row["name"], ", ".join(row["modalities"]), ", ".join(row["tasks"])]
        cells += [", ".join(row["missing"])] if tolerates else []
        table.add_row(*map(Text, [*cells, f"{row['package']} {row['version']}"]), about)
    console.print(table)
    if not rows:
        console.print(f"  no {NOUNS[KINDS[what]]} fits the filters", style="dim")
