"""Hand-over of weights between training stages, and from the released MedFuse files, always checked."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cardiozoo.errors import CheckpointError

logger = logging.getLogger(__name__)

State = dict[str, Tensor]


def read_state(path: str | Path, nested: str = "state_dict") -> State:
    """The state dict of a Lightning checkpoint, or of a released file, read without running its code.

    Released files keep their best score as a numpy scalar, so exactly those types are allowed besides tensors.

    Args:
        path: The file.
        nested: Key under which the file keeps the state dict, unless it is one itself; fastai calls it ``model``.

    Raises:
        CheckpointError: No such file, not a checkpoint, or one that holds more than tensors and plain values.
    """
    path = Path(path)
    accepted = "A .ckpt written by `cardiozoo fit`, or a released file of weights (a state dict)."
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}.", accepted, "Check the path.")
    with path.open("rb") as file:
        is_pointer = file.read(20) == b"version https://git-"
    if is_pointer:
        raise CheckpointError(
            f"{path} is a Git LFS pointer, not the weights themselves.", accepted, "Fetch it with `git lfs pull`."
        )
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read as weights: {reason}", accepted, "Write or fetch it anew."
        ) from error
    state = content.get(nested, content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds no state dict.", accepted, "Check that it is the right file.")
    return dict(state)


def _numpy_scalars() -> list[Any]:
    scalar = np.float64(0).__reduce__()[0]  # the function that rebuilds a scalar; its module moved with numpy 2
    dtypes = [type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64)]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [(scalar, name) for name in names] + [(np.dtype, "numpy.dtype"), *dtypes]


def strip_prefix(state: Mapping[str, Tensor], prefix: str) -> State:
    """The entries below ``prefix``, without it."""
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], source: str, skipped: list[str] | None = None) -> None:
    """Load ``state`` into ``module`` if names and shapes agree one by one; say what was skipped beforehand.

    Raises:
        CheckpointError: Entries that are missing, left over or of another shape, named with both shapes.
    """
    own = module.state_dict()
    # Counters of batches seen; older files lack them and nothing depends on them.
    missing = [n for n in own if n not in state and not n.endswith("num_batches_tracked")]
    left_over = [n for n in state if n not in own]
    unlike = [
        f"{n} {tuple(state[n].shape)} for {tuple(own[n].shape)}"
        for n in own
        if n in state and state[n].shape != own[n].shape
    ]
    troubles = [("missing", missing), ("left over", left_over), ("of another shape", unlike)]
    found = "; ".join(f"{len(names)} {what}, first {names[0]}" for what, names in troubles if names)
    if found:
        raise CheckpointError(
            f"{source} does not fit {type(module).__name__}: {found}.",
            f"All {len(own)} entries with the shapes of this model.",
            "Give the model the sizes the checkpoint was trained with (hidden size, layers, backbone, channels).",
        )
    module.load_state_dict(dict(state), strict=False)
    logger.info("Loaded %d entries from %s.", len(state), source)
    if skipped:
        logger.info("Not taken from %s: %s.", source, ", ".join(sorted(skipped)))
