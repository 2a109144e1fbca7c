"""The steps that all models share: options, required modalities, records, optimiser, schedule."""

import pytest
import torch

from cardiozoo.errors import OptionError
from cardiozoo.models.base import presence
from cardiozoo.models.ehr_lstm import EhrLstm
from cardiozoo.models.multimodal_cnn import MultimodalCnn
from cardiozoo.nn.losses import combine
from cardiozoo.testing import make_batch


def lstm(**init):
    return EhrLstm(**{"hidden_size": 4, "num_classes": 3, **init})


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ({"task_kind": "regression"}, "regression"),
        ({"task_kind": "binary"}, "num_classes 3"),
        ({"task_kind": "multiclass", "num_classes": 1}, "num_classes 1"),
        ({"num_classes": 0}, "num_classes 0"),
        ({"class_names": ["a", "b"]}, "2 class names for 3 classes"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"schedule": "cosine"}, "schedule 'cosine'.*\n.*none, plateau"),
    ],
)
def test_options_out_of_range_stop_before_work_begins(init, words):
    with pytest.raises(OptionError, match=words):
        lstm(**init)


def test_a_required_modality_that_is_missing_is_an_error():
    batch = make_batch(["ehr"], size=3, present={"ehr": [True, False, True]})
    with pytest.raises(OptionError, match=r"1 of 3 samples of a batch have no 'ehr'"):
        lstm().on_before_batch_transfer(batch)
    del batch["ehr"], batch["present"]["ehr"]
    with pytest.raises(OptionError, match="3 of 3"):
        lstm().on_before_batch_transfer(batch)


def test_presence_of_what_the_batch_does_not_hold():
    batch = make_batch(["ehr"], size=3)
    assert presence(batch, "ehr").tolist() == [True] * 3 and presence(batch, "cxr").tolist() == [False] * 3
    del batch["present"]["ehr"]
    assert presence(batch, "ehr").tolist() == [True] * 3


def test_record_of_unlabelled_and_multiclass_targets():
    model = lstm(task_kind="multiclass", class_names=["short", "middle", "long"]).eval()
    batch = make_batch(["ehr"], size=3, task_kind="multiclass")
    batch["target"] = torch.tensor([2, -1, 0])
    record = model.predict_step(batch)
    assert record["target"].nan_to_num(-1).tolist() == [[0, 0, 1], [-1, -1, -1], [1, 0, 0]]
    assert record["class_names"] == ["short", "middle", "long"]
    assert record["groups"]["sex"] == ["M", "F", "M"] and record["patient"] == batch["patient"]
    del batch["target"], batch["patient"]
    record = model.predict_step(batch)
    assert record["target"].isnan().all() and "patient" not in record


def test_optimiser_is_adam_as_asked():
    optimizer = lstm(schedule="none", learning_rate=0.01, weight_decay=0.1, betas=(0.9, 0.9)).configure_optimizers()
    group = optimizer.param_groups[0]
    assert type(optimizer) is torch.optim.Adam
    assert (group["lr"], group["weight_decay"], group["betas"]) == (0.01, 0.1, (0.9, 0.9))


def test_plateau_halves_the_rate_after_ten_epochs_without_progress():
    configuration = lstm(learning_rate=1.0).configure_optimizers()
    scheduler = configuration["lr_scheduler"]["scheduler"]
    assert configuration["lr_scheduler"]["monitor"] == "val/loss"
    for _ in range(12):
        scheduler.step(1.0)
    assert configuration["optimizer"].param_groups[0]["lr"] == 0.5


def test_frozen_parameters_are_not_optimised():
    model = lstm(schedule="none")
    model.encoder.requires_grad_(False)
    assert len(model.configure_optimizers().param_groups[0]["params"]) == 2


# --- Regression, optimisers and cycles, in a network that has them all -----------------------------------------------


def cnn(**init):
    torch.manual_seed(0)
    sizes = dict(latent_size=2, hidden_size=4, ecg_samples=40, num_classes=2, dropout=0.0)
    return MultimodalCnn(**{**sizes, "task_kind": "regression", **init})


def ecg(**options):
    return make_batch(["ecg"], size=6, num_classes=2, task_kind="regression", shapes={"ecg": (12, 40)}, **options)


