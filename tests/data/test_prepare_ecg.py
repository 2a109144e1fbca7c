"""The machinery behind the preparers of ECG: rows at their place, the same bytes, what is broken, killed runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from itertools import pairwise
from pathlib import Path

import ecg_raw as raw
import numpy as np
import polars as pl
import pytest

from cardiozoo.data.ecg import LEADS, MISSING
from cardiozoo.data.prepare import ecg_pool
from cardiozoo.data.prepare.ecg import place
from cardiozoo.data.prepare.ecg_rows import RowFile
from cardiozoo.data.prepare.mimic_iv_ecg import prepare
from cardiozoo.data.store import Store
from cardiozoo.errors import OptionError, RawDataError, StoreError

DiskUsage = namedtuple("DiskUsage", ["total", "used", "free"])
SHORT = {"seconds": 1.0, "quiet": True}
FILES = ("signals.npy", "gain.npy", "states.npy", "records.parquet", "excluded.parquet", "duplicates.parquet")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen records of twelve patients. Do not change it."""
    return raw.write_mimic_iv_ecg(tmp_path_factory.mktemp("raw") / "mimic-iv-ecg")


@pytest.fixture
def own(release: Path, tmp_path: Path) -> Path:
    """A copy of `release` that may be damaged."""
    return Path(shutil.copytree(release, tmp_path / "raw"))


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(ecg_pool, "SHARD", 4)
    return 4


def record_path(release: Path, number: int) -> Path:
    """The record `number` without an ending, by the release's own list."""
    listed = pl.read_csv(release / "record_list.csv")
    return release / listed["path"][number]


def assert_rows_are_the_raw_records(store: Store) -> None:
    """Every row of the signals holds the samples of the record that records.parquet names."""
    records, signals, gain = store.table("records.parquet"), store.array("signals.npy"), store.array("gain.npy")
    assert records["row"].to_list() == list(range(len(signals))) and signals.dtype == np.int16
    assert signals.shape[1] == 12 and gain.shape == (len(signals), 12) == store.array("states.npy").shape
    for row, study in records.select("row", "id").iter_rows():
        expected = raw.samples(int(study) - 40_000_000)
        assert np.array_equal(signals[row], expected), study
    assert np.all(gain == 200) and gain.dtype == np.float32


def same_bytes(one: Path, other: Path, names: tuple[str, ...] = (*FILES, "manifest.json")) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_every_record_is_stored_by_the_names_of_its_leads(release: Path, tmp_path: Path) -> None:
    store = Store.open(prepare(release, tmp_path / "store", workers=1, **SHORT), "mimic_iv_ecg")
    store.verify()
    assert store.table("records.parquet").height == 18
    assert_rows_are_the_raw_records(store)
    assert not store.array("states.npy").any()
    assert store.manifest["ecg"] | {"quality": 0} == {
        "rate": 500.0,
        "samples": 500,
        "seconds": 1.0,
        "leads": list(LEADS),
        "missing": MISSING,
        "states": store.manifest["ecg"]["states"],
        "quality": 0,
    }
    assert {entry["path"] for entry in store.manifest["files"]} == set(FILES)
    assert str(release) not in json.dumps(store.manifest) and str(tmp_path) not in json.dumps(store.manifest)
    assert not (tmp_path / "store.partial").exists()


def test_the_number_of_workers_changes_no_byte(release: Path, tmp_path: Path, small_shards: int) -> None:
    one = prepare(release, tmp_path / "one", workers=1, **SHORT)
    two = prepare(release, tmp_path / "two", workers=2, **SHORT)
    assert same_bytes(one, two)


