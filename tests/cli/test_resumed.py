"""What may change when a run is resumed, and that a refusal leaves every file of the run as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cardiozoo.cli import main
from cardiozoo.cli.resumed import same

PAIR = ["--model", "tiny-net", "--data", "tiny_data"]
# Model and data are those of the run, so nothing of a recipe comes in; the store is a file.
OPTIONS = "--evaluate false --trainer.accelerator cpu --trainer.max_epochs 2 --data.store store".split()


def begin(where: Path, model: list[str]) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent / "plugin"))
        patch.chdir(where)
        Path("store").write_text("a store")
        assert main(["fit", *model, *OPTIONS, "--run_dir", "run"]) == 0
    return where


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of two epochs, its store beside it."""
    return begin(tmp_path_factory.mktemp("trained"), [*PAIR, "--model.learning_rate", "0.01", "--model.width", "6"])


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it in the folder of this test."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return Path("run")


def files(run: Path) -> dict[str, tuple[bytes, int]]:
    """Every file: its bytes, and when it was written."""
    found = sorted(path for path in run.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def record(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


REFUSED = [
    ("--model.width 16", "model.width was 6, now 16"),
    ("--model.learning_rate 2e-2", "model.learning_rate was 0.01, now 0.02"),
    ("--data.batch_size 4 --trainer.max_epochs 3", "data.batch_size was 8, now 4"),
    ("--data.task second", "data.task was first, now second"),
    ("--data.seed 7", "data.seed was 0, now 7"),
    ("--seed_everything 7", "seed_everything was 0, now 7"),
    ("--data tiny_zoo.unlabelled.TinyUnlabelled", "data was tiny_zoo.data.TinyData, now"),
    ("--model tiny_zoo.net.TinySteady", "model was tiny_zoo.net.TinyNet, now tiny_zoo.net.TinySteady"),
    ("--trainer.precision bf16-mixed", "trainer.precision was 32-true, now bf16-mixed"),
    ("--trainer.limit_train_batches 3", "trainer.limit_train_batches was 1.0, now 3"),
    ("--trainer.gradient_clip_val 1", "trainer.gradient_clip_val was None, now 1"),
    ("--trainer.accumulate_grad_batches 2", "trainer.accumulate_grad_batches was 1, now 2"),
    ("--trainer.callbacks+=StochasticWeightAveraging --trainer.callbacks.swa_lrs 0.1", "trainer.callbacks was"),
    ("--monitor val/loss --patience 1", "monitor was val/auroc, now val/loss; patience was 7, now 1"),
    ("--recipe none", "recipe was tiny_net/tiny_data, now none"),
    ("--run_dir another", "run_dir was run, now another"),
    ("--config c.yaml", "model.width was 6, now 9"),
    ("--trainer.max_epochs 1", "has 2 behind it already"),
    ("--trainer.max_steps 3", "has 8 behind it already"),
    ("--data.store other --trainer.max_epochs 3", "The store is not the one"),
    ("--trainer.devices 2", "was trained by 1 process, and would go on with 2"),
    # What Lightning refuses itself, once model and data have been built.
    ("--trainer.accelerator no_such_thing", "no_such_thing"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_what_decides_the_weights_is_refused_and_nothing_is_touched(run: Path, options: str, said: str, capsys) -> None:
    Path("c.yaml").write_text("model: {class_path: tiny-net, init_args: {width: 9}}\ntrainer: {max_epochs: 5}\n")
    Path("other").write_text("another store")
    before = files(run)
    assert main(["fit", "--resume", "run", *options.split()]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert files(run) == before and not Path("another").exists()


def test_the_way_out_that_a_refusal_names_is_one(run: Path, capsys) -> None:
    assert main(["fit", "--resume", "run", "--data.batch_size", "4"]) == 2
    said = capsys.readouterr().err
    assert "--config run/config.yaml --run_dir NEW" in said and "--ckpt_path run/checkpoints/last.ckpt" in said
    assert main(["fit", "--resume", "run", "--trainer.max_epochs", "3"]) == 0
    before = files(run)
    assert main(["fit", "--config", "run/config.yaml", "--run_dir", "new", "--data.batch_size", "4"]) == 0
    assert record(Path("new"))["steps"] == 3 * 8
    more = ["--ckpt_path", "run/checkpoints/last.ckpt", "--trainer.max_epochs", "4", "--data.seed", "3"]
    assert main(["fit", "--config", "run/config.yaml", "--run_dir", "newer", *more]) == 0
    assert record(Path("newer"))["steps"] == 4 * 4 and files(run) == before


def test_what_means_the_same_is_no_change(run: Path, tmp_path: Path) -> None:
    """A finished run with its own options said again, in other words."""
    before = weights(run)
    same_options = ["--model.learning_rate", "1e-2", "--data.store", str(tmp_path / "store"), "--data.batch_size", "8"]
    left_open = (
        "--monitor val/auroc --monitor_mode max --trainer.precision 32 --trainer.limit_train_batches 1.0".split()
    )
    given = [*PAIR, *same_options, *left_open, "--data.predict_split", "test", "--trainer.gradient_clip_val", "null"]
    config = ["--config", "run/config.yaml", "--run_dir", str(tmp_path / "run"), "--recipe", "auto"]
    assert main(["fit", "--resume", "run", *config, *given, "--trainer.max_epochs", "2"]) == 0
    facts = record(run)
    assert facts["status"] == "completed" and len(facts["resumed"]) == 1 and "changed_on_resume" not in facts
    assert not [line for line in facts["deviations"] if "the run" in line]
    assert all(torch.equal(value, before[key]) for key, value in weights(run).items())


def test_what_may_change_is_recorded_once_and_kept(run: Path, tmp_path: Path) -> None:
    begun = record(run)["deviations"]
    Path("moved").write_bytes(Path("store").read_bytes())
    options = ["--trainer.max_epochs", "3", "--trainer.log_every_n_steps", "1", "--data.store", "moved"]
    watcher = ["--trainer.callbacks+=LearningRateMonitor"]
    assert main(["fit", "--resume", "run", *options, *watcher, "--save_every_n_steps", "2"]) == 0
    facts, config = record(run), yaml.safe_load((run / "config.yaml").read_text())
    assert facts["steps"] == 12 and config["trainer"]["max_epochs"] == 3 and config["data"]["init_args"]["store"]
    kept = yaml.safe_load((run / "config.before-1.yaml").read_text())
    assert kept["trainer"]["max_epochs"] == 2
    assert "trainer.max_epochs = 3 (the run: 2)" in facts["deviations"]
    assert not [line for line in facts["deviations"] if "store" in line]
    changes = facts["changed_on_resume"]
    assert [change["resume"] for change in changes] == [1]
    assert changes[0]["options"]["trainer.max_epochs"] == {"before": 2, "now": 3}
    assert changes[0]["options"]["data.store"] == {"before": "store", "now": "moved"}
    assert set(changes[0]["options"]) == {
        *("trainer.max_epochs", "trainer.log_every_n_steps", "trainer.callbacks", "data.store", "save_every_n_steps")
    }
    before = (run / "config.yaml").read_bytes()
    assert main(["fit", "--resume", "run"]) == 0
    assert (run / "config.yaml").read_bytes() == before and not (run / "config.before-2.yaml").exists()
    again = record(run)
    assert (again["deviations"], again["changed_on_resume"]) == (facts["deviations"], changes)
    assert begun == facts["deviations"][: len(begun)] and len(again["resumed"]) == 2
    assert main(["fit", "--resume", "run", "--trainer.max_epochs", "4"]) == 0
    assert [change["resume"] for change in record(run)["changed_on_resume"]] == [1, 3]


def test_a_config_that_is_not_that_of_the_checkpoint_is_told(run: Path, capsys) -> None:
    """As an earlier version left it behind, when other options had been given."""
    text = (run / "config.yaml").read_text()
    (run / "config.before-1.yaml").write_text(text)
    (run / "config.yaml").write_text(text.replace("width: 6", "width: 16"))
    before = files(run)
    assert main(["fit", "--resume", "run"]) == 2
    said = capsys.readouterr().err
    assert "says model.width = 16, but last.ckpt was trained with 6" in said and "config.before-1.yaml" in said
    assert files(run) == before
    shutil.copyfile(run / "config.before-1.yaml", run / "config.yaml")
    assert main(["fit", "--resume", "run"]) == 0


def test_a_schedule_planned_to_its_end_is_not_made_longer(tmp_path: Path, capsys) -> None:
    begin(tmp_path, ["--model", "tiny_zoo.net.TinyPlanned", "--data", "tiny_data"])
    before = files(Path("run"))
    assert main(["fit", "--resume", "run", "--trainer.max_epochs", "3"]) == 2
    assert "planned to its last step" in capsys.readouterr().err and files(Path("run")) == before
    assert main(["fit", "--resume", "run", "--trainer.log_every_n_steps", "1"]) == 0


@pytest.mark.parametrize(
    ("then", "now", "exact", "alike"),
    [
        (1, 1.0, False, True),
        (1, 1.0, True, False),  # one batch, all batches
        (1, True, False, False),
        ([1, {"a": (2.0, None)}], (1.0, {"a": [2, None]}), False, True),
        ({"a": 1}, {"a": 1, "b": None}, False, False),
        (float("nan"), float("nan"), False, True),
        ("here/../store", "store", False, True),
        ("here/../absent", "absent", False, False),
        ("sex = F", "sex = M", False, False),
        (None, 0, False, False),
    ],
)
def test_what_counts_as_the_same(then: Any, now: Any, exact: bool, alike: bool, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "store").touch()
    assert same(then, now, exact) is alike
