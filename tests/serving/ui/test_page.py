"""The dashboard's files: small, whole, known by their digests, and such that nothing foreign can run in them."""

from __future__ import annotations

import asyncio
import gzip
import re
from hashlib import sha256
from typing import Any

import pytest

from serinus.serving.ui import Page
from serinus.serving.ui.page import KINDS, STATIC

MOST_BYTES = 150_000
VENDORED = {
    "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
OURS = sorted(path for path in STATIC.rglob("*") if path.is_file() and path.parent.name != "vendor")


def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one call."""
    scope = {"type": "http", "method": method, "path": path,
             "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]}
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    assert Page().is_asked(scope)
    asyncio.run(Page().answer(scope, send))
    head, body = messages
    return head["status"], {name.decode(): value.decode() for name, value in head["headers"]}, body["body"]


def test_all_of_it_is_small() -> None:
    """It comes with every installation, and is there before a person has blinked."""
    assert sum(path.stat().st_size for path in STATIC.rglob("*") if path.is_file()) < MOST_BYTES


def test_what_others_wrote_is_what_they_published() -> None:
    """uPlot 1.6.32 as it is on npm, with its licence: `npm pack uplot@1.6.32`, folder dist."""
    assert {path.name: sha256(path.read_bytes()).hexdigest() for path in (STATIC / "vendor").iterdir()} == VENDORED


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_nothing_is_loaded_from_elsewhere_and_no_text_becomes_markup(path: Any) -> None:
    """No other host, no inline script or style, nothing that parses HTML or code."""
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?://[a-z]", text) == []
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser"
    assert re.findall(markup, text) == []
    if path.suffix == ".html":
        assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text) == []


def test_every_import_leads_to_a_file() -> None:
    """A module that is not there would leave the page empty."""
    named = [(path, name) for path in OURS if path.suffix == ".js"
             for name in re.findall(r'from "\./([\w.]+)"', path.read_text("utf-8"))]
    assert named and [f"{path.name}: {name}" for path, name in named if not (STATIC / name).is_file()] == []


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_each_file_is_answered_under_a_strict_policy(path: Any) -> None:
    """As what it is, packed for who can unpack it, and not again for who has it."""
    status, head, body = ask(f"/ui/{path.name}")
    assert (status, body, head["content-type"]) == (200, path.read_bytes(), KINDS[path.suffix].decode())
    assert head["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in head["content-security-policy"] and head["x-content-type-options"] == "nosniff"
    packed = ask(f"/ui/{path.name}", accept_encoding="gzip, br")
    assert packed[1]["content-encoding"] == "gzip" and gzip.decompress(packed[2]) == body
    assert ask(f"/ui/{path.name}", if_none_match=head["etag"])[0::2] == (304, b"")


def test_the_door_and_what_is_not_there() -> None:
    """`/ui` leads to `/ui/`, also below a mount; other paths and methods are told so; nothing above the folder is."""
    assert ask("/ui")[0] == 308 and ask("/ui")[1]["location"] == "ui/"
    assert ask("/ui/")[2] == (STATIC / "index.html").read_bytes()
    assert [ask(path)[0] for path in ("/ui/nothing.js", "/ui/../page.py", "/ui/vendor", "/ui//etc/passwd")] == [404] * 4
    status, head, body = ask("/ui/", "POST")
    assert (status, head["allow"], body) == (405, "GET, HEAD", b'{"error":"/ui/ takes GET, got POST."}')
