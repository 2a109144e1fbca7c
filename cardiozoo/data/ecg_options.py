"""Which values the options of the ECG data modules take; wrong ones stop before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from cardiozoo.data.ecg_dataset import EvalWindow
from cardiozoo.data.ecg_transforms import Standardise
from cardiozoo.data.splits import check_folds
from cardiozoo.errors import OptionError

if TYPE_CHECKING:
    from cardiozoo.data.ecg_datamodule import EcgDataModule

PredictSplit = Literal["train", "val", "test"]


def check_options(data: EcgDataModule) -> None:
    """Check the options that need no store, one by one, then against each other.

    Raises:
        OptionError: An option is out of its range or contradicts another.
    """
    choices: list[tuple[str, Any, Any]] = [
        ("standardise", data.standardise, Standardise),
        ("eval_window", data.eval_window, EvalWindow),
        ("predict_split", data.predict_split, PredictSplit),
    ]
    for name, value, kinds in choices:
        if value not in get_args(kinds):
            raise OptionError(f"{name} is {value!r}.", f"One of {', '.join(get_args(kinds))}.", "Choose one of them.")
    if data.powerline not in (None, 50, 60):
        raise OptionError(f"powerline is {data.powerline} Hz.", "50, 60, or null for no smoothing.", "Europe has 50.")
    for name in ("rate", "window", "beat", "highpass", "clip"):
        value = getattr(data, name)
        if value is not None and not 0 < value < float("inf"):
            raise OptionError(f"{name} is {value}.", "A number above 0, or null.", "Leave it at its default.")
    for name, least, why in (("rate", 50, "a QRS complex"), ("highpass", 0.01, "a drift within a record")):
        value = getattr(data, name)
        if value is not None and value < least:
            raise OptionError(
                f"{name} is {value:g} Hz.",
                f"At least {least:g}, which shows {why}, or null.",
                "Leave it at its default.",
            )
    for name, least in (("batch_size", 1), ("num_workers", 0), ("seed", 0), ("fold_seed", 0)):
        if getattr(data, name) < least:
            raise OptionError(f"{name} is {getattr(data, name)}.", f"At least {least}.", "Leave it at its default.")
    if data.beat is not None and data.window is not None:
        raise OptionError(
            f"beat is {data.beat:g} seconds and window is {data.window:g}.",
            "One of them: a median beat is made of the whole record.",
            "Leave one of them out.",
        )
    _check_partition(data)


def _check_partition(data: EcgDataModule) -> None:
    how = data.partition
    if how.folds is not None:
        check_folds(how.folds, how.fold)
    elif how.fold != 0 or how.val_fraction:
        option = "fold" if how.fold else "val_fraction"
        raise OptionError(
            f"{option} is {getattr(how, option)} and folds is not given.",
            "folds too; without folds the split of the store holds, with its own validation part.",
            "Add --data.folds 5, or leave it out.",
        )
    if not 0.0 <= how.val_fraction < 1.0:
        raise OptionError(
            f"val_fraction is {how.val_fraction}.", "A share of the training patients in [0, 1).", "0.1 is 10 %."
        )
    if how.train_patients is not None and how.train_patients < 1:
        raise OptionError(f"train_patients is {how.train_patients}.", "At least 1, or null for all.", "Leave it out.")


def check_against_store(data: EcgDataModule) -> None:
    """Check the options that depend on what the store holds.

    Raises:
        OptionError: The rate is above the store's, a filter needs a higher one, or the window or
            the beat is too long for a record.
    """
    stored = data.stored
    if data.ecg_rate > stored.rate:
        raise OptionError(
            f"rate is {data.ecg_rate:g} and the store holds {stored.rate:g} samples a second.",
            f"At most {stored.rate:g}.",
            "Leave it out, or prepare a store of a higher rate.",
        )
    # a high-pass must lie below half the rate; mains at half the rate can be averaged away, above it they are not seen
    highest = stored.rate / 2
    for name, beyond in (("highpass", (data.highpass or 0) >= highest), ("powerline", (data.powerline or 0) > highest)):
        if beyond:
            raise OptionError(
                f"{name} is {getattr(data, name):g} Hz and the store holds {stored.rate:g} samples a second.",
                f"Below {highest:g} Hz, half of that.",
                "Set it to null, or prepare a store of a higher rate.",
            )
    seconds = stored.samples / stored.rate
    if data.window is not None and (data.window > seconds or data.window_samples < 2):
        raise OptionError(
            f"window is {data.window:g} seconds.",
            f"At least two samples and at most the {seconds:g} seconds of a record.",
            "Leave it out to see whole records.",
        )
    if data.beat is not None and (data.beat > seconds / 2 or data.beat_samples < 2):
        raise OptionError(
            f"beat is {data.beat:g} seconds.",
            f"At least two samples and at most {seconds / 2:g} seconds, half a record.",
            "0.8 is usual.",
        )
