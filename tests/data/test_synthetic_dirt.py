"""Every dirty row that the truth lists is in the tables as listed, and without dirt there is none."""

import numpy as np
import polars as pl
import pytest
from PIL import Image, UnidentifiedImageError
from synthetic_cohort import clean, read, small, truth

from cardiozoo.data.synthetic import archive
from cardiozoo.data.synthetic.archive import BAD_FILES, Archive
from cardiozoo.data.synthetic.dirt import Ledger

KINDS = {
    "zero heart rate", "absurd number", "pressure as a pair", "absurd mean pressure", "negative mean pressure",
    "saturation as a fraction", "Fahrenheit in the Celsius item", "zero temperature", "oxygen as a fraction",
    "glucose above the meter", "glucose without number", "pounds in the kilogram item", "zero weight",
    "inches in the centimetre item", "unknown text", "value without number", "admission not named",
    "stored before charted", "duplicated row", "before admission to the unit", "after discharge from the unit",
    "lost leading zero", "trailing blanks", "transfer between units", "second stay of an admission",
}  # fmt: skip


def ledger():
    return truth(small(), "dirt").with_columns(pl.col("charttime").dt.strftime("%Y-%m-%d %H:%M:%S"))


def test_every_kind_occurs_where_dirt_is_plenty():
    assert set(ledger()["kind"]) >= KINDS


@pytest.mark.parametrize("name", ["icu/chartevents", "hosp/labevents"])
def test_listed_rows_are_in_the_table(name):
    table = read(small(), f"mimic-iv/{name}")
    listed = ledger().filter((pl.col("table") == name.split("/")[1]) & pl.col("written").is_not_null())
    keys = ["subject_id", "itemid", "charttime"]
    listed = listed.with_columns(pl.col("subject_id", "itemid").cast(pl.String)).with_row_index("entry")
    found = listed.join(table, on=keys).filter(pl.col("written") == pl.col("value"))
    assert len(listed) > 20
    assert found["entry"].n_unique() == len(listed)


def test_what_each_kind_says_is_what_the_row_shows():
    table = read(small(), "mimic-iv/icu/chartevents")
    listed = ledger().filter(pl.col("table") == "chartevents")
    listed = listed.with_columns(pl.col("subject_id", "stay_id", "itemid").cast(pl.String))
    keys = ["stay_id", "itemid", "charttime"]

    def of(kind):
        rows = listed.filter(pl.col("kind") == kind).join(table, on=keys)
        rows = rows.filter(pl.col("written") == pl.col("value"))
        assert len(rows) > 0, kind
        return rows

    assert (
        of("stored before charted").group_by(keys).agg((pl.col("storetime") < pl.col("charttime")).any())["storetime"]
    ).all()
    assert (of("duplicated row").group_by(keys).len()["len"] >= 2).all()
    pair = of("pressure as a pair")
    assert pair["value"].str.contains("^[0-9]+/[0-9]+$").all()
    assert pair["valuenum"].is_null().all()
    assert (of("Fahrenheit in the Celsius item")["valuenum"].cast(pl.Float64) > 79).all()
    assert (of("saturation as a fraction")["valuenum"].cast(pl.Float64) <= 1).all()
    kilograms = of("pounds in the kilogram item")
    ratio = kilograms["written"].cast(pl.Float64) / kilograms["clean"].cast(pl.Float64)
    np.testing.assert_allclose(ratio, 2.2046, atol=0.005)
    stays = read(small(), "mimic-iv/icu/icustays").select("stay_id", "intime", "outtime")
    assert (
        (of("before admission to the unit").join(stays, on="stay_id").select(pl.col("charttime") < pl.col("intime")))
        .to_series()
        .all()
    )
    assert (
        (of("after discharge from the unit").join(stays, on="stay_id").select(pl.col("charttime") > pl.col("outtime")))
        .to_series()
        .all()
    )


