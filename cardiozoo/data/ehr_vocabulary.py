"""The 17 variables of the clinical time series, their levels and the 76 channels they become.

The facts live in ``tables/ehr_variables.csv`` and ``tables/ehr_levels.csv``; this module gives them names. Spelling
(``Glascow``) and order are those of the benchmark of Harutyunyan et al., "Multitask learning and benchmarking with
clinical time series data", Scientific Data 2019, as MedFuse (Hayat et al., MLHC 2022) carried them to MIMIC-IV, so
that columns can be compared with published arrays.

Two vocabularies meet in the categorical variables: the texts that MIMIC-IV charts today (``Spontaneously``) and those
of its predecessor (``4 Spontaneously``). A normal value filled in for a missing one uses the old text, an observed one
the new text, so the two have different one-hot codes.
"""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import NamedTuple

import numpy as np

__all__ = [
    "CHANNELS",
    "CONTINUOUS_COLUMNS",
    "CONTINUOUS_VARIABLES",
    "FIRST_COLUMN",
    "LEGACY_NORMALIZER",
    "LEVELS",
    "LEVEL_POINTS",
    "MASK_COLUMNS",
    "NORMAL_CODES",
    "NORMAL_VALUES",
    "RANGES",
    "VARIABLES",
    "Normalizer",
    "read_table",
]


class Normalizer(NamedTuple):
    """Mean and standard deviation of the 12 continuous columns, in the order of ``CONTINUOUS_COLUMNS``, each (12,)."""

    mean: np.ndarray
    sd: np.ndarray


def read_table(name: str) -> list[dict[str, str]]:
    """Rows of a CSV file of ``cardiozoo/data/tables`` as dictionaries of text."""
    text = files("cardiozoo.data").joinpath("tables", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


_VARIABLES = read_table("ehr_variables.csv")
_LEVELS = read_table("ehr_levels.csv")

#: The 17 variables; the position of a name is the number of its variable in every file.
VARIABLES: tuple[str, ...] = tuple(row["name"] for row in _VARIABLES)

#: Levels of the five categorical variables in channel order. A stored level code is an index into this tuple.
LEVELS: dict[int, tuple[str, ...]] = {
    number: tuple(row["level"] for row in _LEVELS if int(row["variable"]) == number)
    for number in sorted({int(row["variable"]) for row in _LEVELS})
}

#: Points on the Glasgow scale of each level of variables 3-6, aligned with ``LEVELS``.
LEVEL_POINTS: dict[int, tuple[int, ...]] = {
    number: tuple(int(row["points"]) for row in _LEVELS if int(row["variable"]) == number and row["points"])
    for number in LEVELS
    if number != 0
}

#: The 12 variables measured on a scale.
CONTINUOUS_VARIABLES: tuple[int, ...] = tuple(v for v in range(len(VARIABLES)) if v not in LEVELS)

#: The first (for continuous variables, the only) value column of each variable.
FIRST_COLUMN: tuple[int, ...] = tuple(int(row["column"]) for row in _VARIABLES)

#: The columns of ``CONTINUOUS_VARIABLES``: the only ones that are standardised.
CONTINUOUS_COLUMNS: tuple[int, ...] = tuple(FIRST_COLUMN[v] for v in CONTINUOUS_VARIABLES)

#: The columns that say whether each variable was observed in the bin, in variable order.
MASK_COLUMNS: tuple[int, ...] = tuple(range(59, 76))

#: Names of the 76 channels: ``variable``, ``variable->level``, ``mask->variable``.
CHANNELS: tuple[str, ...] = (
    *(
        name
        for number, variable in enumerate(VARIABLES)
        for name in ([f"{variable}->{level}" for level in LEVELS[number]] if number in LEVELS else [variable])
    ),
    *(f"mask->{variable}" for variable in VARIABLES),
)

#: What a variable is taken to be before its first observation: a number, or the text of a level.
NORMAL_VALUES: tuple[float | str, ...] = tuple(
    row["normal"] if number in LEVELS else float(row["normal"]) for number, row in enumerate(_VARIABLES)
)

#: ``NORMAL_VALUES`` as the numbers a store holds: levels as their code.
NORMAL_CODES: tuple[float, ...] = tuple(
    float(LEVELS[number].index(normal)) if isinstance(normal, str) else normal
    for number, normal in enumerate(NORMAL_VALUES)
)

#: Variable -> (outlier low, valid low, valid high, outlier high), bounds inclusive, in the variable's unit.
RANGES: dict[int, tuple[float, float, float, float]] = {
    number: (
        float(row["outlier_low"]),
        float(row["valid_low"]),
        float(row["valid_high"]),
        float(row["outlier_high"]),
    )
    for number, row in enumerate(_VARIABLES)
    if row["outlier_low"]
}

#: The constants that the published models divide by. They were fitted on MIMIC-III without any outlier removal, which
#: flattens glucose, saturation and diastolic pressure; kept for repeating published numbers only.
LEGACY_NORMALIZER = Normalizer(
    mean=np.array([float(_VARIABLES[v]["legacy_mean"]) for v in CONTINUOUS_VARIABLES]),
    sd=np.array([float(_VARIABLES[v]["legacy_sd"]) for v in CONTINUOUS_VARIABLES]),
)
