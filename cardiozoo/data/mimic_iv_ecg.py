"""`MimicIvEcg`: MIMIC-IV-ECG, 800,000 twelve-lead ECGs for pre-training, from a prepared store to batches."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl

from cardiozoo.data.ecg_columns import RECONSTRUCTION, column_target, without_target
from cardiozoo.data.ecg_datamodule import EcgDataModule
from cardiozoo.data.ecg_samples import Labelled
from cardiozoo.errors import OptionError

NAME = "mimic_iv_ecg"


class MimicIvEcg(EcgDataModule):
    """MIMIC-IV-ECG, prepared by `cardiozoo prepare mimic_iv_ecg`; made for pre-training without labels.

    Args:
        store: Folder of the prepared store. Without it, a small synthetic cohort is built once in the user's cache.
        task: reconstruction (no target), sex, age (years), or a measurement of the ECG machine such as rr_interval,
            qrs_axis or another column that the store holds (its error message lists them).
        threshold: Makes a measurement a binary label: above it or not.
        where: Use only records that meet a condition, for instance "age >= 18".
        **options: Those of every ECG data module.

    Raises:
        OptionError: An option is out of its range, or the store has no such column.
        StoreError: The store is absent, incomplete, damaged, foreign or of another version.
    """

    NAME: ClassVar[str] = NAME

    def __init__(
        self,
        store: str | None = None,
        task: str = "reconstruction",
        threshold: float | None = None,
        where: str | None = None,
        **options: Any,
    ) -> None:
        self.task, self.threshold, self.where = task, threshold, where
        if threshold is not None and task in (RECONSTRUCTION.name, "sex"):
            raise OptionError(
                f"threshold is {threshold:g} and the task is {task}.",
                "A threshold for a task that is a number, for instance heart_rate.",
                "Leave it out, or choose such a task.",
            )
        super().__init__(store, **options)

    def _labelled(self, records: pl.DataFrame) -> Labelled:
        if self.task == RECONSTRUCTION.name:
            return without_target(records, self.where)
        threshold = self.threshold
        if self.task == "sex":
            female = records.with_columns((pl.col("sex") == "F").cast(pl.Float64).alias("target/female"))
            return column_target(
                female, "female", threshold=0.5, where=self.where, class_name="female", task_name="sex"
            )
        return column_target(records, self.task, threshold=threshold, where=self.where)
