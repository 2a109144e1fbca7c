"""A pair of processes joined by gloo, started once and used by every check that needs two."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from typing import Any

import torch
import torch.distributed as dist

TIMEOUT_SECONDS = 180
GRACE_SECONDS = 20
DIED = (False, "died")


class ProcessPair:
    """Two worker processes in one process group. Use ``pair()``, which keeps one for the whole session."""

    def __init__(self) -> None:
        context = _context()
        self._folder = tempfile.TemporaryDirectory(prefix="cardiozoo-pair-")
        rendezvous = f"file://{self._folder.name}/rendezvous"
        self._pipes: list[Connection] = []
        self._processes = []
        for rank in range(2):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, rendezvous, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """``function(*arguments[rank])`` on both ranks at once; their results in order.

        The function is found by its import path; arguments and results travel pickled.

        Raises:
            AssertionError: A process raised (its traceback is given), died, or did not answer in time.
        """
        for pipe, args in zip(self._pipes, arguments, strict=True):
            pipe.send((function, args))
        answers: dict[Connection, tuple[bool, Any]] = {}
        patience = TIMEOUT_SECONDS
        while len(answers) < 2:
            ready = wait([pipe for pipe in self._pipes if pipe not in answers], patience)
            if not ready:
                break
            answers |= {pipe: _receive(pipe) for pipe in self._pipes if pipe in ready}
            # Once one has come out of its last collective the other cannot be far, or it hangs in one.
            patience = GRACE_SECONDS
        hung = (False, "did not answer; it probably waits for the other rank")
        outcomes = [answers.get(pipe, hung) for pipe in self._pipes]
        if len(answers) < 2 or DIED in answers.values():
            self.close()
        troubles = [f"rank {rank} {value}" for rank, (good, value) in enumerate(outcomes) if not good]
        if troubles:
            raise AssertionError("on two processes:\n" + "\n".join(troubles))
        return [value for _, value in outcomes]

    @property
    def alive(self) -> bool:
        return all(process.is_alive() for process in self._processes)

    def close(self) -> None:
        """End both processes."""
        for process in self._processes:
            process.terminate()
            process.join(5)
        self._folder.cleanup()


def _receive(pipe: Connection) -> tuple[bool, Any]:
    try:
        return pipe.recv()
    except EOFError:
        return DIED


def _context() -> BaseContext:
    """Clean processes; where the system allows, both from one that has done the slow imports."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cardiozoo.testing.model"])
    return context


_pair: ProcessPair | None = None


def pair() -> ProcessPair:
    """The session's pair of processes, started at the first call and ended with the interpreter."""
    global _pair
    if _pair is None or not _pair.alive:
        _pair = ProcessPair()
        atexit.register(_pair.close)
    return _pair


def _serve(rank: int, rendezvous: str, pipe: Connection) -> None:
    # The two talk within one machine; the address of its host name may not even resolve.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    while True:
        try:
            function, args = pipe.recv()
        except EOFError:
            return
        try:
            answer = (True, function(*args))
        except Exception:
            answer = (False, f"raised\n{traceback.format_exc()}")
        pipe.send(answer)
