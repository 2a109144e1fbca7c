"""LightningCLI with short names, links from data to model, run folders, and judging after training."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader, set_dumper, set_loader
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException

from cardiozoo.cli.arguments import Arguments
from cardiozoo.cli.parser_errors import in_three_parts, unknown_option
from cardiozoo.cli.resumed import allowed_changes
from cardiozoo.cli.session import Session
from cardiozoo.cli.typed import COMPONENTS, LINKED, load_config
from cardiozoo.errors import BrokenPluginError, CardiozooError, OptionError
from cardiozoo.registry import registered, resolve
from cardiozoo.training.checkpoints import check_linked, read_hyperparameters

SEED, PATIENCE = 0, 10
EPILOG = "Names: --model {models}; --data {data}. Options of one: cardiozoo {command} --model.help NAME"
TRAINER_DEFAULTS: dict[str, Any] = {"devices": 1, "log_every_n_steps": 10, "max_epochs": 50}
MODE = "cardiozoo"

set_loader(MODE, lambda text: load_config(text, get_loader("yaml")), exceptions=(yaml.YAMLError, CardiozooError))
set_dumper(MODE, lambda data: yaml.safe_dump(data, sort_keys=False))

_interrupted = False


def run_interrupted() -> bool:
    """Whether Lightning ended this process because of Ctrl-C, which it turns into an ordinary failure."""
    return _interrupted


class ZooCLI(LightningCLI):
    """Parses, builds and runs one command.

    Args:
        arguments: The expanded command line.
    """

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments
        self.linked: dict[str, Any] = {}
        self.session: Session | None = None
        for kind in COMPONENTS:
            _refuse_unknown_options(kind, arguments)
        _hand_the_seed_to_the_data(arguments)
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,  # the run folder holds it, see Session
            auto_configure_optimizers=False,  # the optimiser is part of the model
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=SEED,
            parser_kwargs={
                "prog": "cardiozoo",
                "parser_mode": MODE,
                "allow_abbrev": False,
                "exit_on_error": False,
                **_parser_options(),
            },
            args=[arguments.command, *arguments.args],
        )

    # --- Parsing -------------------------------------------------------------------------------------------------

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        _add_run_options(parser)
        for parameter in self._linked_parameters():
            parser.link_arguments(
                "data", f"model.init_args.{parameter.name}", compute_fn=self._ask(parameter), apply_on="instantiate"
            )

    def _linked_parameters(self) -> list[inspect.Parameter]:
        """The parameters of the model asked for that the data answer; all of them if no model was asked for."""
        path = self.arguments.component("model")
        if path is None:
            return [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in LINKED]
        parameters = _init_parameters(resolve(path, "model"))
        return [parameters[name] for name in LINKED if name in parameters]

    def _ask(self, parameter: inspect.Parameter) -> Any:
        def answer(data: LightningDataModule) -> Any:
            value = self._monitor(data)[parameter.name] if parameter.name.startswith("monitor") else None
            if value is None:
                value = getattr(data, parameter.name, parameter.default)
            if parameter.name == "ecg_leads" and self.arguments.checkpoint is not None:
                value = self._known_leads(value)
            if value is inspect.Parameter.empty:
                raise BrokenPluginError(
                    f"{type(data).__name__} does not say {parameter.name!r}, which the model needs.",
                    f"A data module with the property {parameter.name}.",
                    "cardiozoo.testing.check_datamodule tells what else it needs.",
                )
            self.linked[parameter.name] = value
            return value

        return answer

    def _known_leads(self, shown: list[str]) -> list[str]:
        """The leads that a trained model knows: it is built with these, and what the data do not show is absent."""
        hyperparameters = read_hyperparameters(self.arguments.checkpoint)
        check_linked(self.arguments.checkpoint, hyperparameters, {"ecg_leads": shown})
        known = hyperparameters.get("ecg_leads") or shown
        if list(known) != list(shown):
            seen = f"the model knows {len(known)} leads, the data show {', '.join(shown)}"
            print(f"cardiozoo: {seen}; the others are absent", file=sys.stderr)
        return list(known)

    def _monitor(self, data: LightningDataModule) -> dict[str, str]:
        """What selects a model: as typed, else as the data's task says, else the validation loss."""
        typed, mode = self._get(self.config, "monitor"), self._get(self.config, "monitor_mode")
        monitor = typed or getattr(data, "monitor", "val/loss")
        if mode is None:
            mode = getattr(data, "monitor_mode", None) if typed in (None, getattr(data, "monitor", None)) else None
        return {"monitor": monitor, "monitor_mode": mode or ("min" if "loss" in monitor else "max")}

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        command, paths = self.arguments.command, {kind: self.arguments.component(kind) for kind in COMPONENTS}
        classes = {kind: path for kind, path in paths.items() if path is not None}
        with in_three_parts(self._parser(command), f"cardiozoo {command}", args, classes):
            self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        # The checkpoint's hyper-parameters are already among the arguments, below the flags and not above them.
        pass

    def before_instantiate_classes(self) -> None:
        trainer = self._get(self.config, "trainer")
        _refuse_half_precision_without_gpu(trainer)
        if self.subcommand == "fit" and self._get(self.config, "evaluate") and trainer.enable_checkpointing is False:
            raise OptionError(
                "--trainer.enable_checkpointing false leaves no best checkpoint to test.",
                "Checkpoints, or no test after training.",
                "Add --evaluate false.",
            )
        if self.arguments.resume is not None:
            config = yaml.safe_load(self._config_text())
            self.arguments.changed = allowed_changes(self.arguments, config, self._defaults())

    # --- Building ------------------------------------------------------------------------------------------------

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except (ValueError, MisconfigurationException) as error:
            raise _reason(error) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self._get(self.config, "trainer")
        given = self._get(self.config_init, "trainer")
        command = self.config[self.subcommand]
        self.session = Session(self.arguments, command, self.model, self.datamodule, self.linked, self._defaults())
        self.session.open_folder(self._config_text())
        kwargs |= self.session.trainer_arguments(given, **self._monitor(self.datamodule))
        if config.enable_progress_bar is None:
            kwargs["enable_progress_bar"] = sys.stderr.isatty()
        if config.enable_model_summary is None:
            kwargs["enable_model_summary"] = False  # one line says how many parameters
        return super().instantiate_trainer(**kwargs)

    def _config_text(self) -> str:
        return str(self._parser(self.subcommand).dump(self.config[self.subcommand], skip_none=False))

    def _defaults(self) -> dict[str, Any]:
        """Default of every option of model, data and trainer, by its dotted key."""
        paths = {kind: self.arguments.component(kind) for kind in COMPONENTS}
        classes = {f"{kind}.init_args": resolve(path, kind) for kind, path in paths.items() if path is not None}
        classes["trainer"] = Trainer
        found = {f"{k}.{p.name}": p.default for k, cls in classes.items() for p in _init_parameters(cls).values()}
        found |= {f"trainer.{key}": value for key, value in TRAINER_DEFAULTS.items()}
        return found | {"monitor": None, "monitor_mode": None, "patience": PATIENCE, "seed_everything": SEED}

    # --- Running -------------------------------------------------------------------------------------------------

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        quiet = {"verbose": False} if subcommand in ("validate", "test") else {}
        return {**super()._prepare_subcommand_kwargs(subcommand), **quiet}

    def _run_subcommand(self, subcommand: str) -> None:
        global _interrupted
        assert self.session is not None
        self.session.start(self.trainer)
        try:
            self.session.describe_cohort()
            super()._run_subcommand(subcommand)
            getattr(self.session, f"after_{subcommand}")()
        except (KeyboardInterrupt, SystemExit) as stop:
            _interrupted = not isinstance(stop, SIGTERMException)
            self.session.finish("interrupted")
            raise
        except BaseException as error:
            if _hides_interrupt(error):
                self.session.finish("interrupted")
                raise KeyboardInterrupt from error
            self.session.finish("failed", error)
            raise
        self.session.finish("completed")


