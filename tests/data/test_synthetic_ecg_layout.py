"""The folders: the raw layouts as public readers see them, truth that fits the files, the same bytes every time."""

import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import wfdb
from synthetic_ecg import clinic, folder, hospital, truth

from cardiozoo.data.ecg import LEADS
from cardiozoo.data.synthetic import ecg_cohort, mimic_iv_ecg
from cardiozoo.data.synthetic.ecg_blocks import BLOCK
from cardiozoo.data.synthetic.ecg_landmarks import POSITIONS
from cardiozoo.errors import OptionError, StoreError


def contents(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def whole_records() -> pl.DataFrame:
    """Recordings of the hospital whose files can be read, with their paths."""
    listed = pl.read_csv(hospital() / "record_list.csv")
    records = truth(hospital(), "records").filter(pl.col("bad_file").is_null())
    return records.join(listed.select("study_id", "path", "ecg_time"), on="study_id")


def test_mimic_files_as_the_public_reader_sees_them():
    for row in whole_records().head(60).iter_rows(named=True):
        path = hospital() / row["path"]
        read = wfdb.rdrecord(str(path), physical=False)
        assert read.checksum == read.calc_checksum()
        assert read.sig_name == [*LEADS[:4], "aVF", "aVL", *LEADS[6:]]
        assert (read.fs, read.fmt, read.adc_gain, read.baseline) == (500, ["16"] * 12, [200.0] * 12, [0] * 12)
        assert read.sig_len == row["samples"] and path.with_suffix(".dat").stat().st_size == row["samples"] * 24
        assert read.comments[0] == f"<subject_id>: {row['subject_id']}"
        assert "synthetic" in read.comments[1]
        assert str(read.base_datetime) == row["ecg_time"]
        assert read.init_value == read.d_signal[0].tolist()


def test_mimic_leads_stand_under_their_names():
    whole = whole_records().filter(pl.col("fault").is_null()).head(30)
    for path in whole["path"]:
        read = wfdb.rdrecord(str(hospital() / path), physical=False)
        lead = dict(zip(read.sig_name, read.d_signal.T.astype(float), strict=True))
        assert np.abs(lead["II"] - lead["I"] / 2 - lead["aVF"]).max() <= 1.0
        assert np.abs(lead["I"] - lead["II"] / 2 - lead["aVL"]).max() <= 1.0


def test_mimic_tables_have_the_columns_of_the_release():
    listed = pl.read_csv(hospital() / "record_list.csv")
    machine = pl.read_csv(hospital() / "machine_measurements.csv")
    assert listed.columns == ["subject_id", "study_id", "file_name", "ecg_time", "path"]
    assert len(machine.columns) == 33 and machine.columns[-9:] == list(mimic_iv_ecg.COLUMNS)
    assert listed["study_id"].n_unique() == len(listed)
    assert listed["study_id"].cast(pl.String).str.starts_with("4").all()
    per_person = listed.group_by("subject_id").len()["len"]
    assert per_person.min() == 1 and 3 <= per_person.max() <= 8 and per_person.median() == 2
    for row in listed.head(20).iter_rows(named=True):
        who, what = str(row["subject_id"]), row["study_id"]
        assert row["path"] == f"files/p{who[:4]}/p{who}/s{what}/{what}"
    times = listed.with_columns(pl.col("ecg_time").str.to_datetime("%Y-%m-%d %H:%M:%S"))
    assert times["ecg_time"].dt.year().is_between(2110, 2225).all()


def test_machine_measures_what_was_drawn():
    machine = pl.read_csv(hospital() / "machine_measurements.csv").filter(pl.col("rr_interval") > 0)
    both = machine.join(truth(hospital(), "records"), on="study_id", suffix="_true")
    with_p = both.filter(pl.col("pr_interval").is_not_null())
    without = both.filter(pl.col("pr_interval").is_null())
    assert len(without) > 20
    assert (without.select("p_onset", "p_end", "p_axis") == 29_999).to_numpy().all()
    expected = {
        "pr_interval": with_p["qrs_onset"] - with_p["p_onset"],
        "p_duration": with_p["p_end"] - with_p["p_onset"],
        "qrs_duration": with_p["qrs_end"] - with_p["qrs_onset"],
        "qt_interval": with_p["t_end"] - with_p["qrs_onset"],
        "rr_interval_true": with_p["rr_interval"],
    }
    for name, measured in expected.items():
        error = (measured - with_p[name]).to_numpy()
        assert abs(np.median(error)) < 2.0 and np.abs(error).max() < 30.0, name
    atrial = (both["report_0"].str.starts_with("Atrial fibrillation")).to_numpy()
    # under a pacemaker the machine reads the pacemaker
    unpaced = (both["atrial_fibrillation"] & ~both["paced"]).to_numpy()
    np.testing.assert_array_equal(atrial, unpaced)
    reports = machine.select(f"report_{number}" for number in range(18)).to_numpy()
    blank = reports == None  # noqa: E711 - elementwise
    assert not blank[:, :2].any() and (np.diff(blank.astype(int), axis=1) >= 0).all(), "filled from the left"


def test_every_fault_is_in_the_files_and_in_the_truth():
    records = truth(hospital(), "records").join(pl.read_csv(hospital() / "record_list.csv"), on="study_id")
    seen = set()
    for row in records.filter(pl.col("fault").is_not_null() | pl.col("bad_file").is_not_null()).iter_rows(named=True):
        path = hospital() / row["path"]
        if row["bad_file"]:
            size = path.with_suffix(".dat").stat().st_size if path.with_suffix(".dat").exists() else 0
            assert size < row["samples"] * 24
            continue
        read = wfdb.rdrecord(str(path), physical=False)
        lead = read.d_signal[:, read.sig_name.index(row["fault_lead"])] if row["fault_lead"] else read.d_signal
        part = lead[row["fault_first"] : row["fault_last"]]
        seen.add(row["fault"])
        if row["fault"] == "short":
            assert read.sig_len == row["fault_first"] < 5000
        elif row["fault"] == "gap":
            assert (part == -32768).all() and len(part) > 50
        elif row["fault"] == "saturated":
            assert (part == 1000).all()
        elif row["fault"] in ("flat lead", "zeros at the end"):
            assert (part == 0).all()
    assert {"gap", "flat lead", "short", "arms exchanged"} <= seen
    clean = records.filter(pl.col("fault").is_null() & pl.col("bad_file").is_null())["path"].head(40)
    for path in clean:
        read = wfdb.rdrecord(str(hospital() / path), physical=False)
        assert (read.d_signal > -32768).all() and (np.ptp(read.d_signal, axis=0) > 10).all()


def test_arms_exchanged_turn_the_axis_over():
    records = truth(hospital(), "records")
    swapped = records.filter((pl.col("fault") == "arms exchanged") & pl.col("p_axis").is_not_null())
    usual = records.filter(pl.col("fault").is_null() & pl.col("p_axis").is_not_null())
    assert swapped["p_axis"].median() > 90.0 > usual["p_axis"].median() > 0.0


def test_positions_mark_the_waves_of_the_file():
    records = truth(clinic(), "records").filter(
        pl.col("fault").is_null() & (pl.col("rhythm") == "sinus rhythm") & (pl.col("conduction") == "normal")
    )
    beats = truth(clinic(), "beats")
    assert beats.columns[3:] == list(POSITIONS)
    ratios = []
    for row in records.head(25).iter_rows(named=True):
        read = wfdb.rdrecord(str(clinic() / row["path"][:-4]))
        signal = np.gradient(read.p_signal, axis=0)
        speed = np.sqrt((signal**2).sum(axis=1))
        inside = np.zeros(read.sig_len, dtype=bool)
        own = beats.filter((pl.col("record") == row["record"]) & (pl.col("kind") == "dominant"))
        for beat in own.drop_nulls(["qrs_on", "qrs_off"]).iter_rows(named=True):
            assert beat["qrs_on"] < beat["qrs_peak"] < beat["qrs_off"]
            inside[beat["qrs_on"] : beat["qrs_off"] + 1] = True
        ordered = own.drop_nulls()
        assert (ordered["p_on"] < ordered["p_peak"]).all() and (ordered["p_off"] <= ordered["qrs_on"] + 8).all()
        assert (ordered["t_peak"] < ordered["t_end"]).all()
        ratios.append(np.quantile(speed[inside], 0.6) / np.quantile(speed[~inside], 0.6))
    assert np.min(ratios) > 3.0, "the steep samples lie inside the QRS complexes"


def test_cohort_table_reads_on_its_own():
    cohort = pl.read_csv(clinic() / "cohort.csv")
    assert {"path", "patient", "age", "sex", "mPAP", "PAWP", "mPCWP", "PVR", "CO", "rhythm"} <= set(cohort.columns)
    assert cohort.null_count().sum_horizontal().item() == 0
    assert all((clinic() / path).is_file() for path in cohort["path"])
    pvr = (cohort["mPAP"] - cohort["PAWP"]) / cohort["CO"]
    assert (pvr - cohort["PVR"]).abs().max() < 0.051
    people = truth(clinic(), "patients")
    np.testing.assert_array_equal(people["mpap"], people["pawp"] + people["pvr"] * people["output"])
    both = cohort.join(people, on="patient")
    for label, latent in (("mPAP", "mpap"), ("PAWP", "pawp"), ("mPCWP", "pawp")):
        error = (both[label] - both[latent]).to_numpy()
        assert 1.2 < error.std() < 1.9 and abs(error.mean()) < 0.4
    assert cohort.group_by("patient").n_unique().drop("path").select(pl.col("mPAP").max()).item() == 1


@pytest.mark.parametrize("form", ["npy", "csv"])
def test_other_formats_hold_the_same_signals(form):
    root = ecg_cohort.synthesize(folder() / form, patients=8, seed=5, format=form, faults=10.0)
    for path in pl.read_csv(root / "cohort.csv")["path"]:
        original = wfdb.rdrecord(str(clinic() / Path(path).with_suffix("")))
        assert original.sig_name == list(LEADS)
        if form == "npy":
            values = np.load(root / path)
        else:
            table = pl.read_csv(root / path, schema_overrides=dict.fromkeys(LEADS, pl.Float64))
            assert table.columns == list(LEADS)
            values = table.to_numpy().T
        if truth(root, "records").filter(pl.col("path") == path)["fault"].is_null().item():
            np.testing.assert_allclose(values, original.p_signal.T, atol=1e-6)
    assert json.loads((root / "SYNTHETIC.json").read_text())["units"] == "mV"


@pytest.mark.parametrize("module", [mimic_iv_ecg, ecg_cohort])
def test_a_larger_cohort_begins_with_a_smaller_one(module, tmp_path):
    few = module.synthesize(tmp_path / "few", patients=7, seed=9)
    many = module.synthesize(tmp_path / "many", patients=30, seed=9)
    other = module.synthesize(tmp_path / "other", patients=7, seed=10)
    small, large = contents(few), contents(many)
    records = [name for name in small if name.startswith(("files", "records"))]
    assert len(records) >= 14 and all(small[name] == large[name] for name in records)
    assert not set(records) & set(contents(other))
    for name in ("patients", "records", "beats"):
        first, second = truth(few, name), truth(many, name)
        key = first.columns[0]
        kept = second.filter(pl.col(key).is_in(first[key].unique().implode()))
        assert first.sort(first.columns[:2]).equals(kept.sort(first.columns[:2]))


def test_the_number_of_workers_changes_no_byte(tmp_path):
    alone = ecg_cohort.synthesize(tmp_path / "alone", patients=BLOCK + 8, seed=9)
    shared = ecg_cohort.synthesize(tmp_path / "shared", patients=BLOCK + 8, seed=9, workers=2)
    assert contents(alone) == contents(shared)


def test_folders_are_marked_and_complete():
    for root, simulator in ((hospital(), "mimic_iv_ecg"), (clinic(), "ecg_cohort")):
        marker = json.loads((root / "SYNTHETIC.json").read_text())
        manifest = json.loads((root / "truth" / "manifest.json").read_text())
        assert marker["synthetic"] is True and marker["simulator"] == simulator
        assert manifest["records"] == len(truth(root, "records")) and manifest["beats"] == len(truth(root, "beats"))
        assert not root.with_name(root.name + ".partial").exists()
    sexes = pl.read_csv(hospital() / "mimic-iv" / "hosp" / "patients.csv.gz")
    both = sexes.join(truth(hospital(), "patients"), on="subject_id")
    assert len(both) == 200 and (both["gender"] == both["sex"]).all()
    assert ((both["anchor_age"] == both["age"].floor()) | (both["age"] >= 90)).all()


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (mimic_iv_ecg, {"patients": 0}),
        (mimic_iv_ecg, {"seed": -1}),
        (mimic_iv_ecg, {"faults": float("nan")}),
        (mimic_iv_ecg, {"plant": "heart"}),
        (ecg_cohort, {"patients": 10_000_000}),
        (ecg_cohort, {"format": "xml"}),
        (ecg_cohort, {"workers": 0}),
        (ecg_cohort, {"ceiling": 10}),
        (ecg_cohort, {"patients": 1_249_000, "ceiling": 2000}),
    ],
)
def test_a_bad_option_stops_before_anything_is_written(module, options, tmp_path):
    with pytest.raises(OptionError, match=next(iter(reversed(options)))):
        module.synthesize(tmp_path / "out", **{"patients": 3} | options)
    assert not list(tmp_path.iterdir())


