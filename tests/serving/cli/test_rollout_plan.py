"""`serinus rollout plan` and `simulate`: tables, JSON, the schema, and the rate of a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from serinus.serving.board import Labels
from serinus.serving.cli.traffic import Counts, counts_of_metrics, measure
from serinus.serving.errors import CommandError
from tests.serving.cli.conftest import FakeServer, FakeWorker

_PAGE = """# TYPE http_server_request_duration_seconds histogram
http_server_request_duration_seconds_bucket{serinus_model_name="iris",le="+Inf"} 7
http_server_request_duration_seconds_count{serinus_model_name="iris",http_route="/predict/{model}"} 90
http_server_request_duration_seconds_count{serinus_model_name="iris",error_type="prediction_failed"} 10
http_server_request_duration_seconds_count{serinus_model_name="wine"} 5
http_server_request_duration_seconds_count{} 3
"""


def test_a_plan_is_told_step_by_step(cli: Any) -> None:
    """Each step with what it finds and how it ends, how long all of it takes, and the words of the end."""
    lines = cli("rollout", "plan", "--rate", "100").out.splitlines()
    assert lines[0] == "At 100 requests/s, 1 % of them errors, no ground truth:"
    assert [line.split()[0] for line in lines[2:6]] == ["shadow", "canary", "canary", "canary"]
    assert "1 → 1.83 %" in lines[3] and lines[4].endswith("certified")
    assert lines[6].startswith("In all 40 min. Certified to be no worse, if nothing is wrong. Accuracy is not judged")


def test_a_plan_as_json(cli: Any) -> None:
    """For scripts: what is not found is null, and what helps stands among the remarks."""
    found = cli("rollout", "plan", "--rate", "100", "--labels", "0.2", "--labels-delay", "1800", "--json").json
    assert (found["seconds"], found["steps"][0]["errors"], found["traffic"]["labels_delay_s"]) == (2400, None, 1800)
    assert found["remarks"][0].startswith("The shadow ends before the first ground truth arrives.")


def test_the_schema_fits_what_is_shown(cli: Any, tmp_path: Path) -> None:
    """A plan file that passes the printed schema is accepted."""
    schema = cli("rollout", "plan", "--schema").json
    plan = {"steps": [1, 50], "judgement": {"shadow": 0}}
    assert jsonschema_rs.is_valid(schema, plan)
    path = tmp_path / "plan.yaml"
    path.write_text("steps: [1, 50]\njudgement: {shadow: 0}\n")
    assert cli("rollout", "plan", "--plan", path, "--rate", "5", "--json").json["plan"]["steps"] == [1.0, 50.0]


@pytest.mark.parametrize(("words", "sentence"), [
    (("plan",), "Which model's traffic?"), (("plan", "iris:2", "--measure", "0.1"), "No request for 'iris' came in"),
    (("plan", "--rate", "1", "--steps", "5,1"), "must rise"),
    (("simulate", "iris"), "store.db is missing"),
])
def test_what_cannot_be_planned_is_one_sentence(words: tuple[str, ...], sentence: str, cli: Any, home: Path) -> None:
    """No stack trace, and a hint at what to say."""
    said = cli("rollout", *words)
    assert said.code == 1 and sentence in said.err and said.err.count("\n") == 1


def test_a_made_up_candidate_is_rolled_back(cli: Any) -> None:
    """Seeded: the same words each time."""
    words = ("rollout", "simulate", "--rate", "100", "--candidate-errors", "0.05", "--runs", "3", "--shadow", "0")
    said = cli(*words).out
    assert said.startswith("3 of 3 rolled back, after ") and "The candidate is worse by errors" in said
    assert cli(*words).out == said
    assert [end["phase"] for end in cli(*words, "--json").json] == ["rolling_back"] * 3
    assert cli("rollout", "simulate").code == 2


def test_a_rollout_by_hand_has_nothing_to_replay(cli: Any, home: Path) -> None:
    """Nothing was counted, and that is said."""
    cli("rollout", "start", "iris:2", "--manual")
    assert "has no counts: a person took its steps" in cli("rollout", "simulate", "iris").err


def test_the_rate_comes_from_the_boards(home: Path, worker: FakeWorker) -> None:
    """Two looks at what the workers counted, of this model only."""
    def pass_time(_: float) -> None:
        for error in ("", "", "", "prediction_failed"):
            base = worker._board.base(Labels("iris", "1", "stable", "/predict", "POST", 200, error))
            worker._board.count(base, 1_000_000, 1, -1)
        other = worker._board.base(Labels("wine", "1", "stable", "/predict", "POST", 200, ""))
        worker._board.count(other, 1_000_000, 1, -1)

    found = measure(home, None, "iris", 1.0, sleep=pass_time)
    assert (found.requests, found.errors) == (4, 0.25) and found.rate > 4
    with pytest.raises(CommandError, match="say it with --rate"):
        measure(home, None, "iris", 1.0, sleep=lambda _: None)


def test_the_rate_comes_from_a_servers_metrics() -> None:
    """The same out of Prometheus' text form."""
    assert counts_of_metrics(_PAGE, "iris") == Counts(100, 10)
    assert counts_of_metrics(_PAGE, "nobody") == counts_of_metrics("", "iris") == Counts(0, 0)


def test_a_server_that_is_not_there(server: FakeServer) -> None:
    """Its address stands in the sentence."""
    with pytest.raises(CommandError, match=r"http://127\.0\.0\.1:1 cannot be asked"):
        measure(None, "http://127.0.0.1:1", "iris", 1.0)
