"""Metrics of resamples from patient counts equal scikit-learn on the rows written out."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cardiozoo.evaluation.bootstrap import PatientDraws
from cardiozoo.evaluation.ranking import RankedScores


@pytest.mark.parametrize("digits", [0, 1, 2, 16])
@pytest.mark.parametrize("prevalence", [0.03, 0.4, 0.9])
def test_equals_scikit_learn_on_each_resample(digits: int, prevalence: float) -> None:
    rng = np.random.default_rng(7)
    patient = rng.integers(0, 70, 120)
    target = (rng.random(120) < prevalence).astype(float)
    target[:2] = 0, 1
    target[rng.random(120) < 0.1] = np.nan
    score = (0.3 * np.nan_to_num(target) + 0.7 * rng.random(120)).round(digits)
    draws = PatientDraws(patient, 60, seed=3)
    ranked = RankedScores(target, score, draws.codes, draws.patients)
    found = [ranked.areas(counts) for _, counts in draws.blocks(size=17)]
    auroc, auprc = (np.concatenate(parts) for parts in zip(*found, strict=True))
    for i, counts in enumerate(draws):
        rows = np.repeat(np.arange(120), counts[draws.codes])
        rows = rows[~np.isnan(target[rows])]
        if len(set(target[rows])) < 2:
            assert np.isnan(auroc[i]) and np.isnan(auprc[i])
            continue
        assert auroc[i] == pytest.approx(roc_auc_score(target[rows], score[rows]), abs=1e-12)
        assert auprc[i] == pytest.approx(average_precision_score(target[rows], score[rows]), abs=1e-12)


@pytest.mark.parametrize("target", [[0.0, 0.0], [1.0, 1.0], [np.nan, np.nan], []])
def test_one_kind_of_target_is_undefined(target: list[float]) -> None:
    ranked = RankedScores(np.array(target), np.full(len(target), 0.5), np.arange(len(target)), 2)
    for area in ranked.areas(np.ones((2, 3))):
        assert area.shape == (3,) and np.isnan(area).all()


def test_everybody_once_is_the_sample_itself() -> None:
    rng = np.random.default_rng(0)
    target, score = (rng.random(500) < 0.2).astype(float), rng.random(500).astype(np.float32)
    auroc, auprc = RankedScores(target, score, np.arange(500), 500).areas(np.ones((500, 1)))
    assert auroc[0] == pytest.approx(roc_auc_score(target, score), abs=1e-12)
    assert auprc[0] == pytest.approx(average_precision_score(target, score), abs=1e-12)
