"""Image encoders: names, widths, shared stem, weights from the network."""

import pytest
import timm
import torch

from cardiozoo.errors import CheckpointError, OptionError
from cardiozoo.nn.image import ImageEncoder, TwinImageEncoder, create_backbone


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts_of_the_published_networks():
    with torch.device("meta"):
        assert count(create_backbone("resnet34")) == 21_284_672
        assert count(ImageEncoder("resnet50", project_to=256)) == 24_032_576
        apart, shared = TwinImageEncoder(256, share_stem=False), TwinImageEncoder(256)
    assert count(apart) == 2 * 24_032_576
    assert count(apart) - count(shared) == 9_536  # one stem less: 7 x 7 x 3 x 64 and two vectors of 64


def test_names_are_those_of_torchvision():
    """Weights trained elsewhere are handed over by name."""
    from torchvision.models import resnet34

    with torch.device("meta"):
        ours, theirs = create_backbone("resnet34").state_dict(), resnet34().state_dict()
    shapes = {name: value.shape for name, value in theirs.items() if not name.startswith("fc.")}
    assert {name: value.shape for name, value in ours.items()} == shapes


def test_twin_equals_two_networks_run_by_hand():
    torch.manual_seed(0)
    twin = TwinImageEncoder(6, "resnet18", width=4).eval()
    x = torch.randn(2, 3, 32, 32)
    stem = twin.stem.maxpool(twin.stem.act1(twin.stem.bn1(twin.stem.conv1(x))))
    for branch, got in zip((twin.first, twin.second), twin(x).chunk(2, 1), strict=True):
        features = branch.layer4(branch.layer3(branch.layer2(branch.layer1(stem)))).mean((2, 3))
        torch.testing.assert_close(got, branch.projection(features))
    assert not torch.allclose(*twin(x).chunk(2, 1))


def test_width_narrows_every_stage():
    narrow = create_backbone("resnet18", width=4).eval()
    assert narrow.num_features == 32 and narrow(torch.randn(1, 3, 32, 32)).shape == (1, 32)


def test_any_network_of_timm_serves_apart_but_not_on_a_common_stem():
    name = "mobilenetv3_small_050"
    assert TwinImageEncoder(6, name, share_stem=False).eval()(torch.randn(1, 3, 32, 32)).shape == (1, 12)
    with pytest.raises(OptionError, match="share_stem"):
        TwinImageEncoder(6, name)
    with pytest.raises(OptionError, match="Only the ResNets"):
        create_backbone(name, width=8)


def test_wrong_options_are_refused():
    with pytest.raises(OptionError, match=r"resnet35.*\n.*resnet"):
        create_backbone("resnet35")
    with pytest.raises(OptionError, match="image width of 0"):
        create_backbone("resnet18", width=0)
    with pytest.raises(OptionError, match="pretrained with image_width"):
        create_backbone("resnet18", width=4, pretrained=True)


def test_weights_that_cannot_be_fetched_say_so(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("cannot reach the hub")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        CheckpointError, match=r"cannot reach the hub.*\n.*over the network.*\n.*without --model.pretrained"
    ):
        create_backbone("resnet18", pretrained=True)
