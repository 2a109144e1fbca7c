"""Means and metrics over processes against one process with all rows."""

import math

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from cardiozoo.nn.distributed import global_mean, world_size
from cardiozoo.nn.losses import LossTerm, combine, prediction_term
from cardiozoo.nn.metrics import EpochMeters, MacroRanking
from cardiozoo.testing.processes import pair

VALUES = torch.tensor([[1.0, 2.0], [3.0, torch.nan], [5.0, 6.0], [torch.nan, torch.nan]])
MASK = ~VALUES.isnan()


def test_global_mean_in_one_process_is_the_mean_of_the_masked_entries():
    assert world_size() == 1
    assert global_mean(VALUES, MASK).item() == pytest.approx(17 / 5)
    assert global_mean(torch.arange(4.0)).item() == 1.5
    values = VALUES.clone().requires_grad_()
    nothing = global_mean(values, torch.zeros(4, 1, dtype=torch.bool))
    nothing.backward()
    assert nothing.item() == 0.0 and values.grad.eq(0).all()


def mean_of_rows(values, mask):
    weight, mask = torch.ones(2, requires_grad=True), torch.from_numpy(mask)
    weighted = torch.from_numpy(values).nan_to_num(99.0) * weight
    loss = global_mean(weighted, mask)
    total, means = combine({"a": LossTerm(weighted, mask, 0.5)})
    (gradient,) = torch.autograd.grad(loss, weight)
    return loss.item(), gradient.numpy(), total.item(), means["a"].item()


@pytest.mark.parametrize("split", [2, 3])
def test_mean_over_two_processes_of_unequal_share(split):
    shares = [
        (part.numpy(), mask.numpy())
        for part, mask in zip(VALUES.split([split, 4 - split]), MASK.split([split, 4 - split]), strict=True)
    ]
    (loss_a, grad_a, total_a, mean_a), (loss_b, grad_b, total_b, mean_b) = pair().run(mean_of_rows, shares)
    # DDP averages over the processes
    assert (loss_a + loss_b) / 2 == pytest.approx(17 / 5) == pytest.approx((mean_a + mean_b) / 2)
    assert (total_a + total_b) / 2 == pytest.approx(17 / 10)
    assert (grad_a + grad_b) / 2 == pytest.approx([9 / 5, 8 / 5])


def test_prediction_term_masks_what_is_unlabelled_or_absent():
    logits, target = torch.randn(3, 2), torch.tensor([[1.0, torch.nan], [0.0, 1.0], [1.0, 1.0]])
    term = prediction_term(logits, target, "multilabel", torch.tensor([True, True, False]))
    assert term.mask.tolist() == [[True, False], [True, True], [False, False]]
    expected = torch.nn.functional.binary_cross_entropy(logits.sigmoid()[term.mask], target[term.mask], reduction="sum")
    torch.testing.assert_close(term.total(), expected)
    classes = prediction_term(logits, torch.tensor([1, -1, 0]), "multiclass")
    assert classes.mask.tolist() == [True, False, True]
    expected = -logits.log_softmax(1)[[0, 2], [1, 0]].sum()
    torch.testing.assert_close(classes.total(), expected)


def scored(rows=60, seed=0):
    draw = torch.Generator().manual_seed(seed)
    score = torch.rand(rows, 4, generator=draw).round(decimals=2)
    target = (torch.rand(rows, 4, generator=draw) < 0.3).float()
    target[:7, 1] = torch.nan
    target[:, 2] = 0.0
    target[:, 3] = torch.nan
    score[9, 0] = torch.nan
    return score, target


def test_ranking_is_that_of_sklearn_on_the_defined_classes():
    score, target = scored()
    metric = MacroRanking()
    metric.update(score[:25], target[:25])
    metric.update(score[25:], target[25:])
    result = metric.compute()
    usable = [~(score[:, c].isnan() | target[:, c].isnan()) for c in range(2)]
    for name, function in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        expected = sum(function(target[u, c], score[u, c]) for c, u in enumerate(usable)) / 2
        assert result[name].item() == pytest.approx(expected, abs=1e-6)
    assert result["undefined_classes"].item() == 2


def test_ranking_without_a_defined_class_is_nan_without_a_warning(recwarn):
    metric = MacroRanking()
    metric.update(torch.rand(4, 2), torch.zeros(4, 2))
    result = metric.compute()
    assert result["auroc"].isnan() and result["auprc"].isnan() and result["undefined_classes"] == 2
    assert not recwarn.list


def meters_of(score, target, batch):
    meters = EpochMeters()
    for part in range(0, len(score), batch):
        rows, labels = torch.from_numpy(score[part : part + batch]), torch.from_numpy(target[part : part + batch])
        terms = {
            "prediction": prediction_term(rows, labels, "multilabel"),
            "never": LossTerm(rows, torch.zeros_like(rows).bool(), 3.0),
        }
        meters.update(terms, rows, labels)
    result = {name: value.item() for name, value in meters.compute().items()}
    meters.reset()
    return result


def test_meters_do_not_depend_on_batches_or_processes():
    score, target = (t.nan_to_num(0.5) if i == 0 else t for i, t in enumerate(scored()))
    whole = meters_of(score.numpy(), target.numpy(), 60)
    term = prediction_term(score, target, "multilabel")
    assert whole["loss"] == pytest.approx(term.values[term.mask].mean().item(), rel=1e-5)
    assert math.isnan(whole["loss_never"])  # nothing to take a mean of
    for other in (
        meters_of(score.numpy(), target.numpy(), 7),
        *pair().run(
            meters_of, [(score[:40].numpy(), target[:40].numpy(), 9), (score[40:].numpy(), target[40:].numpy(), 20)]
        ),
    ):
        assert other == pytest.approx(whole, rel=1e-5, nan_ok=True)


def fails_on_one(rank):
    if rank == 1:
        raise KeyError("only here")
    return rank


def test_a_failing_process_is_reported_with_its_traceback():
    with pytest.raises(AssertionError, match=r"rank 1 raised[^@]*only here"):
        pair().run(fails_on_one, [(0,), (1,)])
    assert pair().run(fails_on_one, [(0,), (0,)]) == [0, 0]
