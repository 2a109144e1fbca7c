"""What the recorder printed: its measurements of the representative beat, and its statements about them."""

from __future__ import annotations

import numpy as np

from cardiozoo.data.synthetic.ecg_field import INDEPENDENT
from cardiozoo.data.synthetic.ecg_landmarks import Landmarks
from cardiozoo.data.synthetic.ecg_person import LAFB, LBBB, LPFB, NORMAL, PACED, RBBB
from cardiozoo.data.synthetic.ecg_recordings import Recordings
from cardiozoo.data.synthetic.ecg_visit import FIBRILLATION
from cardiozoo.data.synthetic.streams import Modality, draws

MEASUREMENT = 9
"""Purpose of the stream; its part is the number of the recording."""
UNMEASURED = 29_999
STATEMENTS = 18
COLUMNS = (
    "rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis", "t_axis",
)  # fmt: skip
_NOT_READ = 0.004
_ERRORS = {"p_onset": 3.0, "p_end": 3.0, "qrs_onset": 1.5, "qrs_end": 2.0, "t_end": 4.0}
_BLOCKS = {
    LBBB: "Left bundle branch block",
    RBBB: "Right bundle branch block",
    LAFB: "Left anterior fascicular block",
    LPFB: "Left posterior fascicular block",
}


def measure(seed: int, recordings: Recordings, drawn: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The nine measurements (R,) int64: ms from the start of the representative beat in steps of 2 ms, degrees.

    They are what was drawn plus the error of a machine: sd 3 ms for the edges of P, 1.5 and 2 ms for those of QRS, 4 ms
    for the end of T, 2 degrees for the axes. 29999 stands for what is not there, and for everything, with an interval
    of 0, in the few recordings that the machine could not read.
    """
    visits = recordings.visits
    gauss, flat = draws(
        seed, visits.index, Modality.ECG, MEASUREMENT, normals=len(COLUMNS), uniforms=2, parts=visits.number
    )
    has_p = np.isfinite(drawn["p_on"])
    start = np.where(has_p, 40.0 - drawn["p_on"], 170.0 + 60.0 * flat[:, 1])
    values = {"rr_interval": drawn["rr"] + gauss[:, 0]}
    for column, (name, source) in enumerate(
        (("p_onset", "p_on"), ("p_end", "p_off"), ("qrs_onset", "qrs_on"), ("qrs_end", "qrs_off"), ("t_end", "t_end")),
        start=1,
    ):
        values[name] = 2.0 * np.rint((start + drawn[source] + _ERRORS[name] * gauss[:, column]) / 2.0)
    for column, name in enumerate(("p_axis", "qrs_axis", "t_axis"), start=6):
        degrees = drawn[name] + 2.0 * gauss[:, column]
        values[name] = (degrees + 180.0) % 360.0 - 180.0
    unread = flat[:, 0] < _NOT_READ
    rounded = {}
    for name, value in values.items():
        missing = unread | ~np.isfinite(value)
        usual = np.rint(np.where(missing, 0.0, value)).astype(np.int64)
        rounded[name] = np.where(missing, 0 if name == "rr_interval" else UNMEASURED, usual)
    return rounded


def statements(recordings: Recordings, marks: Landmarks, measured: dict[str, np.ndarray], row: int) -> list[str]:
    """The phrases of one recording, the verdict last; at most :data:`STATEMENTS`."""
    if measured["rr_interval"][row] == 0:
        return ["Unsuitable for analysis - please repeat the recording"]
    visits = recordings.visits
    found = [_rhythm(recordings, measured, row)]
    conduction = int(visits.conduction[row])
    if conduction == PACED:
        return [*found, "Abnormal ECG"]
    p, qrs_on, qrs_end = (int(measured[name][row]) for name in ("p_onset", "qrs_onset", "qrs_end"))
    if visits.av_block[row] == 2:
        found.append("Second degree AV block, Mobitz I")
    elif p != UNMEASURED and qrs_on - p > 200:
        found.append("Prolonged PR interval")
    if conduction in _BLOCKS:
        found.append(_BLOCKS[conduction])
    elif qrs_end - qrs_on > 115:
        found.append("Intraventricular conduction delay")
    axis = int(measured["qrs_axis"][row])
    if conduction not in (LAFB, LPFB) and axis < -30 and axis > -120:
        found.append("Left axis deviation")
    if conduction not in (LAFB, LPFB) and (axis > 100 or axis < -150):
        found.append("Right axis deviation")
    if conduction in (NORMAL, LAFB, LPFB):
        found += _size(marks, row)
    if marks.displaced_st[row].sum() >= 2:
        found.append("ST deviation in two or more leads")
    qtc = (int(measured["t_end"][row]) - qrs_on) / np.cbrt(measured["rr_interval"][row] / 1000.0)
    if qtc > 480.0:
        found.append("Prolonged QT interval")
    if recordings.faults[row].kind == "arms exchanged":
        found.append("Possible exchange of the arm electrodes")
    minor = {"Sinus rhythm", "Sinus bradycardia", "Left axis deviation", "Prolonged PR interval"}
    verdict = "Normal ECG" if found == ["Sinus rhythm"] else "Borderline ECG" if set(found) <= minor else "Abnormal ECG"
    return [*found, verdict][:STATEMENTS]


def _rhythm(recordings: Recordings, measured: dict[str, np.ndarray], row: int) -> str:
    visits = recordings.visits
    rate = 60_000.0 / measured["rr_interval"][row]
    if visits.conduction[row] == PACED:
        return "Ventricular-paced rhythm"
    if visits.av_block[row] == 3:
        return "Complete AV block with wide QRS escape rhythm"
    if visits.rhythm[row] == FIBRILLATION:
        name = "Atrial fibrillation" + (" with rapid ventricular response" if rate > 100 else "")
    else:
        name = "Sinus tachycardia" if rate > 100 else "Sinus bradycardia" if rate < 60 else "Sinus rhythm"
    if visits.premature_ventricular[row]:
        name += " with PVC(s)"
    elif visits.premature_atrial[row]:
        name += " with PAC(s)"
    return name


def _size(marks: Landmarks, row: int) -> list[str]:
    """Sokolow-Lyon for the left, R in V1 for the right ventricle; low voltage of the limb leads."""
    v1, v5, v6 = (INDEPENDENT.index(lead) for lead in ("V1", "V5", "V6"))
    found = []
    if max(marks.r[row, v5], marks.r[row, v6]) - marks.s[row, v1] >= 3.5:
        found.append("Left ventricular hypertrophy by voltage")
    if marks.r[row, v1] > 0.7:
        found.append("Possible right ventricular hypertrophy")
    if (marks.r[row, :2] - marks.s[row, :2] < 0.5).all():
        found.append("Low QRS voltages in limb leads")
    return found
