"""From the authors' names to ours: released weights of LS-EMVAE, MVAE, MoPoE-VAE and beta-VAE.

Their files hold one small network a lead; ours stack the leads. The functions are pure: a state dict in, a state dict
in the names of our modules and a list of the entries left out. Whether the result fits is checked, entry by entry, by
whoever loads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from cardiozoo.data.ecg import LEADS
from cardiozoo.errors import CheckpointError
from cardiozoo.models.checkpoints import State
from cardiozoo.models.ecg_weights import unwrapped

ENCODER = r"(?:lead_)?encoders\.(\d+)\."
DECODER = r"decoders\.(\d+)\."


def released_ls_emvae(
    state: Mapping[str, Tensor], leads: Sequence[str], swap_avl_avf: bool = False
) -> tuple[State, list[str]]:
    """The released LS-EMVAE (``encoders.<lead>.*``, ``shared_decoder.*``) in the names of ``LsEmvae``.

    Args:
        state: The released state dict, twelve encoders in the order I, II, III, aVR, aVL, aVF, V1 to V6.
        leads: Leads of our model; the encoders of the others are left out.
        swap_avl_avf: Give aVL the encoder of aVF and the other way round.

    Returns:
        Our state dict without gate and lead embedding, which the file has not, and the names left out.

    Raises:
        CheckpointError: An entry that belongs to no part of the network, or an encoder that is missing.
    """
    state = unwrapped(state)
    decoder = {re.sub(r"^(shared_)?decoder\.", "decoder.", n): v for n, v in state.items() if _of_shared_decoder(n)}
    _refuse_strangers(state, lambda name: re.match(ENCODER, name) or _of_shared_decoder(name))
    encoders, idle = _stacked_encoders(state, leads, swap_avl_avf)
    return encoders | decoder, idle


def released_mvae(
    state: Mapping[str, Tensor], leads: Sequence[str], swap_avl_avf: bool = False
) -> tuple[State, list[str]]:
    """The released MVAE or MoPoE-VAE (``encoders.<lead>.*``, ``decoders.<lead>.*``), whose files are alike.

    Arguments, result and errors as for ``released_ls_emvae``; decoders are exchanged together with the encoders.
    """
    state = unwrapped(state)
    _refuse_strangers(state, lambda name: re.match(ENCODER, name) or re.match(DECODER, name))
    encoders, idle = _stacked_encoders(state, leads, swap_avl_avf)
    numbers = _numbers(leads, swap_avl_avf)
    decoders = {
        # Our linear weights are (leads, in, out).
        "decoders.fc.weight": torch.stack([_entry(state, f"decoders.{n}.fc.weight").T for n in numbers]),
        "decoders.fc.bias": torch.stack([_entry(state, f"decoders.{n}.fc.bias") for n in numbers]),
    }
    for layer in range(3):
        for part in ("weight", "bias"):
            parts = [_entry(state, f"decoders.{n}.convtrans{layer + 1}.{part}") for n in numbers]
            decoders[f"decoders.convs.{layer}.{part}"] = torch.cat(parts)
    unused = [n for n in state if (m := re.match(DECODER, n)) and int(m[1]) not in numbers]
    return encoders | decoders, idle + unused


def released_beta_vae(state: Mapping[str, Tensor]) -> tuple[State, list[str]]:
    """The released beta-VAE: layers of Conv1d (``.0``), BatchNorm (``.1``), and four linear or final layers."""
    state = unwrapped(state)
    rules = (
        (r"encoder\.(\d+)\.0\.", r"encoder.convs.\1."),
        (r"encoder\.(\d+)\.1\.", r"encoder.norms.\1."),
        (r"fc_mu\.", "encoder.mu."),
        (r"fc_var\.", "encoder.logvar."),
        (r"decoder_input\.", "decoder.fc."),
        (r"decoder\.(\d+)\.0\.", r"decoder.convs.\1."),
        (r"decoder\.(\d+)\.1\.", r"decoder.norms.\1."),
        (r"final_layer\.", "decoder.last."),
    )
    _refuse_strangers(state, lambda name: any(re.match(old, name) for old, _ in rules))
    renamed = {}
    for name, value in state.items():
        old, new = next(rule for rule in rules if re.match(rule[0], name))
        renamed[re.sub(f"^{old}", new, name)] = value
    return renamed, []


def _stacked_encoders(state: State, leads: Sequence[str], swap: bool) -> tuple[State, list[str]]:
    """The encoders of ``leads`` in the names of ``LeadEncoders``, and the entries of the other leads."""
    prefix = "lead_encoders" if any(name.startswith("lead_encoders.") for name in state) else "encoders"
    numbers = _numbers(leads, swap)
    stacked: State = {}
    for layer in range(3):
        for part in ("weight", "bias"):
            parts = [_entry(state, f"{prefix}.{n}.conv{layer + 1}.{part}") for n in numbers]
            stacked[f"encoders.convs.{layer}.{part}"] = torch.cat(parts)
    both = ("fc_mu", "fc_logvar")
    # Mean and log-variance read the same features: one product of (in, 2 latent) a lead.
    weights = [torch.cat([_entry(state, f"{prefix}.{n}.{fc}.weight") for fc in both]).T for n in numbers]
    biases = [torch.cat([_entry(state, f"{prefix}.{n}.{fc}.bias") for fc in both]) for n in numbers]
    stacked |= {"encoders.fc.weight": torch.stack(weights), "encoders.fc.bias": torch.stack(biases)}
    idle = [name for name in state if (m := re.match(ENCODER, name)) and int(m[1]) not in numbers]
    return stacked, idle


def _numbers(leads: Sequence[str], swap: bool) -> list[int]:
    """Number of each lead's network in a released file."""
    other = {"aVL": "aVF", "aVF": "aVL"} if swap else {}
    return [LEADS.index(other.get(lead, lead)) for lead in leads]


def _entry(state: State, name: str) -> Tensor:
    if name not in state:
        raise CheckpointError(
            f"The released weights lack {name}.",
            "A whole state dict of the authors' network, with a network for each lead.",
            "Check that it is the right file for this model.",
        )
    return state[name]


def _of_shared_decoder(name: str) -> bool:
    return name.startswith(("shared_decoder.", "decoder."))


def _refuse_strangers(state: State, known: Callable[[str], object]) -> None:
    strangers = [name for name in state if not known(name)]
    if strangers:
        raise CheckpointError(
            f"{len(strangers)} entries of the released weights belong to no part of the network, first {strangers[0]}.",
            "A state dict of the authors' network for this model.",
            "Check that it is the right file for this model.",
        )
