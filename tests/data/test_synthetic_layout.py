"""The synthetic cohort has the layout of the public releases, and says everywhere that it is synthetic."""

import gzip
import json

import numpy as np
import polars as pl
import pytest
from PIL import Image
from synthetic_cohort import read, small, truth

from cardiozoo.data.prepare.release import same_simulation

HEADERS = {
    "mimic-iv/hosp/patients": "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
    "mimic-iv/hosp/admissions": "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admit_provider_id,"
    "admission_location,discharge_location,insurance,language,marital_status,race,edregtime,edouttime,"
    "hospital_expire_flag",
    "mimic-iv/hosp/diagnoses_icd": "subject_id,hadm_id,seq_num,icd_code,icd_version",
    "mimic-iv/hosp/labevents": "labevent_id,subject_id,hadm_id,specimen_id,itemid,order_provider_id,charttime,"
    "storetime,value,valuenum,valueuom,ref_range_lower,ref_range_upper,flag,priority,comments",
    "mimic-iv/hosp/d_labitems": "itemid,label,fluid,category",
    "mimic-iv/icu/icustays": "subject_id,hadm_id,stay_id,first_careunit,last_careunit,intime,outtime,los",
    "mimic-iv/icu/chartevents": "subject_id,hadm_id,stay_id,caregiver_id,charttime,storetime,itemid,value,valuenum,"
    "valueuom,warning",
    "mimic-iv/icu/d_items": "itemid,label,abbreviation,linksto,category,unitname,param_type,lownormalvalue,"
    "highnormalvalue",
    "mimic-cxr/mimic-cxr-2.0.0-metadata": "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,"
    "Rows,Columns,StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
    "PatientOrientationCodeSequence_CodeMeaning",
    "mimic-cxr/mimic-cxr-2.0.0-split": "dicom_id,study_id,subject_id,split",
}
LABELS = (
    "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,"
    "No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
)
HEADERS |= {f"mimic-cxr/mimic-cxr-2.0.0-{tool}": f"subject_id,study_id,{LABELS}" for tool in ("chexpert", "negbio")}


@pytest.mark.parametrize("name", HEADERS)
def test_columns_are_those_of_the_release(name):
    with gzip.open(small() / f"{name}.csv.gz", "rt") as handle:
        assert handle.readline().rstrip("\n") == HEADERS[name]
        assert handle.readline()


@pytest.mark.parametrize("name", HEADERS)
def test_gzip_header_carries_no_time(name):
    assert (small() / f"{name}.csv.gz").read_bytes()[4:8] == b"\0\0\0\0"


def test_ids_lead_from_table_to_table():
    root = small()
    patients = set(read(root, "mimic-iv/hosp/patients")["subject_id"])
    admissions = read(root, "mimic-iv/hosp/admissions")
    stays = read(root, "mimic-iv/icu/icustays")
    chart = read(root, "mimic-iv/icu/chartevents")
    assert len(patients) == 60
    assert set(admissions["subject_id"]) == patients
    for table in (stays, chart, read(root, "mimic-iv/hosp/diagnoses_icd")):
        assert set(table["hadm_id"]) <= set(admissions["hadm_id"])
        pairs = table.select("subject_id", "hadm_id").unique()
        assert pairs.join(admissions, on=["subject_id", "hadm_id"]).height == pairs.height
    assert set(chart["stay_id"]) <= set(stays["stay_id"])
    assert set(chart["itemid"]) <= set(read(root, "mimic-iv/icu/d_items")["itemid"])
    assert set(read(root, "mimic-iv/hosp/labevents")["itemid"]) <= set(read(root, "mimic-iv/hosp/d_labitems")["itemid"])
    for column, digit, table in (("subject_id", "1", stays), ("hadm_id", "2", stays), ("stay_id", "3", stays)):
        assert table[column].str.contains(f"^{digit}[0-9]{{7}}$").all()
    assert admissions["hadm_id"].n_unique() == len(admissions)
    assert stays["stay_id"].n_unique() == len(stays)


