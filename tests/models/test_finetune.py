"""Fine-tuning: the same head with and without a cache, an encoder left alone, a checkpoint that stands alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from cardiozoo.data.ecg import LEADS
from cardiozoo.errors import CardiozooWarning, CheckpointError, OptionError
from cardiozoo.models.cxr_resnet import CxrResNet
from cardiozoo.models.drfuse import DrFuse
from cardiozoo.models.ehr_lstm import EhrLstm
from cardiozoo.models.encoders import width_of
from cardiozoo.models.feature_cache import read_features, write_features
from cardiozoo.models.finetune import FineTune
from cardiozoo.models.ls_emvae import LsEmvae
from cardiozoo.models.medfuse import MedFuse
from cardiozoo.models.resnet1d import ResNet1d
from cardiozoo.models.xresnet1d101 import XResNet1d101
from cardiozoo.testing import make_batch, model_checks
from cardiozoo.testing.batches import select

SAMPLES = 200
SIZES = {
    ResNet1d: dict(base_filters=4, kernel_size=3, stride=2, blocks=4, widen_gap=2, ecg_samples=SAMPLES),
    XResNet1d101: dict(layers=[1], widths=[4], expansion=1, ecg_samples=SAMPLES, num_classes=2),
    LsEmvae: dict(latent_size=3, channels=(2, 2, 4), ecg_samples=SAMPLES),
    EhrLstm: dict(hidden_size=5),
    CxrResNet: dict(backbone="resnet18", image_width=4),
    MedFuse: dict(hidden_size=5, fusion_size=6, backbone="resnet18", image_width=4),
    DrFuse: dict(hidden_size=4, num_heads=2, feedforward=8, max_steps=32, backbone="resnet18", image_width=4),
}
LIMB = list(LEADS[:6])


class Cohort(LightningDataModule):
    """Three splits in memory; counts how often each record's signal is read."""

    manifest_sha256 = "0" * 64
    window = None

    def __init__(self, leads=None, **facts):
        super().__init__()
        self.ecg_leads, self.ecg_samples, self.ecg_rate = leads or list(LEADS), SAMPLES, 500.0
        self.__dict__.update(facts)
        options = {"num_classes": 2, "task_kind": "multiclass", "shapes": {"ecg": (12, SAMPLES)}}
        self.splits = {s: make_batch(["ecg"], 12, seed=i, **options) for i, s in enumerate(("train", "val", "test"))}
        self.read: Counter[str] = Counter()
        self.features = None

    @property
    def sample_ids(self):
        return [name for split in self.splits.values() for name in split["id"]]

    def attach_features(self, features):
        self.features = features

    def evaluation_dataloader(self, split):
        return Loader(self, self.splits[split])

    def train_dataloader(self):
        return self.evaluation_dataloader("train")

    def val_dataloader(self):
        return self.evaluation_dataloader("val")

    def test_dataloader(self):
        return self.evaluation_dataloader("test")


class Loader:
    def __init__(self, cohort, split):
        self.cohort, self.split = cohort, split

    def __len__(self):
        return 3

    def __iter__(self):
        for start in range(0, 12, 4):
            batch = select(self.split, range(start, start + 4))
            if self.cohort.features is not None:
                vectors = [self.cohort.features[name] for name in batch["id"]]
                batch["features"] = torch.from_numpy(np.stack(vectors))
                del batch["ecg"]
            else:
                self.cohort.read.update(batch["id"])
            yield batch


def trainer(epochs=3, **options):
    return Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CARDIOZOO_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """A checkpoint of each model, as a trainer writes it; those on electrocardiograms know their data."""
    folder = tmp_path_factory.mktemp("encoders")
    for cls, sizes in SIZES.items():
        torch.manual_seed(0)
        fitted = trainer()
        fitted.strategy.connect(cls(**sizes))
        if "ecg_samples" in sizes:
            fitted.strategy.lightning_module.trainer = fitted
            fitted.datamodule = Cohort(highpass=0.5, standardise="lead")
        fitted.save_checkpoint(folder / f"{cls.__name__}.ckpt")
    return folder


def build(encoders, cls=ResNet1d, **options):
    torch.manual_seed(1)
    return FineTune(str(encoders / f"{cls.__name__}.ckpt"), **{"hidden": 6, "learning_rate": 1e-2, **options})


