"""A store is complete or refused; building one survives a kill and never replaces anything by halves."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cardiozoo.data.store import Store
from cardiozoo.data.store_builder import StoreBuilder, disk_errors, write_json
from cardiozoo.errors import StoreError

MANIFEST = {
    "format": "cardiozoo-store",
    "name": "toy",
    "version": 1,
    "synthetic": True,
    "options": {},
    "flow": [],
    "counts": {},
}


def build(out: Path, value: int = 1, **options) -> Path:
    with StoreBuilder(out, "toy", {"value": value}, **options) as builder:

        def numbers() -> dict:
            np.save(builder.store / "a.npy", np.full(5, value))
            (builder.store / "raw.bin").write_bytes(bytes(range(6)))
            (builder.store / "empty.bin").touch()
            pl.DataFrame({"x": [1, 2], "y": ["a", "b"]}).write_parquet(builder.store / "t.parquet")
            return {"value": value}

        builder.stage("numbers", numbers, ["store/a.npy"])
        return builder.finish(MANIFEST)


def test_round_trip_is_memory_mapped_and_travels_by_pickle(tmp_path: Path) -> None:
    store = Store.open(build(tmp_path / "s"), "toy")
    assert isinstance(store.array("a.npy"), np.memmap) and not store.array("a.npy").flags.writeable
    assert store.array("a.npy").tolist() == [1] * 5
    assert store.raw("raw.bin", np.uint8).tolist() == list(range(6)) and len(store.raw("empty.bin", np.uint8)) == 0
    assert store.table("t.parquet", ["y"])["y"].to_list() == ["a", "b"]
    data = pickle.dumps(store)
    assert len(data) < 5000 and pickle.loads(data).array("a.npy").tolist() == [1] * 5
    store.verify()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]


def test_the_manifest_hash_covers_every_byte(tmp_path: Path) -> None:
    hashes = [
        Store.open(build(tmp_path / name, value)).manifest_sha256 for name, value in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: (p / "manifest.json").unlink(), "no manifest.json"),
        (lambda p: (p / "manifest.json").write_text("{"), "no JSON"),
        (lambda p: (p / "manifest.json").write_text('{"format": "other"}'), "'other'"),
        (lambda p: write_json(p / "manifest.json", {**MANIFEST, "version": 2, "files": []}), "version 2"),
        (lambda p: write_json(p / "manifest.json", MANIFEST), "lacks files"),
        (lambda p: (p / "raw.bin").unlink(), "raw.bin: missing"),
        (lambda p: (p / "raw.bin").write_bytes(b"x"), "1 bytes instead of 6"),
        (
            lambda p: write_json(
                p / "manifest.json", {**MANIFEST, "files": [{"path": "../x", "bytes": 0, "sha256": ""}]}
            ),
            "outside the store",
        ),
    ],
)
def test_damaged_and_foreign_stores_are_refused(tmp_path: Path, damage, words: str) -> None:
    path = build(tmp_path / "s")
    damage(path)
    with pytest.raises(StoreError, match=words) as caught:
        Store.open(path)
    assert caught.value.accepted and caught.value.next_step


def test_other_names_and_absent_places_are_refused(tmp_path: Path) -> None:
    path = build(tmp_path / "s")
    with pytest.raises(StoreError, match="store of 'toy'"):
        Store.open(path, "mimic_cxr_ehr")
    with pytest.raises(StoreError, match="no store at"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="is a file"):
        Store.open(path / "raw.bin")
    (tmp_path / "half.partial").mkdir()
    with pytest.raises(StoreError, match="not finished"):
        Store.open(tmp_path / "half")
    with pytest.raises(StoreError, match="half-written"):
        Store.open(tmp_path / "half.partial")


def test_verify_finds_a_flipped_byte_that_sizes_do_not_show(tmp_path: Path) -> None:
    path = build(tmp_path / "s")
    (path / "raw.bin").write_bytes(b"\x01" + bytes(range(1, 6)))
    store = Store.open(path)
    with pytest.raises(StoreError, match=r"raw\.bin: another checksum"):
        store.verify()


def test_an_existing_store_is_replaced_only_on_demand_and_only_by_a_complete_one(tmp_path: Path) -> None:
    out = build(tmp_path / "s", 1)
    with pytest.raises(StoreError, match="exists already"):
        build(out, 2)
    with pytest.raises(RuntimeError), StoreBuilder(out, "toy", {"value": 3}, overwrite=True) as builder:
        builder.stage("numbers", lambda: (_ for _ in ()).throw(RuntimeError("stopped")))
    assert Store.open(out).array("a.npy")[0] == 1
    build(out, 2, overwrite=True)
    assert Store.open(out).array("a.npy")[0] == 2
    (tmp_path / "mine").mkdir()
    with pytest.raises(StoreError, match="is no store"):
        build(tmp_path / "mine", overwrite=True)


def test_finished_stages_are_not_repeated_unless_options_differ_or_their_files_do(tmp_path: Path) -> None:
    ran: list[str] = []

    def run(value: int, stop: bool, said: list[str]) -> None:
        with StoreBuilder(tmp_path / "s", "toy", {"options": {"value": value}}, say=said.append) as builder:

            def write(name: str):
                ran.append(name)
                (builder.store / name).write_text(name)
                return {"name": name}

            assert builder.stage("one", lambda: write("one"), ["store/one"]) == {"name": "one"}
            builder.stage("two", lambda: write("two"), ["store/two"])
            if stop:
                raise KeyboardInterrupt
            builder.finish(MANIFEST)

    def interrupted(value: int) -> list[str]:
        said: list[str] = []
        with pytest.raises(KeyboardInterrupt):
            run(value, True, said)
        return said

    assert interrupted(1) == [] and ran == ["one", "two"]
    assert "Resuming" in interrupted(1)[0] and ran == ["one", "two"]
    assert "options.value" in interrupted(2)[0] and ran == ["one", "two"] * 2
    (tmp_path / "s.partial/store/one").unlink()
    interrupted(2)
    assert ran == ["one", "two"] * 3, "a stage after one that runs again must run again too"
    run(2, False, [])
    assert ran == ["one", "two"] * 3 and Store.open(tmp_path / "s").has("two")


@pytest.mark.parametrize("ending", ["partial", "replaced"])
def test_what_others_left_beside_the_store_stays(tmp_path: Path, ending: str) -> None:
    own = tmp_path / f"s.{ending}" / "thesis.txt"
    own.parent.mkdir()
    own.write_text("years")
    with pytest.raises(StoreError, match="no run of cardiozoo") as caught:
        build(tmp_path / "s", overwrite=True)
    assert caught.value.accepted and caught.value.next_step
    assert own.read_text() == "years" and not (tmp_path / "s").exists()


def test_a_damaged_mark_is_work_to_be_done_again(tmp_path: Path) -> None:
    ran: list[str] = []

    def run() -> None:
        with StoreBuilder(tmp_path / "s", "toy", {}) as builder:
            for name in ("one", "two", "three"):
                builder.stage(name, lambda name=name: ran.append(name) or {})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    (tmp_path / "s.partial/stages/two.json").write_text('{"facts": ')
    with pytest.raises(KeyboardInterrupt):
        run()
    assert ran == ["one", "two", "three", "two", "three"]


def test_two_processes_do_not_build_one_store(tmp_path: Path) -> None:
    with StoreBuilder(tmp_path / "s", "toy", {}), pytest.raises(StoreError, match="Another process"):
        StoreBuilder(tmp_path / "s", "toy", {}).__enter__()
    with StoreBuilder(tmp_path / "s", "toy", {}):
        pass  # released


def test_a_killed_build_leaves_no_lock_and_nothing_that_opens(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom cardiozoo.data.store_builder import StoreBuilder\n"
        "with StoreBuilder(sys.argv[1], 'toy', {'value': 1}) as b:\n"
        "    b.stage('one', lambda: {'pid': 1})\n    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "s")], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with pytest.raises(StoreError, match="not finished"):
        Store.open(tmp_path / "s")
    said: list[str] = []
    with StoreBuilder(tmp_path / "s", "toy", {"value": 1}, say=said.append) as builder:
        assert builder.stage("one", lambda: {"pid": 2}) == {"pid": 1}
    assert "finished stages: one" in said[0]


def test_a_full_disk_says_so_and_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(StoreError, match="disk is full"), StoreBuilder(tmp_path / "s", "toy", {}) as builder:
        (builder.store / "big.bin").symlink_to("/dev/full")

        def fill() -> dict:
            (builder.store / "big.bin").write_bytes(b"x" * 10000)
            return {}

        builder.stage("fill", fill)
    with pytest.raises(StoreError, match="not finished"):
        Store.open(tmp_path / "s")


def test_only_a_lack_of_room_becomes_a_store_error() -> None:
    with pytest.raises(StoreError, match="quota"), disk_errors(Path("here")):
        raise RuntimeError("IO Error: Disk quota exceeded")
    with pytest.raises(PermissionError), disk_errors(Path("here")):
        raise PermissionError(errno.EACCES, "not yours")


def test_room_is_checked_before_long_work(tmp_path: Path) -> None:
    with StoreBuilder(tmp_path / "s", "toy", {}) as builder:
        builder.space_needed(1, "one byte")
        with pytest.raises(StoreError, match="radiographs need about"):
            builder.space_needed(1 << 60, "radiographs")


def test_json_is_written_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": 1, "a": [1.5, "é"]})
    assert json.loads((tmp_path / "x.json").read_text()) == {"b": 1, "a": [1.5, "é"]}
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert json.loads((tmp_path / "x.json").read_text())["b"] == 1
    assert time.time() - os.stat(tmp_path / "x.json").st_mtime < 60
