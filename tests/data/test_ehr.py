"""Binning and the 76 channels, against a slow reading of the rule event by event."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cardiozoo.data.ehr import (
    CHANNELS,
    CONTINUOUS_COLUMNS,
    CONTINUOUS_VARIABLES,
    FIRST_COLUMN,
    LEGACY_NORMALIZER,
    LEVEL_POINTS,
    LEVELS,
    MASK_COLUMNS,
    NORMAL_VALUES,
    RANGES,
    VARIABLES,
    bin_block,
    bin_events,
    bin_lengths,
    parse_value,
)
from cardiozoo.errors import OptionError, UnknownNameError

EYE, MOTOR, TOTAL, VERBAL = 3, 4, 5, 6
HEART_RATE, PH = "Heart Rate", "pH"


def slow_bins(events: list[tuple[int, int, float]], end: int, width: int) -> np.ndarray:
    """Events (second, variable, value or level code) -> (bins, 76), one bin and one event at a time."""
    bins = 1
    while bins * width < end:
        bins += 1
    matrix = np.zeros((bins, 76), dtype=np.float32)
    last: dict[int, float | str] = dict(enumerate(NORMAL_VALUES))
    for number in range(bins):
        for variable, name in enumerate(VARIABLES):
            for second, other, value in events:  # in time order: a later one overwrites
                inside = number * width < second <= (number + 1) * width or (number == 0 and second == 0)
                if other == variable and inside and 0 <= second <= end:
                    last[variable] = LEVELS[variable][int(value)] if variable in LEVELS else value
                    matrix[number, CHANNELS.index(f"mask->{name}")] = 1
            if variable in LEVELS:
                matrix[number, CHANNELS.index(f"{name}->{last[variable]}")] = 1
            else:
                matrix[number, CHANNELS.index(name)] = last[variable]
    return matrix


def random_stay(rng: np.random.Generator, end: int, width: int) -> list[tuple[int, int, float]]:
    """Events within, on the edges of and beyond a window, in time order; many share a second."""
    edges = np.arange(0, end + 3 * width, width)
    near = (rng.choice(edges, 40) + rng.integers(-1, 2, 40)).tolist()
    seconds = sorted([*rng.integers(0, max(end, 1) + 7200, 40).tolist(), *near, 0, end, end + 1])
    events = []
    for second in seconds:
        variable = int(rng.integers(0, 17))
        value = rng.integers(0, len(LEVELS[variable])) if variable in LEVELS else np.float32(rng.uniform(1, 200))
        events.append((int(second), variable, float(value)))
    return events


def test_the_channels_are_those_of_the_published_arrays() -> None:
    assert len(VARIABLES) == 17 and len(CHANNELS) == len(set(CHANNELS)) == 76
    assert CONTINUOUS_COLUMNS == (2, 3, *range(49, 59)) and len(CONTINUOUS_VARIABLES) == 12
    assert {v: len(levels) for v, levels in LEVELS.items()} == {0: 2, EYE: 8, MOTOR: 12, TOTAL: 13, VERBAL: 12}
    assert [FIRST_COLUMN[v] for v in LEVELS] == [0, 4, 12, 24, 37]
    spots = {
        1: "Capillary refill rate->1.0",
        2: "Diastolic blood pressure",
        7: "Glascow coma scale eye opening->4 Spontaneously",
        8: "Glascow coma scale eye opening->None",
        19: "Glascow coma scale motor response->Obeys Commands",
        24: "Glascow coma scale total->11",
        42: "Glascow coma scale verbal response->No Response-ETT",
        48: "Glascow coma scale verbal response->3 Inapprop words",
        49: "Glucose",
        58: "pH",
        59: "mask->Capillary refill rate",
        75: "mask->pH",
    }
    assert {column: CHANNELS[column] for column in spots} == spots
    assert [CHANNELS[c] for c in CONTINUOUS_COLUMNS] == [VARIABLES[v] for v in CONTINUOUS_VARIABLES]
    assert [CHANNELS[c] for c in MASK_COLUMNS] == [f"mask->{name}" for name in VARIABLES]


def test_constants_agree_with_each_other() -> None:
    for variable, (low, valid_low, valid_high, high) in RANGES.items():
        assert low <= valid_low < valid_high <= high
        assert valid_low <= float(NORMAL_VALUES[variable]) <= valid_high
    assert set(RANGES) == set(CONTINUOUS_VARIABLES)
    assert all(NORMAL_VALUES[v] in LEVELS[v] for v in LEVELS)
    assert LEGACY_NORMALIZER.mean.shape == LEGACY_NORMALIZER.sd.shape == (12,)
    assert LEGACY_NORMALIZER.sd[CONTINUOUS_COLUMNS.index(53)] == 5135.239
    assert {v: max(points) for v, points in LEVEL_POINTS.items()} == {EYE: 4, MOTOR: 6, TOTAL: 15, VERBAL: 5}
    for variable, points in LEVEL_POINTS.items():  # where a text begins with its score, the points are that score
        for text, score in zip(LEVELS[variable], points, strict=True):
            assert not text[0].isdigit() or float(text.split()[0]) == score


@pytest.mark.parametrize("timestep", [1.0, 2.0, 0.5])
def test_block_and_single_stay_agree_bit_for_bit_with_the_slow_rule(timestep: float) -> None:
    rng = np.random.default_rng(0)
    width = int(timestep * 3600)
    ends = [0, 1, width - 1, width, width + 1, 5 * width, 30_000, 48 * 3600]
    stays = [random_stay(rng, end, width) for end in ends]
    offsets = np.cumsum([0, *map(len, stays)])
    seconds, variable, value = (np.array([event[i] for stay in stays for event in stay]) for i in range(3))
    matrix, lengths = bin_block(
        offsets, seconds.astype(np.int32), variable.astype(np.uint8), value.astype(np.float32), np.array(ends), timestep
    )
    assert matrix.dtype == np.float32 and lengths.dtype == np.int64
    assert lengths.tolist() == bin_lengths(np.array(ends), timestep).tolist()
    for row, (stay, end) in enumerate(zip(stays, ends, strict=True)):
        expected = slow_bins(stay, end, width)
        assert lengths[row] == len(expected)
        np.testing.assert_array_equal(matrix[row, : lengths[row]], expected)
        assert not matrix[row, lengths[row] :].any()
        texts = [LEVELS[v][int(x)] if v in LEVELS else repr(x) for _, v, x in stay]
        single, names = bin_events(
            [s / 3600 for s, _, _ in stay], [VARIABLES[v] for _, v, _ in stay], texts, end / 3600, timestep
        )
        np.testing.assert_array_equal(single.astype(np.float32), expected)
        assert names == list(CHANNELS)


def test_events_on_full_hours_stay_in_their_bin_where_float32_would_lose_the_tolerance() -> None:
    hours = list(range(49))
    matrix, _ = bin_events(hours, [HEART_RATE] * 49, [str(100 + h) for h in hours], 48)
    assert matrix.shape == (48, 76)
    assert matrix[0, 50] == 101  # t = 0 and t = 1 share bin 0, the later one counts
    assert matrix[:, 50].tolist() == [float(101 + k) for k in range(48)]


def test_last_event_by_time_then_by_order_and_previous_value_carried_forward() -> None:
    hours, values = [2.5, 0.5, 0.5, 0.2], ["7.30", "7.10", "7.20", "7.00"]
    matrix, _ = bin_events(hours, [PH] * 4, values, 5)
    assert matrix[:, 58].tolist() == [7.20, 7.20, 7.30, 7.30, 7.30]
    assert matrix[:, 75].tolist() == [1, 0, 1, 0, 0]
    assert bin_events([3.5], [PH], ["7.1"], 5)[0][:, 58].tolist() == [7.4, 7.4, 7.4, 7.1, 7.1]


def test_imputed_and_observed_normal_scores_have_different_codes() -> None:
    matrix, names = bin_events([1.5], ["Glascow coma scale eye opening"], ["Spontaneously"], 3)
    fired = [[names[c] for c in range(4, 12) if row[c]] for row in matrix]
    prefix = "Glascow coma scale eye opening->"
    assert fired == [[f"{prefix}4 Spontaneously"], [f"{prefix}Spontaneously"], [f"{prefix}Spontaneously"]]


def test_a_window_without_length_has_one_bin_of_normal_values() -> None:
    for matrix in (
        bin_events([], [], [], 0)[0],
        bin_block(np.array([0, 0]), *[np.zeros(0, int)] * 3, np.array([0]), 1)[0][0],
    ):
        assert matrix.shape == (1, 76)
        np.testing.assert_allclose(
            matrix[0, list(CONTINUOUS_COLUMNS)], [NORMAL_VALUES[v] for v in CONTINUOUS_VARIABLES]
        )
        assert matrix[0, :49].sum() == pytest.approx(5 + 59 + 0.21) and not matrix[0, 59:].any()


def test_events_before_admission_and_after_the_end_are_ignored() -> None:
    matrix, _ = bin_events([-0.5, -1e-7, 2.0000005, 2.01], [HEART_RATE] * 4, ["10", "20", "30", "40"], 2)
    assert matrix[:, 50].tolist() == [20, 30] and matrix[:, 67].tolist() == [1, 1]


def test_a_missing_value_does_not_hide_an_earlier_one() -> None:
    matrix, _ = bin_events([0.1, 0.2, 0.3], [HEART_RATE] * 3, ["80", "", ">100"], 1)
    assert matrix[0, 50] == 80 and matrix[0, 67] == 1
    block, _ = bin_block(
        np.array([0, 2]), np.array([1, 2]), np.array([8, 8]), np.array([80, np.nan]), np.array([60]), 1
    )
    assert block[0, 0, 50] == 80


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        (8, "80", 80),
        (8, " 80.5 ", 80.5),
        (14, "3.7e1", 37),
        (8, 80, 80),
        (1, "120/80", 80),
        (13, "120 / 80", 120),
        (8, "120/80", None),
        (7, ">1000", None),
        (7, "___", None),
        (7, "nan", None),
        (7, "inf", None),
        (7, "1e999", None),
        (7, "1_000", None),
        (7, "٣", None),
        (7, "", None),
        (7, None, None),
        (0, "0.0", 0),
        (0, "1", 1),
        (0, "Normal <3 Seconds", 0),
        (0, "Abnormal >3 Seconds", 1),
        (0, "Brisk", 0),
        (0, "0.5", None),
        (EYE, "None", 4),
        (EYE, " Spontaneously", 6),
        (EYE, "spontaneously", None),
        (EYE, "4", None),
        (MOTOR, "No response", 3),
        (MOTOR, "No Response", None),
        (VERBAL, "No Response", 1),
        (TOTAL, "15", 4),
        (TOTAL, "15.0", 4),
        (TOTAL, "16", None),
        (VERBAL, "gibberish", None),
    ],
)
def test_what_texts_mean(variable: int, text: str | float | None, value: float | None) -> None:
    got = parse_value(variable, text)
    assert np.isnan(got) if value is None else got == value


def test_bad_input_is_refused_with_what_would_be_accepted() -> None:
    with pytest.raises(UnknownNameError, match=r"(?s)'Heart rate'.*Heart Rate"):
        bin_events([1], ["Heart rate"], ["80"], 2)
    with pytest.raises(OptionError, match="2 hours, 1 variables"):
        bin_events([1, 2], [PH], ["7"], 2)
    with pytest.raises(OptionError, match="1 of 2 event times"):
        bin_events([1, float("nan")], [PH] * 2, ["7", "7"], 2)
    with pytest.raises(OptionError, match="Accepted: numbers, in hours"):
        bin_events(["one"], [PH], ["7"], 2)  # type: ignore[list-item]
    for end, timestep in ((-1, 1), (float("nan"), 1), (2, 0), (2, float("inf"))):
        with pytest.raises(OptionError, match="end in hours"):
            bin_events([1], [PH], ["7"], end, timestep)
    one = np.array([1])
    with pytest.raises(OptionError, match="offsets for"):
        bin_block(np.array([0, 2]), one, one, one, one, 1)
    with pytest.raises(OptionError, match="Variable number 17"):
        bin_block(np.array([0, 1]), one, np.array([17]), one, one, 1)
    with pytest.raises(OptionError, match="whole number of seconds"):
        bin_block(np.array([0, 1]), one, one, one, one, 1 / 7)


def test_importing_needs_numpy_and_the_standard_library_only() -> None:
    code = (
        "import sys, cardiozoo.data.ehr; "
        "heavy = {'torch', 'lightning', 'polars', 'duckdb', 'pyarrow', 'pandas', 'scipy', 'rich'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
