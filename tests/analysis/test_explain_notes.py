"""What the page of an explanation says first, and how it words small and large shares."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cardiozoo.analysis import explanation
from cardiozoo.analysis.explain_plots import sanity_plot
from cardiozoo.analysis.explanation import TOLERATED, _above
from cardiozoo.analysis.randomisation import Sanity, _fails, _verdict
from cardiozoo.cli import main

QUICK = ["--bootstrap", "20", "--steps", "2", "--device", "cpu", "--pages", "1"]


def outcome(absolute: float, signed: float, alone: float = 0.2, shares: tuple[float, ...] = (1.0,)) -> Sanity:
    rows = [
        {"stage": n, "layers": n, "share": share, "last": "head", "absolute": absolute, "signed": signed}
        | {"low": absolute, "high": absolute}
        for n, share in enumerate(shares, start=1)
    ]
    return Sanity(pl.DataFrame(rows), alone, _verdict(absolute, signed, alone), 2)


@pytest.mark.parametrize("absolute", np.linspace(-1, 1, 9))
@pytest.mark.parametrize("signed", [-0.9, 0.0, 0.9])
@pytest.mark.parametrize("alone", [0.0, 0.5, 0.95])
def test_a_check_fails_where_its_verdict_says_so(absolute: float, signed: float, alone: float) -> None:
    assert ("THE CHECK FAILS" in _verdict(absolute, signed, alone)) == _fails(absolute, signed, alone)


def test_a_failed_check_is_the_first_note_everywhere(
    planted_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = outcome(0.7, 0.6, shares=(0.001, 1.0))
    assert failed.fails
    monkeypatch.setattr(explanation, "randomisation_check", lambda *_, **__: failed)
    # One of the records ends early, which is a note as well.
    command = ["explain", str(planted_run), "--samples", "r0000", "r0001", "--out", str(tmp_path), *QUICK]
    assert main(command) == 0
    notes = json.loads((tmp_path / "summary.json").read_text())["notes"]
    assert notes[0] == failed.verdict and len(notes) > 1 and "end before" in notes[1]
    box = (tmp_path / "explain.html").read_text().partition("To know first")[2].partition("</ul>")[0]
    assert box.partition("<li>")[2].startswith(failed.verdict)
    printed = capsys.readouterr().out
    assert printed.count("THE CHECK FAILS") == 1 and f"Note: {failed.verdict}" in printed


def test_a_check_that_passes_is_no_note(
    planted_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = outcome(0.1, 0.0)
    monkeypatch.setattr(explanation, "randomisation_check", lambda *_, **__: passed)
    assert main(["explain", str(planted_run), "--cohort", "2", "--out", str(tmp_path), *QUICK]) == 0
    assert passed.verdict not in json.loads((tmp_path / "summary.json").read_text())["notes"]
    assert capsys.readouterr().out.count(passed.verdict) == 1


@pytest.mark.parametrize(("value", "text"), [(0.0525, "5.2%"), (0.05004, "5.004%"), (0.08, "8.0%"), (1.5, "150.0%")])
def test_an_excess_is_told_from_the_limit(value: float, text: str) -> None:
    assert _above(value, TOLERATED) == text
    assert float(_above(value, TOLERATED).rstrip("%")) > 100 * TOLERATED


def test_stages_are_labelled_with_shares_that_can_be_told_from_none_and_all() -> None:
    found = outcome(0.1, 0.0, shares=(0.000012, 0.004, 0.25, 0.99996, 1.0))
    labels = [label.get_text().replace("\n", " ") for label in sanity_plot(found, False).axes[0].get_xticklabels()]
    assert labels == [
        "trained",
        "1 layer, 0.001% of weights",
        "2 layers, 0.4% of weights",
        "3 layers, 25% of weights",
        "4 layers, 99.996% of weights",
        "all 5 layers, all weights",
    ]


def test_sentences_of_the_lead_are_apart(vae_run: Path, tmp_path: Path) -> None:
    assert main(["explain", str(vae_run), "--cohort", "2", "--out", str(tmp_path), *QUICK]) == 0
    lead = (tmp_path / "explain.html").read_text().partition('<p class="lead">')[2].partition("</p>")[0]
    assert "What the model makes of 2 records. Records have numbers here" in " ".join(lead.split())


def test_a_read_only_place_is_refused_before_any_work(
    planted_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cardiozoo.cli import trained_run

    real = os.access
    monkeypatch.setattr(trained_run, "open_run", lambda *_: pytest.fail("work has begun"))
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and real(path, mode))
    assert main(["explain", str(planted_run), "--out", str(tmp_path / "new" / "out"), *QUICK]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 3 and "cannot be written to" in told[0] and "--out" in told[2]
    assert not list(tmp_path.iterdir())
