"""Samples of a store to what a model sees, beside slow and simple ways to the same values."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import signal

from cardiozoo.data.ecg import MISSING
from cardiozoo.data.ecg_filters import high_pass, smooth_powerline
from cardiozoo.data.ecg_transforms import SignalOptions, close_gaps, resample, standardise_leads, transform

RATE = 500.0


def block(records: int = 6, samples: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """int16 (B, 3, S) of a random walk, and gain (B, 3)."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(0, 20, (records, 3, samples)).cumsum(axis=-1).clip(-30000, 30000).astype(np.int16)
    return raw, rng.choice([200.0, 1000.0, 4.88], (records, 3)).astype(np.float32)


def run(raw: np.ndarray, gain: np.ndarray, lengths: np.ndarray | None = None, **options: Any) -> tuple:
    options = {"rate": RATE, "standardise": "none", **options}
    usable = np.ones(raw.shape[:2], dtype=bool)
    lengths = np.full(len(raw), raw.shape[-1]) if lengths is None else lengths
    mean, sd = options.pop("mean", None), options.pop("sd", None)
    return transform(raw, gain, usable, lengths, SignalOptions(RATE, **options), mean, sd)


def test_without_options_the_values_are_millivolts_to_the_last_bit() -> None:
    raw, gain = block()
    values, usable, lengths = run(raw, gain)
    exact = (raw.astype(np.float64) / gain.astype(np.float64)[..., None]).astype(np.float32)
    assert values.dtype == np.float32 and np.array_equal(values, exact)
    assert usable.all() and (lengths == 600).all()


@pytest.mark.parametrize("filters", [{}, {"highpass": 0.5}, {"powerline": 60.0}, {"highpass": 0.5, "powerline": 50.0}])
def test_a_block_is_its_records_one_by_one(filters: dict[str, float]) -> None:
    raw, gain = block(records=9)
    raw[2, 1, 100:200], raw[3, :, :5], raw[4, 0, 480:] = MISSING, MISSING, MISSING
    raw[5, :, 420:] = MISSING
    lengths = np.array([600] * 5 + [420] + [600] * 3)
    values, usable, _ = run(raw, gain, lengths, standardise="lead", clip=4.0, **filters)
    assert usable.all()
    for record in range(9):
        n = lengths[record]
        for lead in range(3):
            x = raw[record, lead, :n] / float(gain[record, lead])
            x[raw[record, lead, :n] == MISSING] = np.nan
            x = pd.Series(x).interpolate("linear", limit_direction="both").to_numpy()
            x = high_pass(x, RATE) if "highpass" in filters else x
            x = smooth_powerline(x, RATE, filters["powerline"]) if "powerline" in filters else x
            x = np.clip((x - x.mean()) / x.std(ddof=1), -4, 4)
            assert np.abs(values[record, lead, :n] - x).max() < 1e-3
        assert (values[record, :, n:] == 0).all()


def test_gaps_are_lines_and_ends_are_held() -> None:
    values = np.array([[9.0, 1, 9, 9, 4, 9], [9, 9, 9, 9, 9, 9], [1, 2, 3, 4, 5, 6]])
    missing = np.array([[1, 0, 1, 1, 0, 1], [1] * 6, [0] * 6], dtype=bool)
    assert close_gaps(values, missing).tolist() == [True, False, True]
    assert values.tolist() == [[1, 1, 2, 3, 4, 4], [0] * 6, [1, 2, 3, 4, 5, 6]]


def test_leads_without_a_value_or_with_one_only_become_absent() -> None:
    raw, gain = block()
    raw[0, 1], raw[1, 2], raw[2, 0, :300], raw[2, 0, 300:] = MISSING, 33, 5, MISSING
    for filters in ({}, {"highpass": 0.5}):
        values, usable, _ = run(raw, gain, standardise="lead", **filters)
        expected = np.ones((6, 3), dtype=bool)
        expected[[0, 1, 2], [1, 2, 0]] = False
        assert np.array_equal(usable, expected) and (values[~usable] == 0).all()
        assert np.isfinite(values).all() and values[usable].std(axis=-1, ddof=1) == pytest.approx(1.0, abs=1e-5)
    # in mV a lead of one value is a lead of that value
    assert run(raw, gain)[1].sum() == 17


def test_leads_that_may_not_be_shown_are_zero_whatever_they_hold() -> None:
    raw, gain = block()
    gain[0, 0] = 0.0
    usable = np.ones((6, 3), dtype=bool)
    usable[0, 0] = usable[4] = False
    values, shown, _ = transform(raw, gain, usable, np.full(6, 600), SignalOptions(RATE, RATE, 0.5, 50, "lead"))
    assert np.array_equal(shown, usable) and (values[~usable] == 0).all() and np.isfinite(values).all()
    usable[0, 0] = True  # what is given is not changed
    assert shown.sum() == 14


def test_the_scale_of_a_record_is_the_sample_standard_deviation_far_from_zero() -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(0, 0.2, (5, 5000)) + 20).astype(np.float32)
    exact = values.astype(np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / exact.std(-1, ddof=1, keepdims=True)
    assert standardise_leads(values).all()
    assert np.abs(values - exact).max() < 1e-4


def test_one_scale_a_lead() -> None:
    raw, gain = block()
    mean, sd = np.array([0.1, -2, 3], np.float32), np.array([0.5, 2, 4], np.float32)
    values, _, _ = run(raw, gain, standardise="train", mean=mean, sd=sd)
    plain, _, _ = run(raw, gain)
    assert np.allclose(values, (plain - mean[:, None]) / sd[:, None], atol=1e-5)


@pytest.mark.parametrize(("rate", "expected"), [(100.0, 120), (250.0, 300), (360.0, 432), (257.0, 309)])
def test_a_lower_rate_keeps_what_it_can_carry_and_nothing_else(rate: float, expected: int) -> None:
    time = np.arange(600) / RATE
    slow, fast = np.sin(2 * np.pi * 7 * time), np.sin(2 * np.pi * 220 * time)
    raw = np.rint(1000 * np.stack([slow, fast, slow + 0.5])[None]).astype(np.int16)
    values, _, lengths = run(raw, np.full((1, 3), 1000.0, np.float32), rate=rate)
    assert values.shape[-1] == expected == lengths[0]
    middle, new = slice(expected // 5, -expected // 5), np.arange(expected) / rate
    assert np.abs(values[0, 0, middle] - np.sin(2 * np.pi * 7 * new)[middle]).max() < 0.02
    assert np.abs(values[0, 2, middle] - 0.5 - np.sin(2 * np.pi * 7 * new)[middle]).max() < 0.02
    assert np.abs(values[0, 1, middle]).max() < (0.05 if rate < 360 else 2)
    brute = signal.resample_poly(slow, *Fraction(rate / RATE).limit_denominator(10_000).as_integer_ratio())
    assert np.abs(values[0, 0, middle] - brute[middle]).max() < 0.01
    assert resample(raw, Fraction(1)) is raw


def test_a_short_record_keeps_its_share_at_a_lower_rate() -> None:
    raw, gain = block()
    raw[1, :, 403:] = MISSING
    values, _, lengths = run(raw, gain, np.array([600, 403, 600, 600, 600, 600]), rate=250.0, standardise="lead")
    assert lengths.tolist() == [300, 202, 300, 300, 300, 300] and (values[1, :, 202:] == 0).all()
    alone, _, _ = run(raw[1:2, :, :403], gain[1:2], rate=250.0, standardise="lead")
    assert np.allclose(values[1, :, :202], alone[0], atol=1e-5)
