"""The steps that all models share: options, required modalities, records, optimiser, schedule."""

import pytest
import torch

from cardiozoo.errors import OptionError
from cardiozoo.models.base import presence
from cardiozoo.models.ehr_lstm import EhrLstm
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
