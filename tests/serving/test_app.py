"""The edge: every path, every header, every kind of failure, seen from a client's side."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import tracemalloc
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.serving.app import Inner
from serinus.serving.board import Labels, read
from serinus.serving.ids import parse_prediction_id
from serinus.serving.router import Target
from tests.serving.asgi import PEOPLE, ROW, ROWS, TENSORS, Line, numbers_model, people_model
from tests.serving.protocols.hostile import mutated

OVERSIZE = b" " * 5000


def rows(**changes: object) -> bytes:
    return orjson.dumps({"rows": [ROW | changes]})


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(
        tmp_path, {"people": {"1": people_model("1"), "2": people_model("2")}}, limits={"body_bytes": 4096, "rows": 20}
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    made = Line(tmp_path_factory.mktemp("two"), {"people": {"1": people_model()}, "wine": {"7": numbers_model()}})
    yield made
    made.close()


# Answers


def test_rows_are_answered_in_full(line: Line) -> None:
    """Predictions, who answered, and an id for each row that leads to its record."""
    answer = line.call("POST", "/predict/people", orjson.dumps({"rows": [ROW, ROW | {"visits": 5}]}))
    assert answer.status == 200
    document = answer.json
    prediction = document["prediction_ids"][0][:-2]
    assert document == {
        "predictions": [{"predict": 4.0}, {"predict": 6.0}],
        "model": "people",
        "version": "1",
        "role": "stable",
        "request_id": prediction,
        "prediction_ids": [f"{prediction}-0", f"{prediction}-1"],
        "violations": [],
    }
    found = parse_prediction_id(document["prediction_ids"][1])
    assert found is not None
    assert found.uuid == line.records()[0].prediction_uuid


def test_tensors_are_answered_in_full(line: Line) -> None:
    """As the Open Inference Protocol says."""
    document = line.call("POST", "/v2/models/people/infer", TENSORS).json
    prediction = document["parameters"]["prediction_id"]
    assert uuid.UUID(prediction).version == 7
    assert document == {
        "model_name": "people",
        "model_version": "1",
        "id": prediction,
        "parameters": {"role": "stable", "prediction_id": prediction},
        "outputs": [{"name": "predict", "shape": [1], "datatype": "FP64", "data": [4.0]}],
    }


def test_a_scikit_learn_model_answers(two: Line) -> None:
    """Labels and probabilities, the same in both protocols."""
    matrix = {
        "inputs": [{"name": "input", "datatype": "FP64", "shape": [2, 3], "data": [1, 1, 1, -1, -1, -1]}],
        "outputs": [{"name": "predict"}, {"name": "predict_proba"}],
    }
    tensors = two.call("POST", "/v2/models/wine/infer", orjson.dumps(matrix))
    assert tensors.status == 200, tensors.body
    labels, proba = tensors.json["outputs"]
    assert (labels["data"], proba["shape"]) == (["yes", "no"], [2, 2])
    answered = two.call("POST", "/predict/wine", b'{"rows": [[1, 1, 1], [-1, -1, -1]]}').json["predictions"]
    assert [row["predict"] for row in answered] == ["yes", "no"]
    assert [value for row in answered for value in row["predict_proba"]] == proba["data"]


@pytest.mark.parametrize("path", ["/predict/people/versions/2", "/v2/models/people/versions/2/infer"])
def test_a_version_has_its_own_address(line: Line, path: str) -> None:
    """Kept loaded, it answers there, and says that it did."""
    answer = line.call("POST", path, ROWS if path.startswith("/p") else TENSORS)
    assert (answer.status, answer.headers["x-model-version"]) == (200, "2")


def test_the_candidate_says_that_it_is_one(line: Line) -> None:
    """In headers, body and record; its callers are those that the routing key chose."""
    line.serve("people", Target("1", "2", 5000, "salt", ()))
    for key in map(str, range(20)):
        by_header = line.call("POST", "/predict/people", ROWS, x_routing_key=key)
        by_body = line.call("POST", "/predict/people", orjson.dumps({"rows": [ROW], "routing_key": key}))
        role = {"1": "stable", "2": "candidate"}[by_header.headers["x-model-version"]]
        assert by_header.headers["x-model-role"] == by_header.json["role"] == role
        assert by_body.headers["x-model-version"] == by_header.headers["x-model-version"]
    assert {record.role for record in line.records()} == {"stable", "candidate"}
    assert all(record.routing_key_hash for record in line.records())


# Headers


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        ("order-17", True),
        ("a" * 128, True),
        ("", False),
        ("a" * 129, False),
        ("a b", False),
        ("<script>", False),
        ("\xe9", False),
    ],
)
@pytest.mark.parametrize("path", ["/predict/people", "/v2/models/people/infer"])
def test_a_plain_request_id_is_echoed(line: Line, path: str, sent: str, echoed: bool) -> None:
    """In header and record; anything else is replaced by an id of ours."""
    answer = line.call("POST", path, ROWS if path == "/predict/people" else TENSORS, x_request_id=sent)
    found = answer.headers["x-request-id"]
    assert (found == sent) is echoed
    assert echoed or uuid.UUID(found).version == 7
    assert line.records()[0].request_id == found


@pytest.mark.parametrize("hostile", ["a\r\nset-cookie: x=1", "é", "x" * 3000, "a b"])
def test_an_id_in_the_body_cannot_reach_a_header(line: Line, hostile: str) -> None:
    """It is returned in the body as the protocol says; header and record get an id of ours."""
    answer = line.call("POST", "/v2/models/people/infer", orjson.dumps(orjson.loads(TENSORS) | {"id": hostile}))
    assert (answer.status, answer.json["id"]) == (200, hostile)
    assert uuid.UUID(answer.headers["x-request-id"]).version == 7
    assert line.records()[0].request_id == answer.headers["x-request-id"]


def test_an_id_in_the_body_serves_as_request_id(line: Line) -> None:
    """Where it is plain and the header has none; the header has precedence."""
    body = orjson.dumps(orjson.loads(TENSORS) | {"id": "mine"})
    assert line.call("POST", "/v2/models/people/infer", body).headers["x-request-id"] == "mine"
    both = line.call("POST", "/v2/models/people/infer", body, x_request_id="header")
    assert (both.headers["x-request-id"], both.json["id"]) == ("header", "mine")


def test_a_failed_request_has_an_id_too(line: Line) -> None:
    """So that the caller can ask about it."""
    assert line.call("POST", "/predict/people", b"{", x_request_id="mine").json["request_id"] == "mine"
    refused = line.call("POST", "/predict/people", b"{")
    assert uuid.UUID(refused.headers["x-request-id"]).version == 7
    assert refused.json["request_id"] == refused.headers["x-request-id"]


def test_the_trace_goes_on(line: Line) -> None:
    """The answer's span is a new one in the caller's trace; without a valid header a trace begins."""
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    found = line.call("POST", "/predict/people", ROWS, traceparent=parent).headers["traceparent"]
    assert found[:36] == parent[:36] and found[36:52] != parent[36:52] and found[52:] == "-01"
    assert line.records()[0].trace_id == int(parent[3:35], 16)
    assert line.records()[0].span_id == int(found[36:52], 16)
    assert line.call("POST", "/predict/people", ROWS, traceparent=parent[:-1] + "0").headers["traceparent"][-2:] == "00"
    assert (
        line.call("POST", "/predict/people", ROWS, traceparent="rubbish").headers["traceparent"][3:35] != parent[3:35]
    )


# Which model


def test_bare_predict_means_the_only_model(line: Line) -> None:
    """Else the default one, else the caller is told the names."""
    assert line.call("POST", "/predict", ROWS).json["model"] == "people"


def test_bare_predict_among_several_names_them(two: Line) -> None:
    """It does not guess."""
    refused = two.call("POST", "/predict", ROWS)
    assert refused.status == 400
    assert "Several models are served (people, wine)" in refused.json["detail"]


@pytest.mark.parametrize(("default", "status"), [("people", 200), ("gone", 404)])
def test_bare_predict_means_the_default_model(tmp_path: Path, default: str, status: int) -> None:
    """If there is one, and it is served."""
    models = {"people": {"1": people_model()}, "other": {"1": people_model("9")}}
    answer = Line(tmp_path, models, server={"default_model": default}).call("POST", "/predict", ROWS)
    assert answer.status == status
    assert answer.json["model"] == "people" if status == 200 else "'gone' is not served here" in answer.json["detail"]


def test_without_a_model_there_is_no_service(tmp_path: Path) -> None:
    """503 with the way out, and the caller may try again."""
    empty = Line(tmp_path, {})
    answer = empty.call("POST", "/predict", ROWS)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "serinus models register" in answer.json["detail"]
    ready = empty.call("GET", "/v2/health/ready")
    assert (ready.status, ready.json["ready"]) == (503, False)
    assert "serinus models register" in ready.json["error"]
    assert (
        empty.call("POST", "/v2/models/x/infer", TENSORS).json["error"] == "Model 'x' is not served here; served: none."
    )


@pytest.mark.parametrize(
    ("method", "path", "sentence"),
    [
        ("POST", "/predict/wien", "Model 'wien' is not served here; served: people"),
        ("POST", "/v2/models/wien/infer", "Model 'wien' is not served here; served: people"),
        (
            "POST",
            "/v2/models/people/versions/7/infer",
            "Version '7' of model 'people' is not served here; served: 1, 2",
        ),
        ("POST", "/predict/people/versions/7", "Version '7' of model 'people' is not served here; served: 1, 2"),
        ("GET", "/v2/models/wien", "Model 'wien' is not served here"),
        ("GET", "/v2/models/wien/ready", "Model 'wien' is not served here"),
        ("GET", "/v2/models/people/versions/7/ready", "Version '7' of model 'people' is not served"),
        ("POST", "/v2/models/people/explain", "There is no POST /v2/models/people/explain here"),
        ("GET", "/v2/models/people/what", "There is no GET /v2/models/people/what here"),
        ("GET", "/nothing", "There is no GET /nothing here"),
        ("POST", "/v3", "There is no POST /v3 here"),
    ],
)
def test_what_is_not_here_is_404_and_says_what_is(line: Line, method: str, path: str, sentence: str) -> None:
    """For models and versions the names that are served, in the protocol's own form."""
    answer = line.call(method, path, TENSORS)
    assert answer.status == 404
    said = answer.json["detail"] if path.startswith("/predict/") else answer.json["error"]
    assert said.startswith(sentence)


