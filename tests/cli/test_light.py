"""What must answer at once: help, list, show and misspelt names load no torch, no lightning and no polars."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable

import pytest

from cardiozoo.cli import COMMANDS, main
from cardiozoo.errors import CardiozooWarning

HEAVY = ("torch", "lightning", "polars", "numpy", "jsonargparse", "tiny_zoo")
PROGRAM = """
import contextlib, io, json, sys
from cardiozoo.cli import main
out = {}
commands = (
    ["--help"], ["--version"], ["list"], ["list", "--json"], ["show", "drfuse"], ["show", "tiny-net", "--json"],
    ["prepare"], ["fit", "--model", "drfsue", "--data", "tiny_data"], ["test", "--model", "drfuse"],
)
for argv in commands:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        status = main(argv)
    out[" ".join(argv)] = [status, text.getvalue()]
import cardiozoo
print(json.dumps([out, sorted(sys.modules)]))
"""


def test_help_list_and_show_are_light_and_complete(environment: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    out, modules = json.loads(done.stdout)
    assert not set(HEAVY) & {module.split(".")[0] for module in modules}
    status, text = out["--help"]
    assert status == 0 and len(text.splitlines()) <= 24 and max(map(len, text.splitlines())) <= 100
    assert all(command in text for command in COMMANDS)
    status, text = out["list"]
    assert status == 0 and all(name in text for name in ("drfuse", "tiny-net", "tiny_unrunnable", "mimic_cxr_ehr"))
    assert "a_library_nobody_has" in text and "NoSuchClass" in text
    listed = json.loads(out["list --json"][1])
    assert {"drfuse", "tiny-net"} <= {row["name"] for row in listed["models"]}
    assert next(row for row in listed["data"] if row["name"] == "tiny_data")["tasks"] == ["first", "second"]
    status, text = out["show drfuse"]
    assert status == 0 and all(word in text for word in ("Paper", "Departures", "Recipes", "drfuse/mimic_cxr_ehr"))
    shown = json.loads(out["show tiny-net --json"][1])
    assert shown["card"]["paper"]["year"] == 2026 and shown["recipes"][0]["name"] == "tiny_net/tiny_data"
    assert out["fit --model drfsue --data tiny_data"][0] == 2
    assert "Did you mean drfuse" in out["fit --model drfsue --data tiny_data"][1]
    assert "no trained weights" in out["test --model drfuse"][1]


def test_an_unknown_command_is_answered_with_what_was_meant(capsys) -> None:
    assert main(["tets"]) == 2
    assert "`cardiozoo test`" in capsys.readouterr().err
    assert main([]) == 2


def test_debugging_shows_the_traceback(capsys, monkeypatch) -> None:
    assert main(["show", "nothing-like-it"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("CARDIOZOO_DEBUG", "1")
    assert main(["show", "nothing-like-it"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_list_filters_and_refuses_words_that_no_card_knows(capsys) -> None:
    def models(*options: str) -> set[str]:
        assert main(["list", "models", "--json", *options]) == 0
        return {row["name"] for row in json.loads(capsys.readouterr().out)["models"]}

    assert {"drfuse", "medfuse", "tiny-net"} <= models("--missing", "cxr")
    assert "ehr_lstm" not in models("--tolerates", "cxr")
    assert models("--modality", "ehr", "--modality", "cxr") >= {"drfuse", "medfuse"}
    assert "tiny-net" not in models("--modality", "ehr", "--modality", "cxr")
    assert "tiny-net" not in models("--task", "multiclass")
    assert main(["list", "--task", "phenotypin"]) == 2
    assert "phenotyping" in capsys.readouterr().err
    assert main(["list", "--task", "phenotyping"]) == 0
    assert "mimic_cxr_ehr" in capsys.readouterr().out


def test_keyboard_interrupt_and_broken_pipe_have_their_exit_codes(monkeypatch) -> None:
    def interrupted(argv: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("cardiozoo.cli.list.run", interrupted)
    assert main(["list"]) == 130


def test_the_console_script_and_the_module_are_the_same(
    cardiozoo: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = cardiozoo("--version")
    assert done.returncode == 0 and done.stdout.startswith("cardiozoo ")


def test_own_warnings_are_told_without_the_line_of_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn(argv: list[str]) -> int:
        warnings.warn("own words", CardiozooWarning, stacklevel=1)
        warnings.warn("others' words", UserWarning, stacklevel=1)
        return 0

    monkeypatch.setattr("cardiozoo.cli._dispatch", warn)
    with pytest.warns(UserWarning) as others:
        assert main(["list"]) == 0
    assert capsys.readouterr().err == "cardiozoo: own words\n"
    assert [str(warning.message) for warning in others] == ["others' words"]
