"""MIMIC-IV-ECG to a store: cardiozoo beside a plain loop over wfdb.rdrecord, on the same synthetic release.

Two sides, each in a process of its own and with the same number of worker processes:

  prepare       the whole of `cardiozoo prepare mimic_iv_ecg`: tables joined, every record read, its checksum compared,
                leads judged and put in order, samples hashed, one array written and synchronised with the disk, splits,
                tables, and the checksums of the store
  wfdb          for each record `wfdb.rdrecord` as integers, leads put in order by name, `np.save` of one file; nothing
                is checked, joined, hashed or synchronised with the disk

The release is written once by cardiozoo's own simulator and kept. Every sample that the sides write is compared. From
the records per second follow the hours, and from the size of a record the gigabytes, of all 800,035 records of
MIMIC-IV-ECG 1.0; files are read from the page cache, so a slow disk adds its own time to both sides.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

ALL_RECORDS = 800_035
LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--patients", type=int, default=800, help="of the synthetic release (%(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of processes (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="passes of each side, interleaved (%(default)s)")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps(run_side(**options.task)))
        return 0
    machine = harness.machine()
    raw = release(options.cache, 8 if options.quick else options.patients)
    cases, checks = measure(raw, options.workers, 1 if options.quick else options.repeats)
    records = len((raw / "record_list.csv").read_text().splitlines()) - 1
    result = {
        "benchmark": "prepare_ecg",
        "machine": machine,
        "versions": harness.versions("numpy", "wfdb", "polars"),
        "records": records,
        "cases": [extrapolated(case, records) for case in cases],
    }
    show(result)
    return harness.finish(options.json, result, checks)


def release(cache: Path, patients: int) -> Path:
    """A synthetic release without broken files, written on the first call."""
    folder = cache / f"mimic-iv-ecg-{patients}-seed-0-cardiozoo-{harness.versions()['cardiozoo']}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        task = {"side": "synthesize", "raw": str(folder), "out": "", "workers": 2, "patients": patients}
        harness.in_own_process(__file__, task)
    return folder


def run_side(side: str, raw: str, out: str, workers: int, patients: int = 0) -> dict[str, Any]:
    """One side in this process: seconds, peak memory and bytes written."""
    if side == "synthesize":
        from cardiozoo.data.synthetic.mimic_iv_ecg import synthesize

        synthesize(Path(raw), patients=patients, faults=0.0, workers=workers)
        return {}
    run = {"prepare": run_prepare, "wfdb": run_wfdb}[side]
    begin, used = time.perf_counter(), processor_seconds()
    run(Path(raw), Path(out), workers)
    seconds, used = time.perf_counter() - begin, processor_seconds() - used
    written = sum(path.stat().st_size for path in Path(out).rglob("*") if path.is_file())
    return {"seconds": seconds, "processor_seconds": used, "bytes": written, "peak_gb": harness.peak_gigabytes()}


def processor_seconds() -> float:
    """Time that processors have spent on this process and on those it has waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def run_prepare(raw: Path, out: Path, workers: int) -> None:
    from cardiozoo.data.prepare.mimic_iv_ecg import prepare

    prepare(raw, out, mimic_iv=raw / "mimic-iv", workers=workers, quiet=True)


def run_wfdb(raw: Path, out: Path, workers: int) -> None:
    from multiprocessing import get_context

    out.mkdir()
    tasks = [(str(raw / path), str(out / f"{name}.npy")) for name, path in listed(raw).items()]
    if workers == 1:
        for task in tasks:
            save_record(task)
        return
    with get_context("spawn").Pool(workers) as pool:
        pool.map(save_record, tasks, chunksize=64)


def save_record(task: tuple[str, str]) -> None:
    """The baseline's whole work for one record."""
    import numpy as np
    import wfdb

    path, target = task
    record = wfdb.rdrecord(path, physical=False)
    names = [name.upper() for name in record.sig_name]
    np.save(target, record.d_signal[:, [names.index(lead) for lead in LEADS]].T.astype(np.int16))


def listed(raw: Path) -> dict[str, str]:
    """study_id -> path, as record_list.csv has them."""
    import csv

    with (raw / "record_list.csv").open(newline="", encoding="utf-8") as file:
        return {row["study_id"]: row["path"] for row in csv.DictReader(file)}


