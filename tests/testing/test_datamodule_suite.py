"""The public suite for data modules finds what it is there to find."""

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule

from cardiozoo.data.loading import BatchLoader
from cardiozoo.data.tasks import DataSpec, Task
from cardiozoo.testing import check_datamodule, datamodule_checks, make_batch
from cardiozoo.testing.batches import select

TASK = Task("phenotyping", "multilabel", ("a", "b", "c"))
SIZES = {"train": 12, "val": 5, "test": 6}


class Source:
    def __init__(self, batch):
        self.batch = batch

    def __len__(self):
        return len(self.batch["id"])

    def __getitems__(self, pairs):
        return select(self.batch, [index for _, index in pairs])


class Sound(LightningDataModule):
    """Random rows with every property the commands ask for."""

    num_classes, class_names, task_kind = 3, ["a", "b", "c"], "multilabel"
    monitor, monitor_mode, synthetic = "val/auroc", "max", True
    spec = DataSpec("sound", ("ehr", "cxr"), TASK, True, {"ehr": (None, 76), "cxr": (3, 8, 8)}, {})

    def rows(self, split):
        seed, size = list(SIZES).index(split), SIZES[split]
        present = {"cxr": [i % 3 == 0 for i in range(size)]}
        return make_batch(["ehr", "cxr"], size, present=present, seed=seed, shapes={"cxr": (3, 8, 8)})

    def loader(self, split):
        def order(epoch):
            rows = np.arange(SIZES[split])
            return np.random.default_rng(epoch).permutation(rows) if split == "train" else rows

        return BatchLoader(Source(self.rows(split)), order, 4, training=split == "train")

    def train_dataloader(self):
        return self.loader("train")

    def val_dataloader(self):
        return self.loader("val")

    def test_dataloader(self):
        return self.loader("test")


class SharesPatients(Sound):
    def rows(self, split):
        batch = super().rows(split)
        return {**batch, "patient": [p.replace("patient-1", "patient-0") for p in batch["patient"]]}


class RepeatsIds(Sound):
    def rows(self, split):
        batch = super().rows(split)
        return {**batch, "id": [batch["id"][0], *batch["id"][:1], *batch["id"][2:]]}


class FillsAbsentImages(Sound):
    def rows(self, split):
        batch = super().rows(split)
        return {**batch, "cxr": batch["cxr"] + 1}


class CountsOddly(Sound):
    num_classes = 4


class LabelsHalf(Sound):
    def rows(self, split):
        batch = super().rows(split)
        return {**batch, "target": torch.where(batch["target"] > 0, 0.5, 0.0)}


class PadsWithNoise(Sound):
    def rows(self, split):
        batch = super().rows(split)
        return {**batch, "ehr": batch["ehr"] + 1}


class NeverTheSame(Sound):
    def rows(self, split):
        batch = super().rows(split)
        return {**batch, "ehr": batch["ehr"] * torch.rand(())}


class AlwaysTheSameOrder(Sound):
    def loader(self, split):
        return BatchLoader(Source(self.rows(split)), lambda epoch: np.arange(SIZES[split]), 4, training=True)


class ForgetsItsPlace(Sound):
    def train_dataloader(self):
        loader = super().train_dataloader()
        loader.load_state_dict = lambda state: None
        return loader


@pytest.fixture(autouse=True)
def no_card(monkeypatch):
    monkeypatch.setattr("cardiozoo.testing.subject.read_card", lambda entry: {})


def test_a_sound_data_module_passes():
    check_datamodule(Sound)


@pytest.mark.parametrize(
    ("cls", "check", "words"),
    [
        (SharesPatients, "splits", "5 patients are in train and val, first patient-0-0"),
        (RepeatsIds, "splits", "train: 1 ids come twice"),
        (FillsAbsentImages, "batches", "cxr is not 0 where it is absent"),
        (CountsOddly, "specification", "num_classes is 4, the spec says 3"),
        (LabelsHalf, "targets", "targets hold [0.5"),
        (PadsWithNoise, "batches", "not padded with 0"),
        (NeverTheSame, "determinism", "'ehr' of batch 0 differs"),
        (AlwaysTheSameOrder, "epochs", "the same order"),
        (ForgetsItsPlace, "resuming", "after batch 1: batch 0 holds other samples"),
    ],
)
def test_a_broken_rule_is_found_and_named(cls, check, words):
    (chosen,) = [one for one in datamodule_checks(cls) if str(one) == check]
    with pytest.raises(AssertionError) as caught:
        chosen()
    assert words in str(caught.value)
