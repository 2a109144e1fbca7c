"""The contract of a model, one function a rule."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cardiozoo.data.batch import Batch
from cardiozoo.data.ecg import LIMB_LEADS
from cardiozoo.testing.batches import concatenate, select, spoil_masked
from cardiozoo.testing.distributed import distributed_gradients, to_numpy
from cardiozoo.testing.processes import pair
from cardiozoo.testing.subject import (
    CLASSES,
    TARGET_MEAN,
    TARGET_STD,
    Check,
    Subject,
    answers_of,
    locate,
    training_loss,
)

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
#: Metrics that are logged for a kind of task where they are not those of rankings.
METRICS = {"regression": ("rmse", "mae", "r2"), "unsupervised": ()}


def model_checks(
    name_or_class: str | type,
    missing: Sequence[str] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    **init: Any,
) -> list[Check]:
    """The checks of a model, for ``pytest.mark.parametrize("check", model_checks(...), ids=str)``.

    Args:
        name_or_class: Registered name, class path or class.
        missing: Modalities that rows may lack; the card's ``missing`` if None.
        shapes: Shape of one sample a modality where the default does not suit, ``{"cxr": (3, 224, 224)}``.
        **init: Arguments of ``__init__`` over the card's ``tiny``.
    """
    cls, card = locate(name_or_class, "model")
    subject = Subject(cls, card, init, missing, shapes)
    return [Check(function.__name__.removeprefix("check_"), partial(function, subject)) for function in CHECKS]


def check_model(
    name_or_class: str | type,
    missing: Sequence[str] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    **init: Any,
) -> None:
    """Run every check of the contract on a model; arguments as for ``model_checks``.

    Raises:
        AssertionError: A rule is broken; the message names the rule.
    """
    for check in model_checks(name_or_class, missing, shapes, **init):
        try:
            check()
        except AssertionError as error:
            raise AssertionError(f"{check}: {error}") from error


def check_card(subject: Subject) -> None:
    """The card says what the commands need to know."""
    card = subject.card
    assert card, f"{subject.name} has no card: a YAML file beside its module"
    needed = ("name", "title", "summary", "modalities", "tasks", "missing", "tiny")
    absent = [field for field in needed if field not in card]
    assert not absent, f"the card lacks {', '.join(absent)}"
    assert set(card["missing"]) <= set(card["modalities"]), "the card tolerates a missing modality it does not use"
    assert subject.kinds, f"the card's tasks {card['tasks']} hold none of {', '.join(CLASSES)}"
    allowed = getattr(subject.cls, "task_kinds", None)
    if allowed is not None:
        more = sorted(set(subject.kinds) - set(allowed))
        assert not more, (
            f"the card lists {', '.join(more)}, and the class takes {', '.join(allowed)}: write what it can be trained "
            "for into its class attribute task_kinds, or take it off the card"
        )


def check_shapes(subject: Subject) -> None:
    """Logits are (B, C) and finite, the loss is a finite scalar, for every kind of task.

    An unsupervised model has no logits; it has a representation and the columns of its predictions table.
    """
    for kind in subject.kinds:
        model, batch = subject.build(kind), subject.batch(kind)
        logits, expected = answers_of(model, batch), (len(batch["id"]), CLASSES[kind])
        if kind == "unsupervised":
            expected = (len(batch["id"]), logits.shape[-1])
        assert logits.shape == expected, f"{kind}: logits have shape {tuple(logits.shape)}, expected {expected}"
        assert logits.isfinite().all(), f"{kind}: logits are not finite"
        loss = training_loss(model.train(), batch)
        assert loss.isfinite(), f"{kind}: the training loss is {loss}"


def check_gradients(subject: Subject) -> None:
    """Every trainable parameter gets a finite gradient in every composition of a batch; not all are 0 if complete."""
    for kind in subject.kinds:
        for words, present in subject.compositions().items():
            model = subject.build(kind).train()
            training_loss(model, subject.batch(kind, size=4, present=present)).backward()
            # A model of the missing modality alone has nothing to learn from where it is missing.
            _require_gradients(model, f"{kind}, {words}", nonzero=not present)


def check_masked_entries(subject: Subject) -> None:
    """NaN and inf in absent rows and padded steps change no logit and reach no gradient."""
    for words, present in subject.compositions().items():
        batch = subject.batch(size=4, present=present)
        for filler in (torch.nan, torch.inf):
            model, spoiled = subject.build(), spoil_masked(batch, filler)
            clean = answers_of(model, batch)
            _same(answers_of(model, spoiled), clean, f"{words}: logits with {filler} in masked entries")
            model.train()
            loss = training_loss(model, spoiled)
            assert loss.isfinite(), f"{words}: the loss is {loss} with {filler} in masked entries"
            loss.backward()
            _require_gradients(model, f"{words}, {filler} in masked entries")


def check_unlabelled(subject: Subject) -> None:
    """Unlabelled targets are left out: finite loss and gradients, also in a batch without any label."""
    if subject.kind == "unsupervised":
        return
    batch = subject.batch(size=4)
    for words, rows in (("one unlabelled row", slice(0, 1)), ("no label at all", slice(None))):
        target = batch["target"].clone()
        target[rows] = torch.nan if target.is_floating_point() else -1
        model = subject.build().train()
        loss = training_loss(model, {**batch, "target": target})
        assert loss.isfinite(), f"{words}: the loss is {loss}"
        loss.backward()
        _require_gradients(model, words)


def check_padding(subject: Subject) -> None:
    """More padding behind a time series changes nothing."""
    if "ehr" not in subject.modalities:
        return
    batch, model = subject.batch(), subject.build()
    longer = nn.functional.pad(batch["ehr"], (0, 0, 0, 5))
    _same(answers_of(model, {**batch, "ehr": longer}), answers_of(model, batch), "logits with five more padded steps")


def check_leads(subject: Subject) -> None:
    """Any set of leads of an electrocardiogram will do, also one; a lead that was not asked for never counts."""
    if "ecg" not in subject.modalities:
        return
    batch = subject.batch(size=12)
    alone = torch.eye(12, dtype=torch.bool)
    single = {**batch, "ecg": torch.where(alone[..., None], batch["ecg"], 0), "ecg_leads": alone}
    model = subject.build().train()
    loss = training_loss(model, single)
    assert loss.isfinite(), f"one lead a row: the loss is {loss}"
    loss.backward()
    _require_gradients(model, "one lead a row")
    assert answers_of(model, single).isfinite().all(), "one lead a row: logits are not finite"
    if "ecg_leads" in inspect.signature(subject.cls.__init__).parameters and "ecg_leads" not in subject.init:
        limb = replace(subject, init={**subject.init, "ecg_leads": list(LIMB_LEADS)}).build()
        chest = torch.arange(12) >= len(LIMB_LEADS)
        other = {**batch, "ecg": torch.where(chest[:, None], 7.0, batch["ecg"])}
        _same(answers_of(limb, other), answers_of(limb, batch), "logits of a model of six leads with other chest leads")


def check_rows(subject: Subject) -> None:
    """In evaluation a row's logits depend on nothing but the row: alone, in any order, beside any others."""
    for words, present in subject.compositions(size=4).items():
        batch, model = subject.batch(size=4, present=present), subject.build()
        together = answers_of(model, batch)
        order = [2, 0, 3, 1]
        _same(answers_of(model, select(batch, order)), together[order], f"{words}: logits of the rows in another order")
        for row in range(4):
            alone = answers_of(model, select(batch, [row]))
            _same(alone, together[[row]], f"{words}: logits of row {row} alone")