def test_times_of_a_stay_are_in_order():
    root = small()
    admissions = read(root, "mimic-iv/hosp/admissions").with_columns(pl.col("^.*time$").str.to_datetime())
    stays = read(root, "mimic-iv/icu/icustays").with_columns(pl.col("^.*time$").str.to_datetime())
    both = stays.join(admissions, on="hadm_id")
    assert (both["admittime"] <= both["intime"]).all()
    assert (both["intime"] < both["outtime"]).all()
    assert (both["outtime"].dt.truncate("1m") <= both["dischtime"]).all()
    length = (both["outtime"] - both["intime"]).dt.total_seconds() / 86400
    np.testing.assert_allclose(both["los"].cast(pl.Float64), length, atol=1e-9)
    dead = both.filter(pl.col("hospital_expire_flag") == "1")
    assert len(dead) > 0
    assert (dead["deathtime"] == dead["dischtime"]).all()
    assert both.filter(pl.col("hospital_expire_flag") == "0")["deathtime"].is_null().all()


def test_every_image_lies_where_its_row_says_and_is_marked():
    root = small()
    metadata = read(root, "mimic-cxr/mimic-cxr-2.0.0-metadata")
    faults = dict(truth(root, "films").select("dicom_id", "fault").rows())
    swapped = set(truth(root, "dirt").filter(pl.col("kind") == "rows and columns exchanged")["written"])
    seen = 0
    for row in metadata.iter_rows(named=True):
        subject, study, name = row["subject_id"], row["study_id"], row["dicom_id"]
        path = root / f"mimic-cxr/files/p{subject[:2]}/p{subject}/s{study}/{name}.jpg"
        assert path.exists() == (faults[name] != "missing file")
        if faults[name] is None:
            with Image.open(path) as image:
                assert (image.format, image.mode) == ("JPEG", "L")
                assert b"synthetic" in image.info["comment"]
                assert min(image.size) == 128
                stated = (int(row["Columns"]), int(row["Rows"]))
                relative = str(path.relative_to(root / "mimic-cxr"))
                assert image.size == (stated[::-1] if relative in swapped else stated)
            seen += 1
    assert seen >= 15
    files = list((root / "mimic-cxr" / "files").rglob("*.jpg"))
    assert len(files) == sum(fault != "missing file" for fault in faults.values())


def test_study_times_are_numbers_without_leading_zeros():
    metadata = read(small(), "mimic-cxr/mimic-cxr-2.0.0-metadata")
    assert metadata["StudyDate"].str.contains("^2[0-9]{7}$").all()
    times = metadata["StudyTime"].cast(pl.Float64)
    assert ((times % 100 < 60) & (times // 100 % 100 < 60) & (times < 240000)).all()


def test_every_folder_says_that_it_is_synthetic():
    root = small()
    marks = [json.loads((root / folder / "SYNTHETIC.json").read_text()) for folder in (".", "mimic-iv", "mimic-cxr")]
    assert marks[0].pop("contents") == ["mimic-cxr", "mimic-iv", "truth"]
    assert marks[0] == marks[1] == marks[2]
    assert marks[0]["synthetic"] is True
    assert (marks[0]["seed"], marks[0]["patients"]) == (3, 60)
    manifest = json.loads((root / "truth" / "manifest.json").read_text())
    assert manifest["synthetic"] is True
    assert len(manifest["classes"]) == 25


def test_the_whole_folder_and_one_of_its_releases_are_of_one_simulation():
    root = small()
    assert same_simulation([root], [root / "mimic-cxr"]) == same_simulation([root / "mimic-iv"], [root])
    assert same_simulation([root], [root / "mimic-cxr"])["seed"] == 3


def test_truth_has_one_row_a_main_stay():
    root = small()
    stays, units = truth(root), read(root, "mimic-iv/icu/icustays")
    assert stays["stay_id"].n_unique() == len(stays)
    second = set(truth(root, "dirt").filter(pl.col("kind") == "second stay of an admission")["stay_id"])
    assert set(stays["stay_id"]) | second == set(units["stay_id"].cast(pl.Int64))
    assert not set(stays["stay_id"]) & second
    np.testing.assert_allclose(
        stays["circulation/mpap"],
        stays["circulation/pawp"] + stays["circulation/pvr"] * stays["circulation/output"],
        rtol=1e-12,
    )
