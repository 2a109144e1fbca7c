"""Table 2 of LS-EMVAE (Suvon et al., 2025): its cells, the published numbers, and how each cell is run here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from cardiozoo.cards import read_card
from cardiozoo.errors import OptionError
from cardiozoo.registry import find, normalized

SOURCE = "LS-EMVAE"
#: Trained on MIMIC-IV-ECG first and then fine-tuned, in the order of the table; the value says whether a model has the
#: representations that LS-EMVAE has, or one only.
PRETRAINED = {"beta_vae": False, "mvae": True, "mopoe_vae": True, "ls_emvae": True}
#: Trained on the cohort alone.
SCRATCH = ("resnet1d", "xresnet1d101", "multimodal_cnn")
MODELS = (*SCRATCH, *PRETRAINED)
PUBLISHED_ONLY = "st_mem"
TASKS = ("ph_detection", "capillary")
LEADS = {12: "all", 6: "limb"}
METRICS = {"accuracy": "accuracy", "auroc": "AUROC", "mcc": "MCC"}


@dataclass(frozen=True)
class Cell:
    """One model on one task, shown 12 leads or the six limb leads."""

    model: str
    task: str
    leads: int

    @property
    def name(self) -> str:
        """As it is called in messages and folders."""
        return f"{self.model}/{self.task}/{self.leads}_leads"

    def options(self, store: Path | None, encoder: Path | None, representation: str, small: bool) -> list[str]:
        """Options of ``cardiozoo crossval``."""
        network = "finetune" if self.model in PRETRAINED else self.model
        typed = ["--model", network, "--data", "ecg_cohort"]
        typed += ["--recipe", f"{network}/ecg_cohort.synthetic"] if small else []
        typed += ["--data.store", str(store)] if store else []
        typed += ["--data.task", self.task, "--data.leads", LEADS[self.leads]]
        if self.model in PRETRAINED:
            typed += ["--model.encoder", str(encoder)]
            typed += ["--model.representation", representation] if PRETRAINED[self.model] else []
            typed += ["--model.freeze", "true"] if small else []  # as the table; the small recipe alone trains it on
        return typed


def chosen_cells(models: Sequence[str], tasks: Sequence[str], leads: Sequence[int], unpublished: bool) -> list[Cell]:
    """The cells to run, in the order of the table; those that the paper leaves out only if asked for.

    Raises:
        OptionError: A model, task or number of leads that the table does not have, or nothing left.
    """
    names = [normalized(model) for model in models]
    for came, known, what in ((names, MODELS, "--models"), (tasks, TASKS, "--tasks"), (leads, LEADS, "--leads")):
        if odd := [value for value in came if value not in known]:
            raise OptionError(
                f"{what} {' '.join(map(str, odd))}.",
                f"One or more of {', '.join(map(str, known))}.",
                "ST-MEM is not in the zoo; its published numbers are shown." if PUBLISHED_ONLY in odd else "",
            )
    cells = [Cell(m, t, n) for t in TASKS if t in tasks for m in MODELS if m in names for n in LEADS if n in leads]
    kept = [cell for cell in cells if unpublished or published(cell) is not None]
    if not kept:
        raise OptionError(
            "The paper has no number for any of these cells.", "Other cells.", "--unpublished runs them nevertheless."
        )
    return kept


def published(cell: Cell) -> dict[str, list[float]] | None:
    """Metric -> mean and standard deviation as printed; None where the table has a dash."""
    if cell.model == PUBLISHED_ONLY:
        rows = _others()[PUBLISHED_ONLY]["published"]
    else:
        stated = read_card(find("model", cell.model)).get("published") or []
        rows = [row for row in stated if SOURCE in str(row.get("source") or row.get("table"))]
    return next(
        ({m: row[m] for m in METRICS} for row in rows if (row["task"], row["leads"]) == (cell.task, cell.leads)), None
    )


def rows_of(cells: Iterable[Cell], measured: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The table: one row a cell, published and measured mean and standard deviation of each metric, or why none.

    Args:
        cells: The cells asked for; ST-MEM's are added.
        measured: Name of a cell -> its crossval.json, or ``{"status": why there is none}``.
    """
    cells = list(cells)
    shown = {(cell.task, cell.leads): None for cell in cells}
    rows = []
    for task, leads in shown:
        of_task = [cell for cell in cells if (cell.task, cell.leads) == (task, leads)]
        for cell in [Cell(PUBLISHED_ONLY, task, leads), *of_task]:
            found = measured.get(cell.name, {})
            row: dict[str, Any] = {"task": task, "leads": leads, "model": cell.model}
            row["status"] = "published only" if cell.model == PUBLISHED_ONLY else found.get("status", "not run")
            row["synthetic"] = found.get("synthetic")
            for metric in METRICS:
                printed = (published(cell) or {}).get(metric) or [None, None]
                here = (found.get("summary") or {}).get(metric) or {}
                row |= {f"{metric}_published": printed[0], f"{metric}_published_sd": printed[1]}
                row |= {f"{metric}_measured": here.get("mean"), f"{metric}_measured_sd": here.get("sd")}
            rows.append(row)
    return rows


def check_same_folds(cells: Iterable[Cell], measured: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each task and set of leads whose models were not judged on the very same folds."""
    found: dict[tuple[str, int], dict[str, str]] = {}
    for cell in cells:
        partition = measured.get(cell.name, {}).get("partition_sha256")
        if partition:
            found.setdefault((cell.task, cell.leads), {})[cell.model] = partition
    return [
        f"{task}, {leads} leads: not all models were judged on the same folds ({', '.join(by_model)})"
        for (task, leads), by_model in found.items()
        if len(set(by_model.values())) > 1
    ]


def read_result(folder: Path) -> dict[str, Any]:
    """crossval.json of a cell; empty if there is none."""
    path = folder / "crossval.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _others() -> dict[str, Any]:
    import yaml

    return yaml.safe_load(files("cardiozoo.cli").joinpath("table2.yaml").read_text(encoding="utf-8"))
