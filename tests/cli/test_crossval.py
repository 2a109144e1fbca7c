"""Cross-validation through the command line: a fold whose process is killed, going on, refusals, what it adds up to."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from cardiozoo.cli import main
from cardiozoo.cli.crossval import how_many
from cardiozoo.cli.crossval_folder import CrossValidation
from cardiozoo.cli.own_folder import alone_in, make_folder
from cardiozoo.cli.same_store import check_same_store, store_at_hand
from cardiozoo.cli.workers import Workers, visible_devices
from cardiozoo.errors import OptionError, StoreError

ROOT, PLUGIN = Path(__file__).parents[2], Path(__file__).parent / "plugin"
PAIR = ["--model", "tiny_zoo.net.TinySteady", "--data", "tiny_zoo.folded.TinyFolded", "--trainer.max_epochs", "1"]
QUICK = ["--n_bootstrap", "5", "--trainer.accelerator", "cpu"]
COMMAND = ["crossval", *PAIR, *QUICK, "--data.deadly_fold", "1", "--folds", "3"]


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The command, in which one fold is killed, and the same command again."""
    folder = tmp_path_factory.mktemp("crossval")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(PLUGIN))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(PLUGIN)]))
        patch.setenv("OMP_NUM_THREADS", "1")
        statuses = [main(COMMAND)]
        first = json.loads(next(folder.rglob("crossval.json")).read_text())
        kept = {p: p.stat().st_mtime_ns for p in folder.rglob("fold_*/run.json") if "fold_1/" not in str(p)}
        Path("cured").touch()
        statuses.append(main(COMMAND))
    found = next(folder.rglob("crossval.json")).parent
    return {"folder": found, "statuses": statuses, "first": first, "kept": kept, "cwd": folder}


def test_a_killed_fold_loses_no_other_and_the_same_command_goes_on(twice: dict) -> None:
    assert twice["statuses"] == [1, 0] and twice["first"]["status"] == "incomplete"
    assert len(twice["kept"]) == 2 and all(path.stat().st_mtime_ns == then for path, then in twice["kept"].items())
    record = json.loads((twice["folder"] / "crossval.json").read_text())
    assert record["status"] == "completed" and [fold["number"] for fold in record["per_fold"]] == [0, 1, 2]
    assert twice["folder"].parent == twice["cwd"] / "runs" / "other" / "other"


def test_values_are_those_of_the_folds_tables(twice: dict) -> None:
    record = json.loads((twice["folder"] / "crossval.json").read_text())
    tables = [pl.read_parquet(twice["folder"] / f"fold_{k}" / "predictions.parquet") for k in range(3)]
    names = ["a", "b", "c"]

    def values(table: pl.DataFrame) -> tuple[float, float]:
        target, score = (table.select([f"{kind}/{n}" for n in names]).to_numpy() for kind in ("target", "score"))
        matthews = [matthews_corrcoef(target[:, c], score[:, c] >= 0.5) for c in range(3)]
        return roc_auc_score(target, score, average="macro"), float(np.mean(matthews))

    by_hand = np.array([values(table) for table in tables])
    for column, metric in enumerate(("auroc", "mcc")):
        assert [fold["values"][metric] for fold in record["per_fold"]] == pytest.approx(by_hand[:, column])
        summary = record["summary"][metric]
        assert (summary["mean"], summary["sd"]) == pytest.approx((by_hand[:, column].mean(), by_hand[:, column].std()))
        pooled = values(pl.concat(tables))[column]
        row = record["pooled"][metric]
        assert row["value"] == pytest.approx(pooled) and row["low"] <= row["high"]
    assert sum(fold["samples"] for fold in record["per_fold"]) == 40
    report = (twice["folder"] / "report.html").read_text()
    assert "population standard deviation" in report and "SYNTHETIC DATA" in report and "row000" not in report
    assert pl.read_csv(twice["folder"] / "crossval.csv").height == 3


