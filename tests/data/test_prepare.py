"""From raw layouts to a store: what is in it, the same bytes each time, and what happens when something is wrong."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import mini_raw as raw
import numpy as np
import polars as pl
import pytest
from PIL import Image

from cardiozoo.data.ehr import VARIABLES
from cardiozoo.data.ehr_options import EhrOptions
from cardiozoo.data.prepare import cxr as cxr_stage
from cardiozoo.data.prepare.mimic_cxr_ehr import prepare
from cardiozoo.data.store import Store
from cardiozoo.errors import OptionError, RawDataError, StoreError

FAST = {"workers": 1, "memory_gb": 1.0, "quiet": True}


def test_the_command_offers_every_choice_of_the_reader_with_its_default() -> None:
    parameters = inspect.signature(prepare).parameters
    for field in fields(EhrOptions):
        assert parameters[field.name].default == field.default
        assert str(parameters[field.name].annotation) == str(field.type)
        assert f"        {field.name}: " in (prepare.__doc__ or "")


def test_the_store_holds_the_forty_patients_and_says_why_not_the_others(mini_store: Path) -> None:
    store = Store.open(mini_store, "mimic_cxr_ehr")
    store.verify()
    stays = store.table("stays.parquet")
    assert stays["subject_id"].to_list() == [raw.subject(i) for i in range(raw.PATIENTS)]
    assert stays["stay"].to_list() == list(range(raw.PATIENTS)) and stays["stay"].dtype == pl.Int32
    assert stays["mortality"].to_list() == [i % 7 == 0 for i in range(raw.PATIENTS)]
    assert np.allclose(stays["los_hours"], [raw.los_hours(i) for i in range(raw.PATIENTS)])
    manifest = store.manifest
    assert manifest["synthetic"] is False and manifest["release"]["mimic_cxr"] == "2.0.0"
    assert manifest["counts"]["stays_with_image"] == 20
    assert manifest["exclusions"]["stay without a usable event"] == 1
    assert manifest["exclusions"]["view is not AP or PA"] == 20
    assert [manifest["exclusions"][f"image file {kind}"] for kind in ("absent", "truncated", "unreadable")] == [1, 1, 1]
    assert manifest["counts"]["cxr_images"] == {"16-bit to 8-bit": 1, "RGB to grey": 1}
    *flow, long_stays = manifest["flow"]
    assert long_stays["part_of"] == flow[-1]["step"] and long_stays["excluded"] == 0
    long = [i for i in range(raw.PATIENTS) if raw.los_hours(i) >= 48]
    expected = (len(long), len(long), len(long), sum(i % 7 == 0 for i in long))
    assert tuple(long_stays[key] for key in ("stays", "admissions", "patients", "deaths")) == expected
    steps = [step for step in flow if step["images"] is None]
    for before, after in pairwise(steps[1:]):
        assert before["stays"] - after["stays"] == after["excluded"], after["step"]
    rows = {source["table"]: source["rows"] for source in manifest["sources"]}
    assert rows["icustays"] == raw.PATIENTS + 6 and rows["cxr/metadata"] == 62
    assert "/" not in json.dumps(manifest["sources"]).replace("cxr/", "") and str(mini_store.parent) not in json.dumps(
        manifest
    )


def test_events_are_those_of_the_raw_table(mini_store: Path, mini_raw: tuple[Path, Path]) -> None:
    store = Store.open(mini_store)
    offsets, stays = store.array("events/offsets.npy"), store.table("stays.parquet")
    assert len(offsets) == stays.height + 1 and offsets[-1] == len(store.array("events/value.npy"))
    assert np.array_equal(np.diff(offsets), stays["n_events"])
    assert np.array_equal(store.array("events/seconds.npy")[offsets[:-1]], stays["first_event_seconds"])
    charted = pl.read_csv(mini_raw[0] / "icu/chartevents.csv.gz", infer_schema=False)
    for i in (1, 17):
        own = charted.filter((pl.col("stay_id") == str(30_000_000 + i)) & (pl.col("itemid") == str(raw.HEART_RATE)))
        own = own.filter(pl.col("valuenum") != "999999").filter(pl.col("valuenum") != "80")
        part = slice(int(offsets[i]), int(offsets[i + 1]))
        mine = store.array("events/variable.npy")[part] == VARIABLES.index("Heart Rate")
        assert np.array_equal(store.array("events/value.npy")[part][mine], own["valuenum"].cast(pl.Float32))
        assert store.array("events/seconds.npy")[part][mine].tolist() == [3600 * hour for hour in range(own.height)]


def test_links_are_all_images_between_admission_and_the_later_of_discharge_and_48_hours(mini_store: Path) -> None:
    store = Store.open(mini_store)
    stays, cxr, links = (store.table(f"{name}.parquet") for name in ("stays", "cxr", "links"))
    expected = []
    for stay in stays.iter_rows(named=True):
        end = max(stay["outtime"], stay["intime"] + timedelta(hours=48))
        for image in cxr.sort("study_time", "study_id", "dicom_id").iter_rows(named=True):
            if image["subject_id"] == stay["subject_id"] and stay["intime"] <= image["study_time"] <= end:
                hours = (image["study_time"] - stay["intime"]).total_seconds() / 3600
                expected.append((stay["stay"], image["image"], hours))
    assert links.rows() == expected and len(expected) > 30
    assert links["hours"].min() == pytest.approx(5 + 7 / 3600)


def test_images_are_stored_end_to_end(mini_store: Path, mini_raw: tuple[Path, Path]) -> None:
    store = Store.open(mini_store)
    cxr, pixels = store.table("cxr.parquet"), store.raw("images.bin", np.uint8)
    assert (cxr["rows"].cast(pl.Int64) * cxr["cols"]).sum() == len(pixels)
    assert all(min(rows, cols) == 256 for rows, cols in cxr.select("rows", "cols").iter_rows())
    row = cxr.filter(pl.col("subject_id") == raw.subject(10), pl.col("view") == "AP").row(0, named=True)
    mine = pixels[row["offset"] :][: row["rows"] * row["cols"]].reshape(row["rows"], row["cols"])
    file = mini_raw[1] / f"files/p10/p{raw.subject(10)}/s{row['study_id']}/{row['dicom_id']}.jpg"
    theirs = Image.open(file).resize((row["cols"], row["rows"]), Image.Resampling.BICUBIC)
    assert np.abs(mine.astype(int) - np.asarray(theirs).astype(int)).max() <= 1
    assert row["label/Atelectasis"] == 0 and row["label/Cardiomegaly"] == -1 and row["label/Consolidation"] is None


def test_the_same_input_gives_the_same_bytes_with_any_number_of_workers(
    mini_store: Path, mini_raw: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cxr_stage, "CHUNK", 7)
    iv, cxr = mini_raw
    again = prepare(iv, tmp_path / "again", cxr, cxr_images="all", workers=3, memory_gb=2.0, quiet=True)
    assert Store.open(again).manifest_sha256 == Store.open(mini_store).manifest_sha256
    for entry in Store.open(again).manifest["files"]:
        assert (again / entry["path"]).read_bytes() == (mini_store / entry["path"]).read_bytes()


def _in_own_process(mini_raw: tuple[Path, Path], out: Path, before: str) -> subprocess.CompletedProcess[str]:
    code = f"""
