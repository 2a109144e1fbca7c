"""Errors that answer three questions: what came, what would be accepted, what to do next."""

from __future__ import annotations

import difflib
from typing import Any, get_args


class CardiozooError(Exception):
    """Base of every error that cardiozoo raises on purpose; the command line prints it without a traceback.

    Args:
        came: What was given or found, with the name, path or count that is known.
        accepted: What would have been accepted.
        next_step: What to do now: a command, an option, a place to read on.
    """

    def __init__(self, came: str, accepted: str = "", next_step: str = "") -> None:
        self.came, self.accepted, self.next_step = came, accepted, next_step
        super().__init__("\n".join(part for part in (came, accepted, next_step) if part))


class CardiozooWarning(UserWarning):
    """What a user should know though the run goes on; the command line prints it without the line of code."""


class UnknownNameError(CardiozooError, ValueError):
    """A model, data module, recipe, task or option value that nobody has registered."""


class NameCollisionError(CardiozooError):
    """Two installed packages claim one name."""


class BrokenPluginError(CardiozooError):
    """An entry point exists but importing what it names fails."""


class OptionError(CardiozooError, ValueError):
    """An option out of its range, or two options that contradict each other."""


class RawDataError(CardiozooError):
    """Raw files that are missing, truncated or not in the documented layout."""


class StoreError(CardiozooError):
    """A prepared store that is absent, incomplete, damaged, foreign or of another version."""


class CheckpointError(CardiozooError):
    """A checkpoint that is absent or does not fit the model that was asked for."""


class PredictionsError(CardiozooError):
    """A predictions table that does not follow the format."""


class RecordError(CardiozooError):
    """One recording that cannot be used: whoever reads many leaves it out, counts it by ``reason`` and goes on.

    Args:
        came: See :class:`CardiozooError`.
        accepted: See :class:`CardiozooError`.
        next_step: See :class:`CardiozooError`.
        reason: A few words without names, paths or identifiers, so that equal failures have equal reasons.
    """

    def __init__(self, came: str, accepted: str = "", next_step: str = "", *, reason: str) -> None:
        super().__init__(came, accepted, next_step)
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        # worker processes send errors as pickles, and those know positional arguments only
        return _record_error, (self.came, self.accepted, self.next_step, self.reason)


def _record_error(came: str, accepted: str, next_step: str, reason: str) -> RecordError:
    return RecordError(came, accepted, next_step, reason=reason)


def check_choice(name: str, value: object, choices: Any) -> None:
    """Raise OptionError unless the value of an option is one of the choices, a ``Literal`` or some names."""
    accepted = get_args(choices) or tuple(choices)
    if value not in accepted:
        close = difflib.get_close_matches(str(value), accepted, n=1, cutoff=0.7)
        raise OptionError(
            f"{name} {value!r}.",
            f"One of {', '.join(accepted)}.",
            f"Did you mean {close[0]}?" if close else f"Leave {name} out for its default.",
        )
