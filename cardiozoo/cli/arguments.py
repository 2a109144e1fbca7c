"""What people type, made into what LightningCLI parses: recipes, runs and checkpoints become configs below the flags.

From the weakest to the strongest: recipe, its variants, the checkpoint's own hyper-parameters, then configs and flags
in the order in which they were typed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cardiozoo.cards import read_card
from cardiozoo.cli import typed
from cardiozoo.cli.recipes import SYNTHETIC, Recipe, choose, named
from cardiozoo.cli.typed import COMPONENTS, LINKED, merged
from cardiozoo.errors import BrokenPluginError, CheckpointError, OptionError
from cardiozoo.registry import find, normalized, registered

HELP = ("--help", "-h", "--model.help", "--data.help")
LAST = "last"
# Reads the hyper-parameters of a checkpoint; given by the caller because it needs torch.
ReadHyperparameters = Callable[[Path], dict[str, Any]]


@dataclass
class Arguments:
    """The command line after expansion, and what was learnt on the way."""

    command: str
    argv: list[str]  # as typed
    args: list[str]  # as LightningCLI parses it
    asked: dict[str, Any]  # what flags, configs, recipe, run and checkpoint say, as one nested mapping
    typed: dict[str, Any]  # what flags and configs say
    recipes: list[Recipe] = field(default_factory=list)
    recipe_name: str = "none"
    adapted: dict[str, Any] = field(default_factory=dict)  # what of the recipe does not hold for the task asked for
    checkpoint: Path | None = None
    resume: Path | None = None
    source_run: Path | None = None
    run_config: dict[str, Any] = field(default_factory=dict)  # of the source run, before any flag
    run_facts: dict[str, Any] = field(default_factory=dict)  # its run.json
    changed: list[Any] = field(default_factory=list)  # what a resumed run has other than before, see cli/resumed.py

    @property
    def only_looking(self) -> bool:
        """Whether help or a config is asked for, and nothing is to be run."""
        return self.only_help or any(arg.partition("=")[0] == "--print_config" for arg in self.args)

    @property
    def only_help(self) -> bool:
        """Whether help is asked for."""
        return any(arg.partition("=")[0] in HELP for arg in self.args)

    def component(self, kind: str) -> str | None:
        """The class path of ``model`` or ``data``, wherever it was named."""
        return (self.asked.get(kind) or {}).get("class_path")


def expand(argv: list[str], read_hyperparameters: ReadHyperparameters) -> Arguments:
    """Expands ``[command, *options]``.

    Raises:
        UnknownNameError, NameCollisionError: a name that nobody, or more than one package, registered.
        OptionError: a value that the data decide, options that contradict each other, no model or no data.
        CheckpointError: no trained weights, or not those of the model asked for.
    """
    tokens = typed.short_names_in_tokens(typed.with_underscores(argv[1:]))
    asked = typed.as_mapping(tokens)
    typed.refuse_linked(asked)
    result = Arguments(argv[0], list(argv), typed.component_first(tokens), asked, asked)
    _find_weights(result)
    below: list[str] = []
    if result.source_run is not None:
        config = _config_of_run(result)
        if result.checkpoint is not None and not result.only_help:
            config = _completed(config, read_hyperparameters(result.checkpoint))
        result.run_config = config
        result.run_facts = json.loads((result.source_run / "run.json").read_text(encoding="utf-8"))
        result.asked = merged(config, result.asked)
        below = [_inline(config)]
    else:
        config = {}
        if result.checkpoint is not None:
            config = _config_of_checkpoint(result, read_hyperparameters(result.checkpoint))
        result.asked = merged(config, result.asked)
        _find_recipe(result)
        files = [f"--config={recipe.path}" for recipe in result.recipes]
        recipe = typed.as_mapping(files)
        result.adapted = _for_another_task(result, recipe)
        result.asked = merged(merged(merged(recipe, result.adapted), config), result.typed)
        below = [*files, *(_inline(part) for part in (result.adapted, config) if part)]
    _refuse_incomplete(result)
    if not result.only_help:
        weights = [f"--ckpt_path={result.checkpoint}"] if result.checkpoint else []
        result.args = [*below, *result.args, *weights, f"--recipe={result.recipe_name}"]
    return result


def _inline(config: dict[str, Any]) -> str:
    return f"--config={json.dumps(config)}"


def _refuse_incomplete(result: Arguments) -> None:
    if result.only_looking:
        return
    if result.command != "fit" and result.checkpoint is None:
        raise CheckpointError(
            f"`cardiozoo {result.command}` was given no trained weights.",
            "--run RUN (a run folder, its best checkpoint is used) or --ckpt_path FILE.",
            "Train first: cardiozoo fit --model NAME --data NAME",
        )
    for kind in COMPONENTS:
        if result.component(kind) is None:
            names = ", ".join(entries[0].name for entries in registered(kind).values())
            raise OptionError(
                f"`cardiozoo {result.command}` was given no --{kind}.",
                f"One of {names}; or a class path.",
                "`cardiozoo list` tells what they are.",
            )


# --- runs and checkpoints ----------------------------------------------------------------------------------------


def _find_weights(result: Arguments) -> None:
    """Takes --run, --resume and --ckpt_path out of the arguments and checks that what they name is there."""
    asked = {key: result.asked.get(key) for key in ("run", "resume", "ckpt_path")}
    given = [key for key, value in asked.items() if value is not None]
    result.args = _without(result.args, ("run", "resume", "ckpt_path", "recipe"))
    if len(given) > 1 and given != ["run", "ckpt_path"]:
        raise OptionError(
            f"Options that exclude one another: {', '.join('--' + key for key in given)}.",
            "One of them.",
            f"Leave out {' or '.join('--' + key for key in given)}.",
        )
    if asked["run"] is not None and result.command == "fit":
        raise OptionError(
            "`cardiozoo fit` takes no --run.",
            "--resume RUN, which continues a run that was stopped.",
            f"cardiozoo fit --resume {asked['run']}",
        )
    if asked["resume"] is not None and result.command != "fit":
        raise OptionError(
            f"`cardiozoo {result.command}` takes no --resume.",
            "--run RUN, which takes the weights of a run.",
            f"cardiozoo {result.command} --run {asked['resume']}",
        )
    if asked["ckpt_path"] == LAST and result.command == "fit":
        asked |= {"resume": _newest_run(result), "ckpt_path": None}
    folder = asked["run"] or asked["resume"]
    if folder is not None:
        result.source_run = Path(str(folder))
        _check_run(result.source_run)
        result.resume = result.source_run if asked["resume"] is not None else None
        result.checkpoint = _weights_of_run(result.source_run, "last.ckpt" if result.resume else "best.ckpt")
    if asked["ckpt_path"] is not None:
        result.checkpoint = Path(str(asked["ckpt_path"]))
    if result.checkpoint is not None and not result.checkpoint.is_file():
        raise CheckpointError(
            f"There is no checkpoint {result.checkpoint}.",
            "A checkpoint file, for example RUN/checkpoints/best.ckpt.",
            "To continue a run that was stopped: cardiozoo fit --resume RUN",
        )


def _weights_of_run(run: Path, name: str) -> Path:
    """A checkpoint of a run; the last one stands for the best one of a finished run that had no validation."""
    folder = run / "checkpoints"
    if not (folder / name).is_file() and (folder / "last.ckpt").is_file() and not _has_best(run):
        return folder / "last.ckpt"
    return folder / name


def _has_best(run: Path) -> bool:
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return facts.get("status") != "completed" or bool((facts.get("checkpoint") or {}).get("best"))


def _without(tokens: list[str], keys: tuple[str, ...]) -> list[str]:
    gone: set[int] = set()
    for i, key, value in typed.options(tokens):
        if key in keys:
            gone |= {i} if "=" in tokens[i] or value is None else {i, i + 1}
    return [token for i, token in enumerate(tokens) if i not in gone]


def _newest_run(result: Arguments) -> Path:
    """The run of this model and data whose last checkpoint is the newest."""
    names = [registered_name(kind, result.component(kind)) or "*" for kind in COMPONENTS]
    runs = Path(str(result.asked.get("runs", "runs")))
    found = sorted(runs.glob(f"{names[0]}/{names[1]}/*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise CheckpointError(
            f"There is no run of {names[0]} on {names[1]} with a last checkpoint in {runs}.",
            "A run that was stopped after its first checkpoint.",
            "Name it: cardiozoo fit --resume RUN",
        )
    return found[-1].parent.parent


def _check_run(run: Path) -> None:
    if not (run / "config.yaml").is_file() or not (run / "run.json").is_file():
        raise CheckpointError(
            f"{run} is not a run folder.",
            "A folder with config.yaml, run.json and checkpoints/, as `cardiozoo fit` writes it.",
            "Look below runs/, or give a checkpoint file with --ckpt_path.",
        )


def _config_of_run(result: Arguments) -> dict[str, Any]:
    """What a run was made with; another command takes model, data and seed from it but not how its trainer ran."""
    config = typed.read_config(str(result.source_run / "config.yaml"))
    result.recipe_name = str(config.pop("recipe", "none"))
    for key in ("run_dir", "runs", "ckpt_path", "weights_only"):
        config.pop(key, None)
    if result.command == "fit":
        return config
    trainer = {key: config["trainer"][key] for key in ("precision", "accelerator") if key in config.get("trainer", {})}
    return {key: config[key] for key in ("model", "data", "seed_everything") if key in config} | {"trainer": trainer}


def _completed(config: dict[str, Any], hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """The config of a run with what the model settled itself when it was built: options the config left open."""
    init = (config.get("model") or {}).get("init_args") or {}
    settled = {key: hyperparameters[key] for key, value in init.items() if value is None and key in hyperparameters}
    settled = {key: value for key, value in settled.items() if value is not None and key not in LINKED}
    return merged(config, {"model": {"init_args": settled}}) if settled else config


def _config_of_checkpoint(result: Arguments, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """The model of a checkpoint, to be laid below what was typed: a flag is never overridden by a checkpoint."""
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


# --- recipes -----------------------------------------------------------------------------------------------------


def _find_recipe(result: Arguments) -> None:
    asked = result.asked.get("recipe", "auto")
    if asked in ("none", None):
        return
    if asked != "auto":
        result.recipes, result.recipe_name = named(str(asked)), str(asked)
        return
    names = [registered_name(kind, result.component(kind)) for kind in COMPONENTS]
    if None in names:
        return
    model, data = map(str, names)
    options = result.asked["data"].get("init_args") or {}
    synthetic = options.get("store") is None and _has_synthetic_default(data)
    result.recipes = choose(model, data, options.get("task"), synthetic)
    if result.recipes:
        variants = [recipe.variant for recipe in result.recipes if recipe.variant]
        result.recipe_name = ".".join([result.recipes[0].pair, *variants])


def registered_name(kind: str, path: str | None) -> str | None:
    entries = [entry for claimants in registered(kind).values() for entry in claimants]
    return next((entry.name for entry in entries if entry.class_path == path), None)


def _has_synthetic_default(data: str) -> bool:
    return bool(_card("data", data).get("synthetic_default"))


def _card(kind: str, name: str) -> dict[str, Any]:
    try:
        return read_card(find(kind, name))
    except BrokenPluginError:
        return {}


def _for_another_task(result: Arguments, recipe: dict[str, Any]) -> dict[str, Any]:
    """Values of the data card for options that a recipe set for its own task, when another task is asked for."""
    path = result.component("data")
    name = None if path is None else registered_name("data", path)
    here, asked = (((part.get("data") or {}).get("init_args") or {}) for part in (recipe, result.asked))
    if name is None or asked.get("task") in (None, here.get("task")):
        return {}
    options = _card("data", name).get("options") or []
    values = {o["name"]: o["other_task"] for o in options if isinstance(o, dict) and "other_task" in o}
    values = {key: value for key, value in values.items() if here.get(key, value) != value and key not in asked}
    return {"data": {"class_path": path, "init_args": values}} if values else {}


def announce(result: Arguments) -> None:
    """Says on stderr which recipe was found, and aloud that a small preset for synthetic data is not the paper's."""
    if result.source_run is not None:
        print(f"cardiozoo: model, data and recipe ({result.recipe_name}) of {result.source_run}", file=sys.stderr)
        return
    if result.recipes:
        files = ", then ".join(f"{recipe.name} ({recipe.package})" for recipe in result.recipes)
        print(f"cardiozoo: recipe {files}; flags win over it, --recipe none leaves it out", file=sys.stderr)
        for key, value in ((result.adapted.get("data") or {}).get("init_args") or {}).items():
            print(f"cardiozoo: the recipe is for another task, so its {key} is left out: {value}", file=sys.stderr)
    elif normalized(result.command) == "fit":
        print("cardiozoo: no recipe; every value that is not given is the model's own default", file=sys.stderr)
    if any(recipe.variant == SYNTHETIC for recipe in result.recipes):
        own_store = ((result.asked.get("data") or {}).get("init_args") or {}).get("store") is not None
        print(
            "cardiozoo: a SMALL PRESET of the model, made for the synthetic demo cohort and not the paper's"
            if own_store
            else "cardiozoo: no --data.store, so this is the synthetic demo cohort with a SMALL PRESET of the model; "
            "nothing it measures is a result about patients",
            file=sys.stderr,
        )
