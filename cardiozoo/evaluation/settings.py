"""How a table is to be judged, checked before any work begins."""

from __future__ import annotations

from dataclasses import dataclass

from cardiozoo.errors import OptionError
from cardiozoo.evaluation.predictions import PREDICTION_KINDS
from cardiozoo.evaluation.subgroups import AGE_BANDS

SUBSETS = {
    "all": "every row, whichever modalities it has (the papers call this set partial)",
    "paired": "rows with every modality",
    "partial": "rows with at least one modality missing",
}


@dataclass(frozen=True)
class Settings:
    """How to judge.

    Attributes:
        n_bootstrap: Draws of whole patients.
        seed: Seed of the draws.
        level: Coverage of the intervals.
        subsets: Of ``all``, ``paired``, ``partial``.
        age_bands: ``default`` or ``medfuse``, or the limits of left-closed bands in years.
        bins: Bins of the calibration error.
        kind: ``classification``, ``regression`` or ``unsupervised``; None: as the run or the table itself says.
    """

    n_bootstrap: int = 1000
    seed: int = 0
    level: float = 0.95
    subsets: tuple[str, ...] = tuple(SUBSETS)
    age_bands: str | tuple[float, ...] = "default"
    bins: int = 10
    kind: str | None = None

    def __post_init__(self) -> None:
        _require(
            self.n_bootstrap >= 2, "n_bootstrap", self.n_bootstrap, "at least 2 draws; 1000 for limits worth quoting"
        )
        _require(self.seed >= 0, "seed", self.seed, "a whole number from 0")
        _require(0 < self.level < 1, "level", self.level, "a coverage between 0 and 1, such as 0.95")
        _require(self.bins >= 2, "bins", self.bins, "at least 2 bins")
        known = bool(self.subsets) and set(self.subsets) <= set(SUBSETS)
        _require(known, "subsets", list(self.subsets), f"one or more of {', '.join(SUBSETS)}")
        _require(self.kind in (None, *PREDICTION_KINDS), "kind", self.kind, f"one of {', '.join(PREDICTION_KINDS)}")
        if isinstance(self.age_bands, str):
            _require(self.age_bands in AGE_BANDS, "age_bands", self.age_bands, f"{' or '.join(AGE_BANDS)}, or limits")
        else:
            rising = len(self.age_bands) > 1 and all(
                a < b for a, b in zip(self.age_bands, self.age_bands[1:], strict=False)
            )
            _require(rising, "age_bands", self.age_bands, "two or more rising limits, such as 18,40,65,inf")

    @property
    def age_limits(self) -> tuple[float, ...]:
        return AGE_BANDS[self.age_bands] if isinstance(self.age_bands, str) else tuple(self.age_bands)


def _require(met: bool, name: str, came: object, accepted: str) -> None:
    if not met:
        raise OptionError(f"{name} was {came!r}.", f"Accepted: {accepted}.", "See `cardiozoo evaluate --help`.")
