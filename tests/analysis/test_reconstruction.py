"""Errors, distinct leads and latent walks of a model whose behaviour is written by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from cardiozoo.analysis.explain_plots import reconstruction_plot
from cardiozoo.analysis.explanation import Cases
from cardiozoo.analysis.generation import generate
from cardiozoo.analysis.reconstruction import (
    Reconstruction,
    distinct_leads,
    error_table,
    generative_part,
    lead_errors,
    reconstruct,
)
from cardiozoo.analysis.traversal import traverse
from cardiozoo.data.ecg import LEADS
from cardiozoo.errors import OptionError
from cardiozoo.testing.batches import make_batch


class Planted(nn.Module):
    """Latent vector: means of leads I and II, and a switched-off dimension; decodes straight lines."""

    def __init__(self) -> None:
        super().__init__()
        self.leads = list(LEADS)
        slopes = torch.linspace(0, 1, 100)
        self.register_buffer("patterns", torch.stack([slopes, 1 - slopes, torch.zeros(100)]))

    def encode(self, batch):
        mu = torch.stack(
            [batch["ecg"][:, 0].mean(1) + 3, batch["ecg"][:, 1].mean(1), torch.zeros(len(batch["ecg"]))], 1
        )
        return SimpleNamespace(mu=mu, logvar=torch.tensor([-4.0, -2.0, 0.0]).expand_as(mu))

    def decode(self, z, leads=None):
        return (z @ self.patterns)[:, None, :] * torch.arange(1, 13)[None, :, None]

    def reconstruct(self, batch):
        return batch["ecg"] * torch.linspace(0.5, 1, 12)[:, None]


def batch_of(size: int = 20):
    return make_batch(["ecg"], size=size, shapes={"ecg": (12, 100)})


def test_errors_are_those_of_present_leads_beside_their_mean():
    batch = batch_of()
    found = reconstruct(Planted(), batch)
    assert np.array_equal(found.present, batch["ecg_leads"].numpy())
    table = error_table(found, list(range(20)))
    own = table.filter((table["sample"] == 4) & (table["lead"] == "II")).to_dicts()[0]
    x, there = batch["ecg"][4].numpy(), batch["ecg_leads"][4].numpy()
    assert own["mse"] == pytest.approx(np.mean((x[1] * (1 - (0.5 + 0.5 / 11))) ** 2), rel=1e-5)
    assert own["mse_of_mean"] == pytest.approx(np.mean((x[1] - x[there].mean(0)) ** 2), rel=1e-5)
    assert own["better"] == (own["mse"] < own["mse_of_mean"])
    assert len(table) == int(batch["ecg_leads"].sum())


def test_errors_end_with_the_record():
    batch = batch_of()
    ends = np.where(np.arange(20) == 4, 60, 100)
    short = reconstruct(Planted(), batch, recorded=ends)
    figure = reconstruction_plot(short, 4, 100.0, "sd", "Sample 5", False)
    assert max(line.get_xdata().max() for axes in figure.axes for line in axes.lines) == pytest.approx(0.59)
    found = error_table(short, list(range(20)))
    batch["ecg"] = batch["ecg"][:, :, :60]
    alone = error_table(reconstruct(Planted(), batch), list(range(20)))
    for column in ("mse", "mse_of_mean"):
        own, cut = (table.filter(table["sample"] == 4)[column].to_numpy() for table in (found, alone))
        np.testing.assert_allclose(own, cut, rtol=1e-6)


@pytest.mark.parametrize(("divergence", "collapsed"), [(1e-4, True), (2.0, False)])
def test_a_flat_line_is_a_collapse_only_where_the_latent_space_is_empty(divergence: float, collapsed: bool):
    class Flat(Planted):
        def encode(self, batch):
            mu = torch.full((len(batch["ecg"]), 3), (2 * divergence) ** 0.5)
            return SimpleNamespace(mu=mu, logvar=torch.zeros_like(mu))

        def reconstruct(self, batch):
            return torch.zeros_like(batch["ecg"])

    batch = batch_of()
    batch["ecg"] = (batch["ecg"] - batch["ecg"].mean(-1, keepdim=True)) / batch["ecg"].std(-1, keepdim=True)
    batch["ecg"] *= 1.01
    found = generate(Flat(), Cases(batch, ["test"] * 20, 100.0, "sd"), 20, 0)
    (note,) = (note for note in found.notes if "flat line" in note)
    assert ("collapse" in note) == collapsed
    assert f"{0 if collapsed else 3} of 3 latent dimensions active" in note


def test_means_and_intervals_by_lead():
    table = error_table(reconstruct(Planted(), batch_of(40)), list(range(40)))
    found = lead_errors(table, {s: f"p{s // 2}" for s in range(40)}, n=300)
    assert found["lead"].to_list() == list(LEADS)
    last = found.filter(found["lead"] == "V6").to_dicts()[0]
    own = table.filter(table["lead"] == "V6")
    assert last["mse"] == pytest.approx(0, abs=1e-9) and last["records"] == own.height
    assert last["difference"] == pytest.approx(-own["mse_of_mean"].mean())
    spread = own["mse_of_mean"].std() / np.sqrt(own.height)
    assert last["difference_high"] - last["difference_low"] == pytest.approx(2 * 1.96 * spread, rel=0.4)
    assert last["difference_high"] < 0


def test_copies_of_one_signal_are_found_out():
    rng = np.random.default_rng(0)
    own, present = rng.normal(size=(3, 12, 50)), np.ones((3, 12), dtype=bool)
    assert distinct_leads(Reconstruction(own, own, present))[0] == 12
    one = np.repeat(own[:, :1], 12, axis=1)
    assert distinct_leads(Reconstruction(own, one, present)) == (1, 0.0)
    two = own.copy()
    two[:, 5] = two[:, 2] + 1e-6
    assert distinct_leads(Reconstruction(own, two, present))[0] == 11
    unknown = own.copy()
    unknown[:, 6:] = np.nan
    assert distinct_leads(Reconstruction(own, unknown, present))[0] == 6


def test_the_encoder_of_a_fine_tuned_model_is_generative():
    class Tuned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = Planted()

    tuned = Tuned()
    assert generative_part(tuned) is tuned.encoder
    assert generative_part(nn.Linear(1, 1)) is None
    with pytest.raises(OptionError, match="does not reconstruct"):
        reconstruct(nn.Linear(1, 1), batch_of())


def test_walks_follow_the_most_informative_dimensions():
    model, batch = Planted(), batch_of()
    walk = traverse(model, batch, count=2, steps=(-1.0, 0.0, 2.0), row=3)
    posterior = model.encode(batch)
    prior = torch.distributions.Normal(0.0, 1.0)
    each = torch.distributions.kl_divergence(
        torch.distributions.Normal(posterior.mu, (0.5 * posterior.logvar).exp()), prior
    )
    np.testing.assert_allclose(walk.divergence, each.mean(0).numpy(), rtol=1e-5, atol=1e-7)
    assert walk.dimensions.tolist() == [0, 1] and walk.active == 2
    sd = posterior.mu[:, 0].std()
    expected = model.decode(posterior.mu[3:4] + torch.tensor([[2.0, 0, 0]]) * sd)[0]
    np.testing.assert_allclose(walk.signals[0, 2], expected.numpy(), rtol=1e-4)
    np.testing.assert_allclose(walk.signals[0, 1], walk.signals[1, 1])
