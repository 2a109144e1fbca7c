"""Sizes of the published networks, as the papers' code has them and as the cards say."""

from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

import cardiozoo.models
from cardiozoo.models.cxr_resnet import CxrResNet
from cardiozoo.models.drfuse import DrFuse
from cardiozoo.models.ehr_lstm import EhrLstm
from cardiozoo.models.ehr_transformer import EhrTransformer
from cardiozoo.models.medfuse import MedFuse

CARDS = sorted(Path(cardiozoo.models.__file__).parent.glob("*.yaml"))
ONE = {"num_classes": 1, "task_kind": "binary"}


@pytest.mark.parametrize(
    ("cls", "init", "expected"),
    [
        (EhrLstm, {}, 874_777),
        (EhrLstm, ONE, 868_609),
        (EhrTransformer, {}, 2_745_881),
        (CxrResNet, {"num_classes": 25}, 21_297_497),
        (CxrResNet, {"num_classes": 14}, 21_291_854),
        (CxrResNet, ONE, 21_285_185),
        (CxrResNet, {"num_classes": 25, "backbone": "resnet50", "embedding_size": 256}, 24_032_576 + 6_425),
        (MedFuse, {}, 23_874_137),
        (MedFuse, ONE, 23_861_825),
        (DrFuse, {}, 54_240_932),
        # a second stem: 7 x 7 x 3 x 64 weights and the two vectors of its BatchNorm
        (DrFuse, {"share_stem": False}, 54_240_932 + 9_536),
        (DrFuse, {"shared_project": False}, 54_240_932 - 328_704),
        # one more layer of 256 x 256 in each of three heads
        (DrFuse, {"aux_heads": "mlp"}, 54_240_932 + 3 * (256 * 256 + 256)),
        (DrFuse, {"attention_bias": False}, 54_240_932 - 27 * 256),
    ],
)
def test_parameters(cls, init, expected):
    with torch.device("meta"):
        model = cls(**init)
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_card_is_complete_and_states_the_count_of_its_defaults(path):
    card = yaml.safe_load(path.read_text())
    module = import_module(f"cardiozoo.models.{path.stem}")
    (cls,) = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    with torch.device("meta"):
        default = sum(p.numel() for p in cls(**({"num_classes": 25} if cls is CxrResNet else {})).parameters())
    assert default in [entry["count"] for entry in card["parameters"]]
    assert card["name"] == path.stem
    for row in card["departures"]:
        assert set(row) == {"topic", "paper", "released", "here", "option"}
        assert all(isinstance(text, str) and text for text in row.values())


def test_every_model_has_a_card():
    with_class = {path.stem for path in CARDS[0].parent.glob("*.py") if "(ZooModel)" in path.read_text()}
    assert with_class == {path.stem for path in CARDS}
