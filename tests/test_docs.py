"""Every command that the documentation shows is run, in order, in a folder where its placeholders exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md")])
FENCE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)

# Commands about training are shortened, not changed: what a reader types is parsed and run with these added.
SHORT = (
    "--trainer.max_epochs 1 --trainer.limit_train_batches 2 --trainer.limit_val_batches 2 --data.num_workers 0"
).split()
SMALL = {"drfuse", "medfuse", "cxr_resnet", "gmu"}


def commands(page: Path) -> list[str]:
    """Lines after ``$`` in the console blocks, continuation lines joined."""
    blocks = FENCE.findall(page.read_text())
    joined = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line[2:].strip() for line in joined if line.startswith("$ ")]


def test_the_documentation_shows_commands():
    assert len([c for page in PAGES for c in commands(page)]) > 20


def shortened(command: str) -> list[str]:
    argv = shlex.split(command)[1:]
    if argv[0] == "fit" and "--model" in argv and not {"--print_config", "--model.help"} & set(argv):
        argv = [*argv, *SHORT, "--data.batch_size", "2"]
        if argv[argv.index("--model") + 1] in SMALL and "--data.store" in argv:
            argv += ["--model.image_width", "4", "--data.image_size", "64"]
        if argv[argv.index("--model") + 1] == "cxr_resnet":
            argv += ["--trainer.limit_test_batches", "2"]
    # The suite runs on two cores without a GPU; several processes are tested in tests/cli.
    return [("1" if argv[i - 1] == "--trainer.devices" else a) for i, a in enumerate(argv)]


def newest(runs: Path) -> Path:
    return max(runs.glob("*/*/*/run.json"), key=lambda path: path.stat().st_mtime).parent


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_of_the_page_run(page: Path, docs_sandbox: Path, docs_cache: Path, mini_store, monkeypatch, capsys):
    from cardiozoo.cli import main

    monkeypatch.chdir(docs_sandbox)
    # The pages share one small synthetic cohort; a page that does not prepare a store finds one.
    monkeypatch.setenv("CARDIOZOO_CACHE", str(docs_cache))
    monkeypatch.setenv("CARDIOZOO_DEMO_PATIENTS", "80")
    if not any("--out STORE" in command for command in commands(page)):
        Path("STORE").symlink_to(mini_store)
    for command in commands(page):
        if not command.startswith("cardiozoo "):
            assert command in MADE, f"{page.name} shows {command!r}, which no test runs"
            continue
        try:
            status = main(shortened(command))
        except SystemExit as stop:  # how argparse ends after --help
            status = stop.code or 0
        assert status == 0, f"{command}\n{capsys.readouterr().err[-3000:]}"
        if command.startswith("cardiozoo fit") and Path("runs").is_dir():
            link = Path("RUN")
            link.unlink(missing_ok=True)
            link.symlink_to(newest(Path("runs")))


# Run by the continuous check itself (make test), or shown to be the command of a page (make demo).
MADE = {"make demo", "make test", "make truth", "make truth_ecg"}


def test_make_demo_is_the_command_of_the_readme():
    makefile = (ROOT / "Makefile").read_text()
    assert "cardiozoo fit --model drfuse --data mimic_cxr_ehr\n" in makefile
    assert "$ make demo" in (ROOT / "README.md").read_text()


@pytest.fixture(scope="session")
def docs_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def docs_sandbox(tmp_path, mini_raw, mini_store, finished_run) -> Path:
    """Placeholders of the documentation: raw folders, a store, and two runs of one model on one cohort."""
    mimic_iv, mimic_cxr = mini_raw
    (tmp_path / "MIMIC_IV").symlink_to(mimic_iv)
    (tmp_path / "MIMIC_CXR").symlink_to(mimic_cxr)
    write_ecg_placeholders(tmp_path)
    shutil.copytree(finished_run, tmp_path / "OTHER_RUN")
    shutil.copytree(finished_run, tmp_path / "first_run")
    (tmp_path / "RUN").symlink_to(tmp_path / "first_run")
    return tmp_path


def write_ecg_placeholders(folder: Path) -> None:
    """Raw layouts of ECG, and tables of a cohort."""
    from ecg_raw import samples, write_csv, write_mimic_iv_ecg, write_wfdb

    write_mimic_iv_ecg(folder / "MIMIC_IV_ECG", patients=3)
    (folder / "PTB_XL").symlink_to(ROOT / "tests" / "data" / "ptbxl_sample")
    rows = [{"path": f"r{n}", "patient": n, "sex": 1 + n % 2, "age": 50 + n, "mPAP": 18 + n} for n in range(6)]
    for n in range(6):
        write_wfdb(folder / "ECG_FOLDER", f"r{n}", samples(n))
    write_csv(folder / "TABLE.csv", rows)
    write_csv(
        folder / "COHORT.csv", [{**r, "path": f"ECG_FOLDER/{r['path']}", "sex": "FM"[r["sex"] - 1]} for r in rows]
    )


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def test_python_of_the_readme_runs(docs_cache: Path, monkeypatch, capsys):
    monkeypatch.setenv("CARDIOZOO_CACHE", str(docs_cache))
    monkeypatch.setenv("CARDIOZOO_DEMO_PATIENTS", "80")
    (block,) = python_blocks(ROOT / "README.md")
    exec(block, {})
    shapes = capsys.readouterr().out
    assert re.fullmatch(r"torch\.Size\(\[\d+, 25\]\) torch\.Size\(\[\d+, 25, 3\]\)\n", shapes), shapes


def test_the_model_of_the_tutorial_keeps_the_contract():
    from cardiozoo.testing import make_batch

    names: dict = {"__name__": "tutorial"}
    exec(python_blocks(ROOT / "docs" / "adding_a_model.md")[0], names)
    batch = make_batch(["ehr"])
    channels, classes = batch["ehr"].shape[-1], batch["target"].shape[-1]
    model = names["LastValue"](ehr_channels=channels, num_classes=classes)
    assert model(batch)["logits"].shape == (len(batch["id"]), classes)
    model.training_step(batch).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_the_ecg_model_of_the_tutorial_keeps_the_whole_contract():
    from cardiozoo.testing.model import CHECKS
    from cardiozoo.testing.subject import Subject

    names: dict = {"__name__": "tutorial"}
    exec(python_blocks(ROOT / "docs" / "adding_a_model.md")[1], names)
    card = {"name": "one_convolution", "title": "-", "summary": "-", "modalities": ["ecg"], "missing": []}
    card |= {"tasks": ["binary", "multilabel", "multiclass", "regression"], "representation": True}
    card["tiny"] = {"width": 4}
    subject = Subject(names["OneConvolution"], card)
    for check in CHECKS:
        if check.__name__ != "check_two_processes":  # which has to find the class in a module
            check(subject)


def test_model_pages_are_what_the_cards_say():
    done = subprocess.run([sys.executable, ROOT / "scripts" / "build_model_pages.py", "--check"], capture_output=True)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
