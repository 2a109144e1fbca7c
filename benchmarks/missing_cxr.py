"""Training steps of DrFuse and MedFuse when most radiographs are missing, beside running the CNN on black images.

A step is forward, loss, backward and Adam on a batch of which a few rows have a radiograph. The baseline is the same
model, weights and batch with one function exchanged: instead of encoding the present rows only, it puts black images
into the other rows, encodes the whole batch and then throws those features away, as is often done. Steps of both sides
are interleaved; peak memory is that of a few steps of one side in a process of its own.

In evaluation mode, where BatchNorm does not look at its batch, both sides must give the same logits; that is checked.
(In training mode they differ, and the baseline's are wrong: black images enter BatchNorm's statistics.)
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import harness

MODELS = ("drfuse", "medfuse")
# as in the synthetic recipes, and the papers' sizes, which are the models' defaults
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "small": {
        "drfuse": {"hidden_size": 64, "feedforward": 128, "backbone": "resnet18", "image_width": 8},
        "medfuse": {
            "hidden_size": 64,
            "num_layers": 1,
            "fusion_size": 64,
            "backbone": "resnet18",
            "image_width": 8,
        },
    },
    "paper": {"drfuse": {}, "medfuse": {}},
}
IMAGE_SIZE = {"small": 64, "paper": 224}
CLASSES = 25


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--preset", choices=sorted(PRESETS), default="paper", help="size of model and image")
    parser.add_argument("--image-size", type=int, help="pixels; 224 for paper, 64 for small")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--present", type=int, nargs="+", default=[3], help="rows that have a radiograph (%(default)s)")
    parser.add_argument("--steps", type=int, default=48, help="time steps of the EHR (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="counted steps of each side (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    options = parser.parse_args()
    if options.quick:
        options.preset, options.image_size, options.repeats, options.steps, options.threads = "small", 64, 2, 12, 1
    size = options.image_size or IMAGE_SIZE[options.preset]
    machine = harness.machine()
    cases, checks = [], {}
    for model in options.models:
        for present in options.present:
            setting = {
                "model": model,
                "preset": options.preset,
                "image_size": size,
                "batch_size": options.batch_size,
                "present": present,
                "steps": options.steps,
                "threads": options.threads,
                "device": options.device,
            }
            case = forked(measure_time, repeats=options.repeats, **setting)
            case["peak_gb"] = {side: forked(measure_memory, side=side, **setting) for side in ("present", "black")}
            largest = case.pop("largest_difference")
            checks[f"{model}, {present} of {options.batch_size}: same logits in evaluation mode"] = largest < 1e-4
            cases.append({**setting, **case})
    result = {
        "benchmark": "missing_cxr",
        "machine": machine,
        "versions": harness.versions("torch", "timm"),
        "cases": cases,
    }
    show(result)
    return harness.finish(options.json, result, checks)


def forked(function: Callable[..., Any], **arguments: Any) -> Any:
    """Call a function in a process of its own, which begins with what this one has imported and nothing else."""
    import torch  # noqa: F401

    import cardiozoo.models.drfuse
    import cardiozoo.models.medfuse
    import cardiozoo.testing  # noqa: F401

    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(function, kwds=arguments)


def build(
    model: str, preset: str, image_size: int, batch_size: int, present: int, steps: int, threads: int, device: str
) -> tuple[Any, Any, dict[str, Any]]:
    """The model in training mode, its optimiser, and a batch of which the first rows have a radiograph."""
    import torch

    from cardiozoo.registry import create_model
    from cardiozoo.testing import make_batch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    made = create_model(model, num_classes=CLASSES, **PRESETS[preset][model]).to(device).train()
    mask = [row < present for row in range(batch_size)]
    shapes = {"ehr": (steps, 76), "cxr": (3, image_size, image_size)}
    batch: dict[str, Any] = dict(make_batch(("ehr", "cxr"), batch_size, CLASSES, present={"cxr": mask}, shapes=shapes))
    batch["present"] = {name: rows.to(device) for name, rows in batch["present"].items()}
    batch |= {name: value.to(device) for name, value in batch.items() if isinstance(value, torch.Tensor)}
    return made, torch.optim.Adam(made.parameters(), 1e-4), batch


def train_step(model: Any, optimizer: Any, batch: dict[str, Any]) -> None:
    """Forward, loss, backward, update."""
    from cardiozoo.nn.losses import combine

    optimizer.zero_grad()
    loss, _ = combine(model.loss_terms(batch, model(batch)))
    loss.backward()
    optimizer.step()
    if loss.is_cuda:
        import torch

        torch.cuda.synchronize()


@contextmanager
def black_images(model: str) -> Iterator[None]:
    """Within the block, the image encoder of a model runs on all rows, black where there is no radiograph."""
    import importlib

    import torch

    from cardiozoo.data.cxr_transforms import IMAGENET_MEAN, IMAGENET_SD

    black = torch.tensor([-mean / sd for mean, sd in zip(IMAGENET_MEAN, IMAGENET_SD, strict=True)])

    def encode_all(encoder: Any, inputs: Any, present: Any, width: int, freeze_batch_norm: bool = False) -> Any:
        images = torch.where(present.view(-1, 1, 1, 1), inputs, black.to(inputs).view(1, 3, 1, 1))
        features = encoder(images)
        return torch.where(present[:, None], features, torch.zeros_like(features))

    module = importlib.import_module(f"cardiozoo.models.{model}")
    original = module.encode_present
    module.encode_present = encode_all
    try:
        yield
    finally:
        module.encode_present = original


def measure_time(repeats: int, **setting: Any) -> dict[str, Any]:
    """Seconds a step of both sides, interleaved after an uncounted step of each, and how far their logits differ."""
    import torch

    model, optimizer, batch = build(**setting)
    model.eval()
    with torch.no_grad():
        ours = model(batch)["logits"]
        with black_images(setting["model"]):
            theirs = model(batch)["logits"]
    model.train()
    seconds: dict[str, list[float]] = {"present": [], "black": []}
    for number in range(repeats + 1):
        for side, times in seconds.items():
            elapsed = timed_step(side, setting["model"], model, optimizer, batch)
            if number:
                times.append(elapsed)
    found = {side: harness.spread(times) for side, times in seconds.items()}
    return {
        "seconds": found,
        "ratio": found["black"]["median"] / found["present"]["median"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "largest_difference": float((ours - theirs).abs().max()),
    }


def timed_step(side: str, name: str, model: Any, optimizer: Any, batch: dict[str, Any]) -> float:
    begin = time.perf_counter()
    if side == "black":
        with black_images(name):
            train_step(model, optimizer, batch)
    else:
        train_step(model, optimizer, batch)
    return time.perf_counter() - begin


def measure_memory(side: str, **setting: Any) -> float:
    """Most memory in two steps of one side: of the process, or of the device."""
    import torch

    model, optimizer, batch = build(**setting)
    for _ in range(2):
        timed_step(side, setting["model"], model, optimizer, batch)
    if setting["device"] == "cpu":
        return harness.peak_gigabytes()
    return torch.cuda.max_memory_allocated() / 1e9


def show(result: dict[str, Any]) -> None:
    rows = []
    for case in result["cases"]:
        seconds = case["seconds"]
        told = [
            f"{seconds[s]['median']:.2f} ({seconds[s]['least']:.2f} - {seconds[s]['most']:.2f})"
            for s in ("present", "black")
        ]
        memory = f"{case['peak_gb']['present']:.2f} / {case['peak_gb']['black']:.2f}"
        name = f"{case['model']}, {case['present']} of {case['batch_size']} rows present"
        rows.append([name, *told, f"{case['ratio']:.2f}", memory])
    first = result["cases"][0]
    harness.report(
        f"Seconds a training step: median (least - most); preset {first['preset']}, {first['image_size']} pixels",
        ["model, radiographs", "present rows only", "black images", "times as fast", "peak memory (GB)"],
        rows,
        [f"{first['device']}, float32, {first['threads']} threads, {first['steps']} time steps."],
    )


if __name__ == "__main__":
    sys.exit(main())
