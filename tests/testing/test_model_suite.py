"""The public suite finds what it is there to find: models that each break one rule."""

import pytest
import torch
from torch import nn

from cardiozoo.errors import UnknownNameError
from cardiozoo.models.base import ZooModel, presence
from cardiozoo.nn.present import encode_present
from cardiozoo.testing import check_model, make_batch, model_checks, processes
from cardiozoo.testing import model as suite
from cardiozoo.testing.subject import Subject, training_loss

CARD = dict(modalities=["ehr", "cxr"], tasks=["multilabel"], missing=["cxr"], representation=True)


class Sound(ZooModel):
    """Two linear encoders, summed: the smallest model that keeps every rule."""

    def __init__(self, num_classes: int = 3, ehr_channels: int = 76, task_kind: str = "multilabel") -> None:
        super().__init__(num_classes, None, task_kind)
        self.save_hyperparameters()
        self.ehr = nn.Linear(ehr_channels, 4)
        self.cxr = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(192, 4))
        self.head = nn.Linear(4, num_classes)

    def pool(self, batch):
        valid = torch.arange(batch["ehr"].shape[1])[None] < batch["ehr_lengths"][:, None]
        return torch.where(valid[..., None], batch["ehr"], 0).sum(1) / batch["ehr_lengths"][:, None]

    def see(self, batch):
        return encode_present(self.cxr, batch["cxr"], presence(batch, "cxr"), 4)

    def embed(self, batch):
        return torch.tanh(self.ehr(self.pool(batch)) + self.see(batch))

    def forward(self, batch):
        return {"logits": self.head(self.embed(batch))}


class CountsPadding(Sound):
    def pool(self, batch):
        return batch["ehr"].mean(1)


class SkipsTheBranch(Sound):
    def see(self, batch):
        rows = presence(batch, "cxr")
        seen = torch.zeros(len(rows), 4)
        return seen.index_put((rows.nonzero()[:, 0],), self.cxr(batch["cxr"][rows])) if rows.any() else seen


class EncodesBlackImages(Sound):
    def see(self, batch):
        return self.cxr(batch["cxr"]) * presence(batch, "cxr")[:, None]


class MixesRows(Sound):
    def embed(self, batch):
        z = super().embed(batch)
        return z - z.mean(0)


class LosesTheBatchAxis(Sound):
    def forward(self, batch):
        return {"logits": super().forward(batch)["logits"].squeeze(0)}


class MeansOfOneProcess(Sound):
    def training_step(self, batch, batch_idx=0):
        terms = self.loss_terms(batch, self(batch))
        return terms["prediction"].total() / terms["prediction"].mask.sum().clamp_min(1)


class TrainsOnUnlabelled(Sound):
    def training_step(self, batch, batch_idx=0):
        return nn.functional.binary_cross_entropy_with_logits(self(batch)["logits"], batch["target"])


class ProbabilitiesOfLogits(Sound):
    def record(self, batch, outputs):
        return {**super().record(batch, outputs), "score": outputs["logits"]}


class KeepsALayer(Sound):
    def __init__(self, num_classes: int = 3, ehr_channels: int = 76) -> None:
        super().__init__(num_classes, ehr_channels)
        self.hparams["layer"] = nn.ReLU()


class Sleeps(Sound):
    def training_step(self, batch, batch_idx=0):
        return super().training_step(batch) * 0.0


class LogsNothing(Sound):
    def _log_epoch(self, stage):
        pass


@pytest.fixture(autouse=True)
def card(monkeypatch):
    """Classes of a test have no YAML file beside them."""
    card = {**CARD, "name": "under test", "title": "A test", "summary": "One.", "tiny": {}}
    monkeypatch.setattr("cardiozoo.testing.subject.read_card", lambda entry: card)


def test_the_smallest_sound_model_passes():
    check_model(Sound)


@pytest.mark.parametrize(
    ("cls", "check", "words"),
    [
        (CountsPadding, "padding", "five more padded steps differ"),
        (CountsPadding, "masked_entries", "nan in masked entries differ"),
        (SkipsTheBranch, "gradients", "no row with cxr: 2 parameters get no gradient, first cxr"),
        (EncodesBlackImages, "masked_entries", "nan in masked entries"),
        (MixesRows, "rows", "logits of row 0 alone"),
        (LosesTheBatchAxis, "batch_of_one", ""),
        (MeansOfOneProcess, "two_processes", "on two processes differ"),
        (TrainsOnUnlabelled, "unlabelled", "one unlabelled row: the loss is nan"),
        (ProbabilitiesOfLogits, "record", "scores are not probabilities"),
        (KeepsALayer, "checkpoint", "more than plain values"),
        (Sleeps, "learning", "the loss went from 0.000 to 0.000"),
        (LogsNothing, "trainer", "'val/auroc'"),
    ],
)
def test_a_broken_rule_is_found_and_named(cls, check, words):
    (chosen,) = [one for one in model_checks(cls) if str(one) == check]
    with pytest.raises(Exception) as caught:
        chosen()
    assert words in str(caught.value)
    if words:
        assert isinstance(caught.value, AssertionError)


class Regresses(Sound):
    """Knows nothing of the target's units."""

    task_kinds = ("multilabel", "regression")


class TakesNoNotice(Regresses):
    def __init__(self, num_classes=3, ehr_channels=76, task_kind="multilabel", target_mean=None, target_std=None):
        super().__init__(num_classes, ehr_channels, task_kind)


@pytest.mark.parametrize(
    ("cls", "check", "words"),
    [
        (Sound, "card", "write what it can be trained for into its class attribute task_kinds"),
        (Regresses, "units", "has no target_mean and no target_std"),
        (TakesNoNotice, "units", "100 higher differ"),
    ],
)
def test_what_a_regression_needs_is_said(cls, check, words, monkeypatch):
    card = {**CARD, "name": "under test", "title": "A test", "summary": "One.", "tiny": {}}
    card["tasks"] = ["multilabel", "regression"]
    monkeypatch.setattr("cardiozoo.testing.subject.read_card", lambda entry: card)
    (chosen,) = [one for one in model_checks(cls) if str(one) == check]
    with pytest.raises(AssertionError, match=words):
        chosen()


def test_a_process_that_waits_for_ever_is_found(monkeypatch):
    """Without gradients of its image branch one process never joins the other's average."""
    monkeypatch.setattr(processes, "GRACE_SECONDS", 2)
    with pytest.raises(AssertionError, match="rank 0 did not answer"):
        suite.check_two_processes(Subject(SkipsTheBranch, CARD))


def test_the_whole_suite_says_which_rule(monkeypatch):
    monkeypatch.setattr(suite, "CHECKS", (suite.check_shapes, suite.check_padding))
    with pytest.raises(AssertionError, match=r"^padding: logits"):
        check_model(CountsPadding)


def test_names_go_through_the_registry():
    with pytest.raises(UnknownNameError, match="ehr_lstm"):
        check_model("ehr_lstn")


def test_logging_is_given_back_after_a_step_outside_a_trainer():
    model = Sound()
    training_loss(model, make_batch(["ehr", "cxr"]))
    assert "log" not in vars(model)
