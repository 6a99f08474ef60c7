"""The page: one file that needs nothing, says everything in words too, and trusts no name."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from serinus.monitors.report import Report
from tests.monitors.report.lender import lender

_VOID = {"meta", "rect", "line", "circle", "br"}


class Tree(HTMLParser):
    """Checks that what is opened is closed, and keeps tags and text."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def tree(page):
    parsed = Tree()
    parsed.feed(page)
    assert parsed.open == []
    return parsed


@pytest.fixture(scope="module")
def report():
    current = lender(seed=2, start="2026-03-02", days=40, changed=True).assign(new=1)
    return Report.of(lender(6_000, seed=1), current, target="approved", time="created")


@pytest.fixture(scope="module")
def parsed(report):
    return tree(report.to_html())


def test_the_page_needs_nothing_else(report, parsed):
    """No script, no style sheet, no font, no picture, no address: it opens on a machine without a network."""
    assert {tag for tag, _ in parsed.tags} & {"script", "link", "img", "iframe", "object"} == set()
    assert not re.search(r"https?:|@import|url\(", report.to_html())
    assert [attrs["href"] for tag, attrs in parsed.tags if tag == "a" and not attrs["href"].startswith("#")] == []


def test_every_link_leads_to_its_chart(parsed):
    """From the table to the card of the feature."""
    links = {attrs["href"][1:] for tag, attrs in parsed.tags if tag == "a"}
    assert links == {attrs["id"] for tag, attrs in parsed.tags if tag == "article"}


def test_every_picture_says_what_it_shows(parsed):
    """A reader who does not see hears the same: a label for each picture, a table for each chart, words on verdicts."""
    pictures = [attrs for tag, attrs in parsed.tags if tag == "svg"]
    assert len(pictures) > 15
    assert [attrs for attrs in pictures if attrs.get("role") != "img" or len(attrs.get("aria-label", "")) < 10] == []
    cards = [tag for tag, _ in parsed.tags if tag in ("article", "details")]
    assert cards.count("article") == cards.count("details") == 6
    assert dict(parsed.tags)["html"] == {"lang": "en"}


def test_the_page_says_what_the_json_says(report, parsed):
    """Verdict, rows, every feature with its effect, the windows, and the notes."""
    text = " ".join(parsed.text).replace("\u00a0", " ")
    assert report.sentence.partition(": ")[2] in text and "6,000 rows" in text and "3,000 rows" in text
    for feature in report.features:
        if feature.side != "joint":
            assert feature.name in text and f"{max(feature.psi, 0):.3f}" in text
    assert "of 40 windows of one day show drift; the first begins 2026-03-2" in text
    assert "New columns, which the reference lacks: new." in text


def test_light_dark_and_paper(report):
    """The page follows the reader's theme, and prints in ink on white."""
    page = report.to_html()
    assert "prefers-color-scheme:dark" in page and "@media print" in page and 'name="color-scheme"' in page


def test_names_are_not_trusted():
    """A column or category that is a script is shown as text, wherever it stands."""
    evil = "<script>alert(1)</script>\"'&"
    before = pd.DataFrame({evil: [evil, "b"] * 100, "when": pd.date_range("2026-01-01", periods=200, freq="h")})
    now = before.assign(**{evil: [evil] * 199 + ["<b>"]})
    report = Report.of(before, now, time="when", names=("<i>", "<u>"))
    parsed = tree(report.to_html())
    assert {tag for tag, _ in parsed.tags} & {"script", "b", "i", "u"} <= {"b", "i"}  # ours: a number, the key
    assert "<script>alert" not in report.to_html() and evil in "".join(parsed.text)
    assert "<script>alert" not in report._repr_html_()


def test_a_batch_of_one_constant_has_a_page():
    """No chart fails on a single bin or on nothing to draw."""
    frame = pd.DataFrame({"x": np.ones(50), "gone": [None] * 50})
    assert "No drift" in " ".join(tree(Report.of(frame, frame.assign(gone=None)).to_html()).text)
