"""The manifest of a store of mimic_cxr_ehr: where it comes from, what was chosen, what was left out and why."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import Any

import polars as pl

from cardiozoo.data.readers.mimic_cxr import CxrRelease
from cardiozoo.data.readers.mimic_iv import Release
from cardiozoo.data.store import FORMAT, VERSION

#: stays of this length are those of the in-hospital mortality task
MORTALITY_HOURS = 48


def flow_step(step: str, stays: pl.DataFrame | None, excluded: int, reason: str) -> dict[str, Any]:
    """One line of the cohort flow."""

    def unique(column: str) -> int | None:
        return None if stays is None else stays[column].n_unique()

    return {
        "step": step,
        "stays": None if stays is None else stays.height,
        "admissions": unique("hadm_id"),
        "patients": unique("subject_id"),
        "deaths": None if stays is None else int(stays["mortality"].sum()),
        "images": None,
        "excluded": excluded,
        "reason": reason,
    }


def image_step(step: str, images: int, excluded: int, reason: str) -> dict[str, Any]:
    """One line of the cohort flow that counts images."""
    return {**flow_step(step, None, excluded, reason), "images": images}


def long_stays_step(stays: pl.DataFrame, reference: str) -> dict[str, Any]:
    """How many of the stays of step `reference` in-hospital mortality uses: for information, nothing is left out."""
    long = stays.filter(pl.col("los_hours") >= MORTALITY_HOURS)
    return {**flow_step(f"of these, at least {MORTALITY_HOURS} h long", long, 0, ""), "part_of": reference}


def build_manifest(
    name: str,
    options: dict[str, Any],
    marker: dict[str, Any] | None,
    release: Release,
    cxr: CxrRelease | None,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Everything of the manifest but the list of files. It holds no time and no absolute path.

    Args:
        name: The data module.
        options: Plain JSON.
        marker: What the simulator left, None for real data.
        release: MIMIC-IV as found.
        cxr: MIMIC-CXR-JPG as found.
        facts: What the stages found, by their names.
    """
    from cardiozoo import __version__

    flow = [step for stage in facts.values() for step in stage.get("flow", [])]
    exclusions: Counter[str] = Counter()
    for step in flow:
        if step["excluded"]:
            exclusions[step["reason"]] += step["excluded"]
    counts = dict(facts["tables"]["counts"])
    counts["ehr_tables"], counts["ehr_events"] = facts["stays"]["counts"], facts["events"]["counts"]
    counts["cxr_tables"] = facts.get("selection", {}).get("counts", {})
    counts["cxr_images"] = facts.get("images", {}).get("counts", {})
    manifest = {
        "format": FORMAT,
        "name": name,
        "version": VERSION,
        "synthetic": marker is not None,
        "cardiozoo": __version__,
        "versions": {package: version(package) for package in ("duckdb", "numpy", "pillow", "polars")},
        "release": {
            "mimic_iv": release.version,
            "mimic_iv_recognised_by": release.recognised_by,
            "mimic_cxr": cxr.version if cxr else None,
        },
        "options": options,
        "flow": flow,
        "exclusions": dict(exclusions),
        "counts": counts,
        "sources": [{**source, "rows": _rows(source["table"], facts)} for source in facts["sources"]["sources"]],
    }
    return manifest | ({"simulator": marker} if marker else {})


def _rows(table: str, facts: dict[str, Any]) -> int | None:
    """Rows of a source table, None where it was not read to count them."""
    if table == "cxr/metadata":
        return facts["selection"]["flow"][0]["images"]
    counts = {**facts["stays"]["counts"], **facts["events"]["counts"]}.get(table)
    return counts.get("rows") if isinstance(counts, dict) else None
