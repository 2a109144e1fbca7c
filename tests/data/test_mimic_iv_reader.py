"""The MIMIC-IV reader on real records (the open demo): cohort flow, outcomes, events against a slow reading."""

from __future__ import annotations

import gzip
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from mimic_iv_tables import slow_events

from cardiozoo.data.ehr import PHENOTYPES, phenotypes
from cardiozoo.data.ehr_cleaning import Events
from cardiozoo.data.readers import mimic_iv_events
from cardiozoo.data.readers.event_shelf import EventShelf
from cardiozoo.data.readers.mimic_iv import EhrOptions, Release, Stays, open_release, read_stays, write_events
from cardiozoo.errors import OptionError

DEMO = Path(__file__).parent / "mimic_iv_demo"
ARRAYS = ("offsets", "seconds", "variable", "value")


@pytest.fixture(scope="module")
def release() -> Release:
    return open_release(DEMO)


@pytest.fixture(scope="module")
def stays(release: Release) -> Stays:
    return read_stays(release)


def load(folder: Path) -> dict[str, np.ndarray]:
    return {name: np.load(folder / f"{name}.npy") for name in ARRAYS}


def bytes_of(folder: Path) -> list[bytes]:
    return [(folder / f"{name}.npy").read_bytes() for name in ARRAYS]


def test_flow_of_the_demo(stays: Stays) -> None:
    steps = {step["step"]: step for step in stays.flow}
    facts = [
        ("admissions", "admissions", 275),
        ("admissions", "deaths", 15),
        ("ICU stays", "stays", 140),
        ("without unit transfer", "stays", 129),
        ("without unit transfer", "excluded", 11),
        ("single stay of the admission", "stays", 112),
        ("single stay of the admission", "deaths", 10),
        ("with diagnoses", "stays", 112),
    ]
    assert [steps[step][key] for step, key, _ in facts] == [value for _, _, value in facts]
    assert stays.table.height == 112 and stays.table["mortality"].sum() == 10
    long = stays.table.filter(pl.col("los_hours") >= 48)
    assert (long.height, long["mortality"].sum()) == (54, 9)
    for before, after in zip(stays.flow[1:], stays.flow[2:], strict=False):
        assert after["stays"] == before["stays"] - after["excluded"]


def test_counting_stays_before_the_transfers_gives_fewer(release: Release) -> None:
    table = read_stays(release, EhrOptions(one_stay="before_transfer")).table
    assert (table.height, table.filter(pl.col("los_hours") >= 48).height) == (110, 53)


def test_table_of_stays(stays: Stays) -> None:
    table = stays.table
    keys = table.select("subject_id", "intime", "stay_id")
    assert keys.equals(keys.sort("subject_id", "intime", "stay_id")) and table["stay_id"].n_unique() == table.height
    assert table.columns[12:] == [f"phenotype/{name}" for name in PHENOTYPES]
    assert set(table["sex"]) == {"F", "M"} and table["age"].is_between(18, 120).all()
    hours = (table["outtime"] - table["intime"]).dt.total_seconds() / 3600
    assert (hours == table["los_hours"]).all()
    dead = table.filter("mortality")
    assert dead["death_hours"].null_count() == 0 and table.filter(~pl.col("mortality"))["death_hours"].is_null().all()
    in_unit = dead.filter("icu_mortality")
    assert 0 < in_unit.height <= dead.height and (in_unit["death_hours"] <= in_unit["los_hours"]).all()
    assert stays.counts["icustays"]["rows"] == 140 and stays.counts["diagnoses_icd"]["rows"] == 4506


def test_labels_are_the_union_over_the_admission(stays: Stays) -> None:
    with gzip.open(DEMO / "hosp" / "diagnoses_icd.csv.gz", "rt") as file:
        rows = [line.rstrip("\n").split(",") for line in file][1:]
    for stay in stays.table.iter_rows(named=True):
        own = [row for row in rows if int(row[1]) == stay["hadm_id"]]
        expected = phenotypes([row[3] for row in own], [int(row[4]) for row in own]).any(axis=0)
        assert [stay[f"phenotype/{name}"] for name in PHENOTYPES] == expected.tolist()


def test_label_options_change_the_labels(release: Release, stays: Stays) -> None:
    columns = [f"phenotype/{name}" for name in PHENOTYPES]
    total = {
        rule: int(read_stays(release, EhrOptions(label_map=rule)).table.select(columns).sum().sum_horizontal()[0])  # type: ignore[arg-type]
        for rule in ("any", "medfuse")
    }
    bare = read_stays(release, EhrOptions(label_fallback="off"))
    assert total["medfuse"] < total["any"]
    assert (
        "diagnoses family" in stays.counts["diagnoses_icd"] and "diagnoses family" not in bare.counts["diagnoses_icd"]
    )


def test_age_and_mortality_options(release: Release, stays: Stays) -> None:
    anchored = read_stays(release, EhrOptions(age="anchor")).table
    older = (stays.table["age"] - anchored["age"]).to_list()
    assert min(older) >= 0 and max(older) > 0
    published = read_stays(release, EhrOptions(mortality="published")).table
    assert published["mortality"].sum() >= stays.table["mortality"].sum()


