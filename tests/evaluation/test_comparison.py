"""Differences between two tables on the same samples."""

from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_run import predictions_table, write_run
from rich.console import Console

from cardiozoo.errors import PredictionsError
from cardiozoo.evaluation.comparison import compare
from cardiozoo.evaluation.metrics import auroc


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path, pl.DataFrame, pl.DataFrame]:
    strong = predictions_table(250, 4, 150, strength=1.5)
    rng = np.random.default_rng(8)
    noisy = [
        (0.7 * pl.col(c) + 0.3 * pl.Series(rng.random(250))).alias(c) for c in strong.columns if c.startswith("score/")
    ]
    weak = strong.with_columns(noisy)
    return write_run(tmp_path / "a", strong), write_run(tmp_path / "b", weak), strong, weak


def test_equal_tables_differ_by_nothing(pair: tuple) -> None:
    found = compare(pair[0], pair[0], n_bootstrap=20).difference()
    assert (found["difference"], found["low"], found["high"]) == (0, 0, 0)


def test_class_difference_equals_a_loop_over_paired_draws(pair: tuple) -> None:
    a, b, strong, weak = pair
    name = "Septicemia (except in labor)"
    strong, weak = strong.sort("id"), weak.sort("id")
    target, patient = strong[f"target/{name}"].to_numpy(), strong["patient"].to_numpy()
    score_a, score_b = (t[f"score/{name}"].to_numpy().astype(float) for t in (strong, weak))
    patients, rng, values = np.unique(patient), np.random.default_rng(5), []
    for _ in range(30):
        drawn = rng.integers(0, len(patients), len(patients))
        rows = np.concatenate([np.flatnonzero(patient == patients[i]) for i in drawn])
        values.append(auroc(target[rows], score_a[rows]) - auroc(target[rows], score_b[rows]))
    found = compare(a, b, n_bootstrap=30, seed=5).difference("auroc", class_name=name)
    assert found["difference"] == pytest.approx(auroc(target, score_a) - auroc(target, score_b))
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))
    assert found["share_above_zero"] == pytest.approx(np.mean(np.array(values) > 0))


def test_the_better_model_is_found_and_swapping_turns_the_sign(pair: tuple) -> None:
    forward, backward = compare(*pair[:2], n_bootstrap=100), compare(pair[1], pair[0], n_bootstrap=100)
    assert forward.difference()["low"] > 0 and forward.synthetic is True
    assert backward.difference()["high"] == pytest.approx(-forward.difference()["low"])
    chronic = forward.difference(class_name="macro, chronic")
    assert chronic["classes_compared"] == 2
    own = compare(*pair[:2], n_bootstrap=10, class_groups={"mine": ["Shock <1>"]})
    one, same = (own.difference(class_name=n)["difference"] for n in ("macro, mine", "Shock <1>"))
    assert one == same


def test_it_renders_and_writes(pair: tuple, tmp_path: Path) -> None:
    found = compare(*pair[:2], n_bootstrap=10)
    console = Console(width=100, file=StringIO())
    found.render(console)
    text = console.file.getvalue()
    assert "SYNTHETIC" in text and "paired bootstrap draws of patients" in text
    files = found.write(tmp_path / "out")
    assert [p.name for p in files] == ["differences.csv", "differences.json"] and all(p.exists() for p in files)


def test_only_common_samples_and_classes_are_compared_and_this_is_said(pair: tuple, tmp_path: Path) -> None:
    part = pair[3].head(200).drop("target/Pneumonia", "score/Pneumonia")
    path = tmp_path / "part.parquet"
    part.write_parquet(path)
    found = compare(pair[0], path, n_bootstrap=10)
    assert found.difference()["rows"] == 200 and "Pneumonia" not in found.classes
    assert any("50 samples" in n for n in found.notes) and any("Pneumonia" in n for n in found.notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.with_columns(("x" + pl.col("id")).alias("id")), "share no id"),
        (lambda t: t.with_columns((1 - pl.col("target/Shock <1>")).alias("target/Shock <1>")), "labels of 250 samples"),
        (lambda t: t.with_columns(pl.col("id").alias("patient")), "disagree on whose"),
    ],
)
def test_tables_that_cannot_be_compared(pair: tuple, tmp_path: Path, change, words: str) -> None:
    path = tmp_path / "other.parquet"
    change(pair[2]).write_parquet(path)
    with pytest.raises(PredictionsError, match=words):
        compare(pair[0], path, n_bootstrap=10)


def test_the_door_gives_the_function_and_not_a_module_of_its_name():
    # A submodule called like a lazily loaded name takes its place in the package once it is imported.
    import cardiozoo.evaluation as door

    for name in door.__all__:
        assert callable(getattr(door, name)) or name in door._MODULES, name
        assert callable(getattr(door, name)) or name in door._MODULES, name
