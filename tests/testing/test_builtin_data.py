"""`mimic_cxr_ehr` keeps the contract of data modules, in every kind of task."""

import pytest

from cardiozoo.testing import check_datamodule

OPTIONS = {
    "phenotyping": {"cxr_dropout": 0.3, "unimodal_fraction": 0.5},
    "in_hospital_mortality": {"window": "auto", "pairing": "paired"},
    "length_of_stay": {"window": "auto"},
    "radiology": {"window": "auto", "uncertain_labels": "mask"},
}


@pytest.mark.parametrize("task", OPTIONS)
def test_contract(mini_store, task):
    check_datamodule("mimic_cxr_ehr", store=str(mini_store), task=task, **OPTIONS[task])
