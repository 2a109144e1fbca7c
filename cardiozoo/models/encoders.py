"""A trained model as an encoder: found in its run folder or checkpoint, described, built again, asked to embed."""

from __future__ import annotations

import contextvars
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from cardiozoo.data.batch import Batch
from cardiozoo.data.ecg import LEADS
from cardiozoo.errors import CheckpointError, OptionError
from cardiozoo.models.data_facts import PREPROCESSING, plain


def checkpoint_of(path: str | Path) -> Path:
    """The checkpoint that a run folder or a checkpoint's path stands for: a run's best one, else its last.

    Raises:
        CheckpointError: Neither exists.
    """
    path = Path(path)
    candidates = [path / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")] if path.is_dir() else [path]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise CheckpointError(
            f"There is no trained encoder at {path}.",
            "A run folder with checkpoints/best.ckpt or last.ckpt, or a checkpoint file.",
            "Train one: cardiozoo fit --model ls_emvae --data mimic_iv_ecg",
        )
    return found


def open_encoder(path: str | Path) -> tuple[LightningModule, dict[str, Any]]:
    """The model in a run folder or checkpoint, in evaluation mode on the CPU, and the facts to build it again.

    Returns:
        The model; and ``class_path``, ``init`` (its hyper-parameters), ``sha256`` (of all its weights) and ``data``
        (the options its data were prepared with, as far as the run says).

    Raises:
        CheckpointError: No checkpoint, one that does not say its class, or one that does not load.
    """
    checkpoint = checkpoint_of(path)
    try:
        content = torch.load(checkpoint, map_location="meta", mmap=True, weights_only=True)
        hyperparameters = dict(content.get("hyper_parameters") or {})
    except Exception as error:
        raise CheckpointError(
            f"{checkpoint} cannot be read as a checkpoint: {type(error).__name__}: {str(error).splitlines()[0]}",
            "A file that `cardiozoo fit` wrote.",
            "If a run was killed while writing it, take another checkpoint of the run.",
        ) from error
    config = _config_beside(checkpoint)
    class_path = content.get("class_path") or hyperparameters.get("_class_path")
    class_path = class_path or config.get("model", {}).get("class_path")
    if class_path is None:
        raise CheckpointError(
            f"{checkpoint} does not say which model it holds.",
            "A checkpoint of a model of the zoo, or of any model trained with `cardiozoo fit`.",
            "Give the run folder, whose config.yaml names the class.",
        )
    cls = class_at(class_path)
    try:
        model = apart(lambda: cls.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True)).eval()
    except (RuntimeError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{checkpoint} does not load as {class_path}: {str(error).splitlines()[0]}",
            "A checkpoint of that very class and version.",
            "Train the encoder anew with this version.",
        ) from error
    known = inspect.signature(cls.__init__).parameters
    init = {name: plain(value) for name, value in dict(model.hparams).items() if name in known}
    facts = {"class_path": class_path, "init": init, "sha256": digest(model), "data": _data_of(content, config, init)}
    return model, facts


def rebuild_encoder(facts: Mapping[str, Any]) -> LightningModule:
    """An encoder of the class and sizes in ``facts``, with weights yet to be loaded."""
    return apart(lambda: class_at(facts["class_path"])(**facts["init"])).eval()


def apart(build: Callable[[], LightningModule]) -> LightningModule:
    """Build a model while another one is being built by the command line.

    The command line keeps the options of the model it builds in a context variable, which every model built meanwhile
    would take for its own hyper-parameters.
    """
    return contextvars.Context().run(build)


def class_at(path: str) -> type[LightningModule]:
    """The class behind a full import path.

    Raises:
        CheckpointError: It cannot be imported; its package is probably not installed.
    """
    from importlib import import_module

    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"The encoder is a {path}, which cannot be imported: {error}",
            "The package of that model, installed.",
            "Install the plugin that the encoder was trained with.",
        ) from error


def digest(module: nn.Module) -> str:
    """SHA-256 of all weights and buffers, names and shapes included."""
    found = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def representations_of(encoder: LightningModule) -> tuple[str, ...]:
    """Names of the representations a model offers, the default first; none if it has but one."""
    # A model may well use the name for something else, so only names count.
    offered = getattr(type(encoder), "representations", ())
    return offered if isinstance(offered, tuple) else ()


