"""Names of leads in every spelling met, and the choice of leads by an option."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from cardiozoo.data.ecg import CHEST_LEADS, LEADS, LIMB_LEADS, canonical_lead, choose_leads, lead_and_sign
from cardiozoo.data.ecg_record import millivolt_per_unit, parse_age, parse_sex
from cardiozoo.errors import OptionError, RecordError

SPELLINGS = {
    "I": ["i", "I ", "DI", "D1", "Lead I", "lead I (Einthoven)", "MDC_ECG_LEAD_I", "5.6.3-9-1", "I (mV)", "I_uV", "+I"],
    "II": ["ii", "DII", "ECG1:II", "ECG II", "ekg_ii", "2:2", "II [uV]", "ECG Lead II"],
    "III": ["DIII", "Lead III", "5.6.3-9-61"],
    "aVR": ["AVR", "avr", "Lead aVR", "MDC_ECG_LEAD_AVR", "2:62"],
    "aVL": ["AVL", "aVL\t"],
    "aVF": ["AVF", "Avf"],
    "V1": ["v1", "C1", "C1 (V1)", "V1 {V}", "Lead V1", "ECG_V1", "MDC_ECG_LEAD_V1", "5.6.3-9-3"],
    "V4": ["V4_µV", "V4 [4.88 µV]", "V4 (uV/LSB)", "V4 (1e-4 V)", "V4 (adu)", "V4 (\ufffdV)"],
    "V5": ["V5 (Wilson) [\u03bcV]", "V5 ()", "V5 (+)", "V5 (uVperLsb)", "V5 (millivolts)"],
    "V6": ["v6", "c6", "5.6.3-9-8"],
}


@pytest.mark.parametrize(("lead", "name"), [(lead, name) for lead, names in SPELLINGS.items() for name in names])
def test_every_spelling_means_its_lead(lead: str, name: str) -> None:
    assert canonical_lead(name) == lead and lead_and_sign(name) == (lead, 1)


def test_each_lead_is_its_own_name_and_so_is_any_case_of_it() -> None:
    assert tuple(map(canonical_lead, LEADS)) == LEADS
    assert tuple(canonical_lead(lead.upper()) for lead in LEADS) == LEADS
    assert tuple(canonical_lead(lead.lower()) for lead in LEADS) == LEADS


@pytest.mark.parametrize(
    "name", ["vx", "MLII", "V7", "V4R", "1", "lead1", "lead 12", "", "resp", "aV", "IIII", "V", "VI"]
)
def test_what_is_no_standard_lead_is_none(name: str) -> None:
    assert canonical_lead(name) is None and lead_and_sign(name) is None


def test_brackets_may_make_another_lead() -> None:
    for name in ("V4(R)", "V4 [R]", "V4 (r) (mV)", "V3(L)", "V1 (V2)", "II (2)", "I (mmHg)", "-aVR (-)", "(mV)"):
        assert lead_and_sign(name) is None
    assert lead_and_sign("aVR (inverted)") is None  # which may have been done to the lead, or be due to it


def test_a_lead_stored_upside_down_is_not_taken_for_the_lead() -> None:
    for name in ("-aVR", "−AVR", "Lead -aVR", "-aVR (mV)", "aVR(-)", "AVR (−)", "Lead aVR [-] (uV)", "aVR (mV) (-)"):
        assert canonical_lead(name) is None and lead_and_sign(name) == ("aVR", -1)


def test_leads_are_chosen_by_group_or_name_and_ordered() -> None:
    assert choose_leads("all") == LEADS and choose_leads("Limb") == LIMB_LEADS and choose_leads("chest") == CHEST_LEADS
    assert choose_leads("V1, ii I") == ("I", "II", "V1") == choose_leads(["v1", "DII", "Lead I"])


@pytest.mark.parametrize("leads", ["V9", [], "", "I,1", ["II", "ii"], ["-aVR"], "limbs"])
def test_wrong_choices_are_refused_in_three_parts(leads: str | list[str]) -> None:
    with pytest.raises(OptionError) as error:
        choose_leads(leads)
    assert error.value.came and "aVF" in error.value.accepted and error.value.next_step


def test_units_become_millivolt() -> None:
    for text, factor in {
        "mV": 1,
        "mv": 1,
        "": 1,
        "uV": 1e-3,
        "µV": 1e-3,
        "V": 1e3,
        "nV": 1e-6,
        "4.88uV": 4.88e-3,
    }.items():
        assert millivolt_per_unit(text) == pytest.approx(factor)
    assert millivolt_per_unit("1e-4 V") == pytest.approx(0.1) and millivolt_per_unit("MICROVOLTS") == pytest.approx(
        1e-3
    )
    assert {millivolt_per_unit(text) for text in ("mmHg", "NU", "0mV", "?", "1e999V", ".uV")} == {None}


def test_age_and_sex_as_headers_state_them() -> None:
    assert [parse_age(text) for text in ("81", "nan", "-3", "300", None, "n/a", "0")] == [
        81,
        None,
        None,
        None,
        None,
        None,
        0,
    ]
    assert [parse_sex(text) for text in ("Female", "male", "F", "Unknown", "", None)] == [
        "F",
        "M",
        "F",
        None,
        None,
        None,
    ]


def test_a_record_error_survives_the_way_out_of_a_worker_process() -> None:
    error = RecordError("came", "accepted", "next", reason="too short")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.came, copy.accepted, copy.next_step, copy.reason) == ("came", "accepted", "next", "too short")
    assert str(copy) == str(error) and np.isscalar(copy.reason)
