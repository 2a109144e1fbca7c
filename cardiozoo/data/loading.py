"""Batches in an order that can be repeated and taken up again in the middle of an epoch.

The order of an epoch follows from (seed, epoch) alone, and every sample is asked for as the pair (epoch, index), so
that whatever is random about a sample can be drawn from ``default_rng((seed, epoch, index))`` in any worker. The
position of a loader is therefore two numbers, which Lightning saves in its checkpoints and gives back.

Each process takes its own share of an epoch. Nothing else may shard: `BatchLoader` is not a ``DataLoader``, so
Lightning leaves it alone, whatever ``use_distributed_sampler`` says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from cardiozoo.errors import OptionError

if TYPE_CHECKING:
    from lightning import Trainer

# batches that a worker prepares ahead
_PREFETCHED = 2


class BatchSource(Protocol):
    """What a `BatchLoader` reads: `__getitems__` takes (epoch, index) pairs and returns one collated batch."""

    def __len__(self) -> int: ...

    def __getitems__(self, pairs: list[tuple[int, int]]) -> Any: ...


def epoch_rng(seed: int, epoch: int, *keys: int) -> np.random.Generator:
    """An independent generator for one epoch (and, with further keys, one sample or purpose) of a seed."""
    return np.random.default_rng((seed, epoch, *keys))


def training_batches(order: np.ndarray, batch_size: int, rank: int, world_size: int) -> list[np.ndarray]:
    """Deal an epoch's order to the processes: every process gets the same number of batches of `batch_size`.

    Step g takes ``order[g * W * B : (g + 1) * W * B]`` over W processes, so W processes with batches of B see in
    each step the samples that one process with batches of W * B sees. The incomplete last step is left out (other
    samples are left out in the next epoch); an epoch shorter than one step is one smaller step.

    Raises:
        OptionError: There are fewer samples than processes.
    """
    if len(order) < world_size:
        raise OptionError(
            f"There are {len(order)} training samples for {world_size} processes.",
            "At least one a process.",
            "Use fewer devices, or options that leave more samples (pairing, views, window, store).",
        )
    step = world_size * batch_size
    if len(order) < step:
        share = len(order) // world_size
        return [order[rank * share : (rank + 1) * share]]
    return [order[start + rank * batch_size :][:batch_size] for start in range(0, len(order) - step + 1, step)]


def evaluation_batches(order: np.ndarray, batch_size: int, rank: int, world_size: int) -> list[np.ndarray]:
    """Deal every sample to exactly one process, without padding.

    With several processes the batches differ in size by at most one sample, so that all processes have the same
    number of them (unless there are fewer samples than processes) and a collective call in a step cannot hang.
    """
    if world_size == 1:
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    steps = -(-len(order) // (world_size * batch_size))
    parts = np.array_split(order, steps * world_size) if steps else []
    return [part for part in parts[rank::world_size] if len(part)]


class _Batches(Sampler[list[tuple[int, int]]]):
    """The batches of one process in the epoch and from the position that the loader sets before it iterates."""

    def __init__(self, deal: Callable[[int], list[np.ndarray]]) -> None:
        self.deal = deal
        self.epoch, self.start = 0, 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch = self.epoch
        for indices in self.deal(epoch)[self.start :]:
            yield [(epoch, index) for index in indices.tolist()]


class _ThreadedLoader:
    """Batches made by threads of this process, in order and a few ahead, so that none is copied between processes.

    For a source that leaves its work to routines during which other threads run, as most of NumPy's are.
    """

    def __init__(self, source: BatchSource, batches: _Batches, workers: int, pin_memory: bool) -> None:
        self._source, self._batches, self._workers, self._pin = source, batches, workers, pin_memory

    def _make(self, pairs: list[tuple[int, int]]) -> Any:
        batch = self._source.__getitems__(pairs)
        return _pinned(batch) if self._pin else batch

    def __iter__(self) -> Iterator[Any]:
        order = iter(self._batches)
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="batches")
        try:
            ahead: deque[Future[Any]] = deque(
                pool.submit(self._make, pairs) for pairs in islice(order, self._workers * _PREFETCHED)
            )
            while ahead:
                batch = ahead.popleft().result()
                ahead.extend(pool.submit(self._make, pairs) for pairs in islice(order, 1))
                yield batch
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _pinned(batch: Any) -> Any:
    """The tensors of a batch, also those in mappings in it, in page-locked memory."""
    if isinstance(batch, torch.Tensor):
        return batch.pin_memory()
    return {key: _pinned(value) for key, value in batch.items()} if isinstance(batch, dict) else batch


def _as_it_is(batch: Any) -> Any:
    return batch


class BatchLoader:
    """Iterates the batches of one process; its position can be saved and restored.

    Args:
        source: Returns a collated batch for a list of (epoch, index) pairs.
        order: The indices of an epoch, in order: ``order(epoch) -> int (N,)``. Its length must be the same in all
            epochs.
        batch_size: Samples a batch and process.
        training: Deal with `training_batches` and go on to a new epoch at each iteration; otherwise with
            `evaluation_batches`, each iteration being epoch 0.
        rank: This process.
        world_size: Number of processes.
        num_workers: Worker processes, kept alive between epochs; or threads.
        threads: Whether the workers are threads of this process.
        pin_memory: Copy batches to page-locked memory.
        steps_per_epoch: A trainer that stops every epoch earlier (``limit_train_batches``) says so here, by a number
            of batches or a share of them; an epoch cut short counts as finished then, also in a saved position.
    """

    def __init__(
        self,
        source: BatchSource,
        order: Callable[[int], np.ndarray],
        batch_size: int,
        *,
        training: bool,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        threads: bool = False,
        pin_memory: bool = False,
        steps_per_epoch: int | float | None = None,
    ) -> None:
        self.dataset, self.batch_size, self.num_workers, self.training = source, batch_size, num_workers, training
        deal = training_batches if training else evaluation_batches
        self._batches = _Batches(lambda epoch: deal(np.asarray(order(epoch)), batch_size, rank, world_size))
        self._length = len(self._batches.deal(0))
        limit = self._length if steps_per_epoch is None else steps_per_epoch
        self._epoch_end = min(self._length, limit) if isinstance(limit, int) else int(self._length * limit)
        # the epoch under way, the batches handed out in it, and whether the next iteration goes on with it
        self._epoch, self._handed_out, self._go_on = 0, 0, True
        self._loader: Any
        if threads and num_workers:
            self._loader = _ThreadedLoader(source, self._batches, num_workers, pin_memory)
            return
        # a loader that draws its workers' seeds from a generator of its own leaves the global one alone
        generator = torch.Generator()
        generator.manual_seed(0)
        self._loader = DataLoader(
            source,  # type: ignore[arg-type]
            batch_sampler=self._batches,
            collate_fn=_as_it_is,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=pin_memory,
            generator=generator,
        )

    def __len__(self) -> int:
        """Batches of this process in one whole epoch."""
        return self._length

    def __iter__(self) -> Iterator[Any]:
        # a generator: nothing happens before the first batch is asked for, so an iterator that is made and dropped
        # (as a trainer does) moves no position
        if not self.training:
            self._batches.epoch, self._batches.start = 0, 0
            yield from self._loader
            return
        self._begin()
        for batch in self._loader:
            self._handed_out += 1
            yield batch

    def _begin(self) -> None:
        finished = self._handed_out >= self._epoch_end
        if finished or not self._go_on:
            self._epoch, self._handed_out = self._epoch + 1, 0
        self._go_on = False
        self._batches.epoch, self._batches.start = self._epoch, self._handed_out

    def state_dict(self) -> dict[str, int]:
        """The position: the epoch and how many of its batches have been handed out."""
        return {"epoch": self._epoch, "batches": self._handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on at a saved position with the next iteration."""
        self._epoch, self._handed_out, self._go_on = int(state["epoch"]), int(state["batches"]), True


