"""What the argument parser refuses is told in three lines: what came, what would be accepted, what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

from cardiozoo.cli import main
from cardiozoo.cli.parser_errors import translated
from cardiozoo.data.ecg_cohort import EcgCohort

FIT = ["fit", "--model", "resnet1d", "--data", "ecg_cohort"]
COHORT = f"{EcgCohort.__module__}.{EcgCohort.__qualname__}"
OF_COHORT = (
    "store, task, target, threshold, where, leads, rate, window, eval_window, beat, highpass, powerline, standardise, "
    "clip, folds, fold, fold_seed, val_fraction, train_patients, batch_size, num_workers, seed, predict_split"
)
DATA_HELP = "`cardiozoo fit --data.help ecg_cohort` describes it."
MODEL_HELP = "`cardiozoo fit --model.help resnet1d` describes it."
TASKS = "One of ph_detection, capillary, column, reconstruction."
OF_TINY = "Its options: --config, --help, --out, --print_config, --raw_files, --rows."


def told(argv: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of the error, of which there is nothing but three."""
    assert main(argv) == 2
    shown = capsys.readouterr()
    assert not shown.out
    start, lines = "cardiozoo: OptionError: ", shown.err.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(start))
    return [lines[first].removeprefix(start), *lines[first + 1 :]]


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (["--data.task", "nonsense"], ["--data.task is 'nonsense'.", TASKS, DATA_HELP]),
        (
            ["--data.column", "nope"],
            [f"{COHORT} has no option 'column'.", f"Its options: {OF_COHORT}.", "--data.help describes them."],
        ),
        (["--model.stride", "x"], ["--model.stride is 'x'.", "A whole number or null.", MODEL_HELP]),
        (["--model.betas", "[1, x]"], ["--model.betas is [1, 'x'].", "A number in place of 'x'.", MODEL_HELP]),
        (
            ["--trainer.max_epochs", "abc"],
            ["--trainer.max_epochs is 'abc'.", "A whole number or null.", "`cardiozoo fit --help` describes it."],
        ),
        (
            ["--trainer.max_epoch", "3"],
            [
                "`cardiozoo fit` has no option --trainer.max_epoch.",
                "Options with names like it: --trainer.max_epochs, --trainer.min_epochs, --trainer.max_steps.",
                "Did you mean --trainer.max_epochs?",
            ],
        ),
        (
            ["--nonsense=3"],
            [
                "`cardiozoo fit` has no option --nonsense.",
                "Options of the run, --trainer.X, --model.X and --data.X.",
                "`cardiozoo fit --help` describes them.",
            ],
        ),
        (
            ["--evaluate", "perhaps"],
            ["--evaluate is 'perhaps'.", "True or false.", "`cardiozoo fit --help` describes it."],
        ),
        (
            ["--model.stride"],
            [
                "--model.stride has no value.",
                "A value after every option.",
                "`cardiozoo fit --model.help NAME` describes them.",
            ],
        ),
        (
            ["--trainer.callbacks=lightning.pytorch.callbacks.EarlyStopping", "--trainer.callbacks.patience", "x"],
            ["--trainer.callbacks.patience is 'x'.", "A whole number.", "`cardiozoo fit --help` describes it."],
        ),
        (
            ["--trainer.precision", "bad"],
            [
                "--trainer.precision is 'bad'.",
                "One of 64, 32, 16, transformer-engine, transformer-engine-float16, 16-true, 16-mixed, bf16-true, "
                "bf16-mixed, 32-true, 64-true, bf16; or null.",
                "`cardiozoo fit --help` describes it.",
            ],
        ),
    ],
)
def test_what_fit_refuses(options: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert told([*FIT, *options], capsys) == lines


@pytest.mark.parametrize(
    ("config", "lines"),
    [
        (
            "data: {class_path: ecg_cohort, init_args: {task: nonsense}}",
            ["--data.task is 'nonsense'.", TASKS, DATA_HELP],
        ),
        (
            "trainer: {max_epoch: 3}",
            [
                "`cardiozoo fit` has no option --trainer.max_epoch.",
                "Options with names like it: --trainer.max_epochs, --trainer.min_epochs, --trainer.max_steps.",
                "Did you mean --trainer.max_epochs?",
            ],
        ),
    ],
)
def test_what_fit_refuses_of_a_config(
    config: str, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text(config)
    assert told([*FIT, "--config", "bad.yaml"], capsys) == lines


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        (
            ["prepare", "ptb_xl", "--cut", "end"],
            ["--cut is 'end'.", "One of start, center.", "`cardiozoo prepare ptb_xl --help` describes it."],
        ),
        (
            ["prepare", "tiny_data", "--raw", "x"],
            ["`cardiozoo prepare tiny_data` has no option --raw.", OF_TINY, "Did you mean --raw_files?"],
        ),
        (
            ["prepare", "tiny_data", "--row", "x"],
            ["`cardiozoo prepare tiny_data` has no option --row.", OF_TINY, "Did you mean --rows?"],
        ),
        (
            ["prepare", "tiny_data"],
            [
                "`cardiozoo prepare tiny_data` was not given --raw_files and --out.",
                "A value for each option.",
                "`cardiozoo prepare tiny_data --help` describes them.",
            ],
        ),
    ],
)
def test_what_a_registered_function_refuses(
    argv: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(argv, capsys) == lines


def test_prepare_names_the_options_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    came, accepted, next_step = told(["prepare", "ptb_xl", "--raw", "x"], capsys)
    assert came == "`cardiozoo prepare ptb_xl` has no option --raw."
    assert accepted.startswith("Its options: --config, --cut, ") and " --ptb_xl, " in accepted
    assert next_step == "`cardiozoo prepare ptb_xl --help` describes them."


def test_help_and_the_config_are_still_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--help"], ["--data.help", "ecg_cohort"], ["--print_config"]):
        assert main([*FIT, *options]) == 0
        assert "task" in capsys.readouterr().out


def test_what_is_not_understood_is_told_as_it_is_on_one_line() -> None:
    error = translated("Something  new:\n  <class 'a.b.Thing'> of\n  another kind.", "cardiozoo fit")
    assert error.came == "Something new: Thing of another kind." and error.accepted and error.next_step