def test_other_options_do_not_go_on_with_a_folder(twice: dict, capsys) -> None:
    changed = [*COMMAND, "--model.width", "9", "--out", str(twice["folder"])]
    assert main(changed) == 2
    assert "model.width was None, now 9" in capsys.readouterr().err
    assert main([*COMMAND[:-1], "4", "--out", str(twice["folder"])]) == 2
    assert "folds was 3, now 4" in capsys.readouterr().err
    # how many processes prepare batches is no option of the method: nothing is left to run, and the result is the same
    assert main([*COMMAND, "--data.num_workers", "1", "--out", str(twice["folder"]), "--ddof", "1"]) == 0
    record = json.loads((twice["folder"] / "crossval.json").read_text())
    values = [fold["values"]["accuracy"] for fold in record["per_fold"]]
    assert record["summary"]["accuracy"]["sd"] == pytest.approx(np.std(values, ddof=1))


def test_finished_folds_are_kept_for_the_store_that_they_were_made_with(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "manifest.json").write_text("{}")
    now = store_at_hand(tmp_path / "store", "ecg_cohort")
    assert now == hashlib.sha256(b"{}").hexdigest()
    for number, then in enumerate((now, "0" * 64)):
        (tmp_path / f"fold_{number}").mkdir()
        (tmp_path / f"fold_{number}" / "run.json").write_text(json.dumps({"data": {"manifest_sha256": then}}))
    check_same_store([tmp_path / "fold_0", tmp_path / "none"], now, "Anew.")
    with pytest.raises(OptionError, match=f"fold_1 was made with another store .*{now[:12]}"):
        check_same_store([tmp_path / "fold_0", tmp_path / "fold_1"], now, "Anew.")
    # what cannot be known before the run is left to it
    check_same_store([tmp_path / "fold_1"], store_at_hand(tmp_path / "nowhere", "ecg_cohort"), "Anew.")
    check_same_store([tmp_path / "fold_1"], store_at_hand(None, "a_plugin_s"), "Anew.")


