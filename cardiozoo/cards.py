"""Cards: what a model or a data module says of itself, in a YAML file beside its module, read without importing it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cardiozoo.errors import BrokenPluginError
from cardiozoo.registry import Registered, collision, find_spec, problem, registered, unknown_name

# Fields that the commands rely on, with their types; a card may hold any others.
LISTS_OF_WORDS = ("modalities", "tasks", "missing")
TEXTS = ("name", "title", "summary")


def card_path(entry: Registered) -> Path | None:
    """The card of ``entry``: ``<name>.yaml`` beside its module, or else ``<module>.yaml``; None if there is neither.

    The first form serves a module that holds several classes. For a package, "beside" is inside it as well.
    """
    spec = find_spec(entry.module)
    if spec is None:
        return None
    last = entry.module.rpartition(".")[2]
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    if spec.origin and spec.has_location:
        home = Path(spec.origin).parent
        folders += [home.parent] if folders else [home]
    names = dict.fromkeys([entry.name, entry.name.replace("-", "_"), last])
    candidates = (folder / f"{name}.yaml" for folder in folders for name in names)
    return next((path for path in candidates if path.is_file()), None)


def read_card(entry: Registered) -> dict[str, Any]:
    """The card of ``entry``; an empty one if it has none.

    Raises:
        BrokenPluginError: the card is not YAML, or one of the fields that commands rely on has the wrong type.
    """
    path = card_path(entry)
    if path is None:
        return {}
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        card = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _broken(entry, path, " ".join(str(error).split())) from error
    if not isinstance(card, dict):
        raise _broken(entry, path, f"it holds a {type(card).__name__}, not a mapping")
    for field in LISTS_OF_WORDS:
        value = card.get(field) or []
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise _broken(entry, path, f"{field} must be a list of words, not {value!r}")
    for field in TEXTS:
        if not isinstance(card.get(field, ""), str):
            raise _broken(entry, path, f"{field} must be text, not {card[field]!r}")
    return card


def _broken(entry: Registered, path: Path, cause: str) -> BrokenPluginError:
    return BrokenPluginError(
        f"The card of {entry.name!r} cannot be read: {cause}",
        f"A YAML mapping is needed in {path}.",
        f"Correct it, or tell the authors of {entry.package}.",
    )


def listing(kind: str) -> list[dict[str, Any]]:
    """One row a registered name, two or more where names collide: card fields, origin, and the ``problem`` if any."""
    rows = []
    for claimants in registered(kind).values():
        for entry in claimants:
            trouble, card = problem(entry), {}
            try:
                card = read_card(entry)
            except BrokenPluginError as error:
                trouble = trouble or error.came
            if len(claimants) > 1:
                trouble = f"NameCollisionError: {collision(claimants)}"
            row: dict[str, Any] = {"name": entry.name, "class_path": entry.class_path}
            row |= {"package": entry.package, "version": entry.version}
            row |= {field: card.get(field) or "" for field in ("title", "summary")}
            row |= {field: card.get(field) or [] for field in LISTS_OF_WORDS}
            rows.append(row | {"card": bool(card), "problem": trouble})
    return rows


def matching(rows: list[dict[str, Any]], **wanted: str | Iterable[str] | None) -> list[dict[str, Any]]:
    """The ``rows`` whose card lists hold every wanted word (``modalities=["ehr"]``); ``None`` asks for nothing.

    Raises:
        UnknownNameError: a word that no card holds in that field.
    """
    kept = rows
    for field, words in wanted.items():
        for word in [words] if isinstance(words, str) else words or []:
            known = sorted({known for row in rows for known in row[field]})
            if word not in known:
                noun = {"modalities": "modality", "tasks": "task", "missing": "modality that may be missing"}[field]
                raise unknown_name(noun, word, known)
            kept = [row for row in kept if word in row[field]]
    return kept
