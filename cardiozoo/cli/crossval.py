"""``cardiozoo crossval``: every fold a run of its own, then one table of them all."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cardiozoo.cli import FAILED, MISUSED
from cardiozoo.cli.own_folder import alone_in
from cardiozoo.cli.workers import Job, Outcome, Workers, visible_devices
from cardiozoo.errors import OptionError

DESCRIPTION = """\
Train and test a model on each fold of a cross-validation over patients. Every fold is an ordinary run of `cardiozoo
fit`, in its own folder fold_0, fold_1, ...; then the test metrics of each, their mean and standard deviation, and the
pooled test predictions of all folds with bootstrap intervals over patients. All options of `cardiozoo fit` may follow.

The same command again goes on where it stopped: finished folds are kept, begun ones resumed.
"""


def parser() -> argparse.ArgumentParser:
    """The command's own options."""
    result = argparse.ArgumentParser(
        prog="cardiozoo crossval",
        usage="cardiozoo crossval --model NAME --data NAME [--folds K] [--jobs N] [--out DIR] [any option of fit]",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = result.add_argument
    add("--folds", type=int, default=5, metavar="K", help="number of folds (default: 5)")
    add("--jobs", type=int, metavar="N", help="folds at once (default: one a GPU, 1 without)")
    add(
        *("--out", "--run_dir", "--run-dir"),
        type=Path,
        dest="out",
        metavar="DIR",
        help="folder of the cross-validation (default: RUNS/MODEL/DATA/crossval-<options>, the same for the same ones)",
    )
    add("--ddof", type=int, default=0, choices=[0, 1], help="standard deviation: 0 population (default), 1 sample")
    return result


def run(argv: Sequence[str]) -> int:
    """Runs the command; 1 if a fold failed.

    Raises:
        CardiozooError: Bad options (also those that only a fold notices, when it begins), folds of other options in
            the folder, folds that are not of one partition.
    """
    options, of_fit = parser().parse_known_args(list(argv))
    from cardiozoo.cli.crossval_folder import CrossValidation

    if options.folds < 2:
        raise OptionError(f"--folds {options.folds}.", "At least 2 folds.", "5 is what the papers take.")
    whole = CrossValidation.prepare(of_fit, options.folds, options.out, ["crossval", *argv])
    try:
        with alone_in(whole.folder), Workers(*how_many(options.jobs, whole)) as workers:
            done = run_folds(whole, workers)
    except KeyboardInterrupt:
        whole.write(status="interrupted")
        raise
    if not done:
        whole.write(status="incomplete")
        return FAILED
    from rich.console import Console

    result = whole.judge(options.ddof)
    result.render(Console(width=None if sys.stdout.isatty() else 120))
    print(f"Tables: {whole.folder / 'crossval.json'}")
    print(f"Report: {whole.folder / 'report.html'}")
    return 0


def how_many(jobs: int | None, whole: Any) -> tuple[int, list[str]]:
    """Workers at once, and the devices they are dealt.

    Raises:
        OptionError: Fewer than one job, or several jobs that each want several devices.
    """
    if jobs is not None and jobs < 1:
        raise OptionError(f"--jobs {jobs}.", "At least 1.", "Leave it out: one a GPU, one without a GPU.")
    if whole.several_devices:
        if jobs is not None and jobs > 1:
            raise OptionError(
                f"--jobs {jobs}, and every fold wants --trainer.devices {whole.trainer.get('devices')}.",
                "Either several folds at once on one device each, or one fold at a time on several.",
                "Leave one of the two out.",
            )
        return 1, []
    devices = [] if whole.trainer.get("accelerator") == "cpu" else visible_devices()
    return jobs or max(1, len(devices)), devices if len(devices) > 1 else []


def run_folds(whole: Any, workers: Workers, said: str = "") -> bool:
    """Runs the folds that are not finished; whether all are. Failures are told with the end of their log.

    Raises:
        OptionError: A fold refused its options or data: what one refuses, the others need not try.
    """
    jobs: list[Job] = whole.jobs()
    kept = whole.folds - len(jobs)
    if kept:
        say(f"{said}{kept} of {whole.folds} folds are finished and kept")
    if not jobs:
        return True
    number = "1 fold" if len(jobs) == 1 else f"{len(jobs)} folds"
    say(f"{said}{number} to run in {whole.folder}, {min(workers.number, len(jobs))} at a time")
    failed: list[Outcome] = []

    def told(outcome: Outcome) -> None:
        number = int(outcome.job.name)
        if outcome.status == 0 and whole.finished(number):
            say(f"{said}fold {number}: {whole.line(number)}  ({outcome.seconds:.0f} s)")
            return
        if outcome.status == MISUSED:
            raise OptionError(
                f"{said}fold {number} of {whole.folds} cannot begin.",
                outcome.refusal(),
                "Put that right and give the command again.",
            )
        failed.append(outcome)
        how = f"signal {-outcome.status}" if outcome.status < 0 else f"status {outcome.status}"
        say(f"{said}fold {number} FAILED ({how}); {outcome.job.log} ends with:\n{_indented(outcome.tail())}")

    try:
        workers.run(jobs, told)
    except OptionError:
        whole.give_up()
        raise
    if failed:
        numbers = ", ".join(outcome.job.name for outcome in failed)
        others = "; the others are kept" if len(failed) < len(jobs) or kept else ""
        say(f"{said}failed: fold {numbers}{others}. The same command again goes on from here.")
    return not failed


def say(text: str) -> None:
    """One line on stderr."""
    print(f"cardiozoo: {text}", file=sys.stderr, flush=True)


def quoted(argv: Sequence[str]) -> str:
    """A command line."""
    return shlex.join(["cardiozoo", *argv])


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
