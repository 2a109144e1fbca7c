"""The data module: its samples, labels, radiographs and batches against slow and simple ways to the same values."""

from __future__ import annotations

import json
import pickle
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import polars as pl
import pytest
import torch

from cardiozoo.data.cxr_transforms import IMAGENET_MEAN, IMAGENET_SD
from cardiozoo.data.ehr import CHANNELS, CONTINUOUS_COLUMNS, PHENOTYPES, bin_block
from cardiozoo.data.mimic_cxr_ehr import MimicCxrEhr
from cardiozoo.data.prepare.mimic_cxr_ehr import prepare
from cardiozoo.data.store import Store
from cardiozoo.errors import OptionError, StoreError

TASKS = ("phenotyping", "in_hospital_mortality", "decompensation", "length_of_stay", "radiology")
SMALL: dict[str, Any] = {"image_size": 32, "num_workers": 0, "batch_size": 8}


def module(store: Path, **options: Any) -> MimicCxrEhr:
    return MimicCxrEhr(str(store), **{**SMALL, **options})


def rows(loader) -> Iterator[dict[str, Any]]:
    """Batches taken apart into samples."""
    for batch in loader:
        for i, name in enumerate(batch["id"]):
            row = {key: batch[key][i] for key in ("patient", "cxr", "target")}
            row |= {"id": name, "has_cxr": bool(batch["present"]["cxr"][i])}
            if "ehr" in batch:
                row["ehr"] = batch["ehr"][i, : batch["ehr_lengths"][i]]
                assert (batch["ehr"][i, batch["ehr_lengths"][i] :] == 0).all()
            yield row


def of_all_splits(data: MimicCxrEhr) -> dict[str, dict[str, Any]]:
    """id -> sample of every split, without augmentation."""
    found = {}
    for split in ("train", "val", "test"):
        data.predict_split = split
        for row in rows(data.predict_dataloader()):
            assert row["id"] not in found
            found[row["id"]] = {**row, "split": split}
    return found


@pytest.fixture(scope="module")
def tables(mini_store: Path) -> dict[str, pl.DataFrame]:
    store = Store.open(mini_store)
    return {name: store.table(f"{name}.parquet") for name in ("stays", "cxr", "links")}


@pytest.mark.parametrize("task", TASKS)
def test_batches_follow_the_contract(mini_store: Path, task: str) -> None:
    data = module(mini_store, task=task)
    spec = data.spec
    assert spec.task.num_classes == data.num_classes == len(data.class_names) and not data.synthetic
    assert (data.monitor, data.monitor_mode) == ("val/auroc", "max") and len(data.manifest_sha256) == 64
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for batch in loader:
            size = len(batch["id"])
            assert len(set(batch["id"])) == len(batch["patient"]) == size <= 8
            assert all(type(name) is str for name in batch["id"] + batch["patient"])
            assert batch["cxr"].shape == (size, 3, 32, 32) and batch["cxr"].dtype == torch.float32
            present = batch["present"]
            assert set(present) == set(spec.modalities) and all(mask.dtype == torch.bool for mask in present.values())
            assert (batch["cxr"][~present["cxr"]] == 0).all() and batch["cxr"].isfinite().all()
            if data.task_kind == "multiclass":
                assert batch["target"].dtype == torch.int64 and batch["target"].max() < data.num_classes
            else:
                assert batch["target"].shape == (size, data.num_classes) and batch["target"].dtype == torch.float32
            if "ehr" in spec.modalities:
                assert batch["ehr"].shape[0::2] == (size, data.ehr_channels) and batch["ehr"].dtype == torch.float32
                assert batch["ehr_lengths"].dtype == torch.int64 and batch["ehr_lengths"].min() >= 1
                assert batch["ehr_lengths"].max() == batch["ehr"].shape[1] and batch["ehr"].isfinite().all()
                assert batch["groups"]["age"].dtype == torch.float32 and set(batch["groups"]["sex"]) <= {"F", "M"}


