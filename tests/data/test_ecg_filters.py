"""The filters of ECGs beside neurokit2's, and the fast high-pass beside the recursion it stands in for."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from cardiozoo.data import ecg_filters
from cardiozoo.data.ecg_filters import DriftFilter, drift_filter, high_pass, remove_drift, smooth_powerline
from cardiozoo.data.ecg_transforms import SignalOptions, transform

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own imports
    import neurokit2


def leads(samples: int, rate: float, seed: int = 0) -> np.ndarray:
    """Three leads in mV with beats, drift, mains and an offset, as float32."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / rate
    beats = np.exp(-0.5 * ((time % 0.9 - 0.4) / 0.015) ** 2)
    rows = [
        1.2 * beats + 0.8 * np.sin(2 * np.pi * 0.15 * time + phase) + 0.1 * np.sin(2 * np.pi * 50 * time) + phase
        for phase in (0.0, 1.0, 4.0)
    ]
    return (np.array(rows) + rng.normal(0, 0.02, (3, samples))).astype(np.float32)


@pytest.mark.parametrize(("rate", "samples"), [(500, 5000), (500, 1203), (250, 2500), (1000, 4000)])
@pytest.mark.parametrize("mains", [50, 60])
def test_both_filters_give_what_neurokit2_gives(rate: int, samples: int, mains: int) -> None:
    x = leads(samples, rate)
    expected = [neurokit2.ecg_clean(row.astype(float), rate, method="neurokit", powerline=mains) for row in x]
    exact = smooth_powerline(high_pass(x, rate), rate, mains)
    assert np.abs(exact - expected).max() < 1e-10
    fast = smooth_powerline(remove_drift(x, rate), rate, mains)
    assert fast.dtype == np.float32 and np.abs(fast - expected).max() < 2e-5


@pytest.mark.parametrize(("rate", "samples", "cutoff"), [(500.0, 5000, 0.5), (100.0, 1000, 0.5), (250.0, 5000, 1.0)])
def test_the_fast_high_pass_is_the_recursion_at_every_sample(rate: float, samples: int, cutoff: float) -> None:
    fast = DriftFilter(samples, rate, cutoff)
    assert fast.rank < samples // 8 and fast.error < 5e-5
    # also where the ends weigh most, and far from zero
    x = np.random.default_rng(5).normal(size=(4, samples)).astype(np.float32)
    x[0, 0], x[1, -1], x[2] = 10.0, -10.0, x[2] + 30.0
    assert np.abs(fast(x) - high_pass(x, rate, cutoff)).max() < 1e-4


def test_the_adjoint_is_one() -> None:
    made = DriftFilter(700, 500.0, 0.5)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 1, 700))
    assert (made._smooth(a) * b).sum() == pytest.approx((a * made._adjoint(b)).sum(), rel=1e-9)


def test_where_the_fast_way_does_not_pay_the_recursion_runs() -> None:
    assert drift_filter(200, 100.0, 20.0) is None
    x = leads(200, 100.0)
    assert np.allclose(remove_drift(x, 100.0, 20.0), high_pass(x, 100.0, 20.0), atol=1e-6)


@pytest.mark.parametrize(
    ("samples", "rate", "cutoff"),
    [(5000, 500.0, 40.0), (5000, 500.0, 249.9), (60_000, 500.0, 0.5), (30_000, 100.0, 0.5)],
)
def test_long_records_and_high_cutoffs_take_the_recursion_at_once(
    samples: int, rate: float, cutoff: float, monkeypatch
):
    # finding the few directions of such a filter takes seconds to minutes, and using them is slower
    monkeypatch.setattr(ecg_filters, "DriftFilter", None)
    assert drift_filter.__wrapped__(samples, rate, cutoff) is None


def test_lengths_of_few_records_take_the_recursion(monkeypatch) -> None:
    made = []
    monkeypatch.setattr(ecg_filters, "drift_filter", lambda *of: made.append(of))
    raw = [np.zeros((12, 1000), dtype=np.int16) + np.arange(1000, dtype=np.int16) for _ in range(6)]
    lengths = np.array([1000, 1000, 990, 980, 970, 1000])
    usual = (np.full((6, 12), 200.0, dtype=np.float32), np.ones((6, 12), dtype=bool), lengths)
    seen, _, _ = transform(raw, *usual, SignalOptions(500.0, 500.0, highpass=0.5, standardise="none"))
    assert set(made) == {(1000, 500.0, 0.5)}
    for row, length in enumerate(lengths):
        alone = high_pass(raw[row][:, :length] / 200.0, 500.0)
        assert np.abs(seen[row, :, :length] - alone).max() < 1e-5 and not seen[row, :, length:].any()


@pytest.mark.parametrize("cutoff", [0.01, 0.05, 0.5])
def test_slow_cutoffs(cutoff: float) -> None:
    x = leads(5000, 500.0)
    assert np.abs(remove_drift(x, 500.0, cutoff) - high_pass(x, 500.0, cutoff)).max() < 1e-4


@pytest.mark.parametrize("samples", [2, 7, 12, 30])
def test_records_shorter_than_the_padding(samples: int) -> None:
    x = leads(samples, 500)
    assert np.isfinite(remove_drift(x, 500.0)).all()
    smoothed = smooth_powerline(x, 500.0)
    assert smoothed.shape == x.shape and np.isfinite(smoothed).all()


def test_a_drift_goes_and_a_beat_stays_where_it_was() -> None:
    time = np.arange(5000) / 500
    drift = np.sin(2 * np.pi * 0.1 * time)
    beat = np.exp(-0.5 * ((time - 5) / 0.02) ** 2)
    clean = remove_drift(np.stack([drift, beat]).astype(np.float32), 500.0)
    assert np.abs(clean[0, 1000:-1000]).max() < 0.02 and clean[1].argmax() == 2500
    assert np.abs(remove_drift(np.full((1, 5000), 3.0, np.float32), 500.0)).max() < 1e-5


@pytest.mark.parametrize(("mains", "left"), [(50.0, 1e-6), (60.0, 0.01)])
def test_mains_go(mains: float, left: float) -> None:
    time = np.arange(5000) / 500
    hum = np.sin(2 * np.pi * mains * time)
    assert np.abs(smooth_powerline(hum, 500.0, mains)[50:-50]).max() < left


def test_at_low_rates_two_samples_are_averaged() -> None:
    x = np.random.default_rng(0).normal(size=(2, 300))
    padded = np.concatenate([2 * x[:, :1] - x[:, 1:2], x, 2 * x[:, -1:] - x[:, -2:-1]], axis=1)
    assert np.allclose(smooth_powerline(x, 90.0), (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4)
    assert smooth_powerline(x, 400.0, 300.0) is x  # less than two samples a period
