"""The networks on electrocardiograms beside plain statements of the same architectures, layer by layer."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cardiozoo.data.ecg import LEADS
from cardiozoo.errors import CardiozooWarning, CheckpointError, OptionError
from cardiozoo.models.ecg_windows import join, windows
from cardiozoo.models.multimodal_cnn import MultimodalCnn
from cardiozoo.models.resnet1d import ResNet1d, same_padding
from cardiozoo.models.xresnet1d101 import XResNet1d101
from cardiozoo.testing import make_batch

RESNET = dict(base_filters=4, kernel_size=4, stride=3, blocks=6, widen_gap=2, groups=2, ecg_samples=333)
XRESNET = dict(layers=[2, 1], widths=[4, 6], expansion=3, ecg_samples=333, num_classes=3)
CNN = dict(latent_size=3, hidden_size=5, ecg_samples=333)
SMALL = {ResNet1d: RESNET, XResNet1d101: XRESNET, MultimodalCnn: CNN}


def build(cls, **init):
    """A small network whose BatchNorms have seen something, so that leaving one out would show."""
    torch.manual_seed(0)
    model = cls(**{**SMALL[cls], **init})
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias)
    return model.eval().double()


def batch(samples=333, size=3):
    made = make_batch(["ecg"], size=size, shapes={"ecg": (12, samples)})
    return {**made, "ecg": made["ecg"].double()}


def norm(x, state, name):
    mean, var, gain, bias = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return (x - mean[:, None]) / (var[:, None] + 1e-5).sqrt() * gain[:, None] + bias[:, None]


def same_convolution(x, weight, bias, stride, groups):
    """TensorFlow's SAME, written as its definition: output n sees the kernel at n * stride - left."""
    length, kernel = x.shape[-1], weight.shape[-1]
    out = -(-length // stride)
    total = max(0, (out - 1) * stride + kernel - length)
    padded = np.zeros((*x.shape[:2], length + total))
    padded[..., total // 2 : total // 2 + length] = x
    per = weight.shape[1]
    result = np.zeros((len(x), len(weight), out))
    for o in range(len(weight)):
        group = o // (len(weight) // groups)
        for n in range(out):
            window = padded[:, group * per : (group + 1) * per, n * stride : n * stride + kernel]
            result[:, o, n] = (window * weight[o].numpy()).sum((1, 2)) + float(bias[o])
    return torch.from_numpy(result)


def plain_resnet(model, x):
    s = model.encoder.state_dict()
    x = same_convolution(x, s["stem.conv.weight"], s["stem.conv.bias"], 1, 1)
    x = norm(x, s, "stem_norm").clamp_min(0)
    for i in range(6):
        stride = 3 if i % 2 == 1 else 1
        out = x if i == 0 else norm(x, s, f"blocks.{i}.norm1").clamp_min(0)
        name = f"blocks.{i}.conv"
        out = same_convolution(out, s[f"{name}1.conv.weight"], s[f"{name}1.conv.bias"], stride, 2)
        out = norm(out, s, f"blocks.{i}.norm2").clamp_min(0)
        out = same_convolution(out, s[f"{name}2.conv.weight"], s[f"{name}2.conv.bias"], 1, 2)
        if stride == 3:  # one zero on either side, which takes part in the maximum
            padded = F.pad(x, (1, 1))
            x = torch.stack([padded[..., n : n + 3].amax(-1) for n in range(0, padded.shape[-1] - 2, 3)], -1)
        if out.shape[1] > x.shape[1]:
            half = torch.zeros(len(x), (out.shape[1] - x.shape[1]) // 2, x.shape[-1])
            x = torch.cat([half, x, half], 1)
        x = out + x
    x = norm(x, s, "norm").clamp_min(0).mean(-1)
    return x @ model.head.weight.T + model.head.bias


def plain_xresnet(model, x):
    s = model.encoder.state_dict()

    def conv_norm(x, name, stride=1):
        weight = s[f"{name}.conv.weight"]
        return norm(F.conv1d(x, weight, stride=stride, padding=weight.shape[-1] // 2), s, f"{name}.norm")

    for i, stride in enumerate((2, 1, 1)):
        x = conv_norm(x, f"stem.{i}", stride).clamp_min(0)
    x = F.max_pool1d(x, 3, 2, 1)
    for stage, block, stride in ((0, 0, 1), (0, 1, 1), (1, 0, 2)):
        name = f"stages.{stage}.{block}"
        out = conv_norm(x, f"{name}.layers.0").clamp_min(0)
        out = conv_norm(out, f"{name}.layers.1", stride).clamp_min(0)
        out = conv_norm(out, f"{name}.layers.2")
        if stride == 2:
            x = torch.stack([x[..., n : n + 2].mean(-1) for n in range(0, x.shape[-1], 2)], -1)
        if f"{name}.project.conv.weight" in s:
            x = conv_norm(x, f"{name}.project")
        x = (out + x).clamp_min(0)
    x = torch.cat([x.amax(-1), x.mean(-1)], 1)
    h = model.head.state_dict()
    x = norm(x[..., None], h, "0")[..., 0] @ h["2.weight"].T + h["2.bias"]
    return norm(x.clamp_min(0)[..., None], h, "4")[..., 0] @ h["6.weight"].T + h["6.bias"]


def plain_cnn(model, x):
    vectors = []
    for i in range(12):
        s = model.encoders[i].state_dict()
        one = x[:, i : i + 1]
        for layer in (1, 2, 3):
            one = F.conv1d(one, s[f"conv{layer}.weight"], s[f"conv{layer}.bias"], 2, 1).clamp_min(0)
        vectors.append(one.reshape(len(x), -1) @ s["latent.weight"].T + s["latent.bias"])
    h = model.head.state_dict()
    hidden = (torch.cat(vectors, 1) @ h["0.weight"].T + h["0.bias"]).clamp_min(0)
    return hidden @ h["3.weight"].T + h["3.bias"]


PLAIN = {ResNet1d: plain_resnet, XResNet1d101: plain_xresnet, MultimodalCnn: plain_cnn}


@pytest.mark.parametrize("cls", SMALL, ids=lambda cls: cls.__name__)
def test_forward_equals_a_plain_statement_of_the_architecture(cls):
    model, b = build(cls), batch()
    b["ecg_leads"][:] = True
    with torch.no_grad():
        torch.testing.assert_close(model(b)["logits"], PLAIN[cls](model, b["ecg"]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("cls", SMALL, ids=lambda cls: cls.__name__)
def test_leads_are_chosen_by_name_and_absent_ones_do_not_matter(cls):
    model, b = build(cls, ecg_leads=["V1", "II"]), batch()
    b["ecg_leads"][:, LEADS.index("II")] = torch.tensor([True, False, True])
    spoiled = b["ecg"].clone()
    spoiled[:, [i for i, lead in enumerate(LEADS) if lead not in ("V1", "II")]] = torch.nan
    spoiled = torch.where(b["ecg_leads"][..., None], spoiled, torch.inf)
    x = torch.where(b["ecg_leads"][..., None], b["ecg"], 0)[:, [LEADS.index("V1"), LEADS.index("II")]]
    with torch.no_grad():
        logits = model({**b, "ecg": spoiled})["logits"]
        everything = {**b, "ecg": torch.zeros(3, 12, 333, dtype=torch.double)}
        everything["ecg"][:, [6, 1]] = x
        torch.testing.assert_close(logits, model(everything)["logits"])
    assert logits.isfinite().all() and (logits[0] != logits[1]).any()


@pytest.mark.parametrize("cls", SMALL, ids=lambda cls: cls.__name__)
def test_twelve_leads_of_which_six_are_shown_are_a_network_of_six(cls):
    twelve, six = build(cls), build(cls, ecg_leads=list(LEADS[:6]))
    state, own = twelve.state_dict(), six.state_dict()
    for name, value in own.items():  # of the first layer, or of encoders and head, what belongs to the six leads
        part = state[name]
        for axis, size in enumerate(value.shape):
            part = part.narrow(axis, 0, size)
        value.copy_(part)
    records = batch()
    records["ecg_leads"] = torch.arange(12).expand(3, 12) < 6
    with torch.no_grad():
        expected, found = six(records)["logits"], twelve(records)["logits"]
    assert sum(value.numel() for value in own.values()) < sum(value.numel() for value in state.values())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("leads", [[], ["V7"], ["I", "I"]])
def test_impossible_leads_are_refused(leads):
    with pytest.raises(OptionError, match="ecg_leads"):
        ResNet1d(**RESNET, ecg_leads=leads)


@pytest.mark.parametrize(("kernel", "stride"), [(7, 3), (16, 2), (3, 1), (2, 3), (5, 5)])
@pytest.mark.parametrize("length", [1, 2, 9, 100, 101])
def test_same_padding_gives_the_length_rounded_up(length, kernel, stride):
    left, right = same_padding(length, kernel, stride)
    assert right - left in (0, 1)
    covered = (length + left + right - kernel) // stride + 1
    assert covered == -(-length // stride)


def test_padding_of_the_pool_may_be_left_out_of_its_maximum():
    zero, ignored = build(ResNet1d), build(ResNet1d, pool_padding="ignored")
    b = batch()
    with torch.no_grad():
        assert (zero(b)["logits"] - ignored(b)["logits"]).abs().max() > 1e-6


@pytest.mark.parametrize(
    ("cls", "init", "words"),
    [
        (ResNet1d, {"groups": 3}, "3 groups of 4 channels"),
        (ResNet1d, {"blocks": 0}, "blocks 0"),
        (ResNet1d, {"variant": "large"}, "variant 'large'"),
        (ResNet1d, {"ecg_samples": 0}, "ecg_samples 0"),
        (XResNet1d101, {"layers": [1]}, "1 layers and 2 widths"),
        (XResNet1d101, {"kernel_size": 4}, "odd kernels"),
        (XResNet1d101, {"eval_stride": 0}, "eval_stride 0"),
        (XResNet1d101, {"eval_windows": "max", "task_kind": "regression"}, "eval_windows max"),
        (MultimodalCnn, {"latent_size": 0}, "latent_size 0"),
        (MultimodalCnn, {"loss": "mse"}, "loss 'mse'"),
        (MultimodalCnn, {"loss": "focal", "task_kind": "regression"}, "loss 'focal'"),
    ],
)
def test_impossible_sizes_are_refused(cls, init, words):
    with pytest.raises(OptionError, match=words):
        cls(**{**SMALL[cls], **init})


def test_a_network_that_shortens_to_nothing_warns():
    with pytest.warns(CardiozooWarning, match="8 shortenings by 3 leave 1 of 5000 samples"), torch.device("meta"):
        ResNet1d()
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("error")
        ResNet1d(stride=2)


def test_records_of_another_length_are_refused_by_the_network_that_flattens():
    with pytest.raises(OptionError, match="400 samples for a network of 333"):
        build(MultimodalCnn)(batch(400))


def test_zero_init_starts_every_block_as_its_shortcut():
    torch.manual_seed(0)
    model = XResNet1d101(**XRESNET, zero_init=True)
    assert all(not block.layers[-1].norm.weight.any() for block in model.encoder.blocks())
    assert all(block.layers[0].norm.weight.eq(1).all() for block in model.encoder.blocks())
    assert XResNet1d101(**XRESNET).encoder.blocks()[0].layers[-1].norm.weight.eq(1).all()


# --- Windows in evaluation -------------------------------------------------------------------------------------------


def test_windows_cover_a_record_to_its_end():
    signal = torch.arange(1000.0).expand(2, 3, 1000)
    cut, count = windows(signal, 250, 125)
    assert (count, cut.shape) == (7, (14, 3, 250))
    assert cut[7:, 0, 0].tolist() == [125.0 * n for n in range(7)]  # second record
    cut, count = windows(signal, 300, 250)
    assert cut[:count, 0, 0].tolist() == [0, 250, 500, 700]


@pytest.mark.parametrize("how", ["max", "mean"])
def test_probabilities_of_windows_are_joined(how):
    logits = torch.randn(4, 5, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0)) * 3
    reduce = (lambda p: p.amax(1)) if how == "max" else (lambda p: p.mean(1))
    torch.testing.assert_close(join(logits, how, "multilabel").sigmoid(), reduce(logits.sigmoid()))
    p = reduce(logits.softmax(-1))
    torch.testing.assert_close(join(logits, how, "multiclass").softmax(-1), p / p.sum(-1, keepdim=True))
    extreme = join(torch.tensor([[[300.0], [-300.0]]]), how, "multilabel")
    assert extreme.isfinite().all()
    torch.testing.assert_close(join(logits, "mean", "regression"), logits.mean(1))


def test_long_records_are_judged_in_windows_in_evaluation_only():
    model = build(XResNet1d101, ecg_samples=100, eval_windows="max", eval_stride=50)
    b = batch(200)
    with torch.no_grad():
        parts = [model({**b, "ecg": b["ecg"][..., start : start + 100]}) for start in (0, 50, 100)]
        expected = torch.stack([part["logits"] for part in parts]).amax(0)
        torch.testing.assert_close(model(b)["logits"], expected)
        embedded = [model.embed({**b, "ecg": b["ecg"][..., start : start + 100]}) for start in (0, 50, 100)]
        torch.testing.assert_close(model.embed(b), torch.stack(embedded).mean(0))
        whole = build(XResNet1d101, ecg_samples=100)(b)["logits"]
    assert (whole - expected).abs().max() > 1e-6


# --- Weights of others -----------------------------------------------------------------------------------------------

RENAME = {
    ResNet1d: [
        ("encoder.stem_norm.", "first_block_bn."), ("encoder.stem.", "first_block_conv."),
        ("encoder.blocks.", "basicblock_list."), (".norm1.", ".bn1."), (".norm2.", ".bn2."),
        ("encoder.norm.", "final_bn."), ("head.", "dense."),
    ],
    MultimodalCnn: [("encoders.", "lead_encoders."), (".latent.", ".fc_latent."), ("head.", "classifier.")],
}  # fmt: skip


def released(model):
    """The weights of a model under the names that its authors gave them."""
    state = {}
    for name, value in model.state_dict().items():
        for ours, theirs in RENAME[type(model)]:
            name = name.replace(ours, theirs)
        state[name] = value
    return state


def fastai(model):
    """As fastai names them; the convolutions of a block stand there twice."""
    state = {}
    for name, value in model.state_dict().items():
        parts = name.split(".")
        last = parts[-1]
        if name.startswith("encoder.stem"):
            state[f"{parts[2]}.{int(parts[3] == 'norm')}.{last}"] = value
        elif ".layers." in name:
            place = f"{int(parts[2]) + 4}.{parts[3]}"
            tail = f"{parts[5]}.{int(parts[6] == 'norm')}.{last}"
            state[f"{place}.convs.{tail}"] = state[f"{place}.convpath.0.{tail}"] = value
        elif ".project." in name:
            index = 1 if parts[2] == "1" else 0  # behind the pool where there is one
            state[f"{int(parts[2]) + 4}.{parts[3]}.idpath.{index}.{int(parts[5] == 'norm')}.{last}"] = value
        else:
            state[f"8.{int(parts[1]) + 2}.{last}"] = value
    return state


@pytest.mark.parametrize("cls", SMALL, ids=lambda cls: cls.__name__)
def test_released_weights_load_and_give_the_same_numbers(cls, tmp_path):
    trained, path = build(cls).float(), tmp_path / "weights.pth"
    state = fastai(trained) if cls is XResNet1d101 else released(trained)
    if cls is ResNet1d:
        state |= {f"basicblock_list.0.bn1.{part}": torch.ones(4) for part in ("weight", "bias")}
        state = {f"resnet.{name}": value for name, value in state.items()}
    torch.save({"model": state, "opt": {}} if cls is XResNet1d101 else state, path)
    again = cls(**SMALL[cls], released_weights=str(path)).eval()
    b = {**batch(), "ecg": batch()["ecg"].float()}
    with torch.no_grad():
        assert torch.equal(again(b)["logits"], trained(b)["logits"])
    assert "released_weights" not in again.hparams


@pytest.mark.parametrize("cls", SMALL, ids=lambda cls: cls.__name__)
def test_weights_that_do_not_fit_are_refused(cls, tmp_path):
    path = tmp_path / "weights.pth"
    state = fastai(build(cls)) if cls is XResNet1d101 else released(build(cls))
    state.pop(next(name for name in state if name.endswith("weight")))
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="missing"):
        cls(**SMALL[cls], released_weights=str(path))


def test_weights_that_differ_under_their_two_names_are_refused(tmp_path):
    state = fastai(build(XResNet1d101))
    name = next(name for name in state if "convpath" in name and name.endswith("weight"))
    torch.save({**state, name: state[name] + 1}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="1 weights differ under their two names"):
        XResNet1d101(**XRESNET, released_weights=str(tmp_path / "weights.pth"))
