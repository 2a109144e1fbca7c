"""Small ECG stores written by hand in the format of `cardiozoo prepare`, with every fault that a record may have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cardiozoo.data.ecg import LEADS, MISSING
from cardiozoo.data.store import FORMAT, VERSION
from cardiozoo.data.store_builder import StoreBuilder

#: row -> what is wrong with it, whatever the size of the store
SHORT, GAPS, NO_V1, CONSTANT_II, EDGE_GAP = 0, 1, 2, 3, 4
VALID = 0.7  # of the samples, in the short record


def signals(records: int, samples: int, rate: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int16 (N, 12, S) of spikes, drift and mains; gain float32 (N, 12); states uint8 (N, 12); with faults."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / rate
    beat = np.exp(-0.5 * (((time[None] + rng.uniform(0, 1, (records, 1))) % 0.8 - 0.4) / 0.02) ** 2)
    size = rng.uniform(0.3, 1.5, (records, 12, 1)) * rng.choice([-1, 1], (records, 12, 1))
    drift = 0.4 * np.sin(2 * np.pi * 0.2 * time + rng.uniform(0, 6, (records, 12, 1)))
    mains = 0.05 * np.sin(2 * np.pi * 50 * time + rng.uniform(0, 6, (records, 12, 1)))
    millivolt = size * beat[:, None] + drift + mains + rng.normal(0, 0.02, (records, 12, samples))
    gain = np.full((records, 12), 200.0, dtype=np.float32)
    gain[records // 2 :] = 1000.0
    digital = np.rint(millivolt * gain[:, :, None]).astype(np.int16)
    states = np.zeros((records, 12), dtype=np.uint8)
    digital[SHORT, :, int(VALID * samples) :] = MISSING
    digital[GAPS, 1, samples // 4 : samples // 2] = MISSING
    digital[NO_V1, 6], states[NO_V1, 6] = MISSING, 2
    digital[CONSTANT_II, 1] = 77
    digital[EDGE_GAP, 4, :9] = digital[EDGE_GAP, 4, -5:] = MISSING
    return digital, gain, states


def table(records: int, samples: int, rate: float, seed: int = 0) -> pl.DataFrame:
    """records.parquet without targets: every third patient has two records."""
    rng = np.random.default_rng(seed)
    patient = np.sort(np.concatenate([np.arange(records), np.arange(0, records, 3)])[: records + records // 3])[
        :records
    ]
    split = np.array(["train"] * 7 + ["val"] * 1 + ["test"] * 2)[patient % 10]
    lengths = np.full(records, samples, dtype=np.int32)
    lengths[SHORT] = int(VALID * samples)
    return pl.DataFrame(
        {
            "row": np.arange(records, dtype=np.int32),
            "id": [f"r{row:04d}" for row in range(records)],
            "patient": [f"p{number:04d}" for number in patient],
            "split": split,
            "fold": (1 + patient % 10).astype(np.int8),
            "age": pl.Series(rng.uniform(20, 90, records), dtype=pl.Float32),
            "sex": [None if row == 5 else "FM"[row % 2] for row in range(records)],
            "raw_rate": np.full(records, rate, dtype=np.float32),
            "samples": lengths,
        }
    )


def write_store(
    out: Path, name: str, records: pl.DataFrame, rate: float, samples: int, extra: dict[str, pl.DataFrame] | None = None
) -> Path:
    """A complete store of `records` with the signals of `signals`."""
    digital, gain, states = signals(records.height, samples, rate)
    with StoreBuilder(out, name, {"by": "hand"}) as builder:
        for file, array in (("signals", digital), ("gain", gain), ("states", states)):
            np.save(builder.store / f"{file}.npy", array)
        for file, content in {"records": records, **(extra or {})}.items():
            content.write_parquet(builder.store / f"{file}.parquet")
        manifest: dict[str, Any] = {"format": FORMAT, "version": VERSION, "name": name, "synthetic": False}
        manifest |= {"options": {}, "flow": [], "counts": {"records": records.height}}
        builder.finish(manifest | {"ecg": {"rate": rate, "samples": samples, "leads": list(LEADS)}})
    return out


def cohort_store(out: Path, records: int = 60, rate: float = 500.0, samples: int = 1000) -> Path:
    """A labelled cohort: mPAP, PAWP (some missing, some in mPCWP), a text, a label."""
    rng = np.random.default_rng(1)
    mpap = rng.uniform(10, 50, records)
    pawp = rng.uniform(5, 25, records)
    content = table(records, samples, rate).with_columns(
        pl.Series("target/mPAP", mpap).scatter(7, None),
        pl.Series("target/PAWP", pawp).scatter([8, 9, 10], None),
        pl.Series("target/mPCWP", np.full(records, 30.0)).scatter(list(range(10, records)), None),
        pl.Series("target/cause", [("left", "lung", "none")[row % 3] for row in range(records)]),
        pl.Series("target/died", (rng.uniform(size=records) < 0.3).astype(np.float64)),
    )
    return write_store(out, "ecg_cohort", content, rate, samples)


def mimic_store(out: Path, records: int = 40, rate: float = 500.0, samples: int = 1000) -> Path:
    """Records without labels but for two machine measurements."""
    rng = np.random.default_rng(2)
    content = table(records, samples, rate).with_columns(
        pl.Series("target/rr_interval", rng.uniform(400, 1200, records)).scatter([3], None),
        pl.Series("target/qrs_axis", rng.uniform(-90, 180, records)),
    )
    return write_store(out, "mimic_iv_ecg", content, rate, samples)


STATEMENTS = {
    # code: diagnostic, form, rhythm, superclass, subclass
    "NORM": (True, False, False, "NORM", "NORM"),
    "IMI": (True, False, False, "MI", "IMI"),
    "AMI": (True, False, False, "MI", "AMI"),
    "NDT": (True, True, False, "STTC", "STTC"),
    "ABQRS": (False, True, False, None, None),
    "SR": (False, False, True, None, None),
    "AFLT": (False, False, True, None, None),
}


def ptb_store(out: Path, records: int = 40, rate: float = 100.0, samples: int = 250) -> Path:
    """PTB-XL in small: seven statements, some records without a diagnosis."""
    rng = np.random.default_rng(3)
    content = table(records, samples, rate)
    for code, facts in STATEMENTS.items():
        stated = rng.uniform(size=records) < 0.4
        likelihood = rng.choice([0.0, 15.0, 80.0, 100.0], records) if facts[0] else np.zeros(records)
        values = [float(v) if s else None for v, s in zip(likelihood, stated, strict=True)]
        content = content.with_columns(pl.Series(f"scp/{code}", values, dtype=pl.Float32))
    rows = [(code, code.lower(), *facts) for code, facts in STATEMENTS.items()]
    columns = ["code", "description", "diagnostic", "form", "rhythm", "superclass", "subclass"]
    statements = pl.DataFrame(rows, schema=columns, orient="row")
    return write_store(out, "ptb_xl", content, rate, samples, {"scp_statements": statements})
