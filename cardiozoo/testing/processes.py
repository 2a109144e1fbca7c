"""A pair of processes joined by gloo, started once and used by every check that needs two."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any

import torch
import torch.distributed as dist

TIMEOUT_SECONDS = 180


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
        results, troubles, usable = [], [], True
        for rank, pipe in enumerate(self._pipes):
            # When one rank has failed, the other hangs in a collective: it is not waited for.
            if not pipe.poll(5 if troubles else TIMEOUT_SECONDS):
                troubles.append(f"rank {rank} did not answer; it probably waits for the other rank")
                usable = False
                continue
            try:
                good, value = pipe.recv()
            except EOFError:
                good, value, usable = False, "the process died", False
            (results if good else troubles).append(value if good else f"rank {rank}: {value}")
        if troubles:
            if not usable:
                self.close()
            raise AssertionError("on two processes:\n" + "\n".join(troubles))
        return results

    @property
    def alive(self) -> bool:
        return all(process.is_alive() for process in self._processes)

    def close(self) -> None:
        """End both processes."""
        for process in self._processes:
            process.terminate()
            process.join(5)
        self._folder.cleanup()


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
            answer = (False, traceback.format_exc())
        pipe.send(answer)
