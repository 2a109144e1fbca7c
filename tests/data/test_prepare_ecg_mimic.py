"""`prepare mimic_iv_ecg`: what the tables say of each record, and what they may not say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import ecg_raw as raw
import polars as pl
import pytest

from cardiozoo.cli import main
from cardiozoo.data.prepare.mimic_iv_ecg import prepare
from cardiozoo.data.splits import assign_splits
from cardiozoo.data.store import Store
from cardiozoo.errors import OptionError, RawDataError

SHORT = {"seconds": 1.0, "quiet": True, "workers": 1}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Eighteen records of twelve patients."""
    return raw.write_mimic_iv_ecg(tmp_path / "mimic-iv-ecg")


def records_of(path: Path) -> pl.DataFrame:
    return Store.open(path, "mimic_iv_ecg").table("records.parquet")


def change(path: Path, /, **columns: dict[int, object]) -> None:
    """Write other values into rows of a CSV."""
    table = pl.read_csv(path, infer_schema=False)
    for name, values in columns.items():
        cells = table[name].to_list()
        for row, value in values.items():
            cells[row] = None if value is None else str(value)
        table = table.with_columns(pl.Series(name, cells, dtype=pl.String))
    table.write_csv(path)


def test_age_is_the_anchor_age_and_the_years_since(release: Path, tmp_path: Path) -> None:
    change(release / "record_list.csv", ecg_time={0: "2190-01-01 00:00:00", 1: "2140-12-31 23:59:59", 2: "yesterday"})
    out = prepare(release, tmp_path / "store", mimic_iv=release / "mimic-iv", **SHORT)
    records, counts = records_of(out), Store.open(out).manifest["counts"]
    assert records["age"][:6].to_list() == [80.0, 30.0, None, 44.0, 44.0, 45.0]
    assert records["sex"][:6].to_list() == ["F", "F", "M", "F", "F", "M"]
    assert records["patient"][:4].to_list() == ["10000000", "10000000", "10000001", "10000002"]
    assert counts["ecg_time missing or unreadable"] == 1 and counts["age unknown"] == 1
    # the headers still hold the times of the release
    assert counts["headers with another time than the table"] == 2


def test_ages_that_cannot_be_and_unknown_subjects_are_null_and_counted(release: Path, tmp_path: Path) -> None:
    patients = release / "mimic-iv" / "hosp" / "patients.csv.gz"
    table = pl.read_csv(patients)[1:].with_columns(
        pl.when(pl.col("subject_id") == raw.subject(1)).then(2500).otherwise("anchor_year").alias("anchor_year"),
        pl.when(pl.col("subject_id") == raw.subject(2)).then(91).otherwise("anchor_age").alias("anchor_age"),
    )
    raw.write_csv(patients, table.to_dicts())
    out = prepare(release, tmp_path / "store", mimic_iv=release, **SHORT)
    records, counts = records_of(out), Store.open(out).manifest["counts"]
    assert records["age"][:5].to_list() == [None, None, None, 93.0, 93.0] and records["sex"][0] is None
    assert counts["records of subjects that the table of patients lacks"] == 2
    assert counts["age: implausible, taken as missing"] == 1
    assert counts["anchor age 91, which stands for over 89"] == 2


