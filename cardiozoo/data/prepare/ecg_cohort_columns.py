"""Columns of a user's table as what they mean: sex, age, targets and splits, each with what could not be understood."""

from __future__ import annotations

from typing import Literal

import polars as pl

from cardiozoo.data.prepare.ecg_listing import Listing
from cardiozoo.data.splits import SPLITS
from cardiozoo.errors import RawDataError

SexCode = Literal["0=male", "0=female", "2=female"]
AgeUnit = Literal["years", "months", "days"]

#: fields that say that there is no value
NOTHING = ("na", "n/a", "nan", "null", "none", "-", "?")
_SEX_WORDS = {"f": "F", "female": "F", "woman": "F", "m": "M", "male": "M", "man": "M"}
_SEX_CODES: dict[str, dict[str, str]] = {
    "0=male": {"0": "M", "1": "F"},
    "0=female": {"0": "F", "1": "M"},
    "2=female": {"1": "M", "2": "F"},
}
_PER_YEAR = {"years": 1.0, "months": 12.0, "days": 365.25}
_SUFFIX_PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_ELDEST = 120
#: numbers that programs write where there is no value, if they stand alone at one end of a column
_MARKS = (-1.0, -9.0, -99.0, -999.0, -9999.0, 999.0, 9999.0, 99999.0)
#: mean pressures of the pulmonary circulation that a living person can have, in mmHg
_PRESSURES, PRESSURE_RANGE = ("mpap", "pawp", "mpcwp", "pcwp"), (1.0, 150.0)
_LOWEST_MPAP = 8.0
_WITH_UNIT = r"^([+-]?\d+(?:\.\d+)?)\s+([^\d\s][^\d]*)$"
_SPLIT_NAMES = {
    **{name: name for name in SPLITS},
    "training": "train",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "testing": "test",
}


def nothing_to_null(column: str) -> pl.Expr:
    """The column, text, with `NOTHING` as null."""
    return pl.when(pl.col(column).str.to_lowercase().is_in(NOTHING)).then(None).otherwise(pl.col(column)).alias(column)


def read_sex(values: pl.Series, code: SexCode | None, listing: Listing) -> pl.Series:
    """F or M of words and, by `code`, of numbers; anything else null and counted.

    Args:
        values: Text.
        code: What numbers mean; None takes 0 for male and 1 for female, as PTB-XL does, and says so.
        listing: Takes counts and notes.

    Raises:
        RawDataError: There are numbers that `code` does not explain.
    """
    words = values.str.to_lowercase().str.strip_suffix(".0")
    numbers = sorted(set(words.drop_nulls().unique().to_list()) & {"0", "1", "2"})
    rule = _SEX_CODES[code or "0=male"]
    if "2" in numbers and code != "2=female":
        raise RawDataError(
            f"The column sex holds the numbers {', '.join(numbers)}.",
            "F, M, female, male, or 0 and 1; 1 and 2 when it is said what they mean.",
            "For 1 = male, 2 = female give --sex_code 2=female.",
        )
    if numbers and code is None:
        listing.note("Sex 0 is taken for male and 1 for female; the other way round: --sex_code 0=female.")
    sex = words.replace_strict({**_SEX_WORDS, **rule}, default=None, return_dtype=pl.String)
    listing.count("sex not understood, taken as missing", (sex.is_null() & values.is_not_null()).sum())
    return sex


def read_age(values: pl.Series, unit: AgeUnit, listing: Listing) -> pl.Series:
    """Years (float32) of numbers in `unit`, or of ages with their unit as DICOM writes them (``063Y``, ``007M``).

    Args:
        values: Text.
        unit: Of plain numbers.
        listing: Takes counts.

    Raises:
        RawDataError: Most of the ages are no ages in that unit.
    """
    pattern = r"(?i)^(\d{1,4})\s*([YMWD])$"
    letter = values.str.extract(pattern, 2).str.to_uppercase()
    per_year = letter.replace_strict(_SUFFIX_PER_YEAR, default=None, return_dtype=pl.Float64)
    own = values.str.extract(pattern, 1).cast(pl.Float64) / per_year
    years = (values.cast(pl.Float64, strict=False) / _PER_YEAR[unit]).fill_nan(None)
    years = years.zip_with(years.is_not_null(), own)
    given = values.drop_nulls().len()
    strange = int((~years.is_between(0, _ELDEST)).sum())
    if strange > 0.5 * max(given, 1):
        raise RawDataError(
            f"{strange:,} of {given:,} ages are not between 0 and {_ELDEST} years when read as {unit}.",
            "The column age holds years, unless --age_unit says months or days; no years of birth, no dates.",
            "Give --age_unit, or correct the column.",
        )
    listing.count("age not understood, taken as missing", (years.is_null() & values.is_not_null()).sum())
    return years.cast(pl.Float32)


