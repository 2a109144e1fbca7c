"""`prepare ecg_cohort`: a table of one's own in all its variety, and ECG files in several formats."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import ecg_raw as raw
import h5py
import numpy as np
import polars as pl
import pytest

from cardiozoo.cli import main
from cardiozoo.data.prepare.ecg_cohort import prepare
from cardiozoo.data.splits import assign_splits
from cardiozoo.data.store import Store
from cardiozoo.errors import OptionError, RawDataError

SHORT = {"seconds": 1.0, "quiet": True, "workers": 1}
ARRAYS = {"record_rate": 500.0, "record_units": "5uV", "record_leads": list(raw.LEADS)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight WFDB records, r0 ... r7, record k with ``samples(k)``."""
    root = tmp_path / "ecg"
    for number in range(8):
        raw.write_wfdb(root, f"r{number}", raw.samples(number))
    return root


def rows(count: int = 8, **columns: list[Any]) -> list[dict[str, Any]]:
    """Rows of a table: path, patient, age, sex, mPAP, with other values or further columns."""
    plain = {
        "path": [f"r{n}.hea" for n in range(count)],
        "patient": [f"p{n // 2}" for n in range(count)],
        "age": [40 + n for n in range(count)],
        "sex": ["FM"[n // 2 % 2] for n in range(count)],
        "mPAP": [15.5 + 3 * n for n in range(count)],
    }
    table = {name: values for name, values in (plain | columns).items() if values}
    return [{name: values[n] for name, values in table.items()} for n in range(count)]


def prepared(folder: Path, table: list[dict[str, Any]], **options: Any) -> Store:
    cohort = raw.write_csv(folder / "cohort.csv", table)
    out = prepare(cohort, folder / "store", **{**SHORT, "overwrite": True, **options})
    return Store.open(out, "ecg_cohort")


def test_every_other_column_becomes_a_target(folder: Path) -> None:
    table = rows(group=["a", "b", "", "a", "NA", "c", "c", "a"], PAWP=["12", "", "nan", "9.5", 8, 7, "1e1", "inf"])
    store = prepared(folder, table)
    records = store.table("records.parquet")
    assert records["id"].to_list() == [f"r{n}" for n in range(8)]
    assert records["patient"].to_list() == [row["patient"] for row in table]
    assert records["age"].to_list() == [row["age"] for row in table]
    assert records["sex"].to_list() == [row["sex"] for row in table]
    assert records["target/mPAP"].to_list() == [row["mPAP"] for row in table]
    assert records["target/PAWP"].to_list() == [12, None, None, 9.5, 8, 7, 10, None]
    assert records["target/group"].to_list() == ["a", "b", None, "a", None, "c", "c", "a"]
    assert store.manifest["counts"]["PAWP: not finite, taken as missing"] == 1
    for row, signal in enumerate(store.array("signals.npy")):
        assert np.array_equal(signal, raw.samples(row))
    assert records["split"].to_list() == assign_splits(records["patient"].to_numpy().astype(str)).tolist()
    assert str(folder) not in json.dumps(store.manifest)


def test_the_command_line_takes_a_table_in_another_place_than_its_records(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cohort = raw.write_csv(tmp_path / "tables" / "my cohort.csv", rows())
    command = [
        "prepare",
        "ecg_cohort",
        "--cohort",
        str(cohort),
        "--root",
        str(folder),
        "--out",
        str(tmp_path / "store"),
    ]
    assert (
        main([*command, "--seconds", "1", "--workers", "1", "--record-leads", "[I, II]", "--quality.flat_mv", "0.02"])
        == 0
    )
    store = Store.open(tmp_path / "store")
    assert store.manifest["counts"]["records"] == 8 and store.manifest["ecg"]["quality"]["flat_mv"] == 0.02
    assert store.manifest["options"]["reading"]["leads"] == ["I", "II"]
    assert "Cohort flow" in capfd.readouterr().err


def test_files_of_several_formats_stand_side_by_side(folder: Path) -> None:
    np.save(folder / "a.npy", raw.samples(20))
    np.savetxt(folder / "b.csv", raw.samples(21).T, delimiter=",", header=",".join(raw.LEADS), comments="", fmt="%d")
    with h5py.File(folder / "c.hdf5", "w") as file:
        file["tracings"] = np.stack([raw.samples(n).T for n in (22, 23)])
    table = rows(
        6,
        path=["r0", "r1.dat", "a.npy", "b.csv", "c.hdf5", "c.hdf5"],
        index=["", "", "", "", "0", "1"],
    )
    store = prepared(folder, table, **ARRAYS)
    records, signals = store.table("records.parquet"), store.array("signals.npy")
    assert records["id"].to_list() == ["r0", "r1", "a", "b", "c#0", "c#1"]
    for row, number in enumerate((0, 1, 20, 21, 22, 23)):
        assert np.array_equal(signals[row], raw.samples(number)), records["id"][row]
    assert np.allclose(store.array("gain.npy"), 200)


def test_exams_of_a_file_are_found_by_their_ids(folder: Path) -> None:
    with h5py.File(folder / "exams.hdf5", "w") as file:
        file["exam_id"] = np.array([3, 0, 1])  # ids that would be rows, too
        file["tracings"] = np.stack([raw.samples(n).T for n in (30, 31, 32)])
    table = rows(4, path=["exams.hdf5"] * 3 + ["r5"], exam_id=["1", "3", "2", "9"])
    store = prepared(folder, table, **ARRAYS)
    assert store.table("records.parquet")["id"].to_list() == ["exams#1", "exams#3", "r5"]
    for signal, number in zip(store.array("signals.npy"), (32, 30, 5), strict=True):
        assert np.array_equal(signal, raw.samples(number))
    assert store.table("excluded.parquet").rows() == [("exams#2", "exams.hdf5", "no such record in the file")]


def test_a_counter_of_rows_is_no_index_of_records(folder: Path) -> None:
    table = [*rows(3, index=[0, 1, 2]), {**rows(1)[0], "index": 3}]
    store = prepared(folder, table)
    assert store.table("records.parquet")["id"].to_list() == ["r0", "r1", "r2"]
    assert store.manifest["exclusions"] == {"record listed again": 1}
    assert any("'index' is not used" in note for note in store.manifest["notes"])


def test_arrays_without_rate_units_or_leads_are_refused_before_work_begins(folder: Path) -> None:
    np.save(folder / "a.npy", raw.samples(20))
    table = rows(1, path=["a.npy"])
    with pytest.raises(OptionError, match=r"\.npy files, which do not say their rate, units, leads"):
        prepared(folder, table)
    with pytest.raises(OptionError, match="do not say their units"):
        prepared(folder, table, **{**ARRAYS, "record_units": None})
    with pytest.raises(OptionError, match="no voltage"):
        prepared(folder, table, **{**ARRAYS, "record_units": "mmHg"})
    with pytest.raises(OptionError, match="record_format is 'holter'"):
        prepared(folder, table, record_format="holter")
    assert not (folder / "store").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_cannot_be_read_is_left_out_with_its_reason(folder: Path, workers: int, monkeypatch) -> None:
    monkeypatch.setattr("cardiozoo.data.prepare.ecg_pool.SHARD", 3)
    (folder / "r1.dat").write_bytes(b"")
    (folder / "r2.xml").write_text("<nothing/>")
    (folder / "r3.dcm").write_bytes(b"\0" * 300)
    (folder / "r4.npy").write_bytes(b"\x93NUMPY junk")
    table = rows(8, path=["r0.hea", "r1.hea", "r2.xml", "r3.dcm", "r4.npy", "gone.hea", "", "r7.hea"])
    store = prepared(folder, table, workers=workers, **ARRAYS)
    excluded = store.table("excluded.parquet")
    assert store.table("records.parquet")["id"].to_list() == ["r0", "r7"]
    assert np.array_equal(store.array("signals.npy")[1], raw.samples(7))
    assert excluded.height == 6 and excluded["reason"].n_unique() == 6 and excluded["reason"].null_count() == 0
    assert {"no path", "record file absent"} < set(excluded["reason"])


def test_a_record_listed_again_stays_once_and_contradictions_leave(folder: Path) -> None:
    table = [*rows(4), rows(1)[0], {**rows(2)[1], "mPAP": 99}, {**rows(3)[2], "path": "./r2"}]
    store = prepared(folder, table)
    assert store.table("records.parquet")["id"].to_list() == ["r0", "r2", "r3"]
    assert store.manifest["exclusions"] == {"record listed again with other values": 2, "record listed again": 2}
    assert store.table("records.parquet")["target/mPAP"].to_list() == [15.5, 21.5, 24.5]


def test_one_record_is_known_under_every_way_to_its_file(folder: Path) -> None:
    (folder / "link").symlink_to(folder, target_is_directory=True)
    others = [{**rows(2)[1], "path": f"../{folder.name}/r1", "patient": "other"}]
    others += [{**rows(3)[2], "path": str(folder / "r2")}, {**rows(4)[3], "path": "link/r3", "mPAP": 99}]
    store = prepared(folder, [*rows(4), *others])
    assert store.table("records.parquet")["path"].to_list() == ["r0.hea", "r2.hea"]
    assert store.manifest["exclusions"] == {"record listed again with other values": 4, "record listed again": 1}


def test_a_killed_run_starts_clean_when_signals_of_another_name_have_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    header = folder / "r1.hea"
    header.write_text(header.read_text().replace("r1.dat", "signals_of_1.bin"))
    moved = (folder / "r1.dat").rename(folder / "signals_of_1.bin")

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("cardiozoo.data.prepare.ecg.read_shards", killed)
        prepared(folder, rows(3))
    os.utime(moved, (1, 1))
    prepared(folder, rows(3))
    assert "Starting clean" in capfd.readouterr().err


def test_without_patients_every_record_is_its_own_and_it_is_said(folder: Path) -> None:
    store = prepared(folder, rows(patient=[]))
    assert store.table("records.parquet")["patient"].n_unique() == 8
    assert any("no column patient" in note for note in store.manifest["notes"])
    some = prepared(folder, rows(patient=["p0", "p0", "", "", "7", "7.0", " 7 ", "NA"]))
    patients = some.table("records.parquet")["patient"].to_list()
    assert patients == ["p0", "p0", "record r2", "record r3", "7", "7", "7", "record r7"]
    assert some.manifest["counts"]["records without a patient, each a patient of its own"] == 3
    for number in range(8):
        raw.write_wfdb(folder, f"r{number}", raw.samples(number), subject=number // 2)
    named = prepared(folder, rows(patient=[]))
    assert any("the files name 4 for 8 records" in note for note in named.manifest["notes"])


def test_sex_in_words_and_numbers(folder: Path) -> None:
    words = rows(sex=["f", "Female", "M", "male", "x", "", "man", "WOMAN"])
    store = prepared(folder, words)
    assert store.table("records.parquet")["sex"].to_list() == ["F", "F", "M", "M", None, None, "M", "F"]
    assert store.manifest["counts"]["sex not understood, taken as missing"] == 1
    numbers = rows(sex=["0", "1", "0.0", "1.0", "", "1", "1", "0"])
    store = prepared(folder, numbers)
    assert store.table("records.parquet")["sex"].to_list() == ["M", "F", "M", "F", None, "F", "F", "M"]
    assert any("0 is taken for male" in note for note in store.manifest["notes"])
    store = prepared(folder, numbers, sex_code="0=female")
    assert store.table("records.parquet")["sex"].to_list() == ["F", "M", "F", "M", None, "M", "M", "F"]
    assert not any("0 is taken for male" in note for note in store.manifest["notes"])
    one_two = rows(sex=["1", "2"] * 4)
    with pytest.raises(RawDataError, match="holds the numbers 1, 2"):
        prepared(folder, one_two)
    assert prepared(folder, one_two, sex_code="2=female").table("records.parquet")["sex"][:2].to_list() == ["M", "F"]


def test_one_patient_with_two_sexes_is_reported(folder: Path) -> None:
    store = prepared(folder, rows(sex=["F", "M", "", "M", "F", "F", "M", "M"]))
    assert store.manifest["counts"]["patients with two sexes"] == 1
    assert any("female in one row and male in another" in note for note in store.manifest["notes"])


def test_ages_have_a_unit(folder: Path) -> None:
    written = rows(age=["063Y", "18M", "40", "", "300", "-1", "old", "7 W"])
    store = prepared(folder, written)
    ages = store.table("records.parquet")["age"].to_list()
    assert ages[:3] == [63, 1.5, 40] and ages[3:7] == [None] * 4 and ages[7] == pytest.approx(49 / 365.25)
    assert store.manifest["counts"]["age: implausible, taken as missing"] == 2
    assert store.manifest["counts"]["age not understood, taken as missing"] == 1
    months = rows(age=[480 + n for n in range(8)])
    with pytest.raises(RawDataError, match="8 of 8 ages are not between 0 and 120 years when read as years"):
        prepared(folder, months)
    ages = prepared(folder, months, age_unit="months").table("records.parquet")["age"]
    assert np.allclose(ages, [(480 + n) / 12 for n in range(8)])


def test_a_column_with_some_text_stays_text_and_it_is_said(folder: Path) -> None:
    store = prepared(folder, rows(PVR=["1.5", ">10", "2", "3", "4", "5", "6", "7"], empty=[""] * 8))
    records = store.table("records.parquet")
    assert records["target/PVR"].to_list() == ["1.5", ">10", "2", "3", "4", "5", "6", "7"]
    assert any("1 of 8 values of 'PVR' are no numbers ('>10')" in note for note in store.manifest["notes"])
    assert records["target/empty"].null_count() == 8 and records["target/empty"].dtype == pl.Float64


def test_numbers_with_their_unit_and_with_other_things(folder: Path) -> None:
    columns = {
        "mPAP": [f"{n + 10.5} mmHg" for n in range(7)] + ["NA"],
        "mixed": [f"{n} {'mmHg' if n else 'kPa'}" for n in range(8)],
        "grade": [f"{n % 3}b" for n in range(8)],
        "died": ["True", "FALSE", "true", "", "false", "True", "False", "True"],
        "cause": ["left heart"] * 4 + ["lung"] * 4,
    }
    store = prepared(folder, rows(**columns))
    records, notes = store.table("records.parquet"), store.manifest["notes"]
    assert records["target/mPAP"].to_list() == [*(n + 10.5 for n in range(7)), None]
    assert "All values of 'mPAP' end in 'mmHg': the numbers before it are taken." in notes
    assert records["target/died"].to_list() == [1, 0, 1, None, 0, 1, 0, 1]
    for name in ("mixed", "grade", "cause"):
        assert records[f"target/{name}"].to_list() == columns[name]
        assert any(f"8 of 8 values of '{name}' are no numbers" in note for note in notes) == (name != "cause")


def test_pressures_that_nobody_has_are_missing_and_marks_of_nothing_are_told(folder: Path) -> None:
    store = prepared(
        folder,
        rows(
            mPAP=[-999, 0, 99999, 1e39, "inf", 20, 30, 40],
            PVR=[-999, 1, 2, 3, 4, 5, 6, 7],
            score=[1, 2, 3, 9999, 9999, 4, 5, 6],
            change=[-1, -0.5, 0, 0.5, 1, 2, 3, 4],
            grade=[-1, 1, -1, 1, -1, 1, -1, 1],
            name=list("abcdefgh"),
        ),
    )
    records, counts, notes = store.table("records.parquet"), store.manifest["counts"], store.manifest["notes"]
    assert records["target/mPAP"].to_list() == [None] * 5 + [20.0, 30.0, 40.0]
    assert counts["mPAP: outside 1 to 150 mmHg, taken as missing"] == 3
    assert counts["mPAP: not finite, taken as missing"] == 2  # 1e39 is none in single precision
    assert counts["targets"]["mPAP"] == {
        "values": 3, "missing": 5, "different": 3, "min": 20.0, "median": 30.0, "max": 40.0,
    }  # fmt: skip
    assert counts["targets"]["name"] == {"values": 8, "missing": 0, "different": 8}
    told = [note for note in notes if "far from all others" in note]
    assert len(told) == 2 and "1 of 8 values of 'PVR' are -999" in told[0] and "2 of 8 values of 'score'" in told[1]
    kilopascal = prepared(folder, rows(mPAP=[2.1, 2.5, 3.0, 3.3, 3.9, 4.5, 5.0, 6.0]))
    assert any("1 kPa is 7.5 mmHg" in note for note in kilopascal.manifest["notes"])


def test_names_of_columns_in_other_spellings(folder: Path) -> None:
    table = [
        {"FileName": row["path"], "subject_id": row["patient"], "Gender": row["sex"], "time": n, "mPAP": row["mPAP"]}
        for n, row in enumerate(rows())
    ]
    store = prepared(folder, table)
    records = store.table("records.parquet")
    assert records["patient"].to_list() == [f"p{n // 2}" for n in range(8)] and records["sex"][0] == "F"
    assert records["target/time"].to_list() == list(range(8)) and records["time"].null_count() == 8
    assert any("'subject_id' is taken for patient" in note for note in store.manifest["notes"])
    dated = prepared(folder, [{**row, "time": f"2024-05-0{n + 1} 12:30:00"} for n, row in enumerate(table)])
    assert str(dated.table("records.parquet")["time"][2]) == "2024-05-03 12:30:00"


def test_the_table_s_own_splits_and_folds_are_honoured(folder: Path) -> None:
    split = ["train", "Train", "val", "validation", "test", "test", "train", "train"]
    fold = [1, 1, 2, 2, 3, 3, 1, 1]
    records = prepared(folder, rows(split=split, fold=fold)).table("records.parquet")
    assert records["split"].to_list() == ["train", "train", "val", "val", "test", "test", "train", "train"]
    assert records["fold"].to_list() == fold and records["fold"].dtype == pl.Int8
    alone = prepared(folder, rows(fold=fold))
    assert alone.table("records.parquet")["split"].to_list() == records["split"].to_list()
    assert any("fold 3 is test, fold 2 is val" in note for note in alone.manifest["notes"])
    with pytest.raises(RawDataError, match="1 patients are in more than one split; the first is that of row 1"):
        prepared(folder, rows(split=["train", "test", *split[2:]]))
    with pytest.raises(RawDataError, match="1 patients are in more than one fold; the first is that of row 3"):
        prepared(folder, rows(fold=[1, 1, 2, 3, 3, 3, 1, 1]))
    with pytest.raises(RawDataError, match="no split, the first 'dev'"):
        prepared(folder, rows(split=["dev", *split[1:]]))
    with pytest.raises(RawDataError, match="column fold"):
        prepared(folder, rows(fold=["a", *fold[1:]]))


def test_tables_that_cannot_be_understood_are_refused(folder: Path) -> None:
    for table, message in (
        ([{"record": "r0", "age": 4}], "no column path"),
        ([{**rows(1)[0], "PATH": "r1"}], "the columns path and PATH"),
        ([{**row, "id": "one"} for row in rows(2)], "one id twice"),
    ):
        with pytest.raises(RawDataError, match=message) as caught:
            prepared(folder, table)
        assert caught.value.accepted and caught.value.next_step
    (folder / "twice.csv").write_text("path,age,age\nr0,1,2\n")
    with pytest.raises(RawDataError, match="more than one column 'age'"):
        prepare(folder / "twice.csv", folder / "store", **SHORT)
    (folder / "none.csv").write_text("path,age\n")
    with pytest.raises(RawDataError, match="has no row"):
        prepare(folder / "none.csv", folder / "store", **SHORT)
    with pytest.raises(RawDataError, match="There is no file"):
        prepare(folder / "nowhere.csv", folder / "store", **SHORT)
    with pytest.raises(RawDataError, match="is no folder"):
        prepare(folder / "none.csv", folder / "store", root=folder / "nowhere", **SHORT)


def test_a_synthetic_cohort_stays_synthetic(folder: Path) -> None:
    assert not prepared(folder, rows()).synthetic
    (folder / "SYNTHETIC.json").write_text("{}")
    assert prepared(folder, rows()).synthetic
