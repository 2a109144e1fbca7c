"""What all preparers of ECG share: the form that records take in a store, and where a store comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl

from cardiozoo.data.ecg import LEADS
from cardiozoo.data.ecg_standard import Quality
from cardiozoo.data.prepare.ecg_listing import Listing
from cardiozoo.data.prepare.ecg_worker import Job
from cardiozoo.errors import OptionError

Cut = Literal["start", "center"]
Duplicates = Literal["keep", "drop"]

DEFAULT_QUALITY = Quality()


@dataclass(frozen=True)
class EcgForm:
    """The one form that all records of a store take; the options that every preparer of ECG has.

    Attributes:
        rate: Samples per second.
        seconds: Length; longer records are cut, shorter ones marked as short.
        cut: Which part of a longer record is kept.
        min_leads: Records with fewer leads in order are left out.
        duplicates: Whether records with the samples of an earlier one stay.
        quality: When a lead is not in order.
        reading: Further arguments of `read_ecg`.
    """

    rate: float
    seconds: float
    cut: Cut
    min_leads: int
    duplicates: Duplicates
    quality: Quality
    reading: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `OptionError` for what cannot be."""
        if not 50 <= self.rate <= 2000:
            raise OptionError(f"rate is {self.rate:g}.", "50 to 2000 samples per second.", "The default is 500.")
        if not 1 <= self.seconds <= 600:
            raise OptionError(f"seconds is {self.seconds:g}.", "1 to 600.", "The default is 10.")
        if abs(self.rate * self.seconds - round(self.rate * self.seconds)) > 1e-9:
            raise OptionError(
                f"{self.seconds:g} s at {self.rate:g} Hz are no whole number of samples.",
                "rate times seconds must be a whole number.",
                "Change one of the two.",
            )
        if not 1 <= self.min_leads <= len(LEADS):
            raise OptionError(f"min_leads is {self.min_leads}.", "1 to 12.", "The default is 1.")

    def as_options(self) -> dict[str, Any]:
        """The form as it is kept in the manifest."""
        return asdict(self)

    def job(self, folder: Path) -> Job:
        return Job(
            str(folder), self.rate, self.seconds, self.cut, self.min_leads, asdict(self.quality), dict(self.reading)
        )

    @property
    def samples(self) -> int:
        return round(self.rate * self.seconds)

    @property
    def record_bytes(self) -> int:
        """Size of one record in the store."""
        return len(LEADS) * (self.samples * 2 + 4 + 1)


@dataclass(frozen=True)
class EcgSource:
    """Where a store comes from.

    Attributes:
        name: The data module it is for.
        root: Folder that the listing's ``file`` is relative to.
        tables: Name -> raw table that was read.
        fingerprint: Of the records' files, see `look_for_files`.
        release: What is known of the release; plain JSON.
        marker: What the simulator left, None for real data.
        stored: Further tables of the store, by their file names.
        refuse: Given the records with what their files say (``file_patient``, ``file_time``), the reasons to leave
            some out, null for the others.
        fill: Whether age, sex and time that the tables do not give are taken from the records' files.
    """

    name: str
    root: Path
    tables: dict[str, Path]
    fingerprint: str
    release: dict[str, Any]
    marker: dict[str, Any] | None = None
    stored: dict[str, pl.DataFrame] = field(default_factory=dict)
    refuse: Callable[[pl.DataFrame, Listing], pl.Series] | None = None
    fill: bool = False
