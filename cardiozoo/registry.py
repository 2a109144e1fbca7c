"""Names of models and data, found through the entry points of every installed package, cardiozoo's own included.

Looking names up imports no plugin: :func:`registered`, :func:`find` and :func:`problem` read installed metadata and
source text only. :func:`resolve`, :func:`create_model` and :func:`create_datamodule` import the one package asked for.
Names are compared without regard to case, and ``-`` equals ``_``.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cardiozoo.errors import BrokenPluginError, NameCollisionError, UnknownNameError

GROUPS = {
    "model": "cardiozoo.models",
    "data": "cardiozoo.datamodules",
    "recipes": "cardiozoo.recipes",
    "prepare": "cardiozoo.preparers",
    "synthesize": "cardiozoo.synthesizers",
}
NOUNS = {
    "model": "model",
    "data": "data module",
    "recipes": "recipe package",
    "prepare": "preparation",
    "synthesize": "simulator",
}


@dataclass(frozen=True)
class Registered:
    """One entry point: the name people type, what it stands for, and who installed it."""

    kind: str
    name: str
    value: str
    package: str
    version: str

    @property
    def module(self) -> str:
        return self.value.partition(":")[0].strip()

    @property
    def attribute(self) -> str:
        return self.value.partition(":")[2].partition("[")[0].strip()

    @property
    def class_path(self) -> str:
        return f"{self.module}.{self.attribute}" if self.attribute else self.module

    def __str__(self) -> str:
        return f"{self.package} {self.version} ({self.class_path})"


def normalized(name: str) -> str:
    """The form in which names are compared: lower case, ``-`` as ``_``."""
    return name.strip().lower().replace("-", "_")


def registered(kind: str) -> dict[str, list[Registered]]:
    """Everything registered under ``kind``: normalised name -> its claimants (more than one is a collision), sorted."""
    claims: dict[str, list[Registered]] = {}
    for entry in importlib.metadata.entry_points(group=GROUPS[kind]):
        package, version = _distribution(entry)
        one = Registered(kind, entry.name, entry.value, package, version)
        same_name = claims.setdefault(normalized(entry.name), [])
        # A distribution may be found twice on sys.path (an editable install beside a stale egg-info); the first one
        # is the one Python imports, so it is the one that counts.
        if not any(_same_distribution(one, other) for other in same_name):
            same_name.append(one)
    return {name: sorted(claims[name], key=lambda e: e.package) for name in sorted(claims)}


def _distribution(entry: importlib.metadata.EntryPoint) -> tuple[str, str]:
    if entry.dist is None:
        return "unknown package", "?"
    return entry.dist.metadata["Name"] or "unknown package", entry.dist.version or "?"


def _same_distribution(a: Registered, b: Registered) -> bool:
    def canonical(package: str) -> str:
        return re.sub(r"[-_.]+", "-", package).lower()

    return canonical(a.package) == canonical(b.package)


def find(kind: str, name: str) -> Registered:
    """The one entry point called ``name``.

    Raises:
        UnknownNameError: nobody registered it; similar names and the whole list are given.
        NameCollisionError: two packages registered it.
    """
    everything = registered(kind)
    claimants = everything.get(normalized(name), [])
    if not claimants:
        raise unknown_name(NOUNS[kind], name, [entries[0].name for entries in everything.values()])
    if len(claimants) > 1:
        raise NameCollisionError(collision(claimants), "One name stands for one class.", _way_out(claimants))
    return claimants[0]


def unknown_name(noun: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a misspelt ``name``, with what was probably meant and all that is known."""
    known = list(known)
    close = difflib.get_close_matches(normalized(name), [normalized(k) for k in known], n=3, cutoff=0.5)
    meant = [k for k in known if normalized(k) in close]
    return UnknownNameError(
        f"There is no {noun} called {name!r}.",
        f"Known: {', '.join(known) or 'none; no installed package registers one'}.",
        f"Did you mean {' or '.join(meant)}?" if meant else "`cardiozoo list` describes them.",
    )


def collision(claimants: list[Registered]) -> str:
    """One line that names every package claiming the same name."""
    return f"{claimants[0].name!r} is claimed by " + " and by ".join(map(str, claimants)) + "."


def _way_out(claimants: list[Registered]) -> str:
    return f"Uninstall one of them, or give the full class path, for example {claimants[0].class_path}."


def resolve(name: str, kind: str = "model") -> Any:
    """The class (or function) behind a registered name or a full path ``package.module.Class``.

    Raises:
        UnknownNameError, NameCollisionError: see :func:`find`.
        BrokenPluginError: what the name stands for cannot be imported; the cause is given and chained.
    """
    if "." in name and normalized(name) not in registered(kind):
        claims = [entry for claimants in registered(kind).values() for entry in claimants if entry.class_path == name]
        module, _, attribute = name.rpartition(".")
        return _load(claims[0] if claims else Registered(kind, name, f"{module}:{attribute}", "", ""))
    return _load(find(kind, name))