def test_records_that_cannot_be_used_leave_no_hole_and_have_a_reason(own: Path, tmp_path: Path) -> None:
    damage = {
        1: ("cut", lambda p: p.with_suffix(".dat").write_bytes(p.with_suffix(".dat").read_bytes()[:5000])),
        3: ("absent header", lambda p: p.with_suffix(".hea").unlink()),
        4: ("absent signals", lambda p: p.with_suffix(".dat").unlink()),
        6: ("empty header", lambda p: p.with_suffix(".hea").write_text("")),
        9: ("empty signals", lambda p: p.with_suffix(".dat").write_bytes(b"")),
        10: ("other sum", lambda p: p.with_suffix(".dat").write_bytes(b"\7" * 12000)),
        12: ("flat", lambda p: raw.write_wfdb(p.parent, p.name, np.zeros((12, 500), np.int16), subject=10_000_008)),
        13: (
            "other subject",
            lambda p: p.with_suffix(".hea").write_text(p.with_suffix(".hea").read_text()[:-2] + "7\n"),
        ),
    }
    for number, (_, harm) in damage.items():
        harm(record_path(own, number))
    store = Store.open(prepare(own, tmp_path / "store", workers=2, **SHORT))
    assert_rows_are_the_raw_records(store)
    excluded = dict(store.table("excluded.parquet").select("id", "reason").iter_rows())
    assert set(excluded) == {str(40_000_000 + number) for number in damage}
    assert all(excluded.values()) and excluded["40000003"] == "record file absent"
    assert excluded["40000013"] == "header names another subject"
    assert len(set(excluded.values())) >= 6, excluded
    kept = store.table("records.parquet")["id"].to_list()
    assert sorted([*kept, *excluded]) == [str(40_000_000 + number) for number in range(18)]
    flow = store.manifest["flow"]
    assert (flow[0]["records"], flow[-1]["records"]) == (18, 10)
    for before, after in pairwise(flow):
        assert before["records"] - after["records"] == after["excluded"], after
    assert sum(store.manifest["exclusions"].values()) == 8 and store.manifest["counts"]["records"] == 10


def test_nothing_usable_is_an_error_that_counts_the_reasons(own: Path, tmp_path: Path) -> None:
    for path in own.rglob("*.dat"):
        path.write_bytes(b"")
    with pytest.raises(RawDataError, match="None of the 18 records can be used: 18 "):
        prepare(own, tmp_path / "store", workers=1, **SHORT)
    shutil.rmtree(own / "files")
    with pytest.raises(RawDataError, match="none can be read: 18 record file absent"):
        prepare(own, tmp_path / "store", workers=1, **SHORT)
    assert not (tmp_path / "store").exists()


def test_equal_samples_are_reported_and_left_out_on_request(own: Path, tmp_path: Path) -> None:
    first, same_patient, other_patient = (record_path(own, number) for number in (0, 1, 17))
    for copy in (same_patient, other_patient):
        shutil.copy(first.with_suffix(".dat"), copy.with_suffix(".dat"))
        own_subject = copy.with_suffix(".hea").read_text().splitlines()[-1]
        text = first.with_suffix(".hea").read_text().replace(first.name, copy.name).splitlines()
        copy.with_suffix(".hea").write_text("\n".join([*text[:-1], own_subject]) + "\n")
    kept = Store.open(prepare(own, tmp_path / "keep", workers=1, **SHORT))
    assert kept.table("duplicates.parquet").rows() == [(1, 0), (17, 0)]
    assert kept.manifest["counts"]["records with the samples of an earlier record"] == 2
    assert kept.manifest["counts"]["of these, of another patient"] == 1
    assert any("another patient" in note for note in kept.manifest["notes"])
    dropped = Store.open(prepare(own, tmp_path / "drop", workers=1, duplicates="drop", **SHORT))
    assert dropped.table("duplicates.parquet").height == 0 and dropped.manifest["counts"]["records"] == 16
    assert dropped.manifest["exclusions"] == {"samples of an earlier record": 2}
    assert_rows_are_the_raw_records(dropped)


