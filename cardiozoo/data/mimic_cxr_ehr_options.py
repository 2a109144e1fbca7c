"""Which values the options of `cardiozoo.data.mimic_cxr_ehr.MimicCxrEhr` take; wrong ones stop before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from cardiozoo.data.mimic_cxr_ehr_samples import LabelRule, TaskName
from cardiozoo.data.readers.mimic_cxr import Views
from cardiozoo.data.splits import check_folds
from cardiozoo.errors import OptionError

if TYPE_CHECKING:
    from cardiozoo.data.mimic_cxr_ehr import MimicCxrEhr

Pairing = Literal["partial", "paired"]
PredictSplit = Literal["train", "val", "test"]


def check_options(data: MimicCxrEhr) -> None:
    """Check the options one by one, then against each other.

    Raises:
        OptionError: An option is out of its range or contradicts another.
    """
    choices: list[tuple[str, Any, Any]] = [
        ("task", data.task_name, TaskName),
        ("pairing", data.pairing, Pairing),
        ("views", data.views, Views),
        ("uncertain_labels", data.uncertain_labels, LabelRule),
        ("missing_labels", data.missing_labels, Literal["zero", "mask"]),
        ("predict_split", data.predict_split, PredictSplit),
    ]
    for name, value, kinds in choices:
        if value not in get_args(kinds):
            raise OptionError(f"{name} is {value!r}.", f"One of {', '.join(get_args(kinds))}.", "Choose one of them.")
    for name in ("unimodal_fraction", "cxr_dropout", "cxr_withhold"):
        if not 0.0 <= getattr(data, name) <= 1.0:
            raise OptionError(f"{name} is {getattr(data, name)}.", "A share from 0 to 1.", "0.2 is 20 %.")
    for name, least in (("batch_size", 1), ("num_workers", 0), ("seed", 0)):
        if getattr(data, name) < least:
            raise OptionError(f"{name} is {getattr(data, name)}.", f"At least {least}.", "Leave it at its default.")
    seconds = data.timestep * 3600
    if not 60 <= seconds <= 48 * 3600 or seconds != round(seconds):
        raise OptionError(
            f"timestep is {data.timestep} hours.", "A whole number of seconds, 1 minute to 48 hours.", "Use 1 or 2."
        )
    if data.clip is not None and not data.clip > 0:
        raise OptionError(f"clip is {data.clip}.", "Above 0, or none.", "The default is 10 standard deviations.")
    if data.folds is not None:
        check_folds(data.folds, data.fold)
    elif data.fold != 0:
        raise OptionError(f"fold is {data.fold} and folds is not given.", "Both, or neither.", "Give folds too.")
    if data.task_name == "radiology" and (data.cxr_dropout or data.cxr_withhold):
        raise OptionError(
            "cxr_dropout or cxr_withhold is set and the task is radiology.",
            "Both hide radiographs, and radiology has nothing else.",
            "Set them to 0.",
        )
