"""In what a run differs from its recipe: every option of model, data and trainer that somebody typed."""

from __future__ import annotations

from typing import Any

from cardiozoo.cli.arguments import Arguments, _asked

# Where things lie and how many processes compute them are facts of a machine, not of a method.
PLACES = ("data.init_args.store", "data.init_args.num_workers", "trainer.devices", "trainer.accelerator")


def deviations(arguments: Arguments) -> list[str]:
    """Lines like ``model.lambda_jsd = 9 (recipe: 1)``, sorted; empty when the recipe was followed."""
    recipe: dict[str, Any] = {}
    for layer in arguments.recipes:
        recipe |= _flat(_asked([f"--config={layer.path}"]))
    lines = []
    for key, value in _flat(arguments.asked).items():
        section = key.partition(".")[0]
        typed = section in ("model", "data", "trainer", "monitor", "monitor_mode", "patience", "seed_everything")
        if typed and not key.endswith("class_path") and key not in PLACES and recipe.get(key, _ABSENT) != value:
            said = f"recipe: {recipe[key]}" if key in recipe else "recipe says nothing"
            lines.append(f"{key.replace('init_args.', '')} = {value} ({said})")
    return sorted(lines) if arguments.recipes else []


_ABSENT = object()


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
