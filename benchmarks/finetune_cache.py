"""Fine-tuning on a frozen LS-EMVAE with its vectors computed once, beside encoding every record in every epoch.

Three trainings of the same head on the same synthetic cohort, with the same seeds: without a cache; with an empty
cache, so that every record is encoded once; and with the cache that the second one left, as in a further fold or run.
The encoder is untrained, which changes no time. All three must end with the same weights of the head and the same
validation loss; that is checked.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

PRESETS: dict[str, dict[str, Any]] = {"tiny": {"latent_size": 8, "channels": (4, 4, 8)}, "paper": {}}
SIDES = ("without", "first", "again")
TOLERANCE = 1e-6


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="paper", help="size of the encoder (%(default)s)")
    parser.add_argument("--representation", default="lead_concat", help="of the encoder (%(default)s)")
    parser.add_argument("--patients", type=int, default=200, help="of the synthetic cohort (%(default)s)")
    parser.add_argument("--epochs", type=int, default=5, help="(%(default)s; the paper trains 50)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=1, help="passes over the three sides (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch (%(default)s)")
    options = parser.parse_args()
    if options.quick:
        options.preset, options.patients, options.epochs, options.threads = "tiny", 60, 3, 1
    # Before cardiozoo is asked for the cohort or keeps a vector.
    os.environ["CARDIOZOO_DEMO_PATIENTS"] = str(options.patients)
    machine = harness.machine()
    store = demo_cohort(options.cache)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    differences: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        encoder = save_encoder(Path(folder), PRESETS[options.preset])
        for number in range(options.repeats):
            os.environ["CARDIOZOO_CACHE"] = str(Path(folder) / f"cache-{number}")
            found = {side: train(side, encoder, store, options) for side in SIDES}
            for side in SIDES:
                seconds[side].append(found[side]["seconds"])
                differences.append(difference(found[side], found["without"]))
    times = {side: harness.spread(values) for side, values in seconds.items()}
    ratio = {side: times["without"]["median"] / times[side]["median"] for side in ("first", "again")}
    records, epochs = found["without"]["records"], options.epochs
    show(times, ratio, records, epochs)
    result = {
        "benchmark": "finetune_cache",
        "setting": {name: str(value) for name, value in vars(options).items() if name not in ("json", "cache")},
        "records": records,
        "seconds": times,
        "ratio": ratio,
        "largest_difference": max(differences),
        "machine": machine,
        "versions": harness.versions("torch", "lightning", "numpy"),
    }
    return harness.finish(options.json, result, {"the same weights and validation loss": max(differences) <= TOLERANCE})


def demo_cohort(cache: Path) -> str:
    """The synthetic cohort, kept between runs of the benchmark."""
    from cardiozoo.data.synthetic.demo import demo_store

    os.environ["CARDIOZOO_CACHE"] = str(cache)
    return str(demo_store("ecg_cohort"))


def save_encoder(folder: Path, sizes: dict[str, Any]) -> Path:
    """An untrained LS-EMVAE, as a training would leave it."""
    import torch

    from cardiozoo.models.ls_emvae import LsEmvae

    torch.manual_seed(0)
    trainer = quiet_trainer(1)
    trainer.strategy.connect(LsEmvae(**sizes))
    trainer.save_checkpoint(folder / "encoder.ckpt")
    return folder / "encoder.ckpt"


def quiet_trainer(epochs: int) -> Any:
    from lightning.pytorch import Trainer

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip


def train(side: str, encoder: Path, store: str, options: Any) -> dict[str, Any]:
    """Train the head and time it, from the opened encoder to the last validation."""
    import torch

    from cardiozoo.data.ecg_cohort import EcgCohort
    from cardiozoo.models.finetune import FineTune

    torch.set_num_threads(options.threads)
    data = EcgCohort(store, batch_size=options.batch_size, num_workers=0)
    data.setup()
    torch.manual_seed(1)
    model = FineTune(
        str(encoder), representation=options.representation, cache=side != "without", num_classes=data.num_classes,
        task_kind=data.task_kind, ecg_leads=data.ecg_leads, ecg_samples=data.ecg_samples, ecg_rate=data.ecg_rate,
    )  # fmt: skip
    torch.manual_seed(2)
    trainer = quiet_trainer(options.epochs)
    start = time.perf_counter()
    trainer.fit(model, datamodule=data)
    return {
        "seconds": time.perf_counter() - start,
        "head": [p.detach().clone() for p in model.head.parameters()],
        "loss": float(trainer.callback_metrics["val/loss"]),
        "records": {split: len(data.samples.rows_of(split)) for split in ("train", "val", "test")},
    }


def difference(side: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest difference between two trained heads, and between their validation losses."""
    weights = max(float((a - b).abs().max()) for a, b in zip(side["head"], other["head"], strict=True))
    return max(weights, abs(side["loss"] - other["loss"]))


def show(times: dict[str, Any], ratio: dict[str, float], records: dict[str, int], epochs: int) -> None:
    words = {"without": "every record in every epoch", "first": "cache, empty", "again": "cache, from before"}
    rows = [
        [words[side], f"{times[side]['median']:.2f}", f"{ratio[side]:.1f}x" if side in ratio else "1.0x"]
        for side in SIDES
    ]
    title = f"Training a head for {epochs} epochs on {records['train']} records, {records['val']} in validation"
    notes = [
        "Time of fit, median; the empty cache also encodes the test records, once.",
        "With more epochs, and with every further fold, the ratio grows: only the first column encodes again.",
    ]
    harness.report(title, ["frozen encoder", "seconds", "faster"], rows, notes)


if __name__ == "__main__":
    sys.exit(main())
