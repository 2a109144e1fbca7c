"""The SCP-ECG statements of PTB-XL: which codes there are, and which classes they make up.

The 71 codes, whether each is a diagnosis, a form or a rhythm, and the superclass and subclass of the diagnoses are read
from the release's ``scp_statements.csv``, never from a list of ours. Wagner et al., "PTB-XL, a large publicly available
electrocardiography dataset", Scientific Data 7 (2020) 154, table 5 and figure 2; the tasks are those of Strodthoff et
al., "Deep Learning for ECG Analysis: Benchmarks and Insights from PTB-XL", IEEE JBHI 25 (2021).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from cardiozoo.errors import OptionError, RawDataError

ScpTask = Literal["superclass", "subclass", "diagnostic", "form", "rhythm", "all"]
SCP_TASKS: tuple[str, ...] = get_args(ScpTask)

COLUMNS = ("code", "description", "diagnostic", "form", "rhythm", "superclass", "subclass")
"""Columns of `ScpStatements.table`: text, but for the three yes or no ``diagnostic``, ``form``, ``rhythm``."""

_SOURCE = {
    "description": "description",
    "diagnostic": "diagnostic",
    "form": "form",
    "rhythm": "rhythm",
    "superclass": "diagnostic_class",
    "subclass": "diagnostic_subclass",
}
_YES = {"1", "1.0"}
_DELIVERED = "Accepted: scp_statements.csv as PTB-XL delivers it: the code in the first column, whose header is empty."


class ScpStatements:
    """The statements of one release.

    Args:
        table: One row a code, with the columns `COLUMNS`; `read_scp_statements` makes it of the raw file, and a store
            of ``ptb_xl`` holds it as ``scp_statements.parquet``.

    Raises:
        RawDataError: Columns are missing, a code is listed twice, or a diagnosis has no class.
    """

    def __init__(self, table: pl.DataFrame) -> None:
        missing = [name for name in COLUMNS if name not in table.columns]
        if missing:
            raise RawDataError(f"The table of statements lacks {', '.join(missing)}.", _DELIVERED, "Prepare it again.")
        self.table = table.select(COLUMNS)
        if self.table["code"].n_unique() != self.table.height:
            raise RawDataError("The table of statements lists a code twice.", _DELIVERED, "Use the file as delivered.")
        unclear = self.table.filter(pl.col("diagnostic") & pl.col("superclass").is_null())["code"].to_list()
        if unclear:
            raise RawDataError(
                f"The diagnoses {', '.join(unclear[:5])} have no diagnostic_class.",
                _DELIVERED,
                "Use the file as delivered.",
            )

    @property
    def codes(self) -> tuple[str, ...]:
        """All codes, in the order of the file."""
        return tuple(self.table["code"].to_list())

    def members(self, task: ScpTask) -> dict[str, tuple[str, ...]]:
        """Class -> the codes that make it up, classes in alphabetical order (as the published benchmark has them).

        Args:
            task: ``superclass`` and ``subclass`` group the diagnoses; ``diagnostic``, ``form``, ``rhythm`` and ``all``
                have one class a code.

        Raises:
            OptionError: No such task.
        """
        if task not in SCP_TASKS:
            raise OptionError(f"task is '{task}'.", f"One of {', '.join(SCP_TASKS)}.", "Choose one.")
        if task in ("superclass", "subclass"):
            grouped = self.table.filter("diagnostic").group_by(task, maintain_order=True).agg("code")
            found = {name: tuple(codes) for name, codes in grouped.drop_nulls(task).iter_rows()}
        else:
            chosen = self.table if task == "all" else self.table.filter(task)
            found = {code: (code,) for code in chosen["code"].to_list()}
        return dict(sorted(found.items()))

    def classes(self, task: ScpTask) -> tuple[str, ...]:
        """Names of the classes of `task`, in the order of `members`."""
        return tuple(self.members(task))

    def labels(self, records: pl.DataFrame, task: ScpTask, min_likelihood: float | None = None) -> np.ndarray:
        """Which classes each record has.

        A class is present when any code of it is stated for the record, whatever the likelihood: in this table 0 means
        that no likelihood was given, not that the statement is absent (Strodthoff et al. 2021, section II.B).

        Args:
            records: One row a record with a column ``scp/<code>`` for each code: the likelihood in percent, null where
                the code is not stated.
            task: See `members`.
            min_likelihood: Count only codes of at least this likelihood in percent; forms and rhythms, which never
                have one, then count for a minimum of 0 alone. None counts every stated code.

        Returns:
            bool (N, C), columns in the order of `classes`. A row without any is a record that the task does not label.
        """
        members = self.members(task)
        labels = np.zeros((records.height, len(members)), dtype=bool)
        for column, codes in enumerate(members.values()):
            for code in codes:
                values = records[f"scp/{code}"]
                stated = values.is_not_null() if min_likelihood is None else (values >= min_likelihood).fill_null(False)
                labels[:, column] |= stated.to_numpy()
        return labels


def read_scp_statements(path: Path) -> ScpStatements:
    """Read ``scp_statements.csv`` of a release of PTB-XL.

    Raises:
        RawDataError: The file is absent, unreadable, without its columns, or was saved again by a spreadsheet program,
            which turns the code 1AVB into 1.0AVB.
    """
    try:
        raw = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RawDataError(f"{path} cannot be read: {error}", _DELIVERED, "Download it again.") from error
    raw = raw.rename({raw.columns[0]: "code"})
    missing = [name for name in _SOURCE.values() if name not in raw.columns]
    if missing:
        raise RawDataError(f"{path} has no column {', '.join(missing)}.", _DELIVERED, "Use the file as delivered.")
    table = raw.select("code", *(pl.col(theirs).alias(ours) for ours, theirs in _SOURCE.items()))
    table = table.select(pl.all().str.strip_chars().replace("", None))
    refuse_spreadsheet_codes(table["code"].drop_nulls().to_list(), path)
    if table["code"].null_count():
        raise RawDataError(f"{path} has rows without a code.", _DELIVERED, "Use the file as delivered.")
    kinds = ("diagnostic", "form", "rhythm")
    return ScpStatements(table.with_columns(pl.col(name).is_in(_YES).fill_null(False) for name in kinds))


def refuse_spreadsheet_codes(codes: list[str], path: Path) -> None:
    """Raise `RawDataError` when a code such as 1AVB has become 1.0AVB."""
    changed = [code for code in codes if re.match(r"\d+\.\d", code)]
    if changed:
        raise RawDataError(
            f"{path} holds the code {changed[0]}: a spreadsheet program has saved it again and changed it.",
            _DELIVERED.partition(":")[0] + ", never opened and saved since.",
            "Download the release's own file.",
        )