def check_batch_of_one(subject: Subject) -> None:
    """A batch of one row trains and is predicted."""
    for words, present in subject.compositions(size=1).items():
        model = subject.build().train()
        batch = subject.batch(size=1, present=present)
        training_loss(model, batch).backward()
        _require_gradients(model, f"one row, {words}")
        assert answers_of(model, batch).dim() == 2 and len(answers_of(model, batch)) == 1, "the batch axis got lost"


def check_record(subject: Subject) -> None:
    """``predict_step`` returns the standard record and leaves the batch as it was."""
    for kind in subject.kinds:
        model, batch = subject.build(kind).eval(), subject.batch(kind)
        size, classes = len(batch["id"]), CLASSES[kind]
        before = concatenate([batch])
        with torch.no_grad():
            record = model.predict_step(batch, 0)
        _same_batch(batch, before)
        absent = [key for key in ("id", "patient", "class_names", "score", "target", "present") if key not in record]
        assert not absent, f"{kind}: the record lacks {', '.join(absent)}"
        assert record["id"] == batch["id"], f"{kind}: the record's ids are not the batch's"
        for key in ("score", "target"):
            assert record[key].shape == (size, classes), f"{kind}: {key} has shape {tuple(record[key].shape)}"
        score = record["score"]
        probable = kind in ("regression", "unsupervised") or ((score >= 0) & (score <= 1)).all()
        assert probable, f"{kind}: scores are not probabilities"
        assert score.isfinite().all(), f"{kind}: scores are not finite"
        if kind == "multiclass":
            _same(score.sum(1), torch.ones(size), "the sum of the scores of a row")
        for name, column in record.get("extra", {}).items():
            assert column.shape in ((size,), (size, classes)), f"extra {name!r} has shape {tuple(column.shape)}"


def check_units(subject: Subject) -> None:
    """A regression answers in the target's own units: it is told their mean and spread in training, and uses them."""
    if "regression" not in subject.kinds:
        return
    absent = [name for name in ("target_mean", "target_std") if not subject.takes(name)]
    assert not absent, (
        f"__init__ has no {' and no '.join(absent)}: the data answer them, and without them a target of 100 mmHg is "
        "learned as it is; pass them on to ZooModel, which standardises the target and gives answers in its units"
    )
    batch, scores = subject.batch("regression"), []
    for shift in (0.0, 100.0):
        moved = {"target_mean": [mean + shift for mean in TARGET_MEAN], "target_std": list(TARGET_STD)}
        model = replace(subject, init={**subject.init, **moved}).build("regression").eval()
        with torch.no_grad():
            scores.append(model.predict_step(batch, 0)["score"])
    _same(scores[1], scores[0] + 100.0, "the answers for a target whose mean is 100 higher")


def check_embed(subject: Subject) -> None:
    """``embed`` returns one finite vector a sample, if the card says there is a representation."""
    if not subject.card.get("representation"):
        return
    for words, present in subject.compositions().items():
        model, batch = subject.build().eval(), subject.batch(size=4, present=present)
        names = getattr(model, "representations", None)
        for name in names if isinstance(names, tuple) and words == "every row complete" else (None,):
            with torch.no_grad():
                z = model.embed(batch) if name is None else model.embed(batch, representation=name)
            wanted = f"{words}: embed{f' of {name!r}' if name else ''}"
            assert z.dim() == 2 and len(z) == 4, f"{wanted} returned shape {tuple(z.shape)}, expected (4, D)"
            assert z.isfinite().all(), f"{wanted} is not finite"
            if name is not None:
                width = model.embedding_size(name)
                assert z.shape[1] == width, f"{wanted} is {z.shape[1]} wide, embedding_size says {width}"


def check_checkpoint(subject: Subject) -> None:
    """A checkpoint loads with ``weights_only=True`` and brings the same model back, hyper-parameters included."""
    model, batch = subject.build(seed=1), subject.batch()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ckpt"
        trainer = _trainer(Path(folder))
        trainer.strategy.connect(model)
        trainer.save_checkpoint(path)
        try:
            torch.load(path, weights_only=True)
        except Exception as error:
            raise AssertionError(f"the checkpoint holds more than plain values and tensors: {error}") from error
        again = subject.cls.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    assert dict(again.hparams) == dict(model.hparams), "the hyper-parameters differ after a round trip"
    _same(answers_of(again, batch), answers_of(model, batch), "logits after a round trip", exact=True)


def check_bf16(subject: Subject) -> None:
    """Training and prediction work under bfloat16 autocast: finite loss and gradients, logits near those of float32."""
    for words, present in subject.compositions().items():
        batch, model = subject.batch(size=4, present=present), subject.build()
        full = answers_of(model, batch)
        # Two contexts: within one, the casts of the weights made without gradient would be used again.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = answers_of(model, batch).float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = training_loss(model.train(), batch)
        assert loss.isfinite(), f"{words}: the loss is {loss} under bfloat16"
        assert (half - full).abs().max() <= 0.05 * (1 + full.abs().max()), f"{words}: bfloat16 logits are far off"
        loss.backward()
        _require_gradients(model, f"{words}, bfloat16")


