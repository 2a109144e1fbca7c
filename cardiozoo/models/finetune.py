"""FineTune: a small head on any trained model that embeds.

The protocol of LS-EMVAE (Suvon et al., 2025, section 2.3): the pre-trained encoder is frozen, its representation goes
through Linear, ReLU, dropout and Linear, and the head alone is trained with the focal loss. Here the encoder may be any
model of the zoo or of a plugin, may be trained as well, and a frozen one sees each record once.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from cardiozoo.data.batch import Batch
from cardiozoo.data.tasks import TaskKind
from cardiozoo.errors import CardiozooWarning, CheckpointError, OptionError
from cardiozoo.models.base import Optimizer, Schedule, ZooModel
from cardiozoo.models.data_facts import data_facts, differences, plain
from cardiozoo.models.encoders import (
    choose_representation,
    digest,
    embed_with,
    open_encoder,
    rebuild_encoder,
    representations_of,
    used_parameters,
    width_of,
)
from cardiozoo.models.feature_cache import cache_file, can_attach, features_of
from cardiozoo.nn.losses import Loss


class FineTune(ZooModel):
    """A trained encoder, frozen or not, and a head for a task.

    Args:
        encoder: Run folder or checkpoint of the trained encoder. A checkpoint of this model holds the encoder itself
            and does not need it any more.
        representation: Which of the encoder's representations; its default if None. Those of ls_emvae: fused,
            lead_concat (the leads' own, side by side), experts (leads and their product).
        freeze: Train the head alone. Otherwise what of the encoder the representation depends on is trained too.
        hidden: Width of the head's hidden layer; 0 for a linear head, which starts at 0.
        dropout: Dropout on the hidden layer.
        cache: Embed every record once with a frozen encoder, keep the vectors on disk (below ``CARDIOZOO_CACHE``) and
            read no signal any more. Changes no result. Not with random windows, whose signals differ every epoch.
        mismatch: What to do if the data are prepared in another way than those the encoder was trained on (filters,
            standardisation, length): stop with an ``error``, or ``warn``. Another sampling rate is always an error.
        encoder_learning_rate: Learning rate of an encoder that is not frozen; that of the head if None.
        encoder_facts: Class, sizes and origin of the encoder; written by the checkpoint, not typed.
        ecg_leads: Leads that the data show.
        ecg_samples: Samples of a record.
        ecg_rate: Samples a second.
        num_classes: Columns of the target.
        class_names: One name a class.
        task_kind: ``binary``, ``multilabel``, ``multiclass`` or ``regression``.
        target_mean: Mean of a regression target in training.
        target_std: Standard deviation of a regression target in training.
        loss: ``focal`` or ``cross_entropy``; for ``regression`` ``mse``, ``smooth_l1``, ``rmse`` or ``logcosh``. Focal
            and mse if None.
        focal_alpha: Weight of the positive label in the focal loss; none if None.
        focal_gamma: Exponent of the focal loss.
        learning_rate: Learning rate.
        weight_decay: L2 penalty of ``adam``, decoupled decay of ``adamw``.
        betas: Decay rates of the optimiser's moments.
        schedule: ``none``, ``plateau`` or ``one_cycle``.
        optimizer: ``adam`` or ``adamw``.

    Raises:
        CheckpointError: There is no encoder, or it cannot be read.
        OptionError: An option is out of its range, or the data do not suit the encoder.
    """

    task_kinds: ClassVar[tuple[TaskKind, ...]] = ("binary", "multilabel", "multiclass", "regression")
    default_loss: ClassVar[Loss] = "focal"
    fused_optimizer = True

    def __init__(
        self,
        encoder: str | None = None,
        representation: str | None = None,
        freeze: bool = True,
        hidden: int = 128,
        dropout: float = 0.5,
        cache: bool = True,
        mismatch: Literal["error", "warn"] = "error",
        encoder_learning_rate: float | None = None,
        encoder_facts: dict[str, Any] | None = None,
        ecg_leads: list[str] | None = None,
        ecg_samples: int | None = None,
        ecg_rate: float | None = None,
        num_classes: int = 2,
        class_names: list[str] | None = None,
        task_kind: TaskKind = "multiclass",
        target_mean: list[float] | None = None,
        target_std: list[float] | None = None,
        loss: Loss | None = None,
        focal_alpha: float | None = 0.25,
        focal_gamma: float = 2.0,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "none",
        optimizer: Optimizer = "adam",
    ) -> None:
        super().__init__(
            num_classes, class_names, task_kind, learning_rate, weight_decay, betas, schedule, optimizer, loss,
            focal_alpha, focal_gamma, target_mean, target_std,
        )  # fmt: skip
        _check(hidden, dropout, mismatch, encoder_learning_rate)
        self.save_hyperparameters()
        self.freeze, self.cache, self.mismatch, self.source = freeze, cache, mismatch, encoder
        self.encoder_learning_rate = encoder_learning_rate
        self.encoder, self.facts = _build(encoder, encoder_facts)
        self.hparams["encoder_facts"] = self.facts
        self._encoder_is_loaded = encoder_facts is None
        self._said: set[str] = set()
        self.required = getattr(self.encoder, "required", ())
        self.representation = choose_representation(self.encoder, representation)
        self._compare({"ecg_leads": ecg_leads, "ecg_samples": ecg_samples, "ecg_rate": ecg_rate})
        known = self.facts["data"].get("ecg_leads")
        self.leads = [lead for lead in ecg_leads if known is None or lead in known] if ecg_leads else None
        self.width = width_of(self.encoder, self.representation, self.leads)
        self.head = _head(self.width, hidden, dropout, num_classes)
        self._choose_what_is_trained()

    # --- The model ---------------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"logits": self.head(self.embed(batch))}

    def embed(self, batch: Batch) -> Tensor:
        """The encoder's representation (B, D), from the batch's ``features`` where the data module holds them."""
        if "features" in batch:
            return batch["features"]
        # A frozen encoder needs no graph, unless somebody asks how its inputs matter.
        wanted = not self.freeze or any(isinstance(v, Tensor) and v.requires_grad for v in batch.values())
        with torch.set_grad_enabled(torch.is_grad_enabled() and wanted):
            return embed_with(self.encoder, batch, self.representation, self.leads)

    def embedding_size(self, representation: str | None = None, leads: list[str] | None = None) -> int:
        return self.width

    def train(self, mode: bool = True) -> FineTune:
        super().train(mode)
        if self.freeze:
            self.encoder.eval()  # its BatchNorm keeps its statistics, its dropout and sampling stay off
        return self

    def parameter_groups(self) -> list[dict[str, Any]]:
        encoder = [p for p in self.encoder.parameters() if p.requires_grad]
        rate = {} if self.encoder_learning_rate is None else {"lr": self.encoder_learning_rate}
        head = [{"params": list(self.head.parameters())}]
        return [{"params": encoder, **rate}, *head] if encoder else head

    def _choose_what_is_trained(self) -> None:
        self.encoder.requires_grad_(False)
        if not self.freeze:
            # Decoders and old heads stay as they are: without a gradient they would only fill the optimiser.
            self.encoder.requires_grad_(True)
            for parameter, used in list(used_parameters(self.encoder, self.representation, self.leads)):
                parameter.requires_grad_(used)

    # --- Around the training -----------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            self._compare(data_facts(data))
        if stage != "fit":
            return
        self._load_from_source()
        if self._may_cache(data):
            self._attach_features(data)

    def on_fit_start(self) -> None:
        if not self._encoder_is_loaded:
            raise CheckpointError(
                f"The encoder {self.source} is gone or has changed, and there is no checkpoint to continue from.",
                "The encoder as it was, or a checkpoint of the fine-tuned model.",
                "cardiozoo fit --resume RUN, or name another --model.encoder.",
            )

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int = 0) -> Batch:
        # Features stand for a modality that is not in the batch any more.
        return batch if "features" in batch else super().on_before_batch_transfer(batch, dataloader_idx)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        result = super().load_state_dict(state_dict, strict, assign)
        self._encoder_is_loaded = True
        return result

    def _load_from_source(self) -> None:
        """Take the weights from the original encoder, if this model was built from a description and it is still there.

        A run that is continued gets its weights from its own checkpoint, but only after the features are needed.
        """
        if self._encoder_is_loaded or self.source is None:
            return
        try:
            found, facts = open_encoder(self.source)
        except CheckpointError:
            return
        if facts["sha256"] == self.facts["sha256"]:
            self.encoder.load_state_dict(found.state_dict())
            self._encoder_is_loaded = True

    def _may_cache(self, data: Any) -> bool:
        trainer: Trainer = self.trainer
        whole = not str(trainer.precision).endswith("-true") or str(trainer.precision) == "32-true"
        known = self.freeze and self.cache and self._encoder_is_loaded
        return known and whole and not trainer.fast_dev_run and data is not None and can_attach(data)

    def _attach_features(self, data: Any) -> None:
        device = self.trainer.strategy.root_device
        self.encoder.to(device).eval()

        def embed(batch: Batch) -> Tensor:
            moved = self.trainer.strategy.batch_to_device(self.on_before_batch_transfer(batch), device)
            with torch.no_grad(), self.trainer.precision_plugin.forward_context():
                return embed_with(self.encoder, moved, self.representation, self.leads)

        key = {"class_path": self.facts["class_path"], "init": self.facts["init"], "sha256": digest(self.encoder)}
        key |= {"representation": self.representation, "leads": self.leads}
        file = cache_file(data, key, self.trainer)
        data.attach_features(features_of(data, self.trainer, embed, self.width, file))

    def _compare(self, data: Mapping[str, Any]) -> None:
        """Refuse or report data that are not as those that the encoder was trained on."""
        fatal, grave, minor = differences(self.facts["data"], plain(data), bool(representations_of(self.encoder)))
        refused = fatal + (grave if self.mismatch == "error" else [])
        if refused:
            raise OptionError(
                f"The data are not as those that the encoder was trained on: {'; '.join(refused)}.",
                "Data prepared in the same way, for the encoder's numbers to mean the same.",
                "Give the data module the encoder's options."
                + ("" if fatal else " --model.mismatch warn goes on all the same."),
            )
        for words in {*minor, *grave} - self._said:
            warnings.warn(f"Encoder {type(self.encoder).__name__}: {words}.", CardiozooWarning, stacklevel=3)
            self._said.add(words)


def _build(path: str | None, facts: Mapping[str, Any] | None) -> tuple[LightningModule, dict[str, Any]]:
    if facts is not None:
        facts = plain(facts)
        return rebuild_encoder(facts), facts
    if path is None:
        raise OptionError(
            "No encoder was named.",
            "The run folder or a checkpoint of a model that embeds.",
            "--model.encoder runs/ls_emvae/mimic_iv_ecg/TIME",
        )
    return open_encoder(path)


def _head(width: int, hidden: int, dropout: float, num_classes: int) -> nn.Sequential:
    if hidden == 0:
        linear = nn.Linear(width, num_classes)
        # a convex problem needs no random start, whose noise would stay where labels are few
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        return nn.Sequential(linear)
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, num_classes))


def _check(hidden: int, dropout: float, mismatch: str, encoder_learning_rate: float | None) -> None:
    if hidden < 0:
        came, accepted = f"hidden {hidden}.", "A width of at least 1, or 0 for a linear head."
        raise OptionError(came, accepted, "The default is 128.")
    if not 0 <= dropout < 1:
        raise OptionError(f"dropout {dropout}.", "A share in [0, 1).", "The default is 0.5.")
    if mismatch not in ("error", "warn"):
        raise OptionError(f"mismatch {mismatch!r}.", "error or warn.", "Choose one; error is the default.")
    if encoder_learning_rate is not None and not encoder_learning_rate > 0:
        came, accepted = f"encoder_learning_rate {encoder_learning_rate}.", "A number above 0, or none."
        raise OptionError(came, accepted, "Leave it out to train the encoder at the head's rate.")