def training_loader(
    source: BatchSource,
    order: Callable[[int], np.ndarray],
    batch_size: int,
    trainer: Trainer | None,
    *,
    num_workers: int = 0,
    threads: bool = False,
) -> BatchLoader:
    """The training batches of a trainer's process, of epochs as long as its limits say; of one process without it.

    Under ``overfit_batches`` every epoch is the first one again.
    """
    overfit = trainer.overfit_batches if trainer is not None else 0  # type: ignore[attr-defined]
    return BatchLoader(
        source,
        (lambda epoch: order(0)) if overfit else order,
        batch_size,
        training=True,
        num_workers=num_workers,
        threads=threads,
        steps_per_epoch=(overfit or trainer.limit_train_batches) if trainer is not None else None,
        **_process(trainer),
    )


def evaluation_loader(
    source: BatchSource, batch_size: int, trainer: Trainer | None, *, num_workers: int = 0, threads: bool = False
) -> BatchLoader:
    """The share of a trainer's process in all samples, in their order; all of them without a trainer."""
    return BatchLoader(
        source,
        lambda epoch: np.arange(len(source)),
        batch_size,
        training=False,
        num_workers=num_workers,
        threads=threads,
        **_process(trainer),
    )


def _process(trainer: Trainer | None) -> dict[str, Any]:
    """Which of how many processes this is, and whether its batches go to a GPU."""
    if trainer is None:
        return {}
    return {
        "rank": trainer.global_rank,
        "world_size": trainer.world_size,
        "pin_memory": trainer.strategy.root_device.type == "cuda",
    }