def read_target(values: pl.Series, listing: Listing) -> pl.Series:
    """Numbers (float64) if every value is one, else the text as it is; values that are not finite are null.

    True and False are 1 and 0, a label. A unit that follows every number after a blank (``24 mmHg``) is taken off, and
    said.
    """
    if values.drop_nulls().str.to_lowercase().is_in(["true", "false"]).all():
        values = values.str.to_lowercase().replace({"true": "1", "false": "0"})
    name = values.name.removeprefix("target/")
    units = values.drop_nulls().str.extract(_WITH_UNIT, 2)
    if len(units) and not units.null_count() and units.n_unique() == 1:
        values = values.str.extract(_WITH_UNIT, 1)
        listing.note(f"All values of '{name}' end in '{units[0]}': the numbers before it are taken.")
    numbers = values.cast(pl.Float64, strict=False)
    filled, parsed = values.drop_nulls().len(), numbers.drop_nulls().len()
    if not filled:
        listing.note(f"The column '{name}' holds no value.")
    if parsed == filled:
        finite = numbers.cast(pl.Float32).is_finite()  # as models see them
        listing.count(f"{name}: not finite, taken as missing", (~finite).sum())
        known = pl.select(pl.when(finite).then(numbers).otherwise(None)).to_series().alias(values.name)
        return _plausible(known, name, listing)
    if parsed > 0 or values.drop_nulls().str.contains(r"^[<>=~]*\s*[+-]?\d+([.,]\d+)?\D*$").all():
        example = values.filter(numbers.is_null() & values.is_not_null())[0]
        listing.note(
            f"{filled - parsed:,} of {filled:,} values of '{name}' are no numbers ('{example[:20]}'), so the column is "
            "kept as text, its values as classes. To use it as a number, correct or empty those fields."
        )
    return values


def _plausible(numbers: pl.Series, name: str, listing: Listing) -> pl.Series:
    """Pressures of the lungs that nobody has as null, counted; of other columns, what looks like no value is told."""
    if name.lower() in _PRESSURES:
        inside = numbers.is_between(*PRESSURE_RANGE)
        listing.count(
            f"{name}: outside {PRESSURE_RANGE[0]:g} to {PRESSURE_RANGE[1]:g} mmHg, taken as missing", (~inside).sum()
        )
        numbers = pl.select(pl.when(inside).then(numbers).otherwise(None)).to_series().alias(numbers.name)
        median = numbers.median()
        if name.lower() == "mpap" and median is not None and median < _LOWEST_MPAP:
            listing.note(f"The median of '{name}' is {median:.3g}. Pressures are taken as mmHg; 1 kPa is 7.5 mmHg.")
        return numbers
    known = numbers.drop_nulls()
    different = known.unique().sort()
    if len(different) < 3:
        return numbers  # a label, of whatever coding
    for mark, alone in ((different[0], different[1] > 0), (different[-1], different[-2] < different[-1] / 5)):
        if mark in _MARKS and alone:
            listing.note(
                f"{(known == mark).sum():,} of {len(known):,} values of '{name}' are {mark:g}, far from all others. If "
                "that means that there is no value, empty those fields: they count as numbers."
            )
    return numbers


def read_time(values: pl.Series) -> pl.Series:
    """Date and time as ISO 8601 writes them; null for anything else."""
    forms = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
    read = [values.str.to_datetime(form, time_unit="us", strict=False) for form in forms]
    return pl.select(pl.coalesce(read)).to_series()


def read_split(values: pl.Series) -> pl.Series:
    """train, val or test.

    Raises:
        RawDataError: Another name, or none.
    """
    names = values.str.to_lowercase().replace_strict(_SPLIT_NAMES, default=None, return_dtype=pl.String)
    if names.null_count():
        example = values.filter(names.is_null()).to_list()[0]
        raise RawDataError(
            f"The column split has {names.null_count():,} fields that are no split, the first "
            f"{'empty' if example is None else repr(example)}.",
            "train, val or test in every row.",
            "Correct the column, or remove it: patients are then split by a hash.",
        )
    return names


def read_fold(values: pl.Series) -> pl.Series:
    """Numbers of folds, int8.

    Raises:
        RawDataError: A field is no small whole number.
    """
    folds = values.str.strip_suffix(".0").cast(pl.Int8, strict=False)
    if folds.null_count() or folds.n_unique() < 2:
        raise RawDataError(
            "The column fold has fields that are no whole number below 128, or a single fold.",
            "The number of its fold in every row, at least two folds.",
            "Correct the column, or remove it.",
        )
    return folds


def split_of_folds(folds: pl.Series, listing: Listing) -> pl.Series:
    """The highest fold tests, the one before it validates when there are three or more, the others train."""
    numbers = sorted(folds.unique().to_list())
    named = {numbers[-1]: "test"} | ({numbers[-2]: "val"} if len(numbers) > 2 else {})
    said = ", ".join(f"fold {number} is {name}" for number, name in named.items())
    listing.note(f"There are folds and no splits: {said}, the others train.")
    return folds.replace_strict(named, default="train", return_dtype=pl.String)
