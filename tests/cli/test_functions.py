"""``prepare`` and ``synthesize``: a command line made from a function's signature."""

from __future__ import annotations

from pathlib import Path

import pytest

from cardiozoo.cli import main


def test_prepare_runs_what_a_plugin_registered(tmp_path: Path, capsys) -> None:
    assert main(["prepare"]) == 0
    listed = capsys.readouterr().out
    assert "tiny_data" in listed and "mimic_cxr_ehr" in listed
    assert main(["prepare", "Tiny-Data", "--raw-files", str(tmp_path), "--out", "made", "--rows", "7"]) == 0
    assert (tmp_path / "made").read_text() == "7" and "made" in capsys.readouterr().out


def test_its_errors_and_its_help(capsys) -> None:
    assert main(["prepare", "tiny_data", "--raw_files", "/nowhere", "--out", "x"]) == 2
    assert "RawDataError: There is no folder /nowhere" in capsys.readouterr().err
    assert main(["prepare", "tiny_dat"]) == 2
    assert "Did you mean tiny_data" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["prepare", "tiny_data", "--help"])
    assert stop.value.code == 0 and "How many rows to keep" in capsys.readouterr().out
    assert main(["prepare", "tiny_data", "--rows", "many"]) == 2
    assert "OptionError: --rows is 'many'.\nA whole number" in capsys.readouterr().err