@pytest.mark.parametrize("published", [False, True])
def test_events_equal_a_slow_reading(release: Release, stays: Stays, published: bool, tmp_path: Path) -> None:
    options = EhrOptions.published() if published else EhrOptions()
    found = write_events(release, stays.table, options, tmp_path / "events", memory_gb=1, threads=1)
    arrays = load(tmp_path / "events")
    assert [arrays[name].dtype for name in ARRAYS] == [np.int64, np.int32, np.uint8, np.float32]
    counts = np.diff(arrays["offsets"])
    stay = np.repeat(np.arange(stays.table.height), counts)
    got = dict(
        zip(
            zip(stay.tolist(), arrays["seconds"].tolist(), arrays["variable"].tolist(), strict=True),
            arrays["value"].tolist(),
            strict=True,
        )
    )
    expected = slow_events(DEMO, stays.table["stay_id"].to_list(), published)
    assert len(got) == len(stay) > 70_000
    assert list(got) == sorted(expected)  # same events, by stay, second and variable
    assert all(value == np.float32(expected[key]) for key, value in got.items())
    np.testing.assert_array_equal(found["n_events"], counts)
    firsts = [min((s for (n, s, _) in expected if n == number), default=-1) for number in range(3)]
    assert found["first_event_seconds"][:3].tolist() == firsts
    assert found["counts"]["events"] == len(stay) == sum(found["counts"]["events per variable"].values())
    if published:  # text is read, and most glucose is ___ beside a number
        assert found["counts"]["labevents"]["most frequent texts not understood"]["50931 ___"] > 1000


def test_every_row_is_accounted_for(release: Release, stays: Stays, tmp_path: Path) -> None:
    counts = write_events(release, stays.table, None, tmp_path / "e", memory_gb=1, threads=1)["counts"]
    for table in ("chartevents", "labevents"):
        tally = {name: n for name, n in counts[table].items() if isinstance(n, int)}
        subsets = ("rows", "clipped to the valid range", "kept, gained by linking by time")
        assert sum(n for name, n in tally.items() if name not in subsets) == tally["rows"]
    assert counts["chartevents"]["beyond the outlier bounds"] == 5  # mean pressures of 801 and below zero among them
    kept = counts["chartevents"]["kept"] + counts["labevents"]["kept"]
    assert kept == counts["events"] + counts["repeated rows"] + counts["other values at the same time"]


def test_same_bytes_for_any_order_threads_memory_and_compression(
    release: Release, stays: Stays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_events(release, stays.table, None, tmp_path / "first", memory_gb=1, threads=1)
    shuffled = tmp_path / "shuffled"
    shutil.copytree(DEMO, shuffled)
    rng = np.random.default_rng(0)
    for table in ("icu/chartevents", "hosp/labevents", "icu/icustays", "hosp/admissions", "hosp/diagnoses_icd"):
        path = shuffled / f"{table}.csv.gz"
        header, *rows = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        path.with_suffix("").write_bytes(header + b"".join(rows[i] for i in rng.permutation(len(rows))))
        path.unlink()
    again = open_release(shuffled)
    table = read_stays(again).table
    assert table.equals(stays.table)
    # a budget so small that events go in many pieces, some stays to a piece of their own
    monkeypatch.setattr(mimic_iv_events, "_BYTES_PER_EVENT", 250_000)
    write_events(again, table, None, tmp_path / "second", memory_gb=0.5, threads=2)
    assert bytes_of(tmp_path / "first") == bytes_of(tmp_path / "second")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second", "shuffled"]  # no scratch left


def test_shelf_gives_back_whole_stays_in_ascending_pieces(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stay = rng.choice(50, 2000, p=np.r_[0.5, np.full(49, 0.5 / 49)]).astype(np.int32)
    events = Events(stay, np.arange(2000, dtype=np.int32), np.zeros(2000, np.uint8), rng.random(2000), np.arange(2000))
    for files, largest in ((1, 10**9), (1, 100), (7, 100), (50, 1), (1000, 30)):
        shelf = EventShelf(tmp_path, 50, files)
        for part in np.array_split(np.arange(2000), 9):
            shelf.add(events.take(part))
        pieces = list(shelf.take(largest))
        numbers = [set(piece.stay.tolist()) for piece in pieces]
        assert all(max(a) < min(b) for a, b in pairwise(numbers))
        assert all(len(piece.stay) <= largest or len(own) == 1 for piece, own in zip(pieces, numbers, strict=True))
        seconds = np.concatenate([piece.seconds for piece in pieces])
        np.testing.assert_array_equal(np.sort(seconds), np.arange(2000))
        np.testing.assert_array_equal(np.concatenate([piece.value for piece in pieces]), events.value[seconds])
        assert not list(tmp_path.iterdir())


def test_a_part_of_the_cohort_and_an_empty_one(release: Release, stays: Stays, tmp_path: Path) -> None:
    write_events(release, stays.table, None, tmp_path / "all", memory_gb=1, threads=1)
    whole, part = load(tmp_path / "all"), stays.table.slice(40, 3)
    write_events(release, part, None, tmp_path / "part", memory_gb=1, threads=1)
    begin, end = whole["offsets"][[40, 43]]
    np.testing.assert_array_equal(load(tmp_path / "part")["value"], whole["value"][begin:end])
    found = write_events(release, part.clear(), None, tmp_path / "none", memory_gb=1, threads=1)
    assert load(tmp_path / "none")["offsets"].tolist() == [0] and found["counts"]["events"] == 0
    with pytest.raises(OptionError, match="sorted by"):
        write_events(release, stays.table.reverse(), None, tmp_path / "x")
    with pytest.raises(OptionError, match="memory_gb"):
        write_events(release, part, None, tmp_path / "x", memory_gb=0.1)
