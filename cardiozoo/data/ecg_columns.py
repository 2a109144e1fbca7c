"""Columns of an ECG store as targets: found by name, compared with a threshold, chosen by a condition."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import polars as pl

from cardiozoo.data.ecg_samples import Labelled
from cardiozoo.data.tasks import Task
from cardiozoo.errors import OptionError

PREFIX = "target/"
RECONSTRUCTION = Task("reconstruction", "unsupervised", (), monitor="val/loss", mode="min")
# facts of every record that may be a target or in a condition too
_FACTS = ("age", "sex")
# one measure under three names: the pulmonary artery wedge pressure
WEDGE_PRESSURE = ("PAWP", "mPCWP", "PCWP")
_SAME = [frozenset(name.lower() for name in WEDGE_PRESSURE)]
_MEND = "Correct or empty such fields of the table and prepare the store again, or choose another column."
_COMPARISON = re.compile(r"\s*([^<>=!]+?)\s*(>=|<=|==|!=|=|>|<)\s*(.+?)\s*")
_COMPARE: dict[str, Callable[[pl.Expr, object], pl.Expr]] = {
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def target_names(records: pl.DataFrame) -> list[str]:
    """The columns of records.parquet that can be a target, as a user names them."""
    own = [name.removeprefix(PREFIX) for name in records.columns if name.startswith(PREFIX)]
    return own + [name for name in _FACTS if name in records.columns and name not in own]


def find_column(records: pl.DataFrame, name: str) -> tuple[pl.Series, list[str]]:
    """The values of a column by its name, whatever the case; a wedge pressure by any of its names.

    Where a table has several columns of one measure, a row takes the first that holds a value.

    Returns:
        Values (N,), and the columns they come from.

    Raises:
        OptionError: There is no such column.
    """
    asked = name.strip().removeprefix(PREFIX).lower()
    wanted = next((group for group in _SAME if asked in group), frozenset([asked]))
    found = [column for column in target_names(records) if column.lower() in wanted]
    if not found:
        raise OptionError(
            f"There is no column '{name}' in this store.",
            f"One of {', '.join(target_names(records)) or 'none: it holds no targets'}.",
            "Choose one of them, or prepare the store from a table that has it.",
        )
    exact = [column for column in found if column.lower() == asked]
    ordered = exact + [column for column in found if column not in exact]
    stored = [
        column if column in _FACTS and PREFIX + column not in records.columns else PREFIX + column for column in ordered
    ]
    values = records.select(pl.coalesce(stored).alias(name))[name]
    if values.dtype.is_float():
        values = values.fill_nan(None)
    return values, ordered


def condition(records: pl.DataFrame, where: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Rows that meet a condition such as ``mPAP > 20`` or ``mPAP > 20 and sex == F``.

    Returns:
        bool (N,) met; bool (N,) where a value that it needs is missing; the columns that it uses.

    Raises:
        OptionError: It is no such condition, or names no column of the store.
    """
    met = np.ones(records.height, dtype=bool)
    missing = np.zeros(records.height, dtype=bool)
    used: list[str] = []
    for part in re.split(r"\s+and\s+", where.strip(), flags=re.IGNORECASE):
        match = _COMPARISON.fullmatch(part)
        if match is None:
            raise OptionError(
                f"where is '{where}', and '{part}' is no comparison.",
                "COLUMN > NUMBER, also >=, <, <=, ==, !=; several joined by 'and'; == and != also with text.",
                "For example --data.where 'mPAP > 20'.",
            )
        values, columns = find_column(records, match[1])
        given = _value(match[3], values, match[2], where)
        answer = pl.select(_COMPARE[match[2]](pl.lit(values), given)).to_series()
        missing |= values.is_null().to_numpy()
        met &= answer.fill_null(False).to_numpy()
        used += columns
    return met, missing, list(dict.fromkeys(used))


def _value(text: str, values: pl.Series, operator: str, where: str) -> object:
    """What a column is compared with, of the column's type."""
    if not values.dtype.is_numeric():
        if operator not in ("==", "=", "!="):
            raise OptionError(
                f"where is '{where}' and {values.name} holds text{_example(values)}.",
                "== or != for text; the others for a column of numbers alone.",
                _MEND,
            )
        return text.strip("'\"")
    try:
        return float(text)
    except ValueError:
        raise OptionError(
            f"where is '{where}' and {values.name} holds numbers.",
            "A number to compare with.",
            "Correct the condition.",
        ) from None


