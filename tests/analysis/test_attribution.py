"""Integrated gradients against models whose attributions are known, and against the path integral done by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cardiozoo.analysis.attribution import Baseline, integrated_gradients, lead_mask
from cardiozoo.errors import OptionError
from cardiozoo.testing.batches import make_batch

SHAPE = {"ecg": (12, 80)}


class Linear(nn.Module):
    """Logits w * x with one weight a sample and lead; absent leads do not count."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, 12, 80, generator=torch.Generator().manual_seed(1)))

    def forward(self, batch):
        x = torch.where(batch["ecg_leads"][..., None], batch["ecg"], 0).to(self.weight.dtype)
        return {"logits": torch.einsum("blt,clt->bc", x, self.weight)}


class Curved(nn.Module):
    """A smooth network with dropout, and an offset that depends on another part of the batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(
            nn.Conv1d(12, 4, 5, stride=2), nn.Tanh(), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(1)
        )
        self.net(torch.zeros(1, 12, 80))

    def forward(self, batch):
        x = torch.where(batch["ecg_leads"][..., None], batch["ecg"], 0)
        return {"logits": self.net(x) + batch["groups"]["age"][:, None].to(x.dtype)}


def batch_of(size: int = 3):
    return make_batch(["ecg"], size=size, num_classes=2, shapes=SHAPE)


def test_linear_model_is_attributed_exactly():
    model, batch = Linear(), batch_of()
    for target in (0, 1):
        for signal in (None, np.full((12, 80), 0.3)):
            found = integrated_gradients(model, batch, target, Baseline("own", signal), steps=3)
            start = 0.0 if signal is None else 0.3
            expected = (batch["ecg"].numpy() - start) * model.weight[target].detach().numpy()
            expected[~batch["ecg_leads"].numpy()] = 0
            np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-6)
            assert np.abs(found.delta).max() < 1e-3
    assert found.baseline == "own" and found.steps == 3


def test_curved_model_agrees_with_the_path_integral_by_trapezoids():
    model, batch = Curved().double().eval(), batch_of(2)
    batch["ecg"] = batch["ecg"].double()
    found = integrated_gradients(model, batch, 0, steps=60)
    positions = torch.linspace(0, 1, 2001, dtype=torch.float64)
    for row in range(2):
        x = batch["ecg"][row]
        path = (positions[:, None, None] * x).requires_grad_()
        points = {
            "ecg": path,
            "ecg_leads": batch["ecg_leads"][row].expand(len(path), 12),
            "groups": {"age": batch["groups"]["age"][row].expand(len(path))},
        }
        (slope,) = torch.autograd.grad(model(points)["logits"].sum(), path)
        integral = torch.trapezoid(slope, positions, dim=0) * x
        np.testing.assert_allclose(found.values[row], integral.numpy(), rtol=1e-4, atol=1e-7)
    assert np.all(found.relative_delta < 1e-6)
    assert not np.any(found.values[~batch["ecg_leads"].numpy()])


def test_more_steps_leave_a_smaller_completeness_error():
    model, batch = Curved(), batch_of(2)
    batch["ecg"] *= 6
    errors = [np.abs(integrated_gradients(model, batch, 0, steps=steps).delta).mean() for steps in (1, 4, 50)]
    assert errors[0] > errors[1] > errors[2]


def test_inner_rows_do_not_matter_and_the_model_is_in_evaluation_mode():
    model, batch = Curved().train(), batch_of(2)
    few, many = (integrated_gradients(model, batch, 0, steps=20, inner_rows=n).values for n in (1, 64))
    np.testing.assert_allclose(few, many, rtol=1e-4, atol=1e-7)
    assert not model.training


def test_absent_unused_and_missing_leads_are_masked():
    batch = batch_of()
    batch["present"]["ecg"] = torch.tensor([True, False, True])
    mask = lead_mask(batch, ["I", "V1"])
    assert not mask[1].any() and not mask[:, 1].any()
    assert torch.equal(mask[2, [0, 6]], batch["ecg_leads"][2, [0, 6]])
    model = Linear()
    model.ecg_leads = ["I"]
    found = integrated_gradients(model, batch_of(), 0, Baseline("own", np.ones((12, 80), np.float32)))
    assert np.all(found.values[:, 1:] == 0) and found.values[0, 0].any()


def test_what_follows_the_end_of_a_record_is_held_fixed():
    model, batch = Linear(), batch_of()
    batch["ecg"][1, :, 50:], batch["ecg_leads"][:] = 0, True
    found = integrated_gradients(model, batch, 0, Baseline("own", np.full((12, 80), 0.3)), recorded=[80, 50, 80])
    assert not found.values[1, :, 50:].any() and found.values[1, 0, :50].all() and found.values[0, 0, 50:].all()
    assert np.abs(found.delta).max() < 1e-3  # the outputs differ by what came before the end, and by no more
    assert found.lengths.tolist() == [80, 50, 80]
    assert not found.compared[1, :, 50:].any() and np.array_equal(found.compared[0].all(axis=1), found.present[0])
    assert integrated_gradients(model, batch, 0).lengths.tolist() == [80, 80, 80]


def test_bad_input_is_refused():
    model, batch = Linear(), batch_of()
    model.num_classes = 2
    with pytest.raises(OptionError, match="Column 2"):
        integrated_gradients(model, batch, 2)
    with pytest.raises(OptionError, match="0 steps"):
        integrated_gradients(model, batch, 0, steps=0)
    with pytest.raises(OptionError, match="has shape"):
        integrated_gradients(model, batch, 0, Baseline("file", np.zeros((12, 79))))
    with pytest.raises(OptionError, match="without `ecg`"):
        integrated_gradients(model, {"id": ["a"], "features": torch.zeros(1, 3)}, 0)


def test_encoder_without_gradient_is_named():
    class Cut(Linear):
        def forward(self, batch):
            with torch.no_grad():
                return super().forward(batch)

    with pytest.raises(OptionError, match="no gradient"):
        integrated_gradients(Cut(), batch_of(), 0)
