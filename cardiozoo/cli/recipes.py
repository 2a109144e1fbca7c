"""Recipes: the YAML files ``<model>/<data>[.<variant>].yaml`` of every package in the group ``cardiozoo.recipes``.

They are found without importing the packages that hold them. A variant states only what differs from the recipe of the
pair, and is laid over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cardiozoo.errors import NameCollisionError, UnknownNameError
from cardiozoo.registry import find_spec, normalized, registered, unknown_name

SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Recipe:
    """One recipe file; ``name`` is ``model/data`` or ``model/data.variant``."""

    name: str
    path: Path
    package: str

    @property
    def pair(self) -> str:
        return self.name.partition(".")[0]

    @property
    def variant(self) -> str:
        return self.name.partition(".")[2]


def recipes() -> dict[str, Recipe]:
    """Every recipe that is installed, by its normalised name.

    Raises:
        NameCollisionError: two packages ship a recipe of one name.
    """
    found: dict[str, Recipe] = {}
    for claimants in registered("recipes").values():
        for entry in claimants:
            for path in _files(entry.module):
                recipe = Recipe(f"{path.parent.name}/{path.stem}", path, f"{entry.package} {entry.version}")
                other = found.setdefault(normalized(recipe.name), recipe)
                if other.path != path:
                    raise NameCollisionError(
                        f"The recipe {recipe.name!r} is shipped by {other.package} and by {recipe.package}.",
                        "One name stands for one recipe.",
                        f"Give the file itself: --recipe {recipe.path}",
                    )
    return dict(sorted(found.items()))


def _files(package: str) -> list[Path]:
    spec = find_spec(package)
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or []]
    return sorted(path for folder in folders for path in folder.glob("*/*.yaml"))


def recipes_for(name: str) -> list[Recipe]:
    """The recipes that name the model or data module ``name``."""
    wanted = normalized(name)
    return [recipe for key, recipe in recipes().items() if wanted in key.partition(".")[0].split("/")]


def choose(model: str, data: str, task: str | None, synthetic: bool) -> list[Recipe]:
    """The recipe of a pair and the variants that apply, each to be laid over the one before; empty if there is none."""
    everything = recipes()
    pair = f"{normalized(model)}/{normalized(data)}"
    names = [pair, *([f"{pair}.{normalized(task)}"] if task else []), *([f"{pair}.{SYNTHETIC}"] if synthetic else [])]
    return [everything[name] for name in names if name in everything]


def named(name: str) -> list[Recipe]:
    """The layers of the recipe ``model/data[.variant[.variant]]``, or the one YAML file at the path ``name``.

    Raises:
        UnknownNameError: there is neither such a recipe nor such a file.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        if not Path(name).is_file():
            raise UnknownNameError(
                f"There is no recipe file {name}.",
                "A YAML file, or a name: drfuse/mimic_cxr_ehr.",
                "`cardiozoo show MODEL` names the recipes of a model.",
            )
        return [Recipe(name, Path(name), "file")]
    everything = recipes()
    pair, *variants = normalized(name).split(".")
    asked = [f"{pair}.{variant}" for variant in variants] or [pair]
    for layer in asked:
        if layer not in everything:
            raise unknown_name("recipe", layer, everything)
    return [everything[layer] for layer in dict.fromkeys([pair, *asked]) if layer in everything]