def measure(raw: Path, workers: list[int], repeats: int) -> tuple[list[dict[str, Any]], dict[str, bool]]:
    """Every side with every number of workers `repeats` times in turn, and whether they wrote the same samples."""
    for path in raw.rglob("*.dat"):  # fills the page cache for all
        path.read_bytes()
    passes: dict[tuple[int, str], list[dict[str, Any]]] = {
        (n, side): [] for n in workers for side in ("prepare", "wfdb")
    }
    checks = {}
    with tempfile.TemporaryDirectory(dir=raw.parent) as temporary:
        for _ in range(repeats):
            for (number, side), done in passes.items():
                out = Path(temporary) / f"{side}-{number}"
                shutil.rmtree(out, ignore_errors=True)
                task = {"side": side, "raw": str(raw), "out": str(out), "workers": number}
                done.append(harness.in_own_process(__file__, task))
        for number in workers:
            same = same_samples(Path(temporary) / f"prepare-{number}", Path(temporary) / f"wfdb-{number}")
            checks[f"both sides agree on every sample of every record ({number} workers)"] = same
    cases = []
    for number in workers:
        sides = {side: passes[number, side] for side in ("prepare", "wfdb")}
        cases.append(
            {
                "workers": number,
                "seconds": {side: harness.spread([one["seconds"] for one in done]) for side, done in sides.items()},
                "processor_seconds": {
                    side: min(one["processor_seconds"] for one in done) for side, done in sides.items()
                },
                "peak_gb": {side: max(one["peak_gb"] for one in done) for side, done in sides.items()},
                "bytes": {side: done[0]["bytes"] for side, done in sides.items()},
            }
        )
    return cases, checks


def same_samples(store: Path, folder: Path) -> bool:
    """Whether the store holds the samples of every file that the baseline wrote."""
    import numpy as np
    import polars as pl

    signals = np.load(store / "signals.npy", mmap_mode="r")
    records = pl.read_parquet(store / "records.parquet", columns=["row", "id"])
    names = {path.stem for path in folder.glob("*.npy")}
    if set(records["id"]) != names or not names:
        return False
    return all(np.array_equal(signals[row], np.load(folder / f"{name}.npy")) for row, name in records.iter_rows())


def extrapolated(case: dict[str, Any], records: int) -> dict[str, Any]:
    """Records per second, and what they and the bytes a record come to for the whole of MIMIC-IV-ECG."""
    seconds = {side: case["seconds"][side]["median"] for side in ("prepare", "wfdb")}
    return {
        **case,
        "records_per_second": {side: records / value for side, value in seconds.items()},
        "all_records_hours": {side: ALL_RECORDS / records * value / 3600 for side, value in seconds.items()},
        "all_records_gb": {side: ALL_RECORDS / records * case["bytes"][side] / 1e9 for side in seconds},
        "processor_ms_a_record": {side: 1000 * case["processor_seconds"][side] / records for side in seconds},
        "ratio": seconds["wfdb"] / seconds["prepare"],
    }


def show(result: dict[str, Any]) -> None:
    rows = []
    for case in result["cases"]:
        for side, name in (("prepare", "cardiozoo"), ("wfdb", "wfdb loop")):
            rows.append(
                [
                    f"{name}, {case['workers']} worker" + ("s" if case["workers"] > 1 else ""),
                    f"{case['seconds'][side]['median']:.1f}",
                    f"{case['records_per_second'][side]:,.0f}",
                    "1 (baseline)" if side == "wfdb" else f"{case['ratio']:.2f}",
                    f"{case['processor_ms_a_record'][side]:.2f}",
                    f"{case['all_records_hours'][side]:.2f}",
                    f"{case['all_records_gb'][side]:.0f}",
                ]
            )
    harness.report(
        f"{result['records']:,} records of 12 leads, 10 s at 500 Hz",
        [
            "side",
            "seconds",
            "records/s",
            "times wfdb's speed",
            "CPU ms a record",
            "hours for 800,035",
            "GB for 800,035",
        ],
        rows,
        [
            "CPU time is that of all processes, in the pass that took least; other work changes it little.",
            "Both sides read from the page cache; the last two columns multiply by 800,035 / records.",
            "cardiozoo compares checksums, judges leads, hashes, synchronises with the disk and reads its store once "
            "more for the manifest; the baseline does none of it.",
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
