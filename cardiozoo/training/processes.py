"""Which of several training processes this one is, told from the environment before torch is loaded."""

from __future__ import annotations

import os

from cardiozoo.errors import OptionError

RUN_DIR = "CARDIOZOO_RUN_DIR"  # the first process tells those that it starts which run folder it chose


def global_rank() -> int:
    """The number of this process among all of a run, as torchrun, SLURM or Lightning's launcher say."""
    if "RANK" in os.environ:
        return int(os.environ["RANK"])
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ:
        return int(os.environ["SLURM_PROCID"])
    # Lightning starts the other processes of a machine itself, with NODE_RANK and LOCAL_RANK.
    return int(os.environ.get("NODE_RANK", "0")) * 1_000_000 + int(os.environ.get("LOCAL_RANK", "0"))


def shared_run_name() -> str | None:
    """A name that all processes of one job agree on when something else started them; None if we start them.

    Raises:
        OptionError: the processes were started from outside and share no job number.
    """
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        return f"slurm-{os.environ['SLURM_JOB_ID']}"
    if "TORCHELASTIC_RUN_ID" in os.environ or "RANK" in os.environ:
        raise OptionError(
            "Several processes were started from outside, each of which would choose a run folder of its own.",
            "One folder for all of them: --run_dir DIR.",
            "Or let cardiozoo start them: --trainer.devices N.",
        )
    return None
