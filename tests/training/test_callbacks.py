"""Early stopping when the score is undefined or does not exist."""

from types import SimpleNamespace

import pytest
import torch

from cardiozoo.errors import OptionError
from cardiozoo.training.callbacks import DefinedEarlyStopping, default_callbacks


class Trainer(SimpleNamespace):
    """What EarlyStopping looks at of a trainer."""

    def __init__(self) -> None:
        strategy = SimpleNamespace(reduce_boolean_decision=lambda stop, all: stop)
        state = SimpleNamespace(fn="fit")
        super().__init__(
            callback_metrics={}, sanity_checking=False, fast_dev_run=False, should_stop=False, current_epoch=0,
            strategy=strategy, state=state, world_size=1, global_rank=0,
        )  # fmt: skip


def stopped_after(scores: list[float], patience: int) -> int | None:
    stopping = DefinedEarlyStopping(monitor="val/auroc", mode="max", patience=patience, check_finite=False)
    stopping._check_on_train_epoch_end = False
    trainer = Trainer()
    for count, score in enumerate(scores, 1):
        trainer.callback_metrics = {"val/auroc": torch.tensor(score)}
        stopping.on_validation_end(trainer, torch.nn.Identity())
        if trainer.should_stop:
            return count
    return None


def test_undefined_scores_do_not_count_as_failures_to_improve():
    nan = float("nan")
    assert stopped_after([nan] * 5, patience=1) is None
    assert stopped_after([0.5, nan, nan, 0.4], patience=1) == 4
    assert stopped_after([0.5, 0.4], patience=1) == 2


def test_a_metric_that_nobody_logs_is_named_with_those_that_are():
    stopping = DefinedEarlyStopping(monitor="val/nope", mode="max")
    stopping._check_on_train_epoch_end = False
    trainer = Trainer()
    trainer.callback_metrics = {"val/auroc": torch.tensor(0.5), "train/loss": torch.tensor(1.0)}
    with pytest.raises(OptionError, match=r"(?s)val/nope.*val/auroc"):
        stopping.on_validation_end(trainer, torch.nn.Identity())


def test_negative_patience_is_refused(tmp_path):
    with pytest.raises(OptionError, match="patience -1"):
        default_callbacks([], tmp_path, "val/auroc", "max", -1, None)