def test_one_patient_is_in_one_split_for_all_tasks(mini_store: Path, tables) -> None:
    where: dict[int, int] = {}
    for task in TASKS:
        data = module(mini_store, task=task)
        data.setup()
        assert data.samples is not None
        table, rows_of = ("cxr", data.samples.image) if task == "radiology" else ("stays", data.samples.stay)
        for patient, split in zip(tables[table]["subject_id"].to_numpy()[rows_of], data.samples.split, strict=True):
            assert where.setdefault(int(patient), int(split)) == split
    assert set(where.values()) == {0, 1, 2} and len(where) == 41


@pytest.mark.parametrize(
    ("task", "window", "timestep"),
    [("phenotyping", "stay", 1), ("phenotyping", "48h", 2), ("in_hospital_mortality", "48h", 1)],
)
def test_samples_of_whole_stays(mini_store: Path, tables, task: str, window: str, timestep: float) -> None:
    store, samples = (
        Store.open(mini_store),
        of_all_splits(module(mini_store, task=task, window=window, timestep=timestep)),
    )
    stays = tables["stays"].rows(named=True)
    eligible = [stay for stay in stays if task == "phenotyping" or stay["los_hours"] >= 48]
    assert sorted(samples) == sorted(str(stay["stay_id"]) for stay in eligible)
    offsets = store.array("events/offsets.npy")
    matrices = {}
    for stay in eligible:
        end = stay["los_hours"] if window == "stay" else 48 if task != "phenotyping" else min(48, stay["los_hours"])
        part = slice(int(offsets[stay["stay"]]), int(offsets[stay["stay"] + 1]))
        events = [store.array(f"events/{name}.npy")[part] for name in ("seconds", "variable", "value")]
        matrix, lengths = bin_block(np.array([0, len(events[0])]), *events, np.array([round(end * 3600)]), timestep)
        assert lengths[0] == int(end / timestep + 1 - 1e-6)
        matrices[str(stay["stay_id"])] = (stay["split"], matrix[0])
    training = np.concatenate([matrix for split, matrix in matrices.values() if split == "train"]).astype(np.float64)
    columns = list(CONTINUOUS_COLUMNS)
    mean, sd = training[:, columns].mean(0), np.maximum(training[:, columns].std(0, ddof=1), 1e-7)
    for name, (split, matrix) in matrices.items():
        expected = matrix.astype(np.float64)
        expected[:, columns] = np.clip((expected[:, columns] - mean) / sd, -10, 10)
        assert samples[name]["split"] == split
        assert np.allclose(samples[name]["ehr"].numpy(), expected, atol=2e-3)
    for stay in eligible:
        labels = [stay[f"phenotype/{label}"] for label in PHENOTYPES] if task == "phenotyping" else [stay["mortality"]]
        assert samples[str(stay["stay_id"])]["target"].tolist() == [float(label) for label in labels]


@pytest.mark.parametrize("task", ["decompensation", "length_of_stay"])
def test_hourly_samples(mini_store: Path, tables, task: str) -> None:
    samples, expected = of_all_splits(module(mini_store, task=task, batch_size=64)), {}
    edges = [1, 2, 3, 4, 5, 6, 7, 8, 14]
    for stay in tables["stays"].rows(named=True):
        los, death = stay["los_hours"], stay["death_hours"] if stay["mortality"] else None
        hour = 5
        while hour <= los + 1e-6 and (task == "length_of_stay" or death is None or hour <= death + 1e-6):
            if hour * 3600 > stay["first_event_seconds"]:
                soon = death is not None and death - hour < 24
                label = int(soon) if task == "decompensation" else sum((los - hour) / 24 >= edge for edge in edges)
                expected[f"{stay['stay_id']}-{hour}"] = (label, hour)
            hour += 1
    assert sorted(samples) == sorted(expected) and len(expected) > 2000
    for name, (label, hour) in expected.items():
        assert float(samples[name]["target"]) == label and len(samples[name]["ehr"]) == hour
    assert len({label for label, _ in expected.values()}) > 1


