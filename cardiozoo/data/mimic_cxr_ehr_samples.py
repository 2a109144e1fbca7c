"""What is one sample of each task on MIMIC-IV + MIMIC-CXR-JPG: which stay, which window, which radiograph, which label.

=====================  ==================================================  ============================================
task                   sample and EHR window                               label
=====================  ==================================================  ============================================
phenotyping            each stay; [0, LOS], or the first 48 h              25 phenotypes of the admission
in_hospital_mortality  stays of at least 48 h; [0, 48 h]                   death in hospital
decompensation         each full hour t >= 5 h after the first event, up   death in hospital within 24 h after t
                       to LOS and death; [0, t]
length_of_stay         each full hour t >= 5 h after the first event, up   remaining stay in 10 classes
                       to LOS; [0, t]
radiology              each radiograph, no EHR                             14 findings read from the report
=====================  ==================================================  ============================================

The radiograph of a sample is the last one taken within its window (ties: by study, then by image). For the first 48
h of phenotyping that is [intime, intime + 48 h] as in DrFuse, for mortality also before the discharge from the unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import polars as pl

from cardiozoo.data.ehr import PHENOTYPES
from cardiozoo.data.readers.mimic_cxr import LABELS
from cardiozoo.data.splits import SPLITS
from cardiozoo.data.tasks import Task
from cardiozoo.errors import OptionError

TaskName = Literal["phenotyping", "in_hospital_mortality", "decompensation", "length_of_stay", "radiology"]
Window = Literal["auto", "stay", "48h"]
LabelRule = Literal["zero", "one", "mask"]

HOUR = 3600
TWO_DAYS = 48 * HOUR
FIRST_HOUR = 5
LAST_DAY_HOURS = 24.0
LOS_EDGES_DAYS = (1, 2, 3, 4, 5, 6, 7, 8, 14)
_TOLERANCE = 1e-6  # hours

_LOS_CLASSES = ("under 1 day", *(f"{day} to {day + 1} days" for day in range(1, 8)), "8 to 14 days", "14 days or more")

TASKS: dict[str, Task] = {
    "phenotyping": Task("phenotyping", "multilabel", tuple(PHENOTYPES)),
    "in_hospital_mortality": Task("in_hospital_mortality", "binary", ("in-hospital death",)),
    "decompensation": Task("decompensation", "binary", ("death within 24 hours",)),
    "length_of_stay": Task("length_of_stay", "multiclass", _LOS_CLASSES),
    "radiology": Task("radiology", "multilabel", LABELS),
}
_WINDOWS: dict[str, tuple[Window, ...]] = {
    "phenotyping": ("stay", "48h"),
    "in_hospital_mortality": ("48h",),
    "decompensation": ("stay",),
    "length_of_stay": ("stay",),
    "radiology": ("stay",),
}


@dataclass(frozen=True)
class Samples:
    """The samples of a task, one entry each.

    Attributes:
        split: Index into `cardiozoo.data.splits.SPLITS`, int8 (N,).
        stay: Row of stays.parquet, -1 for radiology, int32 (N,).
        hour: The full hour of the prediction, -1 where a stay is one sample, int32 (N,).
        end_seconds: End of the EHR window, seconds after admission, int64 (N,).
        image: Row of cxr.parquet, -1 without one, int32 (N,).
        target: float32 (N, C) with NaN = unlabelled, or int64 (N,) for classes.
        excluded: Reason -> stays or images of the store that give no sample.
    """

    split: np.ndarray
    stay: np.ndarray
    hour: np.ndarray
    end_seconds: np.ndarray
    image: np.ndarray
    target: np.ndarray
    excluded: dict[str, int]

    def __len__(self) -> int:
        return len(self.split)

    def take(self, index: np.ndarray) -> Samples:
        """The samples of `index`, in its order."""
        arrays = ("split", "stay", "hour", "end_seconds", "image", "target")
        return replace(self, **{name: getattr(self, name)[index] for name in arrays})

    def rows_of(self, split: str) -> np.ndarray:
        """Row numbers of the samples of one split."""
        return np.flatnonzero(self.split == SPLITS.index(split))


def resolve_window(task: str, window: str) -> Window:
    """The EHR window of a task; ``auto`` is the whole stay for phenotyping and 48 h for mortality.

    Raises:
        OptionError: The task does not know that window.
    """
    if window not in get_args(Window):
        raise OptionError(f"window is '{window}'.", f"One of {', '.join(get_args(Window))}.", "Choose one.")
    allowed = _WINDOWS[task]
    if window != "auto" and window not in allowed:
        raise OptionError(
            f"window is '{window}' and the task is {task}.",
            f"The window of {task} is {' or '.join(allowed)}.",
            "Leave window at auto.",
        )
    return allowed[0] if window == "auto" else window  # type: ignore[return-value]


def split_codes(names: np.ndarray) -> np.ndarray:
    """Split names (N,) as indices into `SPLITS`, int8."""
    return np.select([np.asarray(names) == name for name in SPLITS], range(len(SPLITS)), -1).astype(np.int8)


def stay_samples(task: str, window: Window, stays: pl.DataFrame, split: np.ndarray, images: LastImage) -> Samples:
    """The samples of a task on stays.

    Args:
        task: phenotyping, in_hospital_mortality, decompensation or length_of_stay.
        window: Resolved window.
        stays: stays.parquet.
        split: int8 (stays,), by the store or by folds.
        images: Finds the radiograph of a window.
    """
    los = stays["los_hours"].to_numpy()
    # bins as int(LOS / dt + 1 - 1e-6): a window that ends within the tolerance after a full bin opens no new one
    los_seconds = np.ceil((los - _TOLERANCE) * HOUR).astype(np.int64)
    first = stays["first_event_seconds"].fill_null(np.iinfo(np.int32).max).to_numpy().astype(np.int64)
    stay = np.arange(stays.height, dtype=np.int32)
    if task in ("decompensation", "length_of_stay"):
        return _hourly(task, stays, split, los, first, images)
    excluded: dict[str, int] = {}
    keep = np.ones(stays.height, dtype=bool)
    if task == "in_hospital_mortality":
        keep = los >= 48.0 - _TOLERANCE
        excluded["stay shorter than 48 hours"] = int((~keep).sum())
    if window == "48h":
        early = first <= TWO_DAYS
        excluded["no event in the first 48 hours"] = int((keep & ~early).sum())
        keep &= early
    stay = stay[keep]
    unit_seconds = (stays["outtime"] - stays["intime"]).dt.total_seconds().to_numpy()[keep]
    if window == "stay":
        end, image_end = los_seconds[keep], unit_seconds
    elif task == "in_hospital_mortality":
        end, image_end = np.full(len(stay), TWO_DAYS), np.minimum(unit_seconds, TWO_DAYS)
    else:
        end, image_end = np.minimum(los_seconds[keep], TWO_DAYS), np.full(len(stay), TWO_DAYS)
    if task == "phenotyping":
        target = stays.select(f"phenotype/{name}" for name in PHENOTYPES).to_numpy()[keep].astype(np.float32)
    else:
        target = stays["mortality"].to_numpy()[keep].astype(np.float32)[:, None]
    hour = np.full(len(stay), -1, dtype=np.int32)
    return Samples(split[keep], stay, hour, end, images.last(stay, image_end), target, _nonzero(excluded))


def _hourly(
    task: str, stays: pl.DataFrame, split: np.ndarray, los: np.ndarray, first: np.ndarray, images: LastImage
) -> Samples:
    died = stays["mortality"].to_numpy().astype(bool)
    death = stays["death_hours"].to_numpy().astype(np.float64)
    death = np.where(died, death, np.nan)
    last = los + _TOLERANCE
    usable = np.ones(len(los), dtype=bool)
    excluded: dict[str, int] = {}
    if task == "decompensation":
        usable = ~(died & np.isnan(death))
        excluded["death in hospital without its time"] = int((~usable).sum())
        last = np.fmin(los, death) + _TOLERANCE
    start = np.maximum(FIRST_HOUR, np.minimum(first, 10**9) // HOUR + 1)
    count = np.where(usable, np.maximum(np.floor(last).astype(np.int64) - start + 1, 0), 0)
    excluded["no full hour from the fifth on after the first event"] = int((usable & (count == 0)).sum())
    stay = np.repeat(np.arange(len(los), dtype=np.int32), count)
    within = np.arange(len(stay)) - np.repeat(np.cumsum(count) - count, count)
    hour = (np.repeat(start, count) + within).astype(np.int32)
    end = hour.astype(np.int64) * HOUR
    target: np.ndarray
    if task == "decompensation":
        target = (death[stay] - hour < LAST_DAY_HOURS).astype(np.float32)[:, None]  # NaN compares as False: survivors
    else:
        remaining_days = np.maximum(los[stay] - hour, 0.0) / 24.0
        target = np.searchsorted(LOS_EDGES_DAYS, remaining_days, side="right").astype(np.int64)
    return Samples(split[stay], stay, hour, end, images.last(stay, end), target, _nonzero(excluded))


def radiology_samples(
    cxr: pl.DataFrame, split: np.ndarray, views: set[str] | None, uncertain: LabelRule, missing: LabelRule
) -> Samples:
    """One sample a radiograph with its 14 labels.

    Args:
        cxr: cxr.parquet.
        split: int8 (images,).
        views: Views to use; all when None.
        uncertain: What -1 becomes: 0, 1, or NaN (``mask``).
        missing: What a label that is not mentioned becomes: 0 or NaN.
    """
    labels = cxr.select(f"label/{name}" for name in LABELS).to_numpy().astype(np.float32)
    unlabelled = np.isnan(labels).all(axis=1)
    other_view = ~_view_mask(cxr, views)
    keep = ~unlabelled & ~other_view
    values = {"zero": 0.0, "one": 1.0, "mask": np.nan}
    target = labels[keep]
    absent, doubtful = np.isnan(target), target == -1
    target[absent], target[doubtful] = values[missing], values[uncertain]
    excluded = {
        "image of another view": int(other_view.sum()),
        "image without any label": int((unlabelled & ~other_view).sum()),
    }
    image = np.flatnonzero(keep).astype(np.int32)
    none = np.full(len(image), -1, dtype=np.int32)
    return Samples(split[keep], none, none, np.zeros(len(image), dtype=np.int64), image, target, _nonzero(excluded))


class LastImage:
    """Finds the last radiograph of a stay up to a time.

    Args:
        links: links.parquet, sorted by (stay, study_time, study_id, dicom_id).
        cxr: cxr.parquet.
        views: Views to use; all when None.
    """

    # more seconds than any stay lasts, so that (stay, second) orders like one integer
    _STRIDE = 1 << 36

    def __init__(self, links: pl.DataFrame, cxr: pl.DataFrame, views: set[str] | None) -> None:
        image = links["image"].to_numpy()
        keep = _view_mask(cxr, views)[image] if len(image) else np.zeros(0, dtype=bool)
        self._image = image[keep].astype(np.int32)
        self._stay = links["stay"].to_numpy()[keep].astype(np.int64)
        seconds = np.rint(links["hours"].to_numpy()[keep] * HOUR).astype(np.int64)
        self._key = self._stay * self._STRIDE + seconds

    def last(self, stay: np.ndarray, end_seconds: np.ndarray) -> np.ndarray:
        """Row of cxr.parquet of the last image at or before `end_seconds`, -1 where there is none: int32 (N,)."""
        if not len(self._key):
            return np.full(len(stay), -1, dtype=np.int32)
        stay = np.asarray(stay, dtype=np.int64)
        place = np.searchsorted(self._key, stay * self._STRIDE + np.asarray(end_seconds), side="right") - 1
        found = (place >= 0) & (self._stay[place] == stay)
        return np.where(found, self._image[place], -1).astype(np.int32)


def _view_mask(cxr: pl.DataFrame, views: set[str] | None) -> np.ndarray:
    if views is None:
        return np.ones(cxr.height, dtype=bool)
    return cxr["view"].is_in(list(views)).to_numpy()


def _nonzero(counts: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in counts.items() if count}
