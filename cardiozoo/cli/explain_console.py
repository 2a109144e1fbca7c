"""An explanation as tables in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from cardiozoo.analysis.explain_files import Output
    from cardiozoo.analysis.explanation import Explanation
    from cardiozoo.analysis.generation import Generation


def render(console: Console, out: Output, explanation: Explanation | None, generation: Generation | None) -> None:
    """Print what leads and waves the attributions fall on, how complete they are, and how well leads are redrawn."""
    marker = "SYNTHETIC · " if out.synthetic else ""
    console.print(f"{marker}{out.subject}: {out.facts['records']}", style="italic", markup=False, highlight=False)
    if explanation is not None:
        _attributions(console, explanation)
    if generation is not None:
        _reconstructions(console, generation)
    for note in out.told(explanation, generation):
        console.print(f"Note: {note}", markup=False, highlight=False, soft_wrap=True)


def _attributions(console: Console, found: Explanation) -> None:
    spread = "part in what tells records apart"
    table = _table(f"leads for {found.target}", "share (95 % interval)", f"signed sum, {found.unit}", spread)
    for row in found.lead_importance.iter_rows(named=True):
        table.add_row(row["lead"], *(_interval(row, column) for column in ("share", "signed_sum", "spread")))
    console.print(table)
    if found.wave_importance.height:
        table = _table("waves", "share (95 % interval)", "share / time share", spread)
        for row in found.wave_importance.iter_rows(named=True):
            table.add_row(row["wave"], *(_interval(row, column) for column in ("share", "enrichment", "spread")))
        console.print(table)
    relative = found.attribution.relative_delta
    known = relative[np.isfinite(relative)]
    if len(known):
        told = f"median {np.median(known):.2%}, largest {known.max():.2%} of the difference of the outputs"
        console.print(f"Completeness error: {told}; baseline {found.attribution.baseline}.", highlight=False)
    if found.sanity is not None and not found.sanity.fails:  # one that fails is the first note below
        console.print(found.sanity.verdict, highlight=False, markup=False, soft_wrap=True)


def _reconstructions(console: Console, found: Generation) -> None:
    table = _table("reconstruction", "error", "error of the mean of the leads", "difference (95 % interval)")
    for row in found.by_lead.iter_rows(named=True):
        errors = (f"{row['mse']:.3f}", f"{row['mse_of_mean']:.3f}")
        table.add_row(row["lead"], *errors, _interval(row, "difference"))
    console.print(table)
    active = f"{found.walk.active} of {len(found.walk.divergence)} latent dimensions active"
    console.print(
        f"{found.distinct} of {len(found.walk.leads)} leads are signals of their own; {active}.", highlight=False
    )


def _table(first: str, *columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _interval(row: dict[str, float | None], name: str) -> str:
    value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    if value is None or value != value:
        return "undefined"
    return f"{value:.3f}" if low is None or low != low else f"{value:.3f} ({low:.3f}, {high:.3f})"
