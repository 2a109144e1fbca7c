"""A cross-validation as tables, a table in the terminal and a report."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup
from rich.console import Console
from rich.table import Table

from cardiozoo.evaluation import folds, tables
from cardiozoo.evaluation.console import number, plain, significant, with_interval
from cardiozoo.evaluation.evaluate import Evaluation, evaluate_run
from cardiozoo.evaluation.figures import BLUE, ORANGE, house_style, inline_svg, new_figure, save_png
from cardiozoo.evaluation.focal import focal_note
from cardiozoo.evaluation.folds import FoldScores, Summary
from cardiozoo.evaluation.predictions import CLASSIFICATION, REGRESSION
from cardiozoo.evaluation.run import read_run

DEVIATIONS = {0: "population standard deviation (ddof 0)", 1: "sample standard deviation (ddof 1)"}


@dataclass(frozen=True)
class CrossvalResult:
    """The folds of one cross-validation.

    Attributes:
        folds: The test metrics of each.
        summary: Metric -> mean and standard deviation over the folds.
        pooled: The test predictions of all folds, judged as one table.
        partition: SHA-256 of which sample is in the test split of which fold: equal for all models that were judged on
            the same folds.
        ddof: Of the standard deviation.
    """

    folds: tuple[FoldScores, ...]
    summary: dict[str, Summary]
    pooled: Evaluation
    partition: str
    ddof: int

    @classmethod
    def from_runs(
        cls, runs: Mapping[int, Path], pooled: Path, ddof: int = 0, report: bool = True, **settings: Any
    ) -> CrossvalResult:
        """Judge finished runs.

        Args:
            runs: Number of a fold -> folder of its run.
            pooled: Folder for the joined table and its evaluation.
            ddof: 0 for the population's standard deviation, 1 for the sample's.
            report: Whether the pooled table gets a report.
            **settings: Of the evaluation of the pooled table.

        Raises:
            PredictionsError: The folds are not of one partition.
        """
        joined = folds.pool(runs, pooled / "predictions.parquet")
        folds.check_whole(joined, {number: read_run(run).cohort for number, run in runs.items()})
        scores = tuple(folds.fold_scores(number, run) for number, run in runs.items())
        judged = evaluate_run(pooled, report=report, **settings)
        lines = "\n".join(f"{name}\t{fold}" for name, fold in joined.select("id", "extra/fold").iter_rows())
        partition = hashlib.sha256(lines.encode()).hexdigest()
        return cls(scores, folds.summarise(scores, ddof), judged, partition, ddof)

    @property
    def kind(self) -> str:
        """``classification``, ``regression`` or ``unsupervised``."""
        return self.pooled.predictions.kind

    @property
    def titles(self) -> dict[str, str]:
        """How each metric is written."""
        names = [name for name in self.summary if name != "fold"]
        return {name: folds.TITLES.get(self.kind, {}).get(name, name) for name in names}

    def pooled_row(self, metric: str) -> dict[str, Any] | None:
        """The interval of a metric on the pooled table; None where a mean over targets with units would say nothing."""
        if self.kind == CLASSIFICATION and metric not in ("auroc", "auprc"):
            return self.pooled.decision(metric)
        average = "macro" if self.kind in (CLASSIFICATION, REGRESSION) else "mean"
        try:
            return self.pooled.value(metric, average=average)
        except KeyError:
            return None

    def facts(self) -> dict[str, Any]:
        """Everything as plain Python for crossval.json."""
        rows = {name: self.pooled_row(name) for name in self.titles}
        kept = ("value", "low", "high", "mean", "sd", "draws", "undefined_draws")
        content = {
            "kind": self.kind,
            "task": self.pooled.run.part("task"),
            "model": self.pooled.run.model,
            "data": self.pooled.run.data,
            "synthetic": self.pooled.synthetic,
            "partition_sha256": self.partition,
            "standard_deviation": {"ddof": self.ddof, "meaning": DEVIATIONS[self.ddof]},
            "per_fold": [asdict(fold) for fold in self.folds],
            "summary": {name: asdict(part) for name, part in self.summary.items()},
            "pooled": {name: {k: row[k] for k in kept} for name, row in rows.items() if row is not None},
        }
        return tables.finite(content)

    def table(self) -> pl.DataFrame:
        """One row a fold, columns fold, samples, patients and one a metric."""
        rows = [{"fold": f.number, "samples": f.samples, "patients": f.patients} | f.values for f in self.folds]
        return pl.DataFrame(rows)

    def render(self, console: Console) -> None:
        """Print the folds, their mean and standard deviation, and the pooled intervals."""
        title = f"{self.pooled.run.model} on {self.pooled.run.data}, {self.pooled.run.task or self.kind}"
        marker = "SYNTHETIC · " if self.pooled.synthetic else ""
        console.print(f"{marker}{title}: {len(self.folds)} folds", style="italic", markup=False, highlight=False)
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("metric")
        for fold in self.folds:
            table.add_column(f"fold {fold.number}", justify="right")
        for column in ("mean ± sd", "pooled (interval)"):
            table.add_column(column, justify="right", no_wrap=True)
        for name, title in self.titles.items():
            values = [self._number(fold.values[name]) for fold in self.folds]
            table.add_row(title, *values, self.mean_sd(name), self._interval(name))
        console.print(table)
        draws = f"{self.pooled.settings.level:.0%} bootstrap intervals over patients"
        console.print(f"sd: {DEVIATIONS[self.ddof]}; {draws}.", style="dim", highlight=False)
        for line in self.remarks():
            console.print(line, style="dim", highlight=False, soft_wrap=True)

    def remarks(self) -> list[str]:
        """What the accuracy has to be compared with, and what scores of a focal loss are."""
        if self.kind != CLASSIFICATION:
            return []
        larger = self.pooled.decision()["larger_class"]
        compared = [] if larger is None else [f"Accuracy of always the larger class, pooled: {number(larger)}."]
        focal = focal_note(self.pooled.run, self.pooled.predictions)
        return [*compared, *([focal] if focal else [])]

    def mean_sd(self, name: str) -> str:
        """``0.812 ± 0.020``."""
        part = self.summary[name]
        return "undefined" if part.folds == 0 else f"{self._number(part.mean)} ± {self._number(part.sd)}"

    def _number(self, value: float) -> str:
        return number(value) if self.kind == CLASSIFICATION or value != value else significant(value)

    def _interval(self, name: str) -> str:
        row = self.pooled_row(name)
        if row is None:
            return "–"
        return with_interval(row) if self.kind == CLASSIFICATION else plain(row)

    def write_report(self, folder: Path, facts: dict[str, Any]) -> None:
        """``report.html``, ``crossval.csv`` and the plot of the folds as PNG."""
        from cardiozoo.evaluation.report import template_environment

        tables.write_text(folder / "crossval.csv", self.table().write_csv())
        with house_style():
            figure = self._figure()
            save_png(figure, folder / "folds.png")
            svg = Markup(inline_svg(figure, "folds"))
        cells = {
            name: {
                "folds": [self._number(f.values[name]) for f in self.folds],
                "mean": self.mean_sd(name),
                "pooled": self._interval(name),
            }
            for name in self.titles
        }
        html = template_environment().get_template("crossval.html")
        text = html.render(
            result=self,
            cells=cells,
            facts=facts,
            figure=svg,
            subject=f"{self.pooled.run.model} on {self.pooled.run.data}",
            synthetic=self.pooled.synthetic,
            deviation=DEVIATIONS[self.ddof],
            pooled_report=self.pooled.report.relative_to(folder) if self.pooled.report else None,
        )
        tables.write_text(folder / "report.html", text)

    def _figure(self) -> Any:
        names = list(self.titles)[:24]
        figure = new_figure(9.5, 1.0 + 0.34 * len(names), "Folds (dots), mean (line)", self.pooled.synthetic)
        panels = figure.subplots(len(names), 1, squeeze=False)[:, 0] if self.kind != CLASSIFICATION else None
        shared = figure.subplots() if panels is None else None
        for i, name in enumerate(names):
            axes, height = (shared, len(names) - i) if panels is None else (panels[i], 1)
            values = [fold.values[name] for fold in self.folds]
            axes.plot(values, [height] * len(values), "o", color=BLUE, alpha=0.6, markersize=5)
            axes.plot([self.summary[name].mean], [height], "|", color=ORANGE, markersize=16, markeredgewidth=2)
            if panels is not None:
                axes.set_yticks([1], [self.titles[name]])
        if shared is not None:
            shared.set_yticks(range(len(names), 0, -1), [self.titles[name] for name in names])
        return figure
