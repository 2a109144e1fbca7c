"""An evaluation as a table in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cardiozoo.evaluation import tables
from cardiozoo.evaluation.decisions import TITLES as DECISIONS
from cardiozoo.evaluation.focal import focal_note
from cardiozoo.evaluation.kinds import KINDS
from cardiozoo.evaluation.metrics import METRICS, TITLES
from cardiozoo.evaluation.predictions import CLASSIFICATION

if TYPE_CHECKING:
    from cardiozoo.evaluation.comparison import Comparison
    from cardiozoo.evaluation.evaluate import Evaluation


def number(value: float | None, digits: int = 3) -> str:
    """A value for reading; an undefined one is said to be so."""
    return "undefined" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def with_interval(row: dict[str, float | None], digits: int = 3, value: str = "value") -> str:
    """``0.812 (0.790, 0.834)``, or ``undefined``."""
    middle = row[value]
    if middle is None or math.isnan(middle):
        return "undefined"
    low, high = row["low"], row["high"]
    if low is None or high is None or math.isnan(low):
        return f"{middle:.{digits}f} (no limits)"
    return f"{middle:.{digits}f} ({low:.{digits}f}, {high:.{digits}f})"


def significant(value: float, digits: int = 4) -> str:
    """So many significant digits, zeros at the end included: ``735.0`` beside ``611.9``."""
    text = f"{value:#.{digits}g}"
    if "e" in text and 1 <= abs(value) < 1e9:
        return f"{value:.0f}"
    return text.removesuffix(".")


def plain(row: dict[str, float | None], value: str = "value") -> str:
    """As ``with_interval``, with four significant digits: for values that have units."""
    middle, low, high = row[value], row["low"], row["high"]
    if middle is None or math.isnan(middle):
        return "undefined"
    lacking = low is None or high is None or math.isnan(low)
    limits = "(no limits)" if lacking else f"({significant(low)}, {significant(high)})"
    return f"{significant(middle)} {limits}"


def render(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print what was measured with intervals, and what it rests on."""
    console = console or Console()
    predictions, settings = evaluation.predictions, evaluation.settings
    title = f"{evaluation.run.model} on {evaluation.run.data}" if evaluation.run.facts else predictions.source.name
    task = f", {evaluation.run.task}" if evaluation.run.task else ""
    marker = "SYNTHETIC · " if evaluation.synthetic else ""
    console.print(f"{marker}{title}{task}: {predictions.split} split", style="italic", markup=False, highlight=False)
    match predictions.kind:
        case "classification":
            parts = [_ranking(evaluation), _decisions(evaluation)]
        case "regression":
            parts = [_errors(evaluation)]
        case _:
            parts = [_means(evaluation)]
    unit = "patients" if predictions.has_patients else "rows"
    caption = [f"{settings.level:.0%} percentile intervals, {settings.n_bootstrap:,} bootstrap draws of {unit}."]
    undefined = _undefined(evaluation) if predictions.kind == CLASSIFICATION else ""
    caption += [line for line in (undefined, focal_note(evaluation.run, predictions)) if line]
    caption += ["Synthetic data: these numbers say nothing about patients."] if evaluation.synthetic else []
    for table in parts:
        console.print(table)
    _print_lines(console, caption)


def _ranking(evaluation: Evaluation) -> Table:
    """AUROC and AUPRC of each subset: macro, or of the single class."""
    single = len(evaluation.predictions.classes) == 1
    table = _table()
    table.add_column("subset")
    for metric in METRICS:
        table.add_column(TITLES[metric] if single else f"macro {TITLES[metric]}", justify="right", no_wrap=True)
    for column in ("rows", "patients") if single else ("rows", "patients", "classes"):
        table.add_column(column, justify="right")
    for subset in evaluation.tables["subsets"]["subset"]:
        rows = [evaluation.value(metric, subset) for metric in METRICS]
        cells = [subset, *(with_interval(row) for row in rows), f"{rows[0]['rows']:,}", f"{rows[0]['patients']:,}"]
        table.add_row(*cells, *([] if single else [f"{rows[0]['classes_defined']}/{rows[0]['classes']}"]))
    return table


def _decisions(evaluation: Evaluation) -> Table:
    """Decisions in the first subset: of all classes together, or of the single class."""
    first = evaluation.tables["subsets"]["subset"][0]
    rows = [evaluation.decision(metric, first) for metric in DECISIONS]
    how = "the most probable class" if evaluation.predictions.one_hot else "decided at 0.5"
    several = len(evaluation.predictions.classes) > 1
    table = _table()
    table.add_column(f"{how}, {first} rows")
    table.add_column(str(rows[0]["class"]) if several else "value", justify="right", no_wrap=True)
    for metric, row in zip(DECISIONS.values(), rows, strict=True):
        table.add_row(metric, with_interval(row))
        if row["larger_class"] is not None:
            table.add_row("  always the larger class", number(row["larger_class"]), style="dim")
    return table


def _errors(evaluation: Evaluation) -> Table:
    """Errors and correlations of each target in each subset."""
    titles = KINDS[evaluation.predictions.kind].titles
    table = _table()
    for name, justify in (("subset", "left"), ("target", "left"), ("metric", "left"), ("value", "right")):
        table.add_column(name, justify=justify, no_wrap=name == "value")
    table.add_column("rows", justify="right")
    for row in evaluation.tables["per_class"].iter_rows(named=True):
        table.add_row(row["subset"], row["class"], titles[row["metric"]], plain(row), f"{row['labelled']:,}")
    return table


def _means(evaluation: Evaluation) -> Table:
    """Mean of each column of a table without targets, in all rows."""
    first = evaluation.tables["subsets"]["subset"][0]
    table = _table()
    for name in ("column", "mean", "rows"):
        table.add_column(name, justify="left" if name == "column" else "right", no_wrap=name == "mean")
    for row in evaluation.tables["metrics"].iter_rows(named=True):
        if row["subset"] == first:
            table.add_row(row["metric"], plain(row), f"{row['rows']:,}")
    return table


def render_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print the differences of the macro metrics (A minus B) by subset."""
    console = console or Console()
    marker = "SYNTHETIC · " if comparison.synthetic else ""
    title = f"{marker}A {comparison.name_a} minus B {comparison.name_b}"
    console.print(title, style="italic", markup=False, highlight=False)
    table = _table()
    for name, justify in (("subset", "left"), ("metric", "left"), ("A", "right"), ("B", "right"), ("A - B", "right")):
        table.add_column(name, justify=justify)
    for row in comparison.table.iter_rows(named=True):
        if row["class"] == tables.MACRO or len(comparison.classes) == 1:
            values = number(row["value_a"]), number(row["value_b"]), with_interval(row, value="difference")
            table.add_row(row["subset"], comparison.titles[row["metric"]], *values)
    console.print(table)
    _print_lines(console, comparison.notes)


def _undefined(evaluation: Evaluation) -> str:
    """One sentence on classes without a value in the whole table."""
    first = evaluation.tables["subsets"]["subset"][0]
    rows = evaluation.tables["per_class"]
    lacking = rows.filter((rows["subset"] == first) & (rows["metric"] == "auroc") & rows["undefined"].is_not_null())
    if not len(lacking):
        return ""
    reasons = "; ".join(f"{row['class']}: {row['undefined']}" for row in lacking.head(4).iter_rows(named=True))
    more = f"; and {len(lacking) - 4} more" if len(lacking) > 4 else ""
    return f"Undefined ({first}): {reasons}{more}."


def _table() -> Table:
    # The title is a line of its own: one that is wider than its table would be broken.
    return Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)


def _print_lines(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True, style="dim")
