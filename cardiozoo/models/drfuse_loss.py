"""The objective of DrFuse, term by term (Yao et al., 2024, Eq. 1, 4, 9-13)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cardiozoo.data.tasks import TaskKind
from cardiozoo.errors import OptionError, check_choice
from cardiozoo.functional import absolute_cosine, attention_ranking_loss, bernoulli_js_divergence
from cardiozoo.nn.losses import LossTerm, prediction_term

Alignment = Literal["jsd", "jsd_one_sided", "mse"]
Ranking = Literal["gated", "literal", "released"]
RowAverage = Literal["present", "batch"]

AUXILIARY = ("ehr", "shared", "cxr")


class DrFuseLoss(nn.Module):
    """Prediction + alignment + orthogonality + attention ranking + auxiliary predictions (Eq. 12, 13).

    The options are those of ``DrFuse``, where they are described.
    """

    def __init__(
        self,
        task_kind: TaskKind,
        lambda_jsd: float,
        lambda_orth: float,
        lambda_attention: float,
        lambda_aux: tuple[float, float, float],
        alignment: Alignment,
        reduction: Literal["mean", "sum"],
        average_over: RowAverage,
        ranking: Ranking,
        margin: float,
        aux_on_partial: bool,
    ) -> None:
        super().__init__()
        check_choice("alignment", alignment, Alignment)
        check_choice("reduction", reduction, ("mean", "sum"))
        check_choice("average_over", average_over, RowAverage)
        check_choice("ranking", ranking, Ranking)
        numbers = {"lambda_jsd": lambda_jsd, "lambda_orth": lambda_orth, "lambda_attention": lambda_attention}
        numbers |= {f"lambda_aux ({name})": weight for name, weight in zip(AUXILIARY, lambda_aux, strict=True)}
        for name, value in (numbers | {"margin": margin}).items():
            if not value >= 0:
                raise OptionError(f"{name} {value}.", "A number of at least 0.", "0 leaves it out of the loss.")
        self.task_kind, self.reduction, self.average_over = task_kind, reduction, average_over
        self.alignment, self.ranking, self.margin, self.aux_on_partial = alignment, ranking, margin, aux_on_partial
        self.lambda_jsd, self.lambda_orth, self.lambda_attention = lambda_jsd, lambda_orth, lambda_attention
        self.lambda_aux = lambda_aux

    def forward(self, outputs: dict[str, Tensor], target: Tensor, has_cxr: Tensor) -> dict[str, LossTerm]:
        """Terms by name from the outputs of ``DrFuse.forward``, the target and bool (B,)."""
        every = torch.ones_like(has_cxr)
        auxiliary = [prediction_term(outputs["aux_logits"][:, i], target, self.task_kind) for i in range(3)]
        terms = {
            "prediction": self._over_classes(prediction_term(outputs["logits"], target, self.task_kind), every, 1.0),
            "alignment": self._rows(
                self._align(outputs["shared_ehr"], outputs["shared_cxr"]), has_cxr, self.lambda_jsd
            ),
            "orthogonality_ehr": LossTerm(
                absolute_cosine(outputs["shared_ehr"], outputs["distinct_ehr"]), every, self.lambda_orth
            ),
            "orthogonality_cxr": self._rows(
                absolute_cosine(outputs["shared_cxr"], outputs["distinct_cxr"]), has_cxr, self.lambda_orth
            ),
        }
        for name, term, weight in zip(AUXILIARY, auxiliary, self.lambda_aux, strict=True):
            rows = every if self.aux_on_partial and name != "cxr" else has_cxr
            terms[f"auxiliary_{name}"] = self._over_classes(term, rows, weight)
        return terms | self._rank(outputs["attention"], auxiliary, has_cxr)

    def _rows(self, values: Tensor, rows: Tensor, weight: float) -> LossTerm:
        """One value a row, averaged over ``rows`` or, as Eq. 13 does, over all rows."""
        if self.average_over == "batch":
            return LossTerm(torch.where(rows, values, 0), torch.ones_like(rows), weight)
        return LossTerm(values, rows, weight)

    def _over_classes(self, term: LossTerm, rows: Tensor, weight: float) -> LossTerm:
        """The labelled entries of ``rows``: their mean, or their sum over classes averaged over rows."""
        values, mask = term.values, term.mask
        if values.dim() == 1:  # multiclass: one cross-entropy a row
            values, mask = values[:, None], mask[:, None]
        counted = mask & rows[:, None]
        if self.reduction == "sum":
            labelled = mask.any(1) if self.average_over == "batch" else counted.any(1)
            return LossTerm(torch.where(counted, values, 0).sum(1), labelled, weight)
        if self.average_over == "batch":
            return LossTerm(torch.where(counted, values, 0), mask, weight)
        return LossTerm(values, counted, weight)

    def _align(self, ehr: Tensor, cxr: Tensor) -> Tensor:
        """Divergence of the shared representations, one number a row."""
        match self.alignment:
            case "jsd":
                values = bernoulli_js_divergence(ehr, cxr)
            case "jsd_one_sided":
                values = one_sided_js_divergence(ehr, cxr)
            case _:
                values = (ehr - cxr).square()
        return values.mean(1) if self.reduction == "mean" else values.sum(1)

    def _rank(self, attention: Tensor, auxiliary: list[LossTerm], has_cxr: Tensor) -> dict[str, LossTerm]:
        """The attention ranking, over the rows with a radiograph."""
        losses = torch.stack([torch.where(t.mask, t.values, torch.nan) for t in auxiliary], -1).detach()
        # A softmax ties the classes together: with it, a representation has one loss a row, the same for every class.
        losses = losses[:, None].expand_as(attention) if losses.dim() == 2 else losses
        if self.ranking != "released":
            values = attention_ranking_loss(attention, losses, self.margin, gated=self.ranking == "gated")
            return {"attention": self._rows(values, has_cxr, self.lambda_attention)}
        hinges = released_ranking(attention, losses)
        return {
            f"attention_{name}": LossTerm(hinge, (hinge > 0) & has_cxr[:, None], self.lambda_attention / len(hinges))
            for name, hinge in hinges.items()
        }


def one_sided_js_divergence(h1: Tensor, h2: Tensor) -> Tensor:
    """Only the positive outcome's half of the Jensen-Shannon divergence, as the released code has it, elementwise.

    0.5 (p log(p / m) + q log(q / m)) with m = (p + q) / 2. It may be negative and is blind to logits that differ far
    below 0.
    """
    log_p, log_q = F.logsigmoid(h1), F.logsigmoid(h2)
    log_mixture = torch.logaddexp(log_p, log_q) - torch.log(torch.tensor(2.0, dtype=h1.dtype, device=h1.device))
    return 0.5 * (log_p.exp() * (log_p - log_mixture) + log_q.exp() * (log_q - log_mixture))


def released_ranking(attention: Tensor, losses: Tensor) -> dict[str, Tensor]:
    """The ranking of the released code: three unordered pairs without margin, each (B, C).

    A pair is penalised by how far attention prefers the representation of the greater loss; where the losses tie, the
    second of the pair is held to be no worse. Each pair's penalties are averaged over those that are positive.
    """
    hinges = {}
    for i, j in ((0, 1), (0, 2), (1, 2)):
        sign = torch.where(losses[..., i] < losses[..., j], 1.0, -1.0).to(attention.dtype)
        hinge = (sign * (attention[..., j] - attention[..., i])).clamp_min(0)
        unlabelled = losses[..., i].isnan() | losses[..., j].isnan()
        hinges[f"{AUXILIARY[i]}_{AUXILIARY[j]}"] = hinge.masked_fill(unlabelled, 0)
    return hinges
