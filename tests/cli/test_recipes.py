"""Recipes of the ECG models: every pair that makes sense has one, and says nothing that its classes do not know."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cardiozoo.cli.lightning import _init_parameters
from cardiozoo.cli.recipes import Recipe, choose, recipes
from cardiozoo.cli.typed import LINKED
from cardiozoo.registry import resolve

ECG_DATA = ("mimic_iv_ecg", "ecg_cohort", "ptb_xl")
OF_ECG = [recipe for recipe in recipes().values() if recipe.pair.partition("/")[2] in ECG_DATA]
GENERATIVE = ("ls_emvae", "mvae", "mopoe_vae", "beta_vae")
SUPERVISED = ("resnet1d", "xresnet1d101", "multimodal_cnn", "finetune")
TOP = {"seed_everything", "model", "data", "trainer", "monitor", "monitor_mode", "patience"}


def test_every_pair_that_makes_sense_has_a_recipe_and_a_small_one() -> None:
    wanted = {f"{m}/mimic_iv_ecg" for m in GENERATIVE}
    wanted |= {f"{m}/{data}" for m in SUPERVISED for data in ("ecg_cohort", "ptb_xl")}
    assert {recipe.pair for recipe in OF_ECG} >= wanted
    for pair in wanted:
        model, _, data = pair.partition("/")
        # there is no synthetic PTB-XL, so nothing small for it
        small = [] if data == "ptb_xl" else [f"{pair}.synthetic"]
        assert [recipe.name for recipe in choose(model, data, None, synthetic=True)] == [pair, *small]


@pytest.mark.parametrize("recipe", OF_ECG, ids=lambda recipe: recipe.name)
def test_a_recipe_says_what_its_classes_know(recipe: Recipe) -> None:
    text = Path(recipe.path).read_text()
    content = yaml.safe_load(text)
    assert set(content) <= TOP and max(map(len, text.splitlines())) <= 120
    for kind in ("model", "data"):
        part = content[kind]
        known = set(_init_parameters(resolve(part["class_path"], kind))) - {*LINKED, "self"}
        if kind == "data":
            known |= set(_init_parameters(resolve("mimic_iv_ecg", "data").__mro__[1]))
        assert set(part["init_args"]) <= known, recipe.name
    assert part["class_path"] == recipe.pair.partition("/")[2]


def test_what_the_papers_state() -> None:
    def values(name: str) -> tuple[dict, dict, dict]:
        content = yaml.safe_load(Path(recipes()[name].path).read_text())
        return content["model"]["init_args"], content["data"]["init_args"], content

    for model in GENERATIVE:
        network, data, whole = values(f"{model}/mimic_iv_ecg")
        assert (network["optimizer"], network["learning_rate"], data["batch_size"]) == ("adamw", 1e-4, 128)
        assert whole["trainer"]["max_epochs"] == 100 and whole["patience"] == 0
    for model in SUPERVISED:
        network, data, whole = values(f"{model}/ecg_cohort")
        assert (network["optimizer"], network["learning_rate"]) == ("adam", 1e-4)
        # Focal by default; a recipe that named it would refuse the regressions of a cohort.
        assert "loss" not in network and resolve(model, "model").default_loss == "focal"
        assert (data["batch_size"], whole["trainer"]["max_epochs"]) == (32, 50)
    network, data, whole = values("xresnet1d101/ptb_xl")
    assert (network["learning_rate"], network["weight_decay"], network["schedule"]) == (1e-2, 1e-2, "one_cycle")
    assert (data["rate"], data["window"], data["batch_size"], data["standardise"]) == (100, 2.5, 128, "train")
