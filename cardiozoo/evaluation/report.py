"""The HTML report of an evaluation: one file, no network, no patient's or sample's name in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cardiozoo.evaluation import tables
from cardiozoo.evaluation.calibration import MEASURES, POOLED
from cardiozoo.evaluation.cohort import Cohort
from cardiozoo.evaluation.console import number, plain, significant, with_interval
from cardiozoo.evaluation.decisions import TITLES as DECISIONS
from cardiozoo.evaluation.evaluate import Evaluation
from cardiozoo.evaluation.figures import house_style, inline_svg, save_png
from cardiozoo.evaluation.focal import focal_note
from cardiozoo.evaluation.kinds import KINDS
from cardiozoo.evaluation.metrics import METRICS, TITLES
from cardiozoo.evaluation.plots import PLOTS
from cardiozoo.evaluation.predictions import CLASSIFICATION, REGRESSION, UNSUPERVISED
from cardiozoo.evaluation.run import DEPARTURE

MEASURE_TITLES = {
    "brier": "Brier score",
    "ece_equal_width": "calibration error, bins of equal width",
    "ece_equal_mass": "calibration error, bins of equal mass",
}
AGREEMENT_TITLES = {
    "bias": "bias",
    "sd_of_differences": "sd of differences",
    "lower_limit": "lower limit of agreement",
    "upper_limit": "upper limit of agreement",
    "slope": "slope of prediction on target",
}
# The departures are those of the classes, whatever options a run was given.
DEPARTURE_TITLES = {column: column for column in DEPARTURE} | {"here": "here, by default"}
# Facts that a run which has not ended yet cannot know.
OF_THE_END = ("status", "finished", "wall_seconds")
MOST_GAPS = 24
# Keys of a step of the cohort's flow that are not numbers of something left.
NO_UNITS = ("step", "reason", "part_of", "excluded")


def write_report(evaluation: Evaluation, path: Path) -> list[Path]:
    """Draw the plots (PNG beside the tables, SVG inside the report) and write the report; returns the files written."""
    drawn: dict[str, dict[str, Any]] = {}
    files = []
    with house_style():
        for name in KINDS[evaluation.predictions.kind].plots:
            plot = PLOTS[name]
            png = evaluation.folder / f"{name}.png"
            result = plot(evaluation)
            if isinstance(result, str):
                png.unlink(missing_ok=True)  # one of an earlier evaluation would belie this one
                drawn[name] = {"svg": None, "reason": result}
                continue
            files.append(save_png(result, png))
            drawn[name] = {"svg": Markup(inline_svg(result, name)), "reason": None}
    tables.write_text(path, render_html(evaluation, drawn))
    return [*files, path]


def render_html(evaluation: Evaluation, drawn: dict[str, dict[str, Any]]) -> str:
    """The report as text; ``drawn`` holds per plot its ``svg``, or the ``reason`` why there is none."""
    predictions, run = evaluation.predictions, evaluation.run
    parts = {CLASSIFICATION: _classification, REGRESSION: _regression, UNSUPERVISED: _unsupervised}
    cohort = Cohort.from_summary(run.cohort)
    return (
        template_environment()
        .get_template(KINDS[predictions.kind].template)
        .render(
            evaluation=evaluation,
            run=run,
            facts=run.facts,
            releases=_releases(run.manifest),
            predictions=predictions,
            settings=evaluation.settings,
            synthetic=evaluation.synthetic,
            single=len(predictions.classes) == 1,
            plots=drawn,
            figure=lambda name, what: _figure(drawn[name], what),
            patients=len(set(predictions.patient.tolist())),
            subsets=evaluation.tables["subsets"].to_dicts(),
            flow_units=_flow_units(run.flow),
            cohort=cohort,
            cohort_facts=_flat(cohort.facts),
            departures=run.departures,
            departure_columns=DEPARTURE_TITLES,
            changed=run.changed_options,
            set_here=run.set_here,
            run_rows=_flat(_stated(run.facts)),
            subject=_subject(evaluation),
            **parts[predictions.kind](evaluation),
        )
    )


def template_environment() -> Environment:
    """Where templates are found and how they write numbers."""
    environment = Environment(
        loader=PackageLoader("cardiozoo.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "interval": _wrapping(with_interval), "plain": _wrapping(plain)}
    environment.filters |= {"count": _count, "percent": _percent, "amount": _amount, "words": _words}
    environment.filters["apart"] = _apart
    return environment


def _wrapping(written: Callable[[dict[str, float | None]], str]) -> Callable[[dict[str, float | None]], Markup]:
    return lambda row: _apart(written(row))


def _apart(text: str) -> Markup:
    """A value with its limits, which go to a line of their own where a table would be wider than the page."""
    value, space, limits = text.partition(" ")
    return Markup('{} <span class="limits-of">{}</span>' if space else "{}").format(value, limits)


def _figure(drawn: dict[str, Any], what: str) -> Markup:
    if drawn["svg"]:
        return Markup('<figure class="plot" role="img" aria-label="{}">{}</figure>').format(what, drawn["svg"])
    return Markup('<p class="absent">No plot: {}.</p>').format(drawn["reason"])


def _classification(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "metrics": TITLES,
        "key_numbers": _key_numbers(evaluation),
        "averages": _averages(evaluation),
        "classes": _classes(evaluation),
        "groups": _groups(evaluation),
        "calibration": _calibration(evaluation),
        "measures": MEASURE_TITLES,
        "decisions": _decisions(evaluation),
        "decision_metrics": DECISIONS,
        "focal": focal_note(evaluation.run, evaluation.predictions),
        "undefined": _undefined(evaluation),
    }


def _regression(evaluation: Evaluation) -> dict[str, Any]:
    agreement: dict[str, dict[str, Any]] = {}
    for row in evaluation.tables["agreement"].to_dicts():
        agreement.setdefault(row["target"], {})[row["measure"]] = row
    groups: dict[str, dict[str, Any]] = {}
    for row in evaluation.tables["subgroups"].filter(pl.col("class") != tables.MACRO).to_dicts():
        lines = groups.setdefault(row["group"], {"name": row["group"], "cells": {}})["cells"]
        line = lines.setdefault((row["class"], row["level"]), {"class": row["class"], "level": row["level"]})
        line[row["metric"]] = row
    return {
        "metrics": KINDS[REGRESSION].titles,
        "classes": _classes(evaluation),
        "agreement": agreement,
        "measures": AGREEMENT_TITLES,
        "groups": [{"name": g["name"], "lines": list(g["cells"].values())} for g in groups.values()],
    }


def _unsupervised(evaluation: Evaluation) -> dict[str, Any]:
    groups: dict[str, dict[str, Any]] = {}
    for row in evaluation.tables["subgroups"].to_dicts():
        group = groups.setdefault(row["group"], {"name": row["group"], "levels": {}, "by_column": {}})
        group["levels"][row["level"]] = row["rows"]
        group["by_column"].setdefault(row["class"], {})[row["level"]] = row
    first = evaluation.tables["subsets"]["subset"][0]
    means = evaluation.tables["metrics"].filter(pl.col("subset") == first).to_dicts()
    return {"column_means": means, "groups": list(groups.values())}


def _flow_units(flow: list[dict[str, Any]]) -> list[str]:
    """What the steps of the cohort's flow count (stays, records, patients, ...), in the order of their mention."""
    counted = {key: None for step in flow for key in step if key not in NO_UNITS}
    return [key for key in counted if any(isinstance(step.get(key), int) for step in flow)]