def test_structure_and_codes_are_dirty_as_listed():
    root, listed = small(), ledger()
    stays = read(root, "mimic-iv/icu/icustays").with_columns(pl.col("stay_id", "hadm_id").cast(pl.Int64))
    moved = set(listed.filter(pl.col("kind") == "transfer between units")["stay_id"])
    assert moved == set(stays.filter(pl.col("first_careunit") != pl.col("last_careunit"))["stay_id"])
    twice = set(listed.filter(pl.col("kind") == "second stay of an admission")["hadm_id"])
    assert twice == set(stays.group_by("hadm_id").len().filter(pl.col("len") > 1)["hadm_id"])
    charted = set(read(root, "mimic-iv/icu/chartevents")["stay_id"].cast(pl.Int64))
    silent = set(listed.filter(pl.col("kind") == "stay without events")["stay_id"])
    assert silent == set(stays["stay_id"]) - charted
    codes = read(root, "mimic-iv/hosp/diagnoses_icd").with_columns(pl.col("hadm_id").cast(pl.Int64))
    wrong = listed.filter(pl.col("table") == "diagnoses_icd").join(
        codes, left_on=["hadm_id", "written"], right_on=["hadm_id", "icd_code"]
    )
    assert (
        wrong.select("hadm_id", "written").n_unique()
        == listed.filter(pl.col("table") == "diagnoses_icd").select("hadm_id", "written").n_unique()
    )
    lost = listed.filter(pl.col("kind") == "lost leading zero")
    assert (("0" + lost["written"]) == lost["clean"]).all()


def test_laboratory_rows_without_admission_are_listed():
    table = read(small(), "mimic-iv/hosp/labevents")
    listed = ledger().filter(pl.col("kind") == "admission not named")
    assert table["hadm_id"].null_count() == len(listed) > 0


def test_without_dirt_the_tables_are_clean():
    root = clean()
    assert len(truth(root, "dirt")) == 0
    stays = read(root, "mimic-iv/icu/icustays")
    assert stays["hadm_id"].n_unique() == len(stays)
    assert (stays["first_careunit"] == stays["last_careunit"]).all()
    chart = read(root, "mimic-iv/icu/chartevents")
    assert chart["stay_id"].n_unique() == len(stays)
    assert (chart["storetime"] >= chart["charttime"]).all()
    assert chart.select("stay_id", "charttime", "itemid").is_unique().all()
    inside = chart.select("stay_id", "charttime").join(stays.select("stay_id", "intime", "outtime"), on="stay_id")
    assert ((inside["charttime"] >= inside["intime"]) & (inside["charttime"] <= inside["outtime"])).all()
    number = chart["valuenum"].cast(pl.Float64)
    assert number.max() < 1000
    assert number.min() > 0
    assert read(root, "mimic-iv/hosp/labevents")["hadm_id"].null_count() == 0


@pytest.mark.parametrize("fault", range(3))
def test_bad_files_are_bad_as_named(tmp_path, fault):
    picture = np.random.default_rng(0).integers(0, 255, (160, 128)).astype(np.uint8)
    content = Archive(tmp_path, 0, 128, 0.002)._content(picture, 95, fault)
    path = tmp_path / "film.jpg"
    path.write_bytes(content)
    if BAD_FILES[fault] == "truncated file":
        with Image.open(path) as image, pytest.raises((OSError, UnidentifiedImageError)):
            image.load()
        return
    with Image.open(path) as image:
        image.load()
        assert image.mode == {"16-bit file": "I;16", "colour file": "RGB"}[BAD_FILES[fault]]
        assert image.size == (128, 160)


def test_bad_files_occur_at_their_rate_and_are_listed():
    films = truth(small(), "films")
    bad = films.filter(pl.col("fault").is_not_null())
    listed = truth(small(), "dirt").filter(pl.col("table") == "files")
    assert len(bad) == len(listed)
    assert set(listed["kind"]) <= set(archive.BAD_FILES)
    assert (bad.sort("dicom_id")["fault"] == listed.sort(pl.col("written").str.slice(-48))["kind"]).all()
    assert Ledger().table().schema == listed.schema
