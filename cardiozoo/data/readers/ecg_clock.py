"""Columns of time in a text table: which ones they are by name, and whether they agree with a rate."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

__all__ = ["Clock", "tells_time", "times_of_day"]

_UNIT_WORDS = {
    1e-9: "ns nsec nanos nanosecond nanoseconds",
    1e-6: "us µs μs usec micros microsecond microseconds mikrosekunden",
    1e-3: "ms msec msecs millis millisecond milliseconds millisekunden",
    1.0: "s sec secs second seconds sek sekunde sekunden",
    60.0: "min mins minute minutes minuten",
    3600.0: "h hour hours stunden",
    86400.0: "day days tage",
}
_SECONDS = {word: seconds for seconds, words in _UNIT_WORDS.items() for word in words.split()}
# as the first word of a name; "min" and "day" may be other things
_UNITS_FIRST = {word for word, seconds in _SECONDS.items() if seconds <= 1}
_TIMES = ("time", "timestamp", "zeit", "zeitstempel", "tiempo", "tempo", "temps")
# a time_step or sample_time may be the number of the sample
_COUNTS = re.compile(r".*(step|index|idx|point|sample|count|number)s?")
# timeMs is two words, mSec one
_WORD = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z]{2})(?=[A-Z])")
# a time of day, or minutes with a fraction of a second, wherever it stands in a date
_OF_DAY = re.compile(r"(?<![\d:])(?:(\d{1,4}):)?(\d{1,4}):(\d{1,4}(\.\d+)?)")


def tells_time(name: str) -> bool:
    """Whether a column of that name holds times: ``time_s``, ``t[ms]``, ``Zeit``, ``timestamp``, ``Elapsed time``."""
    words = _words(name)
    if not words:
        return False
    first = words[0] in ("t", "elapsed") or words[0] in _UNITS_FIRST
    return first or any(word.startswith(_TIMES) or word.endswith(("time", "zeit")) for word in words)


def times_of_day(cells: list[str]) -> np.ndarray | None:
    """Seconds of times as people write them, alone or beside a date (``0:00.002``, ``2020-01-31T12:00:00.002Z``).

    Days are not counted, so that the times fall back at midnight. None where a cell holds no time.
    """
    found = [_OF_DAY.search(cell) for cell in cells]
    if not all(match and (match[1] or match[4]) for match in found):
        return None
    return np.array([3600 * int(m[1] or 0) + 60 * int(m[2]) + float(m[3]) for m in found if m])


@dataclass(frozen=True)
class Clock:
    """A column that rises with time.

    Attributes:
        name: As in the header; empty for a column without a name, which may number the samples as well as time them.
        times: float64 (rows,); NaN where the cell holds none.
        in_seconds: Whether the times are known to be seconds, whatever the name says.
    """

    name: str
    times: np.ndarray
    in_seconds: bool = False

    @property
    def tick(self) -> float:
        """How much a line adds, from lines far apart, so that neither rounding nor a few gaps change it much."""
        ahead = self.times[self._lag :] - self.times[: -self._lag]
        ahead = ahead[np.isfinite(ahead)]
        return float(np.median(ahead)) / self._lag if len(ahead) else 0.0

    def agrees(self, rate: float) -> bool:
        """Whether the column may tick `rate` times a second, in the unit of its name or, without one, in any.

        True where it says nothing: times that do not rise, or numbers of the samples.
        """
        steps = np.diff(self.times)
        steps = steps[np.isfinite(steps)]
        # a clock falls back at midnight, and no more often
        if not (steps > 0).any() or (steps < 0).sum() > 1 + len(steps) // 1000:
            return True
        tick = self.tick
        if tick <= 0 or (self._may_count and abs(tick - 1) < 0.01):
            return True
        # values are rounded to no more than their smallest step
        rounding = steps[steps > 0].min() / self._lag
        return any(abs(tick * unit * rate - 1) <= 0.01 + rounding * unit * rate for unit in self._units)

    @property
    def _lag(self) -> int:
        return max(1, len(self.times) // 4)

    @property
    def _may_count(self) -> bool:
        """Whether the column may number the samples: one without a name, or of a name that says so."""
        return not tells_time(self.name) or any(map(_COUNTS.fullmatch, _words(self.name)))

    @property
    def _units(self) -> list[float]:
        """Seconds that one unit of the times may be."""
        stated = [_SECONDS[word] for word in _words(self.name) if word in _SECONDS]
        return [1.0] if self.in_seconds else stated[-1:] or list(_UNIT_WORDS)


def _words(name: str) -> list[str]:
    name = name.replace("\N{REPLACEMENT CHARACTER}", "µ")
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", name))]