import os, resource, signal, sys
from pathlib import Path
from cardiozoo.data.prepare import cxr as stage
from cardiozoo.data.prepare.mimic_cxr_ehr import prepare
from cardiozoo.errors import StoreError
{before}
try:
    iv, cxr, out = map(Path, sys.argv[1:])
    prepare(iv, out, cxr, cxr_images="all", workers=1, memory_gb=1.0, quiet=True)
except StoreError as error:
    print(error)
    sys.exit(3)
"""
    arguments = [sys.executable, "-c", code, *map(str, mini_raw), str(out)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)


def test_a_prepare_killed_among_the_images_resumes_and_ends_with_the_same_bytes(
    mini_store: Path, mini_raw: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    kill = """
stage.CHUNK = 7
decode, seen = stage.decode_image, []
def dies(path):
    seen.append(path)
    return decode(path) if len(seen) < 20 else os.kill(os.getpid(), signal.SIGKILL)
stage.decode_image = dies
"""
    out = tmp_path / "store"
    assert _in_own_process(mini_raw, out, kill).returncode == -9
    with pytest.raises(StoreError, match="not finished"):
        Store.open(out)
    assert len(list((tmp_path / "store.partial/scratch/chunks").iterdir())) == 2
    monkeypatch.setattr(cxr_stage, "CHUNK", 7)
    decoded: list[Path] = []
    decode: Callable = cxr_stage.decode_image
    monkeypatch.setattr(cxr_stage, "decode_image", lambda path: decoded.append(path) or decode(path))
    prepare(mini_raw[0], out, mini_raw[1], cxr_images="all", **FAST)
    assert len(decoded) == 42 - 14, "two chunks of seven were done"
    assert "Resuming" in capfd.readouterr().err
    assert Store.open(out).manifest_sha256 == Store.open(mini_store).manifest_sha256


def test_a_size_limit_is_reported_and_leaves_nothing_complete(mini_raw: tuple[Path, Path], tmp_path: Path) -> None:
    result = _in_own_process(mini_raw, tmp_path / "s", "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))")
    assert result.returncode == 3 and "disk is full or a size limit" in result.stdout, result.stderr
    with pytest.raises(StoreError, match="not finished"):
        Store.open(tmp_path / "s")


@pytest.mark.parametrize(("selection", "images"), [("linked", 38), ("cohort", 38), ("all", 39)])
def test_which_images(mini_raw: tuple[Path, Path], tmp_path: Path, selection: str, images: int) -> None:
    iv, cxr = mini_raw
    store = Store.open(prepare(iv, tmp_path / "s", cxr, cxr_images=selection, cxr_views="AP+PA", **FAST))
    assert store.manifest["counts"]["images"] == images
    table = store.table("cxr.parquet")
    assert (19_999_999 in table["subject_id"].to_list()) == (selection == "all")


def test_without_radiographs_and_with_a_list_of_patients(mini_raw: tuple[Path, Path], tmp_path: Path) -> None:
    chosen = {raw.subject(i): ("test", "val")[i % 2] for i in range(10)}
    pl.DataFrame({"subject_id": list(chosen), "split": list(chosen.values())}).write_csv(tmp_path / "list.csv")
    store = Store.open(prepare(mini_raw[0], tmp_path / "s", split_file=tmp_path / "list.csv", **FAST))
    stays = store.table("stays.parquet")
    assert stays["split"].to_list() == [chosen.get(subject, "train") for subject in stays["subject_id"]]
    assert store.table("cxr.parquet").height == store.table("links.parquet").height == 0
    assert len(store.raw("images.bin", np.uint8)) == 0 and store.manifest["release"]["mimic_cxr"] is None
    assert store.manifest["options"]["split_file"]["name"] == "list.csv"
    store.verify()


def test_synthetic_sources_are_marked_and_never_mixed_with_real_ones(
    mini_raw: tuple[Path, Path], tmp_path: Path
) -> None:
    iv, cxr = (shutil.copytree(folder, tmp_path / folder.name) for folder in mini_raw)
    marker = {"synthetic": True, "simulator": "mimic_cxr_ehr", "simulator_version": "1", "seed": 3, "patients": 40}
    (iv / "SYNTHETIC.json").write_text(json.dumps(marker))
    with pytest.raises(RawDataError, match="different origin"):
        prepare(iv, tmp_path / "s", cxr, **FAST)
    (cxr / "SYNTHETIC.json").write_text(json.dumps(marker))
    store = Store.open(prepare(iv, tmp_path / "s", cxr, **FAST))
    assert store.synthetic and store.manifest["simulator"] == marker


def test_images_that_are_all_absent_are_an_error(mini_raw: tuple[Path, Path], tmp_path: Path) -> None:
    cxr = tmp_path / "cxr"
    cxr.mkdir()
    for table in mini_raw[1].glob("*.csv.gz"):
        shutil.copy(table, cxr)
    with pytest.raises(RawDataError, match="None of the 41 radiographs"):
        prepare(mini_raw[0], tmp_path / "s", cxr, **FAST)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cxr_images": "some"},
        {"workers": 0},
        {"memory_gb": 0.1},
        {"test_fraction": 1.2},
        {"outliers": "maybe"},
        {"cxr_labels": "vis"},
    ],
)
def test_wrong_options_stop_before_work(mini_raw: tuple[Path, Path], tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(OptionError):
        prepare(mini_raw[0], tmp_path / "s", mini_raw[1], **{**FAST, **wrong})
    assert list(tmp_path.iterdir()) == []
