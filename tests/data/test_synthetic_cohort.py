"""The plan of the cohort holds in what is written: prevalence, pairing, codes, and labels that nothing else betrays."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import ranksums
from synthetic_cohort import clean, read, small, truth

from cardiozoo.data.ehr import PHENOTYPES, phenotypes
from cardiozoo.data.synthetic import block, calibrated, chest, outcomes, plants
from cardiozoo.data.synthetic import truth as judge
from cardiozoo.data.synthetic.calibrated import load_coefficients

LABELS = [f"label/{plant.label}" for plant in plants.PLANTS]
CODED = [f"coded/{plant.label}" for plant in plants.PLANTS]
ACUTE = (plants.RENAL, plants.ELECTROLYTES, plants.PNEUMONIA, plants.RESPIRATORY, plants.SEPSIS, plants.SHOCK)
COINS = (plants.COPD, plants.CONDUCTION, plants.LOWER_AIRWAY, plants.UPPER_AIRWAY, plants.PLEURA)


def within(count, total, share, sigmas=4.5):
    return abs(count - total * share) <= sigmas * np.sqrt(total * share * (1 - share))


def test_names_and_order_are_those_of_the_benchmark():
    assert tuple(plant.label for plant in plants.PLANTS) == tuple(PHENOTYPES)


@pytest.mark.parametrize("version", [9, 10])
def test_each_code_belongs_to_its_own_phenotype_only(version):
    for row, plant in enumerate(plants.PLANTS):
        codes = plant.icd9 if version == 9 else plant.icd10
        found = phenotypes(codes, version)
        assert found[:, row].all()
        assert found.sum() == len(codes)
    filler = plants.FILLER_ICD9 if version == 9 else plants.FILLER_ICD10
    assert not phenotypes(filler, version).any()
    assert np.flatnonzero(phenotypes([plants.SEPTIC_SHOCK], 10)[0]).tolist() == [plants.SEPSIS, plants.SHOCK]


def test_codes_written_give_back_the_coded_labels():
    root = clean()
    codes = read(root, "mimic-iv/hosp/diagnoses_icd")
    found = phenotypes(codes["icd_code"].to_list(), codes["icd_version"].cast(pl.Int64).to_list())
    table = pl.DataFrame({"hadm_id": codes["hadm_id"].cast(pl.Int64)}).hstack(pl.DataFrame(found, schema=CODED))
    admission = table.group_by("hadm_id").agg(pl.all().any())
    stays = truth(root)
    both = stays.select("hadm_id", *CODED).join(admission, on="hadm_id", suffix="_read")
    assert len(both) == len(stays)
    for name in CODED:
        assert (both[name] == both[f"{name}_read"]).all(), name


def test_prevalence_is_near_its_target():
    labels = truth(clean()).select(LABELS).to_numpy()
    # admissions of one person share their chronic conditions, hence bounds wider than binomial
    for row, plant in enumerate(plants.PLANTS):
        assert within(labels[:, row].sum(), len(labels), plant.prevalence, sigmas=5.5), plant.label


def test_coding_noise_has_the_stated_rates():
    stays = truth(clean())
    present, coded = stays.select(LABELS).to_numpy(), stays.select(CODED).to_numpy()
    assert within((present & ~coded).sum(), present.sum(), 0.02)
    assert 0 < (~present & coded).mean() < 0.004


def test_pairing_follows_severity_and_spares_private_labels():
    stays = truth(clean())
    paired = stays["has_cxr"].to_numpy()
    assert within(paired.sum(), len(stays), 0.19)
    severity = stays["severity"].to_numpy()
    assert severity[paired].mean() - severity[~paired].mean() > 0.5
    labels = stays.select(LABELS).to_numpy()
    for row in ACUTE:
        assert labels[paired, row].mean() > labels[~paired, row].mean(), row
    for row in COINS:
        assert ranksums(labels[paired, row], labels[~paired, row]).pvalue > 1e-3, row
        assert ranksums(severity[labels[:, row]], severity[~labels[:, row]]).pvalue > 1e-3, row


def test_deaths_lengths_and_disagreement_are_as_planned():
    stays = truth(clean())
    assert within(stays["dies"].sum(), len(stays), 0.081)
    assert 1.8 < np.median(stays["los_hours"]) / 24 < 2.5
    long = stays["los_hours"] >= 48
    assert within(long.sum(), len(stays), 0.51)
    paired = stays.filter("has_cxr")
    assert within(paired["disagree"].sum(), len(paired), 0.12)
    assert not stays.filter(~pl.col("has_cxr"))["disagree"].any()
    severity = stays["severity"].to_numpy()
    dies = stays["dies"].to_numpy()
    assert severity[dies].mean() - severity[~dies].mean() > 0.6


def test_age_alone_carries_lipid_disorders():
    stays = truth(clean())
    lipids = stays[f"label/{plants.PLANTS[plants.LIPIDS].label}"].to_numpy()
    age, severity = stays["age"].to_numpy(), stays["severity"].to_numpy()
    assert ranksums(age[lipids], age[~lipids]).pvalue < 1e-4
    assert ranksums(severity[lipids], severity[~lipids]).pvalue > 1e-3


def test_the_switch_makes_missingness_depend_on_pneumonia():
    index = np.arange(4000)
    odds = []
    for mnar in (False, True):
        part = block.draw_block(0, index, load_coefficients(), mnar, scale=0.0)
        pneumonia, filmed = part.present[:, plants.PNEUMONIA], part.outcomes.has_cxr
        odds.append(filmed[pneumonia].mean() / filmed[~pneumonia].mean())
    assert odds[1] > odds[0] * 1.25


def test_films_are_taken_inside_their_stay_and_old_ones_disagree():
    root = small()
    films, stays = truth(root, "films"), truth(root)
    linked = films.filter("linked").join(stays.select("stay_id", "los_hours", "disagree", "has_cxr"), on="stay_id")
    assert len(linked) > 10
    assert ((linked["hours"] >= 0) & (linked["hours"] <= linked["los_hours"])).all()
    assert linked["has_cxr"].all()
    assert (linked["old_state"] == linked["disagree"]).all()
    assert (films.filter(~pl.col("linked"))["hours"] < 0).all()
    assert set(stays.filter("has_cxr")["stay_id"]) == set(linked.filter(pl.col("view") == "AP")["stay_id"])


def test_an_old_film_shows_an_independent_state_of_the_lungs_of_the_same_person():
    part = block.draw_block(0, np.arange(3000), load_coefficients(), False, scale=0.0)
    now, earlier, failure = part.now, part.earlier, part.present[:, plants.FAILURE]
    assert ranksums(now.water[failure], now.water[~failure]).pvalue < 1e-20
    assert ranksums(earlier.water[failure], earlier.water[~failure]).pvalue > 1e-3
    np.testing.assert_array_equal(now.pacemaker, earlier.pacemaker)
    np.testing.assert_array_equal(now.wires, earlier.wires)


def test_poisson_counts_by_inversion():
    mean = np.full(20_000, 1.3)
    counts = outcomes._poisson(mean, (np.arange(20_000) + 0.5) / 20_000, limit=7)
    expected = np.exp(-1.3) * np.array([1, 1.3, 1.3**2 / 2, 1.3**3 / 6])
    np.testing.assert_allclose(np.bincount(counts)[:4] / 20_000, expected, atol=1e-4)


def test_the_shipped_coefficients_meet_the_planted_shifts():
    measured = calibrated.load_measured()
    np.testing.assert_allclose(measured["measured_d_ehr"], plants.TARGET_EHR, atol=0.1)
    np.testing.assert_allclose(measured["measured_d_cxr"], plants.TARGET_CXR, atol=0.16)
    assert np.abs(measured["measured_d_ehr"] - plants.TARGET_EHR).mean() < 0.05
    assert np.abs(measured["measured_d_cxr"] - plants.TARGET_CXR).mean() < 0.06


def test_the_plants_can_be_found_again_in_a_fresh_cohort():
    part = block.draw_block(77, np.arange(3000), load_coefficients(), False, scale=0.0)
    rounds, course, _ = block.unit_rounds(77, part)
    found = {
        "ehr": judge.oracle_auroc(judge.ehr_features(rounds, course, len(part.stays)), part.present),
        "cxr": judge.oracle_auroc(chest.oracle_features(part.now), part.present),
    }
    for modality, planted in (("ehr", plants.TARGET_EHR), ("cxr", plants.TARGET_CXR)):
        expected = judge.area_of(planted)
        count = part.present.sum(axis=0)
        error = np.sqrt(expected * (1 - expected) / count)  # above the Hanley-McNeil error for the smaller class
        strong, absent = planted >= 0.8, planted == 0
        assert (found[modality] > expected - 3 * error - 0.03)[strong].all(), modality
        assert (found[modality] < expected + 3 * error)[strong].all(), modality
        assert (np.abs(found[modality] - 0.5) < 3 * error + 0.03)[absent].all(), modality
