"""A power cut."""

from __future__ import annotations

import os
import signal

from lightning.pytorch import Callback


class KillAtStep(Callback):
    """Kills this process once so many steps are done, unless there is a file ``cured``.

    Args:
        step: How many.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.global_step >= self.step and not os.path.exists("cured"):
            os.kill(os.getpid(), signal.SIGKILL)
