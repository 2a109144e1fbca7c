"""What may change when a run is resumed: how long it trains, on which machine, what is shown. Nothing else.

A run is one training. Weights that saw two sets of samples, or two networks in one folder, are no run that could be
repeated; and a checkpoint brings the state of the optimiser back, so a new learning rate would be said and not used.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule

from cardiozoo.cli.arguments import Arguments
from cardiozoo.errors import CheckpointError, OptionError
from cardiozoo.training.checkpoints import read_hyperparameters

# Whatever is not among these is refused.
FREE = {
    "trainer": (
        *("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time"),
        *("accelerator", "strategy", "devices", "num_nodes"),
        *("logger", "log_every_n_steps", "enable_progress_bar", "enable_model_summary", "enable_autolog_hparams"),
        *("profiler", "detect_anomaly", "num_sanity_val_steps", "default_root_dir", "model_registry"),
    ),
    # The manifest of a store that lies elsewhere is compared with that of the run.
    "data.init_args": ("store", "num_workers", "pin_memory", "persistent_workers", "prefetch_factor", "predict_split"),
    "": ("save_every_n_steps", "evaluate", "n_bootstrap"),
}
# Callbacks that look on.
WATCHERS = (
    *("ProgressBar", "TQDMProgressBar", "RichProgressBar", "ModelSummary", "RichModelSummary"),
    *("LearningRateMonitor", "DeviceStatsMonitor", "ThroughputMonitor"),
)
# Said of one command and not of a run.
OF_THE_COMMAND = ("runs", "run_dir", "recipe", "ckpt_path", "weights_only", "config")
# For Lightning 1 is one batch and 1.0 all of them.
COUNT_OR_SHARE = ("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches")
COUNT_OR_SHARE += ("overfit_batches", "val_check_interval")
# What an option of the trainer stands for when it is left open, and short names of precisions.
OPEN = dict.fromkeys((*COUNT_OR_SHARE[:4], "val_check_interval"), 1.0)
OPEN |= {"precision": "32-true", "deterministic": False, "enable_checkpointing": True}
PRECISIONS = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true"}
# What says how many steps there are; check_processes holds the steps of an epoch.
PLANNED = ("trainer.max_epochs", "trainer.max_steps")
_ABSENT = object()


@dataclass(frozen=True)
class Change:
    """One option that a resumed run has other than before, by its dotted key."""

    key: str
    before: Any
    now: Any

    @property
    def option(self) -> str:
        """The key as it is typed."""
        return self.key.replace(".init_args.", ".").removesuffix(".class_path")

    def __str__(self) -> str:
        return f"{self.option} was {self.before}, now {self.now}"


def allowed_changes(arguments: Arguments, config: dict[str, Any], defaults: dict[str, Any]) -> list[Change]:
    """What was typed with ``--resume`` and differs from the run; nothing in the run folder is touched.

    Args:
        arguments: The expanded command line.
        config: The options as parsed, all of them.
        defaults: Default of each option by its dotted key, for options that the run's config does not know.

    Raises:
        OptionError: Something differs that decides the weights, or the training would end before it is resumed.
    """
    assert arguments.resume is not None and arguments.checkpoint is not None
    found = [*_of_the_folder(arguments), *_differences(arguments, config, defaults)]
    refused = [change for change in found if not _is_free(change, arguments.run_facts)]
    if refused:
        raise OptionError(
            f"Options other than those that {arguments.resume} was begun with: {'; '.join(map(str, refused))}.",
            "How long it trains (trainer.max_epochs, max_steps, max_time), accelerator, workers, where the store lies, "
            "progress and logging. What decides the samples, the network or its optimiser stays.",
            f"Leave them out to go on. A new run with them: cardiozoo fit --config {arguments.resume}/config.yaml "
            f"--run_dir NEW from the beginning; with --ckpt_path {arguments.checkpoint} from these weights and this "
            "state of the optimiser, its learning rate included.",
        )
    _check_length(arguments, found)
    return found


def check_hyperparameters(run: Path, checkpoint: Path, model: LightningModule, options: dict[str, Any]) -> None:
    """Compares the model that the run's config builds with the one in its checkpoint.

    Args:
        run: The run folder.
        checkpoint: Its last checkpoint.
        model: The model, built.
        options: Its ``init_args``; what else a model notes among its hyper-parameters is its own affair.

    Raises:
        CheckpointError: They differ.
    """
    trained, built = read_hyperparameters(checkpoint), model.hparams
    for key in options:
        then, now = trained.get(key), built.get(key)
        # None stands for what the model settles when it sees data; then the checkpoint alone knows it.
        if key not in trained or now is None or same(then, now):
            continue
        earlier = sorted(run.glob("config.before-*.yaml"), key=lambda path: path.stat().st_mtime)
        raise CheckpointError(
            f"{run / 'config.yaml'} says model.{key} = {now}, but {checkpoint.name} was trained with {then}.",
            "The config that its weights were trained with.",
            f"Earlier ones lie beside it: {', '.join(path.name for path in earlier)}. Copy the right one over it."
            if earlier
            else f"Put {key} right in it, or take the weights alone: cardiozoo fit --ckpt_path {checkpoint}",
        )


def check_processes(run: Path, facts: dict[str, Any], processes: int) -> None:
    """Compares how many processes share a batch: the position within an epoch is counted in steps of all of them.

    Args:
        run: The run folder.
        facts: Its run.json.
        processes: How many there are now.

    Raises:
        OptionError: More or fewer than before.
    """
    before = facts.get("devices")
    if isinstance(before, int) and before != processes:
        raise OptionError(
            f"{run} was trained by {before} process{'es' if before > 1 else ''}, and would go on with {processes}.",
            f"As many: each takes a batch of its own, so {before} of them make one step.",
            f"--trainer.devices {before}, with --trainer.accelerator cpu where there are fewer GPUs.",
        )


def same(then: Any, now: Any, exact: bool = False) -> bool:
    """Whether two values of an option mean the same: 1 and 1.0 (unless ``exact``), two ways to write one path."""
    if isinstance(then, dict) and isinstance(now, dict):
        return then.keys() == now.keys() and all(same(then[key], now[key], exact) for key in then)
    if isinstance(then, list | tuple) and isinstance(now, list | tuple):
        return len(then) == len(now) and all(same(a, b, exact) for a, b in zip(then, now, strict=True))
    if isinstance(then, bool) or isinstance(now, bool):
        return then is now
    if isinstance(then, int | float) and isinstance(now, int | float):
        alike = then == now or (math.isnan(then) and math.isnan(now))
        return alike and (not exact or type(then) is type(now))
    if isinstance(then, str | Path) and isinstance(now, str | Path):
        then, now = str(then), str(now)
        return then == now or (os.path.exists(now) and os.path.realpath(then) == os.path.realpath(now))
    return bool(then == now)


def as_begun(text: str, before: str) -> str:
    """A config as YAML with what ``before`` says of the folder and the checkpoint that the run was begun with."""
    said, kept = yaml.safe_load(text), yaml.safe_load(before)
    return yaml.safe_dump(said | {key: kept[key] for key in OF_THE_COMMAND if key in kept}, sort_keys=False)


# --- differences -------------------------------------------------------------------------------------------------


def _of_the_folder(arguments: Arguments) -> Iterator[Change]:
    """``--recipe`` and ``--run_dir``, which a run has already."""
    recipe, folder = arguments.typed.get("recipe"), arguments.typed.get("run_dir")
    if recipe not in (None, "auto", arguments.recipe_name):
        yield Change("recipe", arguments.recipe_name, recipe)
    if folder is not None and not same(str(arguments.resume), str(folder)):
        yield Change("run_dir", arguments.resume, folder)


def _differences(arguments: Arguments, config: dict[str, Any], defaults: dict[str, Any]) -> Iterator[Change]:
    """Only what was typed is looked at: the rest is the run's own, however its config may have been written."""
    before, now = _flat(arguments.run_config), _flat(config)
    typed = [key.replace("+", "") for key in _flat(arguments.typed)]
    replaced = [
        f"{kind}." for kind in ("model", "data") if before.get(f"{kind}.class_path") != now.get(f"{kind}.class_path")
    ]
    for key in dict.fromkeys([*before, *now]):
        own = key.startswith(tuple(replaced)) and not key.endswith("class_path")
        if key in OF_THE_COMMAND or own or not any(_about(name, key) for name in typed):
            continue
        then, here = before.get(key, defaults.get(key, _ABSENT)), now.get(key)
        if key.startswith("trainer."):
            then, here = (_in_full(key.removeprefix("trainer."), value) for value in (then, here))
        if key in ("monitor", "monitor_mode") and then is None:  # left open, the task decides
            then = (arguments.run_facts.get("task") or {}).get(key.removeprefix("monitor_"))
        if not same(then, here, key.removeprefix("trainer.") in COUNT_OR_SHARE):
            yield Change(key, "not known" if then is _ABSENT else then, here)


