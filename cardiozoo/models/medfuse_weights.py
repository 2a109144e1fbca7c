"""From other people's names to ours: encoders of earlier stages and the released MedFuse weights.

The functions here are pure: a state dict in, a state dict in the names of our modules and a list of entries left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from cardiozoo.errors import CheckpointError
from cardiozoo.models.checkpoints import State, strip_prefix

LSTM_TENSORS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def is_released(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of the authors' code."""
    return any(name.startswith(("ehr_model.", "cxr_model.")) for name in state)


def released_ehr_encoder(state: Mapping[str, Tensor]) -> State:
    """``ehr_model.layer<i>.<tensor>_l0`` -> ``lstm.<tensor>_l<i>``, the names of ``LstmEncoder``."""
    layers = {name.split(".")[1] for name in state if name.startswith("ehr_model.layer")}
    return {
        f"lstm.{tensor}_l{layer.removeprefix('layer')}": state[f"ehr_model.{layer}.{tensor}_l0"]
        for layer in sorted(layers)
        for tensor in LSTM_TENSORS
        if f"ehr_model.{layer}.{tensor}_l0" in state
    }


def released_cxr_encoder(state: Mapping[str, Tensor]) -> State:
    """``cxr_model.vision_backbone.*`` -> ``backbone.*``, the names of ``ImageEncoder``; timm has torchvision's."""
    return {f"backbone.{name}": value for name, value in strip_prefix(state, "cxr_model.vision_backbone.").items()}


def released_fusion(state: Mapping[str, Tensor]) -> tuple[State, list[str]]:
    """A whole released network in the names of ``MedFuse``, and the names of the idle heads that are left out."""
    translated = {f"ehr_encoder.{name}": value for name, value in released_ehr_encoder(state).items()}
    translated |= {f"cxr_encoder.{name}": value for name, value in released_cxr_encoder(state).items()}
    translated |= {f"projection.{name}": value for name, value in strip_prefix(state, "projection.").items()}
    translated |= {f"fusion.{name}": value for name, value in strip_prefix(state, "lstm_fusion_layer.").items()}
    translated |= {f"head.{name}": value for name, value in strip_prefix(state, "lstm_fused_cls.0.").items()}
    idle = ("ehr_model.dense_layer.", "cxr_model.classifier.", "fused_cls.")
    return translated, [name for name in state if name.startswith(idle)]


def encoder_of(state: Mapping[str, Tensor], modality: str, source: str) -> tuple[State, list[str]]:
    """The ``ehr`` or ``cxr`` encoder in a checkpoint of ours (uni-modal or MedFuse) or of the authors.

    Returns:
        The encoder's state dict, and the names of everything else in the file.

    Raises:
        CheckpointError: The checkpoint holds no such encoder.
    """
    if is_released(state):
        encoder = released_ehr_encoder(state) if modality == "ehr" else released_cxr_encoder(state)
        taken = ("ehr_model.layer",) if modality == "ehr" else ("cxr_model.vision_backbone.",)
    else:
        whole = any(name.startswith(f"{modality}_encoder.") for name in state)
        taken = (f"{modality}_encoder." if whole else "encoder.",)
        encoder = strip_prefix(state, taken[0])
    marker = {"ehr": "lstm.", "cxr": "backbone."}[modality]
    if not any(name.startswith(marker) for name in encoder):
        stage = {"ehr": "ehr_lstm", "cxr": "cxr_resnet"}[modality]
        raise CheckpointError(
            f"{source} holds no {modality.upper()} encoder.",
            f"A checkpoint of {stage} or medfuse, or an official MedFuse file.",
            f"Train one: cardiozoo fit --model {stage} --data mimic_cxr_ehr.",
        )
    return encoder, [name for name in state if not name.startswith(taken)]
