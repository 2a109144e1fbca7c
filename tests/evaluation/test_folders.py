"""A place that cannot be written to is refused in words, before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cardiozoo.cli import main
from cardiozoo.errors import OptionError
from cardiozoo.evaluation import evaluate as evaluating
from cardiozoo.evaluation import folders


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that may not be written to, for whoever runs the tests."""
    place = tmp_path / "shared"
    place.mkdir()
    real, made = os.access, Path.mkdir
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != place and real(path, mode))

    def mkdir(path: Path, *arguments: object, **options: object) -> None:
        if place in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        made(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    return place


@pytest.mark.parametrize("below", ["", "new", "new/deeper"])
def test_a_read_only_place(read_only: Path, below: str) -> None:
    for refused in (folders.check_writable, folders.make_folder):
        with pytest.raises(OptionError, match="cannot be written to") as caught:
            refused(read_only / below)
        assert str(read_only) in caught.value.came and "ermission" in caught.value.came
        assert caught.value.accepted and "--out" in caught.value.next_step


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for refused in (folders.check_writable, folders.make_folder):
        with pytest.raises(OptionError, match="cannot be written to"):
            refused(tmp_path / "file" / "below")


def test_new_folders_are_made_by_the_second_alone(tmp_path: Path) -> None:
    folders.check_writable(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    folders.make_folder(tmp_path / "a" / "b")
    folders.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_evaluate_says_so_before_the_draws(
    run: Path, read_only: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "judge", lambda *_: pytest.fail("work has begun"))
    assert main(["evaluate", str(run), "--out", str(read_only / "judged"), "--bootstrap", "10"]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 3 and "cannot be written to" in told[0]
