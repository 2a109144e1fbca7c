"""Raw event tables of MIMIC-IV to a store: cardiozoo beside pandas on the same synthetic cohort.

Three sides, each in a process of its own, the same two tables (chartevents and labevents, gzip-compressed) read by all:

  prepare       the whole of `cardiozoo prepare mimic_cxr_ehr` without radiographs: cohort, phenotypes, events, splits,
                counts, and the checksums of all sources and of the store
  events        its step that writes the events, for stays that are known
  pandas        the same step in pandas (benchmarks/pandas_events.py), for stays that are known

The cohort is written once by cardiozoo's own simulator (28,000 patients: 21.2 million charted events) and kept. The
events that the sides write are compared, every count and every value.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

ARRAYS = ("offsets", "seconds", "variable", "value")


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--patients", type=int, default=28_000, help="size of the synthetic cohort (%(default)s)")
    parser.add_argument("--repeats", type=int, default=1, help="passes of each side, interleaved (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads cardiozoo may use (%(default)s)")
    parser.add_argument("--memory-gb", type=float, default=6.0, help="memory given to cardiozoo (%(default)s)")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps(run_side(**options.task)))
        return 0
    patients = 60 if options.quick else options.patients
    settings = {"threads": options.threads, "memory_gb": options.memory_gb}
    machine = harness.machine()
    raw = cohort(options.cache, patients)
    rows = json.loads((raw / "truth" / "manifest.json").read_text())["rows"]
    sides, checks = measure(raw, settings, 1 if options.quick else options.repeats)
    result = {
        "benchmark": "prepare",
        "machine": machine,
        "versions": harness.versions("duckdb", "polars", "numpy", "pandas"),
        "patients": patients,
        "rows": rows,
        "compressed_bytes": sum(path.stat().st_size for path in raw.glob("mimic-iv/*/*events.csv.gz")),
        **settings,
        "sides": sides,
        "ratio": {
            side: sides["pandas"]["seconds"]["median"] / sides[side]["seconds"]["median"]
            for side in ("events", "prepare")
        },
    }
    show(result)
    return harness.finish(options.json, result, checks)


def cohort(cache: Path, patients: int) -> Path:
    """The raw tables of a synthetic cohort without radiographs, written on the first call."""
    folder = cache / f"cohort-{patients}-seed-0-cardiozoo-{harness.versions()['cardiozoo']}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        harness.in_own_process(__file__, {"side": "synthesize", "raw": str(folder), "patients": patients})
    return folder


def run_side(side: str, raw: str, **settings: Any) -> dict[str, Any]:
    """One side in this process: seconds, peak memory and what it leaves behind."""
    if side == "synthesize":
        from cardiozoo.data.synthetic.mimic_cxr_ehr import synthesize

        return {"folder": str(synthesize(Path(raw), patients=settings["patients"], images=False))}
    tables, out = Path(raw) / "mimic-iv", Path(settings["out"])
    if side == "stays":
        from cardiozoo.data.readers.mimic_iv import open_release, read_stays

        read_stays(open_release(tables)).table.write_parquet(out)
        return {}
    run = {"prepare": run_prepare, "events": run_events, "pandas": run_pandas}[side]
    return {**run(tables, out, settings), "peak_gb": harness.peak_gigabytes()}


def run_prepare(tables: Path, out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    from cardiozoo.data.prepare.mimic_cxr_ehr import prepare

    begin = time.perf_counter()
    prepare(tables, out, workers=settings["threads"], memory_gb=settings["memory_gb"], quiet=True)
    return {"seconds": time.perf_counter() - begin}


def run_events(tables: Path, out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    import polars as pl

    from cardiozoo.data.readers.mimic_iv import open_release, write_events

    stays = pl.read_parquet(settings["stays"])
    begin = time.perf_counter()
    write_events(open_release(tables), stays, folder=out, threads=settings["threads"], memory_gb=settings["memory_gb"])
    return {"seconds": time.perf_counter() - begin}


def run_pandas(tables: Path, out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    import pandas as pd
    from pandas_events import write_events

    stays = pd.read_parquet(settings["stays"], columns=["subject_id", "stay_id", "intime", "outtime"])
    begin = time.perf_counter()
    write_events(tables, stays, out)
    return {"seconds": time.perf_counter() - begin}


def measure(raw: Path, settings: dict[str, Any], repeats: int) -> tuple[dict[str, Any], dict[str, bool]]:
    """Every side `repeats` times in turn, and whether all of them gave the same events."""
    rows = sum(json.loads((raw / "truth" / "manifest.json").read_text())["rows"].values())
    for path in raw.glob("mimic-iv/*/*events.csv.gz"):  # fills the page cache for all
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass
    passes: dict[str, list[dict[str, Any]]] = {"prepare": [], "events": [], "pandas": []}
    with tempfile.TemporaryDirectory(dir=raw.parent) as temporary:
        folder = Path(temporary)
        stays = folder / "stays.parquet"
        harness.in_own_process(__file__, {"side": "stays", "raw": str(raw), "out": str(stays)})
        for _ in range(repeats):
            for side, done in passes.items():
                shutil.rmtree(folder / side, ignore_errors=True)
                task = {"side": side, "raw": str(raw), "out": str(folder / side), "stays": str(stays), **settings}
                done.append(harness.in_own_process(__file__, task))
        checks = compare_events(folder)
    sides = {}
    for side, done in passes.items():
        seconds = harness.spread([one["seconds"] for one in done])
        peak = max(one["peak_gb"] for one in done)
        sides[side] = {"seconds": seconds, "rows_per_second": rows / seconds["median"], "peak_gb": peak}
    return sides, checks


def compare_events(folder: Path) -> dict[str, bool]:
    """Whether all sides have written the same events for the same stays."""
    import numpy as np

    ours, theirs, store = (
        {name: np.load(folder / path / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
        for path in ("events", "pandas", "prepare/events")
    )
    counts = len(ours["value"]) > 0 and all(np.array_equal(ours[name], theirs[name]) for name in ARRAYS[:3])
    return {
        "events and pandas agree on the number, time and variable of every stay's events": counts,
        "events and pandas agree on every value": counts and np.array_equal(ours["value"], theirs["value"]),
        # prepare takes stays without events out; the events themselves stay as they are
        "prepare stores the events of that step": all(np.array_equal(ours[n], store[n]) for n in ARRAYS[1:]),
    }


def show(result: dict[str, Any]) -> None:
    names = {
        "prepare": "cardiozoo prepare, everything",
        "events": "cardiozoo, events only",
        "pandas": "pandas, events only",
    }
    rows = []
    for side, name in names.items():
        facts = result["sides"][side]
        ratio = "1 (baseline)" if side == "pandas" else f"{result['ratio'][side]:.2f}"
        seconds, speed = f"{facts['seconds']['median']:.1f}", f"{facts['rows_per_second']:,.0f}"
        rows.append([name, seconds, speed, ratio, f"{facts['peak_gb']:.2f}"])
    harness.report(
        f"{result['rows']['chartevents']:,} charted and {result['rows']['labevents']:,} laboratory rows",
        ["side", "seconds", "rows per second", "times pandas' speed", "peak memory (GB)"],
        rows,
        [
            f"cardiozoo with {result['threads']} threads; pandas computes on one.",
            "pandas holds all cleaned events in memory, counts nothing and checks no file.",
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