@pytest.mark.parametrize("views", ["AP", "AP+PA"])
@pytest.mark.parametrize("task", ["phenotyping", "phenotyping 48h", "in_hospital_mortality", "decompensation"])
def test_the_radiograph_is_the_last_one_of_the_window(mini_store: Path, tables, task: str, views: str) -> None:
    task, _, window = task.partition(" ")
    data = module(mini_store, task=task, window=window or "auto", views=views)
    data.setup()
    stays, cxr, links = tables["stays"], tables["cxr"], tables["links"]
    assert data.samples is not None and (data.samples.image >= 0).sum() > 10
    for sample in range(0, len(data.samples), 7 if task == "decompensation" else 1):
        stay = stays.row(int(data.samples.stay[sample]), named=True)
        unit = (stay["outtime"] - stay["intime"]).total_seconds() / 3600
        limit = unit if not window else 48
        if task == "in_hospital_mortality":
            limit = min(48, unit)
        if task == "decompensation":
            limit = int(data.samples.hour[sample])
        candidates = []
        for link in links.filter(pl.col("stay") == stay["stay"]).rows(named=True):
            image = cxr.row(link["image"], named=True)
            if image["view"] in views.split("+") and link["hours"] <= limit:
                candidates.append((image["study_time"], image["study_id"], image["dicom_id"], image["image"]))
        assert data.samples.image[sample] == (max(candidates)[-1] if candidates else -1)


def test_an_evaluation_image_is_the_normalised_centre_of_the_stored_one(mini_store: Path, tables) -> None:
    data = module(mini_store, task="radiology", image_size=224, views="AP")
    samples, store = of_all_splits(data), Store.open(mini_store)
    image = tables["cxr"].filter(pl.col("view") == "AP").row(3, named=True)
    pixels = store.raw("images.bin", np.uint8)[image["offset"] :][: image["rows"] * image["cols"]]
    top, left = round((image["rows"] - 224) / 2), round((image["cols"] - 224) / 2)
    centre = pixels.reshape(image["rows"], image["cols"])[top : top + 224, left : left + 224] / 255.0
    for channel in range(3):
        expected = (centre - IMAGENET_MEAN[channel]) / IMAGENET_SD[channel]
        assert np.allclose(samples[image["dicom_id"]]["cxr"][channel], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("uncertain", "missing", "expected"),
    [
        ("zero", "zero", {1: 1, 0: 0, -1: 0, None: 0}),
        ("one", "mask", {1: 1, 0: 0, -1: 1, None: np.nan}),
        ("mask", "zero", {1: 1, 0: 0, -1: np.nan, None: 0}),
    ],
)
def test_radiology_labels(mini_store: Path, tables, uncertain: str, missing: str, expected: dict) -> None:
    data = module(mini_store, task="radiology", uncertain_labels=uncertain, missing_labels=missing, views="AP+PA")
    samples = of_all_splits(data)
    cxr = tables["cxr"].rows(named=True)
    assert sorted(samples) == sorted(image["dicom_id"] for image in cxr)
    for image in cxr:
        labels = [expected[image[f"label/{name}"]] for name in data.class_names]
        assert np.array_equal(
            samples[image["dicom_id"]]["target"].numpy(), np.array(labels, np.float32), equal_nan=True
        )


def ids(loader) -> list[str]:
    return [name for batch in loader for name in batch["id"]]


def test_pairing_and_the_share_of_unpaired_training_samples(mini_store: Path) -> None:
    everything = of_all_splits(module(mini_store))
    paired = {name for name, sample in everything.items() if sample["has_cxr"]}
    assert set(of_all_splits(module(mini_store, pairing="paired"))) == paired and len(paired) == 20
    data = module(mini_store, unimodal_fraction=0.5, batch_size=1)
    loader, train = data.train_dataloader(), {name for name, s in everything.items() if s["split"] == "train"}
    first, second = ids(loader), ids(loader)
    assert len(set(first)) == len(first) == len(second) == 14 + 6 and set(first) <= train
    assert set(first) & paired == set(second) & paired == train & paired and set(first) != set(second)
    for split in ("val", "test"):
        expected = [name for name, sample in everything.items() if sample["split"] == split]
        assert ids(getattr(data, f"{split}_dataloader")()) == expected
    assert set(ids(module(mini_store, unimodal_fraction=0.0, batch_size=1).train_dataloader())) == train & paired


