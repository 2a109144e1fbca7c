"""`PtbXl`: PTB-XL, 21,799 labelled twelve-lead ECGs with folds of their own, from a prepared store to batches."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NoReturn

import numpy as np
import polars as pl

from cardiozoo.data.ecg_datamodule import EcgDataModule
from cardiozoo.data.ecg_dataset import EvalWindow
from cardiozoo.data.ecg_samples import Labelled
from cardiozoo.data.ecg_transforms import Standardise
from cardiozoo.data.scp import SCP_TASKS, ScpStatements, ScpTask
from cardiozoo.data.tasks import Task
from cardiozoo.errors import OptionError, StoreError

NAME = "ptb_xl"
OWN_FOLDS = 10
_DIAGNOSTIC = ("superclass", "subclass", "diagnostic")


class PtbXl(EcgDataModule):
    """PTB-XL, prepared by `cardiozoo prepare ptb_xl`.

    The defaults are those of the published benchmark (Strodthoff et al., 2021): the folds 1 to 8, 9 and 10 of the
    publishers, no filter, one mean and standard deviation of the training records.

    Args:
        store: Folder of the prepared store.
        task: superclass (5), subclass (23), diagnostic (44 codes), form (19), rhythm (12) or all (71). A class is
            positive when one of its codes is stated, whatever the likelihood.
        min_likelihood: Count a diagnosis only from this likelihood in percent on; null counts all that are stated.
        unlabelled: Records without any label of the task: drop (as published) or keep, with no class positive.
        highpass: As for every ECG data module; the benchmark filters nothing.
        powerline: Likewise.
        standardise: Likewise; the benchmark uses train.
        eval_window: Likewise; the benchmark sees whole records in windows.
        **options: Those of every ECG data module. `folds` 10 are the publishers' own folds.

    Raises:
        OptionError: An option is out of its range.
        StoreError: No store is given, or it is incomplete, damaged, foreign or of another version.
    """

    NAME: ClassVar[str] = NAME

    def __init__(
        self,
        store: str | None = None,
        task: ScpTask = "superclass",
        min_likelihood: float | None = None,
        unlabelled: Literal["drop", "keep"] = "drop",
        highpass: float | None = None,
        powerline: float | None = None,
        standardise: Standardise = "train",
        eval_window: EvalWindow = "full",
        **options: Any,
    ) -> None:
        self.task, self.min_likelihood, self.unlabelled = task, min_likelihood, unlabelled
        if task not in SCP_TASKS:
            raise OptionError(f"task is {task!r}.", f"One of {', '.join(SCP_TASKS)}.", "Choose one of them.")
        if unlabelled not in ("drop", "keep"):
            raise OptionError(f"unlabelled is {unlabelled!r}.", "drop or keep.", "Leave it at its default.")
        if min_likelihood is not None and not (0 <= min_likelihood <= 100 and task in _DIAGNOSTIC):
            raise OptionError(
                f"min_likelihood is {min_likelihood} and the task is {task}.",
                f"A percentage from 0 to 100, for {', '.join(_DIAGNOSTIC)}: forms and rhythms have no likelihood.",
                "Leave it out.",
            )
        super().__init__(
            store, highpass=highpass, powerline=powerline, standardise=standardise, eval_window=eval_window, **options
        )

    def _without_store(self) -> NoReturn:
        raise StoreError(
            "No store was given, and there is no synthetic PTB-XL.",
            "A store of the real one, which is open: https://physionet.org/content/ptb-xl/1.0.3/ (CC BY 4.0, 3 GB).",
            "cardiozoo prepare ptb_xl --ptb_xl FOLDER --out STORE, then --data.store STORE.",
        )

    def own_folds(self) -> list[int] | None:
        return list(range(1, OWN_FOLDS + 1)) if self.partition.folds == OWN_FOLDS else None

    def _labelled(self, records: pl.DataFrame) -> Labelled:
        statements = ScpStatements(self.store.table("scp_statements.parquet"))
        classes = statements.classes(self.task)
        target = statements.labels(records, self.task, self.min_likelihood)
        labelled = Labelled(
            Task(self.task, "multilabel", classes),
            np.arange(records.height),
            target.astype(np.float32),
            facts={"min_likelihood": self.min_likelihood},
        )
        if self.unlabelled == "keep":
            return labelled
        return labelled.take(target.any(axis=1), f"no {self.task} statement")
