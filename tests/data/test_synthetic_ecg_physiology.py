"""Signs as they are taught: what a reader of electrocardiograms expects of each disturbance is in what was drawn."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.signal import find_peaks
from scipy.stats import spearmanr
from synthetic_ecg import people

from cardiozoo.data.ecg import LEADS
from cardiozoo.data.synthetic import ecg_field, ecg_person, ecg_render, ecg_rhythm, ecg_visit
from cardiozoo.data.synthetic.ecg_landmarks import Landmarks, landmarks
from cardiozoo.data.synthetic.ecg_waves import QRS_WAVES, Morphology, morphology

MANY = 4000
TIMES = np.arange(-20.0, 240.0, 1.0)


@lru_cache
def drawn() -> tuple[ecg_visit.Visits, Morphology, Landmarks]:
    """One recording of each of many people."""
    hearts, persons = people(MANY)
    visits = ecg_visit.draw_visits(2, hearts, persons, np.ones(MANY, dtype=int))
    shape = morphology(hearts, persons, visits)
    return visits, shape, landmarks(shape)


def complexes(rows: np.ndarray) -> np.ndarray:
    """QRS complexes (R, 12, ms) in mV without noise."""
    _, shape, _ = drawn()
    z = (TIMES - shape.centre[rows, QRS_WAVES, None]) / shape.sigma[rows, QRS_WAVES, None]
    return ecg_field.twelve(np.matmul(shape.leads[rows, QRS_WAVES].transpose(0, 2, 1), np.exp(-0.5 * z**2)))


def of(lead: str) -> int:
    return LEADS.index(lead)


def test_amplitudes_are_those_of_real_records():
    hearts, _ = people(MANY)
    visits, _, _ = drawn()
    healthy = (visits.conduction == ecg_person.NORMAL) & (hearts.mpap < 22.0)
    waves = complexes(np.flatnonzero(healthy))
    # medians over ten people of PTB-XL, in mV
    r = [0.83, 0.99, 0.23, 0.10, 0.43, 0.57, 0.14, 0.40, 0.75, 1.45, 1.38, 1.14]
    s = [0.14, 0.13, 0.17, 0.86, 0.14, 0.16, 0.92, 0.98, 1.04, 0.62, 0.34, 0.11]
    np.testing.assert_allclose(np.median(waves.max(axis=2), axis=0), r, atol=0.25)
    np.testing.assert_allclose(-np.median(waves.min(axis=2), axis=0), s, atol=0.25)
    steepest = np.median(np.abs(np.diff(waves, axis=2)).max(axis=2), axis=0) * 1000.0
    assert steepest[of("II")] > 65.0 and steepest[of("V3")] > 120.0, "mV a second; 98 and 177 in the ten"


def test_left_bundle_branch_block_is_wide_and_notched():
    visits, _, marks = drawn()
    rows = np.flatnonzero(visits.conduction == ecg_person.LBBB)
    width = (marks.offsets["qrs_off"] - marks.offsets["qrs_on"])[rows]
    assert (width >= 120.0).all()
    for lead in ("I", "V5", "V6"):
        humps = [len(find_peaks(wave, height=0.2, prominence=0.02)[0]) for wave in complexes(rows)[:, of(lead)]]
        assert np.mean(np.array(humps) >= 2) > 0.8, lead


def test_wide_complexes_are_as_wide_as_the_truth_says():
    visits, shape, marks = drawn()
    width = marks.offsets["qrs_off"] - marks.offsets["qrs_on"]
    for code in (ecg_person.LBBB, ecg_person.PACED, ecg_person.ESCAPE):
        rows = visits.conduction == code
        assert np.abs(width[rows] / shape.qrs[rows] - 1.0).max() < 0.05


def test_right_bundle_branch_block_leaves_the_axis_alone():
    hearts, _ = people(MANY)
    visits, _, marks = drawn()
    calm = hearts.mpap < 30.0
    block, usual = (marks.qrs_axis[calm & (visits.conduction == c)] for c in (ecg_person.RBBB, ecg_person.NORMAL))
    assert len(block) > 30 and abs(np.median(block) - np.median(usual)) < 12.0
    assert (block > 100.0).mean() < 0.05


def test_first_degree_block_is_a_pr_above_200_ms():
    visits, _, marks = drawn()
    pr = visits.pr + marks.offsets["qrs_on"] - marks.offsets["p_on"]
    sinus = visits.rhythm == ecg_visit.SINUS
    conducted = sinus & (visits.av_block < 2)
    np.testing.assert_array_equal(pr[conducted] > 200.0, visits.av_block[conducted] == 1)
    # the P wave has ended when the ventricles begin
    ended = visits.pr + marks.offsets["qrs_on"] - marks.offsets["p_off"]
    assert (ended[conducted] < 0.0).mean() < 0.005


def test_pressure_shows_in_v1_and_in_the_axis():
    hearts, _ = people(MANY)
    visits, _, marks = drawn()
    normal = visits.conduction == ecg_person.NORMAL
    waves = complexes(np.flatnonzero(normal))
    r, s = waves[:, of("V1")].max(axis=1), -waves[:, of("V1")].min(axis=1)
    pressure = hearts.mpap[normal]
    assert spearmanr(pressure, r)[0] > 0.2 and spearmanr(pressure, s)[0] < -0.2
    assert spearmanr(pressure, marks.qrs_axis[normal])[0] > 0.2
    assert spearmanr(pressure, -waves[:, of("V6")].min(axis=1))[0] > 0.15
    # what is read as hypertrophy of the right ventricle is rare in the healthy and seen in the worst
    assert (r[pressure < 20.0] > 0.7).mean() < 0.03 < (r[pressure > 60.0] > 0.7).mean() < 0.5


def test_fibrillatory_waves_are_largest_in_v1():
    hearts, persons = people(MANY)
    visits, _, _ = drawn()
    paced = visits.conduction == ecg_person.PACED
    assert (visits.fibrillating & paced).sum() > 5 and (visits.fibrillating == persons.fibrillation)[paced].all()
    rows = np.flatnonzero(visits.fibrillating)[:60]
    few = ecg_visit.draw_visits(2, hearts, persons, np.isin(np.arange(MANY), rows).astype(int))
    signal = np.zeros((len(few), 8, 5000), dtype=np.float32)
    ecg_render.draw_fibrillation(2, few, persons, signal, 500.0)
    signal = signal[few.fibrillating]
    height = np.median(np.ptp(ecg_field.twelve(signal), axis=2), axis=0)
    assert height.argmax() == of("V1") and 0.1 < height[of("V1")] < 0.25
    assert 0.05 < height[of("II")] < 0.16 and height[of("I")] < 0.05


def test_fibrillation_goes_fast_or_slow():
    visits, _, _ = drawn()
    rate = 60_000.0 / visits.interval[visits.rhythm == ecg_visit.FIBRILLATION]
    assert 75.0 < np.median(rate) < 105.0 and (rate < 60.0).mean() > 0.02 and (rate > 110.0).mean() > 0.05


def test_sinus_rhythm_varies_from_person_to_person():
    hearts, persons = people(MANY)
    visits = ecg_visit.draw_visits(2, hearts, persons, (np.arange(MANY) < 600).astype(int))
    beats = ecg_rhythm.draw_beats(2, visits, persons, 10_000.0)
    quiet = (visits.rhythm == ecg_visit.SINUS) & (visits.av_block == 0)
    quiet &= (visits.premature_atrial == 0) & (visits.premature_ventricular == 0)
    spread = [np.diff(beats.q[beats.record == row]).std() for row in np.flatnonzero(quiet)]
    low, middle, high = np.percentile(spread, [5, 50, 95])
    assert low < 10.0 and 12.0 < middle < 28.0 and high > 40.0, "ms; 2 to 84, median 20, in ten of PTB-XL"


def test_displaced_st_is_in_the_truth():
    _, persons = people(MANY)
    _, _, marks = drawn()
    seen = marks.displaced_st.sum(axis=1) >= 2
    assert seen[persons.ischaemia].mean() > 0.3 and seen[~persons.ischaemia].mean() < 0.01
    assert 0.03 < persons.ischaemia.mean() < 0.07


def test_pressures_stay_below_those_of_the_body():
    hearts, _ = people(MANY)
    assert hearts.mpap.max() < 110.0 and hearts.pawp.max() < 45.0
    np.testing.assert_array_equal(hearts.mpap, hearts.pawp + hearts.pvr * hearts.output)
    assert (hearts.mpap > hearts.pawp).all()
