"""What the argument parser refuses, in the three parts of all other errors instead of a dump of its types."""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import dedent

from cardiozoo.cli.typed import COMPONENTS, LINKED, options
from cardiozoo.errors import CardiozooError, OptionError

FEW = 40  # options that are listed when one of them is misspelt
_KEY = re.compile(r'(?:- )?Parser key "([^"]+)":?(.*)')
_CLASS = re.compile(r"(?:- )?Problem with given class_path '([^']+)':?(.*)")
_UNRECOGNIZED = re.compile(r"unrecognized arguments: (.+)|Subcommand '\w+' does not accept option '(.+)'", re.DOTALL)
_REQUIRED = re.compile(r"the following arguments are required: (.+)")
_NO_VALUE = re.compile(r"argument (\S+): expected .*argument")
_UNKNOWN = re.compile(r"Option '([^']+)' is not accepted")
_EXPECTED = re.compile(r"Expected an? (.+?)\. Got value: ?(.*)", re.DOTALL)
_UNION = re.compile(r"^ *Subtypes: \[([^\n]*)\]$.*^ *Given value: ?(.*)", re.DOTALL | re.MULTILINE)
_TYPED = re.compile(r"NestedArg\(key='[^']*', val=(.*)\)$", re.MULTILINE)
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "tuple": "a list",
    "Iterable": "a list",
    "Sequence": "a list",
    "dict": "a mapping",
    "Path": "a path",
    "NoneType": "null",
}


@contextmanager
def in_three_parts(
    parser: argparse.ArgumentParser, command: str, tokens: Sequence[str], classes: dict[str, str] | None = None
) -> Iterator[None]:
    """Turns the errors of a parser that was built with ``exit_on_error=False`` into OptionErrors.

    Args:
        parser: The parser, for the names of its options.
        command: How the command is called: ``cardiozoo prepare ptb_xl``.
        tokens: What was typed behind it.
        classes: The classes of ``model`` and ``data``, whose options the parser does not hold.

    Raises:
        CardiozooError: The parser refused; what a component or a config refused comes through as it is.
    """
    try:
        yield
    except argparse.ArgumentError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, CardiozooError):
            cause = cause.__cause__ or cause.__context__
        shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
        known = [name for action in shown for name in action.option_strings if name.startswith("--")]
        known += [f"--{kind}.{name}" for kind, path in (classes or {}).items() for name in options_of(path)]
        raise cause or translated(str(error), command, tokens, known) from error


def translated(message: str, command: str, tokens: Sequence[str] = (), known: Sequence[str] = ()) -> OptionError:
    """The error that says what a message of the parser says.

    Args:
        message: All of it.
        command: How the command is called.
        tokens: What was typed behind it.
        known: The names of its options.
    """
    if found := _UNRECOGNIZED.fullmatch(message):
        return _unrecognized(found[1].split()[0] if found[1] else f"--{found[2]}", command, known)
    if found := _REQUIRED.fullmatch(message):
        needed = " and ".join(f"--{name}" for name in found[1].split(", "))
        return OptionError(f"`{command}` was not given {needed}.", "A value for each option.", _described(command))
    if found := _NO_VALUE.fullmatch(message):
        name = found[1].split("/")[-1]
        bare = [f"--{key}" for _, key, value in options(list(tokens)) if value is None and f"--{key}.".startswith(name)]
        name, kind = (bare or [name])[0], name[2:]
        described = f"`{command} --{kind}.help NAME` describes them." if kind in COMPONENTS else _described(command)
        return OptionError(f"{name} has no value.", "A value after every option.", described)
    part = _innermost(message)
    if part.class_path and (found := _UNKNOWN.match(part.body)):
        return unknown_option(part.option[2:], part.class_path, found[1], options_of(part.class_path))
    if part.option and (found := _UNION.search(part.body)):
        kinds = [kind for kind in _split(found[1]) if part.option[2:] not in COMPONENTS or "NoneType" not in kind]
        return OptionError(f"{part.option} is {_shown(found[2])}.", f"{_in_words(kinds)}.", _described(command, part))
    if part.option and (found := _EXPECTED.match(part.body)):
        typed = _TYPED.search(message)
        inside = typed is not None and typed[1].startswith(("[", "{", "("))
        given = typed[1] if inside else found[2]
        instead = f" in place of {_shown(found[2])}" if inside else ""
        accepted = f"{_in_words([found[1]])}{instead}."
        return OptionError(f"{part.option} is {_shown(given)}.", accepted, _described(command, part))
    came = f"{part.option}: {_shortened(part.body)}" if part.option else _shortened(message)
    return OptionError(f"{came}.", f"What `{command} --help` says of its options.", "Correct it, or leave it out.")


def unknown_option(kind: str, path: str, name: str, names: Sequence[str]) -> OptionError:
    """The error that a class has no option of that name.

    Args:
        kind: What chose the class: ``model``, ``data``, ``trainer.callbacks``.
        path: The class.
        name: What was asked for.
        names: What there is.
    """
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return OptionError(
        f"{path} has no option {name!r}.",
        f"Its options: {', '.join(names)}.",
        f"Did you mean --{kind}.{f' or --{kind}.'.join(close)}?" if close else f"--{kind}.help describes them.",
    )