def test_dropout_hides_radiographs_in_training_only(mini_store: Path) -> None:
    data = module(mini_store, pairing="paired", cxr_dropout=0.4, batch_size=7)
    loader = data.train_dataloader()
    hidden = [
        [name for name, has in zip(b["id"], b["present"]["cxr"], strict=True) if not has]
        for _ in range(3)
        for b in loader
    ]
    assert all(len(names) == int(0.4 * 7) for names in hidden) and len({tuple(names) for names in hidden}) > 1
    assert all(batch["present"]["cxr"].all() for batch in data.val_dataloader())


def test_withholding_is_deterministic_and_nested_and_leaves_training_alone(mini_store: Path) -> None:
    shown = []
    for share, seed in ((0.0, 0), (0.3, 1), (0.7, 2), (1.0, 3)):  # whatever the seed of the training
        data = module(mini_store, cxr_withhold=share, pairing="paired", seed=seed)
        loaders = (data.val_dataloader(), data.test_dataloader())
        shown.append({row["id"] for loader in loaders for row in rows(loader) if row["has_cxr"]})
        assert all(batch["present"]["cxr"].all() for batch in data.train_dataloader())
        assert len(ids(data.test_dataloader())) == 3
    assert shown[0] > shown[3] == set() and shown[0] >= shown[1] >= shown[2]


def test_channels_masks_and_normalisers(mini_store: Path, tmp_path: Path) -> None:
    full = next(iter(module(mini_store, clip=None).val_dataloader()))
    values = next(iter(module(mini_store, use_masks=False, clip=None).val_dataloader()))
    assert values["ehr"].shape[-1] == 59 == module(mini_store, use_masks=False).ehr_channels
    assert torch.equal(values["ehr"], full["ehr"][..., :59])
    assert module(mini_store).spec.channels["ehr"] == tuple(CHANNELS)
    legacy = next(iter(module(mini_store, normalizer="mimic3_legacy", clip=None).val_dataloader()))
    column = CHANNELS.index("Heart Rate")
    data = module(mini_store)
    data.setup()
    assert data.normalizer is not None
    place = CONTINUOUS_COLUMNS.index(column)
    beats = full["ehr"][0, 0, column] * data.normalizer.sd[place] + data.normalizer.mean[place]
    assert float(legacy["ehr"][0, 0, column]) == pytest.approx((float(beats) - 85.539) / 57.117, abs=1e-3)
    (tmp_path / "mine.json").write_text(json.dumps(data.normalizer.to_json()))
    given = next(iter(module(mini_store, normalizer=str(tmp_path / "mine.json"), clip=None).val_dataloader()))
    assert torch.allclose(given["ehr"], full["ehr"])
    narrow = next(iter(module(mini_store, clip=0.5).val_dataloader()))
    assert narrow["ehr"][..., list(CONTINUOUS_COLUMNS)].abs().max() == 0.5 and narrow["ehr"].max() == 1


def test_folds_test_everybody_once_and_fit_their_own_statistics(mini_store: Path) -> None:
    tested, means = [], []
    for fold in range(3):
        data = module(mini_store, folds=3, fold=fold, seed=fold)
        tested += ids(data.test_dataloader())
        means.append(tuple(data.normalizer.mean))
    assert len(tested) == len(set(tested)) == 40 and len(set(means)) == 3


