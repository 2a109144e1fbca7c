"""What a generative model, or the generative encoder of a fine-tuned one, does with the records: errors and walks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl
import torch

from cardiozoo.analysis.explanation import Cases
from cardiozoo.analysis.reconstruction import (
    Reconstruction,
    distinct_leads,
    error_table,
    generative_part,
    lead_errors,
    reconstruct,
)
from cardiozoo.analysis.records import on_device
from cardiozoo.analysis.traversal import Traversal, traverse
from cardiozoo.data.progress import progress_bar

DIMENSIONS = 6
#: Mean squared error of standardised leads that a flat line has, nearly.
FLAT = 0.98
#: Share of the latent dimensions that are active at most where the posterior has collapsed.
COLLAPSED = 0.1


@dataclass
class Generation:
    """Reconstructions and latent walks of some records.

    Attributes:
        cases: The records.
        found: Their reconstructions.
        errors: One row a record and lead.
        by_lead: Means with intervals.
        distinct: Leads whose reconstructions differ from each other.
        apart: Smallest relative difference between two of them.
        walk: Along the most informative dimensions.
        notes: What a reader must know.
    """

    cases: Cases
    found: Reconstruction
    errors: pl.DataFrame
    by_lead: pl.DataFrame
    distinct: int
    apart: float
    walk: Traversal
    notes: list[str] = field(default_factory=list)


def generate(model: Any, cases: Cases, n_bootstrap: int, seed: int, device: str = "cpu") -> Generation | None:
    """Reconstruct the records and walk through the latent space; None if no part of the model is generative.

    An encoder that was trained on with a head has left its decoder behind, so nothing is reconstructed from it.
    """
    part = generative_part(model)
    if part is None or (part is not model and not getattr(model, "freeze", True)):
        return None
    part.to(device).eval()
    batch = on_device(cases.batch, device)
    with progress_bar("reconstructing", len(cases.numbers)) as advance:
        found = reconstruct(part, batch, advance, cases.recorded)
    errors = error_table(found, cases.numbers)
    by_lead = lead_errors(errors, cases.patients, n_bootstrap, seed)
    distinct, apart = distinct_leads(found)
    with torch.no_grad():
        walk = traverse(part, batch, DIMENSIONS)
    result = Generation(cases, found, errors, by_lead, distinct, apart, walk)
    result.notes = _notes(result)
    return result


def _flat(active: int, dimensions: int) -> str:
    """What may be said of reconstructions no better than a flat line; a collapse shows in the latent space alone."""
    known = f"The error is no better than that of a flat line, with {active} of {dimensions} latent dimensions active"
    if active <= COLLAPSED * dimensions:
        return f"{known}: the divergence has swallowed the latent space (posterior collapse)."
    return f"{known}; perhaps the model was trained too little."


def _notes(result: Generation) -> list[str]:
    notes = []
    known = len(result.walk.leads)
    if result.distinct < known:
        notes.append(f"Only {result.distinct} of {known} reconstructed leads differ from each other.")
    if result.by_lead.height:
        worse = result.by_lead.filter(pl.col("difference_high") >= 0)["lead"].to_list()
        if worse:
            notes.append(f"Not shown to be better than the mean of the leads: {', '.join(worse)}.")
        if float(result.by_lead["mse"].mean()) >= FLAT and result.cases.unit == "sd":
            notes.append(_flat(result.walk.active, len(result.walk.divergence)))
    if result.walk.active == 0:
        notes.append("No latent dimension holds more than 0.01 nats about a record: the walks show nothing.")
    return notes
