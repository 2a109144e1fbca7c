"""What stands in a run's folder beside its predictions. All of it may be absent: a bare table is judged too."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from cardiozoo.errors import PredictionsError
from cardiozoo.evaluation.predictions import CLASSIFICATION, PREDICTION_KINDS

_OPTION = re.compile(r"(?<![\w.])(?<!: )(?<!or )(model\.|data\.|)([a-z_][a-z0-9_]*)(?=$|[:,;)]| \(| and )")
DEPARTURE = ("topic", "paper", "released", "here", "option")


@dataclass(frozen=True)
class RunFacts:
    """The files of a run.

    Attributes:
        folder: The run's folder, or None for a bare table.
        facts: run.json.
        manifest: data_manifest.json, the manifest of the store.
        cohort: cohort.json, what the data module says of the samples of this run.
        config: config.yaml as text.
        loss: The loss that the run was trained with, as its configuration says; None if it does not.
        curves: logs/metrics.csv, one row an entry of the logger.
        absent: File -> why it says nothing, for those that are missing or unreadable.
    """

    folder: Path | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    cohort: dict[str, Any] = field(default_factory=dict)
    config: str = ""
    loss: str | None = None
    curves: pl.DataFrame | None = None
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def synthetic(self) -> bool | None:
        """Whether the data came from a simulator; None if nobody says."""
        stated = self.part("data").get("synthetic", self.manifest.get("synthetic"))
        return stated if isinstance(stated, bool) else None

    @property
    def model(self) -> str:
        return str(self.part("model").get("name") or "unnamed model")

    @property
    def data(self) -> str:
        return str(self.part("data").get("name") or "unnamed data")

    @property
    def task(self) -> str:
        return str(self.part("task").get("name") or "")

    @property
    def kind(self) -> str | None:
        """``classification``, ``regression`` or ``unsupervised``, as run.json says of its task; None if it does not."""
        stated = self.part("task").get("kind")
        if stated in ("binary", "multilabel", "multiclass"):
            return CLASSIFICATION
        return stated if stated in PREDICTION_KINDS else None

    @property
    def choice(self) -> bool | None:
        """Whether run.json says that each sample has exactly one class; None if it does not say."""
        stated = self.part("task").get("kind")
        return stated == "multiclass" if stated in ("binary", "multilabel", "multiclass") else None

    @property
    def flow(self) -> list[dict[str, Any]]:
        """Steps of the cohort: step, reason, and stays, admissions, patients, deaths, images, excluded (may be None).

        A step with ``part_of`` describes some of the stays of another one; nothing was left out for it.
        """
        steps = self.manifest.get("flow")
        return [step for step in steps if isinstance(step, dict) and "step" in step] if isinstance(steps, list) else []

    @property
    def departures(self) -> dict[str, list[dict[str, str]]]:
        """In what model and data depart from paper and released code: component -> rows of the same columns."""
        found = {}
        for kind, rows in self.part("departures").items():
            listed = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
            if listed:
                found[str(kind)] = [{column: str(row.get(column, "")) for column in DEPARTURE} for row in listed]
        return found

    @property
    def changed_options(self) -> dict[str, dict[str, Any]]:
        """Options that this run gave another value than the default of their class: component -> name -> value.

        A component of which run.json does not say so is left out.
        """
        found = {}
        for kind in ("model", "data"):
            stated = self.part(kind).get("options_changed")
            if isinstance(stated, dict):
                found[kind] = {
                    str(name): change.get("value") if isinstance(change, dict) else change
                    for name, change in stated.items()
                }
        return found

    def set_here(self, kind: str, row: dict[str, str]) -> list[str]:
        """Options that a departure names and this run changed, as ``fusion = released``.

        Only the names of options count: a word after ``: `` or ``or `` is a value, and ``val_fraction of prepare`` an
        option of something else.
        """
        changed, found = self.changed_options, []
        for prefix, name in _OPTION.findall(row["option"]):
            values = changed.get(prefix.rstrip(".") or kind, {})
            if name in values:
                found.append(f"{prefix}{name} = {values[name]}")
        return list(dict.fromkeys(found))

    def part(self, name: str) -> dict[str, Any]:
        """One object of run.json; empty where the file, which any framework may have written, has none."""
        content = self.facts.get(name)
        return content if isinstance(content, dict) else {}

    def class_groups(self, classes: tuple[str, ...]) -> dict[str, list[str]]:
        """Named groups of classes (acute, mixed, chronic, ...) that run.json gives, of the classes judged."""
        stated = self.part("class_groups") or self.part("task").get("class_groups") or {}
        groups = {str(name): [c for c in classes if c in members] for name, members in stated.items()}
        return {name: members for name, members in groups.items() if members and len(classes) > 1}


def read_run(folder: Path) -> RunFacts:
    """Read what is there; what is not is named in ``absent``, never an error."""
    absent: dict[str, str] = {}
    facts = _json(folder / "run.json", absent)
    manifest = _json(folder / "data_manifest.json", absent)
    cohort = _json(folder / "cohort.json", absent)
    if isinstance(cohort.get("reason"), str):
        absent["cohort.json"], cohort = cohort["reason"], {}
    config = folder / "config.yaml"
    text = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
    if not text:
        absent["config.yaml"] = "there is no such file beside the predictions"
    loss = _loss(text or _config_of_folds(folder))
    return RunFacts(folder, facts, manifest, cohort, text, loss, _curves(folder, absent), absent)


def find_predictions(folder: Path) -> Path:
    """The predictions table of a run: ``predictions.parquet``, else .csv, else the only ``predictions.*``.

    Raises:
        PredictionsError: None, or several to choose from.
    """
    for name in ("predictions.parquet", "predictions.csv"):
        if (folder / name).is_file():
            return folder / name
    others = sorted(p for p in folder.glob("predictions.*") if p.suffix in (".parquet", ".csv"))
    if len(others) == 1:
        return others[0]
    if others:
        raise PredictionsError(
            f"{folder} holds {', '.join(p.name for p in others)} but no predictions.parquet.",
            "One table at a time.",
            f"Name the file: cardiozoo evaluate {others[0]}",
        )
    raise PredictionsError(
        f"{folder} holds no predictions table.",
        "predictions.parquet or predictions.csv in the folder of a run, or the path of a table.",
        "`cardiozoo test` and `cardiozoo predict` write one into the run's folder.",
    )


def _json(path: Path, absent: dict[str, str]) -> dict[str, Any]:
    if not path.is_file():
        absent[path.name] = "there is no such file beside the predictions"
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        absent[path.name] = f"the file is no valid JSON ({error})"
        return {}
    if not isinstance(content, dict):
        absent[path.name] = "the file holds no JSON object"
        return {}
    return content


def _config_of_folds(folder: Path) -> str:
    """The pooled table of a cross-validation lies beside its folds, whose configurations differ in a number alone."""
    config = folder.parent / "fold_0" / "config.yaml"
    pooled = folder.name == "pooled" and config.is_file()
    return config.read_text(encoding="utf-8", errors="replace") if pooled else ""


def _loss(config: str) -> str | None:
    """The option ``loss`` of the model in a configuration.

    Where it is left to the model, whoever has an option ``focal_alpha`` takes the focal loss: the others have no use
    for it. (Of a regression, which has no such scores, nobody asks.)
    """
    import yaml

    try:
        content = yaml.load(config, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        options = content["model"]["init_args"]
        stated = options.get("loss")
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):  # any framework may have written the file
        return None
    if stated is None and "focal_alpha" in options:
        return "focal"
    return stated if isinstance(stated, str) else None


def _curves(folder: Path, absent: dict[str, str]) -> pl.DataFrame | None:
    """The logger's CSV: in logs/, or in the newest version of it where a logger numbers its versions."""
    found = [folder / "logs" / "metrics.csv", *folder.glob("logs/**/metrics.csv")]
    files = sorted({p for p in found if p.is_file()}, key=lambda p: (p.stat().st_mtime_ns, str(p)))
    if not files:
        absent["logs/metrics.csv"] = "there is no such file beside the predictions"
        return None
    try:
        table = pl.read_csv(files[-1], infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        absent["logs/metrics.csv"] = f"the file cannot be read ({str(error).splitlines()[0]})"
        return None
    if "epoch" not in table.columns:
        absent["logs/metrics.csv"] = "the file has no column `epoch`"
        return None
    return table
