"""The ``cardiozoo`` command: one file a command, imported only when that command is given."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
import warnings
from typing import Any

from cardiozoo.errors import CardiozooError, CardiozooWarning

# command -> (module with ``run(argv) -> int``, one line of help). ``--help`` prints them in this order.
COMMANDS = {
    "list": ("cardiozoo.cli.list", "models and data that are installed, built in or from plugins"),
    "show": ("cardiozoo.cli.show", "all about one of them: paper, parameters, recipes, departures from released code"),
    "synthesize": ("cardiozoo.cli.synthesize", "write a synthetic cohort in the raw public layout"),
    "prepare": ("cardiozoo.cli.prepare", "turn raw public files into a store"),
    "fit": ("cardiozoo.cli.fit", "train a model, then test and judge its best checkpoint"),
    "validate": ("cardiozoo.cli.fit", "run a trained model on the validation split"),
    "test": ("cardiozoo.cli.fit", "run a trained model on the test split and judge it"),
    "predict": ("cardiozoo.cli.fit", "write a trained model's predictions for a split"),
    "crossval": ("cardiozoo.cli.crossval", "train and test on every fold; mean, standard deviation, pooled intervals"),
    "reproduce": ("cardiozoo.cli.reproduce", "a paper's table, measured beside published: ls_emvae"),
    "evaluate": ("cardiozoo.cli.evaluate", "judge a run or any predictions table: intervals, subgroups, report"),
    "explain": ("cardiozoo.cli.explain", "what a run's predictions on ECGs rest on, lead by lead and wave by wave"),
}
EXAMPLES = """\
Examples:
  cardiozoo fit --model drfuse --data mimic_cxr_ehr              # at once, on a synthetic cohort
  cardiozoo prepare mimic_cxr_ehr --mimic-iv DIR --mimic-cxr DIR --out STORE
  cardiozoo fit --model drfuse --data mimic_cxr_ehr --data.store STORE --trainer.devices 4
  cardiozoo test --run runs/drfuse/mimic_cxr_ehr/20260101-120000
"""
FAILED, MISUSED, INTERRUPTED = 1, 2, 130
_STANDARD = warnings.showwarning


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns its exit status: 0, 1 (failed), 2 (misuse or bad input) or 130 (interrupted)."""
    # `list` is a command's module here once that command has run, hence no list(argv).
    argv = [*(sys.argv[1:] if argv is None else argv)]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return _dispatch(argv)
    except CardiozooError as error:
        if os.environ.get("CARDIOZOO_DEBUG"):
            traceback.print_exc()
        else:
            print(f"cardiozoo: {type(error).__name__}: {error}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        print("cardiozoo: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone; what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _show_warning(message: Warning | str, category: type[Warning], *place: Any) -> None:
    if issubclass(category, CardiozooWarning):
        print(f"cardiozoo: {message}", file=sys.stderr)
    else:
        _STANDARD(message, category, *place)


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help(), end="")
        return 0 if argv else MISUSED
    if argv[0] in ("-V", "--version", "version"):
        from cardiozoo import __version__

        print(f"cardiozoo {__version__}")
        return 0
    command = argv[0].replace("_", "-")
    if command not in COMMANDS:
        raise _unknown(command)
    module = importlib.import_module(COMMANDS[command][0])
    return module.run(argv if COMMANDS[command][0] == "cardiozoo.cli.fit" else argv[1:]) or 0


def _unknown(command: str) -> CardiozooError:
    from cardiozoo.errors import UnknownNameError

    close = difflib.get_close_matches(command, COMMANDS, n=2, cutoff=0.5)
    return UnknownNameError(
        f"There is no command {command!r}.",
        f"Commands: {', '.join(COMMANDS)}.",
        f"Did you mean `cardiozoo {close[0]}`?" if close else "`cardiozoo --help` describes them.",
    )


def _help() -> str:
    lines = ["Usage: cardiozoo COMMAND [options]        cardiozoo COMMAND --help for the options of one", ""]
    lines += [f"  {name:<11} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join([*lines, "", EXAMPLES])
