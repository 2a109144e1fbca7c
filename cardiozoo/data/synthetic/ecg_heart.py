"""The heart behind an electrocardiogram: pressures, and the forces through which they show.

Pressures follow mPAP = PAWP + PVR * CO exactly. Each force is pressure plus what differs between people, and enters the
waves of :mod:`cardiozoo.data.synthetic.ecg_waves` with its own direction. What a plant shows where is decided here and
nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from cardiozoo.data.synthetic.patient import decades
from cardiozoo.data.synthetic.streams import Modality, draws

Plant = Literal["full", "right_atrium", "chest"]
PLANTS: tuple[Plant, ...] = get_args(Plant)
WEDGE, GRADIENT = (30.0, 45.0), (45.0, 80.0)
"""mmHg from which the wedge pressure, and what the lungs add to it, rise less and less, and what they never reach."""
LATENTS = 0
"""Purpose of the stream of pressures and forces; the others follow in the modules that draw them."""


@dataclass(frozen=True)
class Population:
    """Who comes: how frequent disease and disturbances of rhythm and conduction are.

    Attributes:
        name: Name in the truth manifest.
        wedge: Median PAWP in mmHg at 60 years without left-heart disease.
        resistance: Median PVR in Wood units at 60 years without pulmonary vascular disease.
        left_heart: Share with left-heart disease (raised wedge pressure).
        vascular: Share with pulmonary vascular disease (raised resistance).
        severity: Log-odds of both per unit of the severity of the person.
        hypertension: Share with arterial hypertension at 60 years.
        rate: Beats a minute above those of healthy people at rest.
        fibrillation: Log-odds of atrial fibrillation at 60 years and a left atrium of usual size.
        lbbb, rbbb, anterior_fascicle, posterior_fascicle: Shares of the blocks below the bundle of His.
        av_first, av_second, av_third: Shares of atrioventricular blocks.
        paced, ventricular_ectopy, atrial_ectopy: Shares with a ventricular pacemaker, with premature beats.
        ischaemia: Share with displaced ST segments.
    """

    name: str
    wedge: float = 9.5
    resistance: float = 1.7
    left_heart: float = 0.30
    vascular: float = 0.42
    severity: float = 0.0
    hypertension: float = 0.45
    rate: float = 6.0
    fibrillation: float = -2.70
    lbbb: float = 0.03
    rbbb: float = 0.06
    anterior_fascicle: float = 0.03
    posterior_fascicle: float = 0.006
    av_first: float = 0.07
    av_second: float = 0.008
    av_third: float = 0.005
    paced: float = 0.04
    ventricular_ectopy: float = 0.06
    atrial_ectopy: float = 0.05
    ischaemia: float = 0.05


CATHETER_CLINIC = Population("catheter clinic")
HOSPITAL = Population(
    "hospital", wedge=9.0, resistance=1.3, left_heart=0.25, vascular=0.15, severity=0.5, rate=16.0, fibrillation=-2.30,
    paced=0.05,
)  # fmt: skip


@dataclass
class Hearts:
    """One row a person; ``index`` is their number in the cohort.

    Pressures are mmHg, ``output`` l/min, ``pvr`` Wood units; ``h`` and ``l`` are the log2 ratios of mPAP to 14 and of
    PAWP to 8.6 mmHg, ``r`` the load of the right ventricle. Forces have no unit: ``rvf`` of the right ventricle in the
    frontal plane, ``rva`` forwards (no limb lead sees it), ``ra`` and ``la`` of the atria, ``lap`` the terminal force
    of the left atrium (no limb lead sees it), ``lv`` the mass of the left ventricle.
    """

    index: np.ndarray
    male: np.ndarray
    age: np.ndarray
    left_heart: np.ndarray
    vascular: np.ndarray
    hypertension: np.ndarray
    pawp: np.ndarray
    pvr: np.ndarray
    output: np.ndarray
    mpap: np.ndarray
    h: np.ndarray
    l: np.ndarray
    r: np.ndarray
    rvf: np.ndarray
    rva: np.ndarray
    ra: np.ndarray
    la: np.ndarray
    lap: np.ndarray
    lv: np.ndarray

    def __len__(self) -> int:
        return len(self.index)


def draw_hearts(
    seed: int,
    index: np.ndarray,
    male: np.ndarray,
    age: np.ndarray,
    severity: np.ndarray,
    population: Population,
    plant: Plant = "full",
) -> Hearts:
    """Pressures and forces of these people.

    Args:
        seed: Seed of the cohort.
        index: Numbers in the cohort (N,).
        male: Sex (N,).
        age: Years (N,).
        severity: How ill beyond their age, N(0, 1) (N,).
        population: How frequent disease is.
        plant: ``full``: pressure shows in both ventricles and atria. ``right_atrium``: in the right-atrial P wave only.
            ``chest``: in the forward force of the right ventricle only, to which all limb leads are blind.
    """
    gauss, flat = draws(seed, index, Modality.ECG, LATENTS, normals=12, uniforms=3)
    a = decades(age)
    left = flat[:, 0] < _shifted(population.left_heart, population.severity * severity)
    vascular = flat[:, 1] < _shifted(population.vascular, population.severity * severity)
    hypertension = flat[:, 2] < _shifted(population.hypertension, 0.35 * a)
    pawp = np.exp(np.log(population.wedge) + 0.05 * a + 0.28 * gauss[:, 0]) + left * np.exp(
        np.log(10.0) + 0.45 * gauss[:, 1]
    )
    pvr = np.exp(np.log(population.resistance) + 0.04 * a + 0.35 * gauss[:, 2]) + vascular * np.exp(
        np.log(4.0) + 0.60 * gauss[:, 3]
    )
    pawp = _at_most(pawp, *WEDGE)
    output = np.exp(np.log(5.6) - 0.02 * a + 0.06 * male + 0.18 * gauss[:, 4]) * np.where(pvr > 4.0, 0.85, 1.0)
    # no right ventricle holds more for long; the resistance follows, so that the sum stays exact
    pvr = _at_most(pvr * output, *GRADIENT) / output
    mpap = pawp + pvr * output
    h, l = np.log2(mpap / 14.0), np.log2(pawp / 8.6)
    r = 0.35 * np.maximum(0.0, np.log2(pvr * output / 7.0)) + 0.10 * np.maximum(h, 0.0)
    # the wall thickens a little in most people with hypertension, and much in a few
    wall = 0.25 * hypertension * np.exp(0.7 * gauss[:, 11])
    paths = _paths(plant, h, l, r)
    return Hearts(
        index=index,
        male=male,
        age=age,
        left_heart=left,
        vascular=vascular,
        hypertension=hypertension,
        pawp=pawp,
        pvr=pvr,
        output=output,
        mpap=mpap,
        h=h,
        l=l,
        r=r,
        rvf=np.clip(paths["rvf"] + 0.24 * gauss[:, 5], -0.3, 1.6),
        rva=np.clip(paths["rva"] + 0.24 * gauss[:, 6], -0.3, 1.8),
        ra=np.maximum(paths["ra"] + 0.31 * gauss[:, 7], -0.8),
        la=np.maximum(paths["la"] + 0.30 * gauss[:, 8], -0.5),
        lap=paths["lap"] + 0.60 * gauss[:, 9],
        lv=0.15 * a + 0.12 * male + paths["lv"] + wall + 0.22 * gauss[:, 10],
    )


def _paths(plant: Plant, h: np.ndarray, l: np.ndarray, r: np.ndarray) -> dict[str, np.ndarray]:
    """What each force owes to pressure. Without a path a force still differs between people."""
    paths = {name: np.zeros_like(h) for name in ("rvf", "rva", "ra", "la", "lap", "lv")}
    if plant == "full":
        paths["rvf"], paths["rva"] = 0.50 * r, 0.55 * r
        paths["ra"] = 0.32 * np.maximum(h, -0.3)
        paths["la"], paths["lap"], paths["lv"] = 0.62 * l, 0.60 * l, 0.15 * l
    elif plant == "right_atrium":
        paths["ra"] = 0.42 * np.maximum(h, -0.3)
    else:
        paths["rva"] = 0.60 * r
    return paths


def _at_most(values: np.ndarray, start: float, limit: float) -> np.ndarray:
    """The same values up to ``start``, beyond it bent so that they stay below ``limit`` and in their order."""
    room = limit - start
    return np.where(values > start, start + room * -np.expm1(-np.maximum(values - start, 0.0) / room), values)


def _shifted(share: float, log_odds: np.ndarray) -> np.ndarray:
    """The share after adding log-odds."""
    return 1.0 / (1.0 + np.exp(-(np.log(share / (1.0 - share)) + log_odds)))
