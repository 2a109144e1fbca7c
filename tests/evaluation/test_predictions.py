"""Reading predictions tables: what is taken, what is refused and in which words."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_run import predictions_table

from cardiozoo.errors import PredictionsError
from cardiozoo.evaluation.predictions import read_predictions


def small(**columns: list) -> pl.DataFrame:
    plain = {"id": ["c", "a", "b"], "split": ["test"] * 3, "target/x": [1, 0, None], "score/x": [0.9, 0.2, 0.5]}
    return pl.DataFrame(plain | columns)


def written(table: pl.DataFrame, folder: Path, name: str = "t.parquet") -> Path:
    path = folder / name
    table.write_csv(path) if name.endswith(".csv") else table.write_parquet(path)
    return path


def test_rows_come_by_id_with_all_their_columns(tmp_path: Path) -> None:
    table = small(
        **{"group/site": ["n", "s", None], "sex": ["F", "M", "M"], "age": [50, None, 70]},
        **{
            "present/ehr": [True, True, True],
            "present/cxr": [1, 0, 0],
            "patient": [7, 7, 8],
            "extra/z": [1, 2, 3],
            "odd": [1, 2, 3],
        },
    )
    found = read_predictions(written(table, tmp_path))
    assert found.id.tolist() == ["a", "b", "c"] and found.patient.tolist() == ["7", "8", "7"] and found.has_patients
    assert found.classes == ("x",) and found.score[:, 0].tolist() == [0.2, 0.5, 0.9]
    assert found.target[[0, 2], 0].tolist() == [0, 1] and np.isnan(found.target[1, 0])
    assert found.groups["site"].tolist() == ["s", None, "n"] and found.groups["sex"].tolist() == ["M", "M", "F"]
    assert np.isnan(found.groups["age"][0]) and found.groups["age"].tolist()[1:] == [70, 50]
    assert found.paired.tolist() == [False, False, True] and list(found.present) == ["ehr", "cxr"]
    assert "Columns not read: odd." in found.notes and any("1 of 3 rows have no label" in n for n in found.notes)


def test_csv_equals_parquet(tmp_path: Path) -> None:
    table = predictions_table(60, 4)
    a, b = (read_predictions(written(table, tmp_path, name)) for name in ("t.parquet", "t.csv"))
    assert np.array_equal(a.target, b.target, equal_nan=True) and np.allclose(a.score, b.score, atol=1e-7)
    assert a.patient.tolist() == b.patient.tolist() and a.paired.tolist() == b.paired.tolist()


def test_without_patients_each_id_is_one_and_this_is_said(tmp_path: Path) -> None:
    found = read_predictions(written(small(), tmp_path))
    assert found.patient.tolist() == ["a", "b", "c"] and not found.has_patients
    assert any("no column `patient`" in note for note in found.notes)
    assert found.paired.all() and found.present == {}


def test_test_is_chosen_among_splits_and_said(tmp_path: Path) -> None:
    path = written(small(split=["val", "test", "test"]), tmp_path)
    found = read_predictions(path)
    assert found.split == "test" and len(found) == 2 and any("val (1 rows)" in note for note in found.notes)
    assert len(read_predictions(path, "val")) == 1
    assert read_predictions(written(small(split=["dev"] * 3), tmp_path)).split == "dev"
    # One sample may stand in two splits' rows, as folds do; only within a split are ids unique.
    assert len(read_predictions(written(small(split=["val", "test", "test"], id=["a", "a", "b"]), tmp_path))) == 2


def test_one_hot_is_recognised(tmp_path: Path) -> None:
    table = small(**{"target/x": [1, 0, 0], "target/y": [0, 1, 1], "score/y": [0.1, 0.8, 0.5]})
    assert read_predictions(written(table, tmp_path)).one_hot
    assert not read_predictions(written(small(), tmp_path)).one_hot
    # What the run says of its task goes before what a few rows happen to look like.
    assert not read_predictions(written(table, tmp_path), choice=False).one_hot


def test_select_keeps_columns_in_step(tmp_path: Path) -> None:
    found = read_predictions(written(predictions_table(30, 3), tmp_path))
    part = found.select(np.arange(30) % 2 == 0, [found.classes[2], found.classes[0]])
    assert part.classes == (found.classes[2], found.classes[0]) and len(part) == 15
    assert np.array_equal(part.score, found.score[::2][:, [2, 0]]) and len(part.groups["sex"]) == 15


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"score/x": [0.9, 1.2, 0.5]}, ["1 scores", "outside [0, 1]", "1.2", "score/x", "sigmoid"]),
        ({"score/x": [0.9, float("nan"), 0.5]}, ["1 scores", "NaN"]),
        ({"score/x": [0.9, None, 0.5]}, ["1 scores", "empty"]),
        ({"score/x": [0.9, float("inf"), 0.5]}, ["infinite"]),
        ({"score/x": ["a", "b", "c"]}, ["score/x", "String", "Numbers"]),
        ({"target/x": [1, 0, -1]}, ["1 targets", "neither 0 nor 1", "-1"]),
        ({"target/x": [0.5, 2.25, 3.0]}, ["3 targets", "regression"]),
        ({"target/y": [0, 1, 0]}, ["targets without a score: y"]),
        ({"score/z": [0.1, 0.1, 0.1]}, ["scores without a target: z"]),
        ({"id": ["a", "a", "b"]}, ["1 ids", "such as a", "one device"]),
        ({"id": ["a", None, "b"]}, ["1 rows", "no id"]),
        ({"split": ["test", None, "test"]}, ["1 rows", "no split"]),
        ({"split": ["val", "train", "val"]}, ["val (2 rows), train (1 rows)", "--split val"]),
        ({"patient": ["p", None, "q"]}, ["1 rows", "no patient"]),
        ({"present/cxr": [True, None, False]}, ["present/cxr"]),
        ({"present/cxr": [2, 0, 1]}, ["present/cxr", "0 and 1"]),
        ({"group/age": ["old", "young", "old"]}, ["ages", "text"]),
    ],
)
def test_bad_tables_are_refused_in_three_parts(columns: dict, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(PredictionsError) as error:
        read_predictions(written(small(**columns), tmp_path))
    assert all(word in str(error.value) for word in words), error.value
    assert error.value.came and error.value.accepted and error.value.next_step


@pytest.mark.parametrize("column", ["id", "split", "target/x", "score/x"])
def test_a_missing_column_is_named(column: str, tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match=column.split("/")[0]):
        read_predictions(written(small().drop(column), tmp_path))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match="no predictions table"):
        read_predictions(tmp_path / "absent.parquet")
    with pytest.raises(PredictionsError, match=r"\.txt"):
        (tmp_path / "t.txt").write_text("id,split")
        read_predictions(tmp_path / "t.txt")
    (tmp_path / "cut.parquet").write_bytes(written(small(), tmp_path).read_bytes()[:200])
    with pytest.raises(PredictionsError, match="cannot be read"):
        read_predictions(tmp_path / "cut.parquet")
    with pytest.raises(PredictionsError, match="no rows"):
        read_predictions(written(small().clear(), tmp_path))
