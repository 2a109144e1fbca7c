"""The rendered electrocardiogram: fields, limb relations, waves where they belong, rhythms as they are defined."""

import neurokit2
import numpy as np
import pytest
from synthetic_ecg import people, recorded

from cardiozoo.data.ecg import LEADS
from cardiozoo.data.synthetic import ecg_field, ecg_landmarks, ecg_noise, ecg_person, ecg_rhythm, ecg_visit
from cardiozoo.data.synthetic.ecg_recordings import GAIN, RATE, SAMPLES, clean_signal
from cardiozoo.data.synthetic.ecg_render import anchors, draw_waves
from cardiozoo.data.synthetic.ecg_waves import Wave, morphology

# the inverse of the lead field as Edenbrandt and Pahlm published it (1988), columns V1 to V6, I, II
INVERSE = np.array(
    [
        [-0.172, -0.074, 0.122, 0.231, 0.239, 0.194, 0.156, -0.010],
        [0.057, -0.019, -0.106, -0.022, 0.041, 0.048, -0.227, 0.887],
        [-0.229, -0.310, -0.246, -0.063, 0.055, 0.108, 0.022, 0.102],
    ]
)


def plain(recordings) -> np.ndarray:
    """Recordings in sinus rhythm with normal conduction and without premature beats."""
    visits = recordings.visits
    normal = (visits.rhythm == ecg_visit.SINUS) & (visits.conduction == ecg_person.NORMAL) & (visits.av_block == 0)
    return normal & (visits.premature_ventricular == 0) & (visits.premature_atrial == 0)


def limb_deviation(leads: np.ndarray) -> float:
    i, ii, iii, avr, avl, avf = leads[..., :6, :].swapaxes(0, -2).astype(np.float64)
    return max(
        np.abs(difference).max()
        for difference in (ii - i - iii, avr + (i + ii) / 2, avl - i + ii / 2, avf - ii + i / 2)
    )


def test_lead_field_is_undone_by_the_published_inverse():
    order = [*range(2, 8), 0, 1]
    np.testing.assert_allclose(INVERSE @ ecg_field.VENTRICLES[order], np.eye(3), atol=0.03)


def test_no_limb_lead_sees_the_forward_force():
    seen = ecg_field.twelve((-ecg_field.VENTRICLES @ ecg_field.LIMB_NULL)[:, None])[:, 0]
    assert np.abs(seen[:6]).max() < 1e-15
    np.testing.assert_allclose(seen[6:], [0.87, 1.35, 1.29, 0.63, 0.12, -0.20], atol=0.005)


def test_axis_of_a_force_that_points_there():
    degrees = np.array([-60.0, 0.0, 35.0, 90.0, 140.0])
    lead_i = np.cos(np.deg2rad(degrees))
    lead_ii = np.sin(np.deg2rad(degrees)) * np.sqrt(3) / 2 + lead_i / 2
    np.testing.assert_allclose(ecg_field.frontal_axis(lead_i, lead_ii), degrees, atol=1e-9)
    turned = ecg_field.rotate_frontal(np.tile([1.0, 0.0, 0.5], (5, 1)), degrees)
    np.testing.assert_allclose(np.rad2deg(np.arctan2(turned[:, 1], turned[:, 0])), degrees)
    np.testing.assert_allclose(turned[:, 2], 0.5)


def test_limb_relations_hold_before_and_after_noise_and_rounding():
    _hearts, persons, recordings = recorded()
    clean = clean_signal(2, recordings.visits, persons, recordings.beats, recordings.shape)[:40]
    noise, _ = ecg_noise.draw_noise(2, recordings.visits, SAMPLES, RATE, 60.0)
    assert limb_deviation(ecg_field.twelve(clean)) < 1e-6
    assert limb_deviation(ecg_field.twelve(clean + noise[:40])) < 1e-6
    for digital in recordings.digital[:40]:
        assert limb_deviation(digital) <= 1.0


