"""One block of patients: draws their state, charts their stays and yields the rows of the event tables."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from cardiozoo.data.synthetic import charting, chest, conditions, icu, outcomes, patient, records, tables
from cardiozoo.data.synthetic.calibrated import Coefficients
from cardiozoo.data.synthetic.charting import Events, Rounds
from cardiozoo.data.synthetic.chest import Chest
from cardiozoo.data.synthetic.dirt import DEFAULT_RATE, Ledger, Planted, corrupt_codes, corrupt_events
from cardiozoo.data.synthetic.icu import Course
from cardiozoo.data.synthetic.items import CHART_ITEMS, LAB_ITEMS, Item, Values
from cardiozoo.data.synthetic.outcomes import Outcomes
from cardiozoo.data.synthetic.patient import Circulation, Patients, Stays
from cardiozoo.data.synthetic.records import HOUR, Calendar, Units
from cardiozoo.data.synthetic.streams import Modality, draws, stream


@dataclass
class Block:
    """Everything that is true of some patients; one row a patient, a stay or a unit as each part says."""

    patients: Patients
    stays: Stays
    present: np.ndarray  # bool (S, 25)
    coded: np.ndarray  # bool (S, 25)
    version: np.ndarray  # 9 or 10 (S,)
    outcomes: Outcomes
    course: Course
    now: Chest
    earlier: Chest
    circulation: Circulation
    calendar: Calendar
    units: Units


def draw_block(seed: int, index: np.ndarray, coefficients: Coefficients, mnar: bool, scale: float) -> Block:
    """The state of the patients with these cohort numbers; ``scale`` is the rate of dirt relative to its default."""
    patients = patient.draw_patients(seed, index)
    stays = patient.draw_stays(seed, patients)
    present = conditions.draw_conditions(stays, coefficients)
    outcome = outcomes.draw_outcomes(seed, stays, present, mnar)
    course = icu.draw_course(seed, stays, present, coefficients)
    now, blood = chest.draw_chest(seed, stays, present, course.ventilated, coefficients, episode=0)
    earlier, _ = chest.draw_chest(seed, stays, present, course.ventilated, coefficients, episode=1)
    _, chance = draws(seed, stays.index, Modality.RECORDS, 2, normals=0, uniforms=26, parts=stays.number)
    calendar = records.make_calendar(seed, patients, stays, outcome)
    return Block(
        patients=patients,
        stays=stays,
        present=present,
        coded=conditions.coded_conditions(present, chance[:, :25]),
        version=np.where(chance[:, 25] < 0.55, 9, 10),
        outcomes=outcome,
        course=course,
        now=now,
        earlier=earlier,
        circulation=blood,
        calendar=calendar,
        units=records.make_units(seed, stays, outcome, calendar, scale),
    )


def unit_rounds(seed: int, block: Block) -> tuple[Rounds, Course, np.ndarray]:
    """Rounds of every unit that is not silent, the targets of each, and the rows of ``block.units`` they belong to."""
    rows = np.flatnonzero(~block.units.silent)
    parent = block.units.parent[rows]
    course = Course(*(getattr(block.course, field.name)[parent] for field in fields(Course)))
    intime = block.units.intime[rows]
    death = np.where(block.calendar.death[parent] >= 0, (block.calendar.death[parent] - intime) / HOUR, np.inf)
    end = np.minimum((block.units.outtime[rows] - intime) / HOUR, death)
    rounds = charting.make_rounds(seed, block.stays.index[parent], block.units.number[rows], intime, end, death, course)
    return rounds, course, rows


def event_tables(
    seed: int,
    block: Block,
    rounds: Rounds,
    course: Course,
    rows: np.ndarray,
    values: Values,
    rate: float,
    ledger: Ledger,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """icu/chartevents and hosp/labevents of a block (without ``labevent_id``), by subject, stay and time."""
    parent = block.units.parent[rows]
    index, number = block.stays.index[parent], block.units.number[rows]
    present = block.present[parent]
    chart = charting.chart(rounds, course, values, block.stays.height[parent], block.stays.weight[parent], present)
    lab = charting.sample_laboratory(rounds, course, values, present)
    ids = _Ids(block, rows)
    if rate > 0.0:
        length = block.units.outtime[rows] - block.units.intime[rows]
        chart, planted = corrupt_events(seed, 2, rate, chart, values, index, number, length)
        _enter(ledger, "chartevents", chart, planted, ids, values, CHART_ITEMS)
        lab, planted = corrupt_events(seed, 3, rate, lab, values, index, number, length)
        _enter(ledger, "labevents", lab, planted, ids, values, LAB_ITEMS)
    frames = ids.frame(chart.sorted(), CHART_ITEMS, values), ids.frame(lab.sorted(), LAB_ITEMS, values)
    shift = (frames[0]["seconds"].to_numpy() + ids.intime[frames[0]["unit"].to_numpy()]) // (12 * HOUR)
    caregiver = 10_000 + (frames[0]["stay_id"].to_numpy() * 48271 + shift * 69621) % 89_999
    charted = frames[0].with_columns(pl.Series("caregiver_id", caregiver), pl.lit(0).alias("warning"))
    return charted.select(tables.CHARTEVENTS), _laboratory(frames[1], rate, ledger)


def _laboratory(frame: pl.DataFrame, rate: float, ledger: Ledger) -> pl.DataFrame:
    """Laboratory rows: a specimen number, no admission on some specimens, and the columns that stay empty."""
    specimen = (frame["stay_id"].to_numpy() * 1_000_003 + frame["specimen"].to_numpy() * 7919) % 99_999_989
    lost = (specimen % 1000) < 80.0 * rate / DEFAULT_RATE
    ledger.add(
        table=["labevents"] * int(lost.sum()),
        kind=["admission not named"] * int(lost.sum()),
        subject_id=frame["subject_id"].filter(lost),
        hadm_id=frame["hadm_id"].filter(lost),
        stay_id=frame["stay_id"].filter(lost),
        itemid=frame["itemid"].filter(lost),
        charttime=frame["charttime"].filter(lost),
    )
    empty = ("order_provider_id", "ref_range_lower", "ref_range_upper", "flag", "priority", "comments")
    return frame.with_columns(
        pl.Series("specimen_id", specimen),
        pl.when(pl.Series(lost)).then(None).otherwise(pl.col("hadm_id")).alias("hadm_id"),
        *(pl.lit(None, dtype=pl.String).alias(name) for name in empty),
    ).select(tables.LABEVENTS[1:])


class _Ids:
    """Turns rows of units into the ids and times of the tables."""

    def __init__(self, block: Block, rows: np.ndarray) -> None:
        parent = block.units.parent[rows]
        self.subject = block.calendar.subject_id[block.stays.patient[parent]]
        self.hadm = block.calendar.hadm_id[parent]
        self.stay = block.units.stay_id[rows]
        self.intime = block.units.intime[rows]
        # units are numbered by cohort; the tables are ordered by subject, then time
        self.order = np.empty(len(rows), dtype=np.int64)
        self.order[np.lexsort((self.intime, self.subject))] = np.arange(len(rows))

    def frame(self, events: Events, items: tuple[Item, ...], values: Values) -> pl.DataFrame:
        events = events.take(np.argsort(self.order[events.stay], kind="stable"))
        time = events.seconds + self.intime[events.stay]
        text = pl.Series(values.texts, dtype=pl.String)
        number = pl.Series(values.numbers, dtype=pl.Float64)
        number = pl.select(pl.when(number.is_not_nan()).then(number)).to_series()
        itemid = np.array([item.itemid for item in items])
        unit = pl.Series([item.unit or None for item in items], dtype=pl.String)
        place = pl.Series(events.item.astype(np.uint32))
        code = pl.Series(events.code.astype(np.uint32))
        return pl.DataFrame(
            {
                "subject_id": self.subject[events.stay],
                "hadm_id": self.hadm[events.stay],
                "stay_id": self.stay[events.stay],
                "charttime": tables.moments(time),
                "storetime": tables.moments(time + events.delay),
                "itemid": itemid[events.item],
                "value": text.gather(code),
                "valuenum": number.gather(code),
                "valueuom": unit.gather(place),
                "seconds": events.seconds,
                "unit": events.stay,
                "specimen": events.specimen,
            }
        )


def _enter(
    ledger: Ledger, table: str, events: Events, planted: Planted, ids: _Ids, values: Values, items: tuple[Item, ...]
) -> None:
    stay = events.stay[planted.row]
    ledger.add(
        table=[table] * len(planted.row),
        kind=planted.kind,
        subject_id=ids.subject[stay],
        hadm_id=ids.hadm[stay],
        stay_id=ids.stay[stay],
        itemid=np.array([item.itemid for item in items])[events.item[planted.row]],
        charttime=tables.moments(events.seconds[planted.row] + ids.intime[stay]),
        clean=pl.Series(planted.clean, dtype=pl.String),
        written=pl.Series(planted.written, dtype=pl.String),
    )


def diagnoses(seed: int, block: Block, rate: float, ledger: Ledger) -> pl.DataFrame:
    """hosp/diagnoses_icd of all admissions with intensive care."""
    lists, subject = [], block.calendar.subject_id[block.stays.patient]
    for row in range(len(block.stays)):
        number = int(block.stays.number[row])
        version = int(block.version[row])
        generator = stream(seed, int(block.stays.index[row]), Modality.RECORDS, 4, number)
        codes = conditions.diagnosis_codes(block.coded[row], version, bool(block.now.pacemaker[row]), generator)
        if rate > 0.0:
            codes, planted = corrupt_codes(
                codes, version, rate, stream(seed, int(block.stays.index[row]), Modality.DIRT, 4, number)
            )
            for kind, clean, written in planted:
                ledger.add(
                    table=["diagnoses_icd"], kind=[kind], subject_id=[int(subject[row])],
                    hadm_id=[int(block.calendar.hadm_id[row])],
                    clean=[clean], written=[written],
                )  # fmt: skip
        lists.append(codes)
    return records.diagnoses_table(subject, block.calendar.hadm_id, lists, block.version)


def structural_dirt(block: Block, ledger: Ledger) -> None:
    """Enter transfers, second stays and stays without events into the ledger."""
    units = block.units
    for kind, rows in (
        ("transfer between units", np.flatnonzero(units.transferred)),
        ("second stay of an admission", np.flatnonzero(units.number >= patient.MAX_ADMISSIONS)),
        ("stay without events", np.flatnonzero(units.silent)),
    ):
        ledger.add(
            table=["icustays"] * len(rows),
            kind=[kind] * len(rows),
            subject_id=block.calendar.subject_id[block.stays.patient[units.parent[rows]]],
            hadm_id=block.calendar.hadm_id[units.parent[rows]],
            stay_id=units.stay_id[rows],
        )
