"""No shortcut: ids, order, clock, file sizes and the frame of an image tell nothing of a label.

Each fact is compared between those with and without a label by its rank sum; the bound of 4.5 standard errors holds
for all comparisons of a table together. Length of stay, number of events and the presence of films depend on severity
on purpose, and the bytes of a JPEG on the texture of the lungs, so they are not among the facts.
"""

from itertools import product

import numpy as np
import polars as pl
from synthetic_cohort import clean, read, small, truth

from cardiozoo.data.synthetic import block, films, plants, streams
from cardiozoo.data.synthetic.calibrated import load_coefficients
from cardiozoo.data.synthetic.truth import auroc

LABELS = [f"label/{plant.label}" for plant in plants.PLANTS]
LIMIT = 4.5


def deviations(facts: dict[str, np.ndarray], labels: np.ndarray) -> dict[tuple[str, int], float]:
    """Distance of each AUROC from .5 in its standard errors under the null."""
    found = {}
    for name, fact in facts.items():
        for label in range(labels.shape[1]):
            target = labels[:, label]
            ones, zeros = int(target.sum()), int((~target).sum())
            if min(ones, zeros) >= 20:
                error = np.sqrt((ones + zeros + 1) / (12.0 * ones * zeros))
                found[name, label] = (auroc(target, fact.astype(float)) - 0.5) / error
    return found


def test_the_audit_finds_a_planted_shortcut():
    labels = truth(clean()).select(LABELS).to_numpy()
    noise = np.random.default_rng(0).standard_normal(len(labels))
    leak = {"leak": noise + 0.8 * labels[:, plants.COPD]}
    assert abs(deviations(leak, labels)["leak", plants.COPD]) > LIMIT


def test_ids_order_and_clock_tell_nothing():
    root = clean()
    stays = truth(root)
    times = (
        read(root, "mimic-iv/icu/icustays").with_row_index("position").with_columns(pl.col("stay_id").cast(pl.Int64))
    )
    admissions = (
        read(root, "mimic-iv/hosp/admissions").with_row_index("place").with_columns(pl.col("hadm_id").cast(pl.Int64))
    )
    both = stays.join(times.select("stay_id", "position", "intime"), on="stay_id")
    both = both.join(admissions.select("hadm_id", "place", "admittime"), on="hadm_id")
    intime = both["intime"].str.to_datetime()
    facts = {
        name: both[name].to_numpy() for name in ("subject_id", "hadm_id", "stay_id", "patient", "position", "place")
    }
    facts |= {
        "year": intime.dt.year().to_numpy(),
        "day": intime.dt.ordinal_day().to_numpy(),
        "hour": intime.dt.hour().to_numpy(),
        "second": intime.dt.second().to_numpy(),
        "version": both["icd_version"].to_numpy(),
    }
    labels = both.select(*LABELS, "dies", "has_cxr").to_numpy().astype(bool)
    worst = max(deviations(facts, labels).items(), key=lambda item: abs(item[1]))
    assert abs(worst[1]) < LIMIT, worst


def test_number_of_filler_codes_tells_nothing():
    root = clean()
    codes = read(root, "mimic-iv/hosp/diagnoses_icd").with_columns(pl.col("hadm_id").cast(pl.Int64))
    filler = (
        codes.filter(pl.col("icd_code").is_in([*plants.FILLER_ICD9, *plants.FILLER_ICD10]))
        .group_by("hadm_id")
        .len("filler")
    )
    both = truth(root).join(filler, on="hadm_id", how="left")
    found = deviations({"filler": both["filler"].fill_null(0).to_numpy()}, both.select(LABELS).to_numpy())
    worst = max(found.items(), key=lambda item: abs(item[1]))
    assert abs(worst[1]) < LIMIT, worst


def test_frame_view_and_names_of_films_tell_nothing():
    part = block.draw_block(0, np.arange(6000), load_coefficients(), False, scale=0.0)
    plans = [films.schedule(0, part.stays, part.outcomes, row) for row in np.flatnonzero(part.outcomes.has_cxr)]
    last = [[film for film in plan if film.linked and film.view == "AP"][-1] for plan in plans]
    rows = np.array([film.stay for film in last])
    facts = {
        "aspect": np.array([film.aspect for film in last]),
        "study": np.array([film.study_id for film in last]),
        "name": np.array([int(film.dicom[:8], 16) for film in last]),
        "first noise": np.array([film.generator.standard_normal() for film in last]),
    }
    found = deviations(facts, part.present[rows])
    worst = max(found.items(), key=lambda item: abs(item[1]))
    assert len(rows) > 1000
    assert abs(worst[1]) < LIMIT, worst


def test_streams_do_not_overlap():
    keys = product((0, 1), range(4), streams.Modality, range(4), range(3))
    first = [float(streams.stream(*key).random()) for key in keys]
    assert len(first) == 768
    assert len(set(first)) == len(first)


def test_chart_rows_are_ordered_by_id_and_time_only():
    chart = read(small(), "mimic-iv/icu/chartevents")
    subject = chart["subject_id"].cast(pl.Int64)
    assert subject.is_sorted()
    steps = chart.group_by("stay_id").agg(backwards=(pl.col("charttime") < pl.col("charttime").shift(1)).any())
    assert not steps["backwards"].any()