def fit(model, cohort, epochs=3, **options):
    torch.manual_seed(2)
    fitted = trainer(epochs, **options)
    fitted.fit(model, datamodule=cohort)
    return fitted


def features_folder(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.npz"))


# --- The cache -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [ResNet1d, LsEmvae], ids=lambda cls: cls.__name__)
def test_the_cache_changes_no_result_and_reads_every_record_once(encoders, cls, tmp_path):
    plain, first, second = Cohort(), Cohort(), Cohort()
    models = [build(encoders, cls, cache=cohort is not plain) for cohort in (plain, first, second)]
    trainers = [fit(model, cohort) for model, cohort in zip(models, (plain, first, second), strict=True)]
    assert plain.read[plain.splits["train"]["id"][0]] == 3
    assert set(first.read) == set(first.sample_ids) and set(first.read.values()) == {1}
    assert not second.read and len(features_folder(tmp_path)) == 1
    for name, value in models[0].state_dict().items():
        for model in models[1:]:
            torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=1e-6, msg=name)
    losses = [float(t.callback_metrics["val/loss"]) for t in trainers]
    assert losses[1] == pytest.approx(losses[0], abs=1e-6) and losses[2] == losses[1]


def test_what_decides_the_vectors_decides_the_file(encoders, tmp_path):
    def files(cohort=None, **options):
        fit(build(encoders, LsEmvae, **options), cohort or Cohort(), epochs=1)
        return len(features_folder(tmp_path))

    assert files() == 1 and files() == 1 and files(hidden=3, learning_rate=0.1) == 1
    assert files(representation="lead_concat") == 2
    assert files(Cohort(manifest_sha256="1" * 64)) == 3
    assert files(Cohort(highpass=1.0), mismatch="warn") == 4
    torch.manual_seed(5)
    fitted = trainer()
    fitted.strategy.connect(LsEmvae(**SIZES[LsEmvae]))
    fitted.save_checkpoint(tmp_path / "other.ckpt")
    fit(FineTune(str(tmp_path / "other.ckpt")), Cohort(), epochs=1)
    assert len(features_folder(tmp_path)) == 5
    assert files(Cohort(leads=LIMB)) == 6 and files(Cohort(leads=LIMB), ecg_leads=LIMB) == 7
    assert files(Cohort(standardise="train"), mismatch="warn") == 8
    scales = [type("Scale", (), {"to_json": lambda self, sd=sd: {"sd": sd}})() for sd in (0.2, 0.3)]
    # the statistics of another fold's training records
    assert [files(Cohort(scale=scale)) for scale in scales] == [9, 10]


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "shape"])
def test_a_damaged_cache_file_is_computed_again(encoders, tmp_path, damage, capsys):
    model = build(encoders)
    fit(model, Cohort(), epochs=1)
    (file,) = features_folder(tmp_path)
    good = file.read_bytes()
    match damage:
        case "cut":
            file.write_bytes(good[: len(good) // 2])
        case "flipped":
            file.write_bytes(good[:-400] + bytes(b ^ 255 for b in good[-400:-300]) + good[-300:])
        case "foreign":
            file.write_text("not an archive")
        case "shape":
            write_features(file, {"a": np.zeros(2, np.float32)})
    again, cohort = build(encoders), Cohort()
    fit(again, cohort, epochs=1)
    assert set(cohort.read.values()) == {1} and "damaged" in capsys.readouterr().err
    torch.testing.assert_close(again.head[0].weight, model.head[0].weight, rtol=0, atol=0)
    assert read_features(file, model.width).keys() == set(cohort.sample_ids)
    assert not list(file.parent.glob("*.partial"))


def test_a_cache_that_cannot_be_written_costs_no_run(encoders, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CARDIOZOO_CACHE", str(tmp_path / "file"))
    fit(build(encoders), Cohort(), epochs=1)
    assert "cannot be kept" in capsys.readouterr().err


@pytest.mark.parametrize(("facts", "options"), [({"window": 2.5}, {}), ({}, {"freeze": False}), ({}, {"cache": False})])
def test_signals_that_vary_and_encoders_that_learn_are_not_cached(encoders, tmp_path, facts, options):
    cohort = Cohort(**facts)
    fit(build(encoders, **options), cohort, epochs=2)
    assert cohort.features is None and not features_folder(tmp_path)


# --- What is trained -------------------------------------------------------------------------------------------------


def test_a_frozen_encoder_stays_as_it_is_and_is_not_counted(encoders):
    model = build(encoders, cache=False)
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    fit(model, Cohort())
    assert all(torch.equal(value, before[name]) for name, value in model.encoder.state_dict().items())
    assert not any(module.training for module in model.train().encoder.modules())
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {f"head.{i}.{part}" for i in (0, 3) for part in ("weight", "bias")}
    assert sum(len(g["params"]) for g in model.configure_optimizers().param_groups) == 4


def test_the_papers_head_has_the_papers_size(encoders):
    model = build(encoders, LsEmvae)
    sizes = {
        n: sum(p.numel() for p in torch.nn.Sequential(torch.nn.Linear(n, 128), torch.nn.Linear(128, 2)).parameters())
        for n in (3072, 1536, 256)
    }
    assert list(sizes.values()) == [393_602, 196_994, 33_154]
    head = FineTune(str(encoders / "LsEmvae.ckpt")).head
    assert [type(layer).__name__ for layer in head] == ["Linear", "ReLU", "Dropout", "Linear"]
    assert (head[0].out_features, head[2].p, model.head[0].out_features) == (128, 0.5, 6)


def test_an_encoder_that_is_not_frozen_learns_at_its_own_rate_what_it_is_asked_for(encoders):
    model = build(encoders, LsEmvae, freeze=False, encoder_learning_rate=1e-3, representation="lead_concat")
    groups = model.configure_optimizers().param_groups
    assert [group["lr"] for group in groups] == [1e-3, 1e-2]
    before = {name: value.clone() for name, value in model.encoder.named_parameters()}
    fit(model, Cohort(), epochs=1)
    changed = {name.split(".")[0] for name, value in model.encoder.named_parameters() if (value != before[name]).any()}
    idle = {name.split(".")[0] for name, value in model.encoder.named_parameters() if not value.requires_grad}
    assert any("encoder" in name for name in changed) and any("decoder" in name for name in idle)
    assert not any("decoder" in name for name in changed)


def test_gradients_reach_the_signal_through_a_frozen_encoder(encoders):
    model, batch = build(encoders).eval(), select(Cohort().splits["test"], [0, 1])
    batch["ecg"].requires_grad_()
    model(batch)["logits"][:, 1].sum().backward()
    assert batch["ecg"].grad.any() and not any(p.grad is not None for p in model.encoder.parameters())


# --- Representations and leads ---------------------------------------------------------------------------------------


def test_representations_of_the_encoder(encoders):
    batch = Cohort().splits["test"]
    for name, width in (("fused", 3), ("lead_concat", 36), ("experts", 39)):
        model = build(encoders, LsEmvae, representation=name).eval()
        assert model.width == width == model.embed(batch).shape[1] == model.embedding_size()
        torch.testing.assert_close(model.embed(batch), model.encoder.embed(batch, name))
    assert build(encoders, LsEmvae).representation == "fused"
    six = build(encoders, LsEmvae, representation="lead_concat", ecg_leads=LIMB).eval()
    assert six.width == 18
    torch.testing.assert_close(six.embed(batch), six.encoder.embed(batch, "lead_concat", LIMB))
    with pytest.raises(OptionError, match=r"representation 'gate' of LsEmvae.\n.*fused, lead_concat, experts"):
        build(encoders, LsEmvae, representation="gate")
    with pytest.raises(OptionError, match="a single representation"):
        build(encoders, ResNet1d, representation="fused")


@pytest.mark.parametrize("cls", [EhrLstm, CxrResNet, MedFuse, DrFuse, XResNet1d101], ids=lambda cls: cls.__name__)
def test_every_model_that_embeds_is_an_encoder(encoders, cls):
    shapes = {"ecg": (12, SAMPLES)}
    batch = make_batch(["ehr", "cxr", "ecg"], 3, num_classes=2, task_kind="multiclass", shapes=shapes)
    model = build(encoders, cls)
    assert model(batch)["logits"].shape == (3, 2) and model.embed(batch).shape == (3, model.width)
    learning = build(encoders, cls, freeze=False).train()
    total, *_ = (term.total() for term in learning.loss_terms(batch, learning(batch)).values())
    total.backward()
    assert all(p.grad is not None for p in learning.parameters() if p.requires_grad)


class Silent(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)


def test_a_model_that_does_not_embed_is_refused():
    with pytest.raises(OptionError, match="Silent does not embed a batch"):
        width_of(Silent(), None, None)


# --- Data that do not suit the encoder -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"ecg_rate": 250.0}, "250 samples a second, trained on 500"),
        ({"highpass": None}, "highpass None, trained with 0.5"),
        ({"standardise": "none"}, "standardise none, trained with lead"),
    ],
)
def test_data_prepared_in_another_way_are_refused(encoders, facts, words):
    with pytest.raises(OptionError, match=words):
        fit(build(encoders), Cohort(**facts), epochs=1)


def test_another_rate_is_refused_before_anything_is_built(encoders):
    with pytest.raises(OptionError, match="250 samples a second"):
        build(encoders, ecg_rate=250.0, mismatch="warn")
    with pytest.raises(OptionError, match="records of 100 samples"):
        build(encoders, ecg_samples=100)


def test_other_processing_may_be_allowed_and_is_said_then(encoders):
    with pytest.warns(CardiozooWarning, match="highpass None, trained with 0.5"):
        fit(build(encoders, mismatch="warn"), Cohort(highpass=None), epochs=1)
    with pytest.warns(CardiozooWarning, match="trained with V1, V2.* gets zeros there"):
        build(encoders, ecg_leads=LIMB)


# --- The checkpoint --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [ResNet1d, LsEmvae], ids=lambda cls: cls.__name__)
def test_a_checkpoint_holds_its_encoder(encoders, cls, tmp_path):
    source = tmp_path / "encoder.ckpt"
    source.write_bytes((encoders / f"{cls.__name__}.ckpt").read_bytes())
    model = FineTune(str(source), hidden=6)
    fitted = fit(model, Cohort(), epochs=1)
    fitted.save_checkpoint(tmp_path / "model.ckpt")
    source.unlink()
    again = FineTune.load_from_checkpoint(tmp_path / "model.ckpt", map_location="cpu", weights_only=True).eval()
    batch = Cohort().splits["test"]
    assert torch.equal(again(batch)["logits"], model.eval()(batch)["logits"])
    assert torch.equal(again.embed(batch), model.embed(batch)) and dict(again.hparams) == dict(model.hparams)
    # As an encoder it can serve again, and a training may go on from it.
    twice = FineTune(str(tmp_path / "model.ckpt"), hidden=3).eval()
    assert torch.equal(twice.embed(batch), model.embed(batch))
    resumed = FineTune(**dict(again.hparams))
    trainer(2).fit(resumed, datamodule=Cohort(), ckpt_path=tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match="is gone or has changed"):
        trainer(1).fit(FineTune(**dict(again.hparams)), datamodule=Cohort())


def test_encoders_that_are_not_there(tmp_path, encoders):
    with pytest.raises(OptionError, match="No encoder was named"):
        FineTune()
    with pytest.raises(CheckpointError, match="no trained encoder at"):
        FineTune(str(tmp_path))
    (tmp_path / "broken.ckpt").write_bytes(b"abc")
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        FineTune(str(tmp_path / "broken.ckpt"))
    torch.save({"state_dict": {}, "hyper_parameters": {}}, tmp_path / "nameless.ckpt")
    with pytest.raises(CheckpointError, match="does not say which model"):
        FineTune(str(tmp_path / "nameless.ckpt"))


@pytest.mark.parametrize(
    ("init", "words"),
    [({"hidden": -1}, "hidden"), ({"dropout": 1.0}, "dropout"), ({"encoder_learning_rate": 0.0}, "encoder_learning")],
)
def test_options_out_of_range(encoders, init, words):
    with pytest.raises(OptionError, match=words):
        build(encoders, **init)


@pytest.mark.parametrize("frozen", [True, False])
def test_contract(encoders, frozen):
    options = {"encoder": str(encoders / "LsEmvae.ckpt"), "freeze": frozen, "dropout": 0.0}
    for check in model_checks("finetune", shapes={"ecg": (12, SAMPLES)}, **options):
        check()


def test_a_linear_head_starts_at_zero(encoders):
    model = FineTune(str(encoders / "LsEmvae.ckpt"), hidden=0)
    assert not any(parameter.any() for parameter in model.head.parameters())
    assert any(parameter.any() for parameter in FineTune(str(encoders / "LsEmvae.ckpt")).head.parameters())
