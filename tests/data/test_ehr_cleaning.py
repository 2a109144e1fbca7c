"""Options, unit conversion, range cleaning and the same-time rule."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from cardiozoo.data.ehr import LEVELS, VARIABLES
from cardiozoo.data.ehr_cleaning import REASONS, Events, clean, items, resolve
from cardiozoo.data.ehr_options import EhrOptions
from cardiozoo.errors import OptionError

PUBLISHED = EhrOptions.published()


def slot_of(itemid: int, options: EhrOptions) -> int:
    return [item.itemid for item in items(options)].index(itemid)


def cleaned(itemid: int, number: float, options: EhrOptions, has_value: bool = True) -> tuple[float | None, str]:
    slots = items(options)
    value, reason, _ = clean(
        np.array([slot_of(itemid, options)]), np.array([number]), np.array([has_value]), slots, options
    )
    return (float(value[0]) if reason[0] == 0 else None), REASONS[reason[0]]


@pytest.mark.parametrize(
    ("itemid", "number", "expected"),
    [
        (223835, 0.4, 0.4),
        (223835, 40, 0.4),
        (223835, 1, 1),
        (223835, 20, 0.21),  # 0.20 is the outlier bound, inclusive, and clipped to 0.21
        (223835, 19, None),
        (226707, 70, 177.8),
        (226730, 170, 170),
        (226730, 280, None),
        (226730, 250, 240),
        (226531, 200, 90.7184),
        (226531, 0, 0),
        (223761, 98.6, 37),
        (223762, 98.6, 37),  # Fahrenheit typed into the Celsius field
        (223762, 37, 37),
        (223761, 37, 37),
        (223762, 78.9, None),
        (220277, 0.97, 97),
        (220277, 1, 100),
        (220277, 120, 100),
        (220277, 151, None),
        (220052, 801, None),
        (220052, -23, None),
        (220052, 10, 14),
        (220045, 0, 0),
        (220045, 390, 350),
        (220045, 390.01, None),
        (50931, 2200, 2000),
        (50931, 2201, None),
        (50820, 6.2, None),
        (50820, 9, 8.4),
    ],
)
def test_units_and_ranges(itemid: int, number: float, expected: float | None) -> None:
    value, reason = cleaned(itemid, number, EhrOptions())
    assert value == pytest.approx(expected) if expected is not None else (value, reason) == (None, REASONS[5])


def test_named_alternatives() -> None:
    assert cleaned(223835, 0.4, PUBLISHED)[0] == pytest.approx(0.004)
    assert cleaned(226707, 70, PUBLISHED)[0] == 70
    assert cleaned(220052, 801, PUBLISHED)[0] == 801
    zeros = EhrOptions(zeros="missing")
    assert cleaned(220045, 0, zeros) == (None, "zero taken for missing")
    assert cleaned(220739, 0, zeros)[0] == 0  # a level code, not a number
    assert cleaned(220045, np.nan, EhrOptions()) == (None, "no number")
    assert cleaned(220045, np.nan, EhrOptions(), has_value=False) == (None, "no value")
    assert cleaned(220739, np.nan, EhrOptions()) == (None, "unknown text")
    assert cleaned(220045, np.inf, PUBLISHED) == (None, "no number")
    assert cleaned(220045, 1e300, PUBLISHED) == (None, "no number")


def test_clipped_values_are_counted() -> None:
    options = EhrOptions()
    slot = np.full(4, slot_of(220045, options))
    _, _, clipped = clean(slot, np.array([80.0, 360, 999, np.nan]), np.ones(4, bool), items(options), options)
    assert clipped == 1


def test_item_groups() -> None:
    default, published = items(EhrOptions()), items(PUBLISHED)
    ids, published_ids = ({item.itemid for item in group} for group in (default, published))
    assert ids - published_ids == {223951, 224308, 227242, 52569, 52027}
    assert published_ids - ids == {51478, 51491, 51094, 50831}
    assert {item.variable for item in default} == set(range(17)) - {5}
    for table in ("chartevents", "labevents"):
        listed = [item.itemid for item in default if item.table == table]
        assert len(listed) == len(set(listed)) > 0
    for variable in range(17):  # priorities are a strict order
        priorities = [item.priority for item in default + published if item.variable == variable]
        assert len(set(priorities)) == len({i.itemid for i in default + published if i.variable == variable})


def test_options_are_checked() -> None:
    for field in dataclasses.fields(EhrOptions):
        bad: Any = -1 if field.name == "min_age" else "nonsense"
        with pytest.raises(OptionError, match=field.name):
            EhrOptions(**{field.name: bad})
    for age in (float("nan"), True, "18"):
        with pytest.raises(OptionError, match="min_age"):
            EhrOptions(min_age=age)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="closest to what came is priority"):
        EhrOptions(duplicates="prioritty")  # type: ignore[arg-type]


HEART_RATE, SYSTOLIC_ART, SYSTOLIC_CUFF, EYE, MOTOR, VERBAL = 220045, 220050, 220179, 220739, 223901, 223900


def make_events(rows: list[tuple[int, int, int, float, int, str]], options: EhrOptions) -> Events:
    """Rows (stay, second, itemid, value, stored, text)."""
    stay, second, itemid, value, stored, text = zip(*rows, strict=True)
    return Events(
        np.array(stay, np.int32),
        np.array(second, np.int32),
        np.array([slot_of(i, options) for i in itemid], np.uint8),
        np.array(value, float),
        np.array(stored, np.int64),
        np.array(text, "S16") if options.duplicates == "text_order" else None,
    )


ROWS = [
    (0, 60, SYSTOLIC_CUFF, 130.0, 9, "130"),
    (0, 60, SYSTOLIC_ART, 120.0, 5, "120"),
    (0, 60, SYSTOLIC_ART, 125.0, 7, "125"),
    (0, 60, HEART_RATE, 100.0, 1, "100"),
    (0, 60, HEART_RATE, 99.0, 2, "99"),
    (0, 60, HEART_RATE, 99.0, 2, "99"),
    (0, 30, HEART_RATE, 50.0, 1, "50"),
    (1, 60, HEART_RATE, 70.0, 1, "70"),
]


@pytest.mark.parametrize(
    ("rule", "systolic", "heart_rate"),
    [("max", 130, 100), ("priority", 125, 100), ("latest_stored", 130, 99), ("text_order", 130, 99)],
)
def test_same_time_rules_whatever_the_order_of_rows(rule: Any, systolic: float, heart_rate: float) -> None:
    options = EhrOptions(duplicates=rule)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(ROWS))
        settled = resolve(make_events([ROWS[i] for i in order], options), items(options), options)
        assert settled.stay.tolist() == [0, 0, 0, 1] and settled.seconds.tolist() == [30, 60, 60, 60]
        assert [VARIABLES[v] for v in settled.variable] == [
            "Heart Rate", "Heart Rate", "Systolic blood pressure", "Heart Rate",
        ]  # fmt: skip
        assert settled.value.tolist() == [50, heart_rate, systolic, 70]
        assert (settled.repeated, settled.same_time, settled.derived) == (1, 3, 0)


def test_scores_at_one_time_take_the_last_text_of_the_alphabet() -> None:
    codes = {text: code for code, text in enumerate(LEVELS[3])}
    for rule in ("max", "priority", "latest_stored", "text_order"):
        options = EhrOptions(duplicates=rule)  # type: ignore[arg-type]
        texts = ["To Pain", "None", "Spontaneously", "To Speech"]
        events = make_events([(0, 60, EYE, codes[text], 0, text) for text in texts], options)
        assert LEVELS[3][int(resolve(events, items(options), options).value[0])] == "To Speech"


def test_total_score_is_the_sum_of_three_parts_at_one_time() -> None:
    options = EhrOptions(gcs_total="derived")
    eye, motor, verbal = (
        LEVELS[3].index("To Speech"),
        LEVELS[4].index("Localizes Pain"),
        LEVELS[6].index("No Response-ETT"),
    )
    rows = [
        (0, 60, EYE, eye, 0, ""),
        (0, 60, MOTOR, motor, 0, ""),
        (0, 60, VERBAL, verbal, 0, ""),
        (0, 120, EYE, eye, 0, ""),
        (0, 120, MOTOR, motor, 0, ""),
        (1, 120, VERBAL, verbal, 0, ""),  # another stay: no total
    ]
    settled = resolve(make_events(rows, options), items(options), options)
    totals = [
        (stay, second, LEVELS[5][int(value)])
        for stay, second, variable, value in zip(*settled[:4], strict=True)
        if variable == 5
    ]
    assert totals == [(0, 60, "9")] and settled.derived == 1  # 3 + 5 + 1
    assert settled.variable.tolist() == [3, 4, 5, 6, 3, 4, 6]


def test_resolve_without_events() -> None:
    options = EhrOptions(gcs_total="derived")
    empty = Events(*(np.zeros(0, kind) for kind in (np.int32, np.int32, np.uint8, float, np.int64)))
    assert [len(part) for part in resolve(empty, items(options), options)[:4]] == [0, 0, 0, 0]
