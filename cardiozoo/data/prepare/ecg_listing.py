"""The records that a release's tables name, before any of them is read: who is left out already, and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cardiozoo.data.progress import progress_bar

EXCLUDED = {"id": pl.String, "path": pl.String, "reason": pl.String}
ABSENT = "record file absent"


class Listing:
    """Records on their way into a store, with the account of who leaves.

    Args:
        table: One row a record. Needs ``id`` (str), ``patient`` (str), ``path`` (str, as the tables name it; null if
            they do not), ``file`` (str, where it is read) and may have ``index``, ``split``, ``fold``, ``time``,
            ``age``, ``sex`` and columns that are to be kept as they are.

    Attributes:
        table: The records still in.
        flow: Steps of the cohort flow: step, records, patients, excluded, reason.
        excluded: The records that left: id, path, reason.
        counts: Facts for the manifest, by name.
        notes: Sentences to say aloud and to keep in the manifest.
    """

    def __init__(self, table: pl.DataFrame) -> None:
        self.table = table
        self.flow: list[dict[str, Any]] = [self._step("records listed", 0, "")]
        self.excluded = pl.DataFrame(schema=EXCLUDED)
        self.counts: dict[str, Any] = {}
        self.notes: list[str] = []

    def exclude(self, condition: pl.Expr | pl.Series, reason: str, step: str | None = None) -> None:
        """Take the records of `condition` out; nothing is noted when there are none."""
        leaving = pl.when(condition).then(pl.lit(reason)).otherwise(None)
        self.exclude_with_reasons(self.table.select(leaving.alias("reason"))["reason"], step)

    def exclude_with_reasons(self, reasons: pl.Series, step: str | None = None) -> None:
        """Take every record with a reason out: (N,) text, null for those who stay."""
        table = self.table.with_columns(reasons.alias("_reason"))
        for reason, _ in sorted(Counter(reasons.drop_nulls().to_list()).items(), key=lambda pair: (-pair[1], pair[0])):
            leaving = table.filter(pl.col("_reason") == reason)
            table = table.filter(pl.col("_reason").is_null() | (pl.col("_reason") != reason))
            gone = leaving.select("id", "path", pl.col("_reason").alias("reason")).cast(EXCLUDED)
            self.excluded = pl.concat([self.excluded, gone])
            self.table = table.drop("_reason")
            self.flow.append(self._step(step or f"left out: {reason}", leaving.height, reason))

    def clear_outside(self, column: str, low: float, high: float) -> None:
        """Make values of a numeric column outside [low, high], or not finite, null and count them."""
        inside = pl.col(column).is_between(low, high).fill_null(True)
        self.count(
            f"{column.removeprefix('target/')}: implausible, taken as missing",
            (~self.table.select(inside).to_series()).sum(),
        )
        self.table = self.table.with_columns(pl.when(inside).then(pl.col(column)).otherwise(None).alias(column))

    def count(self, name: str, value: int) -> None:
        """Keep a count, if there is anything to count."""
        if value:
            self.counts[name] = int(value)

    def note(self, sentence: str) -> None:
        """Say something once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def close(self) -> None:
        """End the flow with what is left."""
        self.flow.append(self._step("records of the store", 0, ""))

    def _step(self, step: str, excluded: int, reason: str) -> dict[str, Any]:
        return {
            "step": step,
            "records": self.table.height,
            "patients": self.table["patient"].drop_nulls().n_unique(),
            "excluded": excluded,
            "reason": reason,
        }


def data_file(header: str) -> list[str]:
    """The ``.dat`` of a header, where a release has one of the same name for each."""
    return [os.path.splitext(header)[0] + ".dat"]


def look_for_files(listing: Listing, root: Path, others: Callable[[str], list[str]]) -> str:
    """Take out the records whose file is absent.

    Args:
        listing: Its ``file`` is relative to `root`, or absolute.
        root: The folder of the release.
        others: The further files of the record that a file belongs to.

    Returns:
        A fingerprint of sizes and times of change of all files, by which a killed run knows whether they are the same.
    """
    files = [os.path.join(root, file) for file in listing.table["file"].to_list()]
    digest, there = blake2b(digest_size=16), np.zeros(len(files), dtype=bool)
    block, chunk = 4096, 256
    with progress_bar("Looking for the files of the records", len(files)) as advance, ThreadPoolExecutor(8) as pool:
        for first in range(0, len(files), block):
            part = files[first : first + block]
            chunks = [part[start : start + chunk] for start in range(0, len(part), chunk)]
            found = [facts for some in pool.map(lambda some: _facts_of(some, others), chunks) for facts in some]
            for n, facts in enumerate(found):
                there[first + n] = facts[0] is not None
                digest.update(repr(facts).encode())
            advance(len(part))
    listing.exclude(pl.Series(~there), ABSENT)
    return digest.hexdigest()


def _facts_of(files: list[str], others: Callable[[str], list[str]]) -> list[tuple[tuple[int, int] | None, ...]]:
    """Size and time of change of each file and of the others of its record, None where there is none."""
    return [tuple(_stat(path) for path in (file, *others(file))) for file in files]


def _stat(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns
