"""From a predictions table to tables, plots and a report; the same bytes in every table for the same input and seed."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cardiozoo.errors import OptionError
from cardiozoo.evaluation import tables
from cardiozoo.evaluation.areas import Advance, Areas, Region, areas_by_region
from cardiozoo.evaluation.bootstrap import PatientDraws
from cardiozoo.evaluation.calibration import calibration
from cardiozoo.evaluation.predictions import Predictions, read_predictions
from cardiozoo.evaluation.run import RunFacts, find_predictions, read_run
from cardiozoo.evaluation.subgroups import AGE_BANDS, levels_of

if TYPE_CHECKING:
    from rich.console import Console

SUBSETS = {
    "all": "every row, whichever modalities it has (the papers call this set partial)",
    "paired": "rows with every modality",
    "partial": "rows with at least one modality missing",
}


@dataclass(frozen=True)
class Settings:
    """How to judge.

    Attributes:
        n_bootstrap: Draws of whole patients.
        seed: Seed of the draws.
        level: Coverage of the intervals.
        subsets: Of ``all``, ``paired``, ``partial``.
        age_bands: ``default`` or ``medfuse``, or the limits of left-closed bands in years.
        bins: Bins of the calibration error.
    """

    n_bootstrap: int = 1000
    seed: int = 0
    level: float = 0.95
    subsets: tuple[str, ...] = tuple(SUBSETS)
    age_bands: str | tuple[float, ...] = "default"
    bins: int = 10

    def __post_init__(self) -> None:
        _require(
            self.n_bootstrap >= 2, "n_bootstrap", self.n_bootstrap, "at least 2 draws; 1000 for limits worth quoting"
        )
        _require(self.seed >= 0, "seed", self.seed, "a whole number from 0")
        _require(0 < self.level < 1, "level", self.level, "a coverage between 0 and 1, such as 0.95")
        _require(self.bins >= 2, "bins", self.bins, "at least 2 bins")
        known = bool(self.subsets) and set(self.subsets) <= set(SUBSETS)
        _require(known, "subsets", list(self.subsets), f"one or more of {', '.join(SUBSETS)}")
        if isinstance(self.age_bands, str):
            _require(self.age_bands in AGE_BANDS, "age_bands", self.age_bands, f"{' or '.join(AGE_BANDS)}, or limits")
        else:
            rising = len(self.age_bands) > 1 and all(
                a < b for a, b in zip(self.age_bands, self.age_bands[1:], strict=False)
            )
            _require(rising, "age_bands", self.age_bands, "two or more rising limits, such as 18,40,65,inf")

    @property
    def age_limits(self) -> tuple[float, ...]:
        return AGE_BANDS[self.age_bands] if isinstance(self.age_bands, str) else tuple(self.age_bands)


@dataclass(frozen=True)
class Evaluation:
    """A judged table.

    Attributes:
        predictions: What was judged.
        run: What its folder says of the run.
        settings: How it was judged.
        tables: ``metrics``, ``per_class``, ``subsets``, ``subgroups``, ``gaps``, ``calibration``, ``reliability`` and
            ``undefined``.
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

    def summary(self) -> dict[str, Any]:
        """The metrics with what they rest on, as plain Python for JSON."""
        about = about_of(self.predictions, self.run, self.settings)
        return about | {"metrics": self.tables["metrics"].to_dicts(), "notes": list(self.notes)}

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
        **settings: Fields of ``Settings``: n_bootstrap, seed, level, subsets, age_bands, bins.

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
        options: dict[str, Any] = {"split": split, "report": report, "progress": progress} | settings
        return evaluate_run(table.parent, predictions=table, out=out, **options)
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
    predictions = read_predictions(table, split)
    with progress_bar(settings.n_bootstrap, progress) as advance:
        frames, notes = _judge(predictions, facts, settings, advance)
    folder.mkdir(parents=True, exist_ok=True)
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


def _judge(
    predictions: Predictions, facts: RunFacts, settings: Settings, advance: Advance | None
) -> tuple[dict[str, pl.DataFrame], tuple[str, ...]]:
    draws = PatientDraws(predictions.patient, settings.n_bootstrap, settings.seed)
    masks = {"all": np.ones(len(predictions), dtype=bool), "paired": predictions.paired, "partial": ~predictions.paired}
    chosen = settings.subsets if predictions.present else tuple(s for s in settings.subsets if s == "all")
    notes = list(predictions.notes)
    if not chosen:
        raise OptionError(
            f"The table has no present/<modality> columns, so there is no subset {' or '.join(settings.subsets)}.",
            "The subset all, or a table that says which modalities each row has.",
            "Evaluate with --subset all.",
        )
    if not predictions.present:
        notes.append("The table has no present/<modality> columns: paired and partial rows cannot be told apart.")
    levels = levels_of(predictions.groups, settings.age_limits)
    regions: dict[Region, np.ndarray] = {("subset", name): masks[name] for name in chosen}
    for group, (names, index) in levels.items():
        regions |= {(f"group {group}", name): index == i for i, name in enumerate(names)}
        if unassigned := int((index < 0).sum()):
            notes.append(
                f"{unassigned:,} rows have no {group}, or one outside all bands; no subgroup of {group} holds them."
            )
    areas = areas_by_region(predictions, regions, draws, advance)
    calibrated = calibration(predictions, draws, settings.bins, settings.level)
    rows = _rows(predictions, facts, settings, areas, list(levels))
    rows["calibration"], rows["reliability"] = tables.calibration_rows(calibrated)
    return {name: tables.frame(name, content, facts.synthetic) for name, content in rows.items()}, tuple(notes)


def _rows(
    predictions: Predictions, facts: RunFacts, settings: Settings, areas: dict[Region, Areas], groups: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Rows of all tables that rest on areas."""
    classes, level = predictions.classes, settings.level
    class_groups = {g: [classes.index(c) for c in m] for g, m in facts.class_groups(classes).items()}
    rows: dict[str, list[dict[str, Any]]] = {n: [] for n in ("metrics", "per_class", "subsets", "subgroups", "gaps")}
    for (kind, name), area in areas.items():
        if kind == "subset":
            rows["metrics"] += tables.macro_rows(name, area, class_groups, level)
            rows["per_class"] += tables.class_rows(name, area, classes, level)
            size = {"rows": area.rows, "patients": area.patients, "share": area.rows / len(predictions)}
            rows["subsets"].append({"subset": name, "meaning": SUBSETS[name]} | size)
    for group in groups:
        of_group = {name: area for (kind, name), area in areas.items() if kind == f"group {group}"}
        if of_group:
            values, gaps = tables.subgroup_rows(group, of_group, classes, level)
            rows["subgroups"] += values
            rows["gaps"] += gaps
    rows["undefined"] = tables.undefined_rows(areas, classes)
    return rows


def about_of(predictions: Predictions, facts: RunFacts, settings: Settings) -> dict[str, Any]:
    """What every JSON file says of itself on top."""
    return {
        "model": facts.model,
        "data": facts.data,
        "task": facts.task or None,
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


def _require(met: bool, name: str, came: object, accepted: str) -> None:
    if not met:
        raise OptionError(f"{name} was {came!r}.", f"Accepted: {accepted}.", "See `cardiozoo evaluate --help`.")
