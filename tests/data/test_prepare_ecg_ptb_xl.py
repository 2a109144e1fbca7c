"""`prepare ptb_xl` on real records of PTB-XL and on the quirks of its table."""

from __future__ import annotations

import ast
import csv
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import wfdb

from cardiozoo.data.ecg import LEADS
from cardiozoo.data.prepare.ptb_xl import prepare
from cardiozoo.data.store import Store
from cardiozoo.errors import OptionError, RawDataError

SAMPLE = Path(__file__).parent / "ptbxl_sample"
ONE = {"workers": 1, "quiet": True}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A copy of the sample, with the longer of its tables, that may be changed."""
    root = Path(shutil.copytree(SAMPLE, tmp_path / "ptb-xl"))
    shutil.copy(SAMPLE / "ptbxl_database_38rows.csv", root / "ptbxl_database.csv")
    return root


def listed(path: Path = SAMPLE / "ptbxl_database_38rows.csv") -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["ecg_id"]: row for row in csv.DictReader(file)}


def change(root: Path, ecg_id: str, /, **cells: str) -> None:
    path = root / "ptbxl_database.csv"
    rows = listed(path)
    rows[ecg_id] |= cells
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[ecg_id]))
        writer.writeheader()
        writer.writerows(rows.values())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = Path(shutil.copytree(SAMPLE, tmp_path_factory.mktemp("raw") / "ptb-xl"))
    shutil.copy(SAMPLE / "ptbxl_database_38rows.csv", root / "ptbxl_database.csv")
    return Store.open(prepare(root, tmp_path_factory.mktemp("store") / "ptb", **ONE), "ptb_xl")


def test_samples_are_those_that_wfdb_reads_from_the_real_files(store: Store) -> None:
    store.verify()
    records = store.table("records.parquet")
    signals, gain = store.array("signals.npy"), store.array("gain.npy")
    assert records["id"].to_list() == sorted(path.stem[:5].lstrip("0") for path in SAMPLE.rglob("*_hr.dat"))
    for row, path in records.select("row", "path").iter_rows():
        theirs = wfdb.rdrecord(str(SAMPLE / path), physical=False)
        names = [name.upper() for name in theirs.sig_name]
        expected = theirs.d_signal.T[[names.index(lead.upper()) for lead in LEADS]]
        assert np.array_equal(signals[row], expected)
        assert gain[row].tolist() == theirs.adc_gain


def test_rows_of_the_table_without_files_are_counted(store: Store) -> None:
    manifest = store.manifest
    assert manifest["flow"][0]["records"] == 38 and manifest["counts"]["records"] == 10
    assert manifest["exclusions"] == {"record file absent": 28}
    assert store.table("excluded.parquet").height == 28
    assert any("38 records and version 1.0.3 21,799" in note for note in manifest["notes"])


def test_statements_people_and_folds_are_those_of_the_table(store: Store) -> None:
    records, raw = store.table("records.parquet"), listed()
    for record in records.iter_rows(named=True):
        row = raw[record["id"]]
        stated = {name[4:]: value for name, value in record.items() if name.startswith("scp/") and value is not None}
        assert stated == ast.literal_eval(row["scp_codes"])
        assert record["patient"] == str(int(float(row["patient_id"])))
        assert record["sex"] == {"0": "M", "1": "F"}[row["sex"]]
        assert record["age"] == (float(row["age"]) if row["age"] not in ("", "300.0") else None)
        assert record["fold"] == int(row["strat_fold"])
        assert record["split"] == {9: "val", 10: "test"}.get(int(row["strat_fold"]), "train")
        assert str(record["time"]) == row["recording_date"]
        assert record["heart_axis"] == (row["heart_axis"] or None) and record["report"] == row["report"]
    assert len([name for name in records.columns if name.startswith("scp/")]) == 71


def test_superclasses_are_counted_as_the_published_rule_has_it(store: Store) -> None:
    classes = {row["code"]: row["superclass"] for row in store.table("scp_statements.parquet").to_dicts()}
    stored = set(store.table("records.parquet")["id"])
    for key, ids in (("listed", set(listed())), ("stored", stored)):
        expected = dict.fromkeys(store.manifest["counts"]["superclasses"], 0)
        for ecg_id, row in listed().items():
            if ecg_id in ids:
                for name in {classes[code] for code in ast.literal_eval(row["scp_codes"])} - {None}:
                    expected[name] += 1
        assert {name: of[key] for name, of in store.manifest["counts"]["superclasses"].items()} == expected


def test_the_reduced_records_are_read_at_their_own_rate(tmp_path: Path) -> None:
    store = Store.open(prepare(SAMPLE, tmp_path / "store", source="lr", **ONE))
    theirs = wfdb.rdrecord(str(SAMPLE / "records100/00000/00001_lr"), physical=False)
    assert store.manifest["ecg"]["rate"] == 100 and store.table("records.parquet")["id"].to_list() == ["1"]
    assert np.array_equal(store.array("signals.npy")[0], theirs.d_signal.T)
    resampled = Store.open(prepare(SAMPLE, tmp_path / "100", rate=100, **ONE))
    assert resampled.array("signals.npy").shape == (10, 12, 1000)
    assert resampled.table("records.parquet")["raw_rate"].to_list() == [500.0] * 10


def test_a_release_with_the_other_rate_only_says_which_option_reads_it(release: Path, tmp_path: Path) -> None:
    (release / "records500").rename(tmp_path / "elsewhere")
    (release / "records100").mkdir(exist_ok=True)
    with pytest.raises(RawDataError, match="no folder records500") as caught:
        prepare(release, tmp_path / "store", **ONE)
    assert "--source lr" in caught.value.next_step and not (tmp_path / "store").exists()


def test_ages_over_89_and_unknown_facts_are_null_and_counted(release: Path, tmp_path: Path) -> None:
    change(release, "6001", age="300.0")
    change(release, "6002", age="", sex="2", patient_id="")
    change(release, "6003", age="-4.0", patient_id="")
    store = Store.open(prepare(release, tmp_path / "store", **ONE))
    records, counts = store.table("records.parquet"), store.manifest["counts"]
    chosen = records.filter(pl.col("id").is_in(["6001", "6002", "6003"])).sort("id")
    assert chosen["age"].to_list() == [None] * 3 and chosen["sex"][1] is None
    assert chosen["patient"].to_list()[1:] == ["record 6002", "record 6003"]
    over = sum(row["age"] == "300.0" for row in listed().values()) + 1
    assert counts["age 300, which stands for over 89, taken as missing"] == over
    assert counts["age: implausible, taken as missing"] == 1 and counts["sex other than 0 and 1"] == 1
    assert counts["records without a patient, each a patient of its own"] == 2


@pytest.mark.parametrize(
    ("ecg_id", "cells", "message"),
    [
        ("6001", {"recording_date": "4/14/91 13:48"}, "recording_date '4/14/91 13:48'.*spreadsheet"),
        ("6001", {"scp_codes": "{'1.0AVB': 100.0}"}, r"1\.0AVB: a spreadsheet"),
        ("6001", {"scp_codes": "{'XYZ': 100.0}"}, "states XYZ"),
        ("6001", {"scp_codes": "__import__('os').getcwd()"}, "no dictionary"),
        ("6001", {"scp_codes": ""}, "no dictionary"),
        ("6001", {"scp_codes": "['NORM']"}, "no dictionary"),
        ("6001", {"strat_fold": "11"}, "strat_fold"),
        ("6001", {"strat_fold": ""}, "strat_fold"),
        ("6001", {"ecg_id": "6.001E3"}, "ecg_id '6.001E3'"),
        ("6001", {"ecg_id": "6000"}, "one ecg_id twice"),
        ("6001", {"patient_id": listed()["6000"]["patient_id"]}, "1 patients in more than one strat_fold"),
    ],
)
def test_a_table_that_is_not_as_delivered_is_refused(
    release: Path, tmp_path: Path, ecg_id: str, cells: dict[str, str], message: str
) -> None:
    change(release, ecg_id, **cells)
    with pytest.raises(RawDataError, match=message) as caught:
        prepare(release, tmp_path / "store", **ONE)
    assert caught.value.accepted and caught.value.next_step
    assert not (tmp_path / "store").exists() and not (tmp_path / "store.partial").exists()


def test_missing_tables_and_wrong_options_are_said(release: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="source is 'mr'"):
        prepare(release, tmp_path / "store", source="mr", **ONE)  # type: ignore[arg-type]
    (release / "scp_statements.csv").unlink()
    with pytest.raises(RawDataError, match=r"scp_statements\.csv"):
        prepare(release, tmp_path / "store", **ONE)
    with pytest.raises(RawDataError, match="is no folder"):
        prepare(tmp_path / "nowhere", tmp_path / "store", **ONE)
