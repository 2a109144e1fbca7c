"""The cohort flow as a table for people: what was there at each step, what was left out and why."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def print_flow(manifest: dict[str, Any], console: Console) -> None:
    """Print the flow, the splits and what was dropped among the events.

    Args:
        manifest: Manifest of a store of mimic_cxr_ehr.
        console: Where to.
    """
    title = "Cohort flow" + (" (synthetic patients)" if manifest["synthetic"] else "")
    table = Table(title=title, title_justify="left")
    table.add_column("step")
    for name in ("stays", "admissions", "patients", "deaths", "images", "left out"):
        table.add_column(name, justify="right")
    for row in manifest["flow"]:
        if row.get("part_of"):
            table.add_section()
        numbers = [row.get(name) for name in ("stays", "admissions", "patients", "deaths", "images")]
        table.add_row(row["step"], *(_number(value) for value in numbers), _number(row["excluded"] or None))
    console.print(table)
    splits = Table(title="Splits (one patient, one split)", title_justify="left")
    for name in ("split", "patients", "stays", "stays with a radiograph", "images"):
        splits.add_column(name, justify="left" if name == "split" else "right")
    for name, counts in manifest["counts"]["splits"].items():
        splits.add_row(name, *(_number(counts[key]) for key in ("patients", "stays", "paired", "images")))
    console.print(splits)


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
