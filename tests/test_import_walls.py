"""The import walls of docs/architecture.md, read from the source of every module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cardiozoo

ROOT = Path(cardiozoo.__file__).parent

# What each part may import of cardiozoo; everything may import the errors.
ALLOWED = {
    "errors": set(),
    "registry": {"cards"},
    "cards": {"registry"},
    "functional": {"functional"},
    "data": {"data", "registry"},
    "nn": {"nn", "functional", "data.batch", "data.tasks"},
    "models": {"models", "nn", "functional", "data.batch", "data.ecg", "data.tasks"},
    "evaluation": {"evaluation"},
    "analysis": {"analysis", "data", "models", "nn", "functional", "evaluation"},
    "training": {"training", "evaluation", "registry", "data", "models", "nn"},
    "cli": {"cli", "cards", "training", "evaluation", "analysis", "models", "data", "registry", "nn"},
    "testing": {"testing", "cards", "registry", "models", "data", "nn", "training"},
    "recipes": set(),
    "__init__": {"registry"},
    "__main__": {"cli"},
}
HEAVY = {"torch", "lightning", "torchmetrics", "timm", "torchvision"}
WITHOUT_TORCH = {"evaluation", "registry", "errors", "data.ehr", "data.store", "data.readers", "data.prepare"}
WITHOUT_TORCH |= {f"data.ecg{part}" for part in ("", "_record", "_standard", "_derive", "_quality", "_resample")}


def modules() -> list[tuple[str, Path]]:
    return [(".".join(path.relative_to(ROOT).with_suffix("").parts), path) for path in sorted(ROOT.rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Every absolute module that a file imports anywhere, except under ``if TYPE_CHECKING``."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names if node.module == "cardiozoo")
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def within(name: str, parts: set[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_module_keeps_within_its_walls(name: str, path: Path):
    part = name.split(".")[0]
    allowed = ALLOWED[part] | {"errors", "__version__"}
    own = {i.removeprefix("cardiozoo.") for i in imports(path) if i.startswith("cardiozoo.")}
    trespassing = {i for i in own if not within(i, allowed)}
    assert not trespassing, f"{name} may import {sorted(allowed)} of cardiozoo, not {sorted(trespassing)}"
    if within(name, WITHOUT_TORCH):
        assert not {i for i in imports(path) if i.split(".")[0] in HEAVY}, f"{name} must do without torch"