def options_of(path: str) -> list[str]:
    """The options of a class as the parser knows them, those of its base classes too, but none that the data answer."""
    from jsonargparse import ArgumentParser

    module, _, name = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
        added = ArgumentParser(exit_on_error=False).add_class_arguments(cls, "of", fail_untyped=False)
    except (ImportError, AttributeError, ValueError, TypeError):
        return []
    return [name for name in dict.fromkeys(key.split(".")[1] for key in added) if name not in LINKED]


# --- Reading the message -----------------------------------------------------------------------------------------


@dataclass
class _Part:
    """Of a message, the part that says most exactly what is wrong.

    Attributes:
        option: The option as it is typed; empty if none is named.
        class_path: The class whose option it is, if it is one of a class.
        body: What is said of it.
    """

    option: str
    class_path: str | None
    body: str


def _innermost(message: str) -> _Part:
    """The part below most keys and classes, the first one of several."""
    lines = message.splitlines()
    above: list[tuple[int, str | None, str | None]] = []  # indentation, key, class path
    best, depth = _Part("", None, message), 0
    for i, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        key, cls = _KEY.fullmatch(line.strip()), _CLASS.fullmatch(line.strip())
        if not (key or cls):
            continue
        above = [entry for entry in above if entry[0] < indent]
        above.append((indent, key[1] if key else None, cls[1] if cls else None))
        if len(above) > depth:
            below = []
            for following in lines[i + 1 :]:
                if following.strip() and len(following) - len(following.lstrip()) <= indent:
                    break
                below.append(following)
            found = key or cls
            body = dedent("\n".join([*([found[2].strip()] if found and found[2].strip() else []), *below])).strip("\n")
            entries = dict.fromkeys(entry for _, entry, _ in above if entry)
            keys = [name for entry in entries for name in entry.split(".") if name != "init_args"]
            paths = [path for _, _, path in above if path]
            best, depth = _Part(f"--{'.'.join(keys)}" if keys else "", paths[-1] if paths else None, body), len(above)
    return best


# --- Words -------------------------------------------------------------------------------------------------------


def _unrecognized(token: str, command: str, known: Sequence[str]) -> OptionError:
    name = token.partition("=")[0]
    if not name.startswith("-"):
        return OptionError(f"`{command}` takes no {name!r}.", "Options, each as --NAME VALUE.", _described(command))
    names = sorted(set(known))
    longer = [known for known in names if known.startswith(name)]
    close = [f"--{near}" for near in difflib.get_close_matches(name.lstrip("-"), [n.lstrip("-") for n in names], n=3)]
    close = list(dict.fromkeys([*longer, *close]))[:3]
    accepted = (
        f"Options with names like it: {', '.join(close)}."
        if close
        else "Options of the run, --trainer.X, --model.X and --data.X."
    )
    if len(names) <= FEW:
        accepted = f"Its options: {', '.join(names)}."
    best = f"Did you mean {close[0]}?" if close else _described(command)
    return OptionError(f"`{command}` has no option {name}.", accepted, best)


def _described(command: str, part: _Part | None = None) -> str:
    kind = part.option[2:].split(".")[0] if part is not None else ""
    if part is None or kind not in COMPONENTS:
        return f"`{command} --help` describes {'them' if part is None else 'it'}."
    if part.class_path is None:
        return "`cardiozoo list` describes those that are installed."
    from cardiozoo.cli.arguments import registered_name

    return f"`{command} --{kind}.help {registered_name(kind, part.class_path) or part.class_path}` describes it."


def _shown(value: str) -> str:
    """A value that is not a number, a list or a mapping in quotation marks."""
    try:
        return value if isinstance(ast.literal_eval(value), list | dict | tuple | int | float) else repr(value)
    except (ValueError, SyntaxError):
        return value if value.startswith(("[", "{")) else repr(value)


def _in_words(kinds: Sequence[str]) -> str:
    """``["<class 'int'>", "<class 'NoneType'>"]`` -> ``A whole number or null``."""
    choices: list[str] = []
    words: list[str] = []
    for kind in kinds:
        if literal := re.fullmatch(r"(?:typing\.)?Literal\[(.*)\]", kind):
            choices += [str(value) for value in ast.literal_eval(f"[{literal[1]}]")]
            continue
        cls = re.fullmatch(r"<class '(.+)'>", kind)
        name = (cls[1] if cls else kind.partition("[")[0]).rpartition(".")[2]
        words.append(_WORDS.get(name, f"a {name}"))
    words = sorted(dict.fromkeys(words), key=lambda word: word == "null")
    said = ", ".join(words[:-1]) + (" or " if len(words) > 1 else "") + "".join(words[-1:])
    if choices:
        said = f"one of {', '.join(dict.fromkeys(choices))}" + (f"; or {said}" if said else "")
    return said[:1].upper() + said[1:]


def _split(kinds: str) -> list[str]:
    """The members of a list of types, which may hold commas themselves."""
    found, depth = [""], 0
    for character in kinds:
        depth += (character == "[") - (character == "]")
        if character == "," and not depth:
            found.append("")
        else:
            found[-1] += character
    return [kind.strip() for kind in found]


def _shortened(text: str) -> str:
    """One line, with classes by their names alone."""
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
    return re.sub(r"\s+", " ", text).strip().rstrip(".")
