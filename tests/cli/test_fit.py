"""Training, testing and predicting through the command line, in this process and one device."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
import torch
import yaml
from markupsafe import escape

from cardiozoo.cards import read_card
from cardiozoo.cli import main
from cardiozoo.cli.recipes import named, recipes
from cardiozoo.registry import find

PAIR = ["--model", "tiny-net", "--data", "tiny_data"]
QUICK = ["--n_bootstrap", "5", "--trainer.accelerator", "cpu"]


def record(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the plugin's model, made once."""
    folder = tmp_path_factory.mktemp("judged")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent / "plugin"))
        patch.chdir(folder)
        assert main(["fit", *PAIR, *QUICK, "--runs", "made", "--model.width", "7", "--seed_everything", "3"]) == 0
    return next((folder / "made" / "tiny-net" / "tiny_data").iterdir())


def test_an_interrupt_within_a_checkpoint_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    class Half(BytesIO):
        def write(self, data: bytes) -> int:
            if self.tell() > 1000:
                raise KeyboardInterrupt
            return super().write(data)

    def save(checkpoint: dict, file: BytesIO) -> None:  # torch then raises that its file is not whole
        real(checkpoint, Half())

    real = torch.save
    monkeypatch.setattr(torch, "save", save)
    assert main(["fit", *PAIR, *QUICK, "--run_dir", "stopped"]) == 130
    assert record(Path("stopped"))["status"] == "interrupted"


