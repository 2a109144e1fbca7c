"""The HTML report: whole, self-contained, escaped, silent about who the patients are."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_run import predictions_table, write_run

from cardiozoo.evaluation.evaluate import Evaluation, evaluate_run


class Page(HTMLParser):
    """Collects ids, links and unclosed tags."""

    VOID = frozenset({"meta", "br", "link", "img", "path", "use", "rect", "image", "circle", "line"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.ids += [found["id"]] if found.get("id") else []
        self.links += [found[k] for k in ("href", "src", "xlink:href") if found.get(k)]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html(judged: Evaluation) -> str:
    return judged.report.read_text()


def test_it_needs_no_network(html: str) -> None:
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\((?!#)|<script|<link", html)
    page = Page(html)
    assert page.open == [] and all(link.startswith("#") for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_it_names_no_patient_and_no_sample(html: str, judged: Evaluation) -> None:
    assert "secret-patient" not in html and "stay-0" not in html
    for path in judged.files:
        assert b"secret-patient" not in path.read_bytes() and b"stay-0" not in path.read_bytes()


def test_it_holds_the_numbers_and_what_they_rest_on(html: str, judged: Evaluation) -> None:
    for metric in ("auroc", "auprc"):
        row = judged.value(metric)
        assert f">{row['value']:.3f}<" in html and f"{row['low']:.3f} to {row['high']:.3f}" in html
    for words in (
        "SYNTHETIC DATA",
        "undefined: no positives",
        "one stay an admission",
        "younger than 18",
        "learning_rate: 0.0001",
        "resized for two cores",
        "mean absolute pairwise gap",
        "cardiozoo fit --model drfuse",
        judged.command,
    ):
        assert words in html, words
    assert html.count("<svg") == 6 and html.count("SYNTHETIC ·") >= 7  # the page's title and each plot's


def test_class_names_are_escaped(html: str) -> None:
    assert "Shock <1>" not in html and "Shock &lt;1&gt;" in html


def test_real_data_bear_no_synthetic_mark(tmp_path: Path) -> None:
    found = evaluate_run(write_run(tmp_path / "run", predictions_table(60, 1), synthetic=False), n_bootstrap=10)
    assert "SYNTHETIC" not in found.report.read_text() and not found.tables["metrics"]["synthetic"].any()
