"""The waves of one beat: Gaussians of time with a direction in space, through the lead field.

v(t) = sum of A exp(-(t - c)^2 / 2 s^2) with A a vector (x left, y down, z back) in mV. McSharry et al. 2003 put such
Gaussians on the phase of the beat, Sameni et al. 2007 gave them three dimensions; here they live in ms, because only
repolarisation stretches with the interval between beats. Atrial waves are placed from the onset of P, those of the
ventricles from the onset of QRS, T from its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from cardiozoo.data.synthetic.ecg_field import (
    ATRIA,
    INDEPENDENT,
    LIMB_NULL,
    VENTRICLES,
    rotate_frontal,
    rotate_horizontal,
)
from cardiozoo.data.synthetic.ecg_heart import Hearts
from cardiozoo.data.synthetic.ecg_person import ESCAPE, LAFB, LBBB, LPFB, PACED, RBBB, People
from cardiozoo.data.synthetic.ecg_visit import Visits


class Wave(IntEnum):
    """Rows of a :class:`Morphology`."""

    P_RIGHT = 0
    P_LEFT = 1
    P_TERMINAL = 2
    P_ECTOPIC = 3
    SEPTAL = 4
    R = 5
    S = 6
    S_LATE = 7
    RV_FRONTAL = 8
    RV_FORWARD = 9
    LATE = 10
    LOCAL_1 = 11
    LOCAL_2 = 12
    ST = 13
    T_EARLY = 14
    T_LATE = 15
    ECTOPIC_1 = 16
    ECTOPIC_2 = 17
    ECTOPIC_T = 18


ATRIAL_WAVES = slice(Wave.P_RIGHT, Wave.P_ECTOPIC)
QRS_WAVES = slice(Wave.SEPTAL, Wave.ST)
T_WAVES = slice(Wave.T_EARLY, Wave.ECTOPIC_1)
ECTOPIC_QRS = 152.0
"""Duration of a premature ventricular beat in ms."""
_ECTOPIC_GAIN = 1.6
WIDE_PEAKS, WIDE_SIGMA = (0.315, 0.665), 0.142
"""Of a complex that does not come down the left bundle: two waves, shares of its duration. They are far enough apart to
leave a notch, and their edges are those of the complex."""


@dataclass
class Morphology:
    """The shape of every wave of a recording.

    ``leads`` (R, W, 8) is the amplitude in mV in the independent leads, ``centre`` and ``sigma`` (R, W) are ms from the
    wave's anchor: onset of P, onset of QRS, end of T.
    """

    leads: np.ndarray
    centre: np.ndarray
    sigma: np.ndarray
    p_duration: np.ndarray
    qrs: np.ndarray
    late_counts: np.ndarray
    """(R,) False in right bundle branch block, whose late wave does not count for the axis."""


def morphology(hearts: Hearts, people: People, visits: Visits) -> Morphology:
    """Shapes of the waves of these recordings."""
    return _Builder(hearts, people, visits).build()


class _Builder:
    """Fills one morphology wave by wave; all arrays have a row a recording."""

    def __init__(self, hearts: Hearts, people: People, visits: Visits) -> None:
        self.visits = visits
        self.row = visits.person
        self.hearts, self.people = hearts, people
        self.gain = people.gain[self.row]
        self.lv = 0.5 * hearts.lv[self.row]
        self.rvf, self.rva = hearts.rvf[self.row], hearts.rva[self.row]
        self.conduction = visits.conduction
        shape = (len(visits), len(Wave))
        self.leads = np.zeros((*shape, len(INDEPENDENT)))
        self.centre, self.sigma = np.zeros(shape), np.ones(shape)
        self.p_duration, self.qrs = people.p_duration[self.row], people.qrs[self.row]

    def build(self) -> Morphology:
        self._atria()
        self._ventricles()
        self._right_ventricle()
        self._local()
        self._repolarisation()
        self._ectopic()
        self.leads *= self.visits.chest_gain[:, None, :]
        return Morphology(
            leads=self.leads.astype(np.float32),
            centre=self.centre,
            sigma=self.sigma,
            p_duration=self.p_duration,
            qrs=self.qrs,
            late_counts=~self._is(RBBB),
        )

    def _set(self, wave: Wave, centre: np.ndarray, sigma: np.ndarray, force: np.ndarray, field: np.ndarray) -> None:
        self.leads[:, wave] = force @ field.T
        self.centre[:, wave], self.sigma[:, wave] = centre, sigma

    def _force(self, vector: tuple[float, float, float]) -> np.ndarray:
        return np.broadcast_to(np.array(vector), (len(self.visits), 3)).copy()

    def _is(self, *codes: int) -> np.ndarray:
        return np.isin(self.conduction, codes)

    def _atria(self) -> None:
        row, duration = self.row, self.p_duration
        ra, la = self.hearts.ra[row][:, None], self.hearts.la[row][:, None]
        scale, turn = self.people.p_gain[row][:, None], self.people.p_rotation[row]
        right = rotate_frontal(self._force((0.085, 0.078, -0.052)), turn) + ra * np.array([0.040, 0.088, -0.009])
        left = rotate_frontal(self._force((0.130, 0.036, 0.032)), turn) * (1.0 + la)
        wide = 0.17 * duration
        self._set(Wave.P_RIGHT, 0.36 * duration, wide, scale * right, ATRIA)
        self._set(Wave.P_LEFT, 0.66 * duration, wide * (1.0 + 0.1 * la[:, 0]), scale * left, ATRIA)
        terminal = 0.06 * self.hearts.lap[row][:, None] * LIMB_NULL
        self._set(Wave.P_TERMINAL, 0.72 * duration, 0.15 * duration, terminal, ATRIA)
        early = rotate_frontal(self._force((0.13, 0.10, -0.02)), self.people.ectopic_p[row])
        self._set(Wave.P_ECTOPIC, 0.5 * duration, 0.20 * duration, scale * early, ATRIA)

    def _turned(self, force: np.ndarray, extra: np.ndarray | float = 0.0) -> np.ndarray:
        """Forces of the left ventricle in this chest: rotated in both planes, larger or smaller."""
        # a fascicular block is known by its axis: the body turns it less than it turns a normal one
        own = np.where(self._is(LAFB, LPFB), 0.4, 1.0)
        frontal = own * (self.people.frontal[self.row] + self.visits.frontal) + extra
        horizontal = self.people.horizontal[self.row] + self.visits.horizontal
        return self.gain[:, None] * rotate_horizontal(rotate_frontal(force, frontal), horizontal)

    def _ventricles(self) -> None:
        qrs, size, lv = self.qrs, self.people.size[self.row], self.lv
        lbbb, rbbb = self._is(LBBB, ESCAPE), self._is(RBBB)
        paced = self._is(PACED)
        wide = lbbb | paced
        # in right bundle branch block the left ventricle is activated as usual, and the right one late
        left = np.where(rbbb, np.minimum(qrs, 96.0), qrs)
        septal = self._force((-0.13, -0.05, -0.32))
        septal[self._is(LAFB)] = (-0.08, 0.24, -0.26)
        septal[self._is(LPFB)] = (0.20, -0.22, -0.22)
        septal[wide] = 0.0
        main = self._force((1.54, 0.82, 0.44)) * np.stack([1.0 + 0.3 * lv, np.ones_like(lv), 1.0 + 0.6 * lv], axis=1)
        main[lbbb] = (0.95, 0.35, 0.45)
        main[paced] = (0.45, -0.62, 0.42)
        late = self._force((0.0, 0.0, 0.0))
        late[lbbb] = main[lbbb]
        late[paced] = (0.30, -0.58, 0.46)
        late[rbbb] = (-0.42, -0.05, -0.62)
        back = self._force((-0.22, 0.0, 0.80))
        back[:, 2] *= 1.0 + 0.3 * lv
        back[rbbb] *= 0.7
        last = self._force((-0.14, -0.14, 0.10))
        last[wide | rbbb] = 0.0
        fascicle = np.where(self._is(LAFB), -62.0, np.where(self._is(LPFB), 86.0, 0.0))
        place = np.where(wide, WIDE_PEAKS[0], 0.43)
        breadth = np.where(wide, WIDE_SIGMA, 0.092)
        self._set(Wave.SEPTAL, 0.20 * left, 0.085 * left, self._turned(septal * size[:, :1]), VENTRICLES)
        self._set(Wave.R, place * left, breadth * left, self._turned(main, fascicle), VENTRICLES)
        self._set(Wave.S, np.where(wide, 0.50, 0.62) * left, np.where(wide, 0.15, 0.105) * left,
                  self._turned(back * size[:, 1:2], 0.5 * fascicle), VENTRICLES)  # fmt: skip
        self._set(Wave.S_LATE, 0.82 * left, 0.085 * left, self._turned(last * size[:, 2:]), VENTRICLES)
        self._set(Wave.LATE, np.where(rbbb, 0.78, WIDE_PEAKS[1]) * qrs, np.where(rbbb, 0.11, WIDE_SIGMA) * qrs,
                  self._turned(late), VENTRICLES)  # fmt: skip

    def _right_ventricle(self) -> None:
        """Not rotated: the forward force has to stay where no limb lead sees it.

        The forward force comes with the wave of the left ventricle that points away from V1, so that R grows there
        while S shrinks. In right bundle branch block both come with the left ventricle's activation.
        """
        qrs = np.where(self._is(RBBB), np.minimum(self.qrs, 96.0), self.qrs)
        frontal = (self.gain * self.rvf)[:, None] * np.array([-0.80, 0.38, 0.0])
        forward = -(self.gain * self.rva)[:, None] * LIMB_NULL
        for wave, place, force in ((Wave.RV_FRONTAL, 0.56, frontal), (Wave.RV_FORWARD, 0.40, forward)):
            self._set(wave, place * qrs, 0.13 * qrs, force, VENTRICLES)

    def _local(self) -> None:
        for number, wave in enumerate((Wave.LOCAL_1, Wave.LOCAL_2)):
            self.leads[:, wave] = self.people.local[self.row, number]
            self.centre[:, wave] = self.people.local_time[self.row, number] * self.qrs
            self.sigma[:, wave] = 0.10 * self.qrs

    def _repolarisation(self) -> None:
        """ST and T. Where the ventricles are activated along another way, T points away from the QRS complex."""
        row = self.row
        self._set(Wave.ST, self.qrs + 40.0, np.full_like(self.qrs, 45.0), self.people.st[row], VENTRICLES)
        discordant = np.zeros((len(self.visits), 3))
        discordant[self._is(LBBB, ESCAPE)] = (-0.26, -0.08, -0.22)
        discordant[self._is(PACED)] = (-0.20, 0.28, -0.24)
        altered = self._is(LBBB, ESCAPE, PACED)
        strain = np.clip(1.0 - 0.8 * self.lv, -0.8, 1.5)[:, None]
        load = self.rvf[:, None] * np.array([0.03, -0.06, 0.18])
        turn = self.people.t_rotation[row] + 0.3 * (self.people.frontal[row] + self.visits.frontal)
        scale = self.people.t_gain[row][:, None]
        for wave, before_end, sigma, usual in (
            (Wave.T_EARLY, 118.0, 50.0, (0.21, 0.09, -0.13)),
            (Wave.T_LATE, 66.0, 31.0, (0.26, 0.12, -0.10)),
        ):
            force = rotate_frontal(self._force(usual), turn) * strain
            force[self._is(RBBB)] += (0.02, 0.0, 0.13)
            force = np.where(altered[:, None], discordant, force) + load
            count = len(self.visits)
            self._set(wave, np.full(count, -before_end), np.full(count, sigma), scale * force, VENTRICLES)

    def _ectopic(self) -> None:
        size = _ECTOPIC_GAIN * self.gain[:, None] * self.people.ectopic_force[self.row]
        second = 0.75 * rotate_horizontal(size, np.full(len(self.visits), 35.0))
        for wave, centre, force in zip((Wave.ECTOPIC_1, Wave.ECTOPIC_2), WIDE_PEAKS, (size, second), strict=True):
            place = np.full(len(self.visits), centre * ECTOPIC_QRS)
            self._set(wave, place, np.full(len(self.visits), WIDE_SIGMA * ECTOPIC_QRS), force, VENTRICLES)
        back = -0.22 * (size + second)
        count = len(self.visits)
        self._set(Wave.ECTOPIC_T, np.full(count, -95.0), np.full(count, 48.0), back, VENTRICLES)
