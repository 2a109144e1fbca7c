"""The order of batches: the same for any number of workers, resumable anywhere, fair to every process."""

from __future__ import annotations

import itertools
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

from cardiozoo.data.loading import BatchLoader, epoch_rng, evaluation_batches, training_batches
from cardiozoo.errors import OptionError


class Numbers:
    """Batches of (epoch, index, noise of the sample)."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitems__(self, pairs: list[tuple[int, int]]) -> torch.Tensor:
        return torch.tensor([[epoch, index, epoch_rng(3, epoch, index).random()] for epoch, index in pairs]).double()


def loader(size: int = 22, workers: int = 0, **options) -> BatchLoader:
    def order(epoch: int) -> np.ndarray:
        return epoch_rng(0, epoch).permutation(size)

    return BatchLoader(Numbers(size), order, 4, **{"training": True, "num_workers": workers, **options})


def epochs(source: BatchLoader, count: int) -> list[list[list]]:
    return [[batch.tolist() for batch in source] for _ in range(count)]


def test_epochs_differ_cover_the_data_and_leave_out_only_the_rest() -> None:
    first, second = epochs(loader(), 2)
    assert len(first) == len(loader()) == 5
    seen = [int(row[1]) for batch in first for row in batch]
    assert len(set(seen)) == 20 and {row[0] for batch in second for row in batch} == {1.0}
    assert [row[1] for batch in second for row in batch] != seen


def test_workers_do_not_change_anything() -> None:
    assert epochs(loader(workers=2), 3) == epochs(loader(), 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_at_every_position(workers: int) -> None:
    expected = list(itertools.chain(*epochs(loader(), 3)))
    source, position, states = loader(), 0, {}
    for _ in range(3):
        for _batch in source:
            position += 1
            states[position] = source.state_dict()
    for position in (1, 4, 5, 6, 10, 12) if workers == 0 else (4, 10):
        resumed = loader(workers=workers)
        resumed.load_state_dict(states[position])
        tail: list = []
        while len(tail) < len(expected) - position:
            tail += [batch.tolist() for batch in resumed]
        assert tail == expected[position:], f"position {position}"


def test_an_abandoned_epoch_is_not_gone_on_with_and_an_unused_iterator_moves_nothing() -> None:
    for workers in (0, 2):
        source = loader(workers=workers)
        iter(source), iter(source)
        assert next(iter(source))[0, 0] == 0
        assert [int(batch[0, 0]) for batch in source] == [1] * 5
        assert int(next(iter(source))[0, 0]) == 2


def test_a_trainer_that_cuts_epochs_short_resumes_with_the_next_epoch() -> None:
    cut = loader(steps_per_epoch=2)
    for batch in itertools.islice(cut, 2):
        assert batch[0, 0] == 0
    resumed = loader(steps_per_epoch=2)
    resumed.load_state_dict(cut.state_dict())
    assert next(iter(resumed))[0, 0] == 1


def test_evaluation_always_starts_at_the_beginning() -> None:
    source = BatchLoader(Numbers(10), lambda epoch: np.arange(10), 4, training=False, num_workers=2)
    next(iter(source))
    for _ in range(2):
        assert [batch[:, 1].int().tolist() for batch in source] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("size", [0, 1, 7, 16, 17, 33])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_shares_hold_every_sample_once(size: int, world: int) -> None:
    shares = [evaluation_batches(np.arange(size), 4, rank, world) for rank in range(world)]
    everything = sorted(int(i) for share in shares for batch in share for i in batch)
    assert everything == list(range(size)) and all(len(batch) <= 4 for share in shares for batch in share)
    if size >= world:
        assert len({len(share) for share in shares}) == 1, "a collective call would hang"


@pytest.mark.parametrize("size", [3, 16, 23, 40])
def test_training_shares_are_even_and_equal_one_process_with_a_larger_batch(size: int) -> None:
    order = np.random.default_rng(0).permutation(size)
    shares = [training_batches(order, 4, rank, 3) for rank in range(3)]
    assert len({len(share) for share in shares}) == 1
    joint = [np.concatenate(parts).tolist() for parts in zip(*shares, strict=True)]
    if size >= 12:
        assert joint == [batch.tolist() for batch in training_batches(order, 12, 0, 1)]
    assert len(set(itertools.chain(*joint))) == sum(map(len, joint))
    with pytest.raises(OptionError, match="2 training samples for 3"):
        training_batches(np.arange(2), 4, 0, 3)


class Recorder(L.LightningModule):
    """Trains one number on the noise it is given and keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.seen: list = []

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        self.seen.append(batch.tolist())
        return ((self.weight - batch[:, 2]) ** 2).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)


class Stop(L.Callback):
    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt


def trainer(*callbacks: L.Callback, **options) -> L.Trainer:
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return L.Trainer(accelerator="cpu", max_epochs=3, callbacks=list(callbacks), **quiet, **options)


@pytest.mark.parametrize(
    ("workers", "step", "options"), [(0, 3, {}), (0, 5, {}), (2, 8, {}), (0, 4, {"limit_train_batches": 3})]
)
def test_a_training_that_is_stopped_and_resumed_ends_with_the_same_weights(
    tmp_path: Path, workers: int, step: int, options: dict
) -> None:
    def fresh() -> BatchLoader:
        return loader(workers=workers, steps_per_epoch=options.get("limit_train_batches"))

    whole = Recorder()
    trainer(**options).fit(whole, fresh())
    before, after = Recorder(), Recorder()
    path = tmp_path / "stopped.ckpt"
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer(Stop(step, path), **options).fit(before, fresh())
    trainer(**options).fit(after, fresh(), ckpt_path=str(path))
    assert before.seen[:step] + after.seen == whole.seen
    assert torch.equal(after.weight, whole.weight)


def test_threads_give_the_batches_in_order_and_pass_on_an_error() -> None:
    import threading
    import time

    class Slow:
        """Later batches are ready first; batch 5 fails where it should."""

        fails = False

        def __len__(self) -> int:
            return 24

        def __getitems__(self, pairs: list[tuple[int, int]]) -> dict:
            index = pairs[0][1]
            time.sleep(0.002 * (24 - index) / 24)
            if self.fails and index == 10:
                raise ValueError("broken record")
            return {"id": [index for _, index in pairs], "thread": threading.current_thread().name}

    source = Slow()
    loader = BatchLoader(source, lambda epoch: np.arange(24), 2, training=True, num_workers=3, threads=True)
    for _ in range(2):
        batches = list(loader)
        assert [i for batch in batches for i in batch["id"]] == list(range(24))
        assert len({batch["thread"] for batch in batches}) > 1
    stopped = iter(loader)
    next(stopped)
    assert loader.state_dict() == {"epoch": 2, "batches": 1}  # what was prepared ahead does not count
    stopped.close()
    source.fails = True
    with pytest.raises(ValueError, match="broken record"):
        list(loader)
    deadline = time.monotonic() + 5
    while any(thread.name.startswith("batches") for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "threads outlive their loader"
        time.sleep(0.01)