def test_without_mimic_iv_age_and_sex_are_unknown_and_it_is_said(
    release: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = f"prepare mimic_iv_ecg --mimic-iv-ecg {release} --out {tmp_path / 'store'} --seconds 1 --workers 1"
    assert main(command.split()) == 0
    records, said = records_of(tmp_path / "store"), capfd.readouterr()
    assert records["age"].null_count() == records["sex"].null_count() == 18
    assert "Age and sex are unknown" in said.err and f"Written: {tmp_path / 'store'}" in said.out
    assert "records of the store" in said.err and "18" in said.err and "train" in said.err


def test_measurements_are_joined_by_study_and_what_cannot_be_is_null(release: Path, tmp_path: Path) -> None:
    change(
        release / "machine_measurements.csv",
        rr_interval={0: 0, 1: 29999, 2: 850, 3: 199, 4: None},
        p_onset={0: 29999, 2: 0, 3: 160},
        p_axis={0: 29999, 1: 0, 2: -361, 3: "none"},
        t_end={1: 210},
        report_0={0: None},
        report_1={0: "Left, axis"},
    )
    table = pl.read_csv(release / "machine_measurements.csv", infer_schema=False)
    stranger = table[5].with_columns(pl.lit("49999999").alias("study_id"))
    again = table[7].with_columns(pl.lit("900").alias("rr_interval"))
    pl.concat([table[:10], stranger, again, table[12:]]).write_csv(release / "machine_measurements.csv")
    out = prepare(release, tmp_path / "store", **SHORT)
    records, counts = records_of(out), Store.open(out).manifest["counts"]
    first = {name: records[f"target/{name}"][:5].to_list() for name in ("rr_interval", "p_onset", "p_axis")}
    assert first["rr_interval"] == [None, None, 850, None, None]
    assert first["p_onset"] == [None, 40, None, 160, 40]
    assert first["p_axis"] == [None, 0, None, None, 50]
    assert records["target/heart_rate"][2] == pytest.approx(60_000 / 850)
    assert records["target/qrs_duration"][0] == 90 and records["target/pr_interval"][1] == 160
    assert records["target/qt_interval"][:2].to_list() == [390, None]  # 10 ms are no QT interval
    assert records["target/p_duration"][3] is None  # ends before it begins
    assert records["machine_report"][:2].to_list() == ["Left, axis", "Sinus rhythm; Normal ECG"]
    assert records["target/rr_interval"].dtype == pl.Float64
    assert counts["rr_interval: implausible, taken as missing"] == 3
    assert counts["p_onset: implausible, taken as missing"] == 2
    assert counts["machine_measurements: rows of studies not in record_list"] == 1
    assert counts["machine_measurements: rows of a study listed again"] == 1
    assert counts["records without machine measurements"] == 2
    assert records.filter(pl.col("id") == "40000007")["target/rr_interval"].item() == 807
    targets = records.select(pl.col("^target/.*$"))
    assert not any((targets[name] == 29999).any() for name in targets.columns)


def test_paths_are_taken_as_listed_and_rows_without_one_are_counted(release: Path, tmp_path: Path) -> None:
    (release / "elsewhere").mkdir()
    for path in release.glob("files/*/*/s40000002/*"):
        shutil.move(path, release / "elsewhere" / path.name)
    change(
        release / "record_list.csv",
        path={2: "elsewhere/40000002", 3: None, 4: "../40000004", 5: "files/none/40000005"},
        subject_id={6: "x"},
        study_id={8: 40_000_007},
    )
    store = Store.open(prepare(release, tmp_path / "store", **SHORT))
    assert store.manifest["exclusions"] == {
        "no path within the release": 2,
        "record file absent": 1,
        "no study_id or subject_id": 1,
        "study listed again": 1,
    }
    records = store.table("records.parquet")
    assert records.filter(pl.col("id") == "40000002")["path"].item() == "elsewhere/40000002"
    assert records.height == 13


def test_splits_are_those_of_the_hash_or_of_a_list(release: Path, tmp_path: Path) -> None:
    records = records_of(prepare(release, tmp_path / "hash", val_fraction=0.3, test_fraction=0.2, **SHORT))
    expected = assign_splits(records["patient"].cast(pl.Int64).to_numpy(), 0, 0.2, 0.3)
    assert records["split"].to_list() == expected.tolist() and len(set(expected)) == 3
    pl.DataFrame({"subject_id": [raw.subject(0), raw.subject(5)], "split": ["test", "validate"]}).write_csv(
        tmp_path / "split.csv"
    )
    records = records_of(prepare(release, tmp_path / "list", split_file=tmp_path / "split.csv", **SHORT))
    named = dict(records.select("patient", "split").iter_rows())
    assert named.pop("10000000") == "test" and named.pop("10000005") == "val" and set(named.values()) == {"train"}
    with pytest.raises(OptionError):
        prepare(release, tmp_path / "none", val_fraction=1.0, **SHORT)


def test_synthetic_data_stay_synthetic_and_are_not_mixed_with_real_ones(release: Path, tmp_path: Path) -> None:
    (release / "SYNTHETIC.json").write_text(json.dumps({"seed": 3}))
    store = Store.open(prepare(release, tmp_path / "store", mimic_iv=release / "mimic-iv", **SHORT))
    assert store.synthetic and store.manifest["simulator"] == {"seed": 3}
    real = Path(shutil.copytree(release / "mimic-iv", tmp_path / "real" / "mimic-iv"))
    with pytest.raises(RawDataError, match="different origin"):
        prepare(release, tmp_path / "mixed", mimic_iv=real, **SHORT)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda r: shutil.rmtree(r), "is no folder"),
        (lambda r: (r / "record_list.csv").unlink(), "holds .*files"),
        (lambda r: (r / "record_list.csv").write_text("subject_id,study_id,path\n1,2,a\n"), "no column ecg_time"),
        (lambda r: (r / "record_list.csv").write_text(""), "first line is empty"),
        (lambda r: (r / "record_list.csv").write_bytes(b"\xff\xfe\x00s"), "cannot be read as a table"),
        (
            lambda r: (r / "record_list.csv").write_text("subject_id;study_id;path;ecg_time\n1;2;a;b\n"),
            "not separated by commas",
        ),
        (lambda r: (r / "record_list.csv").write_text("subject_id,study_id,path,ecg_time\n"), "lists no record"),
        (lambda r: (r / "machine_measurements.csv").write_text("study_id,rr\n1,2\n"), "no column rr_interval"),
        (lambda r: (r / "mimic-iv/hosp/patients.csv.gz").write_bytes(b"junk"), "cannot be read as a table"),
        (lambda r: (r / "mimic-iv/hosp/patients.csv.gz").unlink(), "holds no hosp/patients"),
        (
            lambda r: (r / "mimic-iv/hosp/patients.csv.gz").write_bytes(
                (r / "mimic-iv/hosp/patients.csv.gz").read_bytes()[:-20]
            ),
            "cannot be read as a table",
        ),
    ],
)
def test_layouts_that_are_not_the_release_are_refused(release: Path, tmp_path: Path, harm, message: str) -> None:
    harm(release)
    with pytest.raises(RawDataError, match=message) as caught:
        prepare(release, tmp_path / "store", mimic_iv=release / "mimic-iv", **SHORT)
    assert caught.value.accepted and caught.value.next_step
    assert not (tmp_path / "store").exists()


def test_the_folder_that_the_release_unpacks_into_may_be_below(release: Path, tmp_path: Path) -> None:
    below = tmp_path / "download" / "1.0"
    below.parent.mkdir()
    shutil.move(release, below)
    assert records_of(prepare(tmp_path / "download", tmp_path / "store", **SHORT)).height == 18
