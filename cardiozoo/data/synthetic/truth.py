"""The truth beside the cohort: latent states, labels, outcomes, and what an oracle reaches with them."""

from __future__ import annotations

from math import sqrt

import numpy as np
import polars as pl
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from cardiozoo.data.synthetic.block import Block
from cardiozoo.data.synthetic.calibrated import load_measured
from cardiozoo.data.synthetic.charting import HOUR, Rounds
from cardiozoo.data.synthetic.chest import Chest
from cardiozoo.data.synthetic.conditions import FALSE_CODE, MISSED_CODE
from cardiozoo.data.synthetic.icu import SIGNALS, Course, Signal
from cardiozoo.data.synthetic.plants import PLANTS

ORACLE_STAYS = 20_000
"""More stays than these tell the oracle nothing new."""
ORACLE_CASES = 20
"""With fewer rows of either class an oracle is not stated."""


def ehr_features(rounds: Rounds, course: Course, stays: int) -> np.ndarray:
    """What an oracle reads of the charted signals (S, 4 * SIGNALS + 2), float32.

    Mean, last value, slope a day and scatter of every signal over the rounds of the stay; FiO2 counts only under
    ventilation, pH only with an arterial line or a ventilator, as charted; then whether either is in use.
    """
    ordered = ~rounds.extra
    stay, value, hours = rounds.stay[ordered], rounds.value[ordered].astype(np.float64), rounds.seconds[ordered] / HOUR
    starts = np.searchsorted(stay, np.arange(stays))
    count = np.diff(np.append(starts, len(stay))).astype(float)
    total = np.add.reduceat(value, starts, axis=0)
    mean = total / count[:, None]
    centre = hours - (np.add.reduceat(hours, starts) / count)[stay]
    spread = value - mean[stay]
    span = np.add.reduceat(centre**2, starts)
    slope = 24.0 * np.add.reduceat(centre[:, None] * spread, starts, axis=0) / np.maximum(span, 1.0)[:, None]
    slope *= (span > 20.0)[:, None]
    scatter = np.log(
        np.sqrt(np.add.reduceat(spread**2, starts, axis=0) / np.maximum(count - 1, 1)[:, None])
        + 0.1 * course.spread.mean(axis=0)
    )
    last = value[np.append(starts[1:], len(stay)) - 1]
    unseen = np.zeros((stays, SIGNALS), dtype=bool)
    unseen[:, Signal.FIO2] = ~course.ventilated
    unseen[:, Signal.PH] = ~(course.ventilated | course.arterial_line)
    blocks = [np.where(unseen, np.nan, block) for block in (mean, last, slope, scatter)]
    features = np.concatenate([*blocks, course.ventilated[:, None], course.arterial_line[:, None]], axis=1)
    seen = np.isfinite(features)
    centre = np.where(seen, features, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return np.where(seen, features, centre).astype(np.float32)


def auroc(target: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve from ranks (ties count half); NaN when a class is absent."""
    positive = int(target.sum())
    negative = len(target) - positive
    if positive == 0 or negative == 0:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[target].sum() - positive * (positive + 1) / 2) / (positive * negative))


def area_of(shift: np.ndarray) -> np.ndarray:
    """AUROC of a Gaussian score with this class shift: Phi(d / sqrt 2)."""
    return ndtr(np.asarray(shift) / sqrt(2.0))


def class_shift(area: float) -> float:
    """The d of a Gaussian score with this AUROC: AUROC = Phi(d / sqrt 2)."""
    return float(sqrt(2.0) * ndtri(np.clip(area, 1e-4, 1 - 1e-4)))


def oracle_auroc(features: np.ndarray, labels: np.ndarray, folds: int = 4) -> np.ndarray:
    """Mean AUROC over folds of a ridge logistic regression for every column of ``labels`` (C,).

    NaN where either class has fewer than ORACLE_CASES rows.

    Args:
        features: (S, F), finite.
        labels: bool (S, C).
        folds: Rows are dealt out in turn.
    """
    areas = np.full(labels.shape[1], np.nan)
    if len(features) < 2 * ORACLE_CASES:
        return areas
    scale = features.std(axis=0)
    z = (features - features.mean(axis=0)) / np.where(scale > 1e-9, scale, 1.0)
    design = np.concatenate([np.ones((len(z), 1)), z], axis=1)
    fold = np.arange(len(z)) % folds
    for column in range(labels.shape[1]):
        target = labels[:, column]
        if min(int(target.sum()), int((~target).sum())) < ORACLE_CASES:
            continue
        held_out = []
        for k in range(folds):
            weights = _logistic(design[fold != k], target[fold != k])
            held_out.append(auroc(target[fold == k], design[fold == k] @ weights))
        areas[column] = np.mean(held_out)
    return areas


def _logistic(design: np.ndarray, target: np.ndarray, ridge: float = 20.0, steps: int = 25) -> np.ndarray:
    """Newton's method with step halving for a logistic regression with a ridge on all but the intercept."""
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 1e-6

    def loss(weights: np.ndarray) -> float:
        score = design @ weights
        return float(np.logaddexp(0.0, score).sum() - score[target].sum() + 0.5 * (penalty * weights**2).sum())

    weights = np.zeros(design.shape[1])
    weights[0] = np.log(target.mean() / (1.0 - target.mean()))
    current = loss(weights)
    for _ in range(steps):
        probability = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -30.0, 30.0)))
        gradient = design.T @ (target - probability) - penalty * weights
        hessian = (design * (probability * (1.0 - probability))[:, None]).T @ design + np.diag(penalty)
        direction = np.linalg.solve(hessian, gradient)
        length = 1.0
        while (candidate := loss(weights + length * direction)) > current and length > 1e-4:
            length /= 2.0
        if current - candidate < 1e-4 * len(target) ** 0.5:
            break
        weights, current = weights + length * direction, candidate
    return weights


