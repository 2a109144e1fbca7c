"""``cardiozoo synthesize mimic_iv_ecg``: electrocardiograms of virtual patients in the layout of MIMIC-IV-ECG 1.0."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from cardiozoo.data.synthetic import ecg_files, tables
from cardiozoo.data.synthetic.ecg_blocks import in_blocks
from cardiozoo.data.synthetic.ecg_heart import HOSPITAL, PLANTS, Plant, draw_hearts
from cardiozoo.data.synthetic.ecg_landmarks import beat_table, landmarks
from cardiozoo.data.synthetic.ecg_measurements import COLUMNS, STATEMENTS, measure, statements
from cardiozoo.data.synthetic.ecg_person import draw_people
from cardiozoo.data.synthetic.ecg_recordings import GAIN, RATE, Recordings, record
from cardiozoo.data.synthetic.ecg_truth import intervals, person_rows, recording_rows, without_nan
from cardiozoo.data.synthetic.output import MARKER, check_choice, check_output, check_range, complete_folder, write_json
from cardiozoo.data.synthetic.patient import Patients, draw_patients
from cardiozoo.data.synthetic.streams import ID_RANGE, IdKind, Modality, identify, stream

SIMULATOR = "mimic_iv_ecg"
SIMULATOR_VERSION = 4
MOST = 8
"""Recordings of one person at most; also the numbers that are reserved for each."""
CALENDAR, BAD_FILES = 10, 11
"""Purposes of the streams of this module."""
MAX_PATIENTS = ID_RANGE // MOST
_MEGABYTES = 0.31  # a patient

RECORD_LIST = ("subject_id", "study_id", "file_name", "ecg_time", "path")
MACHINE = (
    "subject_id", "study_id", "cart_id", "ecg_time", *(f"report_{number}" for number in range(STATEMENTS)),
    "bandwidth", "filtering", *COLUMNS,
)  # fmt: skip


def synthesize(
    out: Path,
    patients: int = 1000,
    seed: int = 0,
    plant: Plant = "full",
    faults: float = 1.0,
    workers: int = 1,
    overwrite: bool = False,
) -> Path:
    """Write synthetic electrocardiograms in the layout of MIMIC-IV-ECG 1.0, and the truth about them.

    Nothing in it comes from a real person. The folder appears under its name only when it is complete. Beside the
    release's own files it holds mimic-iv/hosp/patients.csv.gz (sex and age of the same people), truth/ and
    SYNTHETIC.json. With the same seed, ids, sex and age are those of `synthesize mimic_cxr_ehr`, but the circulation is
    drawn anew: the two cohorts agree in nothing else.

    Args:
        out: Folder to write. It must not exist or be empty.
        patients: Number of virtual patients; they have 1 to 8 recordings of 10 s, 2.3 on average.
        seed: The same seed gives the same bytes, and a larger cohort begins with the patients of a smaller one.
        plant: Where pressure shows: full (as in people), right_atrium (P wave only), chest (forward force of the right
            ventricle only, which no limb lead sees).
        faults: Factor on the rates of lead faults and of files that cannot be read, 0 (none) to 10.
        workers: Processes that draw and write, 1 to 64; their number changes no byte.
        overwrite: Whether to replace a folder that an earlier call wrote.

    Returns:
        The folder.

    Raises:
        OptionError: An option is out of its range, or ``out`` holds something already.
        StoreError: The folder cannot be written to, or the disk is full.
    """
    out = Path(out)
    check_range("patients", patients, 1, MAX_PATIENTS)
    check_range("seed", seed, 0, 2**32 - 1)
    check_range("faults", faults, 0.0, 10.0)
    check_range("workers", workers, 1, 64)
    check_choice("plant", plant, PLANTS)
    check_output(out, overwrite, SIMULATOR)
    options = {"patients": patients, "seed": seed, "plant": plant, "faults": faults}
    marker = {
        "synthetic": True,
        "simulator": SIMULATOR,
        "simulator_version": SIMULATOR_VERSION,
        "seed": seed,
        "patients": patients,
        "preset": HOSPITAL.name,
        "plant": plant,
    }
    with complete_folder(out, marker, _MEGABYTES * patients) as root:
        blocks = in_blocks(
            write_block, lambda index: Job(root, seed, index, plant, faults), patients, workers, "synthetic ECG"
        )
        _tables(root, blocks, {**marker, "options": options})
    return out


@dataclass(frozen=True)
class Job:
    """What a worker is given: the people ``index`` (B,) of one block."""

    root: Path
    seed: int
    index: np.ndarray
    plant: Plant
    faults: float


@dataclass
class _Block:
    """What a worker gives back: rows of the tables."""

    people: pl.DataFrame
    hospital: pl.DataFrame
    listed: pl.DataFrame
    machine: pl.DataFrame
    records: pl.DataFrame
    beats: pl.DataFrame


def write_block(job: Job) -> _Block:
    """Draw the people of one block, write the files of their recordings, return the rows of the tables."""
    persons = draw_patients(job.seed, job.index)
    hearts = draw_hearts(
        job.seed, job.index, persons.male, persons.age, persons.frailty, HOSPITAL, job.plant
    )  # fmt: skip
    people = draw_people(job.seed, hearts, HOSPITAL)
    calendars = [_calendar(job.seed, int(number)) for number in job.index]
    count = np.array([len(calendar) for calendar in calendars])
    recordings = record(job.seed, hearts, people, count, fault_scale=job.faults)
    marks = landmarks(recordings.shape)
    drawn = intervals(recordings, marks)
    visits = recordings.visits
    subject = identify(job.seed, IdKind.PATIENT, visits.index)
    study = identify(job.seed, IdKind.ECG, visits.index * MOST + visits.number)
    moments = np.concatenate(calendars).astype("datetime64[s]")
    broken = [_bad_file(job, recordings, row) for row in range(len(visits))]
    paths = [
        f"files/p{who // 10_000}/p{who}/s{what}/{what}"
        for who, what in zip(subject.tolist(), study.tolist(), strict=True)
    ]
    for row, path in enumerate(paths):
        _write(job.root / path, recordings.digital[row], int(subject[row]), moments[row], broken[row])
    times = tables.moments(moments.astype(np.int64))
    listed = pl.DataFrame(
        {"subject_id": subject, "study_id": study, "file_name": study, "ecg_time": times, "path": paths}
    )
    measured = measure(job.seed, recordings, drawn)
    said = [statements(recordings, marks, measured, row) for row in range(len(visits))]
    names = {"subject_id": subject, "study_id": study}
    bad_file = pl.Series([kind or None for kind in broken], dtype=pl.String)
    rows = recording_rows(recordings, marks, drawn) | {"bad_file": bad_file}
    return _Block(
        people=without_nan(
            pl.DataFrame({"subject_id": identify(job.seed, IdKind.PATIENT, job.index), **person_rows(hearts, people)})
        ),
        hospital=_hospital(job.seed, persons, calendars),
        listed=listed,
        machine=_machine(job.seed, visits.index, listed, said, measured),
        records=without_nan(pl.DataFrame({**names, **rows})),
        beats=beat_table(recordings, marks, study, "study_id"),
    )


def _calendar(seed: int, patient: int) -> np.ndarray:
    """Times (C,) in seconds since 1970 of the recordings of one person: often two in an hour, or years between them."""
    generator = stream(seed, patient, Modality.ECG, CALENDAR)
    count = int(min(generator.geometric(0.42), MOST))
    first = np.datetime64("2110-01-01", "s").astype(np.int64) + int(generator.integers(90 * 365 * 86_400))
    kind = generator.random(MOST)
    minutes, days, months = (generator.random(MOST) for _ in range(3))
    gaps = np.where(kind < 0.3, 240 + 7200 * minutes, np.where(kind < 0.65, 86_400 * (0.2 + 9 * days), 0))
    gaps = np.where(kind >= 0.65, 86_400 * (20 + 900 * months**2), gaps)
    return first + np.concatenate([[0], np.cumsum(gaps.astype(np.int64))])[:count]


def _bad_file(job: Job, recordings: Recordings, row: int) -> str:
    """Two in a thousand files stop in the middle, one in a thousand is not there."""
    visits = recordings.visits
    chance = stream(job.seed, int(visits.index[row]), Modality.ECG, BAD_FILES, int(visits.number[row])).random()
    if chance < 0.002 * job.faults:
        return "truncated file"
    return "missing file" if chance < 0.003 * job.faults else ""


def _write(path: Path, digital: np.ndarray, subject: int, moment: np.datetime64, broken: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    day, clock = str(moment).split("T")
    when = f"{clock} {'/'.join(reversed(day.split('-')))}"
    comments = (f"<subject_id>: {subject}", "synthetic: no real person")
    ecg_files.write_wfdb(path, digital, ecg_files.MIMIC_ORDER, RATE, GAIN, when, comments)
    samples = path.with_name(f"{path.name}.dat")
    if broken == "truncated file":
        samples.write_bytes(samples.read_bytes()[: digital.size // 3])
    elif broken == "missing file":
        samples.unlink()


def _machine(
    seed: int, index: np.ndarray, listed: pl.DataFrame, said: list[list[str]], measured: dict[str, np.ndarray]
) -> pl.DataFrame:
    """Rows of machine_measurements.csv; a carriage of recorders is that of a place, whoever is recorded."""
    study = listed["study_id"].to_numpy()
    cart = 6_000_000 + (study * 48_271) % 37 * 5_003 + seed % 1000
    reports = {
        f"report_{number}": [phrases[number] if number < len(phrases) else None for phrases in said]
        for number in range(STATEMENTS)
    }
    frame = listed.select("subject_id", "study_id", "ecg_time").with_columns(
        pl.Series("cart_id", cart),
        *(pl.Series(name, phrases, dtype=pl.String) for name, phrases in reports.items()),
        pl.lit("0.05-150 Hz").alias("bandwidth"),
        pl.lit("<not specified>").alias("filtering"),
        *(pl.Series(name, values) for name, values in measured.items()),
    )
    # some recordings have no row, as in the release
    kept = (study * 69_621) % 1_000 >= 13
    return frame.select(MACHINE).filter(pl.Series(kept))


def _hospital(seed: int, persons: Patients, calendars: list[np.ndarray]) -> pl.DataFrame:
    """Rows of hosp/patients: sex, and the age in the year of the first recording."""
    first = np.array([calendar[0] for calendar in calendars]).astype("datetime64[s]")
    years = 1970 + first.astype("datetime64[Y]").astype(np.int64)
    age = np.floor(persons.age).astype(np.int64)
    groups = ("2008 - 2010", "2011 - 2013", "2014 - 2016", "2017 - 2019")
    subject = identify(seed, IdKind.PATIENT, persons.index)
    return pl.DataFrame(
        {
            "subject_id": subject,
            "gender": np.where(persons.male, "M", "F"),
            "anchor_age": np.where(age > 89, 91, age),
            "anchor_year": years,
            "anchor_year_group": [groups[number] for number in (subject * 7919 % 4).tolist()],
            "dod": pl.Series([None] * len(subject), dtype=pl.String),
        }
    )


def _tables(root: Path, blocks: list[_Block], marker: dict) -> None:
    """Write the tables, in the order of ids that tell nothing."""

    def whole(name: str, *keys: str) -> pl.DataFrame:
        return pl.concat([getattr(block, name) for block in blocks]).sort(*keys)

    listed = whole("listed", "subject_id", "study_id")
    listed.select(RECORD_LIST).write_csv(root / "record_list.csv", datetime_format=tables.TIME_FORMAT)
    machine = whole("machine", "subject_id", "study_id")
    machine.write_csv(root / "machine_measurements.csv", datetime_format=tables.TIME_FORMAT)
    hospital = tables.TableWriter(root, "mimic-iv/hosp/patients")
    hospital.write(whole("hospital", "subject_id").select(tables.PATIENTS))
    hospital.close()
    write_json(root / "mimic-iv" / MARKER, marker)
    truth = root / "truth"
    truth.mkdir()
    people, records = whole("people", "subject_id"), whole("records", "subject_id", "study_id")
    people.write_parquet(truth / "patients.parquet")
    records.write_parquet(truth / "records.parquet")
    beats = whole("beats", "study_id", "beat")
    beats.write_parquet(truth / "beats.parquet")
    manifest = {
        **marker,
        "versions": {name: version(name) for name in ("cardiozoo", "numpy", "polars", "scipy")},
        "records": len(records),
        "beats": len(beats),
        "measurements": len(machine),
        "rate": RATE,
        "gain": GAIN,
        "rhythms": dict(sorted(records.group_by("rhythm").len().rows())),
        "conduction": dict(sorted(records.group_by("conduction").len().rows())),
        "faults": dict(sorted(records.drop_nulls("fault").group_by("fault").len().rows())),
        "bad_files": dict(sorted(records.drop_nulls("bad_file").group_by("bad_file").len().rows())),
    }
    write_json(truth / "manifest.json", manifest)
