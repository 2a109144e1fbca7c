"""When the heart beats: times of atrial and ventricular activation in one recording.

Times are ms from the first sample. The sinus rate swings with breathing and at 0.1 Hz (McSharry et al. 2003); QT
follows the interval by Fridericia's cube root, adapting over some five beats.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from cardiozoo.data.synthetic.ecg_person import PACED, People
from cardiozoo.data.synthetic.ecg_visit import FIBRILLATION, Visits
from cardiozoo.data.synthetic.streams import Modality, stream

RHYTHM = 4
"""Purpose of the stream; its part is the number of the recording."""

DOMINANT, VENTRICULAR, ATRIAL, DROPPED, ATRIUM_ONLY = range(5)
BEATS = ("dominant", "premature ventricular", "premature atrial", "not conducted", "dissociated atrial")
_LEAD_IN, _ADAPTATION = 2500.0, 0.2
_SLOW = 0.10  # Hz


@dataclass
class Beats:
    """One row a beat of any recording. ``p`` and ``q`` are the onsets of P and QRS, NaN where there is none."""

    record: np.ndarray
    kind: np.ndarray
    p: np.ndarray
    q: np.ndarray
    qt: np.ndarray

    def __len__(self) -> int:
        return len(self.record)


def draw_beats(seed: int, visits: Visits, people: People, duration: float) -> Beats:
    """Beats of these recordings, from before their start to after their end (``duration`` ms), in order of time."""
    parts = []
    for row in range(len(visits)):
        generator = stream(seed, int(visits.index[row]), Modality.ECG, RHYTHM, int(visits.number[row]))
        kind, p, q = _one(generator, visits, people, row, duration)
        parts.append((np.full(len(q), row), kind, p, q, _qt(q, kind, float(visits.qtc[row]))))
    return Beats(*(np.concatenate([part[k] for part in parts]) for k in range(len(fields(Beats)))))


def _one(
    generator: np.random.Generator, visits: Visits, people: People, row: int, duration: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kinds, P onsets and QRS onsets of one recording."""
    interval, pr = float(visits.interval[row]), float(visits.pr[row])
    end = duration + 1500.0
    person = visits.person[row]
    fibrillating = bool(people.fibrillation[person])
    if visits.rhythm[row] == FIBRILLATION:
        q = _irregular(generator, interval, end)
        kind, p = np.zeros(len(q), int), np.full(len(q), np.nan)
    elif visits.conduction[row] == PACED and not people.tracking[person]:
        q = np.arange(-_LEAD_IN + generator.random() * interval, end, interval)
        kind, p = np.zeros(len(q), int), np.full(len(q), np.nan)
        if not fibrillating:
            kind, p, q = _dissociated(generator, q, end, 60_000.0 / generator.uniform(65.0, 85.0))
    else:
        p = _sinus(generator, interval, float(visits.breathing[row]), float(people.variability[person]), end)
        if visits.av_block[row] == 3:
            q = np.arange(-_LEAD_IN + generator.random() * 1500.0, end, 60_000.0 / generator.uniform(34.0, 42.0))
            kind, p, q = _dissociated(generator, q, end, interval, p)
        elif visits.av_block[row] == 2:
            kind, q = _wenckebach(generator, p, pr)
        else:
            kind, q = np.zeros(len(p), int), p + pr
    if visits.premature_atrial[row]:
        kind, p, q = _premature_atrial(generator, kind, p, q, int(visits.premature_atrial[row]), duration)
    if visits.premature_ventricular[row]:
        kind, p, q = _premature_ventricular(generator, kind, p, q, int(visits.premature_ventricular[row]), duration)
    return kind, p, q


def _sinus(generator: np.random.Generator, interval: float, breathing: float, scale: float, end: float) -> np.ndarray:
    phase, slow_phase = generator.uniform(0.0, 2.0 * np.pi, 2)
    scatter = generator.standard_normal(64)
    time, times = -_LEAD_IN + generator.random() * interval, []
    while time < end:
        times.append(time)
        seconds = 2.0 * np.pi * time / 1000.0
        swing = 0.025 * np.sin(breathing * seconds + phase) + 0.020 * np.sin(_SLOW * seconds + slow_phase)
        time += interval * (1.0 + scale * (swing + 0.008 * scatter[len(times) % 64]))
    return np.array(times)