def test_what_is_not_served_is_counted(line: Line) -> None:
    """Under its route, with no label from the address: a scanner makes no new series."""
    for name in ("a", "b", "c"):
        assert line.call("POST", f"/v2/models/{name}/infer", TENSORS).status == 404
    _, series = line.counts()
    labels = Labels("", "", "", "/v2/models/{model}/infer", "POST", 404, "not_found")
    assert {found: counts.requests for found, counts in series.items()} == {labels: 3}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/predict/people"), ("PUT", "/predict"), ("DELETE", "/v2/models/people/infer")]
)
def test_another_method_is_405(line: Line, method: str, path: str) -> None:
    """And says which one is right (RFC 9110)."""
    answer = line.call(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


# Health and metadata


def test_health(line: Line) -> None:
    """Live is the process, ready its models, and a draining server is no longer ready."""
    assert line.call("GET", "/").json == {"status": "alive"}
    assert line.call("GET", "/v2/health/live").json == {"live": True}
    assert line.call("GET", "/v2/health/ready").status == 200
    assert line.call("GET", "/v2/models/people/ready").json == {"name": "people", "ready": True}
    line.app.ready = False
    assert line.call("GET", "/v2/health/ready").status == 503
    line.app.ready = line.app.draining = True
    assert line.call("GET", "/v2/health/ready").json["error"] == "The server is draining."
    assert line.call("GET", "/v2/health/live").status == 200
    assert line.call("POST", "/predict/people", ROWS).status == 200  # what still arrives is answered


def test_metadata(line: Line) -> None:
    """Names, types and shapes of what the model takes and gives, from its signature."""
    found = line.call("GET", "/v2/models/people").json
    assert (found["name"], found["versions"], found["platform"]) == ("people", ["1", "2"], "function_model")
    assert found["inputs"][1] == {"name": "age", "datatype": "FP64", "shape": [-1], "parameters": {"optional": True}}
    assert [tensor["name"] for tensor in found["inputs"]] == [field.name for field in PEOPLE.inputs]
    assert found["outputs"] == [{"name": "predict", "datatype": "FP64", "shape": [-1]}]
    assert line.call("GET", "/v2").json["name"] == "serinus"


def test_metrics_count_what_was_answered(line: Line) -> None:
    """The text form is tested elsewhere; here, that it is at its address."""
    line.call("POST", "/predict/people", ROWS)
    answer = line.call("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert b'serinus_rows_total{http_request_method="POST",http_route="/predict/{model}"' in answer.body


def test_other_paths_are_handed_on(line: Line) -> None:
    """To BentoML's own application, unchanged, where it knows them; ours are not, nor what nobody knows. What it counts
    stands below what we count."""
    seen = []

    async def inner(scope, receive, send):
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 204, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    line.app._inner = Inner(inner, frozenset({"/livez", "/schema.json", "/"}), lambda: b"theirs 1\n")
    paths = ("/livez", "/schema.json", "/v2/health/live", "/", "/nowhere", "/livez/", "/livez/deeper", "*")
    assert [line.call("GET", path).status for path in paths] == [204, 204, 200, 200, 404, 404, 404, 404]
    assert seen == ["/livez", "/schema.json"]
    assert line.call("GET", "/metrics").body.endswith(b"\ntheirs 1\n")
    assert b"theirs" not in line.call("GET", "/metrics", accept="application/openmetrics-text").body


def test_there_are_no_websockets(line: Line) -> None:
    """Whatever their path; nobody behind us hears of one."""
    sent, heard = [], []

    async def inner(scope: Any, *_: Any) -> None:
        heard.append(scope)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    line.app._inner = Inner(inner, frozenset({"/livez"}), bytes)
    asyncio.run(line.app({"type": "websocket", "path": "/livez"}, receive, send))
    assert (sent, heard) == (["websocket.close"], [])


# Bodies


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "identity"])
def test_a_compressed_body_is_read(line: Line, encoding: str) -> None:
    """By its declared coding, in any case."""
    body = {"gzip": gzip.compress, "deflate": zlib.compress}.get(encoding.lower(), bytes)(ROWS)
    assert line.call("POST", "/predict/people", body, content_encoding=encoding).status == 200


