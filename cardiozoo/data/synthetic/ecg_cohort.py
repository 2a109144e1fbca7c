"""``cardiozoo synthesize ecg_cohort``: people of a catheter clinic, their electrocardiograms and their pressures."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from cardiozoo.data.ecg import LEADS
from cardiozoo.data.synthetic import ecg_files
from cardiozoo.data.synthetic.ecg_blocks import in_blocks
from cardiozoo.data.synthetic.ecg_catheter import measured_pressures, referred
from cardiozoo.data.synthetic.ecg_ceiling import truth_ceiling
from cardiozoo.data.synthetic.ecg_heart import CATHETER_CLINIC, PLANTS, Plant, draw_hearts
from cardiozoo.data.synthetic.ecg_landmarks import beat_table, landmarks
from cardiozoo.data.synthetic.ecg_person import draw_people
from cardiozoo.data.synthetic.ecg_recordings import GAIN, RATE, record
from cardiozoo.data.synthetic.ecg_truth import intervals, person_rows, recording_rows, without_nan
from cardiozoo.data.synthetic.output import check_choice, check_output, check_range, complete_folder, write_json
from cardiozoo.data.synthetic.streams import ID_RANGE, IdKind, Modality, identify, stream
from cardiozoo.errors import OptionError

SIMULATOR = "ecg_cohort"
SIMULATOR_VERSION = 4
MOST = 8
"""Numbers reserved for the recordings of one person."""
MAX_PATIENTS = ID_RANGE // MOST
REPEATED = 14
"""Purpose of the stream that decides who was recorded twice."""
FEWEST_CEILING, MOST_CEILING = 500, 100_000

Format = Literal["wfdb", "npy", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
_KILOBYTES = {"wfdb": 125, "npy": 245, "csv": 420}


def synthesize(
    out: Path,
    patients: int = 1000,
    seed: int = 0,
    plant: Plant = "full",
    format: Format = "wfdb",
    faults: float = 1.0,
    ceiling: int = 0,
    workers: int = 1,
    overwrite: bool = False,
) -> Path:
    """Write a labelled cohort: cohort.csv with pressures from catheterisation, one file a recording, and the truth.

    Nothing in it comes from a real person. Some 78 % have pulmonary hypertension (mPAP > 20 mmHg), in 38 % of them with
    a raised wedge pressure (> 15 mmHg). In truth/patients.parquet mPAP = PAWP + PVR * CO holds exactly; the labels are
    readings of it with an error of 1.5 mmHg.

    Args:
        out: Folder to write. It must not exist or be empty.
        patients: Number of virtual patients; one in eight has a second recording.
        seed: The same seed gives the same bytes, and a larger cohort begins with the patients of a smaller one.
        plant: Where pressure shows: full (as in people), right_atrium (P wave only, so six limb leads see what twelve
            see), chest (forward force of the right ventricle only, which no limb lead sees).
        format: wfdb (one .hea and .dat a recording), npy (mV, 12 x samples) or csv (mV, a column a lead).
        faults: Factor on the rates of lead faults, 0 (none) to 10.
        ceiling: Further people, 500 to 100,000, on whom to measure what can be reached at most, written to the truth
            manifest; 0 leaves it out. 20,000 take half a minute.
        workers: Processes that draw and write, 1 to 64; their number changes no byte.
        overwrite: Whether to replace a folder that an earlier call wrote.

    Returns:
        The folder.

    Raises:
        OptionError: An option is out of its range, or ``out`` holds something already.
        StoreError: The folder cannot be written to, or the disk is full.
    """
    out = Path(out)
    _check(out, patients, seed, plant, format, faults, ceiling, workers, overwrite)
    options = {"patients": patients, "seed": seed, "plant": plant, "format": format, "faults": faults}
    marker = {
        "synthetic": True,
        "simulator": SIMULATOR,
        "simulator_version": SIMULATOR_VERSION,
        "seed": seed,
        "patients": patients,
        "preset": CATHETER_CLINIC.name,
        "plant": plant,
        "format": format,
        "rate": RATE,
        "units": "mV",
        "leads": list(LEADS),
    }
    with complete_folder(out, marker, _KILOBYTES[format] * patients / 1000) as root:
        blocks = in_blocks(
            write_block, lambda index: Job(root, seed, index, plant, format, faults), patients, workers, "synthetic ECG"
        )
        _tables(root, blocks, {**marker, "options": options | {"ceiling": ceiling}})
    return out


def _check(
    out: Path,
    patients: int,
    seed: int,
    plant: str,
    format: str,
    faults: float,
    ceiling: int,
    workers: int,
    overwrite: bool,
) -> None:
    """Raise OptionError before any work begins."""
    check_range("patients", patients, 1, MAX_PATIENTS)
    check_range("seed", seed, 0, 2**32 - 1)
    check_range("faults", faults, 0.0, 10.0)
    check_range("workers", workers, 1, 64)
    check_choice("plant", plant, PLANTS)
    check_choice("format", format, FORMATS)
    if ceiling:
        check_range("ceiling", ceiling, FEWEST_CEILING, MOST_CEILING)
        if patients + ceiling > MAX_PATIENTS:
            raise OptionError(
                f"ceiling is {ceiling} beside {patients} patients.",
                f"Together they may be {MAX_PATIENTS:,} people.",
                "Give a smaller number to ceiling.",
            )
    check_output(out, overwrite, SIMULATOR)


@dataclass(frozen=True)
class Job:
    """What a worker is given: the people ``index`` (B,) of one block."""

    root: Path
    seed: int
    index: np.ndarray
    plant: Plant
    format: Format
    faults: float


@dataclass
class _Block:
    """What a worker gives back: rows of the tables."""

    cohort: pl.DataFrame
    people: pl.DataFrame
    records: pl.DataFrame
    beats: pl.DataFrame


def write_block(job: Job) -> _Block:
    """Draw the people of one block, write the files of their recordings, return the rows of the tables."""
    male, age = referred(job.seed, job.index)
    hearts = draw_hearts(job.seed, job.index, male, age, np.zeros(len(age)), CATHETER_CLINIC, job.plant)
    people = draw_people(job.seed, hearts, CATHETER_CLINIC)
    count = np.array([_count(job.seed, int(number)) for number in job.index])
    recordings = record(job.seed, hearts, people, count, mains=50.0, fault_scale=job.faults)
    marks = landmarks(recordings.shape)
    drawn = intervals(recordings, marks)
    visits = recordings.visits
    number = identify(job.seed, IdKind.ECG, visits.index * MOST + visits.number)
    names = np.array([f"SYN{who}" for who in identify(job.seed, IdKind.PATIENT, job.index)])
    patient = names[visits.person]
    ids = np.array([str(value) for value in number])
    paths = [_write(job, str(ids[row]), str(patient[row]), recordings.digital[row]) for row in range(len(visits))]
    label = measured_pressures(job.seed, hearts)
    rows = recording_rows(recordings, marks, drawn)
    person = visits.person
    cohort = {
        "path": paths,
        "patient": patient,
        "age": np.floor(age[person]),
        "sex": np.where(male[person], "M", "F"),
        **{name: values[person] for name, values in label.items()},
        "heart_rate": np.rint(np.asarray(rows["heart_rate"])),
        "rhythm": rows["rhythm"],
        "conduction": rows["conduction"],
    }
    latent = {"patient": names, **person_rows(hearts, people)}
    measured = {f"measured/{name}": values for name, values in label.items()}
    return _Block(
        cohort=without_nan(pl.DataFrame(cohort)),
        people=without_nan(pl.DataFrame(latent | measured)),
        records=without_nan(pl.DataFrame({"record": ids, "path": paths, "patient": patient, **rows})),
        beats=beat_table(recordings, marks, ids, "record"),
    )


def _count(seed: int, patient: int) -> int:
    return 1 + int(stream(seed, patient, Modality.ECG, REPEATED).random() < 0.125)


def _write(job: Job, name: str, patient: str, digital: np.ndarray) -> str:
    """Write one recording; its path relative to the cohort."""
    suffix = {"wfdb": "hea", "npy": "npy", "csv": "csv"}[job.format]
    relative = f"records/{name[-2:]}/{name}.{suffix}"
    path = job.root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    if job.format == "wfdb":
        comments = (f"patient: {patient}", "synthetic: no real person")
        ecg_files.write_wfdb(path.with_suffix(""), digital, LEADS, RATE, GAIN, comments=comments)
    elif job.format == "npy":
        ecg_files.write_npy(path, digital, GAIN)
    else:
        ecg_files.write_csv(path, digital, GAIN)
    return relative


def _tables(root: Path, blocks: list[_Block], marker: dict) -> None:
    """Write the tables, in the order of ids that tell nothing."""

    def whole(name: str, *keys: str) -> pl.DataFrame:
        return pl.concat([getattr(block, name) for block in blocks]).sort(*keys)

    options = marker["options"]
    seed, patients = options["seed"], options["patients"]
    cohort = whole("cohort", "path")
    whole_numbers = [pl.col(name).cast(pl.Int64) for name in ("age", "mPAP", "PAWP", "mPCWP", "heart_rate")]
    cohort.with_columns(whole_numbers).write_csv(root / "cohort.csv")
    truth = root / "truth"
    truth.mkdir()
    people, records, beats = whole("people", "patient"), whole("records", "record"), whole("beats", "record", "beat")
    people.write_parquet(truth / "patients.parquet")
    records.write_parquet(truth / "records.parquet")
    beats.write_parquet(truth / "beats.parquet")
    hypertension = people.filter(pl.col("measured/mPAP") > 20)
    manifest = {
        **marker,
        "versions": {name: version(name) for name in ("cardiozoo", "numpy", "polars", "scipy")},
        "records": len(records),
        "beats": len(beats),
        "gain": GAIN,
        "ph_share": round(len(hypertension) / len(people), 4),
        "capillary_share": _share(hypertension["measured/PAWP"] > 15),
        "rhythms": dict(sorted(records.group_by("rhythm").len().rows())),
        "conduction": dict(sorted(records.group_by("conduction").len().rows())),
        "faults": dict(sorted(records.drop_nulls("fault").group_by("fault").len().rows())),
    }
    if options["ceiling"]:
        manifest["truth_ceiling"] = truth_ceiling(seed, patients, options["ceiling"], options["plant"])
    write_json(truth / "manifest.json", manifest)


def _share(values: pl.Series) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None