def _irregular(generator: np.random.Generator, interval: float, end: float) -> np.ndarray:
    """Fibrillation: intervals without memory, coefficient of variation .20 to .25, none below 300 ms."""
    shape = 1.0 / generator.uniform(0.20, 0.25) ** 2
    steps = np.maximum(300.0, generator.gamma(shape, interval / shape, 64))
    times = -_LEAD_IN + generator.random() * interval + np.cumsum(steps)
    return times[times < end]


def _wenckebach(generator: np.random.Generator, p: np.ndarray, pr: float) -> tuple[np.ndarray, np.ndarray]:
    """Second degree: PR grows by 40 ms a beat until one P wave is not conducted."""
    cycle = int(generator.integers(3, 6))
    place = (np.arange(len(p)) + int(generator.integers(cycle))) % cycle
    dropped = place == cycle - 1
    q = np.where(dropped, np.nan, p + pr + 40.0 * place)
    return np.where(dropped, DROPPED, DOMINANT), q


def _dissociated(
    generator: np.random.Generator, q: np.ndarray, end: float, atrial_interval: float, p: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atria and ventricles each at their own rate: rows with a P wave only, and rows with a QRS only."""
    if p is None:
        p = np.arange(-_LEAD_IN + generator.random() * atrial_interval, end, atrial_interval)
    kind = np.concatenate([np.full(len(p), ATRIUM_ONLY), np.full(len(q), DOMINANT)])
    atrial = np.concatenate([p, np.full(len(q), np.nan)])
    ventricular = np.concatenate([np.full(len(p), np.nan), q])
    order = np.argsort(np.fmin(atrial, ventricular), kind="stable")
    return kind[order], atrial[order], ventricular[order]


def _premature_atrial(
    generator: np.random.Generator, kind: np.ndarray, p: np.ndarray, q: np.ndarray, count: int, duration: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Early P waves that reset the sinus node: what follows comes earlier too."""
    kind, p, q = kind.copy(), p.copy(), q.copy()
    for row in _choose(generator, kind, q, count, duration):
        before = q[row] - q[row - 1]
        early = before * (1.0 - generator.uniform(0.62, 0.75))
        p[row:] -= early
        q[row:] -= early
        kind[row] = ATRIAL
    return kind, p, q


def _premature_ventricular(
    generator: np.random.Generator, kind: np.ndarray, p: np.ndarray, q: np.ndarray, count: int, duration: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A wide beat in place of the one that was due; the next comes on time (full compensatory pause)."""
    kind, p, q = kind.copy(), p.copy(), q.copy()
    coupling = generator.uniform(0.55, 0.70)
    for row in _choose(generator, kind, q, count, duration):
        before = q[row] - q[row - 1]
        q[row] = q[row - 1] + before * np.clip(max(coupling, 400.0 / before), 0.0, 0.88)
        p[row] = np.nan
        kind[row] = VENTRICULAR
    return kind, p, q


def _choose(generator: np.random.Generator, kind: np.ndarray, q: np.ndarray, count: int, duration: float) -> np.ndarray:
    """Beats to be replaced: dominant ones between dominant ones, inside the recording, not next to each other."""
    chosen: list[int] = []
    for row in generator.permutation(np.arange(1, len(kind) - 1)):
        apart = all(abs(row - other) > 1 for other in chosen)
        alone = (kind[row - 1 : row + 2] == DOMINANT).all() and np.isfinite(q[row - 1 : row + 2]).all()
        if apart and alone and 500.0 < q[row] < duration - 400.0 and len(chosen) < count:
            chosen.append(int(row))
    return np.array(sorted(chosen), dtype=int)


def _qt(q: np.ndarray, kind: np.ndarray, qtc: float) -> np.ndarray:
    """QT of every beat: Fridericia's cube root of an interval that adapts slowly."""
    qt = np.full(len(q), np.nan)
    rows = np.flatnonzero(np.isfinite(q))
    times = q[rows]
    steps = np.diff(times) if len(times) > 1 else np.array([1000.0])
    smooth = float(np.median(steps))
    for place, row in enumerate(rows):
        if place:
            smooth += _ADAPTATION * (float(steps[place - 1]) - smooth)
        qt[row] = qtc * (min(smooth, 1400.0) / 1000.0) ** (1.0 / 3.0) + (40.0 if kind[row] == VENTRICULAR else 0.0)
    return qt
