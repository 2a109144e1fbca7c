"""Windows of waves against beats whose waves are known, and records that have none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from known_beats import record, truth_mask

from cardiozoo.analysis.waves import Waves, beat_part, delineate, known_windows, seen_part
from cardiozoo.data.ecg_beats import find_beats
from cardiozoo.errors import OptionError


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("rate", [500, 250, 100])
def test_windows_lie_on_the_known_waves(rate: int):
    signal, beats = record(seed=rate, rate=rate)
    found = delineate(signal, rate)
    assert found.reason == "" and abs(found.beats - len(beats)) <= 1
    for wave, least in (("P", 0.75), ("QRS", 0.65), ("T", 0.7)):
        assert overlap(found.masks[wave], truth_mask(beats, wave, rate, signal.shape[1])) > least, wave
        assert found.missing[wave] <= 1


def test_points_have_a_fixed_half_width_in_seconds():
    for rate in (500, 250):
        signal, beats = record(rate=rate)
        found = delineate(signal, rate, half_width=0.04)
        whole = [b - a for name, a, b in found.windows if name == "R" and 0 < a and b < signal.shape[1]]
        assert set(whole) == {2 * round(0.04 * rate) + 1}
        peaks = np.array([(a + b) / 2 / rate for name, a, b in found.windows if name == "R"])
        truth = np.array([beat["QRS"][0] + 0.43 * 0.095 for beat in beats])
        assert np.abs(peaks[:, None] - truth).min(axis=1).max() < 0.02


def test_another_lead_takes_over_and_is_named():
    signal, _ = record()
    signal[1] = 0
    found = delineate(signal, 500)
    assert found.source.endswith("lead I") and found.beats > 8
    present = np.zeros(12, dtype=bool)
    present[7] = True
    assert delineate(signal, 500, present).source.endswith("lead V2")


@pytest.mark.parametrize("signal", [np.zeros((12, 5000)), np.full((12, 5000), np.nan), np.ones((12, 90))])
def test_a_record_without_beats_says_why(signal: np.ndarray):
    found = delineate(signal, 500)
    assert found.reason and found.beats == 0
    assert not any(mask.any() for mask in found.masks.values())


def test_gaps_are_bridged():
    signal, beats = record()
    signal[1, 1000:1040] = np.nan
    found = delineate(signal, 500)
    assert found.source.endswith("lead II") and abs(found.beats - len(beats)) <= 1


def test_known_positions_follow_rate_and_window():
    table = pl.DataFrame(
        {
            "wave": ["P", "QRS", "T", "QRS", "P"],
            "onset": [2.0, 2.2, 2.4, 8.0, None],
            "offset": [2.1, 2.3, 2.7, 8.1, None],
        }
    )
    found = known_windows(table, rate=250, samples=1250, begin=2.0)
    assert found.windows == (("P", 0, 25), ("QRS", 50, 75), ("T", 100, 175))
    assert found.beats == 1 and found.source == "known positions"
    assert found.masks["QRS"].sum() == 25


def test_known_peaks_with_half_width():
    table = pl.DataFrame({"wave": ["R", "T", "QRS"], "peak": [1.0, 1.3, None]})
    found = known_windows(table, 500, 1000, half_width=0.04)
    assert found.windows == (("R", 480, 520), ("T", 630, 670))


def test_bad_input_is_refused():
    with pytest.raises(OptionError, match="no column offset"):
        known_windows(pl.DataFrame({"wave": ["P"], "onset": [0.0]}), 500, 10)
    with pytest.raises(OptionError, match="Waves called U"):
        known_windows(pl.DataFrame({"wave": ["U"], "onset": [0.0], "offset": [1.0]}), 500, 10)
    with pytest.raises(OptionError, match="rate"):
        delineate(np.zeros((12, 100)), 0)
    with pytest.raises(OptionError, match="half width"):
        delineate(np.zeros((12, 100)), 500, half_width=2.0)


def test_waves_of_a_whole_record_are_found_again_in_the_part_that_a_model_sees():
    table = pl.DataFrame(
        {"wave": ["P", "QRS", "QRS", "T"], "onset": [3.9, 4.08, 8.0, 4.3], "offset": [4.0, 4.18, 8.1, 4.5]}
    )
    whole = known_windows(table, 500.0, 5000)
    part = seen_part(whole, 500.0, 100.0, 256, 3.72)
    assert part.windows == known_windows(table, 100.0, 256, 3.72).windows
    assert part.beats == 1 and part.missing == {"P": 0, "QRS": 0, "T": 0}
    nothing = seen_part(Waves.none(("P", "QRS", "T"), 5000, "neurokit2", "0 beats"), 500.0, 100.0, 256, 3.72)
    assert nothing.reason == "0 beats" and len(nothing.masks["P"]) == 256


def test_waves_of_a_median_beat_are_the_usual_ones_around_r():
    signal, beats = record(3, rate=500, heart_rate=60)
    peaks = find_beats(signal, 500)
    found = beat_part(delineate(signal, 500), peaks, 500, 250, 200)
    r = peaks[3] / 500
    beat = min(beats, key=lambda beat: abs(sum(beat["QRS"]) / 2 - r))
    t = np.arange(200) / 250 - 0.4
    for wave in ("P", "QRS", "T"):
        assert overlap(found.masks[wave], (t >= beat[wave][0] - r) & (t <= beat[wave][1] - r)) > 0.6, wave
    assert found.beats == 1 and found.missing == {"P": 0, "QRS": 0, "T": 0}
    assert beat_part(delineate(np.zeros((12, 5000)), 500), np.zeros(0, dtype=int), 500, 250, 200).reason