def test_a_synthetic_cohort_of_another_version_is_another_store(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CARDIOZOO_CACHE", str(tmp_path))
    assert store_at_hand(None, "ecg_cohort") == ""
    (tmp_path / "run.json").write_text('{"data": {"manifest_sha256": "abc"}}')
    with pytest.raises(OptionError, match="newer synthetic cohort"):
        check_same_store([tmp_path], "", "Anew.")


def test_one_command_a_folder(tmp_path: Path, twice: dict, capsys) -> None:
    with alone_in(twice["folder"]):
        assert main([*COMMAND, "--out", str(twice["folder"])]) == 2
    assert "Another command is at work" in capsys.readouterr().err
    with pytest.raises(StoreError, match="cannot be written"):
        make_folder(Path("/proc/none"))


def test_folds_of_another_configuration_or_store_are_refused(twice: dict, capsys) -> None:
    run = twice["folder"] / "fold_2"
    for file, old, new, words in (
        ("config.yaml", "batch_size: 16", "batch_size: 8", "batch_size = 8"),
        ("run.json", '"manifest_sha256": "', '"manifest_sha256": "0', "another store"),
    ):
        text = (run / file).read_text()
        assert old in text
        (run / file).write_text(text.replace(old, new))
        assert main([*COMMAND, "--out", str(twice["folder"])]) == 2
        assert words in capsys.readouterr().err
        (run / file).write_text(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--folds", "1"], "At least 2"),
        (["--jobs", "0"], "At least 1"),
        (["--data.fold", "2"], "--folds K"),
        (["--resume", "somewhere"], "takes no --resume"),
        (["--jobs", "2", "--trainer.devices", "2"], "--trainer.devices 2"),
        (["--model", "resnet1dd"], "resnet1d"),
    ],
)
def test_bad_options_stop_before_any_work(options: list[str], words: str, capsys) -> None:
    assert main(["crossval", *PAIR, *options]) == 2
    assert words in capsys.readouterr().err
    assert not list(Path().rglob("fold_*"))


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(
    ("options", "words"),
    [(["--model.nowhere", "7"], "nowhere"), (["--data.batch_size", "0"], "batch_size is 0")],
)
def test_what_only_a_fold_notices_is_told_once_and_leaves_nothing(
    options: list[str], words: str, jobs: str, tmp_path: Path, capsys, environment: dict[str, str], monkeypatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    out = tmp_path / "cv"
    assert main(["crossval", *PAIR, *QUICK, *options, "--folds", "40", "--jobs", jobs, "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert told.count("cannot begin") == 1 and words in told and "go on" not in told
    assert not out.exists()


def test_a_folder_of_other_things_is_left_alone(capsys) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    assert main(["crossval", *PAIR, "--out", "mine"]) == 2
    assert "not empty" in capsys.readouterr().err and [p.name for p in Path("mine").iterdir()] == ["notes.txt"]


def test_a_wrong_option_is_put_right_in_the_same_folder_as_long_as_nothing_was_trained(tmp_path: Path) -> None:
    folder = tmp_path / "cv"
    CrossValidation.prepare([*PAIR, "--data.bad_fold", "0"], 2, folder, ["crossval"], quiet=True).write(
        status="incomplete"
    )
    again = CrossValidation.prepare(PAIR, 2, folder, ["crossval"], quiet=True)
    record = json.loads((folder / "crossval.json").read_text())
    assert (record["status"], record["fingerprint"]) == ("running", again.facts["fingerprint"])
    with pytest.raises(OptionError, match="bad_fold"):  # another process may be running these
        CrossValidation.prepare([*PAIR, "--data.bad_fold", "0"], 2, folder, ["crossval"], quiet=True)
    again.write(status="incomplete")
    (folder / "fold_0" / "checkpoints").mkdir(parents=True)
    (folder / "fold_0" / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(OptionError, match="bad_fold was None, now 0"):
        CrossValidation.prepare([*PAIR, "--data.bad_fold", "0"], 2, folder, ["crossval"], quiet=True)


def test_devices_are_dealt_in_turn_and_threads_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert visible_devices() == ["3", "5"]

    class Whole:
        several_devices, trainer = False, {}

    assert how_many(None, Whole) == (2, ["3", "5"]) and how_many(3, Whole) == (3, ["3", "5"])
    Whole.trainer = {"accelerator": "cpu"}
    assert how_many(None, Whole) == (1, [])
    environments = Workers(3, ["3", "5"])._environments
    assert [e["CUDA_VISIBLE_DEVICES"] for e in environments] == ["3", "5", "3"]
    assert {int(e["OMP_NUM_THREADS"]) for e in environments} == {max(1, len(os.sched_getaffinity(0)) // 3)}
    with pytest.raises(OptionError):
        how_many(0, Whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_command(tmp_path: Path, environment: dict[str, str], number: signal.Signals) -> None:
    long = ["crossval", *PAIR, *QUICK, "--trainer.max_epochs", "1000000", "--folds", "2", "--out", "cv"]
    whole = subprocess.Popen([sys.executable, "-m", "cardiozoo", *long], cwd=tmp_path, env=environment)
    log, record = tmp_path / "cv" / "fold_0.log", tmp_path / "cv" / "fold_0" / "run.json"
    _wait(lambda: log.is_file() and "epoch  " in log.read_text(), 120)
    workers = [pid for pid in _processes() if _parent(pid) == whole.pid]
    whole.send_signal(number)  # to the command alone, as a batch system would
    assert whole.wait(timeout=60) == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert len(workers) == 1
    _wait(lambda: workers[0] not in _processes(), 60)
    assert json.loads(record.read_text())["status"] == "interrupted"
    assert not (tmp_path / "cv" / "fold_1").exists()


def _wait(met: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _parent(int(path.name))]


def _parent(pid: int) -> int:
    """0 for a process that has ended, even if nobody has asked how."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return 0
    return 0 if state == "Z" else int(parent)