def test_signal_is_the_sum_of_gaussians_written_out():
    _, _persons, recordings = recorded()
    row = int(np.flatnonzero(plain(recordings))[0])
    visits, beats, shape = recordings.visits, recordings.beats, recordings.shape
    drawn = draw_waves(visits, beats, shape, SAMPLES, RATE)[row]
    times = np.arange(SAMPLES) * 1000.0 / RATE
    expected = np.zeros((8, SAMPLES))
    for wave in Wave:
        for beat in np.flatnonzero((beats.record == row) & np.isfinite(anchors(beats, wave))):
            centre = anchors(beats, wave)[beat] + shape.centre[row, wave]
            breath = 2 * np.pi * visits.breathing[row] * centre / 1000.0 + visits.breath_phase[row]
            height = (1 + 0.03 * np.sin(breath)) * np.exp(-((times - centre) ** 2) / 2 / shape.sigma[row, wave] ** 2)
            expected += shape.leads[row, wave][:, None] * height
    assert np.abs(drawn - expected).max() < 2e-3  # what lies beyond four widths is not drawn


def test_a_normal_electrocardiogram_looks_like_one():
    hearts, _persons, recordings = recorded()
    marks = ecg_landmarks.landmarks(recordings.shape)
    healthy = plain(recordings) & (hearts.mpap < 22.0) & (hearts.lv < 0.6)
    assert healthy.sum() > 40
    leads = ecg_field.twelve(recordings.shape.leads[healthy].transpose(0, 2, 1).astype(float))
    p = leads[:, :, [Wave.P_RIGHT, Wave.P_LEFT]].sum(axis=2)
    t = leads[:, :, [Wave.T_EARLY, Wave.T_LATE]].sum(axis=2)
    avr, v5 = LEADS.index("aVR"), LEADS.index("V5")
    assert (p[:, avr] < 0).all() and (p[:, LEADS.index("II")] > 0).all()
    assert (t[:, v5] > 0).mean() > 0.95 and (t[:, avr] < 0).mean() > 0.95
    r = np.median(marks.r[healthy], axis=0)
    assert r[2] < r[3] < r[4] < r[5], "R grows from V1 to V4"
    ratio = np.median(marks.r[healthy] / -marks.s[healthy], axis=0)
    assert ratio[2] < 0.5 and ratio[2:7].argmax() == 4 and ratio[6] > 2.0, "from S to R across the chest"
    assert 15.0 < np.median(marks.qrs_axis[healthy]) < 60.0
    assert 40.0 < np.median(marks.p_axis[healthy]) < 70.0


def test_twelve_leads_are_more_than_views_of_one_dipole():
    _, _, recordings = recorded()
    row = int(np.flatnonzero(plain(recordings))[0])
    beats = recordings.beats
    clean = draw_waves(recordings.visits, beats, recordings.shape, SAMPLES, RATE)[row]
    values = np.linalg.svd(clean, compute_uv=False)
    assert (values > 1e-3 * values[0]).sum() >= 5


def test_pressure_shows_where_the_plant_says():
    for plant, seen in {
        "full": {"rvf", "rva", "ra", "la", "lap", "lv"},
        "right_atrium": {"ra"},
        "chest": {"rva"},
    }.items():
        hearts, _ = people(4000, plant)
        load = hearts.h + hearts.l
        age = np.stack([np.ones(len(hearts)), hearts.age, hearts.male], axis=1)
        for name in ("rvf", "rva", "ra", "la", "lap", "lv"):
            force = getattr(hearts, name)
            rest = [values - age @ np.linalg.lstsq(age, values, rcond=None)[0] for values in (force, load)]
            correlation = np.corrcoef(rest)[0, 1]
            assert (abs(correlation) > 0.1) == (name in seen), f"{plant}: {name} {correlation:.3f}"


def test_pressures_are_those_of_a_catheter_clinic():
    hearts, _ = people(4000)
    np.testing.assert_array_equal(hearts.mpap, hearts.pawp + hearts.pvr * hearts.output)
    hypertension = hearts.mpap > 20.0
    assert 0.75 < hypertension.mean() < 0.82
    assert 0.34 < (hearts.pawp > 15.0)[hypertension].mean() < 0.42
    assert 32.0 < hearts.mpap.mean() < 35.0 and 12.5 < hearts.pawp.mean() < 14.0


