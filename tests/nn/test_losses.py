"""Losses of labelled entries beside their definitions."""

import math

import pytest
import torch
import torch.nn.functional as F

from cardiozoo.functional import binary_focal_loss, logcosh_loss, rmse_loss
from cardiozoo.nn.losses import LossTerm, combine, losses_for, prediction_term
from cardiozoo.nn.metrics import EpochMeters


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def mean_of(term):
    return combine({"prediction": term})[0]


def test_softmax_focal_loss_is_the_weighted_cross_entropy():
    logits, target = numbers(5, 4) * 3, torch.tensor([0, 3, -1, 2, 1])
    p = logits.softmax(-1)
    for gamma in (0.0, 0.5, 2.0):
        expected = [-((1 - p[n, t]) ** gamma) * p[n, t].log() for n, t in enumerate(target.tolist()) if t >= 0]
        term = prediction_term(logits, target, "multiclass", loss="focal", gamma=gamma)
        torch.testing.assert_close(mean_of(term), torch.stack(expected).mean())
    plain = prediction_term(logits, target, "multiclass")
    torch.testing.assert_close(mean_of(plain), F.cross_entropy(logits, target, ignore_index=-1))


@pytest.mark.parametrize("alpha", [0.25, None])
def test_focal_loss_of_two_softmax_classes_is_that_of_a_sigmoid(alpha):
    logits, target = numbers(6, 2), torch.tensor([0, 1, 1, 0, 1, 0])
    soft = mean_of(prediction_term(logits, target, "multiclass", loss="focal", alpha=alpha))
    p = logits.softmax(-1)
    weights = (1.0, 1.0) if alpha is None else (1 - alpha, alpha)
    literal = [-weights[t] * (1 - p[n, t]) ** 2 * p[n, t].log() for n, t in enumerate(target.tolist())]
    torch.testing.assert_close(soft, torch.stack(literal).mean())
    sigmoid = mean_of(
        prediction_term(logits.diff(dim=1), target[:, None].double(), "binary", loss="focal", alpha=alpha)
    )
    torch.testing.assert_close(soft, sigmoid)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_losses_stay_finite_at_extreme_logits(gamma):
    for kind, target in (("multiclass", torch.tensor([0, 1])), ("multilabel", torch.tensor([[1.0, 0.0], [0.0, 1.0]]))):
        logits = torch.tensor([[200.0, -200.0], [200.0, -200.0]], requires_grad=True)
        loss = mean_of(prediction_term(logits, target, kind, loss="focal", gamma=gamma))
        loss.backward()
        assert loss.isfinite() and logits.grad.isfinite().all() and logits.grad.any()


def test_unlabelled_entries_and_absent_rows_leave_the_focal_loss():
    logits, target = numbers(4, 3), torch.tensor([[1.0, 0, 1], [0, torch.nan, 1], [1, 1, 0], [0, 0, 1]]).double()
    present = torch.tensor([True, True, False, True])
    logits[2] = torch.nan
    term = prediction_term(logits, target, "multilabel", present, "focal", alpha=0.6, gamma=1.5)
    kept = present[:, None] & ~target.isnan()
    torch.testing.assert_close(mean_of(term), binary_focal_loss(logits[kept], target[kept], 0.6, 1.5))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("mse", lambda p, t: ((p - t) ** 2).mean()),
        ("smooth_l1", lambda p, t: F.smooth_l1_loss(p, t)),
        ("rmse", rmse_loss),
        ("logcosh", logcosh_loss),
    ],
)
def test_losses_of_a_regression_are_those_of_the_labelled_entries(loss, expected):
    prediction, target = numbers(5, 2) * 3, numbers(5, 2, seed=1)
    target[1, 0] = torch.nan
    prediction.requires_grad_()
    kept = ~target.isnan()
    value = mean_of(prediction_term(prediction, target, "regression", loss=loss))
    wanted = expected(prediction[kept], target[kept])
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(v, prediction)[0] for v in (value, wanted)))
    meters = EpochMeters("regression")
    for rows in (slice(0, 2), slice(2, 5)):
        term = prediction_term(prediction[rows].detach(), target[rows], "regression", loss=loss)
        meters.update({"prediction": term}, prediction[rows], target[rows])
    torch.testing.assert_close(meters.compute()["loss"].double(), wanted.detach(), rtol=1e-5, atol=1e-5)


def test_a_root_of_nothing_is_nothing():
    prediction = numbers(3, 1).requires_grad_()
    loss = mean_of(prediction_term(prediction, torch.full((3, 1), torch.nan), "regression", loss="rmse"))
    loss.backward()
    assert loss.item() <= math.sqrt(1e-6) + 1e-9 and not prediction.grad.any()


def test_a_root_stands_beside_other_terms():
    values = torch.tensor([1.0, 3.0])
    all_of_them = torch.ones(2, dtype=torch.bool)
    terms = {"a": LossTerm(values, all_of_them, 2.0), "b": LossTerm(values**2, all_of_them, 0.5, root=True)}
    total, means = combine(terms)
    assert means["a"].item() == 2 and means["b"].item() == pytest.approx(math.sqrt(5 + 1e-6))
    assert total.item() == pytest.approx(4 + 0.5 * math.sqrt(5))


def test_a_loss_of_another_kind_of_task_is_refused():
    assert losses_for("regression") == ("mse", "smooth_l1", "rmse", "logcosh")
    for kind, loss in (("regression", "focal"), ("binary", "mse")):
        with pytest.raises(ValueError, match=f"loss is '{loss}'"):
            prediction_term(numbers(2, 1), numbers(2, 1), kind, loss=loss)