def choose_representation(encoder: LightningModule, asked: str | None) -> str | None:
    """The representation to use: the one asked for, or the model's default.

    Raises:
        OptionError: The model has no such representation.
    """
    offered = representations_of(encoder)
    if asked is None or asked in offered:
        return asked or (offered[0] if offered else None)
    raise OptionError(
        f"representation {asked!r} of {type(encoder).__name__}.",
        f"One of {', '.join(offered)}." if offered else "None by name: this model has a single representation.",
        "Leave --model.representation out for the default.",
    )


def embed_with(encoder: LightningModule, batch: Batch, representation: str | None, leads: list[str] | None) -> Tensor:
    """The encoder's representation of a batch (B, D)."""
    if representation is None:
        return encoder.embed(batch)
    return encoder.embed(batch, representation=representation, leads=leads)


def width_of(encoder: LightningModule, representation: str | None, leads: list[str] | None) -> int:
    """Width D of the representation: as the model says, else as it turns out on a batch of one.

    Raises:
        OptionError: The model does not embed, or refuses a batch of the sizes it was built for.
    """
    say = getattr(encoder, "embedding_size", None)
    try:
        if callable(say):
            return int(say(representation, leads) if representation is not None else say())
    except NotImplementedError:
        pass
    try:
        with torch.no_grad():
            return embed_with(encoder, probe_batch(encoder), representation, leads).shape[1]
    except Exception as error:
        raise OptionError(
            f"{type(encoder).__name__} does not embed a batch: {type(error).__name__}: {error}",
            "A model with embed(batch) and, unless a random batch will do to find out, embedding_size().",
            "`cardiozoo list` says which models have a representation.",
        ) from error


def used_parameters(
    encoder: LightningModule, representation: str | None, leads: list[str] | None
) -> Iterator[tuple[nn.Parameter, bool]]:
    """Every parameter and whether the representation depends on it: a decoder or a classifier does not."""
    parameters = list(encoder.parameters())
    with torch.enable_grad():
        total = embed_with(encoder, probe_batch(encoder, leads), representation, leads).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    return zip(parameters, (gradient is not None for gradient in gradients), strict=True)


def probe_batch(encoder: LightningModule, leads: list[str] | None = None) -> Batch:
    """One complete sample of every modality, of the sizes in the hyper-parameters."""
    init = dict(encoder.hparams)
    generator = torch.Generator().manual_seed(0)
    shown = torch.tensor([[lead in (leads or LEADS) for lead in LEADS]])
    shapes = {"ehr": (1, 4, init.get("ehr_channels", 76)), "cxr": (1, 3, 64, 64)}
    shapes["ecg"] = (1, len(LEADS), init.get("ecg_samples", 5000))
    batch: dict[str, Any] = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {
        **batch, "id": ["probe"], "patient": ["probe"], "ehr_lengths": torch.tensor([4]), "ecg_leads": shown,
        "present": {name: torch.ones(1, dtype=torch.bool) for name in shapes},
    }  # type: ignore[return-value]  # fmt: skip


def fingerprint(facts: Mapping[str, Any]) -> str:
    """SHA-256 of plain facts."""
    return hashlib.sha256(json.dumps(plain(facts), sort_keys=True, default=str).encode()).hexdigest()


def _config_beside(checkpoint: Path) -> dict[str, Any]:
    """config.yaml of the run that a checkpoint lies in; empty without one."""
    path = checkpoint.parent.parent / "config.yaml"
    if not path.is_file():
        return {}
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded if isinstance(loaded, dict) else {}


def _data_of(content: Mapping[str, Any], config: Mapping[str, Any], init: Mapping[str, Any]) -> dict[str, Any]:
    """What the checkpoint states of its data; of a model that is none of ours, what its run and its options state."""
    if "data_facts" in content:
        return dict(content["data_facts"])
    options = (config.get("data") or {}).get("init_args") or {}
    found = {name: plain(options[name]) for name in PREPROCESSING if name in options}
    return found | {name: init[name] for name in ("ecg_leads", "ecg_samples", "ecg_rate") if init.get(name) is not None}
