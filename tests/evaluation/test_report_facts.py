"""What a report says of the samples and of the run: shares and plain numbers, departures, a run that has not ended."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fake_run import predictions_table, write_run

from cardiozoo.evaluation.cohort import Cohort
from cardiozoo.evaluation.console import plain, significant
from cardiozoo.evaluation.evaluate import evaluate_run
from cardiozoo.evaluation.run import RunFacts


class Rows(HTMLParser):
    """The rows of all tables as lists of their cells' text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


def page_of(folder: Path, cohort: dict[str, Any] | None = None, **facts: Any) -> str:
    run = write_run(folder, predictions_table(40, 1))
    stated = json.loads((run / "run.json").read_text())
    for key, value in facts.items():
        stated[key] = {**stated[key], **value} if isinstance(stated.get(key), dict) else value
    (run / "run.json").write_text(json.dumps(stated))
    if cohort is not None:
        (run / "cohort.json").write_text(json.dumps(cohort))
    return evaluate_run(run, n_bootstrap=5).report.read_text()


def test_numbers_of_a_regression_are_no_shares(tmp_path: Path) -> None:
    numbers = {"strain mean": 4.918, "strain sd": 0.5, "strain min": -2.339, "strain max": 11.116}
    cohort = {"splits": {"train": {"samples": 1200, **numbers}, "test": {"samples": 30, "strain mean": 0.25}}}
    page = page_of(tmp_path, cohort)
    rows = Rows(page).rows
    assert ["train", "1,200", "4.918", "0.5000", "-2.339", "11.12"] in rows
    assert ["test", "30", "0.2500", "–", "–", "–"] in rows
    assert "491.8 %" not in page and "25.0 %" not in page


def test_missing_radiographs_and_absent_leads_stay_shares(tmp_path: Path) -> None:
    splits = {
        "train": {"samples": 1026, "paired": 400, "cxr_missing": 0.4612, "prevalence": {"a": {"all": 0.125}}},
        "val": {"samples": 0, "paired": 0, "cxr_missing": None, "prevalence": {"a": {"all": None}}},
        "test": {"samples": 26, "paired": 26, "cxr_missing": 0.0, "prevalence": {"a": {"all": 1.0}}},
    }
    unseen = {"train": {"pH": 0.083}, "val": {"pH": None}, "test": {"pH": 1.0}}
    age = {"train": {"age": 61.5}, "val": {"age": None}, "test": {"age": 64.0}}
    counts = {"train": {"a": 1}, "val": {"a": 0}, "test": {"a": 1}}
    page = page_of(tmp_path, {"splits": splits, "never_observed": unseen, "means": age, "devices": counts})
    rows = Rows(page).rows
    assert ["train", "1,026", "400", "46.1 %"] in rows and ["val", "0", "0", "–"] in rows
    assert ["test", "26", "26", "0.0 %"] in rows and ["a", "12.5 %", "–", "100.0 %"] in rows
    assert ["pH", "8.3 %", "–", "100.0 %"] in rows and "Never observed, share by split" in page
    assert ["age", "61.50", "–", "64.00"] in rows and "Means by split" in page
    assert ["a", "1", "0", "1"] in rows, "counts of one are counts"


def test_a_number_named_like_a_share_but_above_one_is_none() -> None:
    grid = Cohort.from_summary({"splits": {"train": {"beats_missing": 12.5, "cxr_missing": 0.5}}}).counts
    assert grid is not None and grid.shares == (False, True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (735.0, "735.0"),
        (611.94, "611.9"),
        (0.0, "0.000"),
        (-2.339, "-2.339"),
        (1111.16, "1111"),
        (99999.6, "100000"),
        (0.01, "0.01000"),
        (1.5e-7, "1.500e-07"),
        (2e12, "2.000e+12"),
        (float("inf"), "inf"),
    ],
)
def test_four_significant_digits_keep_their_zeros(value: float, text: str) -> None:
    assert significant(value) == text


def test_limits_have_as_many_digits_as_the_value() -> None:
    assert plain({"value": 673.04, "low": 611.94, "high": 735.0}) == "673.0 (611.9, 735.0)"
    assert plain({"value": 2.0, "low": None, "high": None}) == "2.000 (no limits)"


def test_a_run_that_goes_on_says_nothing_of_its_end(tmp_path: Path) -> None:
    times = {"started": "2026-01-01T00:00:00", "wall_seconds": 5.5}
    running = Rows(page_of(tmp_path / "a", status="running", finished=None, **times)).rows
    names = [row[0] for row in running if row]
    assert "started" in names and not {"status", "finished", "wall_seconds"} & set(names)
    ended = Rows(page_of(tmp_path / "b", status="completed", finished="2026-01-01T00:01:00", **times)).rows
    for row in (["status", "completed"], ["finished", "2026-01-01T00:01:00"], ["wall_seconds", "5.5"]):
        assert row in ended and row not in running


DEPARTURES = {
    "model": [
        {"topic": "experts", "paper": "p", "released": "r", "here": "as the paper", "option": "fusion: released"},
        {"topic": "decoder", "paper": "p", "released": "r", "here": "h", "option": "decoder: single or multichannel"},
        {"topic": "beat", "paper": "p", "released": "r", "here": "h", "option": "network: beat, objective: beta"},
        {"topic": "rate", "paper": "p", "released": "r", "here": "h", "option": "data.rate, data.window; eval_stride"},
    ],
    "data": [{"topic": "val", "paper": "p", "released": "r", "here": "h", "option": "val_fraction of prepare"}],
}


def changed(**values: Any) -> dict[str, Any]:
    return {"options_changed": {name: {"value": value, "default": "other"} for name, value in values.items()}}


def test_departures_are_the_defaults_and_changed_options_are_marked(tmp_path: Path) -> None:
    model, data = changed(fusion="released", decoder="single", beta=4), changed(rate=100.0, val_fraction=0.1)
    page = page_of(tmp_path, departures=DEPARTURES, model=model, data=data)
    rows = Rows(page).rows
    assert "<h3>Departures from paper and released code, by default</h3>" in page
    assert "listed above under model.options_changed and data.options_changed;" in page
    assert ["topic", "paper", "released", "here, by default", "option"] in rows
    last = {row[0]: row[-1] for row in rows if len(row) == 5}
    assert last["experts"] == "fusion: releasedthis run: fusion = released"
    assert last["decoder"].endswith("this run: decoder = single")
    assert last["beat"] == "network: beat, objective: beta", "beta is a value there, not the option"
    assert last["rate"].endswith("this run: data.rate = 100.0") and last["val"] == "val_fraction of prepare"


def test_without_changed_options_nothing_is_marked(tmp_path: Path) -> None:
    followed = page_of(tmp_path / "a", departures=DEPARTURES, model=changed(), data=changed())
    assert "This run changed none of the options" in followed and "this run:" not in followed
    unsaid = page_of(tmp_path / "b", departures=DEPARTURES)
    assert "options_changed" not in unsaid and "This run changed none" not in unsaid and "by default" in unsaid


def test_values_of_options_are_escaped() -> None:
    facts = RunFacts(facts={"model": changed(fusion="<b>")})
    assert facts.set_here("model", {"option": "fusion: released"}) == ["fusion = <b>"]
