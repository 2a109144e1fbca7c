"""Every built-in model keeps the contract of the zoo."""

import pytest

from cardiozoo.testing import model_checks

MODELS = {"ehr_lstm": None, "ehr_transformer": None, "cxr_resnet": ["cxr"], "medfuse": None, "drfuse": None}


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{name}-{check}")
        for name, missing in MODELS.items()
        for check in model_checks(name, missing=missing)
    ],
)
def test_contract(check):
    check()
