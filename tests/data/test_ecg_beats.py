"""The median beat, beside beats whose places are known and medians taken sample by sample."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import numpy as np
import pytest
from ecg_store import mimic_store

from cardiozoo.data.ecg_beats import find_beats, median_beats
from cardiozoo.data.ecg_transforms import SignalOptions, transform
from cardiozoo.data.mimic_iv_ecg import MimicIvEcg
from cardiozoo.errors import OptionError


def record(rate: float, per_minute: float, seed: int = 0, seconds: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Three leads in mV, (3, S), and the seconds of their R peaks; in the first lead T is taller than QRS."""
    rng = np.random.default_rng(seed)
    peaks = np.arange(0.45, seconds, 60 / per_minute)
    peaks = peaks + rng.normal(0, 0.01, len(peaks))
    t = np.arange(round(seconds * rate)) / rate
    leads = rng.normal(0, 0.004, (3, len(t)))
    for peak in peaks:
        qrs = np.exp(-0.5 * ((t - peak) / 0.012) ** 2)
        p, wave = np.exp(-0.5 * ((t - peak + 0.16) / 0.025) ** 2), np.exp(-0.5 * ((t - peak - 0.26) / 0.05) ** 2)
        leads += np.array([0.5, 1.2, -0.8])[:, None] * qrs + 0.15 * p + np.array([0.6, 0.3, -0.1])[:, None] * wave
    return leads, peaks


@pytest.mark.parametrize("rate", [100.0, 250.0, 500.0])
@pytest.mark.parametrize("per_minute", [35.0, 72.0, 150.0])
def test_every_beat_is_found_once_and_at_its_place(rate: float, per_minute: float) -> None:
    leads, peaks = record(rate, per_minute)
    found = find_beats(leads, rate) / rate
    inside = peaks[(peaks > 0.1) & (peaks < 9.9)]
    found = found[(found > 0.08) & (found < 9.92)]
    assert len(found) == len(inside) and np.abs(found - inside).max() < 0.025


@pytest.mark.parametrize("leads", [np.zeros((3, 5000)), np.ones((3, 20)), np.zeros((0, 5000))])
def test_where_nothing_beats_there_is_no_beat(leads: np.ndarray) -> None:
    assert not len(find_beats(leads, 500.0))


def test_a_median_beat_is_the_median_of_each_sample_over_the_whole_beats() -> None:
    leads, _ = record(250.0, 72.0)
    beats, known = median_beats(leads[None].astype(np.float32), np.ones((1, 3), dtype=bool), 250.0, 200)
    first = [b - 100 for b in find_beats(leads.astype(np.float32), 250.0) if 100 <= b <= leads.shape[1] - 100]
    assert known.all() and len(first) >= 9
    for lead in range(3):
        for sample in (0, 60, 100, 165, 199):
            values = [float(np.float32(leads[lead, f + sample])) for f in first]
            assert beats[0, lead, sample] == pytest.approx(median(values), abs=1e-7)
    assert beats[0, 1].argmax() in range(98, 103)  # R stands in the middle


def test_leads_that_may_not_be_shown_do_not_tell_where_the_beats_are() -> None:
    leads, _ = record(250.0, 72.0)
    other = np.random.default_rng(1).normal(size=leads.shape)
    both = np.concatenate([leads, other])[None].astype(np.float32)
    usable = np.array([[True] * 3 + [False] * 3])
    beats, _ = median_beats(both, usable, 250.0, 200)
    alone, _ = median_beats(leads[None].astype(np.float32), usable[:, :3], 250.0, 200)
    assert np.array_equal(beats[:, :3], alone)


def test_between_store_and_batch_the_beat_comes_after_the_filters_and_before_the_scale() -> None:
    leads, _ = record(500.0, 72.0)
    raw = np.stack([leads * 1000, leads * 1000, np.zeros_like(leads)]).astype(np.int16)
    lengths = np.array([5000, 3000, 5000])
    options = SignalOptions(500.0, 250.0, standardise="lead", beat=200)
    usable, gain = np.ones((3, 3), dtype=bool), np.full((3, 3), 1000.0, dtype=np.float32)
    values, shown, out = transform(raw, gain, usable, lengths, options)
    assert values.shape == (3, 3, 200) and (out == 200).all()
    assert shown.tolist() == [[True] * 3, [True] * 3, [False] * 3] and not values[2].any()
    assert np.abs(values[:2].mean(axis=-1)).max() < 1e-5 and np.abs(values[:2].std(axis=-1, ddof=1) - 1).max() < 1e-4
    plain, _, _ = transform(raw, gain, usable, lengths, SignalOptions(500.0, 250.0, standardise="none"))
    for row, length in ((0, 2500), (1, 1500)):
        beat = median_beats(plain[row : row + 1, :, :length], usable[:1], 250.0, 200)[0][0]
        beat = (beat - beat.mean(axis=-1, keepdims=True)) / beat.std(axis=-1, ddof=1, keepdims=True)
        assert np.abs(values[row] - beat).max() < 1e-5


def test_the_data_module_shows_beats_and_says_so(tmp_path: Path) -> None:
    store = mimic_store(tmp_path / "mimic")
    data = MimicIvEcg(store=str(store), beat=0.8, num_workers=0, batch_size=4)
    batch = next(iter(data.evaluation_dataloader("train")))
    samples = round(0.8 * data.ecg_rate)
    assert batch["ecg"].shape[1:] == (12, samples) == (12, data.ecg_samples) and data.spec.shapes["ecg"] == (
        12,
        samples,
    )
    assert data.cohort_summary()["processing"]["beat"].startswith("median of the record's beats, 0.8 s around R")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"beat": 0.0}, "beat is 0.0"), ({"beat": 9.0}, "half a record"), ({"beat": 0.8, "window": 2.0}, "One of them")],
)
def test_beats_of_no_meaning_are_refused(tmp_path: Path, options: dict[str, float], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        MimicIvEcg(store=str(mimic_store(tmp_path / "mimic")), **options)
