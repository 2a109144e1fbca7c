"""What people type, made into what LightningCLI parses: short names, recipes, runs and checkpoints become configs.

Nothing here imports torch or a plugin, so a misspelt name is answered at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cardiozoo.cards import read_card
from cardiozoo.cli.recipes import SYNTHETIC, Recipe, choose, named
from cardiozoo.errors import BrokenPluginError, CheckpointError, OptionError
from cardiozoo.registry import find, normalized, registered

# Parameters of a model that the data module answers; nobody types them.
LINKED = ("num_classes", "class_names", "task_kind", "ehr_channels", "monitor", "monitor_mode")
COMPONENTS = ("model", "data")
LOOKING = ("--help", "-h", "--print_config", "--model.help", "--data.help")
# Reads the hyper-parameters of a checkpoint; given by the caller because it needs torch.
ReadHyperparameters = Callable[[Path], dict[str, Any]]


@dataclass
class Arguments:
    """The command line after expansion, and what was learnt on the way."""

    command: str
    typed: list[str]
    args: list[str]
    asked: dict[str, Any]  # typed by hand and in --config files, as one nested mapping
    recipes: list[Recipe] = field(default_factory=list)
    recipe_name: str = "none"
    checkpoint: Path | None = None
    resume: Path | None = None
    source_run: Path | None = None

    @property
    def only_looking(self) -> bool:
        return any(arg.partition("=")[0] in LOOKING for arg in self.args)

    def component(self, key: str) -> str | None:
        """The class path asked for as ``model`` or ``data``, from flags, configs, recipe or run."""
        return (self.asked.get(key) or {}).get("class_path")


def expand(argv: list[str], read_hyperparameters: ReadHyperparameters) -> Arguments:
    """Expands ``[command, *options]``.

    Raises:
        UnknownNameError, NameCollisionError: a name that nobody, or more than one package, registered.
        OptionError: a value typed by hand that the data decide, or options that contradict each other.
        CheckpointError: no trained weights, or not those of the model asked for.
    """
    command, tokens = argv[0], _class_paths(with_underscores(argv[1:]))
    result = Arguments(command, list(argv), _component_first(tokens), _asked(tokens))
    _refuse_linked(result.asked)
    _find_run(result)
    below: list[str] = []
    if result.source_run is not None:
        below += [_inline(_config_of_run(result.source_run, result))]
    else:
        _find_recipe(result)
        below += [f"--config={recipe.path}" for recipe in result.recipes]
        if result.checkpoint is not None:
            below += [_inline(_config_of_checkpoint(result, read_hyperparameters(result.checkpoint)))]
    for argument in reversed(below):
        result.asked = _merged(_asked([argument]), result.asked)
    if command != "fit" and result.checkpoint is None and not result.only_looking:
        raise CheckpointError(
            f"`cardiozoo {command}` was given no trained weights.",
            "--run RUN (a run folder, its best checkpoint is used) or --ckpt_path FILE.",
            "Train first: cardiozoo fit --model NAME --data NAME",
        )
    above = [f"--ckpt_path={result.checkpoint}"] if result.checkpoint else []
    above += [f"--recipe={result.recipe_name}"]
    result.args = [*below, *result.args, *above]
    return result


# --- the command line as typed -----------------------------------------------------------------------------------


def with_underscores(tokens: list[str]) -> list[str]:
    """``--data.batch-size=4`` and ``--data.batch_size=4`` are the same option; values stay as they are."""
    changed = []
    for token in tokens:
        key, equals, value = token.partition("=")
        changed.append("--" + key[2:].replace("-", "_") + equals + value if key.startswith("--") else token)
    return changed


def _options(tokens: list[str]) -> list[tuple[int, str, str | None]]:
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


def _class_paths(tokens: list[str]) -> list[str]:
    changed = list(tokens)
    for i, key, value in _options(tokens):
        component, _, rest = key.partition(".")
        names_a_class = component in COMPONENTS and rest in ("", "class_path", "help")
        if names_a_class and value and not value.lstrip().startswith("{"):
            path = class_path(component, value)
            if "=" in tokens[i]:
                changed[i] = f"--{key}={path}"
            else:
                changed[i + 1] = path
    return changed


def _component_first(tokens: list[str]) -> list[str]:
    """Moves ``--model X`` before the first ``--model.option``, where the parser needs it."""
    for component in COMPONENTS:
        options = _options(tokens)
        at = next((i for i, key, _ in options if key in (component, f"{component}.class_path")), None)
        first = next((i for i, key, _ in options if key.startswith(f"{component}.") and not key.endswith("help")), None)
        if at is not None and first is not None and first < at:
            width = 1 if "=" in tokens[at] else 2
            moved = tokens[at : at + width]
            rest = tokens[:at] + tokens[at + width :]
            tokens = rest[:first] + moved + rest[first:]
    return tokens


def _asked(tokens: list[str]) -> dict[str, Any]:
    """All that the tokens and the --config files among them say, as one nested mapping; later ones win."""
    asked: dict[str, Any] = {}
    for _, key, value in _options(tokens):
        if key == "config" and value:
            asked = _merged(asked, _read_config(value))
        elif value is not None:
            asked = _merged(asked, _with_class_paths(_nested(key.split("."), _parsed(value))))
    return asked


def _nested(path: list[str], value: Any) -> dict[str, Any]:
    if path[0] in COMPONENTS and len(path) > 1 and path[1] not in ("init_args", "class_path", "dict_kwargs", "help"):
        path = [path[0], "init_args", *path[1:]]
    for key in reversed(path):
        value = {key: value}
    return value


def _parsed(value: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _read_config(value: str) -> dict[str, Any]:
    import yaml

    try:
        inline = value.lstrip().startswith("{")
        loaded = yaml.safe_load(value if inline else Path(value).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError(
            f"--config {value} cannot be read: {error}", "A YAML file with the keys model, data, trainer, ..."
        ) from error
    return _with_class_paths(loaded) if isinstance(loaded, dict) else {}


def _with_class_paths(config: dict[str, Any]) -> dict[str, Any]:
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
        key: _with_class_paths(value)
        if isinstance(value, dict) and key in ("fit", "validate", "test", "predict")
        else value
        for key, value in _with_class_paths(loaded).items()
    }


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merged(result[key], value)
        else:
            result[key] = value
    return result


def _refuse_linked(asked: dict[str, Any]) -> None:
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


# --- runs and checkpoints ----------------------------------------------------------------------------------------


def _find_run(result: Arguments) -> None:
    """Takes --run, --resume and --ckpt_path out of the arguments and checks that what they name is there."""
    asked = {key: result.asked.get(key) for key in ("run", "resume", "ckpt_path")}
    given = [key for key, value in asked.items() if value is not None]
    if len(given) > 1 and not (result.command != "fit" and set(given) == {"run", "ckpt_path"}):
        raise OptionError(
            f"Options that exclude one another: {', '.join('--' + key for key in given)}.", "One of them."
        )
    if asked["run"] is not None and result.command == "fit":
        raise OptionError("`cardiozoo fit` takes no --run.", "--resume RUN continues a run.")
    if asked["resume"] is not None and result.command != "fit":
        raise OptionError(f"`cardiozoo {result.command}` takes no --resume.", "--run RUN uses the weights of a run.")
    folder = asked["run"] or asked["resume"]
    if folder is not None:
        result.source_run = Path(str(folder))
        _check_run(result.source_run)
        result.resume = result.source_run if asked["resume"] is not None else None
        name = "last" if result.resume else "best"
        result.checkpoint = result.source_run / "checkpoints" / f"{name}.ckpt"
    if asked["ckpt_path"] is not None:
        result.checkpoint = Path(str(asked["ckpt_path"]))
    if result.checkpoint is not None and not result.checkpoint.is_file():
        raise CheckpointError(
            f"There is no checkpoint {result.checkpoint}.",
            "A checkpoint file, for example RUN/checkpoints/best.ckpt.",
            "To continue a run that was stopped: cardiozoo fit --resume RUN",
        )
    result.args = _without(result.args, ("run", "resume", "ckpt_path", "recipe"))


def _without(tokens: list[str], keys: tuple[str, ...]) -> list[str]:
    gone: set[int] = set()
    for i, key, value in _options(tokens):
        if key in keys:
            gone |= {i} if "=" in tokens[i] or value is None else {i, i + 1}
    return [token for i, token in enumerate(tokens) if i not in gone]


def _check_run(run: Path) -> None:
    if not (run / "config.yaml").is_file() or not (run / "run.json").is_file():
        raise CheckpointError(
            f"{run} is not a run folder.",
            "A folder with config.yaml, run.json and checkpoints/, as `cardiozoo fit` writes it.",
            "Look below runs/, or give a checkpoint file with --ckpt_path.",
        )


def _config_of_run(run: Path, result: Arguments) -> dict[str, Any]:
    """What a run was made with; another command takes model, data and seed from it but not how its trainer ran."""
    config = _read_config(str(run / "config.yaml"))
    result.recipe_name = str(config.pop("recipe", "none"))
    for key in ("run_dir", "runs", "ckpt_path", "weights_only"):
        config.pop(key, None)
    if result.command == "fit":
        return config
    trainer = {key: config["trainer"][key] for key in ("precision", "accelerator") if key in config.get("trainer", {})}
    return {key: config[key] for key in ("model", "data", "seed_everything") if key in config} | {"trainer": trainer}


def _config_of_checkpoint(result: Arguments, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """The model of a checkpoint, below what was typed: a flag is never overridden by a checkpoint."""
    trained = hyperparameters.get("_class_path")
    asked = result.component("model")
    if trained is None:
        if asked is None:
            raise CheckpointError(
                f"{result.checkpoint} does not say which model it holds.",
                "A checkpoint that cardiozoo wrote.",
                "Name the model with --model.",
            )
        return {}
    if asked is not None and asked != trained:
        raise CheckpointError(
            f"{result.checkpoint} holds a {trained}, but --model asks for {asked}.",
            "A checkpoint of the model asked for.",
            "Leave --model out, or give another --ckpt_path.",
        )
    init = {key: value for key, value in hyperparameters.items() if not key.startswith("_") and key not in LINKED}
    return {"model": {"class_path": trained, "init_args": init}}


def _inline(config: dict[str, Any]) -> str:
    return f"--config={json.dumps(config)}"


# --- recipes -----------------------------------------------------------------------------------------------------


def _find_recipe(result: Arguments) -> None:
    asked = result.asked.get("recipe", "auto")
    if asked in ("none", None):
        return
    if asked != "auto":
        result.recipes = named(str(asked))
        result.recipe_name = str(asked)
        return
    names = [_registered_name(kind, result.component(kind)) for kind in COMPONENTS]
    if None in names:
        return
    model, data = map(str, names)
    options = result.asked["data"].get("init_args") or {}
    synthetic = options.get("store") is None and _has_synthetic_default(data)
    result.recipes = choose(model, data, options.get("task"), synthetic)
    if result.recipes:
        variants = [recipe.variant for recipe in result.recipes if recipe.variant]
        result.recipe_name = ".".join([result.recipes[0].pair, *variants])


def _registered_name(kind: str, path: str | None) -> str | None:
    for name, claimants in registered(kind).items():
        if any(entry.class_path == path for entry in claimants):
            return name
    return None


def _has_synthetic_default(data: str) -> bool:
    try:
        return bool(read_card(find("data", data)).get("synthetic_default"))
    except BrokenPluginError:
        return False


def announce(result: Arguments) -> None:
    """Says on stderr which recipe was found, and aloud that a small preset for synthetic data is not the paper's."""
    if result.source_run is not None:
        print(f"cardiozoo: model, data and recipe ({result.recipe_name}) of {result.source_run}", file=sys.stderr)
    elif result.recipes:
        files = ", then ".join(f"{recipe.name} ({recipe.package})" for recipe in result.recipes)
        print(f"cardiozoo: recipe {files}; flags win over it, --recipe none leaves it out", file=sys.stderr)
    if any(recipe.variant == SYNTHETIC for recipe in result.recipes):
        print(
            "cardiozoo: no --data.store, so this is the synthetic demo cohort with a SMALL PRESET of the model; "
            "nothing it measures is a result about patients",
            file=sys.stderr,
        )
    elif not result.recipes and result.recipe_name == "none" and normalized(result.command) == "fit":
        print("cardiozoo: no recipe; every value that is not given is the model's own default", file=sys.stderr)
