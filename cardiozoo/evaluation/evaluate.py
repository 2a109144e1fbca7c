"""From a predictions table to tables, plots and a report; the same bytes in every table for the same input and seed."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cardiozoo.errors import OptionError
from cardiozoo.evaluation import tables
from cardiozoo.evaluation.areas import Advance
from cardiozoo.evaluation.folders import check_writable, make_folder
from cardiozoo.evaluation.judging import judge
from cardiozoo.evaluation.predictions import Predictions, read_predictions
from cardiozoo.evaluation.run import RunFacts, find_predictions, read_run
from cardiozoo.evaluation.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Evaluation:
    """A judged table.

    Attributes:
        predictions: What was judged.
        run: What its folder says of the run.
        settings: How it was judged.
        tables: ``metrics``, ``per_class``, ``subsets``, ``subgroups``, ``gaps`` and ``undefined``; of a classification
            also ``decisions``, ``calibration`` and ``reliability``, of a regression ``agreement``; no ``per_class`` of
            a table without targets.
        notes: What a reader of the numbers must know.
        folder: Where the tables and plots are.
        files: All files written.
        report: The HTML report, or None if none was asked for.
    """

    predictions: Predictions
    run: RunFacts
    settings: Settings
    tables: dict[str, pl.DataFrame]
    notes: tuple[str, ...]
    folder: Path
    files: list[Path] = field(default_factory=list)
    report: Path | None = None

    @property
    def synthetic(self) -> bool | None:
        return self.run.synthetic

    @property
    def command(self) -> str:
        """The command line that makes this evaluation again."""
        parts = ["cardiozoo", "evaluate", str(self.predictions.source)]
        defaults = Settings()
        if self.settings.n_bootstrap != defaults.n_bootstrap:
            parts += ["--bootstrap", str(self.settings.n_bootstrap)]
        parts += ["--seed", str(self.settings.seed)]
        if self.settings.subsets != defaults.subsets:
            parts += ["--subset", *self.settings.subsets]
        if self.settings.age_bands != defaults.age_bands:
            bands = self.settings.age_bands
            parts += ["--age-bands", bands if isinstance(bands, str) else ",".join(f"{b:g}" for b in bands)]
        if self.settings.level != defaults.level:
            parts += ["--level", str(self.settings.level)]
        if self.settings.bins != defaults.bins:
            parts += ["--bins", str(self.settings.bins)]
        if self.settings.kind:
            parts += ["--kind", self.settings.kind]
        return shlex.join([*parts, "--split", self.predictions.split])

    def value(self, metric: str = "auroc", subset: str = "all", average: str = tables.MACRO) -> dict[str, Any]:
        """One row of the table ``metrics`` as a dictionary: value, low, high, ...

        Raises:
            KeyError: No such row.
        """
        wanted = (pl.col("metric") == metric) & (pl.col("subset") == subset) & (pl.col("average") == average)
        rows = self.tables["metrics"].filter(wanted)
        if not len(rows):
            raise KeyError(f"no {average} {metric} of the subset {subset}")
        return rows.row(0, named=True)

    def decision(self, metric: str = "accuracy", subset: str = "all") -> dict[str, Any]:
        """One row of the table ``decisions``: all classes together, or the class if there is one.

        Raises:
            KeyError: No such row.
        """
        table = self.tables.get("decisions")
        rows = None if table is None else table.filter((pl.col("metric") == metric) & (pl.col("subset") == subset))
        if rows is None or not len(rows):
            raise KeyError(f"no decision {metric} of the subset {subset}")
        return rows.row(0, named=True)

    def summary(self) -> dict[str, Any]:
        """The metrics with what they rest on, as plain Python for JSON."""
        about = about_of(self.predictions, self.run, self.settings)
        decisions = {"decisions": self.tables["decisions"].to_dicts()} if "decisions" in self.tables else {}
        return about | {"metrics": self.tables["metrics"].to_dicts()} | decisions | {"notes": list(self.notes)}

    def render(self, console: Console | None = None) -> None:
        """Print the metrics with their intervals as a table."""
        from cardiozoo.evaluation.console import render

        render(self, console)


def evaluate_run(
    run: Path,
    *,
    predictions: Path | None = None,
    out: Path | None = None,
    split: str | None = None,
    report: bool = True,
    progress: bool | None = None,
    **settings: Any,
) -> Evaluation:
    """Judge the predictions in a run's folder; writes ``evaluation/`` and ``report.html`` there.

    Args:
        run: The run's folder.
        predictions: The table; ``predictions.parquet`` in the folder by default. For a table of another name, such as
            ``predictions.val.parquet``, the outputs are ``evaluation/val/`` and ``report.val.html``.
        out: Where to write instead of the run's folder.
        split: Which split of the table; ``test`` if it holds several.
        report: Whether to draw plots and write the report.
        progress: Show a progress bar; by default only in a terminal.
        **settings: Fields of ``Settings``: n_bootstrap, seed, level, subsets, age_bands, bins, kind.

    Raises:
        PredictionsError: No table, or one that does not follow the format.
        OptionError: A setting out of its range.
    """
    chosen = Settings(**settings)
    table = Path(predictions) if predictions is not None else find_predictions(Path(run))
    facts = read_run(Path(run))
    part = table.stem.removeprefix("predictions").strip(".")
    base = Path(out or run)
    page = base / (f"report.{part}.html" if part else "report.html")
    return _evaluate(table, facts, base / "evaluation" / part, page, report, split, progress, chosen)


def evaluate_table(
    predictions: Path,
    out: Path | None = None,
    *,
    split: str | None = None,
    report: bool = True,
    progress: bool | None = None,
    **settings: Any,
) -> Evaluation:
    """Judge one table, whoever wrote it; run.json and its like are read if they lie beside it.

    Args:
        predictions: A ``.parquet`` or ``.csv`` file.
        out: Where to write; by default ``<name>.evaluation`` beside the table, or the run's folder if it lies in one.
        split, report, progress, **settings: As for ``evaluate_run``.

    Raises:
        PredictionsError: The table does not follow the format.
        OptionError: A setting out of its range.
    """
    table = Path(predictions)
    if (table.parent / "run.json").is_file() and table.stem.startswith("predictions"):
        return evaluate_run(
            table.parent, predictions=table, out=out, split=split, report=report, progress=progress, **settings
        )
    facts = read_run(table.parent)
    folder = Path(out) if out is not None else table.with_name(f"{table.stem}.evaluation")
    page = folder / "report.html"
    return _evaluate(table, facts, folder, page, report, split, progress, Settings(**settings))


def _evaluate(
    table: Path,
    facts: RunFacts,
    folder: Path,
    page: Path,
    report: bool,
    split: str | None,
    progress: bool | None,
    settings: Settings,
) -> Evaluation:
    """Tables and plots go into ``folder``, the report to ``page`` if one is asked for."""
    predictions = read_predictions(table, split, _kind(facts, settings), facts.choice)
    for place in (folder, page.parent):
        check_writable(place)  # whoever is refused should not have waited for the draws
    with progress_bar(settings.n_bootstrap, progress) as advance:
        frames, notes = judge(predictions, facts, settings, advance)
    make_folder(folder)
    about = about_of(predictions, facts, settings)
    files = [path for name, frame in frames.items() for path in tables.write_table(frame, name, folder, about)]
    if not report and page.exists():
        notes = (*notes, f"{page.name} and the plots are of an earlier evaluation; these tables are new.")
    evaluation = Evaluation(predictions, facts, settings, frames, notes, folder, files)
    if not report:
        return evaluation
    from cardiozoo.evaluation.report import write_report

    files += write_report(evaluation, page)
    return replace(evaluation, report=page)


def _kind(facts: RunFacts, settings: Settings) -> str | None:
    if settings.kind and facts.kind and settings.kind != facts.kind:
        raise OptionError(
            f"--kind {settings.kind} for a run whose run.json says {facts.kind}.",
            f"--kind {facts.kind}, or none.",
            "Leave --kind out: it is for tables that no run stands beside.",
        )
    return settings.kind or facts.kind


def about_of(predictions: Predictions, facts: RunFacts, settings: Settings) -> dict[str, Any]:
    """What every JSON file says of itself on top."""
    return {
        "model": facts.model,
        "data": facts.data,
        "task": facts.task or None,
        "kind": predictions.kind,
        "synthetic": facts.synthetic,
        "split": predictions.split,
        "samples": len(predictions),
        "patients": len(np.unique(predictions.patient)),
        "bootstrap": {
            "draws": settings.n_bootstrap,
            "seed": settings.seed,
            "level": settings.level,
            "unit": "patient" if predictions.has_patients else "id",
            "interval": "percentile",
        },
    }


@contextmanager
def progress_bar(total: int, wanted: bool | None) -> Iterator[Advance | None]:
    """A bar on stderr if wanted, or if nobody said and stderr is a terminal; gives the function that moves it."""
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Bootstrap", total=total)
        yield lambda done: bar.advance(task, done)
