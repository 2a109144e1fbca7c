"""Which leads are absent: faults that carts make are found, hearts that look odd are not taken for faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ecg_files import heart
from pydicom.data import get_testdata_file

from cardiozoo.data.ecg import LEAD_STATES, LEADS, MISSING
from cardiozoo.data.ecg_quality import Quality, lead_states
from cardiozoo.data.ecg_record import EcgRecord
from cardiozoo.data.ecg_standard import standardise
from cardiozoo.data.readers.ecg import read_ecg
from cardiozoo.errors import OptionError, RecordError

HEART = heart(gain=1000)
SAMPLE = Path(__file__).parent / "ptbxl_sample"


def state_of(lead: np.ndarray, gain: float = 1000.0, rate: float = 500.0, **thresholds: float) -> str:
    """State of V3 when it holds these samples, NaN missing."""
    rows = HEART[:, : len(lead)].astype(np.float64) / 1000
    rows[8] = lead / gain
    missing = ~np.isfinite(rows)
    record = EcgRecord(LEADS, rows, np.ones(12), rate, missing if missing.any() else None)
    state = standardise(record, rate, quality=Quality(**thresholds)).state
    assert not np.delete(state, 8).any()
    return LEAD_STATES[state[8]]


def clipped(low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    return np.clip(HEART[8], low, high).astype(float)


def test_real_leads_and_made_ones_are_all_present() -> None:
    for header in SAMPLE.glob("records*/*/*.hea"):
        record = read_ecg(header)
        assert not standardise(record, record.rate).state.any()
    assert not standardise(read_ecg(get_testdata_file("waveform_ecg.dcm"))).state.any()
    for gain in (50, 100, 200, 1000):
        for seed in range(5):
            digital = heart(seed=seed, gain=gain)
            states = lead_states(digital, np.full(12, float(gain)), None, 500.0, Quality())
            assert not states.any(), (gain, seed, states)


@pytest.mark.parametrize("gain", [100, 200, 1000])
def test_waves_without_any_noise_are_no_faults(gain: float) -> None:
    time = np.arange(5000) / 500
    for beat in (0.5, 0.8, 1.6):
        phase = time % beat
        spike = np.exp(-0.5 * ((phase - 0.2) / 0.012) ** 2)
        hill = np.exp(-0.5 * ((phase - 0.4) / 0.04) ** 2)
        for shape in (spike, -spike, spike + 0.3 * hill, 0.2 * spike + hill, -hill, 2 * hill - spike):
            assert state_of(np.rint(shape * gain), gain) == "present"


def test_a_high_peak_or_a_spike_is_no_rail() -> None:
    lead = HEART[8].astype(float)
    lead[1000:1002] = 12000
    lead[3000] = 32767
    assert state_of(lead) == "present"


def test_flat_leads() -> None:
    assert state_of(np.zeros(5000)) == state_of(np.full(5000, 731.0)) == "flat"
    assert state_of(np.arange(5000) % 2 * 10.0) == "flat" and state_of(np.arange(5000) % 2 * 11.0) == "present"
    half = HEART[8].astype(float)
    half[2400:] = half[2400]
    assert state_of(half) == "flat" and state_of(half, flat_share=0.6) == "present"
    pauses = HEART[8].astype(float)
    pauses[:1500] = pauses[1499]
    assert state_of(pauses) == "present"  # three seconds without a beat happen


def test_saturated_leads() -> None:
    top, bottom = np.percentile(HEART[8], 98.5), HEART[8].min()
    assert HEART[8].max() > 500 and state_of(clipped(high=float(int(top)))) == "saturated"
    inverted = -clipped(high=float(int(top)))
    assert state_of(inverted) == "saturated"
    stuck = HEART[8].astype(float)
    stuck[1000:1400] = 32767.0
    assert state_of(stuck) == "saturated" and bottom < 0
    both = np.where(np.sin(np.arange(5000) / 40) > 0, 20000.0, -20000.0) / 4
    assert state_of(both) == "saturated"
    assert state_of(stuck, saturated_share=0.1, max_mv=100) == "present"


def test_the_rails_are_seen_before_resampling_rounds_them_off() -> None:
    fine = heart(10000, 1000, gain=1000)
    fine[8] = np.minimum(fine[8], int(np.percentile(fine[8], 98.5)))
    record = EcgRecord(LEADS, fine, np.full(12, 1000.0), 1000.0)
    assert LEAD_STATES[standardise(record).state[8]] == "saturated"


def test_missing_samples() -> None:
    lead = HEART[8].astype(float)
    lead[:] = np.nan
    assert state_of(lead) == "no samples"
    lead = HEART[8].astype(float)
    lead[:2500] = np.nan
    assert state_of(lead) == "present"
    lead[2500] = np.inf
    assert state_of(lead) == "mostly missing" and state_of(lead, max_missing=0.6) == "present"
    flat = np.full(5000, np.nan)
    flat[1000:4000] = 5.0
    assert state_of(flat) == "flat"


def test_what_no_heart_does_is_out_of_range_but_an_offset_is_not() -> None:
    assert state_of(HEART[8] * 100.0) == "out of range"
    assert state_of(HEART[8] + 25_000.0) == "present"
    lead = HEART[8].astype(float)
    lead[10:50] = np.linspace(25_000, 26_000, 40)
    assert state_of(lead) == "present"


def test_what_is_derived_from_a_dead_lead_is_dead() -> None:
    rows = HEART[[0, 1, 6, 7, 8, 9, 10, 11]].copy()
    rows[1] = 0
    state = standardise(EcgRecord(("I", "II", *LEADS[6:]), rows, np.full(8, 1000.0), 500.0)).state
    assert [LEAD_STATES[code] for code in state[:6]] == ["present", *["flat"] * 5] and not state[6:].any()


def test_a_record_without_a_usable_lead_is_refused() -> None:
    for digital in (np.zeros((12, 5000), np.int16), np.full((12, 5000), MISSING, np.int16), HEART.astype(float) * 1e3):
        missing = digital == MISSING
        with pytest.raises(RecordError) as error:
            standardise(EcgRecord(LEADS, digital, np.full(12, 1000.0), 500.0, missing if missing.any() else None))
        assert error.value.reason == "no usable lead" and "V6" in error.value.came


@pytest.mark.parametrize(
    "thresholds", [{"flat_mv": -1}, {"max_missing": 1.5}, {"min_seconds": float("nan")}, {"max_mv": "x"}]
)
def test_thresholds_out_of_range_are_refused(thresholds: dict) -> None:
    with pytest.raises(OptionError) as error:
        Quality(**thresholds)
    assert next(iter(thresholds)) in error.value.came and error.value.accepted
