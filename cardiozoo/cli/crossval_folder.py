"""The folder of a cross-validation: which folds are finished, what is still to be run, and what they are together."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cardiozoo.cli import typed
from cardiozoo.cli.arguments import announce, expand, registered_name
from cardiozoo.cli.own_folder import make_folder
from cardiozoo.cli.same_store import check_same_store, store_at_hand
from cardiozoo.cli.workers import Job
from cardiozoo.errors import OptionError

RECORD = "crossval.json"
# What may differ between the folds of one cross-validation: where they lie, and what the machine is like.
NOT_OF_THE_METHOD = ("runs", "run_dir", "recipe", "ckpt_path", "weights_only", "evaluate", "n_bootstrap")
OF_THE_MACHINE = {"data": ("num_workers",), "trainer": ("accelerator", "enable_progress_bar")}


@dataclass
class CrossValidation:
    """One cross-validation.

    Attributes:
        folder: Where it lies.
        folds: How many.
        options: Options of ``cardiozoo fit``, as typed.
        asked: What they and the recipe say, as one mapping.
        argv: The command line.
        made: Whether the folder was not there before.
    """

    folder: Path
    folds: int
    options: tuple[str, ...]
    asked: dict[str, Any]
    argv: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    made: bool = False

    @classmethod
    def prepare(
        cls, of_fit: Sequence[str], folds: int, folder: Path | None, argv: Sequence[str], quiet: bool = False
    ) -> CrossValidation:
        """Check the options and open the folder.

        Raises:
            UnknownNameError: A name that nobody registered.
            OptionError: Options that crossval decides itself, or a folder that holds folds of other options or data.
            StoreError: A folder that cannot be written to.
        """
        tokens = typed.with_underscores(list(of_fit))
        _refuse_own(tokens)
        arguments = expand(["fit", *tokens], _read_hyperparameters)
        if not quiet:
            announce(arguments)
        asked = _of_the_method(arguments.asked)
        if folder is None:
            names = [registered_name(kind, arguments.component(kind)) or "other" for kind in typed.COMPONENTS]
            short = _fingerprint(asked, folds)[:8]
            folder = Path(str(arguments.asked.get("runs", "runs"))).joinpath(*names, f"crossval-{short}")
        found = cls(Path(folder), folds, tuple(tokens), arguments.asked, tuple(argv))
        found._open(asked)
        given = (arguments.asked.get("data") or {}).get("init_args", {}).get("store")
        at_hand = store_at_hand(given, registered_name("data", arguments.component("data")))
        finished = [found.run_folder(number) for number in range(folds) if found.finished(number)]
        check_same_store(finished, at_hand, "Give another --out, or remove what was made with the other store.")
        return found

    # --- What is to be run -------------------------------------------------------------------------------------------

    @property
    def trainer(self) -> dict[str, Any]:
        """The options of the trainer."""
        return self.asked.get("trainer") or {}

    @property
    def several_devices(self) -> bool:
        """Whether every fold trains on several devices, in processes that it starts itself."""
        devices = self.trainer.get("devices", 1)
        return (self.trainer.get("num_nodes") or 1) > 1 or devices not in (1, "1", [0], "auto", None)

    def run_folder(self, number: int) -> Path:
        """Where a fold's run lies."""
        return self.folder / f"fold_{number}"

    def finished(self, number: int) -> bool:
        """Whether a fold's run has ended well, with predictions."""
        run = self.run_folder(number)
        return _read(run / "run.json").get("status") == "completed" and (run / "predictions.parquet").is_file()

    def jobs(self) -> list[Job]:
        """The folds that are not finished; a begun one is resumed if it left a checkpoint, else begun anew."""
        return [self._job(number) for number in range(self.folds) if not self.finished(number)]

    def _job(self, number: int) -> Job:
        run = self.run_folder(number)
        log = self.folder / f"fold_{number}.log"
        if (run / "checkpoints" / "last.ckpt").is_file() and (run / "config.yaml").is_file():
            argv = ["fit", "--resume", str(run)]
        else:
            if run.is_dir() and any(run.iterdir()):
                _set_aside(run)
            own = ["--data.folds", str(self.folds), "--data.fold", str(number), "--run_dir", str(run)]
            argv = ["fit", *self.options, *own]
        return Job(str(number), tuple(argv), log, alone=self.several_devices)

    def line(self, number: int) -> str:
        """The main metrics of a finished fold, in words."""
        from cardiozoo.evaluation.folds import fold_scores

        values = fold_scores(number, self.run_folder(number)).values
        return "  ".join(f"{name} {value:.3f}" for name, value in list(values.items())[:4])

    # --- What they are together --------------------------------------------------------------------------------------

    def judge(self, ddof: int = 0, report: bool = True) -> Any:
        """Check that the folds belong together and judge them; writes crossval.json, tables and reports.

        Raises:
            OptionError: Folds of different stores or configurations.
            PredictionsError: Folds that are not of one partition.
        """
        from cardiozoo.evaluation.crossval import CrossvalResult

        runs = {number: self.run_folder(number) for number in range(self.folds)}
        self._check_alike(runs)
        first = _read(runs[0] / "run.json")
        settings = {"n_bootstrap": int(self.asked.get("n_bootstrap", 1000)), "seed": first.get("seed") or 0}
        pooled = self.folder / "pooled"
        pooled.mkdir(exist_ok=True)
        self._describe_pooled(pooled, first, runs[0])
        result = CrossvalResult.from_runs(runs, pooled, ddof, report=report, **settings)
        self.write(status="completed", **result.facts())
        if report:
            result.write_report(self.folder, self.facts)
        return result

    def write(self, **facts: Any) -> None:
        """Adds facts to crossval.json."""
        self.facts |= facts
        partial = self.folder / f".{RECORD}.partial"
        partial.write_text(json.dumps(self.facts, indent=2, default=str) + "\n", encoding="utf-8")
        partial.replace(self.folder / RECORD)

    def give_up(self) -> None:
        """After a refusal: takes back the folder that this run has made, if no fold has trained weights in it."""
        if self.made and not self._begun():
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self.write(status="incomplete")

    def _open(self, asked: dict[str, Any]) -> None:
        fingerprint = _fingerprint(asked, self.folds)
        before = _read(self.folder / RECORD)
        differs = bool(before) and before.get("fingerprint") != fingerprint
        # Where every fold failed before its first checkpoint, an option perhaps is put right now.
        anew = differs and before.get("status") in ("incomplete", "interrupted") and not self._begun()
        if differs and not anew:
            raise OptionError(
                f"{self.folder} holds a cross-validation with other options: {_difference(before, asked, self.folds)}.",
                "The same options, to go on with it.",
                "Give another --out, or none: then every set of options has a folder of its own.",
            )
        if not before and self.folder.is_dir() and any(self.folder.iterdir()):
            raise OptionError(
                f"--out {self.folder} is not empty and holds no cross-validation.",
                "A new folder, or one to go on with.",
                "Give another --out.",
            )
        self.made = not self.folder.exists()
        make_folder(self.folder)
        from cardiozoo.cli.crossval import quoted

        named = {"command_line": quoted(self.argv), "folds": self.folds, "fingerprint": fingerprint, "options": asked}
        self.facts = {"format": "cardiozoo-crossval", "version": 1, "status": "running"} | named
        if not before or anew:
            self.write()

    def _begun(self) -> bool:
        """Whether any fold has trained weights to lose."""
        return any(self.folder.glob("fold_*/checkpoints/*.ckpt")) or any(self.folder.glob("fold_*/predictions.parquet"))

    def _check_alike(self, runs: dict[int, Path]) -> None:
        stores = {
            number: _read(run / "run.json").get("data", {}).get("manifest_sha256") for number, run in runs.items()
        }
        configs = {number: _config(run) for number, run in runs.items()}
        for number in runs:
            if stores[number] != stores[0]:
                raise OptionError(
                    f"Fold {number} was run on another store than fold 0 (manifest {str(stores[number])[:12]}, "
                    f"{str(stores[0])[:12]}).",
                    "One store for all folds.",
                    f"Remove {runs[number]} and run the command again.",
                )
            if configs[number] != configs[0]:
                first, own = configs[0], configs[number]
                key = next(k for k in {**first, **own} if first.get(k) != own.get(k))
                raise OptionError(
                    f"Fold {number} was run with {key} = {own.get(key)}, fold 0 with {first.get(key)}.",
                    "One configuration for all folds.",
                    f"Remove {runs[number]} and run the command again.",
                )

    def _describe_pooled(self, pooled: Path, first: dict[str, Any], run: Path) -> None:
        kept = ("format", "version", "model", "data", "task", "recipe", "deviations", "departures", "versions", "git")
        facts = {key: first[key] for key in kept if key in first} | {"command": self.facts["command_line"]}
        facts["data"] = {**facts.get("data", {}), "options_changed": {"folds": {"value": self.folds, "default": None}}}
        (pooled / "run.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        if (run / "data_manifest.json").is_file():
            shutil.copyfile(run / "data_manifest.json", pooled / "data_manifest.json")


def _refuse_own(tokens: list[str]) -> None:
    for _, key, _ in typed.options(tokens):
        if key in ("data.folds", "data.fold", "data.init_args.folds", "data.init_args.fold"):
            raise OptionError(f"--{key} was given by hand.", "--folds K; crossval runs every fold.", "Leave it out.")
        if key in ("resume", "ckpt_path", "run", "trainer.fast_dev_run"):
            raise OptionError(
                f"`cardiozoo crossval` takes no --{key}.",
                "Options of a training from its beginning.",
                "A stopped cross-validation goes on when the same command is given again.",
            )


def _of_the_method(asked: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in asked.items() if key not in NOT_OF_THE_METHOD}
    for kind, names in OF_THE_MACHINE.items():
        part = dict(kept.get(kind) or {})
        inner = dict(part["init_args"]) if isinstance(part.get("init_args"), dict) else part
        for name in names:
            inner.pop(name, None)
        kept[kind] = part | {"init_args": inner} if "init_args" in part else inner
    return json.loads(json.dumps(kept, sort_keys=True, default=str))


def _fingerprint(asked: dict[str, Any], folds: int) -> str:
    return hashlib.sha256(json.dumps([asked, folds], sort_keys=True).encode()).hexdigest()


def _difference(before: dict[str, Any], asked: dict[str, Any], folds: int) -> str:
    """The first option that differs, in words."""
    then, now = _flat(before.get("options") or {}), _flat(asked)
    then["folds"], now["folds"] = before.get("folds"), folds
    for key in {**then, **now}:
        if then.get(key) != now.get(key):
            return f"{key.replace('init_args.', '')} was {then.get(key)}, now {now.get(key)}"
    return "none that can be named"


def _config(run: Path) -> dict[str, Any]:
    """What of a run's configuration belongs to the method, flat; its number among the folds does not."""
    flat = _flat(_of_the_method(typed.read_config(str(run / "config.yaml"))))
    flat.pop("data.init_args.fold", None)
    return flat


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _set_aside(run: Path) -> None:
    """A fold that ended before its first checkpoint keeps its files under another name."""
    number = len(list(run.parent.glob(f"{run.name}.failed-*"))) + 1
    run.rename(run.with_name(f"{run.name}.failed-{number}"))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_hyperparameters(path: Path) -> dict[str, Any]:
    from cardiozoo.training.checkpoints import read_hyperparameters

    return read_hyperparameters(path)
