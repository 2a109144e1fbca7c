"""Writes an explanation: pages, plots, tables, one HTML page. Ids of records are in ``samples.csv`` alone."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from cardiozoo.analysis.ecg_highlight import Highlight
from cardiozoo.analysis.ecg_paper import draw_ecg, save_page
from cardiozoo.analysis.explain_folder import WrittenFiles
from cardiozoo.analysis.explain_plots import (
    error_plot,
    lead_plot,
    reconstruction_plot,
    sanity_plot,
    traversal_plot,
    wave_plot,
)
from cardiozoo.analysis.explanation import Cases, Explanation
from cardiozoo.analysis.generation import Generation
from cardiozoo.analysis.published_importance import published_leads, published_waves
from cardiozoo.analysis.waves import Waves
from cardiozoo.data.ecg import LEADS
from cardiozoo.evaluation.figures import house_style, save_png
from cardiozoo.evaluation.tables import write_text

PAGES = 8
SHOWN_RECONSTRUCTIONS = 3


@dataclass
class Output:
    """The folder and what has been written into it.

    Attributes:
        folder: ``explain/`` of the run.
        subject: Model and data, for titles.
        synthetic: Whether the data are simulated.
        facts: Facts for ``summary.json`` and the page: run, checkpoint, split, ...
        figures: Title -> file, for the page.
        layout: Of the pages, see `draw_ecg`.
        notes: What a reader must know of the choice of the records.
    """

    folder: Path
    subject: str
    synthetic: bool
    facts: dict[str, Any]
    figures: dict[str, list[tuple[str, Path]]] = field(default_factory=dict)
    layout: str = "auto"
    notes: list[str] = field(default_factory=list)

    @cached_property
    def files(self) -> WrittenFiles:
        """Everything is written under a path from here, and so listed."""
        return WrittenFiles(self.folder)

    def told(self, *parts: Explanation | Generation | None) -> list[str]:
        """A failed check first, then the notes of the records, then those of the parts that are there."""
        checks = [part.sanity for part in parts if isinstance(part, Explanation) and part.sanity is not None]
        failed = [check.verdict for check in checks if check.fails]
        return [*failed, *self.notes, *(note for part in parts if part is not None for note in part.notes)]

    def plot(self, section: str, title: str, figure: Figure, name: str) -> None:
        self.figures.setdefault(section, []).append((title, save_png(figure, self.files.path(name))))

    def table(self, table: pl.DataFrame, name: str) -> None:
        floats = [column for column, kind in table.schema.items() if kind == pl.Float64]
        table = table.with_columns(pl.col(floats).fill_nan(None), pl.lit(self.synthetic).alias("synthetic"))
        write_text(self.files.path(name), table.write_csv(float_precision=8))


def write_samples(out: Output, cases: Cases, explanation: Explanation | None) -> pl.DataFrame:
    """``samples.csv``: the numbers of the records, what the model says of them, how complete the attributions are.

    ``recorded_seconds`` is the length of the record, ``seen_seconds`` how much of it the model saw.
    """
    columns: dict[str, Any] = {
        "sample": cases.numbers,
        "id": cases.batch["id"],
        "patient": list(cases.patients.values()),
        "split": cases.splits,
        "leads": cases.present().sum(axis=1),
        "recorded_seconds": np.round(cases.recorded_seconds, 6),
        "seen_seconds": np.round(cases.recorded / cases.rate, 6),
    }
    if explanation is not None:
        found, column = explanation.attribution, explanation.column
        assert cases.score is not None and cases.target is not None
        columns |= {"score": cases.score[:, column].astype(np.float64)}
        columns |= {"target": cases.target[:, column].astype(np.float64)}
        columns |= {"output": found.output, "output_at_baseline": found.at_baseline, "sum": found.values.sum((1, 2))}
        columns |= {"completeness_delta": found.delta, "relative_delta": found.relative_delta}
        columns |= {"beats": [w.beats for w in explanation.waves], "waves_from": [w.source for w in explanation.waves]}
        columns |= {"no_waves_because": [w.reason for w in explanation.waves]}
    table = pl.DataFrame(columns)
    out.table(table, "samples.csv")
    return table


def write_attributions(out: Output, found: Explanation, published: list[Waves] | None) -> None:
    """Arrays, tables, plots and pages of the attributions."""
    own = found.attribution
    np.savez_compressed(
        out.files.path("attributions.npz"),
        sample=np.array(found.cases.numbers),
        values=own.values.astype(np.float32),
        present=own.present,
        recorded=own.lengths,
        output=own.output,
        output_at_baseline=own.at_baseline,
        leads=np.array(LEADS),
        rate=found.cases.rate,
        target=found.target,
        baseline=own.baseline,
        steps=own.steps,
        synthetic=out.synthetic,
    )
    out.table(found.leads, "leads.csv")
    out.table(found.wave_rows, "waves.csv")
    out.table(found.lead_importance, "lead_importance.csv")
    out.table(found.wave_importance, "wave_importance.csv")
    out.table(wave_windows(found), "wave_windows.csv")
    if published is not None:
        out.table(published_leads(own, found.cases.numbers), "published_leads.csv")
        out.table(published_waves(own, published, found.cases.numbers), "published_waves.csv")
    with house_style():
        out.plot("leads", "Leads", lead_plot(found.lead_importance, found.target, out.synthetic), "lead_importance.png")
        if found.wave_importance.height:
            figure = wave_plot(found.wave_importance, found.target, out.synthetic)
            out.plot("waves", "Waves", figure, "wave_importance.png")
        if found.sanity is not None:
            out.table(found.sanity.table, "sanity.csv")
            out.plot("sanity", "Random weights", sanity_plot(found.sanity, out.synthetic), "sanity.png")


def wave_windows(found: Explanation) -> pl.DataFrame:
    """One row a window: ``sample``, ``wave``, ``onset``, ``offset`` in seconds of what the model saw."""
    rate = found.cases.rate
    rows = [
        {"sample": number, "wave": name, "onset": a / rate, "offset": b / rate, "from": waves.source}
        for number, waves in zip(found.cases.numbers, found.waves, strict=True)
        for name, a, b in waves.windows
    ]
    schema = {"sample": pl.Int64, "wave": pl.String, "onset": pl.Float64, "offset": pl.Float64, "from": pl.String}
    return pl.DataFrame(rows, schema=schema)


def write_pages(out: Output, found: Explanation, rows: list[int], advance: Any) -> None:
    """The ECG of some records on paper, with their attributions; one scale of colours for all of them."""
    signals, unit = found.cases.drawn
    rate, own = found.cases.rate, found.attribution
    # A median beat is drawn whole in each of four columns, on fast paper, and a strip of it would say nothing more.
    again, how = (4, {"rhythm": None, "speed": 50.0}) if found.cases.beat else (1, {})
    ends = found.cases.recorded
    parts = [Highlight.of(own.values[row][:, : ends[row]], rate, own.present[row], "", None) for row in rows]
    scale = float(np.median([part.scale for part in parts])) if parts else 0.0
    for row in rows:
        number = found.cases.numbers[row]
        figure = draw_ecg(
            np.tile(_until(signals[row], ends[row]), again), rate, present=found.cases.present()[row],
            attribution=np.tile(own.values[row], again), target=found.target, scale=scale or None,
            waves={name: np.tile(mask, again) for name, mask in found.waves[row].masks.items()},
            title=f"Sample {number}: {found.target}",
            subtitle=caption(found, row), layout=out.layout, unit=unit, synthetic=out.synthetic, **how,
        )  # fmt: skip
        path = save_page(figure, out.files.path(f"sample-{number:04d}.png"))
        out.figures.setdefault("pages", []).append((f"Sample {number}", path))
        advance(1)


def _until(signal: np.ndarray, end: int) -> np.ndarray:
    """The signal without its padding: zeros drawn as a line would read as asystole."""
    return np.where(np.arange(signal.shape[1]) < end, signal, np.nan)


def caption(found: Explanation, row: int) -> str:
    """What the model says of a record, and how complete its attribution is."""
    cases, own = found.cases, found.attribution
    assert cases.score is not None and cases.target is not None
    score, target = cases.score[row, found.column], cases.target[row, found.column]
    label = "no label" if np.isnan(target) else f"label {target:g}"
    relative = own.relative_delta[row]
    complete = "the output is that of the baseline" if np.isnan(relative) else f"completeness error {relative:.1%}"
    ends = f"{found.unit} {own.output[row]:.3g}, at baseline ({own.baseline}) {own.at_baseline[row]:.3g}"
    seen = "median beat;   " if cases.beat else ""
    return f"{seen}predicted {score:.3g}, {label};   {ends};   integrated gradients, {own.steps} steps, {complete}"


def chosen_pages(found: Explanation, most: int) -> list[int]:
    """Rows that get a page: all if there are few, else half with the highest and half with the lowest score."""
    count = len(found.cases.numbers)
    if count <= most:
        return list(range(count))
    assert found.cases.score is not None
    order = np.argsort(-found.cases.score[:, found.column], kind="stable")
    return [*order[: most - most // 2].tolist(), *order[count - most // 2 :].tolist()]


def write_generation(out: Output, found: Generation) -> None:
    """Tables and plots of reconstructions and walks."""
    out.table(found.errors, "reconstruction_errors.csv")
    out.table(found.by_lead, "reconstruction_by_lead.csv")
    dimensions = np.arange(len(found.walk.divergence))
    out.table(pl.DataFrame({"dimension": dimensions, "kl": found.walk.divergence}), "latent_kl.csv")
    rate, unit = found.cases.rate, found.cases.unit
    with house_style():
        if found.by_lead.height:
            out.plot("generation", "Errors", error_plot(found.by_lead, out.synthetic), "reconstruction_errors.png")
        for row in range(min(SHOWN_RECONSTRUCTIONS, len(found.cases.numbers))):
            number = found.cases.numbers[row]
            title = f"Sample {number}: signal and reconstruction"
            figure = reconstruction_plot(found.found, row, rate, unit, title, out.synthetic)
            out.plot("generation", title, figure, f"reconstruction-{number:04d}.png")
        figure = traversal_plot(found.walk, rate, unit, out.synthetic)
        out.plot("traversal", "Latent walks", figure, "traversal.png")


def write_page(out: Output, explanation: Explanation | None, generation: Generation | None) -> Path:
    """``explain.html``: one file without network and without ids, and ``summary.json``."""
    path = out.files.path("explain.html")
    out.files.finish(_summary(out, explanation, generation))
    templates = [PackageLoader("cardiozoo.analysis", "templates"), PackageLoader("cardiozoo.evaluation", "templates")]
    environment = Environment(
        loader=ChoiceLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": _number, "percent": lambda v: "–" if v is None or v != v else f"{100 * v:.1f} %"}
    pictures = {
        section: [{"title": title, "data": _inline(path)} for title, path in drawn]
        for section, drawn in out.figures.items()
    }
    notes = out.told(explanation, generation)
    text = environment.get_template("explain.html").render(
        out=out, explanation=explanation, generation=generation, pictures=pictures, notes=notes, facts=out.facts
    )
    write_text(path, text)
    return path


def _summary(out: Output, explanation: Explanation | None, generation: Generation | None) -> dict[str, Any]:
    content: dict[str, Any] = {"synthetic": out.synthetic, **out.facts, "notes": out.told(explanation)}
    if explanation is not None:
        own = explanation.attribution
        content |= {"target": explanation.target, "unit": explanation.unit, "baseline": own.baseline}
        content |= {"steps": own.steps, "records": len(explanation.cases.numbers)}
        known = own.relative_delta[np.isfinite(own.relative_delta)]
        median, worst = (float(np.median(known)), float(known.max())) if len(known) else (None, None)
        content["completeness"] = {"median_relative_delta": median, "largest_relative_delta": worst}
        content["leads"] = explanation.lead_importance.to_dicts()
        content["waves"] = explanation.wave_importance.to_dicts()
        if explanation.sanity is not None:
            sanity = explanation.sanity
            stages = {"stages": sanity.table.to_dicts(), "input_alone": sanity.input_alone}
            content["sanity"] = {"records": sanity.records, "verdict": sanity.verdict, **stages}
    if generation is not None:
        content["reconstruction"] = {
            "by_lead": generation.by_lead.to_dicts(),
            "distinct_leads": generation.distinct,
            "smallest_difference": generation.apart,
            "active_dimensions": generation.walk.active,
            "notes": generation.notes,
        }
    return content


def _inline(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"