def _in_full(name: str, value: Any) -> Any:
    if name == "devices":
        return str(value)
    value = OPEN.get(name) if value is None else value
    return PRECISIONS.get(str(value), value) if name == "precision" else value


def _about(typed: str, key: str) -> bool:
    return typed == key or typed.startswith(f"{key}.") or key.startswith(f"{typed}.")


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if prefix == "trainer.":  # what may be a class is compared as one value
            flat[prefix + key] = [value] if isinstance(value, dict) else value
        elif isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _is_free(change: Change, facts: dict[str, Any]) -> bool:
    if change.key == "trainer.callbacks":
        return same(_acting(change.before), _acting(change.now))
    if change.key == "data.init_args.store" and (facts.get("data") or {}).get("manifest_sha256") is None:
        return False  # nothing tells whether it is the same store
    return any(change.key == f"{part}.{name}".lstrip(".") for part, names in FREE.items() for name in names)


def _acting(callbacks: Any) -> list[Any]:
    """The callbacks that may change what is learnt."""
    given = callbacks if isinstance(callbacks, list) else [] if callbacks in (None, "not known") else [callbacks]
    paths = [part.get("class_path") if isinstance(part, dict) else part for part in given]
    return [part for part, path in zip(given, paths, strict=True) if str(path).rpartition(".")[2] not in WATCHERS]


