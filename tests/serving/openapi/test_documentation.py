"""Who asks for documentation gets it: the document, the page, and no more than is new."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serinus.serving.router import Target
from tests.serving.asgi import Line, people_model


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path, {"people": {"1": people_model(), "2": people_model("2")}})
    yield line
    line.close()


async def get(line: Line, path: str, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(line.app), base_url="http://127.0.0.1:3000") as client:
        return await client.get(path, headers=headers)


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [(BROWSER, "text/html; charset=utf-8"), ("text/html", "text/html; charset=utf-8"), ("*/*", "application/json"),
     ("application/json", "application/json"), ("application/json, text/html;q=0.9", "application/json"),
     ("text/html;q=0", "application/json"), ("text/html;q=rather", "application/json"), ("", "application/json")],
)
def test_the_root_is_a_page_for_browsers_only(line: Line, accept: str, kind: str) -> None:
    """Whoever does not prefer HTML learns in JSON that the process answers."""
    found = line.call("GET", "/", accept=accept)
    assert (found.status, found.headers["content-type"]) == (200, kind)


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_what_is_known_is_not_sent_again(line: Line, path: str) -> None:
    """`If-None-Match` with the tag of an answer is answered 304 until something changes."""
    tag = line.call("GET", path, host="127.0.0.1:3000").headers["etag"]

    def again() -> tuple[int, str]:
        found = asyncio.run(get(line, path, {"if-none-match": f'"other", W/{tag}', "host": "127.0.0.1:3000"}))
        assert (found.content == b"") == (found.status_code == 304)
        return found.status_code, found.headers["etag"]

    assert again() == (304, tag)
    line.serve("people", Target("2", None, 0, "", ()))
    status, changed = again()
    assert (status, changed == tag) == (200, False)


def test_a_change_of_role_is_told(line: Line) -> None:
    """The page names versions, roles and the candidate's share as they are now."""
    assert b"candidate" not in line.call("GET", "/docs").body
    line.serve("people", Target("1", "2", 2500, "salt", ()))
    page = line.call("GET", "/docs").body
    assert b"candidate" in page and b"25 %" in page


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_documentation_is_read_only(line: Line, path: str) -> None:
    """Other methods are named as such."""
    found = line.call("POST", path)
    assert (found.status, found.headers["allow"]) == (405, "GET, HEAD")
    assert line.call("HEAD", path).status == 200
