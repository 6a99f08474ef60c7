"""The page for people: what is served and how to ask it, with everything escaped."""

import re
import shlex
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from serinus.models import Field, Signature, wrap
from tests.serving.asgi import Line, people_model

EVIL = "<script>alert(1)</script>'\"&"
SIGNATURE = Signature((Field(EVIL, "BYTES", (-1,), labels=(EVIL, "b")),),
                      (Field("predict", "BYTES", (-1,), labels=(EVIL,)),))


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    evil = wrap(lambda frame: frame[EVIL].to_numpy(), signature=SIGNATURE)
    line = Line(tmp_path, {"people": {"1": people_model()}, "evil": {"1": evil}})
    yield line
    line.close()


def test_names_and_labels_are_text(line: Line) -> None:
    """What a model's maker wrote is shown, never carried out; nor is an address."""
    page = line.call("GET", "/docs", host="<script>x</script>").body.decode()
    assert "<script" not in page
    assert page.count(EVIL.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
                      .replace('"', "&quot;").replace("'", "&#x27;")) >= 3


def test_nothing_comes_from_elsewhere(line: Line) -> None:
    """The page loads nothing, and its policy would not let it."""
    found = line.call("GET", "/docs", host="h")
    assert re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", found.body.decode()) == []
    assert found.headers["content-security-policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_every_command_line_works(line: Line) -> None:
    """A copied command asks an address that answers, for every model and protocol, whatever a field is called."""
    page = line.call("GET", "/docs", host="127.0.0.1:3000").body.decode()
    commands = [shlex.split(unescape(text)) for text in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)]
    assert len(commands) == 2 * 4
    for program, address, _, head, _, body in commands:
        assert (program, head) == ("curl", "Content-Type: application/json")
        path = address.removeprefix("http://127.0.0.1:3000")
        found = line.call("POST", path, body.encode(), content_type="application/json")
        assert found.status == 200, (path, found.body)


def test_nobody_reads_a_picture_as_numbers(tmp_path: Path) -> None:
    """Of large rows there is no example, in the document neither."""
    picture = Signature((Field("image", "FP32", (-1, 3, 224, 224)),), (Field("predict", "FP32", (-1,)),))
    line = Line(tmp_path, {"eye": {"1": wrap(lambda image: image[:, 0, 0, 0], signature=picture)}})
    page, document = line.call("GET", "/docs").body, line.call("GET", "/openapi.json").body
    line.close()
    assert page.count(b"-d @request.json") == 4
    assert len(page) < 20_000 and len(document) < 200_000


def test_without_models_it_says_how_to_get_one(tmp_path: Path) -> None:
    """An empty server has a page too."""
    line = Line(tmp_path, {})
    page = line.call("GET", "/", accept="text/html").body
    line.close()
    assert b"serinus models register NAME PATH" in page