def _hides_interrupt(error: BaseException | None) -> bool:
    """Whether the error came of an interrupt: torch, stopped while it writes a file, complains of the half file."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _reason(error: BaseException) -> BaseException:
    """What a model or data module said when it refused its options; the parser wraps it in errors of its own."""
    while error.__cause__ is not None and not isinstance(error, CardiozooError):
        error = error.__cause__
    if isinstance(error, ValueError | MisconfigurationException) and not isinstance(error, CardiozooError):
        return OptionError(
            f"The model, the data or the trainer refuse their options: {str(error).rstrip('.')}.",
            "Values within their ranges.",
            "--model.help NAME and --data.help NAME describe the options.",
        )
    return error


def _add_run_options(parser: LightningArgumentParser) -> None:
    def option(name: str, kind: Any, default: Any, text: str) -> None:
        parser.add_argument(f"--{name}", type=kind, default=default, help=text)

    option("runs", Path, Path("runs"), "Folder in which runs/<model>/<data>/<time> is made.")
    option("run_dir", Path | None, None, "The run folder itself; it must be new.")
    option("recipe", str, "auto", "auto: that of the pair of model and data. none, a name or a YAML file overrides.")
    option("monitor", str | None, None, "Logged metric that selects the best checkpoint; the task's own if not given.")
    option("monitor_mode", str | None, None, "max or min.")
    option("patience", int, PATIENCE, "Validations without improvement before training stops; 0: never.")
    option("save_every_n_steps", int | None, None, "Save last.ckpt also after so many steps, to resume from.")
    option("evaluate", bool, True, "Judge the test predictions: intervals, subgroups, report.")
    option("n_bootstrap", int, 1000, "Bootstrap draws of patients for the intervals.")


def _parser_options() -> dict[str, Any]:
    names = {kind: ", ".join(entries[0].name for entries in registered(kind).values()) for kind in ("model", "data")}
    options = {}
    for command in LightningCLI.subcommands():
        weights = "" if command == "fit" else " (--run RUN | --ckpt_path FILE)"
        options[command] = {
            "parser_mode": MODE,
            "allow_abbrev": False,
            "exit_on_error": False,
            "usage": f"cardiozoo {command}{weights} --model NAME --data NAME [--model.X ...] [--data.X ...] "
            "[--trainer.X ...] [--config FILE] [--print_config]",
            "epilog": EPILOG.format(models=names["model"], data=names["data"], command=command)
            + (" Continue a run that was stopped: cardiozoo fit --resume RUN" if command == "fit" else ""),
        }
    return options


def _init_parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Parameters of ``__init__``, those that a ``**kwargs`` hands on to the base classes included."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters
        for name, parameter in parameters.items():
            found.setdefault(name, parameter)
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            break
    return found


def _refuse_unknown_options(kind: str, arguments: Arguments) -> None:
    path = arguments.component(kind)
    if path is None:
        return
    parameters = _init_parameters(resolve(path, kind))
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    names = [name for name in parameters if name != "self" and name not in LINKED]
    for name in (arguments.typed.get(kind) or {}).get("init_args") or {}:
        if name not in names:
            raise unknown_option(kind, path, name, names)


def _hand_the_seed_to_the_data(arguments: Arguments) -> None:
    """``--seed_everything N`` is the seed of the data module as well, unless that has been given one of its own."""
    path, seed = arguments.component("data"), arguments.asked.get("seed_everything", SEED)
    own = ((arguments.asked.get("data") or {}).get("init_args") or {}).get("seed")
    known = path is not None and "seed" in _init_parameters(resolve(path, "data"))
    if not known or own is not None or type(seed) is not int or arguments.only_help:
        return
    # The weakest of all configs: whatever else is said of the data module is laid over it.
    config = {"data": {"class_path": path, "init_args": {"seed": seed}}}
    arguments.args = [f"--config={json.dumps(config)}", *arguments.args]


def _refuse_half_precision_without_gpu(trainer: Any) -> None:
    import torch

    half = str(trainer.precision) in ("16", "16-mixed", "16-true")
    no_gpu = not torch.cuda.is_available() and not torch.backends.mps.is_available()
    if half and (trainer.accelerator == "cpu" or (trainer.accelerator == "auto" and no_gpu)):
        raise OptionError(
            f"--trainer.precision {trainer.precision} on a CPU: float16 is slow there and overflows.",
            "bf16-mixed or 32 on a CPU; 16-mixed on a GPU.",
            "--trainer.precision bf16-mixed",
        )
