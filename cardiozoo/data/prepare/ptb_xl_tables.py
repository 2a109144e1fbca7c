"""ptbxl_database.csv of PTB-XL as a listing: statements, folds, age and sex, and refusal of a file saved again."""

from __future__ import annotations

import ast
from pathlib import Path

import polars as pl

from cardiozoo.data.prepare.ecg_listing import Listing
from cardiozoo.data.prepare.tables import read_text_table
from cardiozoo.data.scp import ScpStatements, refuse_spreadsheet_codes
from cardiozoo.errors import RawDataError

_REQUIRED = ("ecg_id", "patient_id", "age", "sex", "recording_date", "scp_codes", "strat_fold")
_NUMBERS = ("height", "weight")
_TEXTS = (
    "heart_axis",
    "infarction_stadium1",
    "infarction_stadium2",
    "report",
    "site",
    "device",
    "validated_by_human",
    "baseline_drift",
    "static_noise",
    "burst_noise",
    "electrodes_problems",
    "extra_beats",
    "pacemaker",
)
_FOLDS, _VAL_FOLD, _TEST_FOLD = 10, 9, 10
_OVER_89 = 300
_ELDEST = 120
_DELIVERED = "Accepted: ptbxl_database.csv as PTB-XL delivers it, never opened and saved by a spreadsheet program."
_AGAIN = "Download the release's own file, and compare it with SHA256SUMS.txt."


def read_database(path: Path, statements: ScpStatements, source: str) -> Listing:
    """The records of a release, with ``scp/<code>`` float32 (likelihood in percent, null = not stated).

    Args:
        path: ptbxl_database.csv.
        statements: The statements of the same release.
        source: ``hr`` or ``lr``: which of the two files of a record.

    Raises:
        RawDataError: Columns are missing; dates, numbers or codes are not as delivered; a record is listed twice; or a
            patient is in two folds.
    """
    named = f"filename_{source}"
    raw = read_text_table(path, (*_REQUIRED, named))
    if not raw.height:
        raise RawDataError(f"{path} lists no record.", _DELIVERED, _AGAIN)
    time = raw["recording_date"].str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    _refuse_unless(time.is_not_null() | raw["recording_date"].is_null(), raw["recording_date"], path)
    fold = _whole_numbers(raw["strat_fold"], path)
    if fold.null_count() or not fold.is_between(1, _FOLDS).all():
        raise RawDataError(f"{path} has a strat_fold that is not 1 ... {_FOLDS}.", _DELIVERED, _AGAIN)
    ids = _whole_numbers(raw["ecg_id"], path)
    if ids.null_count() or ids.n_unique() != len(ids):
        raise RawDataError(f"{path} has rows without an ecg_id, or one ecg_id twice.", _DELIVERED, _AGAIN)
    age, sex = raw["age"].cast(pl.Float32, strict=False), raw["sex"].replace_strict({"0": "M", "1": "F"}, default=None)
    split = pl.when(fold == _TEST_FOLD).then(pl.lit("test")).when(fold == _VAL_FOLD).then(pl.lit("val"))
    patient = raw["patient_id"].str.strip_suffix(".0")
    alone = pl.select(pl.format("record {}", raw["ecg_id"])).to_series()
    table = pl.DataFrame(
        {
            "id": raw["ecg_id"],
            "patient": patient.zip_with(patient.is_not_null(), alone),
            "path": raw[named],
            "file": raw[named] + ".hea",
            "time": time,
            "age": age,
            "sex": sex,
            "fold": fold.cast(pl.Int8),
        }
    ).with_columns(split.otherwise(pl.lit("train")).alias("split"))
    kept = [raw[name].cast(pl.Float32, strict=False) for name in _NUMBERS if name in raw.columns]
    kept += [raw[name] for name in _TEXTS if name in raw.columns]
    listing = Listing(table.hstack(kept).hstack(_likelihoods(raw["scp_codes"], statements, path)))
    _account(listing, raw, path)
    return listing


def _account(listing: Listing, raw: pl.DataFrame, path: Path) -> None:
    """Check the folds, count what is not known, and take out what names no file."""
    _check_folds(listing.table, path)
    listing.count("records without a patient, each a patient of its own", raw["patient_id"].null_count())
    listing.count("age 300, which stands for over 89, taken as missing", (listing.table["age"] == _OVER_89).sum())
    over = pl.col("age") == _OVER_89
    listing.table = listing.table.with_columns(pl.when(over).then(None).otherwise(pl.col("age")).alias("age"))
    listing.clear_outside("age", 0, _ELDEST)
    listing.count("sex other than 0 and 1", (listing.table["sex"].is_null() & raw["sex"].is_not_null()).sum())
    outside = pl.col("path").str.starts_with("/") | pl.col("path").str.contains(r"(^|/)\.\.(/|$)")
    listing.exclude(pl.col("path").is_null() | outside, "no path within the release")


def _likelihoods(texts: pl.Series, statements: ScpStatements, path: Path) -> pl.DataFrame:
    """scp_codes, a Python dictionary in quotes, as one column a code."""
    known, rows = set(statements.codes), []
    for text in texts.to_list():
        try:
            stated = ast.literal_eval(text)
            row = {str(code): float(likelihood) for code, likelihood in stated.items()}
        except (ValueError, SyntaxError, TypeError, AttributeError, MemoryError, RecursionError):
            raise RawDataError(f"{path} has scp_codes that are no dictionary.", _DELIVERED, _AGAIN) from None
        if not row.keys() <= known:
            strange = sorted(row.keys() - known)
            refuse_spreadsheet_codes(strange, path)
            raise RawDataError(
                f"{path} states {', '.join(strange[:5])}, which scp_statements.csv does not list.",
                "Both tables of one release.",
                _AGAIN,
            )
        rows.append(row)
    columns = {f"scp/{code}": [row.get(code) for row in rows] for code in statements.codes}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Float32))


def _check_folds(table: pl.DataFrame, path: Path) -> None:
    several = table.group_by("patient").agg(pl.col("fold").n_unique()).filter(pl.col("fold") > 1).height
    if several:
        raise RawDataError(
            f"{path} has {several} patients in more than one strat_fold; the release has none.", _DELIVERED, _AGAIN
        )


def _whole_numbers(values: pl.Series, path: Path) -> pl.Series:
    numbers = values.cast(pl.Int64, strict=False)
    _refuse_unless(numbers.is_not_null() | values.is_null(), values, path)
    return numbers


def _refuse_unless(right: pl.Series, values: pl.Series, path: Path) -> None:
    if not right.all():
        example = values.filter(~right)[0]
        raise RawDataError(
            f"{path} has {values.name} '{example}' and {int((~right).sum()) - 1} more that are not as delivered: a "
            "spreadsheet program may have saved it again.",
            _DELIVERED,
            _AGAIN,
        )
