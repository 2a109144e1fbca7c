"""How a command line is expanded, without running anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cardiozoo.cli.arguments import Arguments, expand
from cardiozoo.cli.deviations import deviations
from cardiozoo.cli.recipes import choose, named, recipes
from cardiozoo.errors import CheckpointError, OptionError, UnknownNameError

PAIR = ["--model", "tiny-net", "--data", "tiny_data"]
NET, DATA = "tiny_zoo.net.TinyNet", "tiny_zoo.data.TinyData"


def expanded(*argv: str, hyperparameters: dict | None = None) -> Arguments:
    return expand(list(argv), lambda path: hyperparameters or {})


@pytest.mark.parametrize("argv", [["--model", "Tiny_Net"], ["--model=tiny-net"], ["--model.class_path", NET]])
def test_short_names_in_any_form_become_class_paths(argv: list[str]) -> None:
    result = expanded("fit", *argv, "--data=TINY-DATA")
    assert result.component("model") == NET and result.component("data") == DATA
    assert any(NET in arg for arg in result.args) and f"--data={DATA}" in result.args


def test_short_names_in_files_and_in_json(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("model: tiny_net\ndata: {class_path: tiny-data, init_args: {task: second}}\n")
    assert expanded("fit", "--config", str(config)).recipe_name == "tiny_net/tiny_data.second.synthetic"
    result = expanded("fit", "--model", json.dumps({"class_path": "tiny-net"}), "--data", "tiny_data")
    assert result.component("model") == NET


def test_hyphens_in_options_and_the_model_named_after_its_options() -> None:
    result = expanded("fit", "--model.learning-rate", "0.1", *PAIR)
    typed = [arg for arg in result.args if arg in ("--model", "--model.learning_rate")]
    assert typed == ["--model", "--model.learning_rate"]


def test_the_recipe_of_the_pair_is_found_with_its_variants(tmp_path: Path) -> None:
    assert expanded("fit", *PAIR).recipe_name == "tiny_net/tiny_data.synthetic"
    store = str(tmp_path)
    assert expanded("fit", *PAIR, "--data.store", store).recipe_name == "tiny_net/tiny_data"
    second = expanded("fit", *PAIR, "--data.store", store, "--data.task", "second")
    assert second.recipe_name == "tiny_net/tiny_data.second"
    assert [arg for arg in second.args if arg.startswith("--config")][1].endswith("tiny_data.second.yaml")
    assert expanded("fit", *PAIR, "--recipe", "none").recipes == []
    assert len(expanded("fit", *PAIR, "--recipe", "tiny_net/tiny_data").recipes) == 1
    alone = expanded("fit", "--recipe", "tiny_net/tiny_data.synthetic")  # a recipe names its pair
    assert alone.component("model") == NET and len(alone.recipes) == 2
    with pytest.raises(UnknownNameError, match="tiny_net/tiny_data"):
        expanded("fit", *PAIR, "--recipe", "tiny_net/tiny_dat")
    with pytest.raises(UnknownNameError, match=r"nowhere\.yaml"):
        expanded("fit", *PAIR, "--recipe", "nowhere.yaml")


def test_recipes_of_our_own_and_of_strangers_are_found_without_importing_them() -> None:
    found = recipes()
    assert found["drfuse/mimic_cxr_ehr"].package.startswith("cardiozoo ")
    assert found["tiny_net/tiny_data"].package == "tiny-zoo 1.2"
    layers = choose("medfuse", "mimic_cxr_ehr", "in_hospital_mortality", synthetic=True)
    assert [layer.variant for layer in layers] == ["", "in_hospital_mortality", "synthetic"]
    assert named("medfuse/mimic_cxr_ehr.in_hospital_mortality.synthetic") == layers
    assert choose("drfuse", "tiny_data", None, synthetic=True) == []


@pytest.mark.parametrize("typed", [["--model.num_classes", "4"], ["--model.init_args.class_names=[a]"]])
def test_what_the_data_decide_cannot_be_typed(typed: list[str]) -> None:
    with pytest.raises(OptionError, match="The data module decides"):
        expanded("fit", *PAIR, *typed)


def test_what_the_data_decide_cannot_be_in_a_config_either(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("model: {class_path: tiny-net, init_args: {num_classes: 3}}\n")
    with pytest.raises(OptionError, match="num_classes"):
        expanded("fit", *PAIR, "--config", "c.yaml")


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_nothing_is_run_without_trained_weights(command: str) -> None:
    with pytest.raises(CheckpointError, match="no trained weights"):
        expanded(command, *PAIR)
    with pytest.raises(CheckpointError, match=r"no checkpoint nowhere\.ckpt"):
        expanded(command, *PAIR, "--ckpt_path", "nowhere.ckpt")
    with pytest.raises(CheckpointError, match="not a run folder"):
        expanded(command, "--run", "nowhere")
    assert expanded(command, *PAIR, "--help").only_looking


def test_no_model_or_no_data_is_said_before_anything_is_loaded() -> None:
    with pytest.raises(OptionError, match="no --data"):
        expanded("fit", "--model", "drfuse")
    with pytest.raises(OptionError, match="no --model"):
        expanded("fit", "--data", "tiny_data")
    with pytest.raises(OptionError, match="exclude one another"):
        expanded("fit", "--resume", "a", "--ckpt_path", "b")
    with pytest.raises(OptionError, match="cannot be read"):
        expanded("fit", "--config", "nowhere.yaml")


def test_a_checkpoint_lies_below_the_flags_and_above_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"")
    trained = {"_class_path": NET, "_instantiator": "x", "width": 5, "learning_rate": 0.3, "num_classes": 3}
    argv = ["test", "--ckpt_path", "x.ckpt", "--data", "tiny_data", "--model.width", "9"]
    result = expanded(*argv, hyperparameters=trained)
    assert result.component("model") == NET  # named by the checkpoint
    assert result.recipe_name == "tiny_net/tiny_data.synthetic"
    assert result.asked["model"]["init_args"] == {"width": 9, "learning_rate": 0.3}
    with pytest.raises(CheckpointError, match="TinyOther"):
        expanded("test", "--model", "tiny_other", *argv[1:5], hyperparameters=trained)


def test_deviations_are_what_was_typed_against_the_recipe(tmp_path: Path) -> None:
    typed = ["--model.width", "9", "--data.batch_size", "8", "--data.seed", "0", "--data.num_workers", "3"]
    result = expanded("fit", *PAIR, *typed, "--trainer.max_epochs", "3", "--data.task", "second")
    assert deviations(result, {"data.init_args.seed": 0}) == [
        "data.task = second (the recipe does not say)",
        "model.width = 9 (recipe: 6)",
    ]
