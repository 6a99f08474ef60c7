"""Log lines: for people or machines, with the trace that they belong to, on stderr and over OTLP."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator

import pytest

from serinus.serving.telemetry import within
from serinus.serving.telemetry.logs import ConsoleFormatter, JsonFormatter, emit_event, of_request, set_up_logging
from tests.serving.telemetry.receivers import Receiver
from tests.serving.telemetry.traces import ANSWERED

IDS = ANSWERED.ids
TRACE, SPAN = f"{IDS.trace_id:032x}", f"{IDS.span_id:016x}"


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """The process's own logging is as before afterwards."""
    ours, root = logging.getLogger("serinus"), logging.getLogger()
    before = ours.handlers[:], ours.propagate, ours.level, root.handlers[:]
    yield
    for handler in ours.handlers:
        handler.close()
    for name in ("serinus.test", "theirs"):
        logging.getLogger(name).handlers[:], logging.getLogger(name).propagate = [], True
    ours.handlers[:], ours.propagate, root.handlers[:] = before[0], before[1], before[3]
    ours.setLevel(before[2])


def written(formatter: logging.Formatter, log: logging.Logger) -> io.StringIO:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    log.handlers[:], log.propagate = [handler], False
    return stream


def test_a_json_line_is_one_object() -> None:
    """Time, level, logger, message, extras; an exception with its trace; nothing breaks the line."""
    log = logging.getLogger("serinus.test")
    stream = written(JsonFormatter(), log)
    log.warning("two\nlines of %s", "text", extra={"model": "wine", "odd": {1, 2}})
    try:
        raise ValueError("x")
    except ValueError:
        log.exception("failed", extra=of_request(IDS))
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["level"], first["logger"], first["message"]) == ("WARNING", "serinus.test", "two\nlines of text")
    assert first["model"] == "wine" and "trace_id" not in first
    assert (second["trace_id"], second["span_id"]) == (TRACE, SPAN)
    assert second["exception"].endswith("ValueError: x")


def test_a_line_of_a_users_function_knows_its_request() -> None:
    """By the current span, wherever the line is logged."""
    log = logging.getLogger("theirs")
    stream = written(JsonFormatter(), log)
    within(IDS, log.error, "inside")
    log.error("outside")
    inside, outside = map(json.loads, stream.getvalue().splitlines())
    assert (inside["trace_id"], inside["span_id"]) == (TRACE, SPAN)
    assert "trace_id" not in outside


def test_a_console_line_ends_with_its_trace() -> None:
    """A trace back follows below; lines of no request have nothing added."""
    log = logging.getLogger("serinus.test")
    stream = written(ConsoleFormatter("%(levelname)s %(message)s"), log)
    log.info("no")
    log.error("one", extra=of_request(IDS))
    try:
        raise ValueError("x")
    except ValueError:
        log.exception("two", extra=of_request(IDS))
    log.error("three")
    lines = stream.getvalue().splitlines()
    assert lines[0] == f"ERROR one [trace {TRACE}]"
    assert lines[1:3] == [f"ERROR two [trace {TRACE}]", "Traceback (most recent call last):"]
    assert lines[-1] == "ERROR three"


def test_set_up_leaves_a_users_root_logger_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the root logger has handlers they stay; our lines are written once."""
    root = logging.getLogger()
    mine = logging.NullHandler()
    root.handlers[:] = [mine]
    set_up_logging("json", {})
    logging.getLogger("serinus.test").info("once")
    assert root.handlers == [mine]
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["once"]
    root.handlers[:] = []
    set_up_logging("json", {})
    logging.getLogger("theirs").warning("theirs")
    assert json.loads(capsys.readouterr().err)["message"] == "theirs"


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_lines_and_events_arrive_over_otlp(monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    """With body, severity, trace, attributes and event name, as a receiver that nobody here wrote decodes them."""
    with Receiver(protocol) as receiver:
        for name, value in (receiver.environ | {"OTEL_LOGS_EXPORTER": "otlp"}).items():
            monkeypatch.setenv(name, value)
        set_up_logging("json", {"service.name": "wine"})
        logging.getLogger("serinus.test").error("late", extra=of_request(IDS))
        emit_event("serinus.rollout.promoted", "wine: promoted 3", {"serinus.model.name": "wine", "weight": 1.0})
        for handler in logging.getLogger("serinus").handlers:
            handler.close()
    late, promoted = receiver.log_records
    assert (late.body.string_value, late.severity_text, late.severity_number) == ("late", "ERROR", 17)
    assert (late.trace_id.hex(), late.span_id.hex(), late.event_name) == (TRACE, SPAN, "")
    assert (promoted.event_name, promoted.body.string_value) == ("serinus.rollout.promoted", "wine: promoted 3")
    found = {field.key: field.value for field in promoted.attributes}
    assert (found["serinus.model.name"].string_value, found["weight"].double_value) == ("wine", 1.0)
    assert promoted.trace_id == b""


def test_a_dead_collector_delays_the_end_by_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is raised where lines are logged."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "otlp")
    set_up_logging("json", {})
    logging.getLogger("serinus.test").error("lost")
    started = time.monotonic()
    for handler in logging.getLogger("serinus").handlers:
        handler.close()
    assert time.monotonic() - started < 4
