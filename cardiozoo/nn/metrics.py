"""Metrics of rankings and of errors that say what they could not compute."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc, binary_average_precision
from torchmetrics.utilities import dim_zero_cat

from cardiozoo.data.tasks import TaskKind
from cardiozoo.nn.losses import LossTerm

NO_ENTRIES = torch.empty(0)


class MacroRanking(Metric):
    """Macro AUROC and AUPRC (average precision) over the classes for which they are defined.

    A class is defined if its labelled, scored samples hold both a positive and a negative. The others are left out of
    the means and counted. A NaN in target or score leaves out that entry. With no class defined the means are NaN.
    """

    full_state_update = False
    higher_is_better = True

    def __init__(self) -> None:
        super().__init__()
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    def update(self, score: Tensor, target: Tensor) -> None:
        """Scores and targets (0, 1 or NaN), both (B, C)."""
        self.scores.append(score.detach().float())
        self.targets.append(target.detach().float())

    def compute(self) -> dict[str, Tensor]:
        """``auroc``, ``auprc`` and the number of ``undefined_classes``."""
        scores, targets = dim_zero_cat(self.scores), dim_zero_cat(self.targets)
        auroc, auprc = [], []
        for score, target in zip(scores.T, targets.T, strict=True):
            usable = ~(score.isnan() | target.isnan())
            score, target = score[usable], target[usable].long()
            if 0 < int(target.sum()) < len(target):
                auroc.append(binary_auroc(score, target))
                auprc.append(binary_average_precision(score, target))
        undefined = torch.tensor(float(scores.shape[1] - len(auroc)), device=scores.device)
        nan = torch.tensor(torch.nan, device=scores.device)
        return {
            "auroc": torch.stack(auroc).mean() if auroc else nan,
            "auprc": torch.stack(auprc).mean() if auprc else nan,
            "undefined_classes": undefined,
        }


class Errors(Metric):
    """RMSE, MAE and R2 of predictions in the units of their targets, as means over the columns.

    NaN in prediction or target leaves out that entry. R2 compares with the mean of the labelled targets; it is
    undefined for a column with fewer than two of them or without any spread, which is left out of the mean and counted.
    """

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("predictions", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Predictions and targets (NaN = unlabelled), both (B, C)."""
        self.predictions.append(prediction.detach().float())
        self.targets.append(target.detach().float())

    def compute(self) -> dict[str, Tensor]:
        """``rmse``, ``mae``, ``r2`` and the number of ``undefined_columns``, of which R2 is not defined."""
        predictions, targets = dim_zero_cat(self.predictions), dim_zero_cat(self.targets)
        found: dict[str, list[Tensor]] = {"rmse": [], "mae": [], "r2": []}
        for prediction, target in zip(predictions.T, targets.T, strict=True):
            usable = ~(prediction.isnan() | target.isnan())
            # Column by column in full: sums of squares kept from batch to batch would cancel.
            prediction, target = prediction[usable].double().cpu(), target[usable].double().cpu()
            if len(target) == 0:
                continue
            error, spread = prediction - target, target - target.mean()
            found["rmse"].append(error.square().mean().sqrt())
            found["mae"].append(error.abs().mean())
            if spread.any():
                found["r2"].append(1 - error.square().sum() / spread.square().sum())
        means = {name: torch.stack(v).mean().float() if v else torch.tensor(torch.nan) for name, v in found.items()}
        return {**means, "undefined_columns": torch.tensor(float(predictions.shape[1] - len(found["r2"])))}


class MaskedMean(Metric):
    """Mean over the entries that count, in all batches and processes together; NaN without any."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", default=torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", default=torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, term: LossTerm) -> None:
        """Add a term's entries."""
        self.total += term.total().detach()
        self.count += term.mask.sum()

    def compute(self) -> Tensor:
        """The mean, a float32 scalar."""
        return self.total / self.count


class EpochMeters(nn.Module):
    """Loss and metrics of one pass over a split, summed over all samples of all processes.

    The loss is the weighted sum of the terms' means over the whole split, not a mean of batch means: with masked
    entries the two differ. Nothing is exchanged before ``compute``, so processes may differ in their number of batches.

    Args:
        kind: ``regression`` is judged by ``Errors``, ``unsupervised`` by its loss alone, anything else by
            ``MacroRanking``.
    """

    def __init__(self, kind: TaskKind = "multilabel") -> None:
        super().__init__()
        self.terms = nn.ModuleDict()
        self.rules: dict[str, LossTerm] = {}  # without entries: weight, and what to make of the mean
        self.ranking = MacroRanking() if kind not in ("regression", "unsupervised") else None
        self.errors = Errors() if kind == "regression" else None

    def update(self, terms: dict[str, LossTerm], score: Tensor, target: Tensor) -> None:
        """Add a batch: loss terms by name, scores and targets (B, C)."""
        for name, term in terms.items():
            if name not in self.terms:
                self.terms[name] = MaskedMean().to(term.values.device)
            self.terms[name].update(term)
            self.rules[name] = term._replace(values=NO_ENTRIES, mask=NO_ENTRIES)
        for metric in self._metrics():
            metric.update(score, target)

    def compute(self) -> dict[str, Tensor]:
        """``loss``, each ``loss_<term>`` where there are several, and the metrics of the task."""
        # A term without a single entry in the split (no pair of modalities, say) is 0 / 0: undefined by itself, nothing
        # in the sum.
        means = {name: meter.compute() for name, meter in self.terms.items()}
        means = {name: self.rules[name].bent(mean)[0] for name, mean in means.items()}
        total = torch.stack([self.rules[name].weight * mean.nan_to_num(0.0) for name, mean in means.items()]).sum()
        several = {f"loss_{name}": mean for name, mean in means.items()} if len(means) > 1 else {}
        judged = {name: value for metric in self._metrics() for name, value in metric.compute().items()}
        return {"loss": total, **several, **judged}

    def reset(self) -> None:
        """Forget the pass."""
        for meter in (*self.terms.values(), *self._metrics()):
            meter.reset()

    def _metrics(self) -> list[Metric]:
        return [metric for metric in (self.ranking, self.errors) if metric is not None]
