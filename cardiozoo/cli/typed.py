"""The command line as typed: tokens made regular, short names made class paths, and all of it as one nested mapping.

Nothing here imports torch or a plugin, so a misspelt name is answered at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cardiozoo.errors import OptionError
from cardiozoo.registry import find

# Parameters of a model that the data module answers; nobody types them.
LINKED = (
    "num_classes",
    "class_names",
    "task_kind",
    "ehr_channels",
    "ecg_leads",
    "ecg_samples",
    "ecg_rate",
    "target_mean",
    "target_std",
    "monitor",
    "monitor_mode",
)
COMPONENTS = ("model", "data")
COMMANDS = ("fit", "validate", "test", "predict")


def with_underscores(tokens: list[str]) -> list[str]:
    """``--data.batch-size=4`` and ``--data.batch_size=4`` are the same option; values stay as they are."""
    changed = []
    for token in tokens:
        key, equals, value = token.partition("=")
        changed.append("--" + key[2:].replace("-", "_") + equals + value if key.startswith("--") else token)
    return changed


def options(tokens: list[str]) -> list[tuple[int, str, str | None]]:
    """(position, key without dashes, value or None) of every option among the tokens."""
    found = []
    for i, token in enumerate(tokens):
        if token == "-c" or (token.startswith("--") and len(token) > 2):
            key, equals, value = token.partition("=")
            key = "config" if key == "-c" else key[2:]
            if equals:
                found.append((i, key, value))
            else:
                following = tokens[i + 1] if i + 1 < len(tokens) and not tokens[i + 1].startswith("--") else None
                found.append((i, key, following))
    return found


def class_path(kind: str, name: str) -> str:
    """The importable path of a registered name; a path stays as it is."""
    return name if "." in name else find(kind, name).class_path


def short_names_in_tokens(tokens: list[str]) -> list[str]:
    """Short names after ``--model``, ``.class_path`` and ``.help``, also inside a mapping, made class paths."""
    changed = list(tokens)
    for i, key, value in options(tokens):
        component, _, rest = key.partition(".")
        if component in COMPONENTS and rest in ("", "class_path", "help") and value:
            if value.lstrip().startswith("{"):
                path = json.dumps(short_names_in_config({component: parsed(value)})[component])
            else:
                path = class_path(component, value)
            if "=" in tokens[i]:
                changed[i] = f"--{key}={path}"
            else:
                changed[i + 1] = path
    return changed


def component_first(tokens: list[str]) -> list[str]:
    """Moves ``--model X`` before the first ``--model.option``, where the parser needs it."""
    for component in COMPONENTS:
        found = options(tokens)
        at = next((i for i, key, _ in found if key in (component, f"{component}.class_path")), None)
        first = next((i for i, key, _ in found if key.startswith(f"{component}.") and not key.endswith("help")), None)
        if at is not None and first is not None and first < at:
            width = 1 if "=" in tokens[at] else 2
            moved = tokens[at : at + width]
            rest = tokens[:at] + tokens[at + width :]
            tokens = rest[:first] + moved + rest[first:]
    return tokens


def as_mapping(tokens: list[str]) -> dict[str, Any]:
    """All that the tokens and the --config files among them say, as one nested mapping; later ones win."""
    asked: dict[str, Any] = {}
    for _, key, value in options(tokens):
        if key == "config" and value:
            asked = merged(asked, read_config(value))
        elif value is not None:
            asked = merged(asked, short_names_in_config(_nested(key.split("."), parsed(value))))
    return asked


def _nested(path: list[str], value: Any) -> dict[str, Any]:
    if path[0] in COMPONENTS and len(path) > 1 and path[1] not in ("init_args", "class_path", "dict_kwargs", "help"):
        path = [path[0], "init_args", *path[1:]]
    for key in reversed(path):
        value = {key: value}
    return value


def parsed(value: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def read_config(value: str) -> dict[str, Any]:
    import yaml

    try:
        inline = value.lstrip().startswith("{")
        loaded = yaml.safe_load(value if inline else Path(value).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError(
            f"--config {value} cannot be read: {error}",
            "A YAML file with the keys model, data, trainer, ...",
            "`cardiozoo fit --model NAME --data NAME --print_config` prints one.",
        ) from error
    return short_names_in_config(loaded) if isinstance(loaded, dict) else {}


def short_names_in_config(config: dict[str, Any]) -> dict[str, Any]:
    """The same config with short names of models and data as class paths, and string components as mappings."""
    config = dict(config)
    for kind in COMPONENTS:
        if isinstance(config.get(kind), str):
            config[kind] = {"class_path": config[kind]}
        if isinstance(config.get(kind), dict) and isinstance(config[kind].get("class_path"), str):
            config[kind] = config[kind] | {"class_path": class_path(kind, config[kind]["class_path"])}
    return config


def load_config(text: str, load_yaml: Callable[[str], Any]) -> Any:
    """The parser's loader: YAML, with short names at the top level or below a command made into class paths."""
    loaded = load_yaml(text)
    if not isinstance(loaded, dict):
        return loaded
    return {
        key: short_names_in_config(value) if isinstance(value, dict) and key in COMMANDS else value
        for key, value in short_names_in_config(loaded).items()
    }


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def refuse_linked(asked: dict[str, Any]) -> None:
    model = asked.get("model")
    typed = (model.get("init_args") or {}) if isinstance(model, dict) else {}
    for name in LINKED:
        if name in typed:
            raise OptionError(
                f"--model.{name} {typed[name]} was given by hand.",
                f"The data module decides {name}; the model is told.",
                "Leave it out; --data.task, or other data, change it."
                + (f" --{name} decides what selects a model." if name.startswith("monitor") else ""),
            )
