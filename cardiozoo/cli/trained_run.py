"""A run taken up again from its folder: its model with the trained weights, and its data module."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule

from cardiozoo.cli.typed import read_config
from cardiozoo.errors import CheckpointError, OptionError
from cardiozoo.registry import resolve
from cardiozoo.training.checkpoints import check_linked, read_hyperparameters

CHECKPOINTS = ("best", "last")


@dataclass
class TrainedRun:
    """What a run folder holds, made again.

    Attributes:
        folder: The run.
        facts: run.json.
        checkpoint: The checkpoint whose weights the model has.
        model: The model in evaluation mode, on the host.
        data: The data module, made ready for evaluation; its batches hold signals even if the training used features.
        data_config: ``class_path`` and ``init_args`` that it was made with.
    """

    folder: Path
    facts: dict[str, Any]
    checkpoint: Path
    model: LightningModule
    data: Any
    data_config: dict[str, Any]

    @property
    def name(self) -> str:
        """Model and data by their short names."""
        return f"{self.facts['model']['name']} on {self.facts['data']['name']}"

    @property
    def synthetic(self) -> bool:
        return bool(getattr(self.data, "synthetic", self.facts["data"].get("synthetic")))

    def data_with(self, **changed: Any) -> Any:
        """The data module once more with some options changed; None if it does not have them all."""
        cls = resolve(self.data_config["class_path"], "data")
        if not set(changed) <= _options_of(cls):
            return None
        return _ready(cls(**{**self.data_config["init_args"], **changed}))


def open_run(folder: Path, checkpoint: str = "best", data_options: dict[str, Any] | None = None) -> TrainedRun:
    """Take up a run.

    Args:
        folder: A run folder that `cardiozoo fit` wrote.
        checkpoint: ``best`` (``last`` if the run has no best one), ``last``, or a file.
        data_options: Options of the data module other than those of the run.

    Raises:
        CheckpointError: No run folder, no checkpoint, or weights that do not fit model or data.
    """
    config, facts = _read(folder)
    path = _checkpoint(folder, checkpoint)
    hyperparameters = read_hyperparameters(path)
    class_path = hyperparameters.get("_class_path") or config["model"]["class_path"]
    given = config["data"].get("init_args") or {}
    data_class = resolve(config["data"]["class_path"], "data")
    quiet = {"num_workers": 0} if "num_workers" in _options_of(data_class) else {}
    options = {**given, **quiet, **(data_options or {})}
    data = _ready(data_class(**options))
    check_linked(path, hyperparameters, {key: getattr(data, key) for key in hyperparameters if _linked(data, key)})
    model = resolve(class_path, "model").load_from_checkpoint(path, map_location="cpu", weights_only=True)
    model.eval()
    return TrainedRun(
        folder, facts, path, model, data, {"class_path": config["data"]["class_path"], "init_args": options}
    )


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    for name in ("config.yaml", "run.json"):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} is not a run folder: it has no {name}.",
                "A folder with config.yaml, run.json and checkpoints/, as `cardiozoo fit` writes it.",
                "Look below runs/.",
            )
    config = read_config(str(folder / "config.yaml"))
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if not all(isinstance(config.get(kind), dict) and "class_path" in config[kind] for kind in ("model", "data")):
        raise CheckpointError(
            f"{folder}/config.yaml names no model or no data.", "The config of a run.", "Look below runs/."
        )
    return config, facts


def _checkpoint(folder: Path, wanted: str) -> Path:
    if wanted in CHECKPOINTS:
        names = [wanted] if wanted == "last" else ["best", "last"]
        found = [folder / "checkpoints" / f"{name}.ckpt" for name in names]
        for path in found:
            if path.is_file():
                return path
        raise CheckpointError(
            f"{folder} has no checkpoint {' or '.join(path.name for path in found)}.",
            "A run that finished an epoch.",
            "Train it further: cardiozoo fit --resume RUN",
        )
    path = Path(wanted)
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {wanted}.", "best, last, or a file.", "Leave --checkpoint out.")
    return path


def _ready(data: Any) -> Any:
    data.prepare_data()
    data.setup("test")
    return data


def _linked(data: Any, key: str) -> bool:
    return key in ("num_classes", "class_names", "task_kind", "ecg_leads", "ecg_samples") and hasattr(data, key)


def _options_of(cls: type) -> set[str]:
    """Names of the options, those that ``**options`` hands on to the base classes included."""
    names: set[str] = set()
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters
            names |= set(parameters)
            if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
                break
    return names - {"self"}


def require_ecg(run: TrainedRun) -> None:
    """Raise ``OptionError`` if the data of a run hold no ECG."""
    modalities = tuple(getattr(getattr(run.data, "spec", None), "modalities", ()))
    if "ecg" not in modalities:
        raise OptionError(
            f"{run.folder} is a run of {run.name}, whose data hold {', '.join(modalities) or 'nothing that is said'}.",
            "A run on 12-lead ECGs.",
            "`cardiozoo list data --modality ecg` names the data modules that have them.",
        )