def test_only_its_own_folders_are_replaced(tmp_path):
    out = ecg_cohort.synthesize(tmp_path / "out", patients=2)
    with pytest.raises(OptionError, match="overwrit"):
        ecg_cohort.synthesize(out, patients=3)
    ecg_cohort.synthesize(out, patients=3, overwrite=True)
    assert len(truth(out, "patients")) == 3
    with pytest.raises(OptionError, match="a cohort of ecg_cohort"):
        mimic_iv_ecg.synthesize(out, patients=2, overwrite=True)
    (out / "letter.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"also letter\.txt"):
        ecg_cohort.synthesize(out, patients=2, overwrite=True)
    assert (out / "letter.txt").read_text() == "mine" and len(truth(out, "patients")) == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(OptionError):
        mimic_iv_ecg.synthesize(tmp_path / "mine", patients=2, overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises((OptionError, StoreError)):
        ecg_cohort.synthesize(tmp_path / "file" / "below", patients=2)


def test_a_link_to_an_empty_folder_is_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    out = ecg_cohort.synthesize(tmp_path / "link", patients=2)
    assert len(truth(out, "patients")) == 2 and (tmp_path / "disk" / "SYNTHETIC.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]
    ecg_cohort.synthesize(tmp_path / "link", patients=3, overwrite=True)
    assert len(truth(tmp_path / "disk", "patients")) == 3


@pytest.mark.parametrize("out", [".", "/"])
def test_the_folder_one_is_in_is_not_replaced(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match="out is"):
        mimic_iv_ecg.synthesize(out, patients=2)
    assert not list(tmp_path.iterdir())
