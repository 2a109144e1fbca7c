"""`EcgCohort`: a labelled cohort of one's own, from a prepared store to batches."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

import polars as pl

from cardiozoo.data.ecg_columns import WEDGE_PRESSURE, column_target, target_names, without_target
from cardiozoo.data.ecg_datamodule import EcgDataModule
from cardiozoo.data.ecg_samples import Labelled
from cardiozoo.errors import OptionError

NAME = "ecg_cohort"
CohortTask = Literal["ph_detection", "capillary", "column", "reconstruction"]

# haemodynamic definitions in mmHg (Humbert et al., 2022 ESC/ERS guidelines on pulmonary hypertension, table 5)
HYPERTENSION = 20.0
POST_CAPILLARY = 15.0


class EcgCohort(EcgDataModule):
    """A table of ECG files with targets, prepared by `cardiozoo prepare ecg_cohort`.

    Args:
        store: Folder of the prepared store. Without it, a small synthetic cohort is built once in the user's cache.
        task: ph_detection (mean pulmonary artery pressure mPAP above 20 mmHg), capillary (wedge pressure PAWP, mPCWP or
            PCWP above 15 mmHg, among those with mPAP above 20), column (any other, named by target), or reconstruction
            (no target).
        target: Column that is predicted, for the task column: numbers are regressed (0 and 1 alone are a label), texts
            are classes. Upper and lower case do not matter.
        threshold: Makes a column of numbers a binary label: above it or not.
        where: Use only records that meet a condition, for instance "mPAP > 20 and age >= 18".
        **options: Those of every ECG data module. `folds` are the table's own where it has a column fold of as many.

    Raises:
        OptionError: An option is out of its range, or the store has no such column.
        StoreError: The store is absent, incomplete, damaged, foreign or of another version.
    """

    NAME: ClassVar[str] = NAME

    def __init__(
        self,
        store: str | None = None,
        task: CohortTask = "ph_detection",
        target: str | None = None,
        threshold: float | None = None,
        where: str | None = None,
        **options: Any,
    ) -> None:
        self.task, self.target, self.threshold, self.where = task, target, threshold, where
        if task not in get_args(CohortTask):
            raise OptionError(
                f"task is {task!r}.",
                f"One of {', '.join(get_args(CohortTask))}.",
                f"For a column of your table: --data.task column --data.target {task}.",
            )
        if task != "column" and (target is not None or threshold is not None):
            raise OptionError(
                f"target or threshold is given and the task is {task}, which has its own.",
                "Both belong to the task column.",
                "Add --data.task column, or leave them out.",
            )
        super().__init__(store, **options)

    def own_folds(self) -> list[int] | None:
        if "fold" not in self.records.columns or self.records["fold"].null_count():
            return None
        numbers = self.records["fold"].unique().sort().to_list()
        return numbers if len(numbers) == self.partition.folds else None

    def _labelled(self, records: pl.DataFrame) -> Labelled:
        if self.task == "reconstruction":
            return without_target(records, self.where)
        if self.task == "ph_detection":
            return column_target(
                records, "mPAP", HYPERTENSION, self.where, "pulmonary hypertension", task_name=self.task
            )
        if self.task == "capillary":
            among = f"mPAP > {HYPERTENSION:g}" + (f" and {self.where}" if self.where else "")
            return column_target(
                records, WEDGE_PRESSURE[0], POST_CAPILLARY, among, "post-capillary", task_name=self.task
            )
        if self.target is None:
            raise OptionError(
                "The task is column and target is not given.",
                f"One of {', '.join(target_names(records)) or 'none: the store holds no targets'}.",
                "--data.target COLUMN",
            )
        return column_target(records, self.target, self.threshold, self.where)
