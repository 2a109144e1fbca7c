"""A published table beside what was measured: CSV, JSON, a table in the terminal, a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from cardiozoo.evaluation import tables
from cardiozoo.evaluation.crossval import DEVIATIONS

METRICS = {"accuracy": "accuracy", "auroc": "AUROC", "mcc": "MCC"}


def value(row: dict[str, Any], metric: str, kind: str) -> str:
    """``0.812 ± 0.020``, ``-`` where the paper has none, the status where nothing was measured."""
    mean, sd = row[f"{metric}_{kind}"], row[f"{metric}_{kind}_sd"]
    if mean is None:
        return "-"
    return f"{mean:.3f} ± {'-' if sd is None else f'{sd:.2f}' if kind == 'published' else f'{sd:.3f}'}"


def write_reproduction(folder: Path, rows: list[dict[str, Any]], about: dict[str, Any]) -> list[Path]:
    """Writes ``table2.csv``, ``table2.json`` and ``report.html``.

    Args:
        folder: Where to.
        rows: One a cell: task, leads, model, status, synthetic, and <metric>_{published,measured}[_sd].
        about: What the JSON says on top.
    """
    from cardiozoo.evaluation.report import template_environment

    table = pl.DataFrame(rows, infer_schema_length=None)
    tables.write_text(folder / "table2.csv", table.write_csv())
    tables.write_json(
        folder / "table2.json", {"format": "cardiozoo-reproduction", "version": 1} | about | {"rows": rows}
    )
    html = template_environment().get_template("reproduction.html")
    text = html.render(
        rows=rows,
        metrics=METRICS,
        value=value,
        about=about,
        synthetic=any(row["synthetic"] for row in rows),
        deviation=DEVIATIONS[about["ddof"]],
    )
    tables.write_text(folder / "report.html", text)
    return [folder / name for name in ("table2.csv", "table2.json", "report.html")]


def render_reproduction(rows: list[dict[str, Any]], ddof: int, console: Console) -> None:
    """Print published and measured numbers side by side, a block a task and number of leads."""
    synthetic = any(row["synthetic"] for row in rows)
    for task, leads in dict.fromkeys((row["task"], row["leads"]) for row in rows):
        marker = "SYNTHETIC · " if synthetic else ""
        console.print(f"{marker}{task}, {leads} leads", style="italic", markup=False, highlight=False)
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("model", min_width=15)
        for title in METRICS.values():
            table.add_column(f"{title}, paper", justify="right", style="dim", no_wrap=True)
            table.add_column("here", justify="right", no_wrap=True)
        for row in (r for r in rows if (r["task"], r["leads"]) == (task, leads)):
            cells = [value(row, metric, kind) for metric in METRICS for kind in ("published", "measured")]
            said = "" if row["status"] in ("completed", "published only") else f" ({row['status']})"
            table.add_row(row["model"] + said, *cells)
        console.print(table)
    lines = [f"here: mean ± {DEVIATIONS[ddof]} over the folds; paper: as printed, on a private cohort."]
    lines += (
        ["Synthetic data: the measured numbers say nothing about patients, nor about the paper."] if synthetic else []
    )
    for line in lines:
        console.print(line, style="dim", markup=False, highlight=False)
