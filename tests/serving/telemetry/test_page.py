"""The telemetry chapter of serving/README.md: every name that is sent is on it, and none that is not."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from serinus.serving import create_app
from serinus.serving.board import Board, Labels
from serinus.serving.ground_truth.published import publish as publish_ground_truth
from serinus.serving.monitoring import MonitorFiles
from serinus.serving.performance.published import publish as publish_performance
from serinus.serving.published_alerts import publish
from serinus.serving.rollout import Phase, Plan, RolloutRecord
from serinus.serving.settings import LogSettings, Settings, TelemetrySettings
from serinus.serving.shadow.pairs import PairCounts
from serinus.serving.shadow.published import ShadowFiles
from serinus.serving.snapshot import publish_snapshot
from serinus.serving.telemetry import Trace, names
from serinus.serving.telemetry.encoder import TraceEncoder
from serinus.serving.telemetry.metrics import collect
from serinus.serving.telemetry.otlp import decode, envelope, request_body
from tests.serving.asgi import ROW, people_model
from tests.serving.profiles import watched
from tests.serving.telemetry.receivers import Receiver
from tests.serving.telemetry.traces import ANSWERED, DETAILED, FAILED, REFUSED, SHARED

NO_NAMES = {names.SCOPE, names.PROVIDER, names.DEFAULT_SERVICE_NAME, names.ROLLOUT_EVENTS, names.FLAG_EVENT,
            names.ALERT_EVENTS, names.RETRAINING_EVENTS}
TYPES = {"string_value": "string", "int_value": "int", "double_value": "double"}
SECRET = "Mnemosyne-4711"
VERSION = {names.MODEL_NAME, names.MODEL_VERSION, names.ROLE}
REQUEST = {names.HTTP_METHOD, names.HTTP_ROUTE, names.HTTP_STATUS, names.ERROR_TYPE, *VERSION}
STEPS = DETAILED._replace(steps=(("scale", DETAILED.marks.predict_started_ns + 10),))


@pytest.fixture(scope="module")
def chapter(checkout: Path) -> str:
    found = re.search(r"^## Telemetry\n(.*?)(?=^## )", (checkout / "serving" / "README.md").read_text("utf-8"),
                      re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def table(chapter: str, head: str) -> dict[str, list[str]]:
    """The rows of the table whose first heading is `head`, by their first cell."""
    found = re.search(rf"^\| {head} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", chapter, re.MULTILINE)
    assert found, f"there is no table of each {head}"
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found[1].splitlines()]
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0].strip("`"): row[1:] for row in rows}


def sent() -> list[Span]:
    """Spans of requests of every kind, as they leave."""
    encoder = TraceEncoder()
    done: list[Trace] = [ANSWERED, DETAILED, SHARED, FAILED, REFUSED, STEPS, FAILED._replace(detail="error")]
    (scope,) = decode(request_body(envelope({}, "1"), map(encoder.encode, done))).resource_spans[0].scope_spans
    return list(scope.spans)


def attributes(span: Span) -> dict[str, str]:
    return {pair.key: TYPES[pair.value.WhichOneof("value")] for pair in span.attributes}


def test_every_name_is_on_the_page(chapter: str) -> None:
    """Every constant of `names.py` has its line in one table, and no line names what is gone."""
    known = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)} - NO_NAMES
    told = [name for head in ("attribute", "attribute of metrics only", "attribute of events only")
            for name in table(chapter, head)]
    resource = re.search(r"^### Resource\n(.*?)^### ", chapter, re.MULTILINE | re.DOTALL)
    assert resource
    assert sorted(told + list(table(resource[1], "attribute"))) == sorted(known)


def test_every_span_is_on_the_page(chapter: str) -> None:
    """Names that hold a route, a model or a step stand as templates."""
    told = table(chapter, "span")
    assert set(told) == {"POST {route}", "predict {model}", "step {name}", *names.STAGES}
    patterns = [re.escape(name).replace(r"\{route\}", "/.+").replace(r"\{model\}", ".+").replace(r"\{name\}", ".+")
                for name in told]
    seen = {pattern for span in sent() for pattern in patterns if re.fullmatch(pattern, span.name)}
    assert seen == set(patterns)
    assert all(any(re.fullmatch(pattern, span.name) for pattern in patterns) for span in sent())


def test_every_attribute_of_a_span_has_its_type_and_place(chapter: str) -> None:
    """What is encoded is what is said: the type, and on which spans."""
    told: Any = table(chapter, "attribute")
    seen: dict[str, set[str]] = {}
    for span in sent():
        for name, kind in attributes(span).items():
            assert told[name][0] == kind, name
            seen.setdefault(name, set()).add("server" if span.kind == Span.SPAN_KIND_SERVER else
                                             "`predict {model}`" if span.name.startswith("predict ") else "stage")
    assert set(seen) | {names.SHADOW_DISAGREES} == set(told)  # sent by the shadow's process alone, see its own test
    for name, where in seen.items():
        expected = {"server", "`predict {model}`", "stage"} if name == names.ERROR_TYPE else set(
            told[name][1].split(", "))
        assert where == expected, name


def test_every_metric_has_its_kind_unit_and_attributes(chapter: str, tmp_path: Path) -> None:
    """As they are collected from a board on which everything was counted once."""
    told = table(chapter, "metric")
    assert {name: tuple(row[:2]) for name, row in told.items()} == {
        name: (instrument.kind, instrument.unit) for name, instrument in names.METRICS.items()}
    for family in collect(filled(tmp_path), tmp_path / "snapshot.json", 1.0):
        assert family.points, family.name
        seen = {name for point in family.points for name in point.attributes}
        assert seen == described(told[family.name][2]), family.name


def filled(folder: Path) -> Path:
    board = Board(folder / "boards")
    for error_type in ("", "timeout"):
        base = board.base(Labels("wine", "1", "stable", "/predict", "POST", 500 if error_type else 200, error_type))
        board.count(base, 1000, 1, 500)
        board.count_shared(base, 10, 2)
    board.tally("violations", "wine", "missing")
    board.tally("predictions", "wine", "1", "stable", "red")
    board.tally("referred", "wine", "1", "novel_row")
    board.tally("rounded", "wine", "1")
    board.tally("signals", "wine", "1", "boundary")
    board.tally("load_ns", "wine", "1")
    board.observe(board.values_base("wine", "1", "stable"), [(3, 1)])
    board.level("memory", "wine", "1", amount=1)
    running = RolloutRecord("wine", 5, "r1", Phase.CANARY, Plan((500, 5000)), step_id="s", weight=500, stable="1",
                            candidate="2", salt="5a17")
    publish_snapshot(folder / "snapshot.json", {"wine": running})
    publish(folder, {"alerts": [{"model": "wine", "state": "firing"}, {"model": "beer", "state": "resolved"}],
                     "silences": [], "counts": {}, "notifications": {
                         "log": {"delivered": 3, "failures": 1, "given_up": 0, "waiting": 0}}})
    MonitorFiles(folder / "monitors").publish(watched("wine"))
    measured = {"accuracy": {"value": 0.9}}
    publish_performance(folder / "performance", {"model": "wine", "versions": [{
        "version": "1", "role": "stable", "harm": {"evidence": 0.1},
        "windows": [{"measures": measured, "estimate": measured}]}]})
    publish_ground_truth(folder, {"models": {"wine": {"windows": [{
        "window": "2026-01-01T00:00:00Z", "version": "1", "role": "stable", "predictions": 4,
        "events": {"click": [1, 1, 1.0]}}]}}})
    (folder / "events.json").write_text('{"format": 1, "sent": 4, "dropped": 2}')
    board.tally("shadow_copies", "wine", "2")
    board.tally("shadow_dropped", "wine", "2", "full")
    board.level("shadow_share", "wine", "2", amount=1000)
    (folder / "shadow").mkdir()
    ShadowFiles(folder / "shadow").publish([PairCounts("r1", "wine", "1", "2", ("red",), pairs=1)], {})
    ShadowFiles(folder / "shadow").note_death("r1", "wine", "2")
    _kept.append(board)
    return folder / "boards"


_kept: list[Board] = []


def described(cell: str) -> set[str]:
    """The attributes that a metric's cell says."""
    more, _, less = cell.partition("without")
    found = REQUEST if "the request's" in more else VERSION if "the version's" in more else set()
    return (found | set(re.findall(r"`([^`]+)`", more))) - set(re.findall(r"`([^`]+)`", less))


