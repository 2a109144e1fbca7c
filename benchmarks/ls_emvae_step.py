"""Training steps of LS-EMVAE at the paper's size, beside a plain loop over the leads with twelve decodes.

A step is forward, loss, backward and AdamW. The baseline is the network as one would first write it: twelve encoder
modules one after the other, two linear layers each, the fusion as sums over a list, one whole pass through the decoder
for each lead, and AdamW as PyTorch makes it by default. Ours stacks the leads, reads the features of a lead once,
shares the linear part of the decoder between the leads, and updates with fused AdamW. Both sides compute the same
function: with the same weights their loss and gradients must agree, which is checked. Each side is also timed with the
other's AdamW.

Sides take turns, each turn in a process of its own, so peak memory is that of one side alone.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import harness

SIDES = ("ours", "loop")
SIZES: dict[str, dict[str, Any]] = {
    "paper": {"ecg_samples": 5000, "latent_size": 256, "channels": (16, 32, 64)},
    "small": {"ecg_samples": 203, "latent_size": 8, "channels": (4, 4, 8)},
}
BYTES_PER_GB = 1e9


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="paper", help="size of the network (%(default)s)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 128], help="records a step (%(default)s)")
    parser.add_argument("--repeats", type=int, default=2, help="counted steps a turn (%(default)s)")
    parser.add_argument("--turns", type=int, default=2, help="turns of each side (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument(
        "--precision", choices=["float32", "bfloat16"], default="float32", help="autocast (%(default)s)"
    )
    options = parser.parse_args()
    if options.quick:
        options.size, options.batch_sizes, options.repeats, options.turns, options.threads = "small", [4], 2, 1, 1
    machine = harness.machine()
    setting = {name: getattr(options, name) for name in ("size", "threads", "device", "precision")}
    checks = forked(compare, size=options.size, threads=options.threads)
    cases = [measure(batch_size, options.turns, options.repeats, setting) for batch_size in options.batch_sizes]
    result = {
        "benchmark": "ls_emvae_step",
        "machine": machine,
        "versions": harness.versions("torch", "lightning"),
        "parameters": forked(count_parameters, size=options.size),
        "cases": cases,
    }
    show(result)
    return harness.finish(options.json, result, checks)


def forked(function: Callable[..., Any], **arguments: Any) -> Any:
    """Call a function in a process of its own, which begins with what this one has imported and nothing else."""
    import torch  # noqa: F401

    import cardiozoo.models.ls_emvae
    import cardiozoo.testing  # noqa: F401

    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(function, kwds=arguments)


@cache
def loop_class() -> type:
    """The baseline's class, made late so that PyTorch is imported in the measuring process."""
    import torch
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self, frames: int, latent: int, channels: tuple[int, int, int]) -> None:
            super().__init__()
            a, b, c = channels
            self.conv1 = nn.Conv1d(1, a, 3, stride=2, padding=1)
            self.conv2 = nn.Conv1d(a, b, 3, stride=2, padding=1)
            self.conv3 = nn.Conv1d(b, c, 3, stride=2, padding=1)
            self.fc_mu, self.fc_logvar = nn.Linear(c * frames, latent), nn.Linear(c * frames, latent)

        def forward(self, x: Any) -> tuple[Any, Any]:
            x = torch.relu(self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(x))))))
            x = x.flatten(1)
            return self.fc_mu(x), self.fc_logvar(x)

    class Decoder(nn.Module):
        def __init__(self, frames: int, latent: int, channels: tuple[int, int, int]) -> None:
            super().__init__()
            a, b, c = channels
            self.shape = (c, frames)
            self.fc = nn.Linear(latent, c * frames)
            self.convtrans1 = nn.ConvTranspose1d(c, b, 4, stride=2, padding=1)
            self.convtrans2 = nn.ConvTranspose1d(b, a, 4, stride=2, padding=1)
            self.convtrans3 = nn.ConvTranspose1d(a, 1, 4, stride=2, padding=1)

        def forward(self, z: Any) -> Any:
            x = self.fc(z).view(len(z), *self.shape)
            return self.convtrans3(torch.relu(self.convtrans2(torch.relu(self.convtrans1(x)))))

    class Loop(nn.Module):
        """Lead by lead; takes a list of twelve signals (B, 1, T), all present."""

        def __init__(self, ecg_samples: int, latent_size: int, channels: tuple[int, int, int]) -> None:
            super().__init__()
            frames = -(-ecg_samples // 8)
            self.samples = ecg_samples
            self.encoders = nn.ModuleList(Encoder(frames, latent_size, channels) for _ in range(12))
            self.shared_decoder = Decoder(frames, latent_size, channels)
            self.lead_embedding = nn.Parameter(torch.zeros(12, latent_size))
            self.score, self.bias = nn.Parameter(torch.zeros(2 * latent_size)), nn.Parameter(torch.zeros(13))
            self.gamma = 0.1 / latent_size

        def forward(self, signals: list[Any]) -> Any:
            """The loss."""
            means, logvars = [], []
            for encoder, signal in zip(self.encoders, signals, strict=True):
                mu, logvar = encoder(signal)
                means.append(mu.float())
                logvars.append(logvar.float())
            with torch.autocast(signals[0].device.type, enabled=False):
                precisions = [torch.exp(-logvar) for logvar in logvars]
                total = sum(precisions)
                means.append(sum(p * m for p, m in zip(precisions, means[:12], strict=True)) / total)
                logvars.append(-torch.log(total))
                scores = [torch.cat([m, v], 1) @ self.score for m, v in zip(means, logvars, strict=True)]
                weights = torch.softmax(torch.stack(scores, 1) + self.bias, 1)
                mu = sum(weights[:, [k]] * means[k] for k in range(13))
                variance = sum(weights[:, [k]] * (logvars[k].exp() + (means[k] - mu) ** 2) for k in range(13))
                z = mu + torch.sqrt(variance) * torch.randn_like(mu) if self.training else mu
                kl = 0.5 * (mu**2 + variance - torch.log(variance) - 1).sum(1)
                alignment = sum(((m - mu) ** 2).sum(1) for m in means) / 13
            errors = []
            for lead, signal in enumerate(signals):
                drawn = self.shared_decoder(z + self.lead_embedding[lead])[..., : self.samples]
                errors.append(((drawn.float() - signal) ** 2).sum((1, 2)))
            return (1e-3 * sum(errors) + kl + self.gamma * alignment).mean()

    return Loop


def build(side: str, size: str) -> Any:
    import torch

    from cardiozoo.models.ls_emvae import LsEmvae

    torch.manual_seed(0)
    return LsEmvae(**SIZES[size]) if side == "ours" else loop_class()(**SIZES[size])


def loss_of(side: str, model: Any, ecg: Any) -> Any:
    from cardiozoo.nn.losses import combine

    if side == "loop":
        return model([ecg[:, [lead]] for lead in range(12)])
    batch = {"id": ["-"] * len(ecg), "ecg": ecg}
    return combine(model.loss_terms(batch, model(batch)))[0]


def signals(size: str, batch_size: int) -> Any:
    import torch

    return torch.randn(batch_size, 12, SIZES[size]["ecg_samples"], generator=torch.Generator().manual_seed(1))


def count_parameters(size: str) -> int:
    return sum(p.numel() for p in build("ours", size).parameters())


def compare(size: str, threads: int) -> dict[str, bool]:
    """Whether both sides, given the same weights, have the same loss and gradients (of the mean, without sampling)."""
    import torch

    from cardiozoo.models.ecg_vae_weights import released_ls_emvae

    torch.set_num_threads(threads)
    loop, ours, ecg = build("loop", size).eval(), build("ours", size).eval(), signals(size, 2)
    torch.nn.init.normal_(loop.score, std=0.1)
    torch.nn.init.normal_(loop.lead_embedding)
    own = {"score": "fusion.score", "bias": "fusion.bias", "lead_embedding": "decoder.lead_embedding"}

    def renamed(named: dict[str, Any]) -> dict[str, Any]:
        state, _ = released_ls_emvae({n: v for n, v in named.items() if n not in own}, ours.leads)
        return state | {new: named[old] for old, new in own.items()}

    ours.load_state_dict(renamed(dict(loop.state_dict())), strict=False)
    losses = {side: loss_of(side, model, ecg) for side, model in (("ours", ours), ("loop", loop))}
    for loss in losses.values():
        loss.backward()
    theirs = renamed({name: p.grad for name, p in loop.named_parameters()})
    worst = max(
        float((p.grad - theirs[n]).abs().max() / theirs[n].abs().max().clamp_min(1e-12))
        for n, p in ours.named_parameters()
    )
    same_loss = torch.allclose(losses["ours"], losses["loop"], rtol=1e-5)
    return {"same loss with the same weights": bool(same_loss), "same gradients with the same weights": worst < 1e-3}


def measure(batch_size: int, turns: int, repeats: int, setting: dict[str, Any]) -> dict[str, Any]:
    """Both sides in turns: seconds of the parts of a step, operations, and peak memory."""
    seconds: dict[str, dict[str, list[float]]] = {side: {} for side in SIDES}
    flops, memory = {}, {}
    for _ in range(turns):
        for side in SIDES:
            turn = forked(one_turn, side=side, batch_size=batch_size, repeats=repeats, **setting)
            for part, times in turn["seconds"].items():
                seconds[side].setdefault(part, []).extend(times)
            flops[side], memory[side] = turn["flops"], turn["peak_gb"]
    found = {side: {part: harness.spread(times) for part, times in parts.items()} for side, parts in seconds.items()}
    median = {side: {part: spread["median"] for part, spread in parts.items()} for side, parts in found.items()}
    steps = {
        "ours, fused AdamW": median["ours"]["gradients"] + median["ours"]["fused"],
        "ours, default AdamW": median["ours"]["gradients"] + median["ours"]["default"],
        "loop, fused AdamW": median["loop"]["gradients"] + median["loop"]["fused"],
        "loop, default AdamW": median["loop"]["gradients"] + median["loop"]["default"],
    }
    return {
        **setting,
        "batch_size": batch_size,
        "seconds": found,
        "step": steps,
        "ratio": steps["loop, default AdamW"] / steps["ours, fused AdamW"],
        "ratio_of_gradients": median["loop"]["gradients"] / median["ours"]["gradients"],
        "gflops": flops,
        "peak_gb": memory,
    }


def one_turn(
    side: str, batch_size: int, repeats: int, size: str, threads: int, device: str, precision: str
) -> dict[str, Any]:
    """Steps of one side: an uncounted one under the counter of operations, then counted ones with each AdamW."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(threads)
    model, ecg = build(side, size).to(device).train(), signals(size, batch_size).to(device)
    half = torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bfloat16")
    seconds: dict[str, list[float]] = {"gradients": [], "fused": [], "default": []}
    counter = FlopCounterMode(display=False)

    def gradients() -> None:
        model.zero_grad(set_to_none=True)
        with half:
            loss = loss_of(side, model, ecg)
        loss.backward()

    with counter:
        gradients()
    # What each side would use in earnest comes first: its peak memory is read before the other is tried.
    order = ("fused", "default") if side == "ours" else ("default", "fused")
    peak = 0.0
    for kind in order:
        optimizer = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=1e-5, fused=kind == "fused" or None)
        optimizer.step()  # allocates the moments
        for _ in range(repeats):
            seconds["gradients"].append(timed(gradients, device))
            seconds[kind].append(timed(optimizer.step, device))
        if not peak:
            peak = harness.peak_gigabytes() if device == "cpu" else torch.cuda.max_memory_allocated() / BYTES_PER_GB
        del optimizer
    return {"seconds": seconds, "flops": counter.get_total_flops() / 1e9, "peak_gb": peak}


def timed(function: Callable[[], Any], device: str) -> float:
    import torch

    begin = time.perf_counter()
    function()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def show(result: dict[str, Any]) -> None:
    rows = []
    for case in result["cases"]:
        for side, kind in (("ours", "fused"), ("loop", "default"), ("loop", "fused"), ("ours", "default")):
            step = case["step"][f"{side}, {kind} AdamW"]
            parts = (case["seconds"][side][part] for part in ("gradients", kind))
            told = [f"{s['median']:.2f} ({s['least']:.2f} - {s['most']:.2f})" for s in parts]
            own = (side, kind) in (("ours", "fused"), ("loop", "default"))
            memory = f"{case['peak_gb'][side]:.1f}" if own else ""
            ours = case["step"]["ours, fused AdamW"]
            name = f"batch {case['batch_size']}: {side}, {kind} AdamW"
            rows.append([name, *told, f"{step:.2f}", f"{step / ours:.2f}", f"{case['gflops'][side]:.0f}", memory])
    first = result["cases"][0]
    harness.report(
        f"Seconds a training step: median (least - most); {result['parameters']:,} parameters",
        ["side", "gradients", "AdamW", "step", "times ours", "GFLOP", "peak memory (GB)"],
        rows,
        [f"{first['device']}, {first['precision']}, {first['threads']} threads; 12 leads present."],
    )


if __name__ == "__main__":
    sys.exit(main())
