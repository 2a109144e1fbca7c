"""What an explanation may remove: what an earlier one lists, whatever else lies beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cardiozoo.analysis.explain_folder import SUMMARY, WrittenFiles, check_folder, clear_folder
from cardiozoo.errors import OptionError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_killed_explanation_is_known_by_its_list(tmp_path: Path):
    files = WrittenFiles(tmp_path)
    files.path("leads.csv").write_text("whole")
    files.path("page.png").write_text("half")  # and then it was killed
    (tmp_path / "mine.png").write_text("mine")
    check_folder(tmp_path)
    assert json.loads((tmp_path / SUMMARY).read_text())["status"] == "running"
    clear_folder(tmp_path)
    assert names(tmp_path) == ["mine.png", SUMMARY]
    clear_folder(tmp_path)  # names that are listed and gone do no harm
    finished = WrittenFiles(tmp_path)
    finished.path("waves.csv")
    finished.finish({"records": 3})
    content = json.loads((tmp_path / SUMMARY).read_text())
    assert (content["status"], content["records"], content["files"]) == ("completed", 3, [SUMMARY, "waves.csv"])


def test_a_list_does_not_lead_out_of_the_folder(tmp_path: Path):
    out = tmp_path / "out"
    (out / "below").mkdir(parents=True)
    for path in (tmp_path / "outside.png", out / "below" / "deep.png"):
        path.write_text("mine")
    listed = ["../outside.png", str(tmp_path / "outside.png"), "below/deep.png", "below", "..", "", 7]
    (out / SUMMARY).write_text(json.dumps({"format": "cardiozoo-explanation", "files": listed}))
    clear_folder(out)
    assert (tmp_path / "outside.png").is_file() and (out / "below" / "deep.png").is_file()


@pytest.mark.parametrize(
    "summary", ["", "[]", '{"format": "another", "files": ["mine.png"]}', '{"format": "cardiozoo-explanation"}']
)
def test_another_summary_is_no_list(tmp_path: Path, summary: str):
    (tmp_path / SUMMARY).write_text(summary)
    (tmp_path / "mine.png").write_text("mine")
    with pytest.raises(OptionError, match="is not empty and holds no explanation") as error:
        clear_folder(tmp_path)
    assert error.value.accepted and error.value.next_step and names(tmp_path) == ["mine.png", SUMMARY]


def test_new_and_empty_folders_are_free(tmp_path: Path):
    check_folder(tmp_path)
    check_folder(tmp_path / "a" / "b")
    assert names(tmp_path) == []
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OptionError, match="file is a file"):
            check_folder(path)
