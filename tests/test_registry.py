"""Names, cards and their errors, with plugins made of nothing but metadata and text."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import pytest

from cardiozoo import create_model, list_datamodules, list_models, registry
from cardiozoo.cards import card_path, listing, read_card
from cardiozoo.errors import BrokenPluginError, NameCollisionError, UnknownNameError
from cardiozoo.registry import find, normalized, problem, registered, resolve

CARD = "name: {name}\ntitle: A net\nmodalities: [ehr]\ntasks: [binary]\nmissing: [cxr]\n"


class Site:
    """A folder on sys.path into which packages are installed by writing files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, package: str, models: dict[str, str], files: dict[str, str], version: str = "1.0") -> None:
        info = self.folder / f"{package.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        lines = "\n".join(f"{name} = {value}" for name, value in models.items())
        (info / "entry_points.txt").write_text(f"[cardiozoo.models]\n{lines}\n")
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (tmp_path / "site").mkdir()
    return Site(tmp_path / "site")


def row(name: str) -> dict:
    return next(row for row in listing("model") if row["name"] == name)


def test_the_builtin_models_come_through_entry_points() -> None:
    entry = find("model", "drfuse")
    assert entry.package == "cardiozoo" and entry.class_path == "cardiozoo.models.drfuse.DrFuse"
    assert {"medfuse", "drfuse", "ehr_lstm", "ehr_transformer", "cxr_resnet"} <= set(list_models())
    assert "mimic_cxr_ehr" in list_datamodules()
    assert set(list_models(modality=["ehr", "cxr"], missing="cxr")) >= {"medfuse", "drfuse"}
    assert "cxr_resnet" not in list_models(modality="ehr")


@pytest.mark.parametrize("typed", ["st-mem", "ST_MEM", "St-Mem"])
def test_case_and_hyphens_do_not_matter(site: Site, typed: str) -> None:
    site.install("a-zoo", {"St-Mem": "mod_case:Net"}, {"mod_case.py": "class Net:\n    pass\n"})
    assert find("model", typed).name == "St-Mem"
    assert normalized(typed) == "st_mem"


def test_a_stranger_is_listed_and_created_without_importing_anything_else(site: Site) -> None:
    files = {
        "one_file.py": "class Net:\n    def __init__(self, width):\n        self.width = width\n",
        "one_file.yaml": CARD.format(name="strange"),
        "other.py": "raise RuntimeError('imported')\n",
    }
    site.install("a-zoo", {"strange": "one_file:Net", "other": "other:Net"}, files)
    assert "strange" in list_models(modality="ehr", task="binary", missing="cxr")
    assert "one_file" not in sys.modules  # found by its text, a module of a single file
    assert create_model("STRANGE", width=3).width == 3
    assert "other" not in sys.modules


def test_a_misspelt_name_gets_suggestions_and_the_list() -> None:
    with pytest.raises(UnknownNameError) as caught:
        resolve("drfsue")
    assert "drfuse" in caught.value.next_step and "medfuse" in caught.value.accepted
    with pytest.raises(UnknownNameError, match="no modality called 'egh'"):
        list_models(modality="egh")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import a_library_nobody_has\nclass Net: pass\n", "a_library_nobody_has"),
        ("from mod_broken_parts import x\nclass Net: pass\n", "mod_broken_parts"),
        ("class Other: pass\n", "no 'Net'"),
        ("class Net(:\n", "SyntaxError"),
    ],
)
def test_a_broken_plugin_is_shown_with_its_error_and_breaks_nothing_else(site: Site, text: str, said: str) -> None:
    site.install("bad-zoo", {"broken": "mod_broken:Net"}, {"mod_broken.py": text})
    sys.modules.pop("mod_broken", None)
    assert said in row("broken")["problem"]
    assert "broken" not in list_models() and "drfuse" in list_models()
    with pytest.raises(BrokenPluginError, match=r"bad-zoo 1\.0") as caught:
        resolve("broken")
    assert caught.value.__cause__ is not None


def test_a_module_that_is_not_there_and_a_function_where_a_class_is_needed(site: Site) -> None:
    site.install("bad-zoo", {"gone": "no_such_module.sub:Net"}, {})
    assert "no_such_module.sub" in row("gone")["problem"]
    site.install("odd-zoo", {"odd": "mod_odd:net"}, {"mod_odd.py": "def net(): pass\n"})
    with pytest.raises(BrokenPluginError, match="A class is needed"):
        resolve("odd")


