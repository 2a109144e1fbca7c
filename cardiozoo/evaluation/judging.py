"""What is measured of a predictions table of each kind: rows of all its tables, and notes for their reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from cardiozoo.errors import OptionError
from cardiozoo.evaluation import tables
from cardiozoo.evaluation.areas import Advance, Areas, Region
from cardiozoo.evaluation.bootstrap import PatientDraws
from cardiozoo.evaluation.calibration import calibration
from cardiozoo.evaluation.decisions import judge_decisions
from cardiozoo.evaluation.focal import focal_note
from cardiozoo.evaluation.kinds import KINDS
from cardiozoo.evaluation.predictions import CLASSIFICATION, REGRESSION, UNSUPERVISED, Predictions
from cardiozoo.evaluation.regression import agreement
from cardiozoo.evaluation.run import RunFacts
from cardiozoo.evaluation.settings import SUBSETS, Settings
from cardiozoo.evaluation.subgroups import levels_of

Rows = dict[str, list[dict[str, Any]]]


def judge(
    predictions: Predictions, facts: RunFacts, settings: Settings, advance: Advance | None
) -> tuple[dict[str, pl.DataFrame], tuple[str, ...]]:
    """All tables of an evaluation by name, and what their reader must know.

    Raises:
        OptionError: A subset is asked for that the table cannot tell apart.
    """
    draws = PatientDraws(predictions.patient, settings.n_bootstrap, settings.seed)
    regions, groups, notes = _regions(predictions, settings)
    areas = KINDS[predictions.kind].judge(predictions, regions, draws, advance)
    rows = _rows(predictions, facts, settings, areas, groups)
    match predictions.kind:
        case "classification":
            calibrated = calibration(predictions, draws, settings.bins, settings.level)
            rows["calibration"], rows["reliability"] = tables.calibration_rows(calibrated)
            rows["decisions"] = _decisions(predictions, settings, regions, draws)
            focal = focal_note(facts, predictions)
            notes = [*([focal] if focal else []), *notes, *_zero_over_zero(rows["decisions"])]
        case "regression":
            rows["agreement"] = tables.agreement_rows(agreement(predictions, draws, settings.level))
    return {name: tables.frame(name, content, facts.synthetic) for name, content in rows.items()}, tuple(notes)


def _regions(predictions: Predictions, settings: Settings) -> tuple[dict[Region, np.ndarray], list[str], list[str]]:
    """The subsets and subgroups as masks, the names of the groups, and notes."""
    masks = {"all": np.ones(len(predictions), dtype=bool), "paired": predictions.paired, "partial": ~predictions.paired}
    several = len(predictions.present) > 1 or not predictions.paired.all()
    chosen = settings.subsets if predictions.present else tuple(s for s in settings.subsets if s == "all")
    notes = list(predictions.notes)
    if not chosen:
        raise OptionError(
            f"The table has no present/<modality> columns, so there is no subset {' or '.join(settings.subsets)}.",
            "The subset all, or a table that says which modalities each row has.",
            "Evaluate with --subset all.",
        )
    if predictions.present and not several and chosen == tuple(SUBSETS):
        chosen = ("all",)  # one modality that every row has: there is nothing to tell apart, and nobody asked
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
    return regions, list(levels), notes


def _rows(
    predictions: Predictions, facts: RunFacts, settings: Settings, areas: dict[Region, Areas], groups: Sequence[str]
) -> Rows:
    """Rows of all tables that rest on areas."""
    classes, level, kind = predictions.classes, settings.level, predictions.kind
    averaged, counted = KINDS[kind].averaged, kind == CLASSIFICATION
    class_groups = {g: [classes.index(c) for c in m] for g, m in facts.class_groups(classes).items()}
    names = ("metrics", *(() if kind == UNSUPERVISED else ("per_class",)), "subsets", "subgroups", "gaps")
    rows: Rows = {name: [] for name in names}
    for (region, name), area in areas.items():
        if region != "subset":
            continue
        if kind == UNSUPERVISED:
            rows["metrics"] += tables.column_rows(name, area, classes, level)
        else:
            rows["metrics"] += tables.macro_rows(name, area, class_groups, level, averaged)
            rows["per_class"] += tables.class_rows(name, area, classes, level, counted)
        size = {"rows": area.rows, "patients": area.patients, "share": area.rows / len(predictions)}
        rows["subsets"].append({"subset": name, "meaning": SUBSETS[name]} | size)
    for group in groups:
        of_group = {name: area for (region, name), area in areas.items() if region == f"group {group}"}
        if of_group:
            values, gaps = tables.subgroup_rows(group, of_group, classes, level, averaged, counted)
            rows["subgroups"] += values
            rows["gaps"] += gaps
    judged_by = {CLASSIFICATION: "auroc", REGRESSION: "r2", UNSUPERVISED: "mean"}[kind]
    rows["undefined"] = tables.undefined_rows(areas, classes, judged_by)
    return rows


def _decisions(
    predictions: Predictions, settings: Settings, regions: dict[Region, np.ndarray], draws: PatientDraws
) -> list[dict[str, Any]]:
    rows = []
    for (region, name), mask in regions.items():
        if region == "subset":
            decisions = judge_decisions(predictions, mask, draws)
            rows += tables.decision_rows(name, decisions, predictions.classes, predictions.one_hot, settings.level)
    return rows


def _zero_over_zero(rows: list[dict[str, Any]]) -> list[str]:
    """Says where a Matthews correlation of 0 / 0 was counted as 0 in the sample or a draw."""
    found = [row for row in rows if row["subset"] == rows[0]["subset"] and row["zero_over_zero"]]
    if not found:
        return []
    listed = "; ".join(f"{row['class']}: {row['zero_over_zero']:,} of {row['draws']:,} draws" for row in found[:4])
    more = f"; and {len(found) - 4} more" if len(found) > 4 else ""
    return [f"The Matthews correlation was 0 / 0 and counts as 0, as in scikit-learn ({listed}{more})."]
