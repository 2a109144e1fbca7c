"""A process that runs one command after another, so that torch is imported once for all of them.

``python -m cardiozoo.cli.worker`` reads one JSON object a line, ``{"argv": [...], "log": file}``, runs the command with
all its output in the log, and answers with its exit status, one a line.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import time
import traceback
from typing import IO

from cardiozoo.cli import FAILED, INTERRUPTED, main


def serve(orders: IO[str], answers: IO[str]) -> None:
    """Runs commands until there are no more orders, or somebody interrupts."""
    # Started below a command in the background, it would ignore interrupts, those of `end_with_parent` included.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for line in orders:
        order = json.loads(line)
        status = _logged(order["argv"], order["log"])
        answers.write(f"{status}\n")
        answers.flush()
        if status == INTERRUPTED:
            return
        _forget()


def end_with_parent(every: float = 2.0) -> None:
    """Interrupts this process once the one that started it is gone, killed perhaps: nobody would read its answers."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def _logged(argv: list[str], log: str) -> int:
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        return main(argv)
    except Exception:
        traceback.print_exc()
        return FAILED
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _forget() -> None:
    """Gives back what the last command held: its model is in reference cycles, its memory on the device is cached."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    end_with_parent()
    serve(sys.stdin, os.fdopen(os.dup(1), "w"))