def stay_rows(block: Block, shown: Chest) -> pl.DataFrame:
    """One row a stay: ids, severity, outcomes, pressures, the chest now and on the films, labels clean and coded."""
    stays, outcome, units = block.stays, block.outcomes, block.units
    main = np.arange(len(stays))
    columns: dict[str, object] = {
        "subject_id": block.calendar.subject_id[stays.patient],
        "hadm_id": block.calendar.hadm_id,
        "stay_id": units.stay_id[main],
        "patient": stays.index,
        "admission": stays.number,
        "sex": np.where(stays.male, "M", "F"),
        "age": stays.age,
        "height": stays.height,
        "weight": stays.weight,
        "severity": stays.severity,
        "distress": stays.distress,
        "ventilated": block.course.ventilated,
        "arterial_line": block.course.arterial_line,
        "beta_blocker": block.course.beta_blocker,
        "los_hours": outcome.los_hours,
        "dies": outcome.dies,
        "death_hours": np.where(np.isfinite(outcome.death_hours), outcome.death_hours, np.nan),
        "has_cxr": outcome.has_cxr,
        "disagree": outcome.disagree,
        "studies": outcome.films,
        "icd_version": block.version,
        "transferred": units.transferred[main],
        "silent": units.silent[main],
        "second_stay": np.isin(main, units.parent[len(stays) :]),
    }
    columns |= {f"circulation/{name}": values for name, values in block.circulation.columns().items()}
    columns |= {f"chest/{name}": values for name, values in block.now.columns().items()}
    columns |= {f"film/{name}": values for name, values in shown.columns().items()}
    columns |= {f"label/{plant.label}": block.present[:, row] for row, plant in enumerate(PLANTS)}
    columns |= {f"coded/{plant.label}": block.coded[:, row] for row, plant in enumerate(PLANTS)}
    return pl.DataFrame(columns).with_columns(pl.col("death_hours").fill_nan(None))


def summary(stays: pl.DataFrame, ehr: np.ndarray, now: np.ndarray, shown: np.ndarray, dirt: pl.DataFrame) -> dict:
    """Realised numbers of a cohort: prevalence, pairing, mortality, the oracles of both modalities, planted dirt.

    ``oracle_auroc_...`` are fitted on this cohort, and too low when it is small; ``measured_auroc_...`` were measured
    on the many stays of the calibration.

    Args:
        stays: Rows of :func:`stay_rows`.
        ehr: Features of the charted signals (S, F), NaN rows for stays without events.
        now: Features of the present state of the chest (S, 16).
        shown: The same of the state that the films show (S, 16).
        dirt: Planted rows.
    """
    labels = stays.select(pl.col("^label/.*$")).to_numpy()
    paired = stays["has_cxr"].to_numpy()
    kept = np.flatnonzero(np.isfinite(ehr).all(axis=1))[:ORACLE_STAYS]
    filmed = np.flatnonzero(paired)[:ORACLE_STAYS]
    everyone = np.arange(len(stays))[:ORACLE_STAYS]
    areas = {
        "oracle_auroc_ehr": oracle_auroc(ehr[kept], labels[kept]),
        "oracle_auroc_cxr": oracle_auroc(now[everyone], labels[everyone]),
        "oracle_auroc_cxr_paired": oracle_auroc(shown[filmed], labels[filmed]),
    }
    large = {name.replace("_d_", "_auroc_"): area_of(shifts) for name, shifts in load_measured().items()}
    return {
        "stays": len(stays),
        "paired_share": round(float(paired.mean()), 4),
        "paired_share_48h": _share(paired, stays["los_hours"].to_numpy() >= 48.0),
        "mortality": round(float(stays["dies"].mean()), 4),
        "mortality_paired": _share(stays["dies"].to_numpy(), paired),
        "disagree_share": _share(stays["disagree"].to_numpy(), paired),
        "oracle_stays": {"ehr": len(kept), "cxr": len(everyone), "cxr_paired": len(filmed)},
        "classes": [
            {
                "index": row,
                "label": plant.label,
                "planted_d_ehr": plant.ehr,
                "planted_d_cxr": plant.cxr,
                "prevalence_target": plant.prevalence,
                "prevalence": round(float(labels[:, row].mean()), 4),
                "prevalence_paired": _share(labels[:, row], paired),
                **{name: _number(values[row]) for name, values in {**areas, **large}.items()},
            }
            for row, plant in enumerate(PLANTS)
        ],
        "label_noise": {"missed": MISSED_CODE, "false": FALSE_CODE},
        "dirt": dict(sorted(dirt.group_by("kind").len().rows())),
    }


def _share(values: np.ndarray, among: np.ndarray) -> float | None:
    return round(float(values[among].mean()), 4) if among.any() else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
