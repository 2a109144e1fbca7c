from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cardiozoo.data.ehr import CONTINUOUS_COLUMNS
from cardiozoo.data.standardise import (
    Normalizer,
    cache_file,
    fit_normalizer,
    legacy_normalizer,
    read_cache,
    read_normalizer,
    training_normalizer,
    write_cache,
)
from cardiozoo.errors import OptionError

COLUMNS = list(CONTINUOUS_COLUMNS)


def blocks(seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    result = []
    for stays in (3, 1, 5):
        lengths = rng.integers(1, 9, stays)
        # far from 0 with a small spread, where a sum of squares would cancel
        matrix = rng.normal(1e4, 0.5, (stays, int(lengths.max()) + 2, 76)).astype(np.float32)
        matrix[np.arange(matrix.shape[1])[None] >= lengths[:, None]] = 0
        result.append((matrix, lengths))
    return result


def test_mean_and_sd_are_those_of_all_valid_bins() -> None:
    data = blocks()
    rows = np.concatenate([matrix[i, : lengths[i]] for matrix, lengths in data for i in range(len(lengths))])
    normalizer = fit_normalizer(data)
    assert np.allclose(normalizer.mean, rows[:, COLUMNS].astype(np.float64).mean(0), rtol=1e-13)
    assert np.allclose(normalizer.sd, rows[:, COLUMNS].astype(np.float64).std(0, ddof=1), rtol=1e-9)


def test_a_constant_column_has_the_floor_and_nothing_has_no_sd() -> None:
    assert (fit_normalizer([(np.ones((2, 3, 76), np.float32), np.array([3, 1]))]).sd == 1e-7).all()
    with pytest.raises(OptionError, match="1 bins"):
        fit_normalizer([(np.ones((1, 3, 76), np.float32), np.array([1]))])


@pytest.mark.parametrize("clip", [None, 10.0, 0.5])
def test_only_continuous_columns_change_and_padding_is_zero(clip: float | None) -> None:
    rng = np.random.default_rng(1)
    matrix = rng.integers(0, 2, (2, 4, 76)).astype(np.float32)
    matrix[..., COLUMNS] = rng.normal(50, 9, (2, 4, 12))
    matrix[0, 0, COLUMNS[0]] = np.inf
    lengths = np.array([4, 2])
    before = matrix.copy()
    normalizer = Normalizer(np.full(12, 48.0), np.full(12, 7.0), "here")
    after = normalizer.apply(matrix, lengths, clip)
    others = [column for column in range(76) if column not in COLUMNS]
    valid = np.arange(4)[None] < lengths[:, None]
    assert np.array_equal(after[valid][:, others], before[valid][:, others]) and (after[~valid] == 0).all()
    limit = np.inf if clip is None else clip
    assert np.allclose(
        after[valid][:, COLUMNS], np.clip((before[valid][:, COLUMNS] - 48) / 7, -limit, limit), atol=1e-5
    )


def test_a_file_of_statistics_can_be_given_and_nonsense_cannot(tmp_path: Path) -> None:
    normalizer = legacy_normalizer()
    (tmp_path / "n.json").write_text(json.dumps(normalizer.to_json()))
    assert np.allclose(read_normalizer(tmp_path / "n.json").sd, normalizer.sd)
    assert normalizer.to_json()["mean"]["Heart Rate"] == pytest.approx(85.539, abs=1e-3)
    for text in ("{}", "nonsense", json.dumps({**normalizer.to_json(), "sd": {}})):
        (tmp_path / "n.json").write_text(text)
        with pytest.raises(OptionError):
            read_normalizer(tmp_path / "n.json")


class Events:
    """Every bin of stay n holds n; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def binned(self, stay: np.ndarray, end_seconds: np.ndarray, timestep: float) -> tuple[np.ndarray, np.ndarray]:
        self.asked += stay.tolist()
        lengths = np.maximum(1, end_seconds // round(3600 * timestep))
        return np.broadcast_to(stay[:, None, None], (len(stay), int(lengths.max()), 76)).astype(np.float32), lengths


def test_statistics_are_kept_by_what_they_depend_on(tmp_path: Path) -> None:
    events, stay, end = Events(), np.arange(3000), (1 + np.arange(3000) % 50) * 3600
    first = training_normalizer(tmp_path, {"a": 1}, events, stay, end, 1.0)
    assert sorted(events.asked) == stay.tolist()
    hours = end / 3600
    assert np.allclose(first.mean, (stay * hours).sum() / hours.sum())
    again = training_normalizer(tmp_path, {"a": 1}, events, stay, end, 1.0)
    assert len(events.asked) == 3000 and np.array_equal(again.mean, first.mean) and np.array_equal(again.sd, first.sd)
    training_normalizer(tmp_path, {"a": 2}, events, stay, end, 1.0)
    assert len(events.asked) == 6000


def test_a_damaged_or_unwritable_cache_is_no_obstacle(tmp_path: Path) -> None:
    path = cache_file(tmp_path, {"a": 1})
    path.write_text("{")
    assert read_cache(path, {"a": 1}) is None
    write_cache(path, {"a": 1}, legacy_normalizer())
    assert read_cache(path, {"a": 1}) is not None and read_cache(path, {"a": 2}) is None
    (tmp_path / "file").write_text("")
    write_cache(tmp_path / "file" / "n.json", {}, legacy_normalizer())  # a folder that cannot be made
