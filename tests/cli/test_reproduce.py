"""Table 2 of LS-EMVAE: which cells there are, what is published, what is run, what is refused."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from cardiozoo.cli import main, reproduce, table2
from cardiozoo.cli.reproduce import Reproduction, _given_runs, _pretraining_job, _shared
from cardiozoo.cli.table2 import Cell, chosen_cells, published, rows_of
from cardiozoo.errors import OptionError
from cardiozoo.evaluation.reproduction import render_reproduction, write_reproduction

MAJORITY = {"ph_detection": 0.775, "capillary": 0.803}


def test_all_cells_of_the_paper_have_their_numbers() -> None:
    cells = chosen_cells(table2.MODELS, table2.TASKS, [12, 6], unpublished=False)
    assert len(cells) == 7 * 2 * 2 - 2  # beta_vae on 6 leads is a dash in both tasks
    assert {cell.model for cell in cells if cell.leads == 6} == set(table2.MODELS) - {"beta_vae"}
    assert len(chosen_cells(table2.MODELS, table2.TASKS, [12, 6], unpublished=True)) == 28
    assert published(Cell("ls_emvae", "ph_detection", 12)) == {
        "accuracy": [0.822, 0.01],
        "auroc": [0.852, 0.02],
        "mcc": [0.461, 0.03],
    }
    assert published(Cell("st_mem", "capillary", 6))["mcc"] == [0.346, 0.04]
    assert published(Cell("beta_vae", "capillary", 6)) is None
    everyone = [*table2.MODELS, "st_mem"]
    of_12 = {task: {m: published(Cell(m, task, 12)) for m in everyone} for task in table2.TASKS}
    for task, rows in of_12.items():
        # the paper's own statements: LS-EMVAE leads every column; the multimodal CNN is below the majority class
        assert all(max(rows, key=lambda m, k=k: rows[m][k][0]) == "ls_emvae" for k in table2.METRICS)
        assert rows["multimodal_cnn"]["accuracy"][0] < MAJORITY[task]


@pytest.mark.parametrize(
    ("models", "tasks", "leads", "words"),
    [
        (["st_mem"], ["capillary"], [12], "not in the zoo"),
        (["resnet1d"], ["ph"], [12], "capillary"),
        (["resnet1d"], ["capillary"], [3], "12, 6"),
        (["beta_vae"], ["capillary"], [6], "--unpublished"),
    ],
)
def test_cells_that_are_not_there_are_refused(models: list, tasks: list, leads: list, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        chosen_cells(models, tasks, leads, unpublished=False)


def test_how_a_cell_is_run() -> None:
    typed = Cell("mvae", "capillary", 6).options(Path("store"), Path("/runs/mvae"), "lead_concat", small=False)
    text = " ".join(typed)
    assert text == (
        "--model finetune --data ecg_cohort --data.store store --data.task capillary --data.leads limb "
        "--model.encoder /runs/mvae --model.representation lead_concat"
    )
    alone = " ".join(Cell("beta_vae", "capillary", 12).options(None, Path("b"), "lead_concat", small=True))
    assert "--model.representation" not in alone and "--recipe finetune/ecg_cohort.synthetic" in alone
    assert "--model.freeze true" in alone  # the small recipe trains the encoder on, the table does not
    scratch = Cell("resnet1d", "ph_detection", 12).options(Path("s"), None, "lead_concat", small=False)
    assert "--model.encoder" not in scratch and "resnet1d" in scratch and "all" in scratch


def test_options_are_checked_before_any_work(tmp_path: Path, capsys) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "manifest.json").write_text("{}")
    store = ["--store", "store"]
    for options, words in (
        ([], "--preset small"),
        (["--store", "nowhere"], "is no store"),
        (store, "--pretrained beta_vae=RUN"),
        ([*store, "--pretrained", "resnet1d=x"], "NAME=RUN"),
        ([*store, "--pretrained", "mvae=nowhere"], "there is no nowhere"),
        ([*store, "--models", "resnet1d", "--folds", "1"], "At least 2"),
        ([*store, "--models", "resnet1d", "--data.leads", "chest"], "--data.leads"),
    ):
        assert main(["reproduce", "ls_emvae", *options]) == 2, options
        assert words in capsys.readouterr().err, options
    assert main(["reproduce", "drfuse"]) == 2
    assert not Path("runs").exists()


def test_pretraining_is_begun_resumed_kept_or_refused(tmp_path: Path) -> None:
    run = tmp_path / "pretrain" / "mvae"
    argv = ["fit", "--model", "mvae", "--run_dir", str(run)]
    assert _pretraining_job("mvae", run, argv).argv == tuple(argv)
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").touch()
    (run / "run.json").write_text('{"status": "interrupted"}')
    assert _pretraining_job("mvae", run, argv).argv == ("fit", "--resume", str(run))
    (run / "run.json").write_text('{"status": "completed"}')
    assert _pretraining_job("mvae", run, argv) is None
    with pytest.raises(OptionError, match="other options"):
        _pretraining_job("mvae", run, [*argv, "--trainer.max_epochs", "3"])
    assert _given_runs([f"mvae={run}"]) == {"mvae": run}
    of_fit = ["--trainer.accelerator", "cpu", "--trainer.max_epochs=3", "--model.dropout", "0.1"]
    assert _shared(of_fit) == ["--trainer.accelerator", "cpu"]


def test_a_cell_that_fails_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "manifest.json").write_text("{}")
    ran = []

    def folds(whole, workers, said: str) -> bool:
        ran.append(whole.options)
        return False

    monkeypatch.setattr(reproduce, "run_folds", folds)
    argv = ["ls_emvae", "--store", "store", "--models", "resnet1d", "xresnet1d101", "--leads", "6", "--epochs", "2"]
    options, of_fit = reproduce.parser().parse_known_args([*argv, "--trainer.accelerator", "cpu"])
    assert Reproduction(options, of_fit, argv).run() == 1
    assert len(ran) == 4 and all("--trainer.max_epochs" in typed and "limb" in typed for typed in ran)
    content = json.loads((tmp_path / "runs/reproduce-ls_emvae-paper/table2.json").read_text())
    statuses = [row["status"] for row in content["rows"]]
    assert statuses.count("a fold failed") == 4 and statuses.count("published only") == 2


def test_cells_of_an_earlier_command_stay_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "manifest.json").write_text("{}")
    monkeypatch.setattr(reproduce, "run_folds", lambda *_: False)
    earlier = tmp_path / "runs/reproduce-ls_emvae-paper/cells/xresnet1d101/capillary/12_leads"
    earlier.mkdir(parents=True)
    summary = {metric: {"mean": 0.5, "sd": 0.125, "folds": 5} for metric in table2.METRICS}
    (earlier / "crossval.json").write_text(json.dumps({"status": "completed", "summary": summary}))
    argv = ["ls_emvae", "--store", "store", "--models", "resnet1d", "--tasks", "ph_detection", "--leads", "6"]
    options, of_fit = reproduce.parser().parse_known_args([*argv, "--trainer.accelerator", "cpu"])
    assert Reproduction(options, of_fit, argv).run() == 1
    rows = json.loads((tmp_path / "runs/reproduce-ls_emvae-paper/table2.json").read_text())["rows"]
    assert [(row["model"], row["task"], row["leads"], row["status"]) for row in rows] == [
        ("st_mem", "ph_detection", 6, "published only"),
        ("resnet1d", "ph_detection", 6, "a fold failed"),
        ("st_mem", "capillary", 12, "published only"),
        ("xresnet1d101", "capillary", 12, "completed"),
    ]
    assert rows[3]["auroc_measured"] == 0.5


def test_the_table_shows_measured_beside_published(tmp_path: Path) -> None:
    cells = chosen_cells(["resnet1d", "ls_emvae"], ["capillary"], [12], unpublished=False)
    summary = {metric: {"mean": 0.5, "sd": 0.125, "folds": 5} for metric in table2.METRICS}
    result = {"status": "completed", "synthetic": True, "summary": summary, "partition_sha256": "a"}
    measured = {cells[0].name: result, cells[1].name: {"status": "a fold failed"}}
    rows = rows_of(cells, measured)
    assert [row["model"] for row in rows] == ["st_mem", "resnet1d", "ls_emvae"]
    about = {"paper": "P", "command_line": "c", "preset": "small", "representation": "lead_concat", "folds": 5}
    write_reproduction(tmp_path, rows, about | {"ddof": 0, "warnings": []})
    table = pl.read_csv(tmp_path / "table2.csv")
    assert table["accuracy_measured"].to_list() == [None, 0.5, None] and table["accuracy_published"][2] == 0.855
    html = (tmp_path / "report.html").read_text()
    words = re.sub("<[^>]+>", "", html)  # a deviation may go to a line of its own
    assert "SYNTHETIC DATA" in html and "0.855 ± 0.01" in words and "0.500 ± 0.125" in words
    console = Console(width=120, file=StringIO())
    render_reproduction(rows, 0, console)
    text = console.file.getvalue()
    assert "SYNTHETIC" in text and "0.500 ± 0.125" in text and "a fold failed" in text
    other = {cells[0].name: result, cells[1].name: result | {"partition_sha256": "b"}}
    assert "not all models" in table2.check_same_folds(cells, other)[0]
    assert not table2.check_same_folds(cells, {cells[0].name: result})