def test_fibrillation_has_no_p_wave_and_no_memory():
    _, _persons, recordings = recorded()
    beats, visits = recordings.beats, recordings.visits
    rows = np.flatnonzero((visits.rhythm == ecg_visit.FIBRILLATION) & (visits.premature_ventricular == 0))
    assert len(rows) > 20
    own = np.isin(beats.record, rows)
    assert np.isnan(beats.p[own]).all()
    steps = [np.diff(beats.q[beats.record == row]) for row in rows]
    variation = np.array([step.std() / step.mean() for step in steps])
    assert 0.12 < np.median(variation) < 0.30
    before, after = (np.concatenate([(s[k:][: len(s) - 1] / s.mean()) for s in steps]) for k in (0, 1))
    assert abs(np.corrcoef(before, after)[0, 1]) < 0.15
    sinus = [np.diff(beats.q[beats.record == row]) for row in np.flatnonzero(plain(recordings))]
    assert np.median([step.std() / step.mean() for step in sinus]) < 0.04


def test_premature_beats_pause_as_they_should():
    _, persons, recordings = recorded()
    beats = recordings.beats
    regular = persons.variability[recordings.visits.person] < 1.0  # in others breathing moves beats as far
    found = 0
    for kind, full in ((ecg_rhythm.VENTRICULAR, True), (ecg_rhythm.ATRIAL, False)):
        for beat in np.flatnonzero(beats.kind == kind):
            record = beats.record[beat]
            around = [beat - 2, beat - 1, beat + 1]
            alone = (beats.record[around] == record).all() and (beats.kind[around] == ecg_rhythm.DOMINANT).all()
            if recordings.visits.rhythm[record] != ecg_visit.SINUS or not (alone and regular[record]):
                continue
            before, early, pause = np.diff(beats.q[beat - 2 : beat + 2])
            assert early < 0.9 * before
            assert np.isnan(beats.p[beat]) == (kind == ecg_rhythm.VENTRICULAR)
            assert (early + pause > 1.9 * before) == full
            found += 1
    assert found > 10


def test_atrioventricular_blocks():
    generator = np.random.default_rng(0)
    p = np.arange(0.0, 12_000.0, 800.0)
    kind, q = ecg_rhythm._wenckebach(generator, p, 180.0)
    pr = q - p
    dropped = np.flatnonzero(kind == ecg_rhythm.DROPPED)
    assert np.isnan(q[dropped]).all() and len(set(np.diff(dropped))) == 1
    growing = pr[dropped[0] + 1 : dropped[1]]
    np.testing.assert_allclose(np.diff(growing), 40.0)
    hearts, persons = people(4000)
    blocked = np.flatnonzero(persons.av_block == 3)[:3]
    visits = ecg_visit.draw_visits(2, hearts, persons, (persons.av_block == 3).astype(int))
    beats = ecg_rhythm.draw_beats(2, visits, persons, 10_000.0)
    assert len(blocked) == 3
    own = beats.record == 0
    assert not (np.isfinite(beats.p[own]) & np.isfinite(beats.q[own])).any()
    assert np.nanmedian(np.diff(beats.q[own & np.isfinite(beats.q)])) > 1400.0


def test_blocks_and_pacemakers_widen_the_complex():
    hearts, persons = people(4000)
    visits = ecg_visit.draw_visits(2, hearts, persons, np.ones(4000, dtype=int))
    shape = morphology(hearts, persons, visits)
    marks = ecg_landmarks.landmarks(shape)
    width = marks.offsets["qrs_off"] - marks.offsets["qrs_on"]
    area = ecg_field.twelve((shape.leads * shape.sigma[:, :, None]).transpose(0, 2, 1).astype(float))
    net = area[:, :, list(ecg_landmarks.QRS)].sum(axis=2)
    late = ecg_field.twelve(shape.leads.transpose(0, 2, 1).astype(float))[:, :, Wave.LATE]
    v1, v6, first = LEADS.index("V1"), LEADS.index("V6"), LEADS.index("I")
    usual = visits.conduction == ecg_person.NORMAL
    assert np.median(width[usual]) < 105.0
    for code in (ecg_person.LBBB, ecg_person.RBBB, ecg_person.PACED):
        assert np.median(width[visits.conduction == code]) > 120.0
    left, right = visits.conduction == ecg_person.LBBB, visits.conduction == ecg_person.RBBB
    assert (net[left, v1] < 0).mean() > 0.95 and (net[left, v6] > 0).mean() > 0.9
    assert (late[right, v1] > 0).all() and (late[right, first] < 0).mean() > 0.9
    for code, low, high in ((ecg_person.LAFB, -90.0, -30.0), (ecg_person.LPFB, 80.0, 150.0)):
        axis = marks.qrs_axis[visits.conduction == code]
        assert low < np.median(axis) < high


