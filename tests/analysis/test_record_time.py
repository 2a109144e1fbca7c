"""Where a window lies in its record, against the place where its samples are found in the whole record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import torch
from known_beats import record as known_record
from made_runs import RATE, SAMPLES

from cardiozoo.analysis.explanation import Cases, Settings, find_waves
from cardiozoo.analysis.record_time import begins, raw_rates, recorded_samples, recorded_seconds
from cardiozoo.analysis.records import records_by_id, split_ids
from cardiozoo.analysis.wave_truth import read_truth
from cardiozoo.data.ecg_cohort import EcgCohort

PLAIN = {"highpass": None, "powerline": None, "standardise": "none", "num_workers": 0}


def test_a_window_begins_where_its_samples_are_in_the_whole_record(ecg_store_folder: Path):
    whole = EcgCohort(str(ecg_store_folder), **PLAIN)
    part = EcgCohort(str(ecg_store_folder), **PLAIN, window=1.31, eval_window="center")
    ids = split_ids(whole, "train")
    everything, seen = (records_by_id(data, ids, "train")[0]["ecg"][:, 0].numpy() for data in (whole, part))
    wanted = {}
    for name, record, window in zip(ids, everything, seen, strict=True):
        places = np.lib.stride_tricks.sliding_window_view(record, len(window))
        wanted[name] = int(np.abs(places - window).sum(axis=1).argmin()) / RATE
    assert begins(part, ids, seen.shape[1], RATE) == wanted
    # The short record's window lies in the middle of what it has.
    assert len(set(wanted.values())) == 2 and min(wanted, key=wanted.get) == "r0000"
    assert set(begins(whole, ids, SAMPLES, RATE).values()) == {0.0}


def test_a_window_of_another_rate_than_the_store(ecg_store_folder: Path):
    part = EcgCohort(str(ecg_store_folder), **PLAIN, rate=50, window=2.0, eval_window="center")
    found = begins(part, ["r0000", "r0001"], 100, 50.0)
    assert found == {"r0000": (175 - 100) // 2 / 50, "r0001": (250 - 100) // 2 / 50}


def test_a_short_record_ends_before_what_the_model_sees(ecg_store_folder: Path):
    ids = ["r0000", "r0001"]
    for options, seen, ends in (
        ({}, SAMPLES, [350, 500]),
        ({"rate": 50}, 250, [175, 250]),
        ({"window": 4.0, "eval_window": "center"}, 400, [350, 400]),
        ({"window": 2.0, "eval_window": "center"}, 200, [200, 200]),
        ({"beat": 0.8}, 80, [80, 80]),
    ):
        data = EcgCohort(str(ecg_store_folder), **PLAIN, **options)
        assert [*recorded_samples(data, ids, seen).values()] == ends, options
        assert recorded_seconds(data, ids, 9.0) == {"r0000": 3.5, "r0001": 5.0}
    ecg = records_by_id(EcgCohort(str(ecg_store_folder), **PLAIN), ids)[0]["ecg"].numpy()
    assert not ecg[0, :, 350:].any() and ecg[0, :, 349].any()
    assert recorded_samples(object(), ["7"], 90) == {"7": 90} and recorded_seconds(object(), ["7"], 0.9) == {"7": 0.9}


def test_padding_hides_no_beat_and_has_none():
    signal = known_record(seconds=4)[0]
    batch = {"id": ["short"], "ecg": torch.from_numpy(np.pad(signal, ((0, 0), (0, 3000)))[None])}
    (alone,) = find_waves(
        Cases({"id": ["cut"], "ecg": batch["ecg"][:, :, :2000]}, ["test"], 500.0, "mV"), None, Settings()
    )
    short = Cases(batch, ["test"], 500.0, "mV", ends=np.array([2000]), seconds=np.array([4.0]))
    for cases in (short, replace(short, whole=(batch["ecg"].numpy(), 500.0))):
        (found,) = find_waves(cases, None, Settings())
        assert found.windows == alone.windows and found.beats == alone.beats > 3
        assert all(len(mask) == 5000 and not mask[2000:].any() for mask in found.masks.values())


def test_every_record_counts_in_the_samples_of_its_own_file(tmp_path: Path):
    records = pl.DataFrame({"id": ["7", "8"], "raw_rate": [500.0, 250.0]})
    rates = raw_rates(SimpleNamespace(records=records), ["7", "8", "9"])
    assert rates == {"7": 500.0, "8": 250.0, "9": 500.0} and raw_rates(object(), ["7"]) == {"7": 500.0}
    columns = ("p_on", "p_peak", "p_off", "qrs_on", "qrs_peak", "qrs_off", "t_on", "t_peak", "t_end")
    beat = dict(zip(columns, (100, 125, 150, 180, 200, 225, 300, 350, 400), strict=True))
    pl.DataFrame([{"study_id": 7, **beat}, {"study_id": 8, **beat}]).write_parquet(tmp_path / "beats.parquet")
    found = read_truth(tmp_path / "beats.parquet", ["7", "8"], rates)
    qrs = {name: table.filter(pl.col("wave") == "QRS").row(0, named=True) for name, table in found.items()}
    assert (qrs["7"]["onset"], qrs["7"]["offset"]) == (0.36, 0.45)
    assert (qrs["8"]["onset"], qrs["8"]["peak"], qrs["8"]["offset"]) == (0.72, 0.8, 0.9)
