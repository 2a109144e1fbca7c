"""From irregular events to a regular grid: the last value of each bin, carried forward, with masks.

Bins are half-open on the left, (k dt, (k+1) dt], and the admission itself (t = 0) belongs to bin 0. A stay of ``end``
hours has ``int(end / dt + 1 - 1e-6)`` bins, but at least one. In a bin the last event wins, by time and then by order
in the input. A bin without an event repeats the last value observed before it; where there is none, the normal value.
The tolerance of 1e-6 needs float64: in float32 it vanishes from 32 h on, and events on a full hour slip into the next
bin. Whole seconds need no tolerance at all, so the fast path counts in integers.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence

import numpy as np

from cardiozoo.data.ehr_vocabulary import (
    CHANNELS,
    CONTINUOUS_COLUMNS,
    CONTINUOUS_VARIABLES,
    FIRST_COLUMN,
    LEVELS,
    MASK_COLUMNS,
    NORMAL_CODES,
    VARIABLES,
)
from cardiozoo.errors import OptionError, UnknownNameError

__all__ = ["bin_block", "bin_events", "bin_lengths", "parse_value"]

_TOLERANCE = 1e-6
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_PRESSURE_PAIR = re.compile(r"(\d+\.?\d*)\s*/\s*(\d+\.?\d*)", re.ASCII)
_DIASTOLIC, _SYSTOLIC = VARIABLES.index("Diastolic blood pressure"), VARIABLES.index("Systolic blood pressure")
_CAPILLARY_REFILL = VARIABLES.index("Capillary refill rate")
_LEVEL_CODES = {number: {level: code for code, level in enumerate(levels)} for number, levels in LEVELS.items()}
_NUMERIC_LEVELS = {
    number: {float(level): code for code, level in enumerate(levels)}
    for number, levels in LEVELS.items()
    if all(_NUMBER.fullmatch(level) for level in levels)
}


def parse_value(variable: int, text: str | float | None) -> float:
    """The number that an event's text stands for, NaN where it stands for none.

    Continuous variables take decimal numbers (``"36.6"``) and, for the two pressures, ``"systolic/diastolic"``
    (``"120/80"``). Categorical ones take exactly the texts of ``LEVELS`` (surrounding blanks do not count) and give the
    level's code; the two whose levels are numbers also take an equal number (``"15.0"`` for ``"15"``), and capillary
    refill takes MIMIC-IV's words, which begin with Normal or Brisk (0.0), Abnormal or Delayed (1.0). Any other text,
    the empty one among them, is a missing value: ``">1000"``, ``"___"``, ``"nan"``, ``"inf"``.

    Args:
        variable: Number of the variable, 0..16.
        text: The event's text; numbers and None (missing) are taken too.
    """
    text = "" if text is None else str(text).strip()
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if variable not in LEVELS:
        pair = _PRESSURE_PAIR.fullmatch(text) if variable in (_DIASTOLIC, _SYSTOLIC) else None
        if pair:
            number = float(pair[1 if variable == _SYSTOLIC else 2])
        return number if math.isfinite(number) else math.nan
    code = _LEVEL_CODES[variable].get(text)
    if code is None and variable in _NUMERIC_LEVELS:
        code = _NUMERIC_LEVELS[variable].get(number)
    if code is None and variable == _CAPILLARY_REFILL:
        word = text.lower()
        code = 0 if word.startswith(("normal", "brisk")) else 1 if word.startswith(("abnormal", "delayed")) else None
    return math.nan if code is None else float(code)


def bin_events(
    hours: Sequence[float],
    variables: Sequence[str],
    values: Sequence[str],
    end: float,
    timestep: float = 1.0,
) -> tuple[np.ndarray, list[str]]:
    """Bins the raw event strings of one stay into the 76 channels, before any standardisation.

    Values are taken as they come: unit conversion and range cleaning belong before this. What texts mean is said by
    ``parse_value``; an event whose text means nothing counts as not charted. Events before the admission
    (t <= -1e-6 h) or after ``end`` (t > end + 1e-6 h) are ignored. The order of the events matters among equal times.

    Args:
        hours: Time of each event in hours since the admission to intensive care, in any order.
        variables: Name of each event's variable, one of ``VARIABLES``.
        values: Text of each event.
        end: End of the window in hours, >= 0.
        timestep: Width of a bin in hours, > 0.

    Returns:
        Matrix (steps, 76) float64 and the 76 channel names.

    Raises:
        UnknownNameError: A variable that is not one of the 17.
        OptionError: Lists of unequal length, a time that is no number, a negative ``end``, a ``timestep`` <= 0.

    Source: the discretiser of Harutyunyan et al., Scientific Data 2019, as used by MedFuse (Hayat et al., 2022).
    """
    time, variable, value = _parse_events(hours, variables, values)
    if not (math.isfinite(end) and end >= 0) or not (math.isfinite(timestep) and timestep > 0):
        raise OptionError(
            f"end={end!r}, timestep={timestep!r}.",
            "Accepted: end in hours, finite and >= 0; timestep in hours, finite and > 0.",
            "Correct the window, or leave the stay out.",
        )
    steps = max(1, int(end / timestep + 1 - _TOLERANCE))
    keep = (time > -_TOLERANCE) & (time <= end + _TOLERANCE) & ~np.isnan(value)
    order = np.argsort(time[keep], kind="stable")
    time, variable, value = time[keep][order], variable[keep][order], value[keep][order]
    step = np.clip((time / timestep - _TOLERANCE).astype(np.int64), 0, steps - 1)
    grid = np.full((1, steps, len(VARIABLES)), np.nan)
    grid[0, step, variable] = value  # repeated positions: the last assignment stays
    return _render(grid, np.array([steps]))[0], list(CHANNELS)


def bin_lengths(end_seconds: np.ndarray, timestep_hours: float) -> np.ndarray:
    """Number of bins of windows of ``end_seconds`` whole seconds (S,) -> int64 (S,), at least 1 each."""
    return np.maximum(1, -(-np.asarray(end_seconds, dtype=np.int64) // _width(timestep_hours)))


def bin_block(
    offsets: np.ndarray,
    seconds: np.ndarray,
    variable: np.ndarray,
    value: np.ndarray,
    end_seconds: np.ndarray,
    timestep_hours: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Bins a block of S stays at once, the same values as ``bin_events`` gives stay by stay.

    Args:
        offsets: First event of each stay and the end of the last, (S + 1,), starting at 0.
        seconds: Whole seconds since the admission, (N,); ascending within a stay, equal times in order of preference.
        variable: Number of the variable, (N,), 0..16.
        value: Value in the variable's unit, or the level's code for categorical variables, (N,). NaN is no event.
        end_seconds: End of each stay's window in whole seconds, (S,); later events are ignored, and negative times too.
        timestep_hours: Width of a bin in hours; a whole number of seconds.

    Returns:
        Matrix (S, T, 76) float32 with T the longest of the block, right-padded with zeros; lengths int64 (S,).

    Raises:
        OptionError: Arrays that do not fit each other, or a timestep that is not a positive whole number of seconds.
    """
    offsets, end_seconds = np.asarray(offsets, dtype=np.int64), np.asarray(end_seconds, dtype=np.int64)
    stays, events = len(end_seconds), len(seconds)
    fits = len(offsets) == stays + 1 and len(variable) == len(value) == events
    if not fits or (offsets[0], offsets[-1]) != (0, events) or (np.diff(offsets) < 0).any():
        raise OptionError(
            f"{len(offsets)} offsets for {stays} stays; {events}, {len(variable)} and {len(value)} seconds, variables "
            "and values.",
            "Accepted: S + 1 ascending offsets from 0 to N for S ends, and three arrays of N events.",
            "Slice the offsets as offsets[a : b + 1] - offsets[a] and the events as [offsets[a] : offsets[b]].",
        )
    if events and int(np.max(variable)) >= len(VARIABLES):
        raise OptionError(
            f"Variable number {int(np.max(variable))}.",
            f"Accepted: 0 to {len(VARIABLES) - 1}.",
            "Drop events of other variables.",
        )
    width = _width(timestep_hours)
    lengths = bin_lengths(end_seconds, timestep_hours)
    longest = int(lengths.max(initial=1))
    stay = np.repeat(np.arange(stays), np.diff(offsets))
    seconds, value = np.asarray(seconds, dtype=np.int64), np.asarray(value, dtype=np.float32)
    keep = (seconds >= 0) & (seconds <= end_seconds[stay]) & ~np.isnan(value)
    if not keep.all():
        stay, seconds, variable, value = stay[keep], seconds[keep], variable[keep], value[keep]
    step = np.maximum((seconds - 1) // width, 0)
    grid = np.full((stays, longest, len(VARIABLES)), np.nan, dtype=np.float32)
    grid.reshape(-1)[(stay * longest + step) * len(VARIABLES) + variable] = value  # the last assignment stays
    return _render(grid, lengths), lengths


def _parse_events(
    hours: Sequence[float], variables: Sequence[str], values: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times in float64, variable numbers and values (NaN = missing) of one stay's events."""
    if not len(hours) == len(variables) == len(values):
        raise OptionError(
            f"{len(hours)} hours, {len(variables)} variables and {len(values)} values.",
            "Accepted: three sequences of one length.",
            "Pass one entry an event in each.",
        )
    numbers = {name: number for number, name in enumerate(VARIABLES)}
    unknown = sorted({str(name) for name in variables} - set(numbers))
    if unknown:
        close = difflib.get_close_matches(unknown[0], VARIABLES, n=3, cutoff=0.4)
        raise UnknownNameError(
            f"{', '.join(map(repr, unknown[:5]))} is no variable of the clinical time series.",
            f"Accepted: {', '.join(VARIABLES)}.",
            f"Close to it: {', '.join(close)}." if close else "Leave events of other variables out.",
        )
    try:
        time = np.asarray(hours, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise OptionError(f"hours: {error}.", "Accepted: numbers, in hours.", "Drop events without a time.") from None
    if not np.isfinite(time).all():
        raise OptionError(
            f"{int((~np.isfinite(time)).sum())} of {len(time)} event times are not finite.",
            "Accepted: finite hours since the admission.",
            "Drop events without a time.",
        )
    variable = np.array([numbers[str(name)] for name in variables], dtype=np.int64)
    value = np.array([parse_value(v, text) for v, text in zip(variable.tolist(), values, strict=True)], dtype=float)
    return time, variable, value


def _width(timestep_hours: float) -> int:
    width = round(timestep_hours * 3600) if math.isfinite(timestep_hours) else 0
    if width < 1 or abs(width - timestep_hours * 3600) > _TOLERANCE:
        raise OptionError(
            f"timestep_hours={timestep_hours!r}.",
            "Accepted: a positive whole number of seconds, written in hours (1, 2, 0.5).",
            "Choose 1 or 2, the widths in use.",
        )
    return width


def _render(grid: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Grid of observed values (S, T, 17), NaN where none -> channels (S, T, 76), zero beyond each length."""
    stays, steps, _ = grid.shape
    matrix = np.zeros((stays, steps, len(CHANNELS)), dtype=grid.dtype)
    observed = ~np.isnan(grid)
    matrix[..., MASK_COLUMNS[0] :] = observed
    state = np.broadcast_to(np.asarray(NORMAL_CODES, dtype=grid.dtype), (stays, len(VARIABLES)))
    for step in range(steps):
        state = np.where(observed[:, step], grid[:, step], state)
        grid[:, step] = state
    matrix[..., list(CONTINUOUS_COLUMNS)] = grid[..., list(CONTINUOUS_VARIABLES)]
    rows = np.arange(stays * steps) * len(CHANNELS)
    for number in LEVELS:
        matrix.reshape(-1)[rows + FIRST_COLUMN[number] + grid[..., number].reshape(-1).astype(np.int64)] = 1
    if (lengths < steps).any():
        matrix[np.arange(steps)[None, :] >= lengths[:, None]] = 0
    return matrix