def test_a_minimum_of_leads_is_asked_of_a_record(own: Path, tmp_path: Path) -> None:
    signal = raw.samples(5)
    signal[6:] = 0
    path = record_path(own, 5)
    raw.write_wfdb(path.parent, path.name, signal, subject=10_000_003)
    store = Store.open(prepare(own, tmp_path / "all", workers=1, **SHORT))
    states = store.array("states.npy")[store.table("records.parquet")["id"].to_list().index("40000005")]
    assert (states[:6] == 0).all() and (states[6:] != 0).all()
    assert store.manifest["counts"]["leads"]["V1"]["flat"] == 1
    seven = Store.open(prepare(own, tmp_path / "seven", workers=1, min_leads=7, **SHORT))
    assert seven.manifest["exclusions"] == {"fewer than 7 leads in order": 1}


def test_another_rate_and_length_change_the_shape_and_mark_short_records(release: Path, tmp_path: Path) -> None:
    out = prepare(release, tmp_path / "store", rate=250, seconds=2, workers=1, quiet=True)
    store = Store.open(out)
    signals, records = store.array("signals.npy"), store.table("records.parquet")
    assert signals.shape == (18, 12, 500) and records["samples"].to_list() == [250] * 18
    assert (signals[:, :, 250:] == MISSING).all() and (signals[:, :, :250] != MISSING).all()
    assert store.manifest["counts"]["records shorter than the store's"] == 18
    assert store.manifest["counts"]["raw_rates"] == {"500": 18}


@pytest.mark.parametrize(
    "options",
    [{"rate": 5}, {"seconds": 0}, {"rate": 333.3, "seconds": 1}, {"min_leads": 0}, {"min_leads": 13}, {"workers": 0}],
)
def test_options_out_of_range_stop_before_work_begins(release: Path, tmp_path: Path, options: dict) -> None:
    with pytest.raises(OptionError):
        prepare(release, tmp_path / "store", **{"quiet": True, **options})
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
from cardiozoo.data.prepare import ecg_pool
from cardiozoo.data.prepare.mimic_iv_ecg import prepare
ecg_pool.SHARD, write, marks = 4, ecg_pool.write_json, []
def write_and_die(path, content):
    write(path, content)
    marks.append(path)
    if len(marks) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
