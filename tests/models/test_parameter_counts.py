"""Sizes of the published networks, as the papers' code has them and as the cards say."""

from pathlib import Path

import pytest
import torch
import yaml

import cardiozoo.models
from cardiozoo.data.ecg import LIMB_LEADS
from cardiozoo.models.beta_vae import BetaVae
from cardiozoo.models.cxr_resnet import CxrResNet
from cardiozoo.models.drfuse import DrFuse
from cardiozoo.models.ehr_lstm import EhrLstm
from cardiozoo.models.ehr_transformer import EhrTransformer
from cardiozoo.models.ls_emvae import LsEmvae
from cardiozoo.models.medfuse import MedFuse
from cardiozoo.models.mopoe_vae import MopoeVae
from cardiozoo.models.multimodal_cnn import MultimodalCnn
from cardiozoo.models.mvae import Mvae
from cardiozoo.models.resnet1d import ResNet1d
from cardiozoo.models.xresnet1d101 import XResNet1d101
from cardiozoo.registry import registered, resolve

CARDS = sorted(Path(cardiozoo.models.__file__).parent.glob("*.yaml"))
ONE = {"num_classes": 1, "task_kind": "binary"}
BEAT = {"network": "beat", "ecg_samples": 400}
TWO = {"num_classes": 2, "task_kind": "multiclass"}
LIMB = {"ecg_leads": ["I", "II", "III", "aVR", "aVL", "aVF"]}


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
        # 12 encoders of 20,488,352 and one decoder; the gate's 512 + 13 and 12 lead vectors of 256
        (LsEmvae, {"fusion": "released", "decoder": "single"}, 256_150_577),
        (LsEmvae, {"gate": "uniform", "decoder": "single"}, 256_150_577),
        (LsEmvae, {}, 256_150_577 + 525 + 3_072),
        (LsEmvae, {"decoder": "multichannel"}, 256_150_577 + 525 + 11 * (16 * 4 + 1)),
        (LsEmvae, {"ecg_leads": ["I", "II"], "fusion": "released", "decoder": "single"}, 2 * 20_488_352 + 10_290_353),
        (Mvae, {}, 369_344_460),
        (MopoeVae, {}, 369_344_460),
        (BetaVae, {}, 61_771_340),
        # 6 input and 6 output channels fewer: kernels of 4 x 32, and a bias each of the outputs
        (BetaVae, {"ecg_leads": list(LIMB_LEADS)}, 61_771_340 - 2 * 6 * 4 * 32 - 6),
        # the published counts hold a classifier of (latent + 2) x 3 weights and 3 biases
        (BetaVae, {**BEAT, "latent_size": 50}, 661_188 - 159),
        (BetaVae, {**BEAT, "latent_size": 2}, 218_580 - 15),
        (BetaVae, {**BEAT, "latent_size": 10}, 292_348 - 39),
        (BetaVae, {**BEAT, "latent_size": 256}, 2_560_714 - 777),
        (MultimodalCnn, TWO, 123_370_754),
        (MultimodalCnn, {**TWO, **LIMB}, 61_685_570),
        # the released class builds one more BatchNorm of 64 channels and never uses it
        (ResNet1d, TWO, 18_322_498 - 128),
        (ResNet1d, {**TWO, **LIMB}, 18_319_810 - 128),
        (ResNet1d, {**TWO, "variant": "holmes_small"}, 689_986 - 128),
        (XResNet1d101, {"num_classes": 71}, 1_880_775),
        (XResNet1d101, {"num_classes": 5}, 1_872_261),
        (XResNet1d101, TWO, 1_871_874),
        (XResNet1d101, {**TWO, **LIMB}, 1_870_914),
        (XResNet1d101, {**TWO, "variant": "xresnet1d18"}, 364_546),
        (XResNet1d101, {**TWO, "variant": "xresnet1d34"}, 694_274),
        (XResNet1d101, {**TWO, "variant": "xresnet1d50"}, 953_602),
        (XResNet1d101, {**TWO, "variant": "xresnet1d152"}, 2_790_146),
        (XResNet1d101, {**TWO, "variant": "xresnet1d34_lsemvae"}, 714_754),
        (XResNet1d101, {**TWO, **LIMB, "variant": "xresnet1d34_lsemvae"}, 712_642),
        (XResNet1d101, {**TWO, **LIMB, "variant": "xresnet1d34_lsemvae_short"}, 443_970),
    ],
)
def test_parameters(cls, init, expected):
    with torch.device("meta"):
        model = cls(**init)
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_card_is_complete_and_states_the_count_of_its_defaults(path):
    card = yaml.safe_load(path.read_text())
    if path.stem != "finetune":  # how large it is depends on its encoder
        cls = resolve(path.stem)
        with torch.device("meta"):
            default = sum(p.numel() for p in cls(**({"num_classes": 25} if cls is CxrResNet else {})).parameters())
        assert default in [entry["count"] for entry in card["parameters"]]
    assert card["name"] == path.stem
    for row in card["departures"]:
        assert set(row) == {"topic", "paper", "released", "here", "option"}
        assert all(isinstance(text, str) and text for text in row.values())


def test_every_model_has_a_card():
    ours = {name for name, entries in registered("model").items() if entries[0].module.startswith("cardiozoo.")}
    assert ours == {path.stem for path in CARDS}