def _load(entry: Registered) -> Any:
    owner = f" of {entry.package} {entry.version}" if entry.package else ""
    source = f"{NOUNS[entry.kind]} {entry.name!r}{owner}"
    try:
        loaded: Any = importlib.import_module(entry.module)
        for part in entry.attribute.split(".") if entry.attribute else []:
            loaded = getattr(loaded, part)
    except Exception as error:
        raise BrokenPluginError(
            f"The {source} cannot be imported: {type(error).__name__}: {error}",
            f"It stands for {entry.class_path}.",
            "Install what it needs, or tell its authors. Every other name works as before.",
        ) from error
    if entry.kind in ("model", "data") and not isinstance(loaded, type):
        raise BrokenPluginError(
            f"The {source} stands for {entry.class_path}, which is a {type(loaded).__name__}.",
            "A class is needed.",
            "Correct the entry point of that package and install it again.",
        )
    return loaded


def create_model(name: str, **init: Any) -> Any:
    """An instance of the model ``name`` with the given ``__init__`` arguments."""
    return resolve(name, "model")(**init)


def create_datamodule(name: str, **init: Any) -> Any:
    """An instance of the data module ``name`` with the given ``__init__`` arguments."""
    return resolve(name, "data")(**init)


def list_models(
    modality: str | Iterable[str] | None = None,
    task: str | Iterable[str] | None = None,
    missing: str | Iterable[str] | None = None,
) -> list[str]:
    """Names of the models that use every ``modality``, do every ``task`` and tolerate every one ``missing``.

    Names that are broken or claimed twice are left out; ``cardiozoo list`` shows them with their errors.

    Raises:
        UnknownNameError: no card of any model mentions such a modality or task.
    """
    return _names("model", modalities=modality, tasks=task, missing=missing)


def list_datamodules(modality: str | Iterable[str] | None = None, task: str | Iterable[str] | None = None) -> list[str]:
    """Names of the data modules that hold every ``modality`` and offer every ``task``; see :func:`list_models`."""
    return _names("data", modalities=modality, tasks=task)


def _names(kind: str, **wanted: str | Iterable[str] | None) -> list[str]:
    from cardiozoo.cards import listing, matching

    return [row["name"] for row in matching(listing(kind), **wanted) if not row["problem"]]


def problem(entry: Registered) -> str:
    """Why ``entry`` would fail to import, as far as metadata and source text tell; empty if nothing is wrong.

    Nothing is executed: the module is looked for, its text parsed, its attribute and its imports searched.
    """
    spec = find_spec(entry.module)
    if spec is None:
        return f"ModuleNotFoundError: no module named {entry.module!r}"
    if _same_distribution(entry, Registered("", "", "", "cardiozoo", "")) or not (spec.origin or "").endswith(".py"):
        return ""  # our own modules are imported by our own tests; compiled ones cannot be read
    try:
        tree = ast.parse(Path(str(spec.origin)).read_bytes())
    except (SyntaxError, ValueError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    for module in _unconditional_imports(tree):
        own = module.split(".")[0] == entry.module.split(".")[0]
        if find_spec(module if own else module.split(".")[0]) is None:
            return f"ModuleNotFoundError: it imports {module!r}, which is not installed"
    names = _top_level_names(tree)
    attribute = entry.attribute.split(".")[0]
    if attribute and attribute not in names and not names & {"*", "__getattr__"}:
        return f"AttributeError: module {entry.module!r} has no {attribute!r}"
    return ""


def find_spec(module: str) -> importlib.machinery.ModuleSpec | None:
    """Where ``module`` would be imported from, without importing it or any package above it."""
    if module in sys.modules and getattr(sys.modules[module], "__spec__", None) is not None:
        return sys.modules[module].__spec__
    parts = module.split(".")
    try:
        spec = importlib.util.find_spec(parts[0])
        for i in range(1, len(parts)):
            if spec is None or spec.submodule_search_locations is None:
                return None
            path = list(spec.submodule_search_locations)
            spec = _first_spec(".".join(parts[: i + 1]), path)
    except (ImportError, ValueError, AttributeError):
        return None
    return spec


def _first_spec(fullname: str, path: list[str]) -> importlib.machinery.ModuleSpec | None:
    # Editable installs put finders of their own on sys.meta_path, so all finders are asked, as the import system does.
    for finder in sys.meta_path:
        search = getattr(finder, "find_spec", None)
        spec = search(fullname, path) if search else None
        if spec is not None:
            return spec
    return None


def _unconditional_imports(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def _top_level_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    todo: list[ast.stmt] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
            continue
        names.update(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
        todo.extend(child for child in ast.walk(node) if child is not node and isinstance(child, ast.stmt))
    return names