ecg_pool.write_json = write_and_die
prepare(Path(sys.argv[1]), Path(sys.argv[2]), seconds=1.0, workers=int(sys.argv[3]), quiet=True)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on_without_reading_finished_shards_again(
    release: Path, tmp_path: Path, workers: int, small_shards: int, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "store"
    done = subprocess.run([sys.executable, "-c", KILLED, str(release), str(out), str(workers)], check=False)
    assert done.returncode == -signal.SIGKILL and not out.exists()
    marks = sorted((tmp_path / "store.partial" / "scratch" / "shards").glob("*.json"))
    assert len(marks) == 2
    read: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        write = ecg_pool.write_json
        patch.setattr(
            ecg_pool, "write_json", lambda path, facts: (read.append(len(facts["reason"])), write(path, facts))
        )
        prepare(release, out, workers=workers, **SHORT)
    assert sum(read) == 18 - 2 * small_shards
    assert "Resuming" in capfd.readouterr().err
    whole = prepare(release, tmp_path / "whole", workers=1, **SHORT)
    assert same_bytes(out, whole)


@pytest.mark.parametrize("damage", ["mark", "signals.npy", "gain.npy"])
def test_a_killed_run_reads_again_what_the_disk_has_lost(
    own: Path, tmp_path: Path, small_shards: int, damage: str
) -> None:
    out = tmp_path / "store"
    subprocess.run([sys.executable, "-c", KILLED, str(own), str(out), "1"], check=False)
    work = tmp_path / "store.partial"
    if damage == "mark":
        mark = min((work / "scratch" / "shards").glob("*.json"))
        mark.write_text(mark.read_text()[:100])
    else:
        os.truncate(work / "store" / damage, 150)
    prepare(own, out, workers=1, **SHORT)
    assert same_bytes(out, prepare(own, tmp_path / "whole", workers=1, **SHORT))


def test_a_killed_run_with_other_files_starts_clean(
    own: Path, tmp_path: Path, small_shards: int, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "store"
    subprocess.run([sys.executable, "-c", KILLED, str(own), str(out), "1"], check=False)
    record_path(own, 2).with_suffix(".dat").unlink()
    store = Store.open(prepare(own, out, workers=1, **SHORT))
    assert "Starting clean" in capfd.readouterr().err
    assert store.manifest["counts"]["records"] == 17
    assert_rows_are_the_raw_records(store)


def test_a_disk_too_small_is_said_before_a_record_is_read(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardiozoo.data.store_builder.shutil.disk_usage", lambda path: DiskUsage(10**6, 10**6, 100_000))
    with pytest.raises(StoreError, match=r"18 records need about 0\.2 MB.*0\.1 MB left"):
        prepare(release, tmp_path / "store", workers=1, **SHORT)
    assert not (tmp_path / "store.partial" / "scratch" / "shards").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_fills_up_is_an_error_and_the_run_can_go_on(
    release: Path, tmp_path: Path, workers: int, small_shards: int
) -> None:
    code = f"""
import resource
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
from cardiozoo.data.prepare import ecg_pool
from cardiozoo.data.prepare.mimic_iv_ecg import prepare
from cardiozoo.errors import StoreError
ecg_pool.SHARD = 4
try:
    prepare(Path({str(release)!r}), Path({str(tmp_path / "store")!r}), seconds=1.0, workers={workers}, quiet=True)
except StoreError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True)
    assert "disk is full or a size limit is reached" in done.stdout and "it resumes" in done.stdout
    assert_rows_are_the_raw_records(Store.open(prepare(release, tmp_path / "store", workers=1, **SHORT)))


def test_a_worker_that_dies_ends_the_run_with_what_to_do(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_shards: int
) -> None:
    write = ecg_pool._Worker.write

    def die_at_the_third_shard(worker: ecg_pool._Worker, first: int, records: list) -> dict:
        if first == 8:
            os.kill(worker.process.pid, signal.SIGKILL)
            worker.process.wait()
        return write(worker, first, records)

    with monkeypatch.context() as patch:
        patch.setattr(ecg_pool._Worker, "write", die_at_the_third_shard)
        with pytest.raises(StoreError, match="exit status -9"):
            prepare(release, tmp_path / "store", workers=2, **SHORT)
    prepare(release, tmp_path / "store", workers=2, **SHORT)
    assert same_bytes(tmp_path / "store", prepare(release, tmp_path / "whole", workers=1, **SHORT))


@pytest.mark.parametrize("seed", range(20))
def test_closing_the_gaps_keeps_every_row_wherever_it_is_killed(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept = rng.random(40) < rng.random()
    kept[rng.integers(40)] = True
    rows, moves = place(kept)
    assert sorted(rows[kept].tolist()) == list(range(int(kept.sum()))) and (rows[~kept] == -1).all()
    assert len(moves) == int((~kept[: int(kept.sum())]).sum())
    values = rng.integers(-9, 9, (40, 3, 5)).astype(np.int16)

    def write() -> RowFile:
        (tmp_path / "rows.npy").unlink(missing_ok=True)
        file = RowFile(tmp_path / "rows.npy", np.int16, (3, 5))
        for row in rng.permutation(np.flatnonzero(kept)):
            file.write(int(row), values[row])
        return file

    expected = np.empty((int(kept.sum()), 3, 5), np.int16)
    expected[rows[kept]] = values[kept]
    for killed_after in (0, len(moves) // 2, len(moves)):
        file = write()
        for source, target in moves[:killed_after]:  # what a killed run has moved
            file._put(memoryview(values[source].tobytes()), 128 + target * file.row_bytes)
        for _ in range(2):  # and killed again after the file was cut
            file.finish(moves, len(expected))
        file.close()
        assert np.array_equal(np.load(tmp_path / "rows.npy"), expected)
