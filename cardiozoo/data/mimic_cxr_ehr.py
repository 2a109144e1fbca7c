"""`MimicCxrEhr`: MIMIC-IV clinical time series with MIMIC-CXR-JPG radiographs, from a prepared store to batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import polars as pl

from cardiozoo.data.cohort_summary import never_observed, processing, summarise
from cardiozoo.data.cxr_transforms import Augment, Crop, ImageOptions
from cardiozoo.data.icd import PHENOTYPE_TYPES, PHENOTYPES
from cardiozoo.data.loading import BatchLoader, epoch_rng, evaluation_loader, training_loader
from cardiozoo.data.mimic_cxr_ehr_dataset import (
    BatchOptions,
    MimicDataset,
    SampleFacts,
    StayEvents,
    StoredImages,
    channel_names,
)
from cardiozoo.data.mimic_cxr_ehr_options import Pairing, PredictSplit, check_options
from cardiozoo.data.mimic_cxr_ehr_samples import (
    TASKS,
    LabelRule,
    LastImage,
    Samples,
    TaskName,
    Window,
    radiology_samples,
    resolve_window,
    split_codes,
    stay_samples,
)
from cardiozoo.data.readers.mimic_cxr import Views
from cardiozoo.data.splits import SPLITS, assign_folds, check_one_split_per_patient, unit_hash
from cardiozoo.data.standardise import Normalizer, legacy_normalizer, read_normalizer, training_normalizer
from cardiozoo.data.store import Store
from cardiozoo.data.tasks import DataSpec
from cardiozoo.errors import StoreError

NAME = "mimic_cxr_ehr"
KINDS = ("acute", "mixed", "chronic")


class MimicCxrEhr(L.LightningDataModule):
    """MIMIC-IV clinical time series and MIMIC-CXR-JPG radiographs, prepared by `cardiozoo prepare mimic_cxr_ehr`.

    Args:
        store: Folder of the prepared store. Without it, a small synthetic cohort is built once in the user's cache.
        task: phenotyping (25 labels of the admission), in_hospital_mortality (after 48 h), decompensation (death within
            24 h, every hour), length_of_stay (10 classes of what remains, every hour) or radiology (14 findings, an
            image a sample, for pre-training the image encoder).
        timestep: Width of a bin of the time series in hours.
        window: The hours of a stay that are seen: stay (all), 48h (the first 48), auto (stay for phenotyping, 48h for
            mortality).
        pairing: partial: all stays; paired: only stays that have a radiograph. Holds for all splits.
        unimodal_fraction: Share of the training stays without a radiograph that is drawn, anew each epoch.
        cxr_dropout: Share of the rows of each training batch whose radiograph is hidden.
        cxr_withhold: Share of the validation and test samples whose radiograph is withheld, always the same ones; a
            larger share withholds those of the smaller share and more.
        views: Projections of the radiographs used; the published pipelines use AP.
        use_masks: Keep the 17 observation masks among the 76 channels.
        normalizer: Where mean and standard deviation come from: train (the training split), mimic3_legacy (published
            constants, for weights trained with them), or a JSON file from a store's statistics folder.
        clip: Limit of the standardised values; none for no limit.
        uncertain_labels: What an uncertain finding of the radiology task counts as; mask leaves it out of loss and
            scores.
        missing_labels: What a finding that the report does not mention counts as.
        augment: Augmentation of the training images.
        crop: Crop of the training images; evaluation always crops the centre.
        image_size: Side of the images in pixels.
        folds: Number of folds of a cross-validation over patients; none for the split of the store.
        fold: Which fold is the test split.
        batch_size: Samples a batch and process.
        num_workers: Worker processes that prepare batches.
        seed: Seed of order, augmentation, drawing and hiding in training; --seed_everything where it is not given. The
            split and what is withheld in evaluation do not depend on it.
        predict_split: Split that `predict` runs over.

    Raises:
        OptionError: An option is out of its range or contradicts another.
        StoreError: The store is absent, incomplete, damaged, foreign or of another version.
    """

    def __init__(
        self,
        store: str | None = None,
        task: TaskName = "phenotyping",
        timestep: float = 1.0,
        window: Window = "auto",
        pairing: Pairing = "partial",
        unimodal_fraction: float = 1.0,
        cxr_dropout: float = 0.0,
        cxr_withhold: float = 0.0,
        views: Views = "AP",
        use_masks: bool = True,
        normalizer: str = "train",
        clip: float | None = 10.0,
        uncertain_labels: LabelRule = "zero",
        missing_labels: Literal["zero", "mask"] = "zero",
        augment: Augment = "medfuse",
        crop: Crop = "center",
        image_size: int = 224,
        folds: int | None = None,
        fold: int = 0,
        batch_size: int = 16,
        num_workers: int = 2,
        seed: int = 0,
        predict_split: PredictSplit = "test",
    ) -> None:
        super().__init__()
        self.task_name, self.timestep, self.pairing, self.views = task, float(timestep), pairing, views
        self.unimodal_fraction, self.cxr_dropout, self.cxr_withhold = unimodal_fraction, cxr_dropout, cxr_withhold
        self.use_masks, self.normalizer_option, self.clip = use_masks, normalizer, clip
        self.uncertain_labels, self.missing_labels = uncertain_labels, missing_labels
        self.folds, self.fold, self.seed = folds, fold, seed
        self.batch_size, self.num_workers, self.predict_split = batch_size, num_workers, predict_split
        check_options(self)
        self.window = resolve_window(task, window)
        self.image = ImageOptions(image_size, augment, crop)
        self.eval_image = ImageOptions(image_size, "none", "center")
        if store is None:
            from cardiozoo.data.synthetic.demo import demo_store

            store = str(demo_store())
        self.store = Store.open(store, NAME)
        self.samples: Samples | None = None
        self.normalizer: Normalizer | None = None

    # ---- what the data say of themselves; valid without `setup` ----

    @property
    def spec(self) -> DataSpec:
        """Shapes, channels and task of the batches."""
        size, channels = self.image.size, channel_names(self.use_masks)
        shapes: dict[str, tuple[int | None, ...]] = {"ehr": (None, len(channels)), "cxr": (3, size, size)}
        modalities = ("cxr",) if self.task_name == "radiology" else ("ehr", "cxr")
        return DataSpec(
            name=NAME,
            modalities=modalities,
            task=TASKS[self.task_name],
            synthetic=self.synthetic,
            shapes={name: shapes[name] for name in modalities},
            channels={"ehr": channels} if "ehr" in modalities else {},
        )

    @property
    def num_classes(self) -> int:
        """Columns of the target (or number of classes)."""
        return TASKS[self.task_name].num_classes

    @property
    def class_names(self) -> list[str]:
        """One name a class, in order."""
        return list(TASKS[self.task_name].classes)

    @property
    def class_groups(self) -> dict[str, list[str]]:
        """Acute, mixed and chronic phenotypes, which are also judged as groups; empty for the other tasks."""
        if self.task_name != "phenotyping":
            return {}
        return {kind: [p for p, t in zip(PHENOTYPES, PHENOTYPE_TYPES, strict=True) if t == kind] for kind in KINDS}

    @property
    def task_kind(self) -> str:
        """``binary``, ``multilabel`` or ``multiclass``."""
        return TASKS[self.task_name].kind

    @property
    def ehr_channels(self) -> int:
        """Channels of a bin of the time series."""
        return len(channel_names(self.use_masks))

    @property
    def monitor(self) -> str:
        """The logged metric that selects a model."""
        return TASKS[self.task_name].monitor

    @property
    def monitor_mode(self) -> str:
        """``max`` or ``min``."""
        return TASKS[self.task_name].mode

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the store."""
        return self.store.manifest

    @property
    def manifest_sha256(self) -> str:
        """SHA-256 of the manifest; it identifies the store."""
        return self.store.manifest_sha256

    @property
    def synthetic(self) -> bool:
        """Whether the patients come from the simulator."""
        return self.store.synthetic

    @property
    def store_path(self) -> Path:
        """Folder of the store."""
        return self.store.path

    def cohort_summary(self) -> dict[str, Any]:
        """Counts per split, prevalence per class in all and in paired samples, missingness and processing, as JSON."""
        self.setup()
        assert self.samples is not None
        by_image = self.task_name == "radiology"
        summary = summarise(self.samples, TASKS[self.task_name], self._facts.patients, by_image)
        missing = {} if by_image else {"never_observed": never_observed(self.store, self.samples)}
        return summary | missing | {"processing": processing(self)}

    # ---- Lightning's hooks ----

    def prepare_data(self) -> None:
        """Compute the statistics of the training split once, before other processes ask for them."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Read the tables, make the samples and fit (or read) the statistics of the training split; once."""
        if self.samples is None:
            self._make_samples()
        if self.normalizer is None and self.task_name != "radiology":
            self.normalizer = self._make_normalizer()
        if stage == "fit":
            self._check_not_empty("train", "val")

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches of the training split, resumable, one share a process."""
        self.setup()
        self._check_not_empty("train")
        dataset = self._dataset("train", training=True)
        paired = dataset.samples.image >= 0

        def order(epoch: int) -> np.ndarray:
            return self._epoch_order(paired, epoch)

        return training_loader(dataset, order, self.batch_size, self.trainer, num_workers=self.num_workers)

    def val_dataloader(self) -> BatchLoader:
        """All samples of the validation split, in order."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> BatchLoader:
        """All samples of the test split, in order."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> BatchLoader:
        """All samples of `predict_split`, in order, without augmentation."""
        return self._evaluation_loader(self.predict_split)

    # ---- construction ----

    def _splits(self, table: pl.DataFrame) -> np.ndarray:
        """Split of each row as names: of the store, or by folds over patients."""
        subjects, names = table["subject_id"].to_numpy(), table["split"].to_numpy().astype("<U5")
        if self.folds is None:
            return names
        # folds depend on the store's seed, not on the seed of the training: all models are compared on the same ones
        return assign_folds(subjects, self.folds, self.fold, self._split_seed)

    @property
    def _split_seed(self) -> int:
        return int(self.manifest["options"].get("split_seed", 0))

    def _make_samples(self) -> None:
        stays, cxr = self.store.table("stays.parquet"), self.store.table("cxr.parquet")
        tables = [("stays", stays), ("cxr", cxr)]
        check_one_split_per_patient([(name, t["subject_id"].to_numpy(), self._splits(t)) for name, t in tables])
        self._cxr = cxr
        views = None if self.views == "all" else set(self.views.split("+"))
        if self.task_name == "radiology":
            split = split_codes(self._splits(cxr))
            samples = radiology_samples(cxr, split, views, self.uncertain_labels, self.missing_labels)
            groups = {"view": cxr["view"].to_numpy()}
            self._facts = SampleFacts(cxr["dicom_id"].to_numpy(), cxr["subject_id"].to_numpy(), groups)
        else:
            images = LastImage(self.store.table("links.parquet"), cxr, views)
            samples = stay_samples(self.task_name, self.window, stays, split_codes(self._splits(stays)), images)
            groups = {
                "age": stays["age"].to_numpy().astype(np.float32),
                "sex": stays["sex"].fill_null("unknown").to_numpy(),
                "race": stays["race"].fill_null("unknown").to_numpy(),
            }
            self._facts = SampleFacts(stays["stay_id"].to_numpy(), stays["subject_id"].to_numpy(), groups)
        # statistics come from all training stays of the task, whatever is paired
        self._statistics_rows = samples.rows_of("train")
        self._all_samples = samples
        if self.pairing == "paired":
            samples = samples.take(np.flatnonzero(samples.image >= 0))
        self.samples = samples

    def _make_normalizer(self) -> Normalizer:
        if self.normalizer_option == "mimic3_legacy":
            return legacy_normalizer()
        if self.normalizer_option != "train":
            return read_normalizer(self.normalizer_option)
        key = {
            "store": self.manifest_sha256,
            "task": self.task_name,
            "window": self.window,
            "timestep": self.timestep,
            "folds": self.folds,
            "fold": self.fold if self.folds else None,
        }
        samples = self._all_samples.take(self._statistics_rows)
        # hourly samples of a stay: its longest window has the bins of all of them
        stay, where = np.unique(samples.stay[::-1], return_index=True)
        end = samples.end_seconds[::-1][where]
        return training_normalizer(
            self.store.path / "statistics", key, StayEvents(self.store), stay, end, self.timestep
        )

    def _check_not_empty(self, *splits: str) -> None:
        assert self.samples is not None
        for split in splits:
            if len(self.samples.rows_of(split)):
                continue
            raise StoreError(
                f"The {split} split of {self.store.path} has no sample for {self.task_name} "
                f"(window {self.window}, {self.pairing}, views {self.views}).",
                f"At least one; it has {self._counts()}.",
                "Use a larger store, or other options (pairing, views, window, folds).",
            )

    def _counts(self) -> str:
        assert self.samples is not None
        return ", ".join(f"{len(self.samples.rows_of(split))} {split}" for split in SPLITS)

    def _dataset(self, split: str, training: bool) -> MimicDataset:
        assert self.samples is not None
        samples = self.samples.take(self.samples.rows_of(split))
        if not training and self.cxr_withhold:
            samples = self._withhold(samples)
        options = BatchOptions(
            timestep=self.timestep,
            use_masks=self.use_masks,
            clip=self.clip,
            image=self.image if training else self.eval_image,
            training=training,
            cxr_dropout=self.cxr_dropout,
            seed=self.seed,
        )
        images = StoredImages(self.store, self._cxr)
        if self.task_name == "radiology":
            return MimicDataset(samples, self._facts, options, images)
        return MimicDataset(samples, self._facts, options, images, StayEvents(self.store), self.normalizer)

    def _withhold(self, samples: Samples) -> Samples:
        # as with folds, whatever the seed of the training: models are compared on the same samples
        draw = unit_hash(self._facts.ids[samples.stay].astype(np.int64), self._split_seed, "withhold")
        hidden = draw < self.cxr_withhold
        return replace(samples, image=np.where(hidden, -1, samples.image).astype(np.int32))

    def _epoch_order(self, paired: np.ndarray, epoch: int) -> np.ndarray:
        """Rows of one training epoch: everything paired and a fresh draw of the rest, shuffled."""
        rng = epoch_rng(self.seed, epoch)
        with_image, without = np.flatnonzero(paired), np.flatnonzero(~paired)
        if self.unimodal_fraction < 1.0:
            without = rng.choice(without, round(self.unimodal_fraction * len(without)), replace=False)
        return rng.permutation(np.concatenate([with_image, without]))

    def _evaluation_loader(self, split: str) -> BatchLoader:
        self.setup()
        self._check_not_empty(split)
        dataset = self._dataset(split, training=False)
        return evaluation_loader(dataset, self.batch_size, self.trainer, num_workers=self.num_workers)
