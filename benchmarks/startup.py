"""Wall time of the light commands beside a bare interpreter and beside `import torch`, each in a fresh process.

The passes of all commands are interleaved, after one pass that is not counted; the median is told. `cardiozoo list`
is also run once in an interpreter that reports whether torch, lightning or polars were loaded on the way.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import harness

SCRIPT = Path(sys.executable).with_name("cardiozoo")
CARDIOZOO = [str(SCRIPT)] if SCRIPT.is_file() else [sys.executable, "-m", "cardiozoo"]
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    'python -c "import torch"': [sys.executable, "-c", "import torch"],
    "cardiozoo --help": [*CARDIOZOO, "--help"],
    "cardiozoo list": [*CARDIOZOO, "list"],
    "cardiozoo show drfuse": [*CARDIOZOO, "show", "drfuse"],
}
HEAVY = ("torch", "lightning", "polars")
PROBE = f"""
import sys
from cardiozoo.cli import main
assert main(["list"]) == 0 and main(["--help"]) == 0
print("loaded:", *[name for name in {HEAVY} if name in sys.modules])
"""
BUDGET = 0.4  # seconds, of --help and list


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--repeats", type=int, default=15, help="counted passes of each command (%(default)s)")
    options = parser.parse_args()
    uncounted, repeats = (0, 1) if options.quick else (1, options.repeats)
    machine = harness.machine()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    shown: dict[str, str] = {}
    for number in range(uncounted + repeats):
        for name, command in COMMANDS.items():
            begin = time.perf_counter()
            done = subprocess.run(command, text=True, capture_output=True, check=True)
            if number >= uncounted:
                times[name].append(time.perf_counter() - begin)
            shown[name] = done.stdout
    probe = subprocess.run([sys.executable, "-c", PROBE], text=True, capture_output=True, check=True)
    seconds = {name: harness.spread(values) for name, values in times.items()}
    torch = seconds['python -c "import torch"']["median"]
    result = {
        "benchmark": "startup",
        "machine": machine,
        "versions": harness.versions("torch", "rich", "jsonargparse"),
        "seconds": seconds,
        "ratio": {name: facts["median"] / torch for name, facts in seconds.items()},
        "within_budget": {
            name: seconds[name]["median"] < BUDGET for name in COMMANDS if name.endswith(("--help", "list"))
        },
    }
    harness.report(
        "Start of a command",
        ["command", "median (s)", "least - most (s)", "of import torch"],
        [
            [name, f"{f['median']:.2f}", f"{f['least']:.2f} - {f['most']:.2f}", f"{result['ratio'][name]:.2f}"]
            for name, f in seconds.items()
        ],
        [f"{repeats} passes, interleaved, files in the page cache. Budget of --help and list: {BUDGET} s."],
    )
    checks = {
        "list and show name the model": all("drfuse" in shown[f"cardiozoo {c}"] for c in ("list", "show drfuse")),
        f"list loads none of {', '.join(HEAVY)}": probe.stdout.splitlines()[-1].strip() == "loaded:",
    }
    return harness.finish(options.json, result, checks)


if __name__ == "__main__":
    sys.exit(main())