def test_a_run_folder_holds_what_is_needed_to_repeat_and_to_judge_it(judged: Path) -> None:
    names = {str(path.relative_to(judged)) for path in judged.rglob("*") if path.is_file()}
    assert names >= {"config.yaml", "run.json", "data_manifest.json", "logs/metrics.csv", "predictions.parquet"}
    reason = "The data module tiny_data has no cohort_summary()."
    assert json.loads((judged / "cohort.json").read_text()) == {"reason": reason}
    assert reason in (judged / "report.html").read_text()
    assert names >= {"checkpoints/best.ckpt", "checkpoints/last.ckpt", "report.html", "evaluation/metrics.json"}
    assert not [name for name in names if "partial" in name or name.startswith(".")]
    facts = record(judged)
    assert (facts["format"], facts["status"], facts["command"], facts["seed"]) == (
        "cardiozoo-run",
        "completed",
        "fit",
        3,
    )
    assert facts["model"].pop("options_changed") == {
        "width": {"value": 7, "default": 8},
        "learning_rate": {"value": 0.02, "default": 0.01},
    }
    assert facts["data"]["options_changed"] == {
        "batch_size": {"value": 8, "default": 16},
        "seed": {"value": 3, "default": 0},
    }
    assert facts["model"] | {"parameters": 0, "trainable": 0} == {
        "name": "tiny-net",
        "class_path": "tiny_zoo.net.TinyNet",
        "title": "TinyNet: a network for the tests",
        "parameters": 0,
        "trainable": 0,
    }
    assert facts["model"]["parameters"] == 4 * 7 + 7 + 7 * 3 + 3
    assert facts["data"]["synthetic"] is True and len(facts["data"]["manifest_sha256"]) == 64
    assert facts["task"] == {
        "name": "first",
        "kind": "multilabel",
        "classes": ["a", "b", "c"],
        "monitor": "val/auroc",
        "mode": "max",
    }
    assert (
        facts["recipe"]["name"] == "tiny_net/tiny_data.synthetic" and "small preset" in facts["recipe"]["preset_note"]
    )
    assert facts["deviations"] == ["model.width = 7 (recipe: 6)", "seed_everything = 3 (the recipe does not say)"]
    assert facts["epochs"] == 3 and facts["steps"] == 3 * (32 // 8) and facts["wall_seconds"] > 0
    assert facts["checkpoint"]["best"] == "checkpoints/best.ckpt"
    assert torch.__version__.startswith(facts["versions"]["torch"])


def test_one_seed_is_the_seed_of_the_data_too(judged: Path, capsys) -> None:
    def seeds(*options: str) -> tuple[int, int]:
        assert main(["fit", *PAIR, *options, "--print_config"]) == 0
        config = yaml.safe_load(capsys.readouterr().out)
        return config["seed_everything"], config["data"]["init_args"]["seed"]

    assert yaml.safe_load((judged / "config.yaml").read_text())["data"]["init_args"]["seed"] == 3
    assert seeds("--seed_everything", "5") == (5, 5) and seeds("--seed_everything=5") == (5, 5)
    assert seeds("--seed_everything", "5", "--data.seed", "2") == (5, 2) and seeds() == (0, 0)
    Path("c.yaml").write_text("seed_everything: 6\ndata: {class_path: tiny_data, init_args: {batch_size: 4}}\n")
    assert seeds("--config", "c.yaml") == (6, 6) and seeds("--config", "c.yaml", "--data.seed", "1") == (6, 1)


def test_the_run_tells_its_cohort_and_its_departures(finished_run: Path) -> None:
    cohort, page = json.loads((finished_run / "cohort.json").read_text()), (finished_run / "report.html").read_text()
    table = pl.read_parquet(finished_run / "predictions.parquet")
    test = cohort["splits"]["test"]
    assert test["samples"] == table.height and test["paired"] == table["present/cxr"].sum()
    label = "Essential hypertension"
    assert test["prevalence"][label]["all"] == pytest.approx(table[f"target/{label}"].mean())
    facts = record(finished_run)
    assert facts["data"]["options_changed"]["image_size"] == {"value": 32, "default": 224}
    assert "store" not in facts["data"]["options_changed"] and "num_classes" not in facts["model"]["options_changed"]
    for kind, name in (("model", "ehr_lstm"), ("data", "mimic_cxr_ehr")):
        stated = read_card(find(kind, name)).get("departures") or []
        assert facts["departures"][kind] == stated
        assert all(escape(str(row["topic"])) in page for row in stated)
    for words in ("never observed", "standardisation.mean.Heart Rate", "train, paired", "last value carried forward"):
        assert words.lower() in page.lower(), words
    identifiers = [*table["id"].to_list(), *table["patient"].to_list()]
    said = (finished_run / "cohort.json").read_text() + page
    assert not [name for name in identifiers if name in said]


def test_the_predictions_are_those_of_the_best_checkpoint(judged: Path) -> None:
    table = pl.read_parquet(judged / "predictions.parquet")
    assert table.columns[:3] == ["id", "patient", "split"] and table.height == 23 and table["id"].is_sorted()
    assert {"group/age", "group/sex", "present/ehr", "target/a", "score/c"} <= set(table.columns)
    assert table["split"].unique().to_list() == ["test"]
    from tiny_zoo.data import TinyData
    from tiny_zoo.net import TinyNet

    model = TinyNet.load_from_checkpoint(judged / "checkpoints" / "best.ckpt", weights_only=True).eval()
    batch = next(iter(TinyData(batch_size=23, seed=3).test_dataloader()))
    with torch.no_grad():
        scores = model.net(batch["ehr"]).sigmoid().numpy()
    assert table.select("score/a", "score/b", "score/c").to_numpy() == pytest.approx(scores, abs=1e-6)
    best = torch.load(judged / "checkpoints" / "best.ckpt", weights_only=True)
    logged = pl.read_csv(judged / "logs" / "metrics.csv")["val/auroc"].drop_nulls()
    assert record(judged)["checkpoint"]["score"] == pytest.approx(logged.max())
    assert best["hyper_parameters"]["class_names"] == ["a", "b", "c"]


def test_test_validate_and_predict_take_a_run(judged: Path, tmp_path: Path, capsys) -> None:
    assert main(["test", "--run", str(judged), *QUICK, "--run_dir", "again"]) == 0
    assert (tmp_path / "again" / "predictions.parquet").read_bytes() == (judged / "predictions.parquet").read_bytes()
    assert record(tmp_path / "again")["source_run"] == str(judged)
    assert "report.html" in capsys.readouterr().out
    assert main(["validate", "--run", str(judged), "--run_dir", "val"]) == 0
    assert pl.read_parquet("val/predictions.val.parquet").height == 21
    Path("other").write_text("another store")
    argv = ["predict", "--run", str(judged), "--data.store", "other", "--data.predict_split", "train", "--run_dir", "p"]
    assert main(argv) == 0
    assert pl.read_parquet("p/predictions.train.parquet").height == 32
    assert json.loads(Path("p/data_manifest.json").read_text())["text"] == "another store"
    assert record(tmp_path / "p")["data"]["synthetic"] is False


def test_a_checkpoint_does_not_override_flags_and_must_fit_the_data(judged: Path, tmp_path: Path, capsys) -> None:
    best = str(judged / "checkpoints" / "best.ckpt")
    assert main(["test", "--ckpt_path", best, "--data", "tiny_data", "--evaluate", "false", "--run_dir", "t"]) == 0
    assert yaml.safe_load(Path("t/config.yaml").read_text())["model"]["init_args"]["width"] == 7
    argv = ["test", "--ckpt_path", best, "--data", "tiny_data", "--data.task", "second", "--run_dir", "u"]
    assert main(argv) == 2
    assert "trained with num_classes = 3, but the data say 2" in capsys.readouterr().err
    assert not Path("u").exists()
    argv = ["fit", *PAIR, "--ckpt_path", best, "--model.width", "7", "--model.learning_rate", "0.5"]
    assert main([*argv, "--trainer.max_epochs", "4", "--evaluate", "false", "--run_dir", "v"]) == 0
    assert yaml.safe_load(Path("v/config.yaml").read_text())["model"]["init_args"]["learning_rate"] == 0.5


def test_a_run_folder_is_never_written_over(judged: Path, capsys) -> None:
    before = (judged / "run.json").read_bytes()
    assert main(["fit", *PAIR, "--run_dir", str(judged)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert (judged / "run.json").read_bytes() == before


def test_a_store_that_changed_is_not_resumed_on(judged: Path, capsys) -> None:
    Path("other").write_text("another store")
    assert main(["fit", "--resume", str(judged), "--data.store", "other", "--trainer.max_epochs", "9"]) == 2
    assert "The store is not the one" in capsys.readouterr().err


def test_training_that_leaves_no_checkpoint_fails_clearly(tmp_path: Path, capsys) -> None:
    assert main(["fit", *PAIR, "--trainer.max_epochs", "0", "--run_dir", "none"]) == 2
    assert "without a checkpoint" in capsys.readouterr().err
    assert record(tmp_path / "none")["status"] == "failed"
    assert main(["fit", *PAIR, "--trainer.enable_checkpointing", "false", "--run_dir", "off"]) == 2
    assert "--evaluate false" in capsys.readouterr().err and not (tmp_path / "off").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model.widht", "3"], "Did you mean --model.width?"),
        (["--data.batchsize", "3"], "Did you mean --data.batch_size?"),
        (["--trainer.max_epoch", "3"], "--trainer.max_epoch"),  # no abbreviations
        (["--trainer.precision", "16-mixed", "--trainer.accelerator", "cpu"], "bf16-mixed"),
        (["--model.width", "wide"], "wide"),
    ],
)
def test_bad_options_stop_before_anything_is_made(options: list[str], said: str, tmp_path: Path, capsys) -> None:
    assert main(["fit", *PAIR, *options, "--run_dir", "bad"]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "bad").exists()


def test_a_broken_plugin_is_an_error_that_names_its_package(capsys) -> None:
    assert main(["fit", "--model", "tiny_unrunnable", "--data", "tiny_data"]) == 2
    error = capsys.readouterr().err
    assert "tiny-zoo 1.2" in error and "a_library_nobody_has" in error


def test_a_printed_config_can_be_fed_back_and_flags_win_over_it(capsys) -> None:
    assert main(["fit", *PAIR, "--model.width", "11", "--print_config"]) == 0
    printed = capsys.readouterr().out
    Path("c.yaml").write_text(printed)
    config = yaml.safe_load(printed)
    assert config["model"]["init_args"] == {"width": 11, "learning_rate": 0.02, "kill_at_step": None}
    assert config["data"]["init_args"]["batch_size"] == 8 and config["patience"] == 7
    assert main(["fit", "--config", "c.yaml", "--print_config"]) == 0
    assert capsys.readouterr().out == printed
    assert main(["fit", "--config", "c.yaml", "--model.width", "12", "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["width"] == 12
    assert main(["fit", "--model.help", "tiny-net"]) == 0
    assert "Hidden width" in capsys.readouterr().out


def test_what_is_monitored_and_the_callbacks_can_be_chosen(tmp_path: Path) -> None:
    callbacks = [{"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "train/loss"}}]
    Path("c.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": callbacks}}))
    options = ["--monitor", "train/loss_epoch", "--evaluate", "false", "--trainer.max_epochs", "2", "--run_dir", "m"]
    assert main(["fit", *PAIR, "--config", "c.yaml", *options]) == 0
    saved = torch.load(tmp_path / "m" / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    assert [key for key in saved if key.startswith("EarlyStopping")] == [
        "EarlyStopping{'monitor': 'train/loss', 'mode': 'min'}"
    ]
    best = [key for key in saved if key.startswith("ModelCheckpoint") and "train/loss_epoch" in key]
    assert len(best) == 1 and "'mode': 'min'" in best[0]
    assert record(tmp_path / "m")["task"]["monitor"] == "train/loss_epoch"


@pytest.mark.parametrize(
    "name", sorted(name for name in recipes() if name.endswith("mimic_cxr_ehr") or "cxr_ehr." in name)
)
def test_every_recipe_parses(name: str, capsys) -> None:
    assert main(["fit", "--recipe", name, "--print_config"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    layers = [yaml.safe_load(layer.path.read_text()) for layer in named(name)]
    for section in ("model", "data"):
        for key, value in (layers[-1].get(section) or {}).get("init_args", {}).items():
            assert config[section]["init_args"][key] == value


def test_what_a_recipe_says_for_its_own_task_is_not_imposed_on_another(mini_store: Path, capsys) -> None:
    def window(*options: str) -> str:
        argv = ["fit", "--model", "drfuse", "--data", "mimic_cxr_ehr", "--data.store", str(mini_store), *options]
        assert main([*argv, "--print_config"]) == 0
        return yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]["window"]

    assert window() == "48h" == window("--data.task", "phenotyping")
    assert window("--data.task", "length_of_stay") == "auto"
    assert window("--data.task", "in_hospital_mortality", "--data.window", "48h") == "48h"
