"""Shards of records handed to worker processes; each finished shard leaves a mark, so a killed run goes on after it.

Workers are interpreters of their own, not forks: nothing they load meets the threads of this process, and a script that
calls `prepare` needs no guard around its main part.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cardiozoo.data.prepare.ecg_worker import Job, ShardWriter, as_json
from cardiozoo.data.store_builder import read_json, write_json
from cardiozoo.errors import OptionError, StoreError

SHARD = 256
"""Records of a shard: what is read again at most, for each worker, when a run was killed."""

Facts = dict[str, list[Any]]


def read_shards(
    job: Job, records: list[list[Any]], marks: Path, workers: int, advance: Callable[[float], None]
) -> list[Facts]:
    """Read all records that are not read yet.

    Args:
        job: How to read them and where to put them.
        records: (file, index or None), in the order of their rows.
        marks: Holds one small file a finished shard.
        workers: Processes.
        advance: Progress, in records.

    Returns:
        What is known of the records, shard by shard in their order.

    Raises:
        OSError: The disk is full.
        StoreError: A worker ended without an answer.
    """
    marks.mkdir(parents=True, exist_ok=True)
    firsts = range(0, len(records), SHARD)
    waiting = _not_done(job, marks, firsts)
    done_before = sum(min(SHARD, len(records) - first) for first in firsts) - _records_in(waiting, len(records))
    advance(done_before)
    lock = threading.Lock()

    def finished(first: int, facts: Facts) -> None:
        write_json(_mark(marks, first), facts)
        with lock:
            advance(len(facts["reason"]))

    if workers == 1 or len(waiting) <= 1:
        writer = ShardWriter(job)
        try:
            while waiting:
                first = waiting.popleft()
                finished(first, writer.write(first, records[first : first + SHARD]))
        finally:
            writer.close()
    else:
        _run_workers(job, records, waiting, min(workers, len(waiting)), finished)
    return [json.loads(_mark(marks, first).read_text()) for first in firsts]


def _run_workers(
    job: Job,
    records: list[list[Any]],
    waiting: deque[int],
    workers: int,
    finished: Callable[[int, Facts], None],
) -> None:
    team = [_Worker(job) for _ in range(workers)]

    def serve(worker: _Worker) -> None:
        while True:
            try:
                first = waiting.popleft()
            except IndexError:
                return
            try:
                finished(first, worker.write(first, records[first : first + SHARD]))
            except BaseException:
                waiting.clear()  # the others end after their shard
                raise

    try:
        with ThreadPoolExecutor(workers) as pool:
            try:
                for served in [pool.submit(serve, worker) for worker in team]:
                    served.result()
            except BaseException:
                waiting.clear()
                for worker in team:
                    worker.kill()
                raise
    finally:
        for worker in team:
            worker.close()


class _Worker:
    """One process that reads shards."""

    def __init__(self, job: Job) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        command = [sys.executable, "-P", "-m", "cardiozoo.data.prepare.ecg_worker"]
        # in a process group of its own: an interrupt typed at the terminal is for this process, from the first moment
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment,
            process_group=0,
        )  # fmt: skip
        self._send(as_json(job))

    def write(self, first: int, records: list[list[Any]]) -> Facts:
        self._send(json.dumps({"first": first, "records": records}))
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self._ended()
        answer = json.loads(line)
        if "option" in answer:
            raise OptionError(*answer["option"])
        if answer.get("no_room"):
            raise OSError(errno.ENOSPC, answer["error"])
        if "error" in answer:
            raise StoreError(
                f"A worker failed: {answer['error']}.",
                "Records that can be read, or are refused with a reason.",
                "Run the same command again: it goes on after the finished shards.",
            )
        return answer["facts"]

    def kill(self) -> None:
        self.process.kill()

    def close(self) -> None:
        """Let it end; its input is closed."""
        for stream in (self.process.stdin, self.process.stdout):
            try:
                if stream is not None:
                    stream.close()
            except BrokenPipeError:
                pass
        self.process.wait()

    def _send(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _ended(self) -> StoreError:
        code = self.process.wait()
        return StoreError(
            f"A worker process ended without an answer (exit status {code}; -9 is often a lack of memory).",
            "Workers that live until their records are read.",
            "Run the same command again, perhaps with fewer --workers: it goes on after the finished shards.",
        )


def _not_done(job: Job, marks: Path, firsts: Iterable[int]) -> deque[int]:
    """Shards without a mark, and those whose rows the arrays do not hold: a failing disk may have kept only the one."""
    writer = ShardWriter(job)
    try:
        marked = ((first, read_json(_mark(marks, first))) for first in firsts)
        return deque(first for first, facts in marked if facts is None or not writer.holds(first, facts))
    finally:
        writer.close()


def _records_in(firsts: deque[int], total: int) -> int:
    return sum(min(SHARD, total - first) for first in firsts)


def _mark(marks: Path, first: int) -> Path:
    return marks / f"{first:09d}.json"
