"""Metadata: what a client may read about server and models before it asks them anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from serinus.models import Field, Signature, wrap
from tests.serving.asgi import Line

ODD = Signature(
    (
        Field("image", "FP32", (-1, 3, 224, -1)),
        Field("threshold", "FP64", (), optional=True),
        Field("boxes", "INT64", (-1, 4), sequence=True),
    ),
    (Field("label", "BYTES", (-1,), labels=("käse", 1, True)), Field("count", "INT64", ())),
)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    versions = {version: wrap(lambda frame: {}, signature=ODD) for version in ("9", "10")}
    made = Line(tmp_path_factory.mktemp("metadata"), {"odd": versions})
    yield made
    made.close()


def test_a_model_is_described_as_the_protocol_says(line: Line) -> None:
    """Versions in the order of their numbers, a platform of two words, every tensor with datatype and shape; a scalar
    has no sizes, and what the protocol has no word for stands in the parameters as plain values."""
    found = line.call("GET", "/v2/models/odd").json
    assert {key: found[key] for key in ("name", "versions", "platform", "inputs", "outputs")} == {
        "name": "odd",
        "versions": ["9", "10"],
        "platform": "function_model",
        "inputs": [
            {"name": "image", "datatype": "FP32", "shape": [-1, 3, 224, -1]},
            {"name": "threshold", "datatype": "FP64", "shape": [], "parameters": {"optional": True}},
            {"name": "boxes", "datatype": "INT64", "shape": [-1, 4], "parameters": {"sequence": True}},
        ],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1], "parameters": {"labels": '["käse",1,true]'}},
            {"name": "count", "datatype": "INT64", "shape": []},
        ],
    }
    assert line.call("GET", "/v2/models/odd/versions/10").json == found


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/models/odd/ready", {"name": "odd", "ready": True}),
        ("/v2/models/odd/versions/9/ready", {"name": "odd", "ready": True}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/health/ready/", {"ready": True}),
        ("/v1/models", {"models": ["odd"]}),
        ("/v1/models/odd", {"name": "odd", "ready": True}),
        ("/", {"status": "alive"}),
    ],
)
def test_what_is_there_says_so(line: Line, path: str, expected: Any) -> None:
    """Clients look at the status, people at the body; a slash at the end changes nothing."""
    found = line.call("GET", path)
    assert (found.status, found.json) == (200, expected)


def test_the_server_names_its_extensions(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's clients look for them; models are loaded by hand in a server only, not in somebody's application."""
    found = line.call("GET", "/v2").json
    assert found["extensions"] == ["binary_tensor_data"]
    assert set(found) == {"name", "version", "extensions"}
    monkeypatch.setattr(line.app, "repository", object())
    assert line.call("GET", "/v2").json["extensions"] == ["binary_tensor_data", "model_repository"]


@pytest.mark.parametrize(
    "path",
    ["/v2/models/none", "/v2/models/odd/versions/11", "/v2/models/none/ready", "/v2/models/odd/versions/x/ready",
     "/v1/models/none", "/v2/models", "/v2/models/", "/v2/models/odd/versions", "/v2/what", "/v2/models/odd/ready/x"],
)
def test_what_is_not_there_says_so_in_one_string(line: Line, path: str) -> None:
    """404, in the form that clients of this protocol read."""
    found = line.call("GET", path)
    assert (found.status, list(found.json), type(found.json["error"])) == (404, ["error"], str)


@pytest.mark.parametrize("path", ["/v2", "/v2/models/odd", "/v2/health/live", "/v2/models/odd/ready"])
def test_metadata_are_read_only(line: Line, path: str) -> None:
    """Other methods are named as such, not as an absent path."""
    found = line.call("PUT", path)
    assert (found.status, found.headers["allow"]) == (405, "GET, HEAD")
    assert line.call("HEAD", path).status == 200
