"""Careless and hostile requests, byte for byte: answered as the plain one is, or refused in one readable sentence.

Of every server the models are asked that `/v2/repository/index` lists and that answer to what their metadata say.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.conformance.raw_cases import ACCEPTED, DTYPES, REFUSED, Answer, Request, Subject, send


@pytest.fixture(scope="session")
def subjects(base_url: str) -> list[Subject]:
    """The served models that answer a request made from their metadata, at least one."""
    index = json.loads(send(base_url, Request("/v2/repository/index", b"")).body)
    names = sorted({model["name"] for model in index if model.get("state", "READY") == "READY"})
    found = []
    for name in names:
        metadata = json.loads(send(base_url, Request(f"/v2/models/{name}", b"", method="GET")).body)
        subject = Subject(name, metadata)
        if metadata.get("inputs") and send(base_url, subject.changed()).status == 200:
            found.append(subject)
    assert found, f"none of {names} answers a request made from its metadata"
    return found


@pytest.mark.parametrize("case", ACCEPTED)
def test_it_is_answered_as_the_plain_request_is(case: str, base_url: str, subjects: list[Subject]) -> None:
    """Whatever the form, the same outputs with the same types, shapes and values."""
    make, also = ACCEPTED[case]
    for subject in subjects:
        answer = send(base_url, make(subject))
        assert answer.status == 200, answer.body
        expected = send(base_url, subject.changed()).outputs()
        assert answer.outputs().keys() == expected.keys()
        for name, (datatype, shape, values) in answer.outputs().items():
            assert (datatype, shape) == expected[name][:2]
            assert _same(values, expected[name][2], datatype)
        assert answer.json["model_name"] == subject.name
        assert also(answer)


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_a_sentence(case: str, base_url: str, subjects: list[Subject]) -> None:
    """With the right status, as `{"error": string}`, without a trace of the server's insides, and it goes on."""
    make, status = REFUSED[case]
    for subject in subjects:
        answer = send(base_url, make(subject))
        assert answer.status in status, answer.body[:500]
        _check_error(answer)
        assert send(base_url, subject.changed()).status == 200


def test_a_version_in_the_path_answers(base_url: str, subjects: list[Subject]) -> None:
    """Every version that the metadata name, under its own name; without one, one of them does."""
    for subject in subjects:
        chosen = send(base_url, subject.changed())
        paths = {v: f"/v2/models/{subject.name}/versions/{v}/infer" for v in subject.metadata["versions"]}
        answers = {v: send(base_url, subject.changed()._replace(path=path)) for v, path in paths.items()}
        assert {version: answer.json["model_version"] for version, answer in answers.items()} == {
            version: version for version in answers
        }
        assert chosen.outputs() == answers[chosen.json["model_version"]].outputs()


def test_metadata_say_what_a_client_needs(subjects: list[Subject]) -> None:
    """Names, datatypes and shapes of all inputs and outputs, the platform, and the versions as text."""
    for subject in subjects:
        found = subject.metadata
        assert found["name"] == subject.name
        assert found["platform"].count("_") >= 1
        assert found["versions"] and all(isinstance(version, str) for version in found["versions"])
        assert found["inputs"] and found["outputs"]
        for tensor in [*found["inputs"], *found["outputs"]]:
            assert tensor["datatype"] in DTYPES
            assert all(type(size) is int and size >= -1 for size in tensor["shape"])


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2", "/v1/models"])
def test_the_server_says_that_it_is_there(base_url: str, path: str) -> None:
    """With status 200; clients look at no more."""
    assert send(base_url, Request(path, b"", method="GET")).status == 200


def test_every_model_says_that_it_is_ready(base_url: str, subjects: list[Subject]) -> None:
    """Under its name, under its version, and in the older protocol."""
    for subject in subjects:
        version = subject.metadata["versions"][-1]
        for path in (f"/v2/models/{subject.name}/ready", f"/v2/models/{subject.name}/versions/{version}/ready",
                     f"/v2/models/{subject.name}/versions/{version}", f"/v1/models/{subject.name}"):
            assert send(base_url, Request(path, b"", method="GET")).status == 200


def test_the_older_protocol_answers_too(base_url: str, subjects: list[Subject]) -> None:
    """`:predict` takes one list per row; bad input is 400 with a string, not a failure."""
    for subject in subjects:
        tensors = [np.array(tensor["data"], dtype=object).reshape(len(tensor["data"]) and tensor["shape"])
                   for tensor in subject.document["inputs"]]
        rows = np.column_stack(tensors).tolist()
        path = f"/v1/models/{subject.name}:predict"
        answer = send(base_url, Request(path, json.dumps({"instances": rows}).encode()))
        assert answer.status == 200, answer.body
        assert len(json.loads(answer.body)["predictions"]) == len(rows)
        for bad in (b"{", b"{}", b'{"instances": 5}', b'{"instances": [{"no such column": 1}]}'):
            refused = send(base_url, Request(path, bad))
            assert refused.status == 400
            _check_error(refused)


def _same(values: list[object], expected: list[object], datatype: str) -> bool:
    if not datatype.startswith("FP"):
        return values == expected
    dtype = DTYPES[datatype]
    return np.array_equal(np.array(values, dtype=dtype), np.array(expected, dtype=dtype), equal_nan=True)


def _check_error(answer: Answer) -> None:
    assert answer.headers["content-type"] == "application/json"
    error = answer.json["error"]
    assert isinstance(error, str) and error.strip()
    assert len(error) < 1000
    assert "Traceback" not in error and ".py" not in error