def test_names_that_the_text_binds_in_other_ways_are_no_problem(site: Site) -> None:
    texts = {
        "mod_if": "try:\n    import nobody_has\nexcept ImportError:\n    pass\nif True:\n    class Net: pass\n",
        "mod_alias": "class _Net: pass\nNet = _Net\n",
        "mod_lazy": "def __getattr__(name): ...\n",
        "mod_from": "from mod_alias import _Net as Net\n",
    }
    models = {module: f"{module}:Net" for module in texts}
    site.install("fine-zoo", models, {f"{module}.py": text for module, text in texts.items()})
    assert [problem(find("model", name)) for name in texts] == [""] * 4


def test_no_card_a_broken_card_and_wrong_types_are_told_apart(site: Site) -> None:
    net = "class Net: pass\n"
    files = {f"mod_card{i}.py": net for i in range(4)} | {
        "mod_card1.yaml": "a: [1\n",
        "mod_card2.yaml": "modalities: ehr\n",
        "mod_card3.yaml": "just text\n",
    }
    site.install("card-zoo", {f"card{i}": f"mod_card{i}:Net" for i in range(4)}, files)
    assert row("card0")["problem"] == "" and row("card0")["card"] is False
    for name, said in (("card1", "cannot be read"), ("card2", "modalities must be a list"), ("card3", "not a mapping")):
        assert said in row(name)["problem"]
    assert read_card(find("model", "card0")) == {}
    assert resolve("card1").__name__ == "Net"  # its class still works


def test_one_name_claimed_twice_names_both_packages_and_is_never_chosen(site: Site) -> None:
    site.install("rival-zoo", {"DrFuse": "mod_rival:Net"}, {"mod_rival.py": "class Net: pass\n"}, version="7.1")
    with pytest.raises(NameCollisionError, match=r"cardiozoo .*rival-zoo 7\.1"):
        resolve("drfuse")
    shown = [r for r in listing("model") if normalized(r["name"]) == "drfuse"]
    assert len(shown) == 2 and all("rival-zoo 7.1" in r["problem"] and "cardiozoo" in r["problem"] for r in shown)
    assert "drfuse" not in list_models() and "medfuse" in list_models()
    assert resolve("mod_rival.Net").__name__ == "Net"  # a full path is never ambiguous


def test_a_distribution_found_twice_is_no_collision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("stale", "new"):
        (tmp_path / folder).mkdir()
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    Site(tmp_path / "stale").install("Twice.Zoo", {"twice": "mod_twice_old:Net"}, {}, version="0.9")
    Site(tmp_path / "new").install("twice-zoo", {"twice": "mod_twice:Net"}, {"mod_twice.py": "class Net: pass\n"})
    assert len(registered("model")["twice"]) == 1
    assert find("model", "twice").class_path == "mod_twice.Net"  # the one that comes first on the path


def test_cards_of_editable_installs_with_a_finder_of_their_own(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some editable installs map names to files with a finder on sys.meta_path instead of a folder on sys.path."""
    source = tmp_path / "elsewhere" / "src" / "mapped_zoo"
    (source / "nets").mkdir(parents=True)
    (source / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (source / "nets" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (source / "nets" / "net.py").write_text("class Net: pass\n")
    (source / "nets" / "net.yaml").write_text(CARD.format(name="mapped"))

    class Finder:
        @staticmethod
        def find_spec(fullname, path=None, target=None):
            if fullname == "mapped_zoo":
                return importlib.util.spec_from_file_location(fullname, source / "__init__.py")
            return None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    site.install("mapped-zoo", {"mapped": "mapped_zoo.nets.net:Net"}, {})
    assert card_path(find("model", "mapped")) == source / "nets" / "net.yaml"
    assert row("mapped")["problem"] == "" and row("mapped")["title"] == "A net"
    assert not any(name.startswith("mapped_zoo") for name in sys.modules)


def test_the_card_of_a_package_lies_inside_it_and_of_one_of_several_classes_bears_its_name(site: Site) -> None:
    files = {
        "pack_zoo/__init__.py": "class A: pass\nclass B: pass\n",
        "pack_zoo/pack_a.yaml": CARD.format(name="pack_a"),
        "pack_zoo/pack_b.yaml": CARD.format(name="pack_b"),
    }
    site.install("pack-zoo", {"pack_a": "pack_zoo:A", "pack-b": "pack_zoo:B"}, files)
    assert read_card(find("model", "pack_a"))["name"] == "pack_a"
    assert read_card(find("model", "pack-b"))["name"] == "pack_b"


def test_the_registry_itself_needs_only_the_standard_library() -> None:
    source = Path(registry.__file__).read_text()
    imported = {line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert imported - {"__future__", "cardiozoo"} <= set(sys.stdlib_module_names)
