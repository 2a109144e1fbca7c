"""Batches per second from the store, beside a plain dataset that reads a text file a stay and bins it in Python.

Both give shuffled batches of the training split of one synthetic cohort, the same numbers in them (checked batch by
batch), without augmentation. Radiographs are read by the same code on both sides; with `--image-size 32` they hardly
count, and the ratio is that of the time series. Passes are interleaved; each begins with batches that are not counted,
enough to use up what workers had prepared while others were measured.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import harness

PREFETCHED = 2  # batches a worker prepares ahead


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--store", help="a prepared store; the synthetic demonstration cohort without it")
    parser.add_argument("--image-size", type=int, nargs="+", default=[224, 32], help="pixels (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="worker processes (%(default)s)")
    parser.add_argument("--batches", type=int, default=60, help="counted batches of a pass (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="passes, interleaved (%(default)s)")
    options = parser.parse_args()
    if options.quick:
        options.image_size, options.batches, options.repeats = [32], 3, 1
        os.environ["CARDIOZOO_DEMO_PATIENTS"] = "60"
    os.environ["CARDIOZOO_CACHE"] = str(options.cache)
    import torch

    torch.set_num_threads(1)
    machine = harness.machine()
    store = options.store or _demo_store()
    cases, checks = [], {}
    with tempfile.TemporaryDirectory() as temporary:
        for size in options.image_size:
            with_size = _Sides(store, size, options.batch_size, Path(temporary))
            checks |= with_size.compare(2 if options.quick else 20)
            for workers in options.workers:
                passes = with_size.measure(workers, options.batches, options.repeats)
                cases.append({"image_size": size, "workers": workers, **passes})
        facts = with_size.facts()
    result = {
        "benchmark": "loader",
        "machine": machine,
        "versions": harness.versions("torch", "numpy", "pillow"),
        "batch_size": options.batch_size,
        "batches_a_pass": options.batches,
        "cohort": facts,
        "cases": cases,
    }
    show(result)
    return harness.finish(options.json, result, checks)


def _demo_store() -> str:
    from cardiozoo.data.synthetic.demo import demo_store

    return str(demo_store())


class _Sides:
    """Both ways to the batches of one training split."""

    def __init__(self, store: str, image_size: int, batch_size: int, folder: Path) -> None:
        import torch
        from plain_dataset import PlainDataset, write_texts

        from cardiozoo.data.mimic_cxr_ehr import MimicCxrEhr
        from cardiozoo.data.mimic_cxr_ehr_dataset import StoredImages

        self.batch_size = batch_size
        self.data = MimicCxrEhr(
            store, augment="none", image_size=image_size, batch_size=batch_size, num_workers=0, predict_split="train"
        )
        dataset: Any = self.data.train_dataloader().dataset
        names = ("offsets", "seconds", "variable", "value")
        events = {name: self.data.store.array(f"events/{name}.npy") for name in names}
        self.texts = folder / "stays"
        if not self.texts.exists():
            write_texts(self.texts, dataset, events)
        assert self.data.normalizer is not None
        images = StoredImages(self.data.store, self.data.store.table("cxr.parquet"))
        self.plain = PlainDataset(self.texts, dataset, images, self.data.normalizer)
        self.generator = torch.Generator().manual_seed(0)

    def facts(self) -> dict[str, Any]:
        """Size of what is loaded."""
        samples = self.plain.samples
        return {
            "training_stays": len(samples),
            "with_radiograph": int((samples.image >= 0).sum()),
            "mean_bins": float((samples.end_seconds / 3600).mean()),
            "events": int(self.data.manifest["counts"]["events"]),
            "text_bytes": sum(path.stat().st_size for path in self.texts.iterdir()),
        }

    def compare(self, batches: int) -> dict[str, bool]:
        """Whether the plain dataset gives the numbers of the store's batches."""
        import torch
        from plain_dataset import collate

        positions = {str(self.plain.facts.ids[stay]): row for row, stay in enumerate(self.plain.samples.stay.tolist())}
        same, seen = True, 0
        for batch in self.data.train_dataloader():
            other = collate([self.plain[positions[name]] for name in batch["id"]])
            same &= torch.equal(batch["ehr_lengths"], other["ehr_lengths"]) and torch.equal(
                batch["present"]["cxr"], other["present"]["cxr"]
            )
            same = same and torch.allclose(batch["ehr"], other["ehr"], rtol=1e-5, atol=1e-5)
            same = same and torch.equal(batch["cxr"], other["cxr"]) and torch.equal(batch["target"], other["target"])
            seen += 1
            if seen == batches:
                break
        size = self.data.image.size
        return {f"both give the same numbers in batches of {self.batch_size} at {size} pixels": same and seen > 0}

    def measure(self, workers: int, batches: int, repeats: int) -> dict[str, Any]:
        """Batches per second of both, passes interleaved, and how much faster the store is."""
        import torch
        from plain_dataset import collate

        self.data.num_workers = workers
        plain = torch.utils.data.DataLoader(
            self.plain,
            self.batch_size,
            shuffle=True,
            drop_last=True,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            generator=self.generator,
        )
        sides = {"store": _endless(self.data.train_dataloader()), "plain": _endless(plain)}
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(repeats + 1):
            for name, stream in sides.items():
                speed = _speed(stream, 2 + (PREFETCHED + 1) * workers, batches)
                if number:
                    speeds[name].append(speed)
        found: dict[str, Any] = {name: harness.spread(values) for name, values in speeds.items()}
        return {
            "batches_per_second": found,
            "ratio": found["store"]["median"] / found["plain"]["median"],
        }


def _endless(loader: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def _speed(stream: Iterator[Any], uncounted: int, batches: int) -> float:
    for _ in range(uncounted):
        next(stream)
    begin = time.perf_counter()
    for _ in range(batches):
        next(stream)
    return batches / (time.perf_counter() - begin)


def show(result: dict[str, Any]) -> None:
    rows = []
    for case in result["cases"]:
        speeds = case["batches_per_second"]
        told = [
            f"{speeds[n]['median']:.1f} ({speeds[n]['least']:.1f} - {speeds[n]['most']:.1f})"
            for n in ("store", "plain")
        ]
        rows.append([f"{case['image_size']} px, {case['workers']} workers", *told, f"{case['ratio']:.1f}"])
    cohort = result["cohort"]
    harness.report(
        f"Batches of {result['batch_size']} per second: median (least - most)",
        ["radiographs, workers", "store", "text file a stay", "times as fast"],
        rows,
        [
            f"{cohort['training_stays']:,} training stays, {cohort['with_radiograph']:,} with a radiograph, "
            f"{cohort['mean_bins']:.0f} hourly bins on average.",
            "The page cache was warm; radiographs are read by the same code on both sides.",
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
