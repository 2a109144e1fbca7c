"""The sanity check tells attributions that come from the weights from those that do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import nn

from cardiozoo.analysis.attribution import integrated_gradients
from cardiozoo.analysis.randomisation import correlations, randomisation_check
from cardiozoo.errors import OptionError
from cardiozoo.testing.batches import make_batch

PRESENT = np.ones((3, 12), dtype=bool)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.unused = nn.Linear(3, 3)
        self.head = nn.Linear(16, 1)
        self.encoder = nn.Sequential(nn.Conv1d(12, 8, 7, stride=2), nn.ReLU(), nn.Conv1d(8, 16, 5, stride=2), nn.ReLU())
        with torch.no_grad():
            self.encoder[0].weight[:, 2:] *= 0.05  # learnt: look at the first two leads

    def forward(self, batch):
        return {"logits": self.head(self.encoder(batch["ecg"]).mean(-1))}


def test_stages_go_from_head_to_encoder_and_weights_come_back():
    model = Net()
    batch = make_batch(["ecg"], size=3, shapes={"ecg": (12, 200)})
    batch["ecg_leads"][:] = True
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = randomisation_check(
        model, lambda: integrated_gradients(model, batch, steps=5).values, batch["ecg"].numpy(), PRESENT, stages=3
    )
    assert found.table["last"].to_list() == ["head", "encoder.2", "encoder.0"]
    assert found.table["share"][-1] == pytest.approx(1) and found.records == 3
    assert found.table["absolute"][-1] < found.table["absolute"][0]
    assert found.table["absolute"][-1] < 0.7
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    again = randomisation_check(
        model, lambda: integrated_gradients(model, batch, steps=5).values, batch["ecg"].numpy(), PRESENT, stages=3
    )
    assert again.table.equals(found.table)


def test_attributions_that_ignore_the_model_fail():
    model = Net()
    batch = make_batch(["ecg"], size=3, shapes={"ecg": (12, 200)})
    edges = np.abs(np.diff(batch["ecg"].numpy(), axis=2, prepend=0))

    def edge_detector() -> np.ndarray:
        model(batch)
        return edges

    found = randomisation_check(model, edge_detector, batch["ecg"].numpy(), PRESENT)
    assert found.table["absolute"].to_list() == pytest.approx([1.0] * len(found.table))
    assert "FAILS" in found.verdict


def test_attributions_that_only_follow_the_weights_pass():
    model, rng = Net(), np.random.default_rng(0)
    batch = make_batch(["ecg"], size=3, shapes={"ecg": (12, 200)})

    def noise() -> np.ndarray:
        model(batch)
        return rng.normal(size=(3, 12, 200))

    found = randomisation_check(model, noise, batch["ecg"].numpy(), PRESENT)
    assert abs(found.table["absolute"][-1]) < 0.1 and "depend on what the model has learnt" in found.verdict


def test_rank_correlation_by_hand():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 12, 50)), rng.normal(size=(2, 12, 50))
    present = PRESENT[:2].copy()
    present[0, 6:] = False
    x, y = rankdata(a[0, :6].ravel()), rankdata(b[0, :6].ravel())
    assert correlations(a, b, present)[0] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert correlations(a, np.zeros_like(b), present).tolist() == [0, 0]


def test_nothing_to_shuffle_is_refused():
    with pytest.raises(OptionError, match="no weights"):
        randomisation_check(nn.Identity(), lambda: np.zeros((1, 12, 5)), np.zeros((1, 12, 5)), PRESENT[:1])
    with pytest.raises(OptionError, match="stages"):
        randomisation_check(Net(), lambda: np.zeros((1, 12, 5)), np.zeros((1, 12, 5)), PRESENT[:1], stages=0)
