"""``cardiozoo show NAME``: the card of a model or data module; no plugin is imported."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from cardiozoo.cards import read_card
from cardiozoo.cli.recipes import recipes_for
from cardiozoo.errors import BrokenPluginError
from cardiozoo.registry import NOUNS, Registered, find, normalized, problem, registered, unknown_name

# Fields printed first, in this order, under these headings; all others follow as they stand in the card.
HEADINGS = {
    "summary": "",
    "paper": "Paper",
    "sources": "Sources",
    "modalities": "Modalities",
    "tasks": "Tasks",
    "missing": "May miss",
    "parameters": "Parameters",
    "stages": "Stages",
    "departures": "Departures",
}
INTERNAL = ("name", "title", "tiny")


def run(argv: list[str]) -> int:
    """Prints the card, or JSON with ``--json``."""
    parser = argparse.ArgumentParser(prog="cardiozoo show", allow_abbrev=False, description="Show one card.")
    parser.add_argument("name", help="a model or data module, as `cardiozoo list` names it")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    options = parser.parse_args(argv)
    found = [_describe(entry) for entry in _entries(options.name)]
    if options.json:
        print(json.dumps(found[0] if len(found) == 1 else found, indent=2, default=str))
    else:
        for described in found:
            _print(described)
    return 0


def _entries(name: str) -> list[Registered]:
    kinds = [kind for kind in ("model", "data") if normalized(name) in registered(kind)]
    if not kinds:
        names = [entries[0].name for kind in ("model", "data") for entries in registered(kind).values()]
        raise unknown_name("model or data module", name, names)
    return [find(kind, name) for kind in kinds]


def _describe(entry: Registered) -> dict[str, Any]:
    trouble, card = problem(entry), {}
    try:
        card = read_card(entry)
    except BrokenPluginError as error:
        trouble = trouble or error.came
    return {
        "kind": entry.kind,
        "name": entry.name,
        "class_path": entry.class_path,
        "package": entry.package,
        "version": entry.version,
        "problem": trouble,
        "recipes": [{"name": r.name, "package": r.package, "path": str(r.path)} for r in recipes_for(entry.name)],
        "card": card,
    }


def _print(described: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    card = described["card"]
    kind, origin = NOUNS[described["kind"]], f"{described['package']} {described['version']}"
    console.print(Text.assemble((described["name"], "bold"), f"  {kind} of {origin}"))
    if card.get("title"):
        console.print(Text(card["title"], style="bold"))
    if described["problem"]:
        console.print(Text(described["problem"], style="red"))
    if not card:
        console.print(Text("It has no card.", style="dim"))
    others = [field for field in card if field not in HEADINGS and field not in INTERNAL]
    for field in [*(f for f in HEADINGS if f in card), *others]:
        heading = HEADINGS.get(field, field.replace("_", " ").capitalize())
        _print_field(console, heading, card[field])
    _print_field(console, "Recipes", [f"{r['name']}  ({r['package']})" for r in described["recipes"]] or ["none"])
    _print_field(console, "Class", described["class_path"])
    option = "model" if described["kind"] == "model" else "data"
    console.print(Text(f"\nEvery option: cardiozoo fit --{option}.help {described['name']}", style="dim"))


def _print_field(console: Any, heading: str, value: Any) -> None:
    from rich.padding import Padding
    from rich.text import Text

    if heading:
        console.print(Text(f"\n{heading}", style="bold"))
    if isinstance(value, list) and all(isinstance(item, str) for item in value) and sum(map(len, value)) < 100:
        value = ", ".join(value)
    for item in value if isinstance(value, list) else [value]:
        if isinstance(value, list) and isinstance(item, dict) and len(item) > 2:
            # an entry with many parts: its first one as a heading, the others below it
            first, *others = item.values()
            console.print(Padding(Text(_one_line(first), style="bold"), (0, 0, 0, 2)))
            for key, part in zip([*item][1:], others, strict=True):
                console.print(Padding(Text(f"{key}: {_one_line(part)}"), (0, 0, 0, 4)))
        else:
            console.print(Padding(Text(_one_line(item)), (0, 0, 0, 2)))


def _one_line(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_one_line(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_one_line, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and value > 9999 else str(value)
