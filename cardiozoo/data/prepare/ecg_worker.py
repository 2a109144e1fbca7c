"""Reading a shard of records and writing their rows: in this process, or as a worker that is told shard after shard.

A worker reads one JSON object a line from its standard input, first the job, then shards, and answers each with a line.
It keeps no state between shards and marks nothing as done, so it may be killed at any time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from cardiozoo.data.disk_space import lacks_room
from cardiozoo.data.ecg import LEADS
from cardiozoo.data.ecg_standard import Quality, standardise
from cardiozoo.data.prepare.ecg_rows import RowFile
from cardiozoo.data.readers.ecg import read_ecg
from cardiozoo.errors import OptionError, RecordError

SIGNALS, GAIN, STATES = "signals.npy", "gain.npy", "states.npy"
FACTS = ("reason", "samples", "raw_rate", "digest", "notes", "patient", "time", "age", "sex")
"""What is known of each record after it was read: why it was left out (else None), and what its file says."""


@dataclass(frozen=True)
class Job:
    """How records are read and brought to one form. Plain JSON.

    Attributes:
        folder: Where the three arrays are.
        rate: Samples per second of the store.
        seconds: Length of a record in the store.
        cut: Which part of a longer record is kept.
        min_leads: Records with fewer leads in order are left out.
        quality: Thresholds, the fields of `Quality`.
        reading: Further arguments of `read_ecg`: format, rate, units, leads.
    """

    folder: str
    rate: float = 500.0
    seconds: float = 10.0
    cut: str = "start"
    min_leads: int = 1
    quality: dict[str, Any] = field(default_factory=dict)
    reading: dict[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        return round(self.rate * self.seconds)


class ShardWriter:
    """Reads records and writes their rows into the arrays of a job."""

    def __init__(self, job: Job) -> None:
        self.job, self.quality = job, Quality(**job.quality)
        folder, leads = Path(job.folder), len(LEADS)
        self.signals = RowFile(folder / SIGNALS, np.int16, (leads, job.samples))
        self.gain = RowFile(folder / GAIN, np.float32, (leads,))
        self.states = RowFile(folder / STATES, np.uint8, (leads,))

    def write(self, first: int, records: list[list[Any]]) -> dict[str, list[Any]]:
        """Read records and write rows `first`, `first` + 1, ...; the row of an excluded record stays empty.

        Args:
            first: Row of the first record.
            records: (file, index or None) of each.

        Returns:
            `FACTS` by name, one entry a record, on the disk when this returns.

        Raises:
            OSError: The disk is full.
        """
        facts = [self._record(first + n, Path(file), index) for n, (file, index) in enumerate(records)]
        for array in self.files:
            array.sync()
        return {name: [one.get(name) for one in facts] for name in FACTS}

    @property
    def files(self) -> tuple[RowFile, RowFile, RowFile]:
        return self.signals, self.gain, self.states

    def holds(self, first: int, facts: dict[str, list[Any]]) -> bool:
        """Whether the arrays are long enough for the rows of a shard that was written earlier."""
        end = max((first + n + 1 for n, reason in enumerate(facts["reason"]) if reason is None), default=0)
        return all(array.reaches(end) for array in self.files)

    def close(self) -> None:
        for array in self.files:
            array.close()

    def _record(self, row: int, file: Path, index: int | None) -> dict[str, Any]:
        try:
            record = read_ecg(file, index=index, **self.job.reading)
            ecg = standardise(
                record, rate=self.job.rate, seconds=self.job.seconds, cut=self.job.cut, quality=self.quality
            )
        except RecordError as error:
            return {"reason": error.reason}
        except (MemoryError, OptionError):
            raise
        except Exception as error:
            # whatever a parser makes of a broken file: one record less, not the end of a long run
            return {"reason": f"unreadable ({type(error).__name__})"}
        if int((ecg.state == 0).sum()) < self.job.min_leads:
            return {"reason": f"fewer than {self.job.min_leads} leads in order"}
        for array, values in zip(self.files, (ecg.signal, ecg.gain, ecg.state), strict=True):
            array.write(row, values)
        digest = blake2b(ecg.signal.tobytes(), digest_size=16)
        digest.update(ecg.gain.tobytes())
        return {
            "samples": int(ecg.samples),
            "raw_rate": float(record.rate),
            "digest": digest.hexdigest(),
            "notes": sorted({*record.notes, *ecg.notes}),
            "patient": record.patient,
            "time": None if record.time is None else str(record.time),
            "age": None if record.age is None else float(record.age),
            "sex": record.sex,
        }


def main() -> int:
    """Serve shards until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever sends one means the process that started this one
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    writer = ShardWriter(Job(**json.loads(sys.stdin.readline())))
    for line in sys.stdin:
        shard = json.loads(line)
        try:
            answer = {"facts": writer.write(shard["first"], shard["records"])}
        except OptionError as error:
            answer = {"option": [error.came, error.accepted, error.next_step]}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}", "no_room": lacks_room(error)}
        try:
            print(json.dumps(answer), file=answers, flush=True)
        except BrokenPipeError:  # who asked is gone
            os._exit(1)
    writer.close()
    return 0


def _end_with(parent: int) -> None:
    """End when the process that started this one is gone: a later run may be at work on the same files."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def as_json(job: Job) -> str:
    """The job as a worker reads it."""
    return json.dumps(asdict(job))


if __name__ == "__main__":
    sys.exit(main())
