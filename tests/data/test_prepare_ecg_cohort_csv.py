"""Tables as people have them: separators, decimal marks, encodings, line ends, and the tables of the CODE cohorts."""

from __future__ import annotations

import gzip
import unicodedata
from pathlib import Path
from typing import Any

import ecg_raw as raw
import h5py
import numpy as np
import pytest

from cardiozoo.data.prepare.ecg_cohort import prepare
from cardiozoo.data.store import Store
from cardiozoo.errors import OptionError, RawDataError

SHORT = {"seconds": 1.0, "quiet": True, "workers": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three WFDB records in a folder with a blank and an umlaut in its name."""
    root = tmp_path / "EKG Köln"
    for number in range(3):
        raw.write_wfdb(root / "Müller", f"r{number}", raw.samples(number))
    return root


def prepared(table: Path, text: str, encoding: str = "utf-8", **options: Any) -> Store:
    table.write_bytes(text.encode(encoding))
    out = prepare(table, table.parent / "store", **{**SHORT, "overwrite": True, **options})
    return Store.open(out, "ecg_cohort")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("mark", [";", "\t"])
def test_semicolons_decimal_commas_and_encodings(folder: Path, mark: str, encoding: str) -> None:
    lines = ["path;patient;mPAP;PVR;code", "Müller/r0;a;22,5;;1,2", "Müller/r1;b;19;NA;x", "Müller/r2;c;9,5;,5;3"]
    text = "\r\n".join([*lines, ";;;;", ""]).replace(";", mark)
    store = prepared(folder / "t.csv", text, encoding)
    records = store.table("records.parquet")
    assert records["target/mPAP"].to_list() == [22.5, 19.0, 9.5]
    assert records["target/PVR"].to_list() == [None, None, 0.5]
    assert records["target/code"].to_list() == ["1,2", "x", "3"]  # no column of numbers
    notes = " ".join(store.manifest["notes"])
    assert "Commas in mPAP, PVR are taken for decimal points." in notes and "separated by" in notes
    assert ("Windows-1252" in notes) == (encoding == "cp1252")
    assert store.manifest["flow"][0]["records"] == 3
    for row in range(3):
        assert np.array_equal(store.array("signals.npy")[row], raw.samples(row))


def test_excels_first_line_and_commas_in_quotes(folder: Path) -> None:
    store = prepared(folder / "t.csv", "sep=;\r\npath;mPAP\r\nMüller/r0;20\r\nMüller/r1;30\r\n")
    assert store.table("records.parquet")["target/mPAP"].to_list() == [20.0, 30.0]
    # 1,234 may be a thousand and more, so that with commas between fields nothing is guessed, and it is said
    store = prepared(folder / "t.csv", 'path,mPAP,\nMüller/r0,"1,234",\nMüller/r1,30,\n')
    assert store.table("records.parquet")["target/mPAP"].to_list() == ["1,234", "30"]
    notes = " ".join(store.manifest["notes"])
    assert "are no numbers ('1,234')" in notes and "Columns without a name are left out." in notes


def test_paths_of_other_systems(folder: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Müller/r1")
    assert decomposed != "Müller/r1"
    store = prepared(folder / "t.csv", f"path\nMüller\\r0.hea\n{decomposed}\nMüller\\r2\n")
    assert store.table("records.parquet")["id"].to_list() == ["r0", "r1", "r2"]
    for row in range(3):
        assert np.array_equal(store.array("signals.npy")[row], raw.samples(row))


def test_the_table_of_code_15_as_it_is(folder: Path) -> None:
    with h5py.File(folder / "exams_part0.hdf5", "w") as file:
        file["exam_id"] = np.array([1169160, 2873686, 0])
        tracings = np.stack([raw.samples(n).T.astype(np.float32) / 100 for n in range(3)])
        file["tracings"] = tracings
    text = (
        "exam_id,age,is_male,1dAVb,patient_id,timey,trace_file\n"
        "2873686,38,True,False,523632,2.09,exams_part0.hdf5\n1169160,73,False,True,1724173,,exams_part0.hdf5\n"
    )
    said = {"record_rate": 500.0, "record_units": "1e-4V"}
    store = prepared(folder / "exams.csv", text, **said, record_leads="DI,DII,DIII,AVR,AVL,AVF,V1,V2,V3,V4,V5,V6")
    records = store.table("records.parquet")
    assert records["sex"].to_list() == ["M", "F"] and records["patient"].to_list() == ["523632", "1724173"]
    assert records["target/1dAVb"].to_list() == [0.0, 1.0]
    signal = store.array("signals.npy") / store.array("gain.npy")[:, :, None]
    np.testing.assert_allclose(signal, tracings[[1, 0]].transpose(0, 2, 1) / 10, atol=6e-4)
    again = prepared(folder / "exams.csv", text, **said, record_leads="all")
    assert np.array_equal(again.array("signals.npy"), store.array("signals.npy"))


@pytest.mark.parametrize("leads", ["foo bar", "I I II", ["I", "Lead I"]])
def test_leads_that_are_none_or_named_twice_stop_before_work_begins(folder: Path, leads: Any) -> None:
    with pytest.raises(OptionError, match="record_leads names") as caught:
        prepared(folder / "t.csv", "path\nMüller/r0\n", record_leads=leads)
    assert caught.value.accepted and caught.value.next_step


def test_checksums_can_be_let_pass(folder: Path) -> None:
    header = folder / "Müller" / "r0.hea"
    lines = header.read_text().splitlines()
    words = lines[1].split()
    words[6] = str(int(words[6]) ^ 1)
    header.write_text("\n".join([lines[0], " ".join(words), *lines[2:]]) + "\n")
    text = "path\nMüller/r0\nMüller/r1\n"
    assert prepared(folder / "t.csv", text).manifest["exclusions"] == {"checksum wrong": 1}
    store = prepared(folder / "t.csv", text, record_checksums=False)
    assert store.manifest["exclusions"] == {} and not store.manifest["options"]["reading"]["verify"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"path\x00;mPAP\n", b"path;mPAP;mPAP\nr0;1;2\n", b"path;mPAP\n\x81;1\n", b'"' + b"x" * 200_000],
)
def test_what_is_no_table_is_refused(folder: Path, content: bytes) -> None:
    (folder / "t.csv").write_bytes(content)
    with pytest.raises(RawDataError) as caught:
        prepare(folder / "t.csv", folder / "store", **SHORT)
    assert caught.value.came and caught.value.accepted and caught.value.next_step


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("Müller/r1,60,41", r"line 3 has 3 cells below a line of 4 names\."),
        ("Müller/r1,p2,60,41,5", r"line 3 has 5 cells"),
        ('Müller/r1,"P1 Jane Doe,50,41', "quotation mark"),
    ],
)
def test_rows_that_lack_a_cell_stop_the_run_and_are_not_quoted(folder: Path, row: str, words: str) -> None:
    text = f"path,patient,age,mPAP\nMüller/r0,p1,50,20\n{row}\n"
    with pytest.raises(RawDataError, match=words) as caught:
        prepared(folder / "t.csv", text)
    assert "Jane" not in str(caught.value) and "p2" not in str(caught.value)


def test_empty_cells_blank_rows_and_unnamed_columns_are_no_lack(folder: Path) -> None:
    text = "path,patient,mPAP,\nMüller/r0,p1,20,\n\n  \nMüller/r1,p2,\n,,,\nMüller/r2,p3,22\n"
    records = prepared(folder / "t.csv", text).table("records.parquet")
    assert records["patient"].to_list() == ["p1", "p2", "p3"]
    assert records["target/mPAP"].to_list() == [20, None, 22]


def test_a_compressed_table_is_read_alike_and_a_cut_one_refused(folder: Path) -> None:
    packed = gzip.compress("path;mPAP\nMüller/r0;20,5\nMüller/r1;21,5\n".encode())
    (folder / "t.csv.gz").write_bytes(packed)
    out = prepare(folder / "t.csv.gz", folder / "store", **SHORT)
    assert Store.open(out).table("records.parquet")["target/mPAP"].to_list() == [20.5, 21.5]
    (folder / "t.csv.gz").write_bytes(packed[:-9])
    with pytest.raises(RawDataError, match="cut short or damaged"):
        prepare(folder / "t.csv.gz", folder / "store2", **SHORT)
