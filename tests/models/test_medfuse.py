"""MedFuse: the sequence of modalities, and weights from earlier stages and from the authors."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.nn.utils.rnn import pack_padded_sequence

from cardiozoo.errors import CheckpointError
from cardiozoo.models.checkpoints import read_state
from cardiozoo.models.cxr_resnet import CxrResNet
from cardiozoo.models.ehr_lstm import EhrLstm
from cardiozoo.models.medfuse import MedFuse
from cardiozoo.models.medfuse_weights import encoder_of, is_released, released_fusion
from cardiozoo.testing import make_batch

IMAGE = dict(backbone="resnet18", image_width=4)
TINY = dict(hidden_size=6, fusion_size=10, num_classes=3, **IMAGE)
PRESENT = {"cxr": [True, False, True]}


def build(cls, seed=0, **init):
    torch.manual_seed(seed)
    return cls(**init).eval()


def test_fusion_is_a_packed_sequence_of_one_or_two_modalities():
    model, batch = build(MedFuse, **TINY), make_batch(["ehr", "cxr"], size=3, present=PRESENT)
    v_ehr = model.ehr_encoder(batch["ehr"], batch["ehr_lengths"])
    v_cxr = model.projection(model.cxr_encoder(batch["cxr"]))
    packed = pack_padded_sequence(
        torch.stack([v_ehr, v_cxr], 1), torch.tensor([2, 1, 2]), batch_first=True, enforce_sorted=False
    )
    torch.testing.assert_close(model.embed(batch), model.fusion(packed)[1][0][-1])


def test_a_hidden_radiograph_is_as_none():
    model, batch = build(MedFuse, **TINY), make_batch(["ehr", "cxr"], size=3)
    without = make_batch(["ehr"], size=3)
    hidden = {**batch, "present": {**batch["present"], "cxr": torch.zeros(3, dtype=torch.bool)}}
    without["ehr"], without["ehr_lengths"] = batch["ehr"], batch["ehr_lengths"]
    torch.testing.assert_close(model(hidden)["logits"], model(without)["logits"])
    assert not torch.allclose(model(hidden)["logits"], model(batch)["logits"])


def save(model, path):
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return str(path)


def test_encoders_are_handed_over_between_stages(tmp_path, caplog):
    lstm, resnet = build(EhrLstm, 1, hidden_size=6), build(CxrResNet, 2, **IMAGE)
    paths = {"ehr_encoder": save(lstm, tmp_path / "e.ckpt"), "cxr_encoder": save(resnet, tmp_path / "c.ckpt")}
    caplog.set_level("INFO", logger="cardiozoo")
    model = build(MedFuse, 3, **TINY, **paths)
    batch = make_batch(["ehr", "cxr"], size=3)
    torch.testing.assert_close(model.ehr_encoder(batch["ehr"], batch["ehr_lengths"]), lstm.embed(batch))
    torch.testing.assert_close(model.cxr_encoder(batch["cxr"]), resnet.embed(batch))
    assert "head.weight" in caplog.text
    # its own checkpoint needs neither file
    whole = save(model, tmp_path / "m.ckpt")
    for path in paths.values():
        (tmp_path / path).unlink()
    again = MedFuse.load_from_checkpoint(whole, weights_only=True).eval()
    torch.testing.assert_close(again(batch)["logits"], model(batch)["logits"], rtol=0, atol=0)
    third = build(MedFuse, 4, **TINY, ehr_encoder=whole, cxr_encoder=whole)
    torch.testing.assert_close(third.ehr_encoder.lstm.weight_hh_l1, model.ehr_encoder.lstm.weight_hh_l1)


def released_state(model, classes=3):
    """The state dict of ``model`` in the authors' naming, with the idle heads their files carry."""
    own, state = model.state_dict(), {}
    for layer in range(2):
        for tensor in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            state[f"ehr_model.layer{layer}.{tensor}_l0"] = own[f"ehr_encoder.lstm.{tensor}_l{layer}"]
            if layer == 0:
                state[f"lstm_fusion_layer.{tensor}_l0"] = own[f"fusion.{tensor}_l0"]
    for name, value in own.items():
        if name.startswith("cxr_encoder.backbone."):
            state["cxr_model.vision_backbone." + name.removeprefix("cxr_encoder.backbone.")] = value
    for theirs, ours in (("projection", "projection"), ("lstm_fused_cls.0", "head")):
        state |= {f"{theirs}.{part}": own[f"{ours}.{part}"] for part in ("weight", "bias")}
    idle = {"ehr_model.dense_layer": (classes, 6), "cxr_model.classifier.0": (14, 32), "fused_cls.0": (classes, 12)}
    for name, shape in idle.items():
        state |= {f"{name}.weight": torch.zeros(shape), f"{name}.bias": torch.zeros(shape[0])}
    return state


