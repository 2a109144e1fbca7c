"""``cardiozoo evaluate`` as it is typed."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from fake_run import predictions_table, write_run

from cardiozoo.cli.evaluate import main, parser
from cardiozoo.errors import OptionError, PredictionsError

QUICK = ["--bootstrap", "20"]


def test_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run), *QUICK]) == 0
    printed = capsys.readouterr().out
    assert "macro AUROC" in printed and f"Report: {run / 'report.html'}" in printed and "SYNTHETIC" in printed
    assert (run / "report.html").exists() and (run / "evaluation" / "metrics.csv").exists()


def test_json_and_the_command_in_it_repeats_the_numbers(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [*QUICK, "--seed", "4", "--subset", "all", "paired", "--age-bands", "18,50,inf", "--no-report"]
    assert main([str(run), "--json", *options]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["synthetic"] is True and first["report"] is None and first["bootstrap"]["seed"] == 4
    assert {row["subset"] for row in first["metrics"]} == {"all", "paired"}
    levels = pl.read_csv(run / "evaluation" / "subgroups.csv").filter(pl.col("group") == "age")["level"]
    assert set(levels) == {"[18, 50)", "≥ 50"}
    from cardiozoo.evaluation import evaluate_run

    settings = {"n_bootstrap": 20, "seed": 4, "subsets": ("all", "paired"), "age_bands": (18.0, 50.0, float("inf"))}
    command = shlex.split(evaluate_run(run, report=False, **settings).command)
    assert command[:2] == ["cardiozoo", "evaluate"]
    assert main([*command[2:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == first["metrics"]


def test_a_bare_table_into_a_folder_of_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions_table(60, 2).write_csv(tmp_path / "mine.csv")
    assert main([str(tmp_path / "mine.csv"), "--out", str(tmp_path / "judged"), "--no-report", *QUICK]) == 0
    assert (tmp_path / "judged" / "metrics.json").exists() and not (tmp_path / "judged" / "report.html").exists()
    assert str(tmp_path / "judged") in capsys.readouterr().out


def test_against_another_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_run(tmp_path / "other", pl.read_parquet(run / "predictions.parquet"))
    assert main([str(run), "--against", str(other), *QUICK]) == 0
    assert "A - B" in capsys.readouterr().out
    assert (run / "evaluation" / "against_other" / "differences.csv").exists()
    assert main([str(run), "--against", str(other), "--json", *QUICK]) == 0
    rows = json.loads(capsys.readouterr().out)["differences"]
    assert rows[0]["class"] == "macro" and rows[0]["difference"] == 0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--age-bands", "18;50"], OptionError),
        (["--bootstrap", "0"], OptionError),
        (["--split", "val"], PredictionsError),
    ],
)
def test_bad_options_are_errors_with_three_parts(run: Path, options: list[str], error: type) -> None:
    with pytest.raises(error) as caught:
        main([str(run), *options])
    assert caught.value.came and caught.value.accepted and caught.value.next_step


def test_every_option_has_help() -> None:
    assert all(action.help for action in parser()._actions)


def test_evaluation_loads_no_deep_learning_and_its_door_loads_nothing() -> None:
    code = (
        "import sys; import cardiozoo.cli.evaluate, cardiozoo.evaluation as e; "
        "assert not {'polars', 'sklearn', 'numpy'} & set(sys.modules); "
        "e.evaluate_run, e.compare, e.bootstrap.confidence_interval, e.gaps, e.neighbours; "
        "import cardiozoo.evaluation.report; "
        "assert not {'torch', 'lightning', 'timm'} & set(sys.modules), 'heavy'; "
        "ours = {m for m in sys.modules if m.startswith(('cardiozoo.models', 'cardiozoo.data', 'cardiozoo.nn'))}; "
        "assert not ours, ours"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
