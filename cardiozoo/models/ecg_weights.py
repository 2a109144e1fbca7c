"""From other people's names to ours: weights of the released electrocardiogram networks.

The functions are pure: a state dict in, a state dict in the names of our modules and a list of entries left out.
Whether it fits is checked by whoever loads it, entry by entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from cardiozoo.errors import CheckpointError
from cardiozoo.models.checkpoints import State

WRAPPERS = ("module.", "_orig_mod.", "resnet.")
RESNET1D = (
    (r"first_block_conv\.", "encoder.stem."),
    (r"first_block_bn\.", "encoder.stem_norm."),
    (r"basicblock_list\.(\d+)\.conv([12])\.", r"encoder.blocks.\1.conv\2."),
    (r"basicblock_list\.(\d+)\.bn([12])\.", r"encoder.blocks.\1.norm\2."),
    (r"final_bn\.", "encoder.norm."),
    (r"dense\.", "head."),
)
FASTAI = (
    (r"([012])\.0\.", r"encoder.stem.\1.conv."),
    (r"([012])\.1\.", r"encoder.stem.\1.norm."),
    (r"(\d+)\.(\d+)\.convs\.(\d)\.0\.", r"encoder.stages.\1.\2.layers.\3.conv."),
    (r"(\d+)\.(\d+)\.convs\.(\d)\.1\.", r"encoder.stages.\1.\2.layers.\3.norm."),
    (r"(\d+)\.(\d+)\.idpath\.\d\.0\.", r"encoder.stages.\1.\2.project.conv."),
    (r"(\d+)\.(\d+)\.idpath\.\d\.1\.", r"encoder.stages.\1.\2.project.norm."),
    (r"8\.2\.", "head.0."),
    (r"8\.4\.", "head.2."),
    (r"8\.6\.", "head.4."),
    (r"8\.8\.", "head.6."),
)
MULTIMODAL_CNN = (
    (r"lead_encoders\.(\d+)\.conv([123])\.", r"encoders.\1.conv\2."),
    (r"lead_encoders\.(\d+)\.fc_latent\.", r"encoders.\1.latent."),
    (r"classifier\.", "head."),
)


def released_resnet1d(state: Mapping[str, Tensor]) -> tuple[State, list[str]]:
    """The authors' ``ResNet1D``; the first block's first BatchNorm is built there but never used."""
    state = unwrapped(state)
    idle = [name for name in state if name.startswith("basicblock_list.0.bn1.")]
    return _renamed({n: v for n, v in state.items() if n not in idle}, RESNET1D), idle


def released_xresnet1d(state: Mapping[str, Tensor]) -> tuple[State, list[str]]:
    """A fastai ``xresnet1d``, whose file holds the convolutions of every block under two names.

    Raises:
        CheckpointError: The two names of one weight hold different numbers.
    """
    state = unwrapped(state)
    twice = {n: re.sub(r"\.convpath\.0\.(\d)\.", r".convs.\1.", n) for n in state if ".convpath.0." in n}
    differing = [n for n, first in twice.items() if first in state and not torch.equal(state[n], state[first])]
    if differing:
        raise CheckpointError(
            f"{len(differing)} weights differ under their two names, first {differing[0]}.",
            "A file in which convs and convpath.0 of a block are the same.",
            "It was probably edited; fetch it anew.",
        )
    kept = {n: v for n, v in state.items() if n not in twice} | {
        first: state[n] for n, first in twice.items() if first not in state
    }
    renamed = _renamed(kept, FASTAI)
    # Stages are modules 4 to 7 of the released network.
    return {re.sub(r"stages\.(\d+)\.", lambda m: f"stages.{int(m[1]) - 4}.", n): v for n, v in renamed.items()}, []


def released_multimodal_cnn(state: Mapping[str, Tensor]) -> tuple[State, list[str]]:
    """The state dict of the network in the authors' notebook."""
    return _renamed(unwrapped(state), MULTIMODAL_CNN), []


def unwrapped(state: Mapping[str, Tensor]) -> State:
    """Names without the prefixes that compiling, parallel training and the notebooks' wrapper class add."""
    found = dict(state)
    for prefix in WRAPPERS * 2:
        if found and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def _renamed(state: Mapping[str, Tensor], rules: tuple[tuple[str, str], ...]) -> State:
    """Every name by the first rule that matches its beginning; names that none matches stay, and will not fit."""
    translated: State = {}
    for name, value in state.items():
        matching = ((re.sub(f"^{old}", new, name)) for old, new in rules if re.match(old, name))
        translated[next(matching, name)] = value
    return translated
