"""Two tables on the same samples: differences of their metrics with paired bootstrap intervals.

Both models are judged on the same resampled patients, so what makes a draw hard for one makes it hard for the other and
cancels in the difference; two separate intervals that overlap do not show that models are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cardiozoo.errors import PredictionsError
from cardiozoo.evaluation import tables
from cardiozoo.evaluation.areas import Areas
from cardiozoo.evaluation.bootstrap import Interval, PatientDraws
from cardiozoo.evaluation.evaluate import progress_bar
from cardiozoo.evaluation.folders import make_folder
from cardiozoo.evaluation.kinds import KINDS
from cardiozoo.evaluation.metrics import mean_of_defined
from cardiozoo.evaluation.predictions import CLASSIFICATION, Predictions, read_predictions
from cardiozoo.evaluation.run import find_predictions, read_run
from cardiozoo.evaluation.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Comparison:
    """Differences A minus B.

    Attributes:
        name_a, name_b: How the two are called.
        classes: Classes judged: those of both.
        table: One row a subset, class (macro first) and metric, see the columns of ``differences``.
        notes: What was left out.
        synthetic: Whether the data came from a simulator; None if nobody says.
        kind: Of both tables.
    """

    name_a: str
    name_b: str
    classes: tuple[str, ...]
    table: pl.DataFrame
    notes: tuple[str, ...]
    synthetic: bool | None
    kind: str = CLASSIFICATION

    @property
    def titles(self) -> dict[str, str]:
        """How each metric is written."""
        return KINDS[self.kind].titles

    def difference(self, metric: str = "auroc", subset: str = "all", class_name: str = tables.MACRO) -> dict[str, Any]:
        """One row of the table as a dictionary. ``class_name`` may also be a named group, ``macro, chronic``.

        Raises:
            KeyError: No such row.
        """
        wanted = (pl.col("metric") == metric) & (pl.col("subset") == subset) & (pl.col("class") == class_name)
        rows = self.table.filter(wanted)
        if not len(rows):
            raise KeyError(f"no {metric} of {class_name} in the subset {subset}")
        return rows.row(0, named=True)

    def write(self, folder: Path) -> list[Path]:
        """``differences.csv`` and ``differences.json``."""
        make_folder(folder)
        about = {"a": self.name_a, "b": self.name_b, "synthetic": self.synthetic, "notes": list(self.notes)}
        return tables.write_table(self.table, "differences", folder, about)

    def render(self, console: Console | None = None) -> None:
        """Print the macro differences as a table."""
        from cardiozoo.evaluation.console import render_comparison

        render_comparison(self, console)


def compare(
    run_a: Path,
    run_b: Path,
    *,
    split: str | None = None,
    class_groups: dict[str, Sequence[str]] | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> Comparison:
    """Metrics of A minus those of B on the samples both have, draw by draw on the same patients.

    Args:
        run_a, run_b: Folders of runs, or predictions tables.
        split: Which split; ``test`` if a table holds several.
        class_groups: Name -> classes: macro means over these too; by default those that run.json of A names.
        progress: Show a progress bar; by default only in a terminal.
        **settings: n_bootstrap, seed, level, subsets as for ``evaluate_run``. Subsets follow A's ``present`` columns.

    Raises:
        PredictionsError: A table does not follow the format, or the two share no samples or classes, or disagree on
            labels or patients.
        OptionError: A setting out of its range.
    """
    chosen = Settings(**settings)
    paths = [find_predictions(Path(p)) if Path(p).is_dir() else Path(p) for p in (run_a, run_b)]
    facts = [read_run(path.parent) for path in paths]
    kinds = [chosen.kind or run.kind for run in facts]
    a, b, notes = _align(*(read_predictions(path, split, kind) for path, kind in zip(paths, kinds, strict=True)))
    draws = PatientDraws(a.patient, chosen.n_bootstrap, chosen.seed)
    masks = {"all": np.ones(len(a), dtype=bool), "paired": a.paired, "partial": ~a.paired}
    regions = {("subset", s): masks[s] for s in chosen.subsets if s == "all" or a.present}
    with progress_bar(2 * chosen.n_bootstrap, progress) as advance:
        areas_a, areas_b = (KINDS[table.kind].judge(table, regions, draws, advance) for table in (a, b))
    averaged = KINDS[a.kind].averaged
    groups = {tables.MACRO: list(range(len(a.classes)))} if len(a.classes) > 1 else {}
    named = class_groups if class_groups is not None else facts[0].class_groups(a.classes)
    groups |= {f"macro, {g}": [a.classes.index(c) for c in m if c in a.classes] for g, m in named.items()}
    groups |= {name: [c] for c, name in enumerate(a.classes)}

    def of_metric(metric: str) -> dict[str, list[int]]:
        return {name: c for name, c in groups.items() if metric in averaged or len(c) == 1}

    rows = [
        row
        for region in regions
        for metric in KINDS[a.kind].titles
        for row in _differences(region[1], metric, of_metric(metric), areas_a[region], areas_b[region], chosen.level)
    ]
    stated = [f.synthetic for f in facts if f.synthetic is not None]
    synthetic = any(stated) if stated else None
    table = tables.frame("differences", rows, synthetic)
    unit = "patients" if a.has_patients else "rows"
    notes.append(f"{chosen.level:.0%} percentile intervals, {chosen.n_bootstrap:,} paired bootstrap draws of {unit}.")
    notes += ["Synthetic data: these numbers say nothing about patients."] if synthetic else []
    names = [f"{f.model} ({p.parent.name})" if f.facts else p.name for f, p in zip(facts, paths, strict=True)]
    return Comparison(names[0], names[1], a.classes, table, tuple(notes), synthetic, a.kind)


def _differences(
    subset: str, metric: str, groups: dict[str, list[int]], a: Areas, b: Areas, level: float
) -> list[dict[str, Any]]:
    rows = []
    for name, columns in groups.items():
        values = a.values[metric][columns], b.values[metric][columns]
        drawn = mean_of_defined(a.draws[metric][:, columns] - b.draws[metric][:, columns])
        value_a, value_b = (float(mean_of_defined(v)) for v in values)
        interval = Interval.from_draws(value_a - value_b, drawn, level).row()
        difference = interval.pop("value")
        defined = drawn[~np.isnan(drawn)]
        rows.append(
            {"subset": subset, "class": name, "metric": metric, "value_a": value_a, "value_b": value_b}
            | {"difference": difference, "share_above_zero": float((defined > 0).mean()) if len(defined) else None}
            | interval
            | {"classes_compared": int((~np.isnan(values[0])).sum()), "rows": a.rows, "patients": a.patients}
        )
    return rows


def _align(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions, list[str]]:
    """The two tables on the samples and classes of both, in one order."""
    notes = []
    if a.kind != b.kind:
        raise PredictionsError(
            f"{a.source} is a table of {a.kind}, {b.source} one of {b.kind}.",
            "Two tables of one kind.",
            "Say which with --kind where nothing beside the tables does.",
        )
    common, rows_a, rows_b = np.intersect1d(a.id.astype(str), b.id.astype(str), return_indices=True)
    classes = [c for c in a.classes if c in b.classes]
    if not len(common) or not classes:
        lacking = "id" if not len(common) else "class"
        raise PredictionsError(
            f"{a.source} and {b.source} share no {lacking}.",
            "Two tables of the same samples and classes.",
            "Predict with both models on one store and split.",
        )
    for table in (a, b):
        if alone := len(table) - len(common):
            notes.append(f"{alone:,} samples that only {table.source} has were left out.")
        if only := [c for c in table.classes if c not in classes]:
            notes.append(f"{len(only)} classes that only {table.source} has were left out: {', '.join(only)}.")
    a, b = a.select(rows_a, classes), b.select(rows_b, classes)
    if not np.array_equal(a.target, b.target, equal_nan=True):
        differing = int((~((a.target == b.target) | (np.isnan(a.target) & np.isnan(b.target)))).any(axis=1).sum())
        raise PredictionsError(
            f"{a.source} and {b.source} disagree on the labels of {differing:,} samples.",
            "The same target/<class> for the same id.",
            "Check that both come from one store with one set of label options.",
        )
    if a.has_patients and b.has_patients and not np.array_equal(a.patient.astype(str), b.patient.astype(str)):
        raise PredictionsError(
            f"{a.source} and {b.source} disagree on whose samples these are.",
            "The same patient for the same id.",
            "Check that both come from one store.",
        )
    return a, b, notes