def check_learning(subject: Subject) -> None:
    """Thirty steps on one batch lower the training loss."""
    model, batch = subject.build().train(), subject.batch(size=6)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = training_loss(model, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5]), f"the loss went from {losses[0]:.3f} to {losses[-1]:.3f}"


def check_trainer(subject: Subject) -> None:
    """A Trainer fits, validates, tests and predicts; the standard metrics are logged."""
    batches = [subject.batch(size=6, seed=seed) for seed in range(2)]
    model = subject.build()
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(Path(folder))
        loader = partial(DataLoader, batches, batch_size=None)
        trainer.fit(model, loader(), loader())
        logged = set(trainer.callback_metrics)
        judged = METRICS.get(subject.kind, ("auroc", "auprc"))
        needed = {"train/loss", "val/loss", *(f"val/{name}" for name in judged)}
        assert needed <= logged, f"fit logged {sorted(logged)}; {sorted(needed - logged)} are missing"
        results = trainer.test(model, loader(), verbose=False)[0]
        needed = {"test/loss", *(f"test/{name}" for name in judged)}
        assert needed <= set(results), f"test logged {sorted(results)}"
        records = trainer.predict(model, loader())
        assert [i for record in records or [] for i in record["id"]] == [i for b in batches for i in b["id"]]


def check_two_processes(subject: Subject) -> None:
    """On two processes DDP gives the loss and the gradients of one process on all rows, whatever falls to each of them.

    The first process has complete rows only; the second lacks every modality that may be missing, and a label.
    """
    absent = {modality: [False] * 3 for modality in subject.may_miss}
    ranks = [subject.batch(size=3, seed=1), subject.batch(size=3, seed=2, present=absent)]
    if "target" in ranks[1]:
        target = ranks[1]["target"].clone()
        target[0] = torch.nan if target.is_floating_point() else -1
        ranks[1]["target"] = target
    model = subject.build()
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    arguments = [(subject.cls, subject.arguments(), state, to_numpy(batch)) for batch in ranks]
    (loss_a, gradients), (loss_b, _) = pair().run(distributed_gradients, arguments)
    model.eval()
    loss = training_loss(model, concatenate(ranks))
    loss.backward()
    _same(torch.tensor((loss_a + loss_b) / 2), loss.detach(), "the loss on two processes")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None
            _same(torch.from_numpy(gradients[name]), parameter.grad, f"the gradient of {name} on two processes")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_card,
    check_shapes,
    check_gradients,
    check_masked_entries,
    check_unlabelled,
    check_padding,
    check_leads,
    check_rows,
    check_batch_of_one,
    check_record,
    check_units,
    check_embed,
    check_checkpoint,
    check_bf16,
    check_learning,
    check_trainer,
    check_two_processes,
)


def _require_gradients(model: LightningModule, words: str, nonzero: bool = False) -> None:
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    without = [name for name, gradient in trained.items() if gradient is None]
    assert not without, f"{words}: {len(without)} parameters get no gradient, first {without[0]}"
    broken = [name for name, gradient in trained.items() if not gradient.isfinite().all()]
    assert not broken, f"{words}: {len(broken)} gradients are not finite, first of {broken[0]}"
    assert not nonzero or any(gradient.any() for gradient in trained.values()), f"{words}: all gradients are zero"


def _same(got: Tensor, expected: Tensor, words: str, exact: bool = False) -> None:
    tolerance = {"rtol": 0.0, "atol": 0.0} if exact else TOLERANCE
    assert got.shape == expected.shape, f"{words}: shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    difference = (got.double() - expected.double()).abs().max().item() if got.numel() else 0.0
    assert torch.allclose(got.double(), expected.double(), **tolerance), f"{words} differ by up to {difference:.2e}"


def _same_batch(batch: Batch, before: Batch) -> None:
    for key, value in before.items():
        now = batch[key]  # type: ignore[literal-required]
        if isinstance(value, Tensor):
            assert torch.equal(now.nan_to_num(), value.nan_to_num()), f"predict_step changed {key!r} of the batch"


def _trainer(folder: Path) -> Trainer:
    return Trainer(
        accelerator="cpu", devices=1, max_epochs=1, default_root_dir=folder, logger=False, log_every_n_steps=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
