"""What shows that work goes on: nothing off a terminal, nothing at once, and nothing is left behind."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from cardiozoo.data import progress


class Terminal(io.StringIO):
    """A screen that keeps everything that was ever drawn on it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch):
    written = Terminal()
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=written, force_terminal=True))
    return written


def work(kind: str) -> None:
    if kind == "bar":
        with progress.progress_bar("Reading", 10) as advance:
            for _ in range(10):
                time.sleep(0.02)
                advance(1)
    else:
        with progress.busy("Reading"):
            time.sleep(0.2)


@pytest.mark.parametrize("kind", ["bar", "busy"])
def test_long_work_shows_and_short_work_does_not(kind, screen, monkeypatch):
    work(kind)
    assert screen.getvalue() == ""
    monkeypatch.setattr(progress, "_PATIENCE", 0.05)
    work(kind)
    assert "Reading" in screen.getvalue()
    seen = screen.getvalue()
    time.sleep(0.2)
    assert screen.getvalue() == seen, "it goes on drawing after the work has ended"


@pytest.mark.parametrize("kind", ["bar", "busy"])
def test_nothing_shows_where_nobody_looks(kind, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    work(kind)
    assert capsys.readouterr() == ("", "")


def test_the_sign_ends_with_the_work_that_fails(screen, monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 0.01)
    with pytest.raises(ValueError, match="broken"), progress.busy("Reading"):
        time.sleep(0.1)
        raise ValueError("broken")
    seen = screen.getvalue()
    time.sleep(0.2)
    assert screen.getvalue() == seen
