"""One run from the folder that is made for it to the judgement in it."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger

from cardiozoo.cli.arguments import Arguments
from cardiozoo.cli.facts import changed_options, checkpoint_facts, departures, registered_name, run_facts
from cardiozoo.cli.resumed import as_begun, check_hyperparameters, check_processes
from cardiozoo.errors import CheckpointError, OptionError
from cardiozoo.training.callbacks import default_callbacks, validates
from cardiozoo.training.checkpoints import check_linked, read_hyperparameters
from cardiozoo.training.logs import join, set_aside
from cardiozoo.training.output import SHOWN, EpochLines, ShortProgressBar, short_metrics
from cardiozoo.training.predictions import PredictionWriter
from cardiozoo.training.processes import global_rank
from cardiozoo.training.record import RunRecord, write_json
from cardiozoo.training.resume import ExactResume, WholeFiles
from cardiozoo.training.run_folder import choose_run_folder, continue_run_folder

NO_VALIDATION = "no validation split: nothing stops the training early, and the last checkpoint is the one that counts"


class Session:
    """What surrounds the trainer in one command.

    Args:
        arguments: The expanded command line.
        config: The parsed options of the command.
        model: The model.
        data: The data module.
        linked: What the data answered to the model's parameters.
        defaults: Default of each option by its dotted key.
    """

    def __init__(
        self,
        arguments: Arguments,
        config: Any,
        model: LightningModule,
        data: LightningDataModule,
        linked: dict[str, Any],
        defaults: dict[str, Any],
    ) -> None:
        self.arguments, self.config, self.model, self.data = arguments, config, model, data
        self.defaults = defaults
        self.command = arguments.command
        self.names = {"model": registered_name("model", type(model)), "data": registered_name("data", type(data))}
        self.folder, self.config_text, self.own_log = Path(), "", False
        self.record: RunRecord | None = None
        self.trainer: Trainer | None = None
        self.monitor: dict[str, str | None] = {}
        self.validates = True
        if arguments.checkpoint is not None:
            check_linked(arguments.checkpoint, read_hyperparameters(arguments.checkpoint), linked)

    # --- Before ----------------------------------------------------------------------------------------------------

    def open_folder(self, config_text: str) -> None:
        """Makes the run folder, or takes up the one that is resumed, in which nothing is touched before ``start``."""
        self.config_text = config_text
        resume, checkpoint = self.arguments.resume, self.arguments.checkpoint
        if resume is not None and checkpoint is not None:
            _check_same_data(resume, self.arguments.run_facts, self.data)
            check_hyperparameters(resume, checkpoint, self.model, dict(self.config.model.get("init_args") or {}))
            self.folder = continue_run_folder(resume)
        else:
            runs, run_dir = Path(self.config.runs), self.config.run_dir
            self.folder = choose_run_folder(
                runs, self.names["model"], self.names["data"], self.command, run_dir and Path(run_dir)
            )

    def _write_config(self) -> None:
        """Config and manifest into the run folder, once nothing can refuse the options any more."""
        if global_rank() > 0:
            return
        config, partial = self.folder / "config.yaml", self.folder / "config.yaml.partial"
        before = config.read_text(encoding="utf-8") if config.is_file() else None
        text = self.config_text if before is None else as_begun(self.config_text, before)
        if before not in (None, text):
            number = len(list(self.folder.glob("config.before-*.yaml"))) + 1
            shutil.copyfile(config, self.folder / f"config.before-{number}.yaml")
        partial.write_text(text, encoding="utf-8")
        partial.replace(config)
        stored = getattr(self.data, "store_path", None)
        if stored is not None and (Path(stored) / "manifest.json").is_file():
            shutil.copyfile(Path(stored) / "manifest.json", self.folder / "data_manifest.json")
        elif isinstance(getattr(self.data, "manifest", None), dict):
            write_json(self.folder / "data_manifest.json", self.data.manifest)

    def trainer_arguments(self, given: Any, monitor: str, monitor_mode: str) -> dict[str, Any]:
        """Arguments of the Trainer that follow from the run; what the config brings itself stays."""
        # A data module that does not say has a validation split, as Lightning assumes too.
        self.validates = bool(getattr(self.data, "has_validation", True)) and given.get("limit_val_batches") != 0
        self.monitor = {
            "monitor": monitor if self.validates else None,
            "mode": monitor_mode if self.validates else None,
        }
        callbacks = _as_list(given.get("callbacks"))
        ours: list[Callback] = [ExactResume(), PredictionWriter(self.folder)]
        if self.command == "fit" and not given.get("fast_dev_run"):
            every, patience = self.config.save_every_n_steps, self.config.patience
            if given.get("enable_checkpointing") is not False:
                chosen = (monitor, monitor_mode, patience, every, self.validates)
                ours += default_callbacks(callbacks, self.folder, *chosen)
        ours.append(EpochLines())
        wanted = given.get("enable_progress_bar") is not False and sys.stderr.isatty()
        if wanted and not any(isinstance(callback, ProgressBar) for callback in callbacks):
            ours.append(ShortProgressBar())
        plugins = _as_list(given.get("plugins"))
        return {
            "callbacks": [*callbacks, *ours],
            "logger": self._loggers(given.get("logger")),
            "plugins": [*plugins, WholeFiles()],
            "default_root_dir": given.get("default_root_dir") or str(self.folder),
            **({} if self.command == "fit" else {"enable_checkpointing": False}),
        }

    def _loggers(self, given: Any) -> Any:
        if given is False:
            return False
        loggers: list[Logger] = [logger for logger in _as_list(given) if isinstance(logger, Logger)]
        if self.command == "fit" and not any(isinstance(logger, CSVLogger) for logger in loggers):
            loggers.append(CSVLogger(self.folder, name="logs", version=""))
            self.own_log = True
        return loggers or False

    # --- During ----------------------------------------------------------------------------------------------------

    def start(self, trainer: Trainer) -> None:
        """Writes config.yaml, and run.json as ``running``; the log of a resumed run goes back to its checkpoint."""
        self.trainer = trainer
        if self.arguments.resume is not None:
            check_processes(self.folder, self.arguments.run_facts, trainer.world_size)
        self._write_config()
        if self.own_log and self.arguments.resume is not None and global_rank() == 0:
            set_aside(self.folder / "logs", _step(self.arguments.checkpoint))
        facts = run_facts(self.arguments, self.defaults, self.model, self.data, trainer)
        facts["task"] |= self.monitor
        for kind in ("model", "data"):
            values = dict(getattr(self.config, kind).get("init_args") or {})
            facts[kind]["options_changed"] = changed_options(kind, values, self.defaults)
        facts["departures"] = departures(self.names)
        facts["seed"] = _seed(self.config)
        if self.command == "fit" and not self.validates:
            facts["deviations"].append(NO_VALIDATION)
            self._say(f"cardiozoo: {NO_VALIDATION}")
        self.record = RunRecord(self.folder, facts, write=trainer.is_global_zero)
        size = f"{self.names['model']} with {facts['model']['parameters']:,} parameters"
        devices = f" on {trainer.world_size} processes" if trainer.world_size > 1 else ""
        self._say(f"cardiozoo: run folder {self.folder}; {size}{devices}")

    def describe_cohort(self) -> None:
        """Writes ``cohort.json``: what the data module says of the samples of this run. First process only."""
        if global_rank() > 0:
            return
        summarise = getattr(self.data, "cohort_summary", None)
        if summarise is None:
            reason = f"The data module {self.names['data']} has no cohort_summary()."
            write_json(self.folder / "cohort.json", {"reason": reason})
            return
        summary = summarise()
        write_json(self.folder / "cohort.json", summary)
        splits = summary.get("splits") if isinstance(summary, dict) else None
        if isinstance(splits, dict):
            sizes = [f"{name} {part['samples']:,}" for name, part in splits.items() if part.get("samples") is not None]
            self._say(f"cardiozoo: samples: {', '.join(sizes)}")

    def finish(self, status: str, error: BaseException | None = None) -> None:
        """Writes how the run ended; the log of a resumed run becomes one file again."""
        assert self.record is not None and self.trainer is not None
        for logger in self.trainer.loggers:
            logger.save()
        if self.trainer.is_global_zero:
            join(self.folder / "logs")
        self.record.finish(status, error)

    # --- After -----------------------------------------------------------------------------------------------------

    def after_fit(self) -> None:
        """Judges the best checkpoint on the test split."""
        trainer = self.trainer
        assert trainer is not None and self.record is not None
        self.record.update(epochs=trainer.current_epoch, steps=trainer.global_step)
        if trainer.fast_dev_run:
            self._say("cardiozoo: fast_dev_run leaves no checkpoint, so nothing is tested")
            return
        best = self._best_checkpoint()
        self.record.update(checkpoint=checkpoint_facts(trainer, self.folder) | {"judged": f"checkpoints/{best.name}"})
        if self.config.evaluate:
            self._try(best)

    def _try(self, weights: Path) -> None:
        """Runs the weights on the test split, or on the validation split where there is no other, and judges them."""
        assert self.trainer is not None
        options = {"datamodule": self.data, "ckpt_path": str(weights), "verbose": False}
        if not _is_empty(self.data.test_dataloader()):
            self.trainer.test(self.model, **options)
            self._keep_metrics()
            self._judge()
        elif self.validates and not _is_empty(self.data.val_dataloader()):
            self._say("cardiozoo: the data have no test split, so the validation split is judged")
            self.trainer.validate(self.model, **options)
            self._keep_metrics()
            self._judge("predictions.val.parquet")
        else:
            self._say("cardiozoo: the data have neither a test nor a validation split, so nothing is judged")

    def after_test(self) -> None:
        """Judges the predictions of the test split.

        Raises:
            OptionError: There is no such split.
        """
        self._check_written("test")
        self._keep_metrics()
        if self.config.evaluate:
            self._judge()

    def after_validate(self) -> None:
        """Says the metrics and where the predictions are.

        Raises:
            OptionError: There is no validation split.
        """
        self._check_written("validation")
        assert self.trainer is not None
        self._keep_metrics()
        if self.trainer.is_global_zero:
            print(short_metrics(self.trainer, *SHOWN))
        self._say_written()

    def after_predict(self) -> None:
        """Says where the predictions are."""
        self._say_written()

    def _check_written(self, split: str) -> None:
        """Lightning passes over a split without a batch; whoever asked for it is told."""
        assert self.trainer is not None
        writers = [callback for callback in self.trainer.callbacks if isinstance(callback, PredictionWriter)]
        if all(writer.written is None for writer in writers):
            raise OptionError(
                f"The data of this run have no {split} split.",
                "Data with samples in it: folds have a validation split where --data.val_fraction sets patients aside.",
                "Choose a split that is there: cardiozoo predict --run RUN --data.predict_split train",
            )

    def _keep_metrics(self) -> None:
        """Loss terms and metrics as the model computed them, into run.json."""
        assert self.trainer is not None and self.record is not None
        metrics = {key: float(value) for key, value in self.trainer.callback_metrics.items()}
        self.record.update(metrics={key: value for key, value in metrics.items() if not key.startswith("train/")})

    def _best_checkpoint(self) -> Path:
        assert self.trainer is not None
        callback = self.trainer.checkpoint_callback
        best = Path(getattr(callback, "best_model_path", "") or "missing")
        last = self.folder / "checkpoints" / "last.ckpt"
        if not best.is_file() and not validates(self.trainer) and last.is_file():
            return last
        if not best.is_file():
            raise CheckpointError(
                f"Training ended after {self.trainer.global_step} steps without a checkpoint; nothing can be tested.",
                "At least one epoch with a validation (trainer.max_epochs, trainer.limit_val_batches).",
                "Train longer, or add --evaluate false.",
            )
        score = getattr(callback, "best_model_score", None)
        if score is None or math.isfinite(float(score)):
            return best
        self._say(
            f"cardiozoo: {callback.monitor} was undefined in every epoch (a class absent from the validation split), "
            "so the last checkpoint is judged; --monitor val/loss --monitor_mode min selects by the loss"
        )
        return best.with_name("last.ckpt")

    def _judge(self, table: str = "predictions.parquet") -> None:
        assert self.trainer is not None
        if not self.trainer.is_global_zero:
            return
        from rich.console import Console

        from cardiozoo.evaluation import evaluate_run

        settings = {"n_bootstrap": self.config.n_bootstrap, "seed": _seed(self.config)}
        evaluation = evaluate_run(self.folder, predictions=self.folder / table, **settings)
        evaluation.render(Console(width=None if sys.stdout.isatty() else 120))
        self._say_written()
        print(f"Report: {evaluation.report}")

    def _say_written(self) -> None:
        assert self.trainer is not None
        for callback in self.trainer.callbacks:
            if isinstance(callback, PredictionWriter) and callback.written is not None and self.trainer.is_global_zero:
                print(f"Predictions: {callback.written}")

    def _say(self, text: str) -> None:
        if global_rank() == 0:
            print(text, file=sys.stderr, flush=True)


def _check_same_data(run: Path, facts: dict[str, Any], data: LightningDataModule) -> None:
    before = facts.get("data", {}).get("manifest_sha256")
    now = getattr(data, "manifest_sha256", None)
    if before is not None and now is not None and before != now:
        raise CheckpointError(
            f"The store is not the one that {run} was trained on: manifest {str(now)[:12]}, then {before[:12]}.",
            "The same store, so that the resumed run is one run.",
            "To go on with other data: cardiozoo fit --ckpt_path RUN/checkpoints/last.ckpt, which makes a new run.",
        )


def _as_list(value: Any) -> list[Any]:
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _is_empty(loaders: Any) -> bool:
    """Whether a data module has no such split: it answers with an empty list."""
    return isinstance(loaders, list) and not loaders


def _seed(config: Any) -> int:
    return int(config.seed_everything or 0)


def _step(checkpoint: Path | None) -> int:
    import torch

    return int(torch.load(checkpoint, map_location="meta", mmap=True, weights_only=True)["global_step"])
