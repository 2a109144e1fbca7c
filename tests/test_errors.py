"""Errors that a user sees have three parts: what came, what would be accepted, what to do next."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cardiozoo
from cardiozoo import errors
from cardiozoo.errors import CardiozooError, OptionError, RecordError, check_choice

# A RecordError need not say what to do next: whoever reads many recordings leaves this one out.
THREE_PARTS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, CardiozooError) and value is not RecordError
}


def calls_of_errors(source: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            if name in THREE_PARTS:
                yield node


def parts_missing(call: ast.Call) -> bool:
    """Whether fewer than three parts are given; what is handed on with a star is not looked into."""
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    if any(isinstance(part, ast.Starred) for part in given) or any(keyword.arg is None for keyword in call.keywords):
        return False
    return len(given) < 3 or any(isinstance(part, ast.Constant) and not part.value for part in given)


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ('OptionError("a", "b")', True),
        ('errors.StoreError("a", accepted="b")', True),
        ('OptionError("a", "b", "")', True),
        ('OptionError("a", f"{b}", next_step=c)', False),
        ("OptionError(*parts)", False),
    ],
)
def test_what_counts_as_missing(source: str, missing: bool) -> None:
    assert [parts_missing(call) for call in calls_of_errors(source)] == [missing]


def test_every_error_of_the_package_has_three_parts() -> None:
    root = Path(cardiozoo.__file__).parent
    found = {
        path: [call.lineno for call in calls_of_errors(path.read_text(encoding="utf-8")) if parts_missing(call)]
        for path in sorted(root.rglob("*.py"))
    }
    assert not [f"{path.relative_to(root)}:{line}" for path, lines in found.items() for line in lines]


@pytest.mark.parametrize(
    ("value", "next_step"),
    [("plataeu", "Did you mean plateau?"), ("cosine", "Leave schedule out for its default.")],
)
def test_a_choice_that_is_none(value: str, next_step: str) -> None:
    with pytest.raises(OptionError) as caught:
        check_choice("schedule", value, ("none", "plateau"))
    assert str(caught.value) == f"schedule {value!r}.\nOne of none, plateau.\n{next_step}"
