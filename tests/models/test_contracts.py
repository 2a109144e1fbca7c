"""Every built-in model keeps the contract of the zoo."""

import pytest

from cardiozoo.testing import model_checks

MISSING = {"cxr_resnet": ["cxr"]}
# short, and no multiple of 8, which the number of frames would hide
SHORT = {"ecg": (12, 203)}
CLINICAL = ("ehr_lstm", "ehr_transformer", "cxr_resnet", "medfuse", "drfuse")
GENERATIVE = ("ls_emvae", "mvae", "mopoe_vae", "beta_vae")
SUPERVISED = ("multimodal_cnn", "resnet1d", "xresnet1d101")


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{name}-{check}")
        for name in (*CLINICAL, *GENERATIVE, *SUPERVISED)
        for check in model_checks(name, missing=MISSING.get(name), shapes=SHORT if name in GENERATIVE else None)
    ],
)
def test_contract(check):
    check()
