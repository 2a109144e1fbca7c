"""Reading checkpoints without building anything from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cardiozoo.errors import CheckpointError


def read_hyperparameters(path: Path) -> dict[str, Any]:
    """The hyper-parameters in a checkpoint; ``_class_path`` among them is the model's class. Weights are not loaded.

    Raises:
        CheckpointError: the file is not a Lightning checkpoint, or holds more than plain Python and tensors.
    """
    try:
        content = torch.load(path, map_location="meta", mmap=True, weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: {type(error).__name__}: {str(error).splitlines()[0]}",
            "A file that `cardiozoo fit` wrote, holding tensors and plain Python values only.",
            "If the run was killed while copying it, take another checkpoint of the run.",
        ) from error
    if not isinstance(content, dict) or not {"state_dict", "pytorch-lightning_version"} <= content.keys():
        raise CheckpointError(
            f"{path} holds no weights with the version of Lightning that wrote them.",
            "A Lightning checkpoint, as `cardiozoo fit` writes it.",
            "Weights published with a paper are loaded by the model's own options (`cardiozoo show NAME`).",
        )
    return dict(content.get("hyper_parameters") or {})


def check_linked(path: Path, trained: dict[str, Any], linked: dict[str, Any]) -> None:
    """Compares what the data decided when the checkpoint was trained with what they say now.

    Raises:
        CheckpointError: another number of classes, other class names, another number of channels, no lead in common.
    """
    for key, now in linked.items():
        then = trained.get(key, now)
        # The model keeps the leads that it knows; those that the data do not show are absent leads.
        if key == "ecg_leads" and then and now and set(then) & set(now):
            continue
        # The scale of a target is part of the weights: a checkpoint keeps its own, whatever the data at hand.
        if key.startswith(("monitor", "target_")) or then is None or now is None or _same(then, now):
            continue
        raise CheckpointError(
            f"{path} was trained with {key} = {_short(then)}, but the data say {_short(now)}.",
            "Data and a task that the checkpoint was trained for.",
            "Give the --data options of that run, or `--run RUN`, which takes them from it.",
        )


def _same(a: Any, b: Any) -> bool:
    return list(a) == list(b) if isinstance(a, list | tuple) and isinstance(b, list | tuple) else a == b


def _short(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) > 3:
        return f"{len(value)} names ({', '.join(map(str, value[:3]))}, ...)"
    return str(value)