def test_a_regression_learns_standardised_targets_and_answers_in_their_units():
    mean, std = [30.0, -2.0], [10.0, 0.5]
    model, batch = cnn(target_mean=mean, target_std=std).eval(), ecg()
    batch["target"][1, 0] = torch.nan
    raw = model(batch)["logits"]
    record = model.predict_step(batch)
    expected = raw.detach() * torch.tensor(std) + torch.tensor(mean)
    torch.testing.assert_close(record["score"], expected)
    assert torch.equal(record["target"].nan_to_num(-1), batch["target"].nan_to_num(-1))
    error = (expected - batch["target"]) / torch.tensor(std)
    total, _ = combine(model.loss_terms(batch, {"logits": raw}))
    torch.testing.assert_close(total.detach(), error[~error.isnan()].square().mean())
    model.validation_step(batch)
    known = ~batch["target"].isnan()
    rmse = [(expected - batch["target"])[known[:, c], c].square().mean().sqrt() for c in range(2)]
    torch.testing.assert_close(model.meters["val"].compute()["rmse"], torch.stack(rmse).mean())


def test_the_scale_of_a_target_is_part_of_the_weights():
    trained, other = cnn(target_mean=[30.0, 1.0], target_std=[10.0, 2.0]), cnn()
    other.load_state_dict(trained.state_dict())
    assert other.target_mean.tolist() == [30, 1] and other.target_std.tolist() == [10, 2]


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ({"target_mean": [1.0]}, "1 means and 2 deviations for 2 columns"),
        ({"target_std": [1.0, 0.0]}, "same for everybody"),
        ({"target_mean": [1.0, float("nan")]}, "same for everybody"),
        ({"loss": "cross_entropy"}, "loss 'cross_entropy' for a regression task"),
        ({"optimizer": "sgd"}, "optimizer 'sgd'.*\n.*adam, adamw"),
        ({"focal_alpha": 1.5}, "focal_alpha"),
        ({"focal_gamma": -1.0}, "focal_gamma"),
    ],
)
def test_options_of_losses_and_scales_out_of_range(init, words):
    with pytest.raises(OptionError, match=words):
        cnn(**init)


def test_focal_is_the_default_of_the_ecg_networks_and_cross_entropy_that_of_the_others():
    assert cnn(task_kind="multiclass").loss == "focal" and cnn().loss == "mse"
    assert lstm().loss == "cross_entropy"


@pytest.mark.parametrize(("name", "cls"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_the_fused_update_is_the_plain_one(name, cls):
    models = [cnn(optimizer=name, weight_decay=0.1, learning_rate=0.01) for _ in range(2)]
    fused = models[0].configure_optimizers()
    assert type(fused) is cls and fused.defaults["fused"] is True
    plain = cls(models[1].parameters(), 0.01, weight_decay=0.1, fused=False)
    for model, optimizer in zip(models, (fused, plain), strict=True):
        for seed in range(3):
            optimizer.zero_grad()
            combine(model.loss_terms(ecg(seed=seed), model(ecg(seed=seed))))[0].backward()
            optimizer.step()
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert (
        "fused" not in lstm(schedule="none").configure_optimizers().defaults
        or not (lstm(schedule="none").configure_optimizers().defaults["fused"])
    )


def test_one_cycle_rises_and_falls_as_published(monkeypatch):
    model = cnn(schedule="one_cycle", learning_rate=0.01, optimizer="adamw")
    trainer = type(
        "Trainer", (), {"estimated_stepping_batches": 100, "precision": "32-true", "gradient_clip_val": None}
    )
    monkeypatch.setattr(type(model), "trainer", property(lambda self: trainer))
    monkeypatch.setattr(model, "_trainer", trainer)
    configuration = model.configure_optimizers()
    optimizer, scheduler = configuration["optimizer"], configuration["lr_scheduler"]["scheduler"]
    assert configuration["lr_scheduler"]["interval"] == "step"
    rates, momenta = [], []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["betas"][0])
        optimizer.step()
        if len(rates) < 100:
            scheduler.step()
    assert rates[0] == pytest.approx(0.01 / 25) and max(rates) == pytest.approx(0.01)
    assert rates.index(max(rates)) == 29 and rates[-1] == pytest.approx(0.01 / 25e4)
    assert momenta[0] == pytest.approx(0.95) and min(momenta) == pytest.approx(0.85)


def test_one_cycle_needs_an_end(monkeypatch):
    model = cnn(schedule="one_cycle")
    trainer = type("Trainer", (), {"estimated_stepping_batches": float("inf")})
    monkeypatch.setattr(type(model), "trainer", property(lambda self: trainer))
    with pytest.raises(OptionError, match="how long the training is"):
        model._cycle(torch.optim.Adam(model.parameters()))
