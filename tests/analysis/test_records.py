"""Which records are taken, with a data module that can be asked and with one that can only be read through."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cardiozoo.analysis.records import concatenate, random_records, records_by_id, rows_of, split_ids
from cardiozoo.data.ecg_cohort import EcgCohort
from cardiozoo.errors import OptionError
from cardiozoo.testing.batches import make_batch


class Plain:
    """Loaders and nothing else, as a stranger's data module may have."""

    def __init__(self) -> None:
        self.parts = {"test": [make_batch(["ecg"], size=4, seed=s) for s in (0, 1)], "val": [], "train": []}

    def test_dataloader(self):
        return self.parts["test"]

    def val_dataloader(self):
        return self.parts["val"]

    def train_dataloader(self):
        return self.parts["train"]


@pytest.fixture(scope="module")
def data(ecg_store_folder: Path) -> EcgCohort:
    return EcgCohort(str(ecg_store_folder), num_workers=0, batch_size=3)


def test_records_are_found_in_any_split_and_keep_their_order(data: EcgCohort):
    wanted = [split_ids(data, "train")[5], split_ids(data, "test")[2], split_ids(data, "train")[0]]
    batch, splits = records_by_id(data, wanted)
    assert batch["id"] == wanted and splits == ["train", "test", "train"]
    whole = concatenate(data.evaluation_dataloader("train"))
    row = whole["id"].index(wanted[0])
    assert torch.equal(batch["ecg"][0], whole["ecg"][row])
    assert torch.equal(batch["ecg_leads"][0], whole["ecg_leads"][row])


def test_a_cohort_is_drawn_by_its_seed(data: EcgCohort):
    everything = split_ids(data, "train")
    first, again, other = (random_records(data, 8, "train", seed)["id"] for seed in (1, 1, 2))
    assert first == again != other and len(set(first)) == 8 and set(first) <= set(everything)
    assert random_records(data, 10**6, "train")["id"] == everything


def test_loaders_alone_are_enough():
    data = Plain()
    assert len(split_ids(data, "test")) == 8
    batch, splits = records_by_id(data, ["sample-1-2", "sample-0-0"])
    assert batch["id"] == ["sample-1-2", "sample-0-0"] and splits == ["test", "test"]
    assert torch.equal(batch["ecg"][0], data.parts["test"][1]["ecg"][2])
    assert len(random_records(data, 5)["id"]) == 5


def test_rows_of_nested_batches():
    batch = make_batch(["ecg"], size=5)
    part = rows_of(batch, [3, 1])
    assert part["id"] == [batch["id"][3], batch["id"][1]]
    assert torch.equal(part["present"]["ecg"], batch["present"]["ecg"][[3, 1]])
    assert part["groups"]["sex"] == [batch["groups"]["sex"][3], batch["groups"]["sex"][1]]


def test_bad_input_is_refused(data: EcgCohort):
    known = split_ids(data, "test")[0]
    with pytest.raises(OptionError, match=f"Did you mean .*{known}"):
        records_by_id(data, [known + "x"])
    with pytest.raises(OptionError, match="in the val split"):
        records_by_id(data, [known], "val")
    with pytest.raises(OptionError, match="twice"):
        records_by_id(data, [known, known])
    with pytest.raises(OptionError, match="cohort of 0"):
        random_records(data, 0)
    with pytest.raises(OptionError, match=r"val split has no sample.*\n.*8 test"):
        random_records(Plain(), 3, "val")
