"""From signals to charted rows: rounds of the nurses, what is written at each, samples for the laboratory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cardiozoo.data.synthetic import plants
from cardiozoo.data.synthetic.icu import SIGNALS, Course, Signal, bridge, target, wander
from cardiozoo.data.synthetic.items import CHART_INDEX, LAB_INDEX, Values
from cardiozoo.data.synthetic.streams import Modality, stream

S = Signal
VITALS = 5
NORMALS = SIGNALS + VITALS + 6
UNIFORMS = 18
HOUR = 3600
EXTRA_BEYOND = 2.0
"""A vital sign more than this many of its own standard deviations off is taken again half an hour later."""


@dataclass
class Events:
    """Charted or laboratory rows, one array a column: row of the stay, seconds after its admission, item, value code.

    ``delay`` is the number of seconds from charting to storing; ``specimen`` names the sample (laboratory only).
    """

    stay: np.ndarray
    seconds: np.ndarray
    item: np.ndarray
    code: np.ndarray
    delay: np.ndarray
    specimen: np.ndarray

    def __len__(self) -> int:
        return len(self.stay)

    def take(self, rows: np.ndarray) -> Events:
        return Events(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def sorted(self) -> Events:
        """By stay, time and item."""
        key = (self.stay.astype(np.int64) << 40) | ((self.seconds.astype(np.int64) + (1 << 31)) << 7) | self.item
        return self.take(np.argsort(key, kind="stable"))


def concatenate(parts: list[Events]) -> Events:
    return Events(*(np.concatenate([getattr(part, name) for part in parts]) for name in Events.__dataclass_fields__))


@dataclass
class Rounds:
    """Times at which a stay is looked at, with every signal (n, SIGNALS) and the random numbers of each."""

    stay: np.ndarray
    offsets: np.ndarray
    seconds: np.ndarray
    clock: np.ndarray  # hour of the day
    first: np.ndarray  # the round of admission
    value: np.ndarray
    normals: np.ndarray
    uniforms: np.ndarray
    extra: np.ndarray  # taken again because something was off


def make_rounds(
    seed: int,
    index: np.ndarray,
    number: np.ndarray,
    intime: np.ndarray,
    end_hours: np.ndarray,
    death_hours: np.ndarray,
    course: Course,
) -> Rounds:
    """Hourly rounds, 60 % on the full hour and the rest within 20 minutes of it, with the signals at each.

    Args:
        seed: Seed of the cohort.
        index: Cohort number of each stay's patient (S,).
        number: Number of the stay among those of the patient (S,).
        intime: Admission to intensive care in seconds of the calendar (S,).
        end_hours: Last hour that is charted (S,).
        death_hours: Hour of death, infinite for survivors (S,).
        course: Targets of the signals.
    """
    counts = 1 + np.maximum(0, np.floor(end_hours - (-intime) % HOUR / HOUR)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    normals = np.empty((offsets[-1], NORMALS), dtype=np.float32)
    uniforms = np.empty((offsets[-1], UNIFORMS), dtype=np.float32)
    for row in range(len(index)):
        generator = stream(seed, int(index[row]), Modality.ICU, 1, int(number[row]))
        here = slice(offsets[row], offsets[row + 1])
        generator.standard_normal(dtype=np.float32, out=normals[here])
        generator.random(dtype=np.float32, out=uniforms[here])
    stay = np.repeat(np.arange(len(index)), counts)
    step = np.arange(offsets[-1]) - offsets[:-1][stay]
    seconds = _round_times(intime[stay], (end_hours * HOUR).astype(np.int64)[stay], step, uniforms)
    kept = (step == 0) | (np.diff(seconds, prepend=-1) > 0)  # two rounds at one moment are one
    stay, step, seconds, normals, uniforms = stay[kept], step[kept], seconds[kept], normals[kept], uniforms[kept]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(stay, minlength=len(index)))])
    hours = seconds / HOUR
    wave = wander(offsets, hours, normals[:, :SIGNALS])
    rounds = Rounds(
        stay=stay,
        offsets=offsets,
        seconds=seconds,
        clock=((intime[stay] + seconds) // HOUR) % 24,
        first=step == 0,
        value=_state(course, stay, hours, death_hours, wave),
        normals=normals,
        uniforms=uniforms,
        extra=np.zeros(len(stay), dtype=bool),
    )
    return _with_extra(rounds, course, death_hours, wave)


def _round_times(intime: np.ndarray, end: np.ndarray, step: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Seconds after admission of every round, on full minutes of the clock, ascending within a stay.

    The round of admission (step 0) comes within nine minutes; the others belong to the full hours of the clock.
    """
    minute, wait = (-intime) % 60, (-intime) % HOUR
    jitter = np.where(uniforms[:, 0] < 0.6, 0, np.rint((uniforms[:, 1] - 0.5) * 40.0).astype(np.int64) * 60)
    admission = np.minimum(minute + 60 * (1 + (8 * uniforms[:, 1]).astype(np.int64)), np.maximum(minute, wait - 60))
    seconds = np.where(step == 0, admission, wait + (step - 1) * HOUR + jitter)
    last = np.maximum((end - minute) // 60 * 60 + minute, minute)
    seconds = np.clip(seconds, minute, last)
    stay = np.cumsum(step == 0)
    return np.maximum.accumulate(seconds + stay * (1 << 32)) - stay * (1 << 32)


def _state(
    course: Course, stay: np.ndarray, hours: np.ndarray, death_hours: np.ndarray, wave: np.ndarray
) -> np.ndarray:
    mean = target(course, stay, hours, death_hours[stay] - hours)
    return mean + course.spread.astype(np.float32)[stay] * wave


def _with_extra(rounds: Rounds, course: Course, death_hours: np.ndarray, wave: np.ndarray) -> Rounds:
    """Add a sample half-way to the next round wherever a vital sign is far off (informative sampling)."""
    watched = wave[:, [S.HR, S.SBP, S.SPO2]]
    off = (np.abs(watched) > EXTRA_BEYOND).any(axis=1)
    off[rounds.offsets[1:] - 1] = False
    here = np.flatnonzero(off & (np.roll(rounds.seconds, -1) - rounds.seconds >= 1200))
    if not here.size:
        return rounds
    there = here + 1
    middle = rounds.seconds[here] + (rounds.seconds[there] - rounds.seconds[here]) // 120 * 60
    before, after = (middle - rounds.seconds[here]) / HOUR, (rounds.seconds[there] - middle) / HOUR
    sample = wave[here].copy()
    sample[:, :VITALS] = bridge(
        wave[here, :VITALS], wave[there, :VITALS], before, after, rounds.normals[here, SIGNALS : SIGNALS + VITALS]
    )
    added = replace(
        rounds,
        stay=rounds.stay[here],
        seconds=middle,
        clock=rounds.clock[here],
        first=np.zeros(len(here), dtype=bool),
        value=_state(course, rounds.stay[here], middle / HOUR, death_hours, sample),
        normals=rounds.normals[here][:, ::-1],
        uniforms=rounds.uniforms[here][:, ::-1],
        extra=np.ones(len(here), dtype=bool),
    )
    joined = {
        name: np.concatenate([getattr(rounds, name), getattr(added, name)])
        for name in ("stay", "seconds", "clock", "first", "value", "normals", "uniforms", "extra")
    }
    return replace(rounds, **joined)


class _Sheet:
    """Collects columns of one value each at some of the rounds."""

    def __init__(self, rounds: Rounds, index: dict[int, int]) -> None:
        self.rounds, self.index, self.parts = rounds, index, []

    def write(
        self, itemid: int, rows: np.ndarray, codes: np.ndarray, delay: int, specimen: np.ndarray | None = None
    ) -> None:
        count = len(rows)
        spread = 1.0 + 2.0 * self.rounds.uniforms[rows, 2]
        self.parts.append(
            Events(
                stay=self.rounds.stay[rows].astype(np.int32),
                seconds=self.rounds.seconds[rows],
                item=np.full(count, self.index[itemid], dtype=np.uint8),
                code=codes.astype(np.int32),
                delay=np.rint(delay * spread).astype(np.int64) * 60,
                specimen=np.zeros(count, np.int32) if specimen is None else specimen.astype(np.int32),
            )
        )

    def events(self) -> Events:
        return concatenate(self.parts)


def chart(
    rounds: Rounds, course: Course, values: Values, height: np.ndarray, weight: np.ndarray, present: np.ndarray
) -> Events:
    """Charted rows of all rounds, sorted. Rates are those of the open demonstration release, per stay and hour."""
    sheet = _Sheet(rounds, CHART_INDEX)
    _chart_vitals(sheet, course)
    _chart_pressures(sheet, course)
    _chart_neurology(sheet, course, values)
    _chart_metabolism(sheet, course, present)
    _chart_body(sheet, course, values, height, weight)
    return sheet.events().sorted()


def _chart_vitals(sheet: _Sheet, course: Course) -> None:
    rounds, chance, value = sheet.rounds, sheet.rounds.uniforms, sheet.rounds.value
    own = course.uniforms[rounds.stay]
    at = np.flatnonzero(chance[:, 3] < 0.985)
    sheet.write(220045, at, Values.numeric(np.clip(value[at, S.HR], 25, 210)), 8)
    breath = np.flatnonzero(chance[:, 4] < 0.985)
    sheet.write(220210, breath, Values.numeric(np.clip(value[breath, S.RR], 4, 60)), 8)
    total = np.flatnonzero((chance[:, 4] < 0.2) & course.ventilated[rounds.stay] & ~rounds.extra)
    sheet.write(224690, total, Values.numeric(np.clip(value[total, S.RR], 4, 60)), 8)
    at = np.flatnonzero(chance[:, 5] < 0.965)
    sheet.write(220277, at, Values.numeric(np.clip(value[at, S.SPO2], 55, 100)), 8)
    regular = (rounds.clock % 4 == 0) | rounds.first
    thermometer = ~rounds.extra & (chance[:, 6] < np.where(regular, 0.88, 0.06))
    celsius = own[:, 0] < 0.11
    fahrenheit = np.flatnonzero(thermometer & ~celsius)
    sheet.write(223761, fahrenheit, Values.numeric(value[fahrenheit, S.TEMPERATURE] * 1.8 + 32.0, 0.1), 12)
    at = np.flatnonzero(thermometer & celsius)
    sheet.write(223762, at, Values.numeric(value[at, S.TEMPERATURE], 0.1), 12)
    at = np.flatnonzero(~rounds.extra & course.ventilated[rounds.stay] & (chance[:, 7] < 0.30))
    sheet.write(223835, at, Values.numeric(np.clip(value[at, S.FIO2], 0.21, 1.0) * 100.0, 5.0), 15)


def _chart_pressures(sheet: _Sheet, course: Course) -> None:
    rounds, chance = sheet.rounds, sheet.rounds.uniforms
    noise = rounds.normals[:, -6:]
    own = course.uniforms[rounds.stay]
    line = course.arterial_line[rounds.stay]
    systolic = np.maximum(rounds.value[:, S.SBP], rounds.value[:, S.DBP] + 12.0)
    sources = (
        ((220179, 220180, 220181), np.where(line, 0.38, 0.92) > chance[:, 8], noise[:, :3] * 4.0),
        ((220050, 220051, 220052), line & (own[:, 1] >= 0.12) & (chance[:, 9] < 0.72), noise[:, 3:] * 2.5),
        ((225309, 225310, 225312), line & (own[:, 1] < 0.12) & (chance[:, 9] < 0.72), noise[:, 3:] * 2.5),
    )
    for (upper, lower, mean), taken, error in sources:
        at = np.flatnonzero(taken)
        high = systolic[at] + error[at, 0]
        low = np.minimum(rounds.value[at, S.DBP] + error[at, 1], high - 5.0)
        sheet.write(upper, at, Values.numeric(np.clip(high, 40, 250)), 8)
        sheet.write(lower, at, Values.numeric(np.clip(low, 15, 160)), 8)
        sheet.write(mean, at, Values.numeric(np.clip(low + (high - low) / 3.0 + 0.75 * error[at, 2], 20, 190)), 8)
    at = np.flatnonzero((own[:, 2] < 0.03) & (chance[:, 8] > 0.97))
    sheet.write(227243, at, Values.numeric(np.clip(systolic[at], 40, 250)), 10)
    sheet.write(227242, at, Values.numeric(np.clip(rounds.value[at, S.DBP], 15, 160)), 10)


def _chart_neurology(sheet: _Sheet, course: Course, values: Values) -> None:
    rounds, chance = sheet.rounds, sheet.rounds.uniforms
    regular = (rounds.clock % 4 == 0) | rounds.first
    at = np.flatnonzero(~rounds.extra & (chance[:, 10] < np.where(regular, 0.88, 0.06)))
    level = rounds.value[at, S.GCS]
    eye = np.digitize(level, (8.6, 9.6, 12.4))
    motor = np.digitize(level, (6.0, 6.4, 6.9, 8.2, 10.4))
    verbal = np.digitize(level, (9.4, 10.2, 10.9, 13.3))
    sheet.write(220739, at, values.eye[eye], 20)
    sheet.write(223901, at, values.motor[motor], 20)
    sheet.write(223900, at, np.where(course.ventilated[rounds.stay[at]], values.intubated, values.verbal[verbal]), 20)
    at = np.flatnonzero(~rounds.extra & (chance[:, 11] < 0.04))
    sheet.write(224054, at, values.braden[np.digitize(rounds.value[at, S.GCS], (7.0, 10.0, 13.0))], 30)
    at = np.flatnonzero(~rounds.extra & (chance[:, 11] > 0.998))
    sheet.write(223951, at, values.refill[(rounds.value[at, S.SBP] < 95.0).astype(int)], 30)
    at = np.flatnonzero(~rounds.extra & (chance[:, 11] > 0.90) & (chance[:, 11] < 0.98))
    sheet.write(220046, at, Values.numeric(np.full(len(at), 120.0)), 5)


def _chart_metabolism(sheet: _Sheet, course: Course, present: np.ndarray) -> None:
    rounds, chance = sheet.rounds, sheet.rounds.uniforms
    own = course.uniforms[rounds.stay]
    diabetic = present[:, [plants.DIABETES, plants.DIABETES_COMPLICATED]].any(axis=1)[rounds.stay]
    at = np.flatnonzero(~rounds.extra & (chance[:, 12] < np.where(diabetic, 0.20, 0.10)))
    sheet.write(225664, at, Values.numeric(np.clip(np.exp(rounds.value[at, S.GLUCOSE]), 22, 900)), 6)
    at = np.flatnonzero(~rounds.extra & (chance[:, 12] > 0.98))
    sheet.write(220621, at, Values.numeric(np.clip(np.exp(rounds.value[at, S.GLUCOSE]), 22, 900)), 60)
    at = np.flatnonzero(~rounds.extra & (own[:, 3] < 0.35) & course.arterial_line[rounds.stay] & (chance[:, 13] < 0.05))
    sheet.write(223830, at, Values.numeric(np.clip(rounds.value[at, S.PH], 6.7, 7.8), 0.01), 30)
    at = np.flatnonzero(~rounds.extra & (own[:, 3] > 0.62) & (chance[:, 13] > 0.97))
    sheet.write(220274, at, Values.numeric(np.clip(rounds.value[at, S.PH] - 0.03, 6.7, 7.8), 0.01), 30)


def _chart_body(sheet: _Sheet, course: Course, values: Values, height: np.ndarray, weight: np.ndarray) -> None:
    rounds = sheet.rounds
    own = course.uniforms[rounds.stay]
    kilogram = weight[rounds.stay] + rounds.value[:, S.WEIGHT]
    at = np.flatnonzero(rounds.first & (own[:, 4] < 0.92))
    sheet.write(226512, at, Values.numeric(kilogram[at], 0.1), 40)
    at = np.flatnonzero(rounds.first & (own[:, 5] < 0.83))
    sheet.write(226531, at, Values.numeric(kilogram[at] / 0.45359237, 0.1), 40)
    at = np.flatnonzero(~rounds.first & ~rounds.extra & (rounds.clock == 5) & (own[:, 6] < 0.80))
    sheet.write(224639, at, Values.numeric(kilogram[at], 0.1), 40)
    at = np.flatnonzero(rounds.first & (own[:, 7] < 0.51))
    sheet.write(226730, at, Values.numeric(height[rounds.stay[at]]), 40)
    sheet.write(226707, at, Values.numeric(height[rounds.stay[at]] / 2.54), 40)


def sample_laboratory(rounds: Rounds, course: Course, values: Values, present: np.ndarray) -> Events:
    """Laboratory rows: chemistry each morning, blood gases with an arterial line or a ventilator, sorted."""
    sheet = _Sheet(rounds, LAB_INDEX)
    chance, value, noise = rounds.uniforms, rounds.value, rounds.normals[:, -6:]
    sick = present[rounds.stay]
    number = rounds.seconds // 60
    at = np.flatnonzero(~rounds.extra & (rounds.first | (rounds.clock == 5) | (chance[:, 14] < 0.02)))
    glucose = Values.numeric(np.clip(np.exp(value[at, S.GLUCOSE]), 22, 900))
    texts, which = np.unique(glucose, return_inverse=True)
    hidden = np.array([values.code("___", float(code) / 100.0) for code in texts], dtype=np.int64)
    sheet.write(50931, at, np.where(chance[at, 15] < 0.8, hidden[which], glucose), 75, number[at])
    renal = 0.9 * sick[at, plants.RENAL] + 0.8 * sick[at, plants.KIDNEY]
    sheet.write(50912, at, Values.numeric(np.exp(-0.1 + renal + 0.25 * noise[at, 0]), 0.1), 75, number[at])
    sheet.write(50971, at, Values.numeric(4.1 + 0.4 * renal + 0.5 * noise[at, 1], 0.1), 75, number[at])
    bleeding = 2.2 * sick[at, plants.BLEEDING]
    sheet.write(51222, at, Values.numeric(np.clip(11.2 - bleeding + 1.6 * noise[at, 2], 4, 19), 0.1), 75, number[at])
    at = np.flatnonzero(~rounds.extra & (chance[:, 14] > 0.995))
    sheet.write(51478, at, Values.numeric(np.full(len(at), 100.0)), 90, number[at])
    machine = (course.arterial_line | course.ventilated)[rounds.stay]
    at = np.flatnonzero(~rounds.extra & machine & (chance[:, 16] < 0.12))
    sheet.write(50820, at, Values.numeric(np.clip(value[at, S.PH], 6.7, 7.8), 0.01), 4, number[at])
    sheet.write(50809, at, Values.numeric(np.clip(np.exp(value[at, S.GLUCOSE]), 22, 900)), 4, number[at])
    shock = 0.7 * sick[at, plants.SHOCK] + 0.3 * sick[at, plants.SEPSIS]
    sheet.write(50813, at, Values.numeric(np.exp(0.35 + shock + 0.35 * noise[at, 3]), 0.1), 4, number[at])
    at = at[chance[at, 17] < 0.3]
    sheet.write(50817, at, Values.numeric(np.clip(value[at, S.SPO2], 55, 100)), 4, number[at])
    return sheet.events().sorted()
