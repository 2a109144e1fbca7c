"""ECG batches from the store, beside a dataset that reads one record at a time with wfdb and filters it with neurokit2.

Both give the same records in the same order with the same numbers (checked batch by batch): in millivolts, where both
only read, and with the published recipe, where both also filter and standardise (0.5 Hz high-pass, mains, z-score of
each lead). Every record has 12 leads of 5000 samples at 500 Hz, as int16 in WFDB format 16. Passes of both sides are
interleaved; each begins when the workers of the other side are idle, and with batches that are not counted, enough to
use up what its own workers had prepared. The page cache is warm. The samples are a random walk: the speed of neither
side depends on what they are.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
import numpy as np

RATE, SAMPLES, GAIN = 500, 5000, 200.0
PREFETCHED = 2  # batches a worker prepares ahead
LONGEST_PAUSE = 20.0  # seconds
RECIPES: dict[str, dict[str, Any]] = {
    "millivolt": {"highpass": None, "powerline": None, "standardise": "none"},
    "recipe": {"highpass": 0.5, "powerline": 50.0, "standardise": "lead"},
}


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--records", type=int, default=2048, help="records of the store (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="workers (%(default)s)")
    parser.add_argument("--recipe", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seconds", type=float, default=2.0, help="least length of a pass of a side (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="passes, interleaved (%(default)s)")
    options = parser.parse_args()
    if options.quick:
        options.records, options.batch_size, options.seconds, options.repeats = 24, 4, 0.05, 1
    import torch

    torch.set_num_threads(1)
    machine = harness.machine()
    checks: dict[str, bool] = {}
    cases = []
    with tempfile.TemporaryDirectory() as temporary:
        files = write_records(Path(temporary), options.records)
        for recipe in options.recipe:
            sides = Sides(files, recipe, options.batch_size)
            checks |= sides.compare(2 if options.quick else 8)
            for workers in options.workers[:1] if options.quick and recipe == "recipe" else options.workers:
                passes = sides.measure(workers, options.seconds, options.repeats)
                cases.append({"recipe": recipe, "workers": workers, **passes})
    result = {
        "benchmark": "ecg_loader",
        "machine": machine,
        "versions": harness.versions("torch", "numpy", "scipy", "wfdb", "neurokit2"),
        "records": options.records,
        "batch_size": options.batch_size,
        "cases": cases,
    }
    show(result)
    return harness.finish(options.json, result, checks)


def write_records(folder: Path, records: int) -> Path:
    """The same records twice: pairs of WFDB files in ``raw``, and a store in ``store``."""
    import polars as pl
    import wfdb

    from cardiozoo.data.ecg import LEADS
    from cardiozoo.data.store import FORMAT, VERSION
    from cardiozoo.data.store_builder import StoreBuilder

    raw, rng = folder / "raw", np.random.default_rng(0)
    raw.mkdir()
    ids = [f"r{number:06d}" for number in range(records)]
    with StoreBuilder(folder / "store", "mimic_iv_ecg", {"records": records}) as builder:
        signals = np.lib.format.open_memmap(
            builder.store / "signals.npy", "w+", np.int16, (records, len(LEADS), SAMPLES)
        )
        for number, name in enumerate(ids):
            walk = rng.normal(0, 6, (len(LEADS), SAMPLES)).cumsum(axis=-1).clip(-20_000, 20_000).astype(np.int16)
            signals[number] = walk
            wfdb.wrsamp(
                name, RATE, ["mV"] * len(LEADS), list(LEADS), d_signal=walk.T.astype(np.int64),
                fmt=["16"] * len(LEADS), adc_gain=[GAIN] * len(LEADS), baseline=[0] * len(LEADS), write_dir=str(raw),
            )  # fmt: skip
        signals.flush()
        np.save(builder.store / "gain.npy", np.full((records, len(LEADS)), GAIN, np.float32))
        np.save(builder.store / "states.npy", np.zeros((records, len(LEADS)), np.uint8))
        pl.DataFrame(
            {"row": range(records), "id": ids, "patient": ids, "split": ["train"] * records},
            schema_overrides={"row": pl.Int32},
        ).with_columns(
            age=pl.lit(None, pl.Float32), sex=pl.lit(None, pl.String), samples=pl.lit(SAMPLES, pl.Int32)
        ).write_parquet(builder.store / "records.parquet")
        manifest = {"format": FORMAT, "version": VERSION, "name": "mimic_iv_ecg", "synthetic": True, "options": {}}
        ecg = {"rate": RATE, "samples": SAMPLES, "leads": list(LEADS)}
        builder.finish({**manifest, "flow": [], "counts": {"records": records}, "ecg": ecg})
    return folder


class PlainDataset:
    """One record an item, read by `wfdb.rdrecord`; filtered lead by lead where the recipe says so."""

    def __init__(self, raw: Path, recipe: str) -> None:
        self.raw, self.recipe = raw, recipe

    def __getitem__(self, name: str) -> tuple[str, np.ndarray]:
        import wfdb

        millivolt = wfdb.rdrecord(str(self.raw / name)).p_signal.T
        if self.recipe == "recipe":
            from neurokit2 import ecg_clean

            clean = np.stack([ecg_clean(lead, sampling_rate=RATE, method="neurokit") for lead in millivolt])
            millivolt = (clean - clean.mean(axis=-1, keepdims=True)) / clean.std(axis=-1, ddof=1, keepdims=True)
        return name, millivolt.astype(np.float32)


class Sides:
    """Both ways to the batches of one recipe."""

    def __init__(self, folder: Path, recipe: str, batch_size: int) -> None:
        from cardiozoo.data.mimic_iv_ecg import MimicIvEcg

        self.recipe, self.batch_size = recipe, batch_size
        self.data = MimicIvEcg(str(folder / "store"), batch_size=batch_size, num_workers=0, **RECIPES[recipe])
        self.plain = PlainDataset(folder / "raw", recipe)
        self.names: list[str] = self.data.records["id"].to_list()

    def compare(self, batches: int) -> dict[str, bool]:
        """Whether the plain dataset gives the numbers of the store's batches."""
        same, seen = True, 0
        for batch in self.data.train_dataloader():
            other = np.stack([self.plain[name][1] for name in batch["id"]])
            got = batch["ecg"].numpy()
            if self.recipe == "millivolt":
                same = same and np.array_equal(got, other)
            else:  # two ways through float32 and float64 filters
                same = same and bool(np.abs(got - other).max() < 1e-3)
            seen += 1
            if seen == batches:
                break
        exact = "the same bits" if self.recipe == "millivolt" else "values within 0.001 sd"
        return {f"{self.recipe}: both give {exact} in batches of {self.batch_size}": same and seen > 0}

    def measure(self, workers: int, seconds: float, repeats: int) -> dict[str, Any]:
        """Records per second of both, passes interleaved, and how much faster the store is."""
        import torch

        self.data.num_workers = workers
        plain = torch.utils.data.DataLoader(
            self.plain,  # type: ignore[arg-type]
            self.batch_size,
            sampler=self.names,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        sides = {"store": _endless(self.data.train_dataloader()), "plain": _endless(plain)}
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        ahead, settle = (PREFETCHED + 1) * workers * self.batch_size, 0.0
        for number in range(repeats + 1):
            for name, stream in sides.items():
                time.sleep(settle)  # until the workers of the other side have prepared what they prepare ahead
                speed = _speed(stream, 1 + (PREFETCHED + 1) * workers, seconds) * self.batch_size
                settle = min(ahead / speed, LONGEST_PAUSE)
                if number:  # the first warms up
                    speeds[name].append(speed)
        found: dict[str, Any] = {name: harness.spread(values) for name, values in speeds.items()}
        return {"records_per_second": found, "ratio": found["store"]["median"] / found["plain"]["median"]}


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def _speed(stream: Iterator[Any], uncounted: int, seconds: float) -> float:
    """Batches per second over at least `seconds` and two batches."""
    for _ in range(uncounted):
        next(stream)
    batches, begin = 0, time.perf_counter()
    while batches < 2 or time.perf_counter() - begin < seconds:
        next(stream)
        batches += 1
    return batches / (time.perf_counter() - begin)


def show(result: dict[str, Any]) -> None:
    rows = []
    for case in result["cases"]:
        speeds = case["records_per_second"]
        told = [
            f"{speeds[n]['median']:,.0f} ({speeds[n]['least']:,.0f} - {speeds[n]['most']:,.0f})"
            for n in ("store", "plain")
        ]
        rows.append([f"{case['recipe']}, {case['workers']} workers", *told, f"{case['ratio']:.0f}"])
    harness.report(
        "Records per second: median (least - most)",
        ["", "store", "wfdb, a record at a time", "times as fast"],
        rows,
        [
            f"{result['records']:,} records of 12 leads and {SAMPLES} samples, batches of {result['batch_size']}.",
            "millivolt: read only. recipe: also high-pass, mains and z-score of each lead (plain: neurokit2).",
            "The page cache was warm. Workers are threads for the store, processes for wfdb (threads would wait).",
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
