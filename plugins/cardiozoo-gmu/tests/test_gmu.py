"""The gate against the equations by hand, and the public contract of a cardiozoo model."""

import torch
from cardiozoo_gmu.gmu import GatedMultimodalUnit

from cardiozoo.testing import check_model


def test_contract():
    check_model("gmu")


def test_rows_without_radiograph_pass_the_ehr_proposal_alone():
    torch.manual_seed(0)
    model = GatedMultimodalUnit(6, 3, hidden_size=5, num_layers=1, backbone="resnet18", image_width=4).eval()
    batch = {
        "id": ["a", "b"],
        "ehr": torch.randn(2, 4, 6),
        "ehr_lengths": torch.tensor([4, 2]),
        "cxr": torch.randn(2, 3, 32, 32),
        "present": {"ehr": torch.tensor([True, True]), "cxr": torch.tensor([True, False])},
    }
    fused = model.embed(batch)
    x_ehr = model.ehr_encoder(batch["ehr"], batch["ehr_lengths"])
    x_cxr = model.cxr_encoder(batch["cxr"][:1])
    h_ehr = torch.tanh(x_ehr @ model.propose_ehr.weight.T + model.propose_ehr.bias)
    h_cxr = torch.tanh(x_cxr @ model.propose_cxr.weight.T + model.propose_cxr.bias)
    z = torch.sigmoid(torch.cat([x_ehr[:1], x_cxr], 1) @ model.gate.weight.T + model.gate.bias)
    torch.testing.assert_close(fused[:1], z * h_ehr[:1] + (1 - z) * h_cxr)
    torch.testing.assert_close(fused[1], h_ehr[1])
