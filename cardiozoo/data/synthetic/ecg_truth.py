"""Tables of the truth of a synthetic electrocardiogram cohort: one row a person, a recording, a beat."""

from __future__ import annotations

import numpy as np
import polars as pl

from cardiozoo.data.synthetic.ecg_faults import exchange_arms
from cardiozoo.data.synthetic.ecg_field import INDEPENDENT, frontal_axis
from cardiozoo.data.synthetic.ecg_heart import Hearts
from cardiozoo.data.synthetic.ecg_landmarks import Landmarks
from cardiozoo.data.synthetic.ecg_person import CONDUCTION, PACED, People
from cardiozoo.data.synthetic.ecg_recordings import RATE, Recordings
from cardiozoo.data.synthetic.ecg_rhythm import ATRIAL, DOMINANT, VENTRICULAR

LATENTS = ("rvf", "rva", "ra", "la", "lap", "lv")
NUISANCES = ("gain", "frontal", "horizontal", "p_rotation", "p_gain", "t_rotation", "t_gain")


def person_rows(hearts: Hearts, people: People) -> dict[str, np.ndarray]:
    """Columns of truth/patients.parquet beside the name of the person: pressures, forces, what makes them themselves.

    ``mpap`` is ``pawp + pvr * output`` exactly; what a catheter measured of them stands in the labels.
    """
    return {
        "patient_index": hearts.index,
        "sex": np.where(hearts.male, "M", "F"),
        "age": hearts.age,
        "left_heart_disease": hearts.left_heart,
        "vascular_disease": hearts.vascular,
        "hypertension": hearts.hypertension,
        **{name: getattr(hearts, name) for name in ("mpap", "pawp", "pvr", "output", "h", "l", "r")},
        **{f"force/{name}": getattr(hearts, name) for name in LATENTS},
        **{f"nuisance/{name}": getattr(people, name) for name in NUISANCES},
        "p_duration": people.p_duration,
        "pr": people.pr,
        "qrs": people.qrs,
        "qtc": people.qtc,
        "fibrillation": people.fibrillation,
        "conduction": np.array(CONDUCTION)[people.conduction],
        "av_block": people.av_block,
        "ischaemia": people.ischaemia,
        **{f"st_{axis}": people.st[:, column] for column, axis in enumerate("xyz")},
    }


def intervals(recordings: Recordings, marks: Landmarks) -> dict[str, np.ndarray]:
    """Intervals (ms) and axes (degrees) of the dominant beat of every recording, as drawn; NaN where there is none.

    The onset of P comes first, all others are ms after the onset of QRS. Axes are those of the leads as recorded: with
    the electrodes of the arms exchanged they are those that a machine would read.
    """
    visits, beats = recordings.visits, recordings.beats
    count = len(visits)
    rr, pr, qt = (np.full(count, np.nan) for _ in range(3))
    for row in range(count):
        own = slice(*np.searchsorted(beats.record, [row, row + 1]))
        q = beats.q[own]
        usual = (beats.kind[own] == DOMINANT) & np.isfinite(q)
        shown = np.isfinite(q) & (q >= 0.0) & (q < 1000.0 * recordings.digital[row].shape[1] / RATE)
        if shown.sum() > 1:
            rr[row] = np.median(np.diff(q[shown]))
        both = usual & np.isfinite(beats.p[own])
        if both.any():
            pr[row] = np.median((q - beats.p[own])[both])
        qt[row] = np.median(beats.qt[own][usual])
    offsets = marks.offsets
    axes = {name: getattr(marks, name).copy() for name in ("p_axis", "qrs_axis", "t_axis")}
    for row, fault in enumerate(recordings.faults):
        if fault.kind == "arms exchanged":
            for name in axes:
                axes[name][row] = _exchanged(axes[name][row])
    axes["p_axis"][np.isnan(pr)] = np.nan
    return {
        "rr": rr,
        "p_on": -pr + offsets["p_on"],
        "p_off": -pr + offsets["p_off"],
        "qrs_on": offsets["qrs_on"],
        "qrs_off": offsets["qrs_off"],
        "t_end": qt + offsets["t_end"],
        **axes,
    }


def _exchanged(axis: float) -> float:
    """Axis of a wave in degrees as it appears with the electrodes of the arms exchanged."""
    angle = np.deg2rad(axis)
    lead_i, avf = np.cos(angle), np.sin(angle) * np.sqrt(3.0) / 2.0
    leads = np.array([[lead_i], [avf + lead_i / 2.0]])
    exchange_arms(leads)
    return float(frontal_axis(leads[0], leads[1])[0])


def recording_rows(recordings: Recordings, marks: Landmarks, drawn: dict[str, np.ndarray]) -> dict[str, object]:
    """Columns of truth/records.parquet beside the names: rhythm, intervals, noise, faults, amplitudes."""
    visits, beats, faults = recordings.visits, recordings.beats, recordings.faults
    count = len(visits)
    inside = (beats.q >= 0.0) & (beats.q < 10_000.0)
    premature = {
        name: np.bincount(beats.record[inside & (beats.kind == kind)], minlength=count)
        for name, kind in (("premature_ventricular", VENTRICULAR), ("premature_atrial", ATRIAL))
    }
    with np.errstate(invalid="ignore"):
        durations = {
            "heart_rate": 60_000.0 / drawn["rr"],
            "rr_interval": drawn["rr"],
            "p_duration": drawn["p_off"] - drawn["p_on"],
            "pr_interval": drawn["qrs_on"] - drawn["p_on"],
            "qrs_duration": drawn["qrs_off"] - drawn["qrs_on"],
            "qt_interval": drawn["t_end"] - drawn["qrs_on"],
        }
    durations["qtc_fridericia"] = durations["qt_interval"] / np.cbrt(drawn["rr"] / 1000.0)
    durations["qtc_bazett"] = durations["qt_interval"] / np.sqrt(drawn["rr"] / 1000.0)
    v1, v5, v6 = (INDEPENDENT.index(lead) for lead in ("V1", "V5", "V6"))
    return {
        "visit": visits.number,
        "rhythm": [visits.rhythm_name(row) for row in range(count)],
        "conduction": np.array(CONDUCTION)[visits.conduction],
        "av_block": visits.av_block,
        "atrial_fibrillation": visits.fibrillating,
        "paced": visits.conduction == PACED,
        **premature,
        **durations,
        **{name: drawn[name] for name in ("p_axis", "qrs_axis", "t_axis")},
        "r_v1": marks.r[:, v1],
        "s_v1": marks.s[:, v1],
        "sokolow_lyon": marks.r[:, [v5, v6]].max(axis=1) - marks.s[:, v1],
        "st_leads": marks.displaced_st.sum(axis=1),
        **{f"noise/{name}": values for name, values in vars(recordings.levels).items()},
        "fault": pl.Series([fault.kind or None for fault in faults], dtype=pl.String),
        "fault_lead": pl.Series([fault.lead or None for fault in faults], dtype=pl.String),
        "fault_first": pl.Series([fault.first if fault.kind else None for fault in faults], dtype=pl.Int32),
        "fault_last": pl.Series([fault.last if fault.kind else None for fault in faults], dtype=pl.Int32),
        "samples": [digital.shape[1] for digital in recordings.digital],
    }


def without_nan(frame: pl.DataFrame) -> pl.DataFrame:
    """The same table with null in place of NaN."""
    return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))
