"""The synthetic cohort goes through the same preparation as the real releases, and comes out as the truth says."""

import json

import numpy as np
import polars as pl
import pytest
from synthetic_cohort import truth

from cardiozoo.data.prepare.mimic_cxr_ehr import prepare
from cardiozoo.data.synthetic.mimic_cxr_ehr import synthesize


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return synthesize(tmp_path_factory.mktemp("raw") / "cohort", patients=90, seed=4, image_size=64, dirt=0.01)


@pytest.fixture(scope="module")
def store(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("store") / "synthetic"
    return prepare(cohort / "mimic-iv", out, cohort / "mimic-cxr", workers=1, memory_gb=1.0, quiet=True)


def test_the_store_knows_that_it_is_synthetic(store):
    manifest = json.loads((store / "manifest.json").read_text())
    assert manifest["synthetic"] is True
    assert manifest["simulator"]["seed"] == 4


def test_stays_and_labels_are_those_of_the_truth(cohort, store):
    stays, told, dirt = pl.read_parquet(store / "stays.parquet"), truth(cohort), truth(cohort, "dirt")

    def listed(kind, column):
        return set(dirt.filter(pl.col("kind") == kind)[column])

    moved, silent = listed("transfer between units", "stay_id"), listed("stay without events", "stay_id")
    second = dict(dirt.filter(pl.col("kind") == "second stay of an admission").select("hadm_id", "stay_id").rows())
    assert moved & set(second.values())  # such an admission has one stay left, and keeps it
    kept = {
        stay
        for stay, admission in told.select("stay_id", "hadm_id").rows()
        if stay not in moved | silent and (admission not in second or second[admission] in moved)
    }
    assert set(stays["stay_id"]) == kept
    both = stays.join(told, on="stay_id", suffix="_told")
    assert (both["mortality"] == both["dies"]).all()
    np.testing.assert_allclose(both["los_hours"], both["los_hours_told"], atol=0.02)
    names = [name.removeprefix("coded/") for name in told.columns if name.startswith("coded/")]
    found = both.select(f"phenotype/{name}" for name in names).to_numpy()
    planted = both.select(f"coded/{name}" for name in names).to_numpy()
    assert (found != planted).sum() <= 2  # a code that lost its zeros, or is newer than the mapping, may be lost


def test_films_are_linked_to_the_stays_that_had_them(cohort, store):
    stays = pl.read_parquet(store / "stays.parquet").with_row_index("row")
    links = pl.read_parquet(store / "links.parquet")
    paired = set(stays.filter(pl.col("row").is_in(links["stay"].unique().to_list()))["stay_id"])
    films = truth(cohort, "films").filter(pl.col("linked") & pl.col("view").is_in(["AP", "PA"]))
    readable = films.filter(pl.col("fault").is_null() | pl.col("fault").is_in(["16-bit file", "colour file"]))
    told = set(readable["stay_id"]) & set(stays["stay_id"])
    assert paired == told
    assert len(paired) >= 5