def _decisions(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One line a subset and class: every metric side by side."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for row in evaluation.tables["decisions"].to_dicts():
        line = lines.setdefault((row["subset"], row["class"]), {"subset": row["subset"], "class": row["class"]})
        line[row["metric"]] = row
    first = evaluation.tables["subsets"]["subset"][0]
    together = (tables.MACRO, tables.OVERALL)
    single = len(evaluation.predictions.classes) == 1
    return [line for line in lines.values() if single or line["subset"] == first or line["class"] in together]


def _subject(evaluation: Evaluation) -> str:
    if not evaluation.run.facts:
        return evaluation.predictions.source.name
    return f"{evaluation.run.model} on {evaluation.run.data}"


def _releases(manifest: dict[str, Any]) -> list[str]:
    release = manifest.get("release")
    stated = release if isinstance(release, dict) else {}
    return [f"{name} {value or 'unknown'}" for name, value in stated.items()]


def _key_numbers(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The macro metrics of each subset that has a value, with a strip that shows the interval on [0, 1]."""
    cards = []
    for subset in evaluation.tables["subsets"]["subset"]:
        for metric in METRICS:
            row = evaluation.value(metric, subset)
            if row["rows"]:
                cards.append(row | {"title": TITLES[metric]})
    return cards


def _averages(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One line a subset and average, both metrics side by side."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for row in evaluation.tables["metrics"].to_dicts():
        line = lines.setdefault((row["subset"], row["average"]), dict(row))
        line[row["metric"]] = row
    return list(lines.values())


def _classes(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One line a class: both metrics in each subset."""
    lines: dict[str, dict[str, Any]] = {}
    for row in evaluation.tables["per_class"].to_dicts():
        line = lines.setdefault(row["class"], {"class": row["class"], "subsets": {}})
        line["subsets"].setdefault(row["subset"], {})[row["metric"]] = row
    return list(lines.values())


def _groups(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Per group column: its levels and the gaps between them, for the macro mean (or the only class)."""
    name = tables.MACRO if len(evaluation.predictions.classes) > 1 else evaluation.predictions.classes[0]
    values = evaluation.tables["subgroups"].filter(pl.col("class") == name).to_dicts()
    gaps = evaluation.tables["gaps"].filter(pl.col("class") == name).to_dicts()
    groups: dict[str, dict[str, Any]] = {}
    for row in values:
        group = groups.setdefault(
            row["group"], {"name": row["group"], "levels": {}, "pairs": {}, "mean": {}, "more": 0}
        )
        group["levels"].setdefault(row["level"], dict(row))[row["metric"]] = row
    for row in gaps:
        group = groups[row["group"]]
        if row["kind"] == "mean absolute pairwise":
            group["mean"][row["metric"]] = row
            continue
        pair = group["pairs"].setdefault((row["level"], row["reference"]), {"defined": False})
        pair.setdefault(row["kind"], {})[row["metric"]] = row
        pair["defined"] |= row["value"] is not None and row["value"] == row["value"]
    for group in groups.values():
        defined = {key: pair for key, pair in group["pairs"].items() if pair["defined"]}
        group["undefined_pairs"] = len(group["pairs"]) - len(defined)
        group["pairs"] = dict(list(defined.items())[:MOST_GAPS])
        group["more"] = len(defined) - len(group["pairs"])
    return list(groups.values())


def _calibration(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One line a class, pooled and macro first."""
    lines: dict[str, dict[str, Any]] = {}
    for row in evaluation.tables["calibration"].to_dicts():
        lines.setdefault(row["class"], {"class": row["class"]})[row["measure"]] = row
    first = [lines[name] for name in (POOLED, "macro") if name in lines and len(evaluation.predictions.classes) > 1]
    return first + [lines[name] for name in evaluation.predictions.classes if set(MEASURES) <= set(lines[name])]


def _undefined(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Regions with classes that have no value: which, and why; how many lack it in some draws only."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for row in evaluation.tables["undefined"].to_dicts():
        line = lines.setdefault((row["kind"], row["region"]), dict(row) | {"reasons": {}, "partly": 0, "most": 0})
        if row["reason"].startswith("only in some draws"):
            line["partly"] += 1
            line["most"] = max(line["most"], row["undefined_draws"])
        else:
            line["reasons"].setdefault(row["reason"], []).append(row["class"])
    return list(lines.values())


def _stated(facts: dict[str, Any]) -> dict[str, Any]:
    """What run.json says; of a run that is going on, and judged as its last step, not how and when it ended."""
    left_out = ("departures", *(OF_THE_END if facts.get("status") == "running" else ()))
    return {key: value for key, value in facts.items() if key not in left_out}


def _flat(content: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested facts as dotted names and text; lists on one line."""
    rows: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            rows.append((f"{prefix}{key}", ", ".join(str(v) for v in value) or "none"))
        elif isinstance(value, float):
            rows.append((f"{prefix}{key}", f"{value:.6g}"))
        else:
            rows.append((f"{prefix}{key}", "none" if value is None else str(value)))
    return rows


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _amount(cell: tuple[float | None, bool]) -> str:
    """A count as it is, a share in per cent, any other number with four significant digits."""
    value, share = cell
    if value is None or value != value:
        return "–"
    if share:
        return _percent(value)
    return f"{value:,}" if isinstance(value, int) else significant(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None or value != value else f"{100 * value:.{digits}f} %"