def released_file(path, state):
    """The container of the official files: a numpy scalar and lists beside the weights."""
    scores = {"best_auroc": np.float64(0.7), "epochs_stats": {"auroc": [np.float32(0.5)]}}
    torch.save({"epoch": 3, "state_dict": state, **scores}, path)
    return str(path)


def test_released_names_are_translated_one_by_one():
    model = build(MedFuse, **TINY)
    state = released_state(model)
    translated, idle = released_fusion(state)
    assert is_released(state) and not is_released(model.state_dict())
    assert {name: tuple(v.shape) for name, v in translated.items()} == {
        name: tuple(v.shape) for name, v in model.state_dict().items()
    }
    assert sorted(idle) == sorted(
        f"{head}.{part}"
        for head in ("ehr_model.dense_layer", "cxr_model.classifier.0", "fused_cls.0")
        for part in ("bias", "weight")
    )
    encoder, skipped = encoder_of(state, "cxr", "file")
    assert set(encoder) == {name.removeprefix("cxr_encoder.") for name in translated if name.startswith("cxr_encoder.")}
    assert "cxr_model.classifier.0.weight" in skipped and not set(skipped) & set(encoder)


def test_released_weights_give_the_same_predictions(tmp_path, caplog):
    caplog.set_level("INFO", logger="cardiozoo")
    source, batch = build(MedFuse, 1, **TINY), make_batch(["ehr", "cxr"], size=3, present=PRESENT)
    path = released_file(tmp_path / "best.pth.tar", released_state(source))
    model = build(MedFuse, 2, **TINY, released_weights=path)
    torch.testing.assert_close(model(batch)["logits"], source(batch)["logits"])
    assert "fused_cls.0.weight" in caplog.text
    part = build(MedFuse, 3, **TINY, ehr_encoder=path)
    assert torch.equal(part.ehr_encoder.lstm.weight_ih_l0, source.ehr_encoder.lstm.weight_ih_l0)
    assert not torch.equal(part.head.weight, source.head.weight)


def test_weights_of_another_size_are_refused(tmp_path):
    path = save(build(EhrLstm, hidden_size=5), tmp_path / "e.ckpt")
    with pytest.raises(CheckpointError, match=r"of another shape, first lstm.weight_ih_l0 \(20, 76\) for \(24, 76\)"):
        build(MedFuse, **TINY, ehr_encoder=path)
    deeper = save(build(EhrLstm, hidden_size=6, num_layers=3), tmp_path / "d.ckpt")
    with pytest.raises(CheckpointError, match="4 left over"):
        build(MedFuse, **TINY, ehr_encoder=deeper)
    state = released_state(build(MedFuse, **TINY))
    del state["projection.bias"]
    with pytest.raises(CheckpointError, match=r"1 missing, first projection\.bias"):
        build(MedFuse, **TINY, released_weights=released_file(tmp_path / "r.pth.tar", state))


def test_files_that_are_no_weights_are_refused(tmp_path):
    lstm = save(build(EhrLstm, hidden_size=6), tmp_path / "e.ckpt")
    with pytest.raises(CheckpointError, match=r"holds no CXR encoder.*\n.*\n.*cardiozoo fit --model cxr_resnet"):
        build(MedFuse, **TINY, cxr_encoder=lstm)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_state(tmp_path / "nowhere.ckpt")
    pointer = tmp_path / "pointer.pth.tar"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 286826503\n")
    with pytest.raises(CheckpointError, match=r"Git LFS pointer.*\n.*\n.*git lfs pull"):
        read_state(pointer)
    (tmp_path / "text").write_text("not weights")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_state(tmp_path / "text")
    torch.save({"state_dict": {}}, tmp_path / "empty")
    with pytest.raises(CheckpointError, match="no state dict"):
        read_state(tmp_path / "empty")


class Payload:
    def __reduce__(self):
        return (print, ("code ran",))


def test_a_file_with_code_in_it_is_refused_without_running_it(tmp_path, capsys):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "best": Payload()}, tmp_path / "evil.pth.tar")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_state(tmp_path / "evil.pth.tar")
    assert "code ran" not in capsys.readouterr().out
