"""From a record to twelve leads of one rate and one length: nothing lost, nothing invented, known answers."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from ecg_files import EIGHT, heart
from scipy.signal import resample_poly

from cardiozoo.data.ecg import LEAD_STATES, LEADS, MISSING
from cardiozoo.data.ecg_record import EcgRecord
from cardiozoo.data.ecg_resample import half_length, rate_ratio, resample
from cardiozoo.data.ecg_standard import Quality, standardise
from cardiozoo.data.readers.ecg import read_ecg
from cardiozoo.errors import OptionError, RecordError

HEART = heart()
PRESENT = LEAD_STATES.index("present")


def record(
    digital: np.ndarray,
    names: tuple[str, ...] = LEADS,
    rate: float = 500,
    gain: float | list[float] = 200,
    **more: object,
) -> EcgRecord:
    return EcgRecord(names, digital, np.broadcast_to(np.asarray(gain, float), len(names)).copy(), rate, **more)


def test_the_files_integers_stay_bit_for_bit_and_the_record_is_not_changed() -> None:
    for digital in (HEART, HEART.astype(np.int32)):
        before = digital.copy()
        ecg = standardise(record(digital, gain=[200 + i for i in range(12)]))
        assert ecg.signal.dtype == np.int16 and np.array_equal(ecg.signal, digital) and ecg.samples == 5000
        assert ecg.gain.dtype == np.float32 and ecg.gain.tolist() == [200 + i for i in range(12)]
        assert ecg.state.dtype == np.uint8 and not ecg.state.any() and ecg.notes == ()
        ecg.signal[:] = 0
        assert np.array_equal(digital, before)


def test_leads_go_by_name_in_any_order_and_inverted_ones_are_turned() -> None:
    order = np.random.default_rng(0).permutation(12)
    digital = HEART[order].copy()
    names = [LEADS[i].upper() for i in order]
    place = names.index("AVR")
    names[place], digital[place] = "-aVR", -digital[place]
    ecg = standardise(record(digital, tuple(names)))
    assert np.array_equal(ecg.signal, HEART) and "turned over: aVR" in ecg.notes


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float64])
def test_four_leads_follow_from_two_exactly(kind: type) -> None:
    rows = HEART[[LEADS.index(lead) for lead in EIGHT]].astype(kind)
    gap = np.zeros(rows.shape, dtype=bool)
    gap[1, 300:320] = True
    ecg = standardise(record(rows, EIGHT, missing=gap))
    expected = HEART / 200
    expected[[1, 2, 3, 4, 5], 300:320] = np.nan
    np.testing.assert_allclose(ecg.millivolt(), expected, atol=5.1e-4 if kind is np.float64 else 1e-6)
    assert "leads derived: III aVR aVL aVF" in ecg.notes and not ecg.state.any()
    if kind is not np.float64:
        assert ecg.gain.tolist() == [200, 200, 200, 400, 400, 400] + [200] * 6
        assert np.array_equal(ecg.signal[3, 320:], -(HEART[0, 320:] + HEART[1, 320:]))


def test_derived_leads_of_odd_numbers_and_other_gains() -> None:
    rng = np.random.default_rng(1)
    rows = rng.integers(-600, 600, size=(2, 5000)).astype(np.int16)
    ecg = standardise(record(rows, ("I", "II")))
    assert np.array_equal(2 * ecg.signal[4].astype(int), 2 * (2 * rows[0].astype(int) - rows[1])) and ecg.gain[4] == 400
    ecg = standardise(record(rows, ("I", "II"), gain=[200, 100]))
    np.testing.assert_allclose(ecg.millivolt()[5], rows[1] / 100 - rows[0] / 400, atol=1.1e-3)
    assert ecg.state[6:].tolist() == [LEAD_STATES.index("not recorded")] * 6 and (ecg.signal[6:] == MISSING).all()
    loud = (np.array([[32000], [-32000]]) * np.sin(np.arange(5000) / 7)).astype(np.int16)
    ecg = standardise(record(loud, ("I", "II"), gain=4000))
    np.testing.assert_allclose(ecg.millivolt()[2], (loud[1].astype(int) - loud[0]) / 4000, atol=2e-3)
    assert "more than 16 bits: rounded" in ecg.notes


def test_a_stored_lead_is_never_replaced_by_a_derived_one() -> None:
    rows = HEART.copy()
    rows[2] += 7
    assert np.array_equal(standardise(record(rows)).signal[2], rows[2])
    ecg = standardise(record(rows[1:], LEADS[1:]))  # lead I is not there: nothing to derive from
    assert ecg.state.tolist() == [1] + [0] * 11 and ecg.gain[0] == 1


@pytest.mark.parametrize(
    ("source", "target"), [(1000, 500), (257, 500), (360, 500), (400, 500), (100, 500), (500, 250), (500, 100)]
)
def test_resampling_a_sine_gives_that_sine(source: int, target: int) -> None:
    time = np.arange(source * 10) / source
    for share in (0.02, 0.2, 0.4):
        tone = 2 * np.pi * share * min(source, target)
        result = resample((np.sin(tone * time + 0.3) + 2)[None], rate_ratio(source, target))[0]
        expected = np.sin(tone * np.arange(len(result)) / target + 0.3) + 2
        inside = slice(target // 4, -target // 4)
        assert len(result) == 10 * target and np.abs(result - expected)[inside].max() < 3e-4
    if source > target:
        tone = 2 * np.pi * 0.6 * target
        assert np.abs(resample(np.sin(tone * time)[None], rate_ratio(source, target))[0])[50:-50].max() < 2e-4


def test_ratios_are_exact_or_as_near_as_makes_no_difference() -> None:
    assert rate_ratio(257, 500) == Fraction(500, 257) and rate_ratio(499.5, 500) == Fraction(1000, 999)
    for odd in (499.348, 1000.0001, 101.10101):
        ratio = rate_ratio(odd, 500)
        assert abs(float(ratio) * odd / 500 - 1) < 1e-6 and max(ratio.numerator, ratio.denominator) <= 4000


def test_resampling_through_standardise_keeps_offsets_and_clips_nothing() -> None:
    time = np.arange(10000) / 1000
    sine = 25 * np.sin(2 * np.pi * 5 * time) + 18
    ecg = standardise(record(np.tile(sine, (12, 1)), rate=1000, gain=1), quality=Quality(max_mv=100))
    assert (ecg.gain == 500).all()  # 43 mV do not fit 16 bits of 1 uV
    np.testing.assert_allclose(ecg.millivolt()[:, 50:-50], np.tile(sine[::2], (12, 1))[:, 50:-50], atol=2e-3)
    digital = heart(10000, 1000, gain=1000)
    ecg, other = standardise(record(digital, rate=1000, gain=1000)), resample_poly(digital / 1000, 1, 2, axis=1)
    assert np.abs(ecg.millivolt() - other)[:, 50:-50].max() < 0.02 and "resampled from 1000 Hz" in ecg.notes


def test_a_gap_stays_a_gap_and_does_not_spread_beyond_the_filter() -> None:
    signal = heart(10000, 1000, gain=1000) / 1000
    holed = signal.copy()
    holed[3, 4001:4400] = np.nan
    holed[5, :30] = np.inf
    whole, ecg = standardise(record(signal, rate=1000, gain=1)), standardise(record(holed, rate=1000, gain=1))
    missing = ecg.signal == MISSING
    assert missing[3, 2001:2200].all() and missing[3].sum() == 199 and missing[5].sum() == 15 and missing.sum() == 214
    reach = half_length(rate_ratio(1000, 500))
    away = np.ones(5000, dtype=bool)
    away[(4001 - reach) // 2 : (4400 + reach) // 2 + 1] = False
    assert np.array_equal(ecg.signal[3, away], whole.signal[3, away]) and not np.isnan(ecg.signal / 1.0).any()
    assert np.array_equal(ecg.signal[[0, 11]], whole.signal[[0, 11]])


@pytest.mark.parametrize(("rate", "length"), [(500, 30000), (257, 4000), (1000, 38400)])
def test_long_records_are_cut_as_if_cut_after_resampling(rate: int, length: int) -> None:
    digital = heart(length, rate, gain=1000)
    ratio = rate_ratio(rate, 500)
    whole = digital if ratio == 1 else np.rint(resample(digital / 1000, ratio) * 1000)
    start = standardise(record(digital, rate=rate, gain=1000))
    assert np.abs(start.signal - whole[:, :5000]).max() <= 1 and "longer than 10 s: cut at the start" in start.notes
    center = standardise(record(digital, rate=rate, gain=1000), cut="center")
    first = (length - 10 * rate) // 2
    skipped = first % ratio.denominator
    whole = digital if ratio == 1 else np.rint(resample(digital[:, skipped:] / 1000, ratio) * 1000)
    at = (first - skipped) // ratio.denominator * ratio.numerator if ratio != 1 else first
    assert np.abs(center.signal - whole[:, at : at + 5000]).max() <= 1 and center.samples == 5000


def test_lengths_that_no_rate_divides() -> None:
    for rate, seconds in ((257, 2.5), (333, 1.006), (977, 7.002), (499.5, 3)):
        ecg = standardise(record(heart(int(10 * rate), rate), rate=rate), seconds=seconds, cut="center")
        assert ecg.signal.shape == (12, round(seconds * 500)) and ecg.samples == round(seconds * 500)
        assert not (ecg.signal == MISSING).any()


def test_short_records_are_marked_and_too_short_ones_refused() -> None:
    ecg = standardise(record(HEART[:, :3000]))
    assert ecg.samples == 3000 and "shorter than 10 s" in ecg.notes and (ecg.signal[:, 3000:] == MISSING).all()
    assert np.array_equal(ecg.signal[:, :3000], HEART[:, :3000]) and not ecg.state.any()
    assert standardise(record(HEART[:, :500])).samples == 500
    with pytest.raises(RecordError) as error:
        standardise(record(HEART[:, :499]))
    assert error.value.reason == "shorter than 1 s"
    with pytest.raises(RecordError, match="no samples"):
        standardise(record(HEART[:, :0]))


@pytest.mark.parametrize("filler", [0.0, np.nan])
def test_padding_at_the_ends_is_cut_off(filler: float) -> None:
    tracing = np.full((12, 4096), filler)
    tracing[:, 648:3448] = heart(2800, 400, gain=1000) / 1000 + 0.001
    tracing[4] = 0.0  # a dead lead does not hide the padding
    ecg = standardise(record(tracing, rate=400, gain=1))
    assert ecg.samples == 3500 and "padding cut off" in ecg.notes and ecg.state[4] == LEAD_STATES.index("flat")
    bare = standardise(record(tracing[:, 648:3448], rate=400, gain=1))
    assert np.array_equal(ecg.signal, bare.signal)
    few = np.zeros((12, 5000))
    few[:, 5:] = HEART[:, 5:] / 200 + 0.001
    assert standardise(record(few, gain=1)).samples == 5000  # five zeros are no padding


def test_the_reserved_value_is_missing_with_or_without_a_mask() -> None:
    digital = HEART.copy()
    digital[3, 40:60] = MISSING
    plain, masked = record(digital), record(digital, missing=digital == MISSING)
    assert plain.missing is not None and np.array_equal(plain.missing, masked.missing)
    assert np.isnan(plain.millivolt()[3, 40:60]).all() and np.array_equal(standardise(plain).signal, digital)


def test_repeated_leads_may_agree_but_not_differ() -> None:
    again = np.concatenate((HEART, HEART[1:2]))
    assert np.array_equal(standardise(record(again, (*LEADS, "ii"))).signal, HEART)
    again[12, 7] += 1
    with pytest.raises(RecordError) as error:
        standardise(record(again, (*LEADS, "ii")))
    assert error.value.reason == "a lead stored twice with different samples"


def test_other_rates_and_lengths_on_a_real_record() -> None:
    path = Path(__file__).parent / "ptbxl_sample" / "records500" / "06000" / "06003_hr.hea"
    real = read_ecg(path)
    for rate, seconds in ((250, 10), (100, 10), (500, 2.5), (250, 5)):
        ecg = standardise(real, rate, seconds)
        assert ecg.signal.shape == (12, int(rate * seconds)) == (12, ecg.samples) and not ecg.state.any()
        other = resample_poly(real.millivolt(), rate, 500, axis=1, padtype="line")[:, : ecg.samples]
        np.testing.assert_allclose(ecg.millivolt()[:, 20:-20], other[:, 20:-20], atol=0.08)
        assert np.corrcoef(ecg.millivolt()[1, 20:-20], other[1, 20:-20])[0, 1] > 0.9995


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0},
        {"rate": float("nan")},
        {"seconds": 0},
        {"seconds": -1},
        {"cut": "end"},
        {"rate": 333.3, "seconds": 1},
    ],
)
def test_options_out_of_range_stop_before_work_begins(options: dict) -> None:
    with pytest.raises(OptionError) as error:
        standardise(record(HEART), **options)
    assert error.value.accepted and error.value.next_step


def test_no_lead_and_impossible_rates_are_refused() -> None:
    for names, rate, reason in ((("a", "b"), 500, "no lead in the file"), (("I", "II"), 5, "sampling rate impossible")):
        with pytest.raises(RecordError) as error:
            standardise(record(HEART[:2], names, rate))
        assert error.value.reason == reason