def test_a_body_in_parts_is_read(line: Line) -> None:
    """Empty parts included."""
    assert line.call("POST", "/predict/people", [ROWS[:5], b"", ROWS[5:], b""]).status == 200
    assert line.call("POST", "/predict/people", [bytes([byte]) for byte in ROWS]).status == 200


BODIES = {
    "bomb": (gzip.compress(bytes(3_500_000)), {"content_encoding": "gzip"}, 413, "over the limit of 4096 bytes"),
    "deflated bomb": (zlib.compress(bytes(3_500_000)), {"content_encoding": "deflate"}, 413, "over the limit"),
    "one byte too many": (gzip.compress(bytes(4097)), {"content_encoding": "gzip"}, 413, "over the limit"),
    "truncated": (gzip.compress(ROWS)[:-9], {"content_encoding": "gzip"}, 400, "The gzip body ends early"),
    "no gzip": (ROWS, {"content_encoding": "gzip"}, 400, "The body is not valid gzip"),
    "damaged": (gzip.compress(ROWS)[:-5] + b"\0" * 5, {"content_encoding": "gzip"}, 400, "The body is not valid gzip"),
    "empty gzip": (b"", {"content_encoding": "gzip"}, 400, "ends early"),
    "two members": (
        gzip.compress(ROWS) + gzip.compress(b" "),
        {"content_encoding": "gzip"},
        400,
        "goes on after its end",
    ),
    "another coding": (ROWS, {"content_encoding": "br"}, 415, "Content-Encoding 'br' is not understood; send gzip"),
    "two codings": (ROWS, {"content_encoding": "gzip, gzip"}, 415, "not understood"),
    "announced too long": ([b"{"] * 2, {"content_length": "4097"}, 413, "over the limit of 4096 bytes"),
    "announced absurdly": ([b"{"] * 2, {"content_length": "9" * 5000}, 413, "over the limit of 4096 bytes"),
    "too long": (OVERSIZE, {}, 413, "over the limit of 4096 bytes"),
    "too long by parts": ([b" " * 1000] * 5, {}, 413, "over the limit of 4096 bytes"),
    "empty": (b"", {}, 400, "The body is not JSON"),
    "too many rows": (orjson.dumps({"rows": [ROW] * 21}), {}, 413, "has 21 rows, the limit is 20"),
    "not UTF-8": (b'{"rows": [{"city": "\xff"}]}', {}, 400, "The body is not JSON"),
    "bad value": (rows(age="old"), {}, 422, "expected FP64, got string 'old'"),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_bad_body_has_its_status_and_sentence(line: Line, case: str) -> None:
    """In both protocols; nothing of it is logged as a prediction, and all of it is counted."""
    body, headers, status, sentence = BODIES[case]
    refused = line.call("POST", "/predict/people", body, **headers)
    assert refused.status == status
    assert refused.headers["content-type"] == "application/problem+json"
    assert sentence in refused.json["detail"]
    if case not in ("too many rows", "bad value"):
        tensors = line.call("POST", "/v2/models/people/infer", body, **headers)
        assert tensors.status == status
        assert sentence in tensors.json["error"]
    assert line.records() == []
    (labels,) = [found for found in line.counts()[1] if found.route == "/predict/{model}"]
    assert (labels.status, bool(labels.error_type)) == (status, True)


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_a_bomb_is_not_unpacked(line: Line, compress: Callable[[bytes], bytes]) -> None:
    """Beyond the limit nothing is decompressed: memory is the limit's, not the bomb's."""
    bomb, encoding = compress(bytes(3_500_000)), "gzip" if compress is gzip.compress else "deflate"
    assert len(bomb) < 4096  # or its own size would give it away
    tracemalloc.start()
    try:
        assert line.call("POST", "/predict/people", bomb, content_encoding=encoding).status == 413
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_client_that_goes_away_is_no_failure_of_ours(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    """Its body never became whole."""
    sent = []

    async def run() -> None:
        messages = [{"type": "http.request", "body": ROWS[:9], "more_body": True}, {"type": "http.disconnect"}]

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        await line.app(
            {"type": "http", "method": "POST", "path": "/predict", "http_version": "1.1", "headers": []}, receive, send
        )

    asyncio.run(run())
    assert sent[0]["status"] == 400
    assert not caplog.records


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return Line(tmp_path_factory.mktemp("fuzz"), {"people": {"1": people_model()}}, limits={"rows": 50})


@settings(max_examples=150)
@given(mutated([{"rows": [ROW, ROW]}]), mutated([orjson.loads(TENSORS)]))
def test_no_body_is_a_failure_of_ours(shared: Line, table: bytes, tensors: bytes) -> None:
    """Whatever a near-valid request has wrong, the status is 4xx; what is answered is in the log."""
    for path, body in (("/predict", table), ("/v2/models/people/infer", tensors)):
        before = shared.pipeline.log.frames if shared.pipeline.log else 0
        answer = shared.call("POST", path, body)
        assert answer.status in (200, 400, 413, 422), (answer.status, answer.body, body)
        json.loads(answer.body)
        assert shared.pipeline.log is not None
        assert shared.pipeline.log.frames - before == (answer.status == 200)


@given(
    st.dictionaries(
        st.sampled_from(
            ["x_request_id", "x_routing_key", "traceparent", "content_encoding", "content_length", "content_type"]
        ),
        st.text(st.characters(max_codepoint=255)),
    )
)
def test_no_header_is_a_failure_of_ours(shared: Line, headers: dict[str, str]) -> None:
    """Whatever it holds."""
    assert shared.call("POST", "/predict", ROWS, **headers).status in (200, 400, 413, 415)


# Load, time, failures


def test_more_than_the_limit_at_once_are_told_to_wait(tmp_path: Path) -> None:
    """429 with Retry-After; the one under way is answered, and so is the next."""
    line = Line(tmp_path, {"people": {"1": people_model()}}, limits={"concurrency": 1})

    async def both():
        slow = asyncio.create_task(line.acall("POST", "/predict", rows(city="Nod")))
        while not read(line.board.path).in_flight:
            await asyncio.sleep(0)
        return await line.acall("POST", "/predict", ROWS), await slow

    refused, answered = asyncio.run(both())
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert "1 requests are under way" in refused.json["detail"]
    assert answered.status == 200
    assert line.call("POST", "/predict", ROWS).status == 200


def test_a_slow_model_meets_the_deadline(tmp_path: Path) -> None:
    """504 in time and without a record; other requests go on, and the late result is dropped."""
    models = {"people": {"1": people_model()}, "quick": {"1": people_model()}}
    line = Line(tmp_path, models, limits={"deadline_seconds": 0.1})
    line.router.routes["quick"].stable.expected_ns[1] = 0

    async def run():
        late = await line.acall("POST", "/predict/people", rows(city="Nod"))
        fine = await line.acall("POST", "/predict/quick", ROWS)
        under_way = read(line.board.path).in_flight
        while read(line.board.path).in_flight:  # the late call gives its mark back
            await asyncio.sleep(0.01)
        return late, fine, under_way

    late, fine, under_way = asyncio.run(run())
    assert late.status == 504
    assert late.json["detail"] == "Model people:1 did not answer within 0.1 s."
    assert (fine.status, under_way) == (200, 1)
    assert [record.model for record in line.records()] == ["quick"]


@pytest.mark.parametrize("path", ["/predict", "/v2/models/people/infer"])
@pytest.mark.parametrize("inline", [True, False])
def test_a_model_that_raises_is_500_without_a_trace(
    line: Line, path: str, inline: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """One sentence to the caller, the details to the log; the next request is answered."""
    if inline:
        line.router.routes["people"].stable.expected_ns[1] = 0
    body = {"/predict": rows(city="Troy")}.get(path, TENSORS.replace(b"Bern", b"Troy"))
    failed = line.call("POST", path, body)
    assert failed.status == 500
    sentence = "Model people:1 raised ValueError on these inputs; the server's log has the details."
    assert failed.json.get("detail", failed.json.get("error")) == sentence
    assert b"Traceback" not in failed.body and b"secret" not in failed.body
    assert failed.headers["x-model-version"] == "1"
    assert any("secret value 42" in str(record.exc_info) for record in caplog.records)
    assert line.records() == []
    assert line.call("POST", path, {"/predict": ROWS}.get(path, TENSORS)).status == 200
    assert (
        line.counts()[1][
            Labels(
                "people",
                "1",
                "stable",
                path if path == "/predict" else "/v2/models/{model}/infer",
                "POST",
                500,
                "prediction_failed",
            )
        ].requests
        == 1
    )


def test_a_models_own_timeout_is_no_deadline(line: Line) -> None:
    """It failed, and at once."""
    assert line.call("POST", "/predict", rows(city="Cron")).status == 500


def test_an_unknown_output_is_the_callers_mistake(line: Line) -> None:
    """400 with the names that there are."""
    refused = line.call(
        "POST", "/v2/models/people/infer", orjson.dumps(orjson.loads(TENSORS) | {"outputs": [{"name": "p"}]})
    )
    assert refused.status == 400
    assert refused.json["error"] == "The model has no output 'p'; ask for predict."


def test_a_value_that_only_the_model_can_judge_is_the_callers_mistake(tmp_path: Path) -> None:
    """A date that is none passes the parser and is still not a failure of ours."""
    from serinus.models import Field, Signature, wrap

    dated = Signature((Field("day", "BYTES", (-1,), frame_dtype="datetime64[ns]"),), (Field("y", "INT64", (-1,)),))
    line = Line(tmp_path, {"m": {"1": wrap(lambda frame: frame["day"].dt.year.to_numpy(), signature=dated)}})
    assert line.call("POST", "/predict", b'{"rows": [{"day": "2024-05-06"}]}').json["predictions"] == [{"y": 2024}]
    refused = line.call("POST", "/predict", b'{"rows": [{"day": "soon"}]}')
    assert refused.status == 422
    assert "Input 'day'" in refused.json["detail"]


def test_a_mistake_of_ours_is_a_sentence(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever breaks inside, the caller gets JSON and the log the trace."""
    line.pipeline.log.append = None  # type: ignore[union-attr, assignment, method-assign]
    failed = line.call("POST", "/predict", ROWS)
    assert (failed.status, failed.json["detail"]) == (500, "The server failed unexpectedly; its log has the details.")
    assert any(record.levelno == logging.ERROR and record.exc_info for record in caplog.records)


def test_a_rollouts_choices_are_events_if_wanted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Which version, why, and the key's hash; only while a rollout divides the traffic, and only by the setting."""
    caplog.set_level(logging.INFO, logger="serinus.events")
    models = {"people": {"1": people_model(), "2": people_model("2")}}
    for wanted in (False, True):
        line = Line(tmp_path / str(wanted), models, telemetry={"flag_events": wanted})
        line.call("POST", "/predict", ROWS)
        line.serve("people", Target("1", "2", 10_000, "s", ()))
        answer = line.call("POST", "/predict", ROWS, x_routing_key="ana")
        line.close()
        events = [record.__dict__ for record in caplog.records if record.name == "serinus.events"]
        assert len(events) == wanted
    (event,) = events
    assert event["event_name"] == "feature_flag.evaluation"
    assert event["trace_id"] == answer.headers["traceparent"].split("-")[1]
    assert event["attributes"] | {"feature_flag.context.id": ""} == {
        "feature_flag.key": "people", "feature_flag.result.variant": "2", "feature_flag.result.reason": "split",
        "feature_flag.provider.name": "serinus", "feature_flag.context.id": ""}
    assert len(event["attributes"]["feature_flag.context.id"]) == 16
