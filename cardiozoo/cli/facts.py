"""What run.json says of a run when it starts, and of its checkpoints when it ends."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from cardiozoo.cards import listing, read_card
from cardiozoo.cli.arguments import Arguments
from cardiozoo.cli.deviations import OF_THE_MACHINE, deviations
from cardiozoo.cli.recipes import SYNTHETIC
from cardiozoo.cli.typed import LINKED
from cardiozoo.registry import normalized, registered
from cardiozoo.training.record import environment


def run_facts(
    arguments: Arguments, defaults: dict[str, Any], model: LightningModule, data: LightningDataModule, trainer: Trainer
) -> dict[str, Any]:
    """The facts of a run at its start, but for its seed and the metric that selects its best checkpoint."""
    parameters = list(model.parameters())
    source = arguments.source_run if arguments.resume is None else None
    before = arguments.run_facts
    return {
        "command": arguments.command,
        "command_line": shlex.join(["cardiozoo", *arguments.argv]),
        "model": {
            **_component("model", type(model)),
            "parameters": sum(p.numel() for p in parameters),
            "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        },
        "data": {
            **_component("data", type(data)),
            "store": _text(getattr(data, "store_path", None)),
            "manifest_sha256": getattr(data, "manifest_sha256", None),
            "synthetic": bool(getattr(data, "synthetic", False)),
        },
        "task": _task(data),
        "recipe": before.get("recipe") or _recipe(arguments),
        "deviations": [*before.get("deviations", []), *deviations(arguments, defaults)],
        **_changed_on_resume(arguments),
        "precision": str(trainer.precision),
        "devices": trainer.world_size,
        "strategy": type(trainer.strategy).__name__,
        "source_run": _text(source),
        "checkpoint": {"used": _text(arguments.checkpoint)},
        "epochs": None,
        "steps": None,
        **environment(trainer.strategy.root_device),
    }


def checkpoint_facts(trainer: Trainer, folder: Path) -> dict[str, Any]:
    """Which checkpoints a training left, and the score that selected the best one; without a validation, the last."""
    callbacks = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    best = callbacks[0]
    last = next((c.best_model_path for c in callbacks if c.monitor is None and c.best_model_path), "")
    score = best.best_model_score
    return {
        "best": None if best.monitor is None else _relative(best.best_model_path, folder),
        "last": _relative(last, folder),
        "monitor": best.monitor,
        "score": None if score is None else float(score),
    }


def departures(names: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """In what the model and the data module depart from the paper and its released code, as their cards say."""
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, name in names.items():
        claimants = registered(kind).get(normalized(name), [])
        stated = read_card(claimants[0]).get("departures") if len(claimants) == 1 else None
        found[kind] = [row for row in stated if isinstance(row, dict)] if isinstance(stated, list) else []
    return found


def changed_options(kind: str, values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Options of the method that differ from the defaults of their class: name -> value and default.

    Args:
        kind: ``model`` or ``data``.
        values: The parsed ``init_args``.
        defaults: Default of each option by its dotted key.
    """
    changed = {}
    for name, value in sorted(values.items()):
        key = f"{kind}.init_args.{name}"
        default = _plain(defaults.get(key))
        if key not in OF_THE_MACHINE and name not in LINKED and _plain(value) != default:
            changed[name] = {"value": _plain(value), "default": default}
    return changed


def registered_name(kind: str, cls: type) -> str:
    """The registered name of a class, else its own."""
    entries = [entry for claimants in registered(kind).values() for entry in claimants]
    return next((entry.name for entry in entries if entry.class_path == _path(cls)), cls.__name__)


def _component(kind: str, cls: type) -> dict[str, str]:
    name = registered_name(kind, cls)
    title = next((row["title"] for row in listing(kind) if row["name"] == name), "")
    return {"name": name, "class_path": _path(cls), "title": title}


def _task(data: LightningDataModule) -> dict[str, Any]:
    spec = getattr(data, "spec", None)
    name = getattr(getattr(spec, "task", None), "name", None) or getattr(data, "task", None)
    facts = {"name": _text(name), "kind": getattr(data, "task_kind", None)}
    facts["classes"] = getattr(data, "class_names", None)
    groups = getattr(data, "class_groups", None)
    return facts | ({"class_groups": groups} if groups else {})


def _recipe(arguments: Arguments) -> dict[str, Any]:
    small = any(recipe.variant == SYNTHETIC for recipe in arguments.recipes)
    return {
        "name": arguments.recipe_name,
        "source": [f"{recipe.name} ({recipe.package})" for recipe in arguments.recipes],
        "preset_note": "small preset for the synthetic cohort, not the paper's" if small else None,
    }


def _changed_on_resume(arguments: Arguments) -> dict[str, Any]:
    """Each time that the run went on with other options, those of the machine among them: when, and which."""
    if arguments.resume is None:
        return {}
    changes = [*arguments.run_facts.get("changed_on_resume", [])]
    if arguments.changed:
        options = {change.option: {"before": change.before, "now": change.now} for change in arguments.changed}
        changes.append({"resume": len(arguments.run_facts.get("resumed", [])) + 1, "options": options})
    return {"changed_on_resume": changes} if changes else {}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _relative(path: str, folder: Path) -> str | None:
    if not path:
        return None
    inside = Path(path).resolve()
    return str(inside.relative_to(folder.resolve())) if inside.is_relative_to(folder.resolve()) else str(inside)
