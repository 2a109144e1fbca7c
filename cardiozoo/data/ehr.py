"""Clinical time series: the 17 variables, their 76 channels, binning, and the 25 phenotypes of ICD codes.

Everything public about them under one import path; needs numpy and the standard library only.
"""

from __future__ import annotations

from cardiozoo.data.ehr_binning import bin_block, bin_events, bin_lengths, parse_value
from cardiozoo.data.ehr_vocabulary import (
    CHANNELS,
    CONTINUOUS_COLUMNS,
    CONTINUOUS_VARIABLES,
    FIRST_COLUMN,
    LEGACY_NORMALIZER,
    LEVEL_POINTS,
    LEVELS,
    MASK_COLUMNS,
    NORMAL_CODES,
    NORMAL_VALUES,
    RANGES,
    VARIABLES,
    Normalizer,
)
from cardiozoo.data.icd import PHENOTYPE_TYPES, PHENOTYPES, LabelRule, code_map, phenotypes

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
    "PHENOTYPES",
    "PHENOTYPE_TYPES",
    "RANGES",
    "VARIABLES",
    "LabelRule",
    "Normalizer",
    "bin_block",
    "bin_events",
    "bin_lengths",
    "code_map",
    "parse_value",
    "phenotypes",
]
