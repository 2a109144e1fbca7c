"""Several commands at once: each worker process runs one after another, on a device of its own if there are several."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from cardiozoo.cli import FAILED

GRACE = 20.0  # seconds a worker has to write how its run was interrupted
_CHOSEN_ENVIRONMENT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """A command.

    Attributes:
        name: How it is called in messages.
        argv: Arguments of ``cardiozoo``.
        log: File that takes its output.
        alone: In a process of its own, because it starts further processes by its own command line.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    alone: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a job ended; a negative status is the signal that killed its process."""

    job: Job
    status: int
    seconds: float

    def tail(self, lines: int = 12) -> str:
        """The end of its log."""
        try:
            text = self.job.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.rstrip().splitlines()[-lines:])

    def refusal(self) -> str:
        """The words with which the command refused, from the end of its log."""
        own = self.tail(100).splitlines()
        starts = [n for n, line in enumerate(own) if line.startswith("cardiozoo: ") and "Error: " in line]
        return "\n".join(own[starts[-1] :]).removeprefix("cardiozoo: ") if starts else self.tail()


class Workers:
    """Worker processes, started when first needed and ended with the ``with`` block.

    Args:
        number: How many at once.
        devices: Values of CUDA_VISIBLE_DEVICES dealt to the workers in turn; none to leave it as it is.
    """

    def __init__(self, number: int, devices: Sequence[str] = ()) -> None:
        self.number = number
        self._environments = [_environment(i, number, devices) for i in range(number)]
        self._processes: list[subprocess.Popen[str] | None] = [None] * number
        self._stopping = False

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop(interrupt=kind is not None)

    def run(self, jobs: Sequence[Job], told: Callable[[Outcome], None] = lambda _: None) -> list[Outcome]:
        """Runs all jobs and tells of each as it ends; one that fails does not stop the others.

        Raises:
            KeyboardInterrupt: Somebody interrupted; the workers are told so and ended first.
        """
        self._stopping = False  # an earlier call may have been stopped
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        ended: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        threads = [threading.Thread(target=self._work, args=(slot, waiting, ended)) for slot in range(self.number)]
        for thread in threads:
            thread.start()
        outcomes: list[Outcome] = []
        try:
            while len(outcomes) < len(jobs):
                try:
                    outcomes.append(ended.get(timeout=0.2))  # a wait without end would not hear Ctrl-C everywhere
                except queue.Empty:
                    continue
                told(outcomes[-1])
        except BaseException:
            self.stop(interrupt=True)
            raise
        finally:
            for thread in threads:
                thread.join(timeout=GRACE)
        return outcomes

    def stop(self, interrupt: bool = False) -> None:
        """Ends the workers; with ``interrupt`` they may first write that their run was interrupted."""
        self._stopping = True
        running = [process for process in self._processes if process is not None and process.poll() is None]
        for process in running:
            if interrupt:
                _signal(process, signal.SIGINT)
            elif process.stdin is not None:
                process.stdin.close()
        deadline = time.monotonic() + GRACE
        for process in running:
            try:
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.wait()

    def _work(self, slot: int, waiting: queue.SimpleQueue[Job], ended: queue.SimpleQueue[Outcome]) -> None:
        while not self._stopping:
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            start = time.monotonic()
            job.log.parent.mkdir(parents=True, exist_ok=True)
            try:
                status = self._alone(slot, job) if job.alone else self._ordered(slot, job)
            except OSError as error:
                job.log.write_text(f"The process could not be started: {error}\n", encoding="utf-8")
                status = FAILED
            ended.put(Outcome(job, status, time.monotonic() - start))

    def _alone(self, slot: int, job: Job) -> int:
        with job.log.open("ab") as log:
            command = [sys.executable, "-m", "cardiozoo", *job.argv]
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            options = {"env": self._environments[slot], "start_new_session": True, "text": True}
            self._processes[slot] = process = subprocess.Popen(command, **streams, **options)
            return process.wait()

    def _ordered(self, slot: int, job: Job) -> int:
        process = self._processes[slot]
        if process is None or process.poll() is not None or process.stdin is None:
            process = self._processes[slot] = self._start(slot)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps({"argv": list(job.argv), "log": str(job.log.resolve())}) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        # No answer: the process is gone, killed for its memory perhaps. The next job gets another one.
        return int(answer) if answer else (process.wait() or FAILED)

    def _start(self, slot: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "cardiozoo.cli.worker"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        options = {"env": self._environments[slot], "start_new_session": True, "text": True}
        return subprocess.Popen(command, **pipes, **options)


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """To the worker's whole session: its loaders and the processes of other devices."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def _environment(slot: int, number: int, devices: Sequence[str]) -> dict[str, str]:
    environment = dict(os.environ)
    environment.pop("CARDIOZOO_RUN_DIR", None)
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
    if number > 1:  # threads of several workers that each take all cores only get in one another's way
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        for name in _CHOSEN_ENVIRONMENT:
            environment.setdefault(name, str(max(1, cores // number)))
    return environment


def visible_devices() -> list[str]:
    """The CUDA devices there are, as values of CUDA_VISIBLE_DEVICES; none without a driver. Torch is not loaded."""
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    if stated is not None:
        return [device for device in stated.split(",") if device and device != "-1"]
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(i) for i, line in enumerate(done.stdout.splitlines()) if line.startswith("GPU ")]