def test_workers_and_a_second_look_change_nothing(mini_store: Path) -> None:
    def two_epochs(workers: int) -> list[dict]:
        loader = module(mini_store, num_workers=workers, cxr_dropout=0.25, crop="random").train_dataloader()
        return [batch for _ in range(2) for batch in loader]

    alone, helped = two_epochs(0), two_epochs(2)
    assert len(alone) == len(helped) == 6
    for a, b in zip(alone, helped, strict=True):
        assert a["id"] == b["id"] and torch.equal(a["cxr"], b["cxr"]) and torch.equal(a["ehr"], b["ehr"])
    first, second = (
        {name: image for b in part for name, image in zip(b["id"], b["cxr"], strict=True)}
        for part in (alone[:3], alone[3:])
    )
    both = [name for name in first.keys() & second.keys() if first[name].abs().sum() and second[name].abs().sum()]
    assert both and not any(torch.equal(first[name], second[name]) for name in both), "augmentation is fresh each epoch"


def test_a_data_set_travels_by_pickle_without_its_maps(mini_store: Path) -> None:
    # as it does to workers that are spawned instead of forked
    dataset = module(mini_store, window="48h").train_dataloader().dataset
    here = dataset.__getitems__([(0, 3), (0, 4)])
    data = pickle.dumps(dataset)
    there = pickle.loads(data).__getitems__([(0, 3), (0, 4)])
    assert len(data) < 200_000 < (mini_store / "images.bin").stat().st_size
    assert (
        here["id"] == there["id"] and torch.equal(here["cxr"], there["cxr"]) and torch.equal(here["ehr"], there["ehr"])
    )


def test_summary_for_the_report(mini_store: Path, tables) -> None:
    summary = module(mini_store).cohort_summary()
    assert json.loads(json.dumps(summary)) == summary
    stays = tables["stays"]
    train = summary["splits"]["train"]
    own = stays.filter(pl.col("split") == "train")
    assert (train["samples"], train["paired"], train["patients"]) == (26, 14, 26)
    assert train["cxr_missing"] == pytest.approx(12 / 26)
    for label in PHENOTYPES:
        assert train["prevalence"][label]["all"] == pytest.approx(own[f"phenotype/{label}"].mean())
    stays_of_los = module(mini_store, task="length_of_stay").cohort_summary()["splits"]["test"]
    assert sum(share["all"] for share in stays_of_los["prevalence"].values()) == pytest.approx(1)
    mortality = module(mini_store, task="in_hospital_mortality").cohort_summary()
    assert mortality["excluded"] == {"stay shorter than 48 hours": 10}


@pytest.mark.parametrize("options", [{}, {"window": "48h"}, {"task": "length_of_stay"}])
def test_summary_counts_variables_that_the_samples_never_show(mini_store: Path, options: dict[str, Any]) -> None:
    """Against the masks of the batches: a variable is observed if any bin of the stay's longest sample says so."""
    data = module(mini_store, clip=None, **options)
    summary = data.cohort_summary()
    seen: dict[tuple[str, str], np.ndarray] = {}
    for name, row in of_all_splits(data).items():
        stay = (row["split"], name.partition("-")[0])
        seen[stay] = seen.get(stay, np.zeros(17, dtype=bool)) | (row["ehr"][:, -17:].numpy() > 0).any(axis=0)
    for split, shares in summary["never_observed"].items():
        expected = 1 - np.mean([observed for (where, _), observed in seen.items() if where == split], axis=0)
        assert list(shares.values()) == pytest.approx(expected)
    assert set(summary["never_observed"]["train"].values()) > {0.0} and summary["processing"]["channels"] == 76
    means = summary["processing"]["standardisation"]["mean"]
    assert list(means.values()) == pytest.approx(data.normalizer.mean) and len(means) == 12


def test_a_store_without_radiographs_still_gives_batches(mini_raw: tuple[Path, Path], tmp_path: Path) -> None:
    store = prepare(mini_raw[0], tmp_path / "s", workers=1, memory_gb=1.0, quiet=True)
    for task in TASKS[:-1]:
        for batch in module(store, task=task).val_dataloader():
            assert batch["cxr"].shape[1:] == (3, 32, 32) and not batch["present"]["cxr"].any()
    with pytest.raises(StoreError, match="no sample for radiology"):
        module(store, task="radiology").train_dataloader()
    with pytest.raises(StoreError, match="0 train"):
        module(store, pairing="paired").setup("fit")


