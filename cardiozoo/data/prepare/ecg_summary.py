"""What a preparer of ECG prints at its end: who was left out and why, splits, leads, and what else was counted."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def print_summary(manifest: dict[str, Any], console: Console) -> None:
    """Print the flow, the splits, the leads that are not in order, and the counts of the manifest of an ECG store."""
    counts = manifest["counts"]
    console.print(_flow(manifest))
    splits = _table("Splits (one patient, one split)", "split", "records", "patients")
    for name, of in counts["splits"].items():
        splits.add_row(name, f"{of['records']:,}", f"{of['patients']:,}")
    console.print(splits)
    if any(set(states) - {"present"} for states in counts["leads"].values()):
        console.print(_leads(counts["leads"]))
    plain = {name: value for name, value in counts.items() if isinstance(value, int)}
    plain |= {f"{kind}: {name}": n for kind in ("sex", "notes") for name, n in counts.get(kind, {}).items()}
    plain |= {f"recorded at {rate} Hz": n for rate, n in counts["raw_rates"].items()}
    facts = _table("Counts", "what", "number")
    for name, value in plain.items():
        facts.add_row(name, f"{value:,}")
    console.print(facts)
    if "targets" in counts:
        console.print(_targets(counts["targets"]))
    if "superclasses" in counts:
        classes = _table("Diagnostic superclasses (a record may have several)", "class", "listed", "in the store")
        for name, of in counts["superclasses"].items():
            classes.add_row(name, f"{of['listed']:,}", f"{of['stored']:,}")
        console.print(classes)


def _flow(manifest: dict[str, Any]) -> Table:
    title = "Cohort flow" + (" (synthetic patients)" if manifest["synthetic"] else "")
    table = _table(title, "step", "records", "patients", "left out")
    for step in manifest["flow"]:
        left_out = f"{step['excluded']:,}" if step["excluded"] else ""
        table.add_row(step["step"], f"{step['records']:,}", f"{step['patients']:,}", left_out)
    return table


def _leads(leads: dict[str, dict[str, int]]) -> Table:
    states = list(dict.fromkeys(state for of in leads.values() for state in of))
    table = _table("Leads (records)", "lead", *states)
    for lead, of in leads.items():
        table.add_row(lead, *(f"{of.get(state, 0):,}" for state in states))
    return table


def _targets(targets: dict[str, dict[str, Any]]) -> Table:
    names = ("values", "missing", "different", "min", "median", "max")
    table = _table("Columns taken as targets (records of the store)", "column", *names)
    for name, of in targets.items():
        table.add_row(name, *(f"{of[fact]:,.6g}" if fact in of else "text" * (fact == "min") for fact in names))
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", min_width=len(title))
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