def test_noise_has_the_levels_of_recorded_electrocardiograms():
    _, _, recordings = recorded()
    noise, levels = ecg_noise.draw_noise(2, recordings.visits, SAMPLES, RATE, 60.0)
    spectrum = np.abs(np.fft.rfft(noise[:100, :2], axis=2)) ** 2
    frequency = np.fft.rfftfreq(SAMPLES, 1 / RATE)

    def band(low: float, high: float) -> np.ndarray:
        inside = (frequency >= low) & (frequency < high) & (np.abs(frequency - 60.0) > 1.0)
        return np.sqrt(2 * spectrum[..., inside].sum(axis=2)) / SAMPLES * 1000.0

    assert 2.0 < np.median(band(20.0, 150.0)) < 6.0
    assert 30.0 < np.median(band(0.0, 0.6)) < 90.0
    assert np.median(band(170.0, 250.0)) < 0.35 * np.median(band(20.0, 150.0))
    assert 0.03 < levels.burst.mean() < 0.18


def test_high_pass_settles_on_the_mean_and_removes_it():
    signal = 3.0 + np.random.default_rng(0).standard_normal((2, 5000)).astype(np.float32) * 0.1
    filtered = ecg_noise.high_pass(signal, RATE)
    assert np.abs(filtered.mean(axis=1)).max() < 0.02
    np.testing.assert_allclose(filtered.std(axis=1), signal.std(axis=1), rtol=0.02)


def test_landmarks_agree_with_an_independent_delineation():
    _, _persons, recordings = recorded()
    marks = ecg_landmarks.landmarks(recordings.shape)
    times = ecg_landmarks.positions(recordings.beats, marks)
    levels = recordings.levels
    quiet = plain(recordings) & (levels.burst == 0) & (levels.motion == 0) & (levels.wander < 0.06)
    quiet &= (levels.muscle < 0.005) & (marks.r[:, 6] > 0.8) & (levels.mains < 0.005)
    columns = {"p_on": "P_Onsets", "p_off": "P_Offsets", "qrs_off": "R_Offsets", "t_peak": "T_Peaks"}
    columns["t_end"] = "T_Offsets"
    apart = {name: [] for name in columns}
    for row in np.flatnonzero(quiet)[:10]:
        lead = recordings.digital[row][LEADS.index("V5")] / GAIN
        lead = neurokit2.ecg_clean(lead, sampling_rate=500)
        _, peaks = neurokit2.ecg_peaks(lead, sampling_rate=500)
        _, found = neurokit2.ecg_delineate(lead, peaks["ECG_R_Peaks"], sampling_rate=500, method="dwt")
        own = recordings.beats.record == row
        for name, column in columns.items():
            for sample in np.array(found[f"ECG_{column}"], dtype=float):
                if np.isfinite(sample):
                    apart[name].append(np.min(np.abs(times[name][own] - 2.0 * sample)))
    for name, values in apart.items():
        assert len(values) > 60
        assert np.median(values) < 10.0, f"{name}: {np.median(values):.0f} ms"


@pytest.mark.parametrize("count", [[1], [3, 0, 2]])
def test_recordings_of_one_person_share_who_they_are(count):
    hearts, persons = people(400)
    counts = np.zeros(400, dtype=int)
    counts[: len(count)] = count
    visits = ecg_visit.draw_visits(2, hearts, persons, counts)
    assert visits.person.tolist() == [row for row, n in enumerate(count) for _ in range(n)]
    shape = morphology(hearts, persons, visits)
    same = visits.person == 0
    between = np.std(shape.leads[same, Wave.R, 0]) if same.sum() > 1 else 0.0
    everyone = morphology(hearts, persons, ecg_visit.draw_visits(2, hearts, persons, np.ones(400, dtype=int)))
    assert between < 0.5 * np.std(everyone.leads[:, Wave.R, 0])
