"""The page: everything that is said, nothing from elsewhere, and no word of a caller as markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from serinus.serving.store import JournalEntry
from serinus.serving.weekly import Weekly, page
from tests.serving.weekly.test_weekly import BEGIN, FINE

_VOID = {"meta", "rect", "line", "circle"}


class Tags(HTMLParser):
    """Which elements are open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag


def test_it_says_all_that_was_judged() -> None:
    """Headline, every line, every change, every action, every day."""
    entry = JournalEntry("churn", "promote", BEGIN + 9, 1, "ana", "", {"text": "Promoted version 3."})
    weekly = Weekly.of(replace(FINE, quality=(), journal=(entry,)))
    text = page(weekly)
    said = [weekly.headline, *(line.says for line in weekly.lines), "Promoted version 3. By ana.", *weekly.days,
            "serinus feedback churn FILE"]
    assert [part for part in said if part not in text] == []
    assert re.findall(r"<h2>(.*?)</h2>", text)[1:] == ["Is it fine?", "What changed", "What to do"]


def test_it_is_whole_and_fetches_nothing() -> None:
    """Well-formed, one file, no script, no address."""
    text = page(Weekly.of(FINE))
    assert Tags(text).open == []
    assert not re.search(r"<script|https?://|src=|@import|url\(", text.replace("http://www.w3.org/2000/svg", ""))


def test_words_of_people_are_no_markup() -> None:
    """A reason may hold anything."""
    entry = JournalEntry("churn", "promote", BEGIN + 9, 1, "<b>ana", "<script>alert(1)</script>", {"text": "a & b"})
    text = page(Weekly.of(replace(FINE, journal=(entry,), remarks=("<i>",))))
    assert "<script" not in text and "a &amp; b" in text and "&lt;i&gt;" in text
    assert Tags(text).open == []
