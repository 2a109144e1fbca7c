"""Where the waves lie: the truth for delineation, read from the Gaussians themselves and not from the drawn signal.

Onset and end of P and QRS are 2.2 widths before the first and after the last Gaussian of the group; the end of T is two
widths after its last one, where the tangent to its descent meets the baseline. Peaks are those of the root mean square
over the independent leads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from cardiozoo.data.synthetic.ecg_field import frontal_axis, twelve
from cardiozoo.data.synthetic.ecg_recordings import RATE, Recordings
from cardiozoo.data.synthetic.ecg_rhythm import ATRIAL, BEATS, VENTRICULAR, Beats
from cardiozoo.data.synthetic.ecg_waves import Morphology, Wave

EDGE, T_EDGE = 2.2, 2.0
DISPLACED = 0.1  # mV
_VISIBLE = 0.05  # mV in the root mean square of the leads, below which a wave moves no edge
_STEP = 2.0  # ms
P_WAVES = (Wave.P_RIGHT, Wave.P_LEFT)
QRS = (Wave.SEPTAL, Wave.R, Wave.S, Wave.S_LATE, Wave.RV_FRONTAL, Wave.RV_FORWARD, Wave.LATE)
ALL_QRS = (*QRS, Wave.LOCAL_1, Wave.LOCAL_2)
T = (Wave.T_EARLY, Wave.T_LATE)
ECTOPIC = (Wave.ECTOPIC_1, Wave.ECTOPIC_2)
POSITIONS = ("p_on", "p_peak", "p_off", "qrs_on", "qrs_peak", "qrs_off", "t_on", "t_peak", "t_end")


@dataclass
class Landmarks:
    """Offsets in ms (R,) from the onset of P, the onset of QRS and the end of T of a beat; axes; amplitudes.

    ``displaced_st`` (R, 12) says in which leads the ST segment is 0.1 mV or more from the baseline. ``r`` and ``s``
    (R, 8) are the highest and lowest value in mV of the dominant QRS complex in the independent leads.
    """

    offsets: dict[str, np.ndarray]
    ectopic: dict[str, np.ndarray]
    p_axis: np.ndarray
    qrs_axis: np.ndarray
    t_axis: np.ndarray
    r: np.ndarray
    s: np.ndarray
    displaced_st: np.ndarray


def landmarks(shape: Morphology) -> Landmarks:
    """Edges, peaks and axes of the dominant and the premature beats of every recording."""
    p_on, p_off = _edges(shape, P_WAVES, 0.0, EDGE)
    qrs_on, qrs_off = _edges(shape, QRS, _VISIBLE, EDGE)
    t_on, t_end = _edges(shape, T, 0.0, T_EDGE)
    early_on, early_off = _edges(shape, (Wave.P_ECTOPIC,), 0.0, EDGE)
    wide_on, wide_off = _edges(shape, ECTOPIC, 0.0, EDGE)
    wide_t_on, wide_t_end = _edges(shape, (Wave.ECTOPIC_T,), 0.0, T_EDGE)
    qrs_peak, curves = _peak(shape, ALL_QRS, -10.0, 190.0)
    centre = shape.centre
    return Landmarks(
        offsets={
            "p_on": p_on, "p_peak": _peak(shape, P_WAVES, 0.0, 170.0)[0], "p_off": p_off,
            "qrs_on": qrs_on, "qrs_peak": qrs_peak, "qrs_off": qrs_off,
            "t_on": t_on, "t_peak": _peak(shape, T, -220.0, 0.0)[0], "t_end": t_end,
        },
        ectopic={
            "p_on": early_on, "p_peak": centre[:, Wave.P_ECTOPIC], "p_off": early_off,
            "qrs_on": wide_on, "qrs_peak": _peak(shape, ECTOPIC, 0.0, 150.0)[0], "qrs_off": wide_off,
            "t_on": wide_t_on, "t_peak": centre[:, Wave.ECTOPIC_T], "t_end": wide_t_end,
        },
        p_axis=_axis(shape, P_WAVES),
        qrs_axis=_axis(shape, QRS),
        t_axis=_axis(shape, T),
        r=curves.max(axis=2),
        s=curves.min(axis=2),
        displaced_st=np.abs(twelve(shape.leads[:, Wave.ST, :, None])[..., 0]) >= DISPLACED,
    )  # fmt: skip


def _edges(shape: Morphology, waves: tuple[Wave, ...], visible: float, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """First and last edge of a group of waves (R,), of those large enough to be seen."""
    rows = list(waves)
    centre, sigma = shape.centre[:, rows], shape.sigma[:, rows]
    seen = np.sqrt((shape.leads[:, rows] ** 2).mean(axis=2)) >= visible
    seen[~seen.any(axis=1)] = True
    first = np.where(seen, centre - reach * sigma, np.inf).min(axis=1)
    return first, np.where(seen, centre + reach * sigma, -np.inf).max(axis=1)


def _peak(shape: Morphology, waves: tuple[Wave, ...], first: float, last: float) -> tuple[np.ndarray, np.ndarray]:
    """Time of the largest root mean square over the leads (R,), and the curves of all leads (R, 8, G)."""
    rows = list(waves)
    grid = np.arange(first, last, _STEP)
    z = (grid - shape.centre[:, rows, None]) / shape.sigma[:, rows, None]
    curves = np.matmul(shape.leads[:, rows].transpose(0, 2, 1).astype(np.float64), np.exp(-0.5 * z**2))
    return grid[(curves**2).sum(axis=1).argmax(axis=1)], curves


def _axis(shape: Morphology, waves: tuple[Wave, ...]) -> np.ndarray:
    """Frontal axis from the net area of the waves in leads I and II; a late right ventricle does not count."""
    rows = list(waves)
    parts = shape.leads[:, rows] * shape.sigma[:, rows, None]
    if Wave.LATE in waves:
        parts[:, rows.index(Wave.LATE)] *= shape.late_counts[:, None]
    area = parts.sum(axis=1)
    return frontal_axis(area[:, 0].astype(np.float64), area[:, 1].astype(np.float64))


def positions(beats: Beats, marks: Landmarks) -> dict[str, np.ndarray]:
    """Times in ms of every position of every beat (B,), NaN where the beat has no such wave."""
    anchor = {"p": beats.p, "q": beats.q, "t": beats.q + beats.qt}
    found = {}
    for name in POSITIONS:
        usual, premature = marks.offsets[name][beats.record], marks.ectopic[name][beats.record]
        early = beats.kind == (ATRIAL if name.startswith("p") else VENTRICULAR)
        found[name] = anchor[name[0]] + np.where(early, premature, usual)
    # the T wave rises from the ST segment: it cannot begin inside the QRS complex
    found["t_on"] = np.fmax(found["t_on"], found["qrs_off"])
    return found


def beat_table(recordings: Recordings, marks: Landmarks, record_id: np.ndarray, column: str) -> pl.DataFrame:
    """One row a beat of which something lies inside the file; positions in samples of the file, null outside it.

    Args:
        recordings: The recordings.
        marks: Their landmarks.
        record_id: Name of each recording (R,).
        column: Name of the column that holds it.
    """
    beats = recordings.beats
    length = np.array([digital.shape[1] for digital in recordings.digital])[beats.record]
    columns: dict[str, np.ndarray] = {}
    inside = np.zeros(len(beats), dtype=bool)
    for name, times in positions(beats, marks).items():
        sample = np.rint(np.where(np.isfinite(times), times, -1e6) * RATE / 1000.0).astype(np.int64)
        valid = (sample >= 0) & (sample < length)
        columns[name] = np.where(valid, sample, -1)
        inside |= valid
    rows = np.flatnonzero(inside)
    first = np.searchsorted(beats.record[rows], beats.record[rows])
    frame = pl.DataFrame(
        {
            column: record_id[beats.record[rows]],
            "beat": (np.arange(len(rows)) - first).astype(np.int32),
            "kind": np.array(BEATS)[beats.kind[rows]],
            **{name: values[rows].astype(np.int32) for name, values in columns.items()},
        }
    )
    return frame.with_columns(pl.when(pl.col(name) >= 0).then(pl.col(name)).alias(name) for name in POSITIONS)
