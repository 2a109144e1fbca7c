"""Commands whose options are the parameters of a function that a package registered: ``prepare`` and ``synthesize``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from cardiozoo.cli.parser_errors import in_three_parts
from cardiozoo.cli.typed import with_underscores
from cardiozoo.registry import NOUNS, find, problem, registered, resolve


def run_registered(kind: str, argv: list[str]) -> int:
    """Runs ``cardiozoo <kind> NAME [options]``; without a name, lists those that are registered.

    Raises:
        OptionError: the function has no such option, or not with such a value.
        UnknownNameError, NameCollisionError, BrokenPluginError: see :mod:`cardiozoo.registry`.
    """
    if not argv or argv[0] in ("-h", "--help"):
        _print_names(kind)
        return 0
    entry = find(kind, argv[0])
    function = resolve(argv[0], kind)
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog=f"cardiozoo {kind} {entry.name}",
        usage=f"cardiozoo {kind} {entry.name} [options]",
        description=(function.__doc__ or "").strip().partition("\n")[0],
        epilog="In names of options, - and _ are the same.",
        allow_abbrev=False,
        exit_on_error=False,
        parser_mode="yaml",
    )
    parser.add_argument("--config", action="config", help="A YAML file with values of the options.")
    parser.add_function_arguments(function, as_group=False, sub_configs=False)
    tokens = _flags_without_value(parser, with_underscores(argv[1:]))
    with in_three_parts(parser, f"cardiozoo {kind} {entry.name}", tokens):
        given = parser.parse_args(tokens)
    result = function(**_arguments(given, parser))
    if isinstance(result, Path | str):
        print(f"Written: {result}")
    return 0


def _arguments(given: Any, parser: Any) -> dict[str, Any]:
    built = parser.instantiate(given) if hasattr(parser, "instantiate") else parser.instantiate_classes(given)
    return {key: value for key, value in built.as_dict().items() if key != "config"}


def _flags_without_value(parser: Any, tokens: list[str]) -> list[str]:
    """``--overwrite`` alone stands for ``--overwrite true``."""
    yes_no = {option for action in parser._actions for option in action.option_strings if _is_bool(action)}
    complete = []
    for i, token in enumerate(tokens):
        alone = i + 1 == len(tokens) or tokens[i + 1].startswith("--")
        complete.append(f"{token}=true" if token in yes_no and alone else token)
    return complete


def _is_bool(action: Any) -> bool:
    return bool(re.fullmatch(r".*\bbool\b.*", str(getattr(action, "_typehint", None) or action.type)))


def _print_names(kind: str) -> None:
    entries = [entry for claimants in registered(kind).values() for entry in claimants]
    print(f"Usage: cardiozoo {kind} NAME [options]        cardiozoo {kind} NAME --help for the options of one\n")
    for entry in entries:
        trouble = problem(entry)
        print(f"  {entry.name:<20} {entry.package} {entry.version}{'  ' + trouble if trouble else ''}")
    if not entries:
        print(f"  no installed package registers a {NOUNS[kind]}", file=sys.stderr)
