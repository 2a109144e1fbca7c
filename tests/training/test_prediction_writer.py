"""From the records that a model returns to one table."""

from __future__ import annotations

import math

import pytest
import torch

from cardiozoo.errors import PredictionsError
from cardiozoo.training.predictions import PredictionWriter, table


def record(**changes) -> dict:
    return {
        "id": ["a", "b"],
        "patient": ["p", "q"],
        "class_names": ["x", "y"],
        "score": torch.tensor([[0.25, 0.5], [0.75, 1.0]], dtype=torch.bfloat16),
        "target": torch.tensor([[0.0, float("nan")], [1.0, 1.0]]),
        "present": {"cxr": torch.tensor([True, False])},
        "groups": {"age": torch.tensor([40.0, 71.5]), "sex": ["F", "M"]},
        "extra": {"attention": torch.ones(2, 2), "weight": torch.tensor([1, 2])},
    } | changes


def test_one_row_a_sample_with_every_column_of_the_format() -> None:
    rows = table([record(), record(id=["c", "d"])], "val").to_dicts()
    assert [row["id"] for row in rows] == ["a", "b", "c", "d"]
    assert math.isnan(rows[0].pop("target/y"))
    assert rows[0] == {
        "id": "a",
        "patient": "p",
        "split": "val",
        "group/age": 40.0,
        "group/sex": "F",
        "present/cxr": True,
        "target/x": 0.0,
        "score/x": 0.25,
        "score/y": 0.5,
        "extra/attention/x": 1.0,
        "extra/attention/y": 1.0,
        "extra/weight": 1,
    }


def test_strangers_may_leave_out_what_is_not_required() -> None:
    short = {key: value for key, value in record().items() if key in ("id", "class_names", "score", "target")}
    assert table([short], "test").columns == ["id", "split", "target/x", "target/y", "score/x", "score/y"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"score": torch.zeros(2, 3)}, "3 columns for 2 class names"),
        ({"patient": ["p"]}, "differ in length"),
        ({"id": ["a", "b", "c"]}, "differ in length"),
    ],
)
def test_records_that_do_not_fit_are_refused(changes: dict, said: str) -> None:
    with pytest.raises(PredictionsError, match=said):
        table([record(**changes)], "test")
    lacking = record()
    del lacking["target"]
    with pytest.raises(PredictionsError, match="without target"):
        table([lacking], "test")


def test_a_step_that_returns_no_record_is_refused(tmp_path) -> None:
    with pytest.raises(PredictionsError, match="returned Tensor"):
        PredictionWriter(tmp_path).on_test_batch_end(None, None, torch.zeros(1))