# --- how long ----------------------------------------------------------------------------------------------------


def _check_length(arguments: Arguments, changes: list[Change]) -> None:
    import torch

    planned = [change for change in changes if change.key in PLANNED]
    if not planned:
        return
    content = torch.load(arguments.checkpoint, map_location="meta", mmap=True, weights_only=True)
    if any("total_steps" in state for state in content.get("lr_schedulers") or []):
        raise OptionError(
            f"The learning rate of {arguments.resume} follows a schedule planned to its last step: "
            f"{'; '.join(map(str, planned))}.",
            "The length that the run was begun with: the schedule has no value for other steps.",
            f"Leave {', '.join('--' + change.option for change in planned)} out, or begin a new run of that length.",
        )
    progress = ((content.get("loops") or {}).get("fit_loop") or {}).get("epoch_progress") or {}
    epochs = (progress.get("current") or {}).get("processed", 0)
    done = {"trainer.max_epochs": int(epochs), "trainer.max_steps": int(content["global_step"])}
    for change in planned:
        trained = done.get(change.key, 0)
        if isinstance(change.now, int) and 0 <= change.now < trained:
            raise OptionError(
                f"--{change.option} {change.now}, but {arguments.resume} has {trained} behind it already.",
                f"At least {trained}, or -1 for no limit.",
                f"Leave --{change.option} out to end where the run was to end.",
            )
