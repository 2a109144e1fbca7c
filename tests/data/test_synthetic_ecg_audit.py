"""No shortcut: what is known of a file without reading the heart in it tells nothing of a label; and what does tell.

Each fact is compared between those with and without a label by its rank sum; the bound of 4.5 standard errors holds for
all comparisons together.
"""

import json

import numpy as np
import polars as pl
import pytest
import wfdb
from synthetic_ecg import clinic, folder, people, truth

from cardiozoo.data.synthetic import ecg_cohort
from cardiozoo.data.synthetic.ecg_catheter import measured_pressures, referred
from cardiozoo.data.synthetic.ecg_ceiling import truth_ceiling
from cardiozoo.data.synthetic.ecg_faults import draw_fault
from cardiozoo.data.synthetic.ecg_visit import draw_visits
from cardiozoo.data.synthetic.streams import IdKind, identify
from cardiozoo.data.synthetic.truth import auroc

LIMIT = 4.5


def deviation(target: np.ndarray, fact: np.ndarray) -> float:
    """Distance of an AUROC from .5 in its standard errors under the null."""
    ones, zeros = int(target.sum()), int((~target).sum())
    return float((auroc(target, fact.astype(float)) - 0.5) / np.sqrt((ones + zeros + 1) / (12.0 * ones * zeros)))


def labels(table: pl.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows that have a label, and the label, of both tasks."""
    hypertension = (table["mPAP"] > 20).to_numpy()
    return {
        "ph_detection": (np.ones(len(table), dtype=bool), hypertension),
        "capillary": (hypertension, (table["PAWP"] > 15).to_numpy()),
    }


def test_the_audit_finds_a_planted_shortcut():
    hearts, _ = people(2000)
    target = hearts.mpap > 20.0
    noise = np.random.default_rng(0).standard_normal(2000)
    assert abs(deviation(target, noise)) < LIMIT < abs(deviation(target, noise + 0.5 * target))


def test_files_tell_nothing():
    root = clinic()
    cohort = pl.read_csv(root / "cohort.csv").with_row_index("position")
    facts: dict[str, list[float]] = {}
    for path in cohort["path"]:
        file = (root / path).with_suffix("")
        read = wfdb.rdrecord(str(file), physical=False)
        signal = read.d_signal.astype(float)
        found = {
            "bytes": file.with_suffix(".dat").stat().st_size,
            "header bytes": file.with_suffix(".hea").stat().st_size,
            "name": int(file.name),
            "folder": int(file.parent.name),
            "checksum": read.checksum[0],
            "first value": read.init_value[6],
            "mean": signal[:, 1].mean(),
            "second differences": np.median(np.abs(np.diff(signal[:, 1], 2))),
            "zeros": (signal == 0).mean(),
        }
        for name, value in found.items():
            facts.setdefault(name, []).append(value)
    columns = {name: np.array(values) for name, values in facts.items()}
    columns["position"] = cohort["position"].to_numpy()
    columns["patient"] = cohort["patient"].str.slice(3).cast(pl.Int64).to_numpy()
    records = cohort.join(truth(root, "records"), on="path", maintain_order="left")
    columns |= {name: records[name].to_numpy() for name in records.columns if name.startswith("noise/")}
    for task, (rows, target) in labels(cohort).items():
        for name, values in columns.items():
            assert abs(deviation(target[rows], values[rows])) < LIMIT, f"{task}: {name}"


def test_ids_faults_and_repetition_tell_nothing_of_many():
    hearts, persons = people(4000)
    visits = draw_visits(2, hearts, persons, np.ones(4000, dtype=int))
    drawn = [draw_fault(2, visits, row, 5000, 1.0) for row in range(4000)]
    facts = {
        "patient": identify(2, IdKind.PATIENT, hearts.index),
        "file": identify(2, IdKind.ECG, hearts.index * ecg_cohort.MOST),
        "number": hearts.index,
        "recordings": np.array([ecg_cohort._count(2, number) for number in range(4000)]),
        "fault": np.array([bool(fault.kind) for fault in drawn]),
        "breathing": visits.breathing,
        "paced": visits.conduction == 5,
        "ectopy": visits.premature_ventricular,
    }
    table = pl.DataFrame(measured_pressures(2, hearts))
    for task, (rows, target) in labels(table).items():
        for name, values in facts.items():
            assert abs(deviation(target[rows], values[rows])) < LIMIT, f"{task}: {name}"
    assert 0.03 < facts["fault"].mean() < 0.08


def test_people_of_the_clinic_are_of_usual_age_and_sex():
    male, age = referred(0, np.arange(3000))
    assert 0.46 < male.mean() < 0.54
    assert 60.0 < age.mean() < 64.0 and age.min() >= 18.0 and age.max() <= 90.0


@pytest.mark.parametrize("plant", ["full", "right_atrium", "chest"])
def test_ceiling_says_where_the_signal_is(plant):
    found = truth_ceiling(1, 0, 3000, plant)["ph_detection"]
    assert 0.45 < found["age_sex"] < 0.62 and found["pressure"] > 0.97
    if plant == "full":
        assert found["latents"] > found["latents_limb"] + 0.01
        assert found["beat_all"] > found["beat_limb"] > 0.75
    elif plant == "right_atrium":
        assert abs(found["beat_all"] - found["beat_limb"]) < 0.03 and found["beat_limb"] > 0.70
        assert abs(found["latents"] - found["latents_limb"]) < 0.01
    else:
        assert found["beat_limb"] < 0.58 and found["beat_all"] > 0.68
        assert found["latents"] > found["latents_limb"] + 0.15


def test_the_ceiling_is_written_when_asked_for():
    root = ecg_cohort.synthesize(folder() / "ceiling", patients=5, ceiling=500)
    manifest = json.loads((root / "truth" / "manifest.json").read_text())
    assert manifest["truth_ceiling"]["people"] == 500 and manifest["truth_ceiling"]["first"] == 5
    assert manifest["truth_ceiling"]["capillary"]["latents"] > 0.7
    without = json.loads((clinic() / "truth" / "manifest.json").read_text())
    assert "truth_ceiling" not in without
