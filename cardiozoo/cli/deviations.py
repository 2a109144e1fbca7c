"""In what a run differs from its recipe: every option of the method that somebody typed."""

from __future__ import annotations

from typing import Any

from cardiozoo.cli import typed
from cardiozoo.cli.arguments import Arguments

OF_THE_METHOD = ("model", "data", "trainer", "monitor", "monitor_mode", "patience", "seed_everything")
# Where things lie and how many processes compute them are facts of a machine, not of a method.
OF_THE_MACHINE = ("data.init_args.store", "data.init_args.num_workers", "trainer.accelerator")


def deviations(arguments: Arguments, defaults: dict[str, Any]) -> list[str]:
    """Lines like ``model.lambda_jsd = 9 (recipe: 1)``, sorted; empty when the recipe was followed.

    A run that is tested is compared with its own config instead; of one that is resumed, what may change and did.

    Args:
        arguments: The expanded command line.
        defaults: Default of each option, by its dotted key; typing a default that the recipe leaves alone is none.
    """
    if arguments.resume is not None:
        changed = [change for change in arguments.changed if _of_the_method(change.key)]
        return sorted(f"{change.option} = {change.now} (the run: {change.before})" for change in changed)
    files = [layer.path for layer in arguments.recipes]
    if arguments.source_run is not None:
        files = [arguments.source_run / "config.yaml"]
    recipe = _flat(typed.as_mapping([f"--config={file}" for file in files]))
    source = "recipe" if arguments.source_run is None else "the run"
    lines = []
    for key, value in _flat(arguments.typed).items():
        followed = recipe.get(key, _plain(defaults.get(key, _UNKNOWN))) == value
        if _of_the_method(key) and not key.endswith("class_path") and not followed:
            said = f"{source}: {recipe[key]}" if key in recipe else "the recipe does not say"
            lines.append(f"{key.replace('init_args.', '')} = {value} ({said})")
    return sorted(lines) if files else []


_UNKNOWN = object()


def _of_the_method(key: str) -> bool:
    return key.partition(".")[0] in OF_THE_METHOD and key not in OF_THE_MACHINE


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