def test_every_event_is_on_the_page(chapter: str) -> None:
    """With the attributes that have names of their own."""
    told = table(chapter, "event")
    assert set(told) == {f"{names.ROLLOUT_EVENTS}.{{kind}}", f"{names.ALERT_EVENTS}.{{event}}",
                         f"{names.RETRAINING_EVENTS}.{{kind}}", names.FLAG_EVENT}
    assert {names.MODEL_NAME, names.MODEL_VERSION, names.ALERT_ID, names.ALERT_KIND, names.ALERT_SEVERITY} == set(
        re.findall(r"`([^`]+)`", told[f"{names.ALERT_EVENTS}.{{event}}"][1]))
    assert {names.MODEL_NAME, names.ACTOR, names.REASON, names.PHASE} <= set(
        re.findall(r"`([^`]+)`", told[f"{names.ROLLOUT_EVENTS}.{{kind}}"][1]))
    for name in (names.FLAG_KEY, names.FLAG_VARIANT, names.FLAG_REASON, names.FLAG_PROVIDER, names.FLAG_CONTEXT):
        assert name.removeprefix("feature_flag") in told[names.FLAG_EVENT][1]


def test_input_values_are_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those that were predicted for nor those that were refused; nor headers and queries."""
    with Receiver("http/protobuf") as receiver:
        for name, value in (receiver.environ | {"OTEL_BSP_SCHEDULE_DELAY": "10"}).items():
            monkeypatch.setenv(name, value)
        app = create_app({"people": people_model()}, Settings(
            log=LogSettings(enabled=False), telemetry=TelemetrySettings(detail_share=1.0)))
        asyncio.run(_ask(app))
        app.close()
        text = "\n".join(map(str, receiver.requests))
    assert '"serinus.detail"' in text and "invalid_input" in text
    assert SECRET not in text


async def _ask(app: Any) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as client:
        for row in (ROW | {"city": SECRET}, ROW | {"age": SECRET}, ROW | {SECRET: 1}):
            await client.post(f"/predict?q={SECRET}", json={"rows": [row]}, headers={
                "x-routing-key": SECRET, "authorization": f"Bearer {SECRET}"})
