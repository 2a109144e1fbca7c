"""The image baseline learns from rows with a radiograph only."""

import torch

from cardiozoo.models.cxr_resnet import CxrResNet
from cardiozoo.testing import make_batch

PRESENT = {"cxr": [True, False, True, False]}


def resnet(**init):
    torch.manual_seed(0)
    return CxrResNet(**{"num_classes": 3, "backbone": "resnet18", "image_width": 4, **init})


def test_rows_without_a_radiograph_enter_neither_loss_nor_metrics():
    model, batch = resnet().eval(), make_batch(["cxr"], size=4, present=PRESENT)
    changed = {**batch, "target": torch.where(batch["present"]["cxr"][:, None], batch["target"], 1 - batch["target"])}
    terms = [model.loss_terms(b, model(b))["prediction"].total() for b in (batch, changed)]
    torch.testing.assert_close(*terms)
    for b in (batch, changed):
        model.validation_step(b)
    targets = torch.cat(model.meters["val"].ranking.targets)
    assert targets.isnan().all(1).tolist() == [False, True, False, True] * 2


def test_their_score_is_the_bias_alone_and_their_target_is_kept():
    model, batch = resnet().eval(), make_batch(["cxr"], size=4, present=PRESENT)
    record = model.predict_step(batch)
    torch.testing.assert_close(record["score"][1], model.head.bias.sigmoid())
    assert torch.equal(record["score"][1], record["score"][3]) and torch.equal(record["target"], batch["target"])


def test_embedding_size_projects():
    model = resnet(embedding_size=5).eval()
    assert model.embed(make_batch(["cxr"], size=2)).shape == (2, 5)