def test_a_store_that_cannot_be_written_to_is_used_all_the_same(mini_store: Path, tmp_path: Path) -> None:
    store = shutil.copytree(mini_store, tmp_path / "s", ignore=shutil.ignore_patterns("statistics"))
    (store / "statistics").write_text("no folder")
    expected = module(mini_store)
    expected.setup()
    data = module(store)
    data.setup()
    assert np.array_equal(data.normalizer.mean, expected.normalizer.mean)


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": "sepsis"},
        {"window": "24h"},
        {"window": "stay", "task": "in_hospital_mortality"},
        {"window": "48h", "task": "decompensation"},
        {"timestep": 0},
        {"timestep": 0.7001},
        {"pairing": "all"},
        {"unimodal_fraction": 1.1},
        {"cxr_dropout": -0.1},
        {"cxr_withhold": 0.5, "task": "radiology"},
        {"views": "LATERAL"},
        {"clip": 0.0},
        {"folds": 1},
        {"folds": 5, "fold": 5},
        {"batch_size": 0},
        {"num_workers": -1},
        {"image_size": 16},
        {"augment": "strong"},
        {"uncertain_labels": "two"},
        {"predict_split": "all"},
    ],
)
def test_wrong_options_stop_before_the_store_is_opened(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(OptionError) as caught:
        module(tmp_path / "no store", **wrong)
    assert caught.value.accepted and caught.value.next_step


def test_a_wrong_normaliser_and_a_foreign_store_are_refused(mini_store: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="normalizer"):
        module(mini_store, normalizer="trian").setup()
    with pytest.raises(StoreError, match="no store"):
        module(tmp_path / "none")


class Sum(L.LightningModule):
    """Learns the mean of what it sees; keeps the ids."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[str]] = []

    def training_step(self, batch: dict) -> torch.Tensor:
        self.seen.append(batch["id"])
        return ((self.weight - batch["cxr"].mean((1, 2, 3)) - batch["ehr"].mean((1, 2))) ** 2).mean()

    def validation_step(self, batch: dict) -> None:
        self.log("val/rows", float(len(batch["id"])), batch_size=len(batch["id"]), reduce_fx="sum")

    def predict_step(self, batch: dict) -> list[str]:
        return batch["id"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Stop(L.Callback):
    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt


@pytest.mark.parametrize(("step", "limit"), [(4, 1.0), (2, 2)])
def test_a_fit_that_is_stopped_and_resumed_sees_what_an_unbroken_one_sees(
    mini_store: Path, tmp_path: Path, step: int, limit: float
) -> None:
    def fit(model: Sum, *callbacks: L.Callback, **resume: str) -> L.Trainer:
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=2,
            callbacks=list(callbacks),
            enable_checkpointing=False,
            limit_train_batches=limit,
            num_sanity_val_steps=0,
            **quiet,
        )
        trainer.fit(model, module(mini_store, window="48h"), **resume)
        return trainer

    whole, before, after = Sum(), Sum(), Sum()
    trainer = fit(whole)
    assert trainer.callback_metrics["val/rows"] == 5
    predicted = trainer.predict(whole, module(mini_store, window="48h"))
    assert sorted(name for part in predicted or [] for name in part) == sorted(
        ids(module(mini_store).test_dataloader())
    )
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(before, Stop(step, tmp_path / "c.ckpt"))
    fit(after, ckpt_path=str(tmp_path / "c.ckpt"))
    assert before.seen + after.seen == whole.seen and torch.equal(after.weight, whole.weight)


def test_batches_come_fast(mini_store: Path) -> None:
    data = module(mini_store, window="48h", pairing="partial", batch_size=26, image_size=32)
    loader = data.train_dataloader()
    for _ in loader:
        pass
    started, count = time.process_time(), 0
    while count < 260:
        count += sum(len(batch["id"]) for batch in loader)
    assert count / (time.process_time() - started) > 100, "far below the thousands a second it should reach"
