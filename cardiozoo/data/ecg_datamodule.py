"""What the data modules of ECG stores share: options, splits, transforms, loaders, and what they say of themselves."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import numpy as np
import polars as pl

from cardiozoo.data.ecg import LEADS, choose_leads
from cardiozoo.data.ecg_dataset import EcgDataset, EvalWindow, StoredSignals, WindowOptions
from cardiozoo.data.ecg_options import PredictSplit, check_against_store, check_options
from cardiozoo.data.ecg_samples import EcgSamples, Labelled, Partition, partition
from cardiozoo.data.ecg_statistics import EcgScale, training_scale
from cardiozoo.data.ecg_stored import stored_form, usable_leads
from cardiozoo.data.ecg_summary import processing, summarise
from cardiozoo.data.ecg_transforms import SignalOptions, Standardise
from cardiozoo.data.loading import BatchLoader, epoch_rng, evaluation_loader, training_loader
from cardiozoo.data.splits import SPLITS
from cardiozoo.data.store import Store
from cardiozoo.data.tasks import DataSpec
from cardiozoo.errors import StoreError


class EcgDataModule(L.LightningDataModule):
    """Twelve-lead ECGs from a prepared store; a data module adds its tasks in `_labelled`.

    Args:
        store: Folder of the prepared store.
        leads: Leads that a model sees: all, limb, chest, or names. The others are absent, as in a record without them.
        rate: Samples per second, at most the store's; the store's where not given.
        window: Seconds of a record seen in training, from a random place each time; null for whole records.
        eval_window: What is seen in evaluation when there is a window: full (the whole record) or center.
        beat: Seconds of the median beat that stands in for the record, half before R and half after; null for the
            record itself. A record in which no beat is found counts as one without leads.
        highpass: Cut-off of the zero-phase Butterworth high-pass of order 5 in Hz; null for no filter.
        powerline: Frequency of the mains in Hz, 50 or 60, whose period is averaged over; null for no smoothing.
        standardise: lead (each lead of each record to mean 0 and sample sd 1), train (one mean and sd of the training
            records for all leads), train_lead (one a lead), none (mV).
        clip: Limit of the absolute value after standardisation; null for none.
        folds: Number of folds of a stratified cross-validation over patients; null for the split of the store.
        fold: Which fold is the test split.
        fold_seed: Seed of the folds, of the patients set aside for validation and of the order of train_patients.
        val_fraction: Share of the training patients of a fold that is set aside for validation; 0 for no validation,
            where the last checkpoint counts.
        train_patients: Train on this many patients only; more hold the fewer, with like shares of the classes.
        batch_size: Samples a batch and process.
        num_workers: Threads that prepare batches while others are learnt from.
        seed: Seed of order and crops in training; --seed_everything where it is not given. Splits do not depend on it.
        predict_split: Split that `predict` runs over.

    Raises:
        OptionError: An option is out of its range or contradicts another, or the task finds no usable column.
        StoreError: The store is absent, incomplete, damaged, foreign or of another version.
    """

    NAME: ClassVar[str] = ""

    def __init__(
        self,
        store: str | None = None,
        leads: list[str] | str = "all",
        rate: float | None = None,
        window: float | None = None,
        eval_window: EvalWindow = "full",
        beat: float | None = None,
        highpass: float | None = 0.5,
        powerline: float | None = 50.0,
        standardise: Standardise = "lead",
        clip: float | None = None,
        folds: int | None = None,
        fold: int = 0,
        fold_seed: int = 42,
        val_fraction: float = 0.0,
        train_patients: int | None = None,
        batch_size: int = 32,
        num_workers: int = 2,
        seed: int = 0,
        predict_split: PredictSplit = "test",
    ) -> None:
        super().__init__()
        self.leads = choose_leads(leads)
        self.rate, self.window, self.eval_window, self.beat = rate, window, eval_window, beat
        self.highpass, self.powerline, self.standardise, self.clip = highpass, powerline, standardise, clip
        self.partition = Partition(folds, fold, fold_seed, val_fraction, train_patients)
        self.batch_size, self.num_workers, self.seed, self.predict_split = batch_size, num_workers, seed, predict_split
        self.fold_seed = fold_seed
        check_options(self)
        if store is None:
            store = self._without_store()
        self.store = Store.open(store, self.NAME)
        self.stored = stored_form(self.store)
        check_against_store(self)
        self.scale: EcgScale | None = None
        self._features: Mapping[str, np.ndarray] | None = None
        _ = self.samples  # a task that finds no usable record stops here, not after a model has been built

    # ---- what a data module adds ----

    @abstractmethod
    def _labelled(self, records: pl.DataFrame) -> Labelled:
        """The task, the records that it can use, and their targets."""

    def _without_store(self) -> str:
        """The store used when none is given: a synthetic one, made once."""
        from cardiozoo.data.synthetic.demo import demo_store

        return str(demo_store(self.NAME))

    def own_folds(self) -> list[int] | None:
        """The numbers of the folds that the data bring, where as many are asked for; None where folds are drawn."""
        return None

    # ---- the samples; valid without `setup` ----

    @cached_property
    def records(self) -> pl.DataFrame:
        """The records of the store, one a row."""
        return self.store.table("records.parquet")

    @cached_property
    def labelled(self) -> Labelled:
        """The records that the task can use and that show at least one of the chosen leads."""
        found = self._labelled(self.records)
        shown = usable_leads(self.store, [LEADS.index(lead) for lead in self.leads])[found.row].any(axis=1)
        found = found.take(shown, f"none of the leads {', '.join(self.leads)}")
        if not len(found.row):
            reasons = "; ".join(f"{count} x {reason}" for reason, count in found.excluded.items())
            raise StoreError(
                f"{self.store.path} has no record for {found.task.name} ({reasons or 'it is empty'}).",
                "At least one record with a target and one of the leads.",
                "Choose another task, target or leads, or prepare a larger store.",
            )
        return found

    @cached_property
    def samples(self) -> EcgSamples:
        """All samples of the task with their split."""
        return partition(self.labelled, self.records, self.partition, self.own_folds())

    @property
    def spec(self) -> DataSpec:
        """Shape, leads and task of the batches."""
        varies = self.window is not None and self.eval_window == "full"
        return DataSpec(
            name=self.NAME,
            modalities=("ecg",),
            task=self.labelled.task,
            synthetic=self.synthetic,
            shapes={"ecg": (len(LEADS), None if varies else self.ecg_samples)},
            channels={"ecg": LEADS},
        )

    @property
    def ecg_leads(self) -> list[str]:
        """The leads that are shown."""
        return list(self.leads)

    @property
    def ecg_rate(self) -> float:
        """Samples per second of a batch."""
        return float(self.stored.rate if self.rate is None else self.rate)

    @property
    def ecg_samples(self) -> int:
        """Samples of a training batch."""
        if self.beat is not None:
            return self.beat_samples
        return self.record_samples if self.window is None else self.window_samples

    @property
    def record_samples(self) -> int:
        """Samples of a whole record at the rate of a batch."""
        return self.signal_options.samples(self.stored.samples)

    @property
    def window_samples(self) -> int:
        """Samples of the window; 0 without one."""
        return 0 if self.window is None else round(self.window * self.ecg_rate)

    @property
    def beat_samples(self) -> int:
        """Samples of the median beat; 0 without one."""
        return 0 if self.beat is None else round(self.beat * self.ecg_rate)

    @property
    def signal_options(self) -> SignalOptions:
        """What is done to the samples."""
        return SignalOptions(
            self.stored.rate,
            self.ecg_rate,
            self.highpass,
            self.powerline,
            self.standardise,
            self.clip,
            self.beat_samples or None,
        )

    @property
    def num_classes(self) -> int:
        """Columns of the target (or number of classes); 0 without a target."""
        return self.labelled.task.num_classes

    @property
    def class_names(self) -> list[str]:
        """One name a class, in order."""
        return list(self.labelled.task.classes)

    @property
    def task_name(self) -> str:
        """The task, with the column where one was chosen."""
        return self.labelled.task.name

    @property
    def task_kind(self) -> str:
        """``unsupervised``, ``binary``, ``multilabel``, ``multiclass`` or ``regression``."""
        return self.labelled.task.kind

    @property
    def monitor(self) -> str:
        """The logged metric that selects a model."""
        return self.labelled.task.monitor

    @property
    def monitor_mode(self) -> str:
        """``max`` or ``min``."""
        return self.labelled.task.mode

    @property
    def target_mean(self) -> list[float] | None:
        """Mean of the target over the training samples, for a regression."""
        values = self._training_targets()
        return None if values is None else values.mean(axis=0).tolist()

    @property
    def target_std(self) -> list[float] | None:
        """Standard deviation (N in the denominator) of the target over the training samples, for a regression."""
        values = self._training_targets()
        return None if values is None else np.maximum(values.std(axis=0), 1e-8).tolist()

    def _training_targets(self) -> np.ndarray | None:
        target = self.samples.target
        if self.task_kind != "regression" or target is None:
            return None
        return target[self.samples.rows_of("train")].astype(np.float64)

    @property
    def has_validation(self) -> bool:
        """Whether there is a validation split; without one the last checkpoint counts."""
        return bool(len(self.samples.rows_of("val")))

    @property
    def sample_ids(self) -> list[str]:
        """Ids of all samples of all splits."""
        return self.records["id"][self.samples.row].to_list()

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
        """Counts per split, prevalence per class, absent leads, what was left out and the processing, as JSON."""
        self.setup()
        states = usable_leads(self.store, [LEADS.index(lead) for lead in self.leads])
        present = {lead: states[:, column] for column, lead in enumerate(self.leads)}
        summary = summarise(self.samples, self.labelled, self.records, present)
        return summary | {"processing": processing(self)}

    def attach_features(self, features: Mapping[str, np.ndarray]) -> None:
        """From now on batches hold `features` in place of `ecg`, and no signal is read any more.

        Args:
            features: id of a record -> vector (D,), for every sample of every split.
        """
        self._features = features

    # ---- Lightning's hooks ----

    def prepare_data(self) -> None:
        """Compute the scale of the training records once, before other processes ask for it."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Fit (or read) the scale of the training records, where the options want one; once."""
        self._check_not_empty("train")
        if self.standardise.startswith("train") and self.scale is None:
            self.scale = self._training_scale()

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches of the training split, resumable, one share a process."""
        self.setup()
        dataset = self._dataset("train", training=True)

        def order(epoch: int) -> np.ndarray:
            return epoch_rng(self.seed, epoch).permutation(len(dataset))

        return training_loader(dataset, order, self.batch_size, self.trainer, **self._workers)

    def val_dataloader(self) -> BatchLoader | list[Any]:
        """All samples of the validation split, in order; an empty list where there is none."""
        return self.evaluation_dataloader("val") if self.has_validation else []

    def test_dataloader(self) -> BatchLoader | list[Any]:
        """All samples of the test split, in order; an empty list where there is none."""
        return self.evaluation_dataloader("test") if len(self.samples.rows_of("test")) else []

    def predict_dataloader(self) -> BatchLoader:
        """All samples of `predict_split`, in order, without random crops."""
        return self.evaluation_dataloader(self.predict_split)

    def evaluation_dataloader(self, split: str) -> BatchLoader:
        """All samples of one split, in order, as they are evaluated.

        Raises:
            StoreError: The split has no sample.
        """
        self.setup()
        self._check_not_empty(split)
        dataset = self._dataset(split, training=False)
        return evaluation_loader(dataset, self.batch_size, self.trainer, **self._workers)

    # ---- construction ----

    def _training_scale(self) -> EcgScale:
        rows = self.samples.row[self.samples.rows_of("train")]
        per_lead = self.standardise == "train_lead"
        options = self.signal_options
        key = {
            "store": self.manifest_sha256,
            "leads": list(self.leads),
            "per_lead": per_lead,
            "rate": options.rate,
            "highpass": options.highpass,
            "powerline": options.powerline,
            **({} if options.beat is None else {"beat": options.beat}),
            "rows": hashlib.sha256(np.sort(rows).astype("<i8").tobytes()).hexdigest(),
        }
        unscaled = replace(options, standardise="none", clip=None)
        signals = StoredSignals(self.store, self.records, self.leads, unscaled)
        return training_scale(self.store.path / "statistics", key, self.leads, per_lead, rows, signals.read)

    def _dataset(self, split: str, training: bool) -> EcgDataset:
        samples = self.samples.take(self.samples.rows_of(split))
        mean, sd = (None, None) if self.scale is None else (self.scale.mean, self.scale.sd)
        signals = StoredSignals(self.store, self.records, self.leads, self.signal_options, mean, sd)
        samples_of_window = None if self.window is None else self.window_samples
        window = WindowOptions(samples_of_window, "random" if training else self.eval_window, self.seed)
        present = usable_leads(self.store, signals.columns) if self._features is not None else None
        return EcgDataset(samples, self.records, signals, window, self._features, present)

    def _check_not_empty(self, split: str) -> None:
        if len(self.samples.rows_of(split)):
            return
        counts = ", ".join(f"{len(self.samples.rows_of(name))} {name}" for name in SPLITS)
        raise StoreError(
            f"The {split} split of {self.store.path} has no sample for {self.task_name}.",
            f"At least one; it has {counts}.",
            "Use a larger store, another split (predict_split), or folds.",
        )

    @property
    def _workers(self) -> dict[str, Any]:
        # threads: reading, filtering and scaling release Python's lock, and a batch is 15 MB to move
        return {"num_workers": 0 if self._features is not None else self.num_workers, "threads": True}
