"""The predictions table: one row a sample, from any framework, as Parquet or CSV.

==================  =========  ===============================================================================
column              needed     meaning
==================  =========  ===============================================================================
``id``              yes        names the sample, unique in its split
``split``           yes        ``train``, ``val``, ``test`` or any other word
``target/<class>``  yes        0 or 1; null or NaN = unlabelled. One-hot for a choice among classes
``score/<class>``   yes        probability in [0, 1], finite also where the target is unlabelled
``patient``         no         the unit that is resampled; without it every id counts as its own patient
``group/<name>``    no         age in years, sex, ...; plain columns ``age`` and ``sex`` are taken too
``present/<name>``  no         bool, whether the sample has this modality
``extra/...``       no         anything else a model wants to keep; read for unsupervised tables only
==================  =========  ===============================================================================

That is a table of a classification. In one of a *regression* ``target/<name>`` and ``score/<name>`` are numbers in the
units of the target; an *unsupervised* one has neither, and its ``extra/<name>`` columns are what is judged. The run or
whoever asks says the kind; a table without targets and scores, but with numbers in ``extra/``, is recognised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from cardiozoo.errors import PredictionsError

FORMAT = (
    "A predictions table has the columns id, split, target/<class> (0, 1 or empty) and score/<class> (0 to 1); "
    "patient, group/<name> and present/<modality> are optional."
)
PLAIN_GROUPS = ("age", "sex")
CLASSIFICATION, REGRESSION, UNSUPERVISED = "classification", "regression", "unsupervised"
PREDICTION_KINDS = (CLASSIFICATION, REGRESSION, UNSUPERVISED)


@dataclass(frozen=True)
class Predictions:
    """One split of a predictions table, rows in order of ``id``.

    Attributes:
        source: The file it came from.
        split: Name of the split.
        id: Sample names, str (N,).
        patient: Patient names, str (N,); the ids themselves where the table has no patients.
        has_patients: Whether the table named patients.
        classes: Class names in the table's order, C of them; names of the targets of a regression, of the ``extra/``
            columns if unsupervised.
        target: float64 (N, C), NaN where unlabelled; all NaN if unsupervised.
        score: float64 (N, C) in [0, 1]; any finite number for a regression, the column's values (NaN = none) if
            unsupervised.
        groups: Name -> float64 (N,) with NaN, or object (N,) of str or None.
        present: Modality -> bool (N,).
        notes: What a reader should know: the split chosen, columns ignored, rows without labels.
        kind: ``classification``, ``regression`` or ``unsupervised``.
        choice: Of a classification: whether each sample has exactly one class. None: nobody says, and it is seen from
            the table.
    """

    source: Path
    split: str
    id: np.ndarray
    patient: np.ndarray
    has_patients: bool
    classes: tuple[str, ...]
    target: np.ndarray
    score: np.ndarray
    groups: dict[str, np.ndarray]
    present: dict[str, np.ndarray]
    notes: tuple[str, ...]
    kind: str = CLASSIFICATION
    choice: bool | None = None

    def __len__(self) -> int:
        return len(self.id)

    @property
    def paired(self) -> np.ndarray:
        """Bool (N,): every modality named in the table is there."""
        return np.all(list(self.present.values()), axis=0) if self.present else np.ones(len(self), dtype=bool)

    @property
    def one_hot(self) -> bool:
        """Whether the classes are a choice: ``choice``, or each fully labelled row names one and its scores sum to one.

        A few rows of independent labels may happen to name one class each, so what is stated goes first.
        """
        if self.choice is not None:
            return self.choice and self.kind == CLASSIFICATION and len(self.classes) > 1
        labelled = self.target[~np.isnan(self.target).any(axis=1)]
        if self.kind != CLASSIFICATION or len(self.classes) < 2 or not len(labelled):
            return False
        return bool((labelled.sum(axis=1) == 1).all() and np.allclose(self.score.sum(axis=1), 1.0, atol=1e-3))

    def select(self, rows: np.ndarray, classes: Sequence[str] | None = None) -> Predictions:
        """The same table with these rows (bool or integer index) and these classes, in the order given."""
        columns = [self.classes.index(name) for name in (classes or self.classes)]
        return replace(
            self,
            id=self.id[rows],
            patient=self.patient[rows],
            classes=tuple(self.classes[i] for i in columns),
            target=self.target[rows][:, columns],
            score=self.score[rows][:, columns],
            groups={name: values[rows] for name, values in self.groups.items()},
            present={name: values[rows] for name, values in self.present.items()},
            choice=self.choice if len(columns) == len(self.classes) else False if self.choice is False else None,
        )


def read_predictions(
    path: Path, split: str | None = None, kind: str | None = None, choice: bool | None = None
) -> Predictions:
    """Read and check a predictions table.

    Args:
        path: A ``.parquet`` or ``.csv`` file.
        split: The split to judge; ``test`` if there are several, else the only one.
        kind: ``classification``, ``regression`` or ``unsupervised``. None: unsupervised if the table has numbers in
            ``extra/`` and neither targets nor scores, else classification.
        choice: Whether each sample has exactly one class; None: seen from the table.

    Raises:
        PredictionsError: No such file, unreadable, missing columns, classes that differ between targets and scores,
            repeated ids, scores that are no probabilities, targets other than 0 and 1, or an empty table.
    """
    path = Path(path)
    table = _read(path)
    kind = kind or _recognised(table)
    classes = _columns(path, table) if kind == UNSUPERVISED else _classes(path, table)
    table, name, notes = _choose_split(path, table, split)
    _check_ids(path, table)
    if kind == UNSUPERVISED:
        score = np.stack([_numbers(path, table, f"extra/{c}") for c in classes], axis=1)
        target = np.full_like(score, np.nan)
    else:
        target, score = _targets(path, table, classes, kind), _scores(path, table, classes, kind)
    groups, present, used = _groups(path, table), _present(path, table), {"id", "split", "patient"}
    used |= {f"{kind}/{c}" for kind in ("target", "score") for c in classes}
    used |= {f"group/{g}" for g in groups} | {f"present/{m}" for m in present} | (set(PLAIN_GROUPS) & set(groups))
    ignored = [column for column in table.columns if column not in used and not column.startswith("extra/")]
    if ignored:
        more = f" and {len(ignored) - 6} more" if len(ignored) > 6 else ""
        notes.append(f"Columns not read: {', '.join(ignored[:6])}{more}.")
    unlabelled = int(np.isnan(target).all(axis=1).sum())
    if unlabelled and kind != UNSUPERVISED:
        notes.append(f"{unlabelled:,} of {len(table):,} rows have no label at all; they enter no metric.")
    patients, has_patients = _patients(path, table)
    if not has_patients:
        notes.append("The table has no column `patient`: every id was resampled as if it were its own patient.")
    return Predictions(
        path,
        name,
        table["id"].to_numpy(),
        patients,
        has_patients,
        classes,
        target,
        score,
        groups,
        present,
        tuple(notes),
        kind,
        choice,
    )


def _recognised(table: pl.DataFrame) -> str:
    judged = any(c.startswith(("score/", "target/")) for c in table.columns)
    return CLASSIFICATION if judged or not _extra(table) else UNSUPERVISED


def _extra(table: pl.DataFrame) -> list[str]:
    """Names of the ``extra/`` columns that hold numbers."""
    return [c.removeprefix("extra/") for c, t in table.schema.items() if c.startswith("extra/") and t.is_numeric()]


def _columns(path: Path, table: pl.DataFrame) -> tuple[str, ...]:
    names = _extra(table)
    if not names:
        raise PredictionsError(
            f"{path} has no numbers in extra/<name> columns.",
            "A table without targets is judged by such columns: the loss of each sample, the error of each lead, ...",
            "Return them as `extra` from the model's predict_step, or name another --kind.",
        )
    return tuple(names)


def _read(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise PredictionsError(
            f"There is no predictions table at {path}.",
            "A .parquet or .csv file, or the folder of a finished run.",
            "`cardiozoo fit` and `cardiozoo test` write predictions.parquet into the run's folder.",
        )
    try:
        match path.suffix.lower():
            case ".parquet":
                table = pl.read_parquet(path)
            case ".csv":
                table = pl.read_csv(path, infer_schema_length=None, null_values=["", "NA"])
            case suffix:
                raise PredictionsError(f"{path} ends in {suffix!r}.", "A .parquet or .csv file.", "Convert the table.")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise PredictionsError(
            f"{path} cannot be read: {str(error).splitlines()[0]}", "A whole .parquet or .csv file.", "Write it anew."
        ) from error
    missing = [name for name in ("id", "split") if name not in table.columns]
    if missing:
        raise PredictionsError(
            f"{path} has no column {' and no column '.join(missing)}; it has {_some(table.columns)}.",
            FORMAT,
            "Rename or add the column and evaluate again.",
        )
    if not len(table):
        raise PredictionsError(
            f"{path} has columns but no rows.", "At least one row.", "Run `cardiozoo predict` again."
        )
    return table.with_columns(pl.col("id").cast(pl.String), pl.col("split").cast(pl.String))


def _classes(path: Path, table: pl.DataFrame) -> tuple[str, ...]:
    scores = [c.removeprefix("score/") for c in table.columns if c.startswith("score/")]
    targets = [c.removeprefix("target/") for c in table.columns if c.startswith("target/")]
    if not scores or not targets:
        lacking = " and no ".join(
            f"{kind}/<class>" for kind, has in (("score", scores), ("target", targets)) if not has
        )
        raise PredictionsError(f"{path} has no {lacking} column.", FORMAT, "Add one pair of columns a class.")
    if set(scores) != set(targets):
        without_score = sorted(set(targets) - set(scores))
        without_target = sorted(set(scores) - set(targets))
        parts = [f"targets without a score: {_some(without_score)}"] if without_score else []
        parts += [f"scores without a target: {_some(without_target)}"] if without_target else []
        raise PredictionsError(
            f"The classes of {path} do not match; {'; '.join(parts)}.",
            "One score/<class> for each target/<class>, spelt the same.",
            "Rename the columns, or drop those that belong to no pair.",
        )
    return tuple(targets)


def _choose_split(path: Path, table: pl.DataFrame, split: str | None) -> tuple[pl.DataFrame, str, list[str]]:
    if table["split"].null_count():
        raise PredictionsError(
            f"{table['split'].null_count()} rows of {path} have no split.",
            "A word in each row, such as test.",
            "Fill it.",
        )
    sizes = {name: count for name, count in table["split"].value_counts(sort=True).iter_rows()}
    listed = ", ".join(f"{name} ({count:,} rows)" for name, count in sizes.items())
    name = split or (next(iter(sizes)) if len(sizes) == 1 else "test")
    if name not in sizes:
        raise PredictionsError(
            f"{path} holds the splits {listed}; asked for: {name}.",
            "One of these splits.",
            f"Choose one with --split, for example --split {next(iter(sizes))}.",
        )
    notes = [f"The table holds the splits {listed}; {name} was judged."] if len(sizes) > 1 else []
    return table.filter(pl.col("split") == name).sort("id"), name, notes


def _check_ids(path: Path, table: pl.DataFrame) -> None:
    if table["id"].null_count():
        raise PredictionsError(f"{table['id'].null_count()} rows of {path} have no id.", "One id a row.", "Fill them.")
    repeated = table.filter(pl.col("id").is_duplicated())["id"].unique(maintain_order=True)
    if len(repeated):
        raise PredictionsError(
            f"{len(repeated):,} ids of {path} stand in several rows of the split, such as {_some(list(repeated))}.",
            "Each sample once: samplers that pad the last batch over several processes repeat some.",
            "Drop the repeated rows, or predict again on one device.",
        )


def _numbers(path: Path, table: pl.DataFrame, column: str) -> np.ndarray:
    """float64 with NaN for null; text that is no number is an error, not a null."""
    series = table[column]
    if series.dtype == pl.String or not (series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null)):
        raise PredictionsError(f"Column {column} of {path} holds {series.dtype}.", "Numbers.", "Convert the column.")
    return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _targets(path: Path, table: pl.DataFrame, classes: tuple[str, ...], kind: str) -> np.ndarray:
    target = np.stack([_numbers(path, table, f"target/{c}") for c in classes], axis=1)
    if kind == REGRESSION:
        if (infinite := np.isinf(target)).any():
            raise PredictionsError(
                f"{int(infinite.sum()):,} targets of {path} are infinite.",
                "Numbers, or empty for unlabelled.",
                "Fix it.",
            )
        return target
    wrong = ~(np.isnan(target) | (target == 0) | (target == 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise PredictionsError(
            f"{int(wrong.sum()):,} targets of {path} are neither 0 nor 1, first {target[row, column]:g} in "
            f"target/{classes[column]}.",
            "0, 1, or empty for unlabelled; numbers in their own units if the table is one of a regression.",
            "Encode the labels (uncertain ones as empty, 0 or 1) and write the table again, or say --kind regression.",
        )
    return target


def _scores(path: Path, table: pl.DataFrame, classes: tuple[str, ...], kind: str) -> np.ndarray:
    score = np.stack([_numbers(path, table, f"score/{c}") for c in classes], axis=1)
    wanted = "probabilities from 0 to 1" if kind == CLASSIFICATION else "numbers"
    outside = ((score < 0) | (score > 1)) & (kind == CLASSIFICATION)
    for what, wrong, hint in (
        ("empty, NaN or infinite", ~np.isfinite(score), "A model that diverged writes NaN; train it again."),
        ("outside [0, 1]", outside, "Logits become probabilities through a sigmoid or a softmax."),
    ):
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise PredictionsError(
                f"{int(wrong.sum()):,} scores of {path} are {what}, first {score[row, column]:g} in "
                f"score/{classes[column]}.",
                f"Finite {wanted}, also for unlabelled samples.",
                hint,
            )
    return score


def _patients(path: Path, table: pl.DataFrame) -> tuple[np.ndarray, bool]:
    if "patient" not in table.columns:
        return table["id"].to_numpy(), False
    if nulls := table["patient"].null_count():
        raise PredictionsError(
            f"{nulls:,} rows of {path} have no patient.",
            "A patient in each row, or no such column.",
            "Fill or drop it.",
        )
    return table["patient"].cast(pl.String).to_numpy(), True


def _groups(path: Path, table: pl.DataFrame) -> dict[str, np.ndarray]:
    columns = {c.removeprefix("group/"): c for c in table.columns if c.startswith("group/")}
    columns |= {c: c for c in PLAIN_GROUPS if c in table.columns and c not in columns}
    groups = {}
    for name, column in columns.items():
        series = table[column]
        if series.dtype.is_numeric():
            groups[name] = series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        else:
            groups[name] = np.array(series.cast(pl.String).to_list(), dtype=object)
    if "age" in groups and groups["age"].dtype == object:
        raise PredictionsError(
            f"The ages of {path} are text.", "Ages in years, as numbers.", f"Convert {columns['age']}."
        )
    return groups


def _present(path: Path, table: pl.DataFrame) -> dict[str, np.ndarray]:
    present = {}
    for column in (c for c in table.columns if c.startswith("present/")):
        series = table[column]
        if series.dtype == pl.String and set(series.unique()) <= {"true", "false", "True", "False"}:
            series = series.str.to_lowercase() == "true"
        if series.null_count() or not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
            raise PredictionsError(
                f"{column} of {path} is not true or false in each row.", "true or false.", "Fill it."
            )
        if not series.cast(pl.Float64).is_in([0.0, 1.0]).all():
            raise PredictionsError(f"{column} of {path} holds other numbers than 0 and 1.", "true or false.", "Fix it.")
        present[column.removeprefix("present/")] = series.cast(pl.Float64).to_numpy() == 1
    return present


def _some(names: Sequence[str], most: int = 4) -> str:
    shown = ", ".join(str(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
