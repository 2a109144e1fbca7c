"""Tables of known waves in both forms."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cardiozoo.analysis.wave_truth import read_truth
from cardiozoo.analysis.waves import known_windows
from cardiozoo.errors import OptionError


def beats() -> pl.DataFrame:
    columns = ("p_on", "p_peak", "p_off", "qrs_on", "qrs_peak", "qrs_off", "t_on", "t_peak", "t_end")
    first, second = (100, 125, 150, 180, 200, 225, 300, 350, 400), (None, None, 10, 40, 60, 85, 4900, None, None)
    rows = [{"study_id": 7, **dict(zip(columns, first, strict=True))}]
    rows += [{"study_id": 8, **dict(zip(columns, second, strict=True))}]
    return pl.DataFrame(rows)


def test_beats_of_a_simulator_become_seconds(tmp_path: Path):
    beats().write_parquet(tmp_path / "beats.parquet")
    found = read_truth(tmp_path / "beats.parquet", ["7", "8", "9"])
    assert set(found) == {"7", "8"}
    windows = known_windows(found["7"], 250, 2500).windows
    assert windows == (("P", 50, 75), ("QRS", 90, 112), ("T", 150, 200))
    cut = known_windows(found["8"], 500, 5000).windows
    assert cut == (("P", 0, 10), ("QRS", 40, 85), ("T", 4900, 5000))  # open where the file begins and ends
    points = known_windows(found["7"], 500, 5000, half_width=0.04).windows
    assert points == (("P", 105, 145), ("R", 180, 220), ("T", 330, 370))


def test_a_plain_table(tmp_path: Path):
    path = tmp_path / "waves.csv"
    pl.DataFrame({"id": ["a", "b"], "wave": ["P", "T"], "onset": [0.1, 0.2], "offset": [0.2, 0.4]}).write_csv(path)
    assert known_windows(read_truth(path, ["b"])["b"], 100, 100).windows == (("T", 20, 40),)


def test_bad_input_is_refused(tmp_path: Path):
    with pytest.raises(OptionError, match="no table of waves"):
        read_truth(tmp_path / "none.parquet", ["7"])
    beats().write_parquet(tmp_path / "beats.parquet")
    with pytest.raises(OptionError, match="mentions none of the 1 records"):
        read_truth(tmp_path / "beats.parquet", ["70"])
    pl.DataFrame({"id": ["7"], "start": [1]}).write_csv(tmp_path / "other.csv")
    with pytest.raises(OptionError, match="has the columns id, start"):
        read_truth(tmp_path / "other.csv", ["7"])