def _example(values: pl.Series) -> str:
    """A value that is no number, if there is one."""
    strange = values.drop_nulls().filter(values.drop_nulls().cast(pl.Float64, strict=False).is_null())
    return f", for instance '{strange[0][:20]}'" if len(strange) else ""


def column_target(
    records: pl.DataFrame,
    name: str,
    threshold: float | None = None,
    where: str | None = None,
    class_name: str | None = None,
    task_name: str | None = None,
) -> Labelled:
    """A column as the target: above a threshold, as it is (numbers), or as classes (text).

    Args:
        records: records.parquet.
        name: Column.
        threshold: Makes it binary: above it or not.
        where: Condition on the records that are used.
        class_name: Name of the positive class, or of the predicted quantity.
        task_name: Name of the task, else the column's.

    Raises:
        OptionError: No such column, a threshold for text, or a column of one value.
    """
    values, columns = find_column(records, name)
    facts: dict[str, object] = {"target_columns": columns}
    labelled = Labelled(Task("", "binary", ()), np.arange(records.height), np.arange(records.height))
    if where is not None:
        met, missing, used = condition(records, where)
        facts |= {"where": where, "where_columns": used}
        labelled = labelled.take(~missing, f"no value for the condition {where}")
        labelled = labelled.take(met[labelled.row], f"not {where}")
    labelled = labelled.take(values.is_not_null().to_numpy()[labelled.row], f"no value of {columns[0]}")
    kept = values[labelled.row.tolist()] if len(labelled.row) else values.head(0)
    if threshold is not None:
        if not kept.dtype.is_numeric():
            raise OptionError(
                f"{columns[0]} is compared with {threshold:g} and holds text{_example(kept)}.",
                "A column of numbers alone. Texts are classes, for the task column without a threshold.",
                _MEND,
            )
        target = (kept.to_numpy().astype(np.float64) > threshold).astype(np.float32)[:, None]
        task = Task(
            task_name or f"{columns[0]} > {threshold:g}", "binary", (class_name or f"{columns[0]} > {threshold:g}",)
        )
    elif kept.dtype.is_numeric():
        task, target = _numeric(kept, task_name or columns[0], class_name or columns[0])
    else:
        classes = sorted(kept.unique().to_list(), key=str)
        codes = {text: code for code, text in enumerate(classes)}
        target = np.array([codes[text] for text in kept.to_list()], dtype=np.int64)
        task = Task(task_name or columns[0], "multiclass", tuple(str(text) for text in classes))
    _check_varies(task, target, columns[0])
    return Labelled(task, labelled.row, target, labelled.excluded, facts)


def without_target(records: pl.DataFrame, where: str | None = None) -> Labelled:
    """All records (or those that meet a condition) for a model that learns without labels."""
    labelled = Labelled(RECONSTRUCTION, np.arange(records.height), None)
    if where is None:
        return labelled
    met, missing, used = condition(records, where)
    labelled = labelled.take(~missing, f"no value for the condition {where}")
    labelled = labelled.take(met[labelled.row], f"not {where}")
    return Labelled(RECONSTRUCTION, labelled.row, None, labelled.excluded, {"where": where, "where_columns": used})


def _numeric(values: pl.Series, task_name: str, class_name: str) -> tuple[Task, np.ndarray]:
    """Numbers as they are; a column of 0 and 1 alone is a binary label."""
    target = values.to_numpy().astype(np.float32)[:, None]
    if len(target) and np.isin(target, (0.0, 1.0)).all():
        return Task(task_name, "binary", (class_name,)), target
    return Task(task_name, "regression", (class_name,), monitor="val/rmse", mode="min"), target


def _check_varies(task: Task, target: np.ndarray, column: str) -> None:
    if len(target) and len(np.unique(target)) < 2:
        raise OptionError(
            f"All {len(target)} records that {task.name} can use have one value of {column}.",
            "At least two, or there is nothing to learn.",
            "Choose another column, threshold or condition.",
        )
