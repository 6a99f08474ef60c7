"""Clients: limits, and signals of probing."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serinus.monitors.profile import Profile
from serinus.monitors.security import Baseline
from serinus.serving.board import Board
from serinus.serving.home import RunFolder
from serinus.serving.security import Security
from serinus.serving.settings import Settings
from tests.serving.asgi import Line
from tests.serving.probing import WIDTH, bisections, body, credit_baseline, credit_line, credit_profile, honest
from tests.serving.test_answering import tallies


@pytest.fixture(scope="module")
def profile() -> Profile:
    return credit_profile()


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return credit_baseline()


@pytest.fixture
def line_of(tmp_path: Path, profile: Profile, baseline: Baseline) -> Iterator[Any]:
    lines: list[Line] = []

    def make(*, known: bool = True, **security: Any) -> Line:
        lines.append(credit_line(tmp_path, profile, baseline if known else None, security=security))
        return lines[-1]

    yield make
    for line in lines:
        line.close()


def taught(line: Line) -> Line:
    """The line once it knows what honest rows are like."""
    security = line.pipeline.security
    assert security is not None
    deadline = time.monotonic() + 20
    seed = 100
    while security.learning and time.monotonic() < deadline:
        line.call("POST", "/predict", body(honest(32, seed)))
        seed += 1
    assert not security.learning
    return line


def test_a_client_that_asks_too_fast_is_told_when_to_come_back(line_of: Any) -> None:
    """429 with Retry-After in whole seconds, the protocol's own error, counted as rate_limited; others go on."""
    line = line_of(requests_per_second=0.25, burst=2, client_header="X-Client")
    answers = [line.call("POST", "/predict", body(honest(1, seed=3)), x_client="ana") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].headers["retry-after"] in ("4", "3")
    assert "asks faster than it may" in answers[2].json["detail"]
    assert line.call("POST", "/predict", body(honest(1, seed=3)), x_client="ben").status == 200
    refused = [labels for labels in line.counts()[1] if labels.error_type == "rate_limited"]
    assert [labels.status for labels in refused] == [429]


@pytest.mark.parametrize(("first", "second", "same"), [
    ({"x_client": "ana"}, {"x_client": "ben"}, False),
    ({"x_client": "ana", "authorization": "Bearer 1"}, {"x_client": "ana", "authorization": "Bearer 2"}, True),
    ({"authorization": "Bearer 1"}, {"authorization": "Bearer 2"}, False),
    ({}, {}, True),
])
def test_who_is_the_same_client(line_of: Any, first: dict[str, str], second: dict[str, str], same: bool) -> None:
    """The gateway's header goes before Authorization, that before the address."""
    line = line_of(requests_per_second=0.01, burst=1, client_header="X-Client")
    row = body(honest(1, seed=3))
    assert line.call("POST", "/predict", row, **first).status == 200
    assert line.call("POST", "/predict", row, **second).status == (429 if same else 200)


def test_a_boundary_search_is_logged_and_counted_but_not_refused(
        line_of: Any, caplog: pytest.LogCaptureFixture) -> None:
    """One warning per kind of signal, with the client's hash and no name; the answers go on."""
    line = taught(line_of(look_share=0.2, client_header="X-Client"))
    with caplog.at_level(logging.WARNING, "serinus.security"):
        statuses = {line.call("POST", "/predict", body(row[None]), x_client="mallory").status
                    for row in bisections(20)}
    assert statuses == {200}
    told = tallies(line, "signals")
    assert {("credit", "1", "near_duplicates"), ("credit", "1", "tiny_steps")} <= told.keys()
    sentences = [record.getMessage() for record in caplog.records]
    assert len(sentences) == len(told)
    assert sentences[0].endswith("A signal, no proof.") and "of credit:1 may be probing it" in sentences[0]
    assert not any("mallory" in sentence for sentence in sentences)


def test_without_a_reference_it_is_learnt_what_is_usual(line_of: Any) -> None:
    """From the first 2,000 live rows; nobody is told of before, and a search is seen after that."""
    line = line_of(known=False, look_share=1.0)
    for row in bisections(3):
        line.call("POST", "/predict", body(row[None]))
    assert tallies(line, "signals") == {}
    taught(line)
    for row in bisections(3):
        line.call("POST", "/predict", body(row[None]))
    assert ("credit", "1", "near_duplicates") in tallies(line, "signals")


def test_honest_clients_are_not_told_of(line_of: Any) -> None:
    """Ten clients with sixty rows each, all looked at, single and in batches."""
    line = taught(line_of(look_share=1.0, client_header="X-Client"))
    for client in range(10):
        rows = honest(60, seed=60 + client)
        for row in rows[:20]:
            line.call("POST", "/predict", body(row[None]), x_client=f"c{client}")
        line.call("POST", "/predict", body(rows[20:]), x_client=f"c{client}")
    assert tallies(line, "signals") == {}


def test_random_rows_in_large_requests_are_seen(line_of: Any) -> None:
    """Rows drawn from nowhere, 200 at a time: some of each request are looked at, and they are unlike the reference."""
    line = taught(line_of(look_share=1.0))
    for seed in range(3):
        line.call("POST", "/predict", body(np.random.default_rng(seed).uniform(-6, 6, (200, WIDTH))))
    assert ("credit", "1", "synthetic_rows") in tallies(line, "signals")


def test_a_failing_signal_does_not_fail_an_answer(line_of: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What only remarks falls silent, with one line in the log."""
    line = line_of()
    line.router.routes["credit"].stable.watch.profile = None
    assert line.call("POST", "/predict", body(honest(1, seed=3))).status == 200
    assert line.call("POST", "/predict", body(honest(1, seed=3))).status == 200
    assert [record.message for record in caplog.records if record.name == "serinus.security"] == [
        "Security signals failed; this worker gives none any more"]


@pytest.mark.parametrize(("settings", "wanted"), [
    ({}, True), ({"security": {"signals": False}}, False), ({"monitors": {"enabled": False}}, False),
    ({"security": {"signals": False, "requests_per_second": 5.0}}, True)])
def test_without_signals_and_limits_clients_are_not_known(tmp_path: Path, settings: dict[str, Any],
                                                          wanted: bool) -> None:
    """Then the request line has nothing to ask, and no secret is made."""
    run, home = RunFolder(tmp_path / "run"), tmp_path / "home"
    found = Security.wanted(Settings.model_validate({"home": home, **settings}), Board(run.boards), run,
                            lambda model, digest: None)
    assert (found is not None) == wanted == home.exists()
    if found is not None:
        found.close()
