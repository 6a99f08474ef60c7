"""The metrics page: valid to Prometheus' own parser, and exact over all workers, dead ones included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from serinus.serving.board import BOUNDS_NS, VALUE_BOUNDS, Board, Labels, adopt, read_all
from serinus.serving.ground_truth.published import publish as publish_ground_truth
from serinus.serving.published_alerts import publish
from serinus.serving.rollout import Phase, Plan, RolloutRecord
from serinus.serving.snapshot import publish_snapshot
from serinus.serving.telemetry.metrics import Point, collect, exposition, prometheus_name
from serinus.serving.telemetry.names import METRICS

OK = Labels("wine", "1", "stable", "/predict/{model}", "POST", 200, "")
TENSOR = OK._replace(route="/v2/models/{model}/infer")
CANDIDATE = OK._replace(version="2", role="candidate")
FAILED = OK._replace(status=500, error_type="prediction_failed")
TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736
REFUSED = Labels("", "", "", "/predict", "POST", 400, "invalid_request")


def scrape(folder: Path) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(exposition(collect(folder)).decode())}


def value(family: Metric, sample: str, **labels: str) -> float:
    (found,) = [each.value for each in family.samples if each.name == sample and labels.items() <= each.labels.items()]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two living workers, and one that died and was adopted, each with 1, 2 and 4 times the same counts."""
    boards = [Board(tmp_path) for _ in range(3)]
    for board, times in zip(boards, (1, 2, 4), strict=True):
        for _ in range(times):
            board.count(board.base(OK), 1_500_000, 3, 200_000)
            board.count(board.base(TENSOR), 30_000_000_000, 5, 20_000_000_000)
            board.count(board.base(CANDIDATE), 10_000_000, 7, 1_000_000)
            board.count(board.base(FAILED), 700_000, 0, 100_000)
            board.count(board.base(REFUSED), 90_000, 0, -1)
            board.count_shared(board.base(CANDIDATE), 700_000, 12)
            board.tally("violations", "wine", "unexpected_field", amount=2)
            board.tally("load_ns", "wine", "1", amount=1_500_000_000)
        board.observe(board.values_base("price", "1", "stable"), [(0, times), (30, 1), (51, 1)])
        board.level("memory", "wine", "1", amount=5)
        board.level("memory", "wine", "1", amount=10 * times)
        board.level("memory", "wine", "0", amount=0)
        board.exemplify(board.base(OK), TRACE, 7, 1_500_000, 1_750_000_000_000_000_000 + times)
        board.active(times)
        board.log_counts(10 * times, 1000 * times)
        board.log_failed()
        board.load_failed()
        board.span_counts(20 * times, 2 * times)
        board.begin(1, 1)
        board.beat(ready=times != 2, generation=1)
    boards[2].close()
    adopt(boards[2].path)
    _alive.extend(boards[:2])
    return tmp_path


_alive: list[Board] = []


def test_the_page_is_valid_and_complete(folder: Path) -> None:
    """Every metric of the page of names, with its help and its type, once."""
    found = scrape(folder)
    assert {prometheus_name(name, instrument) for name, instrument in METRICS.items()} == set(found)
    for name, instrument in METRICS.items():
        family = found[prometheus_name(name, instrument)]
        assert (family.documentation, family.type) == (instrument.about, instrument.kind)


def test_requests_add_up_over_living_and_dead_workers(folder: Path) -> None:
    """1 + 2 + 4 of each, with their labels; the parts of a histogram agree."""
    requests = scrape(folder)["http_server_request_duration_seconds"]
    for labels in (OK, TENSOR, CANDIDATE, FAILED, REFUSED):
        wanted = {
            "http_route": labels.route,
            "http_response_status_code": str(labels.status),
            "http_request_method": "POST",
            **({"error_type": labels.error_type} if labels.error_type else {}),
            **({"serinus_model_version": labels.version} if labels.version else {}),
        }
        assert value(requests, "http_server_request_duration_seconds_count", **wanted) == 7
        assert value(requests, "http_server_request_duration_seconds_bucket", le="+Inf", **wanted) == 7
    assert value(
        requests,
        "http_server_request_duration_seconds_sum",
        http_route=OK.route,
        serinus_model_version="1",
        http_response_status_code="200",
    ) == pytest.approx(7 * 0.0015, rel=1e-12)


def test_buckets_are_cumulative_and_in_seconds(folder: Path) -> None:
    """1.5 ms lies above 1 ms and at 2.5 ms; 30 s only in +Inf."""
    samples = [
        each
        for each in scrape(folder)["http_server_request_duration_seconds"].samples
        if each.name.endswith("_bucket")
        and each.labels.get("serinus_model_version") == "1"
        and each.labels["http_response_status_code"] == "200"
    ]
    short = {each.labels["le"]: each.value for each in samples if each.labels["http_route"] == OK.route}
    long = {each.labels["le"]: each.value for each in samples if each.labels["http_route"] == TENSOR.route}
    assert len(short) == len(BOUNDS_NS) + 1
    assert [float(bound) for bound in short] == sorted(float(bound) for bound in short)
    assert (short["0.001"], short["0.0025"], short["10.0"]) == (0, 7, 7)
    assert (long["10.0"], long["+Inf"]) == (0, 7)


def test_predict_times_are_by_version(folder: Path) -> None:
    """Over all routes and statuses; a request without a predict call has none."""
    predicts = scrape(folder)["serinus_predict_duration_seconds"]
    assert value(predicts, "serinus_predict_duration_seconds_count", serinus_model_version="1") == 21
    assert value(predicts, "serinus_predict_duration_seconds_count", serinus_model_version="2") == 7
    assert value(predicts, "serinus_predict_duration_seconds_sum", serinus_model_version="1") == pytest.approx(
        7 * (0.0002 + 20 + 0.0001), rel=1e-12
    )


def test_rows_and_counters_are_exact(folder: Path) -> None:
    """Rows of answered requests only; the counters of all lives."""
    found = scrape(folder)
    assert {
        (each.labels["http_route"], each.labels["serinus_model_version"]): each.value
        for each in found["serinus_rows"].samples
    } == {(OK.route, "1"): 21, (TENSOR.route, "1"): 35, (OK.route, "2"): 49}
    counters = {
        name: value(found[f"serinus_{name}"], f"serinus_{name}_total")
        for name in ("log_frames", "log_bytes", "log_failures", "spans_exported", "spans_dropped", "load_failures")
    }
    assert counters == {
        "log_frames": 70,
        "log_bytes": 7000,
        "log_failures": 3,
        "spans_exported": 140,
        "spans_dropped": 14,
        "load_failures": 3,
    }


def test_gauges_are_of_the_living(folder: Path) -> None:
    """A dead worker is neither ready nor busy; one of the two living ones is not ready."""
    found = scrape(folder)
    assert value(found["serinus_in_flight"], "serinus_in_flight") == 2
    assert value(found["serinus_workers"], "serinus_workers") == 1


def test_shared_calls_violations_and_loading_add_up(folder: Path) -> None:
    """Over all lives, by version or by model and kind."""
    found = scrape(folder)
    queue, batch = found["serinus_queue_duration_seconds"], found["serinus_batch_rows"]
    assert value(queue, "serinus_queue_duration_seconds_count", serinus_model_version="2") == 7
    assert value(queue, "serinus_queue_duration_seconds_sum", serinus_model_version="2") == pytest.approx(7 * 0.0007)
    assert value(batch, "serinus_batch_rows_bucket", le="8.0") == 0
    assert value(batch, "serinus_batch_rows_bucket", le="16.0") == 7
    assert value(found["serinus_violations"], "serinus_violations_total", serinus_model_name="wine",
                 serinus_violation_kind="unexpected_field") == 14
    assert value(found["serinus_load_duration_seconds"], "serinus_load_duration_seconds_total",
                 serinus_model_version="1") == pytest.approx(10.5)


def test_values_of_predictions_add_up(folder: Path) -> None:
    """Over all lives; without a sum, since OpenMetrics allows none beside negative bounds."""
    values = scrape(folder)["serinus_prediction_value"]
    of_price = {"serinus_model_name": "price", "serinus_model_version": "1", "serinus_role": "stable"}
    for bound, number in (("-1000000.0", 7), (repr(VALUE_BOUNDS[29]), 7), (repr(VALUE_BOUNDS[30]), 10), ("+Inf", 13)):
        assert value(values, "serinus_prediction_value_bucket", le=bound, **of_price) == number
    assert value(values, "serinus_prediction_value_count", **of_price) == 13
    assert not [sample for sample in values.samples if sample.name.endswith("_sum")]


def test_memory_is_of_what_the_living_hold(folder: Path) -> None:
    """The last number of each living worker; a version that was let go has none."""
    (held,) = scrape(folder)["serinus_model_memory_bytes"].samples
    assert held.labels == {"serinus_model_name": "wine", "serinus_model_version": "1"}
    assert held.value == 10 + 20


def test_openmetrics_is_valid_and_its_exemplar_names_a_trace(folder: Path) -> None:
    """To the parser of the format's own authors; the latest exemplar of all lives, in the bucket of its value."""
    text = exposition(collect(folder), openmetrics=True).decode()
    families = {family.name: family for family in openmetrics.text_string_to_metric_families(text)}
    requests = families["http_server_request_duration_seconds"]
    (found,) = [sample for sample in requests.samples if sample.exemplar]
    assert (found.labels["le"], found.labels["http_route"]) == ("0.0025", OK.route)
    assert found.exemplar.labels == {"trace_id": f"{TRACE:032x}", "span_id": f"{7:016x}"}
    assert (found.exemplar.value, float(found.exemplar.timestamp)) == (0.0015, 1_750_000_000)
    assert families.keys() == {prometheus_name(name, instrument) for name, instrument in METRICS.items()}


def test_an_exemplar_is_kept_once_a_second(tmp_path: Path) -> None:
    """The first of a second stays; both halves of its trace id come back."""
    board = Board(tmp_path)
    base = board.base(OK)
    for number, now in enumerate((10**18, 10**18 + 10**9 - 1, 10**18 + 10**9)):
        board.exemplify(base, TRACE + number, number, 1, now)
    (_, series), _ = read_all(tmp_path)
    assert (series[OK].exemplar.trace_id, series[OK].exemplar.span_id) == (TRACE + 2, 2)


def test_of_a_killed_worker_only_the_counters_stay(tmp_path: Path) -> None:
    """Before its board is adopted, too: it holds no memory, is not busy and has no process."""
    board = Board(tmp_path)
    board.log_counts(3, 300)
    board.level("memory", "wine", "1", amount=5)
    board.begin(1, 1)
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    board.words[2] = int(done.stdout)  # the word of the owner's pid
    found = {family.name: [point.value for point in family.points] for family in collect(tmp_path)}
    assert found["serinus.log.frames"] == [3]
    assert found["serinus.in_flight"] == found["serinus.workers"] == [0]
    assert found["serinus.model.memory"] == found["process.memory.usage"] == found["process.cpu.time"] == []


def test_processes_and_costs_are_told_of_the_living(folder: Path) -> None:
    """CPU time and memory as the kernel says; CPU time is shared out among versions, and costs what the rate says."""
    families = {family.name: family for family in collect(folder, cost_per_cpu_hour=3.6)}
    (memory, _) = families["process.memory.usage"].points
    assert memory.attributes == {"process.pid": os.getpid()}
    assert 10e6 < float(str(memory.value)) < 10e9
    cpu = {point.attributes["serinus.model.version"]: float(str(point.value))
           for point in families["serinus.cpu.time"].points}
    used = sum(float(str(point.value)) for point in families["process.cpu.time"].points)
    assert cpu["1"] / used == pytest.approx((1.5 + 30_000 + 0.7) / (1.5 + 30_000 + 10 + 0.7 + 0.09),
                                          rel=0.02)  # the second look at the process is a tick later
    costs = {point.attributes["serinus.model.version"]: float(str(point.value))
             for point in families["serinus.cost.per_thousand_rows"].points}
    assert costs["1"] == pytest.approx(cpu["1"] / 3600 * 3.6 * 1000 / 56, rel=0.05)


def test_label_values_are_escaped(tmp_path: Path) -> None:
    """Whatever a label holds, it comes back from the parser."""
    board = Board(tmp_path)
    odd = 'a"b\\c\nd'
    board.count(board.base(OK._replace(route=odd)), 1, 1, 1)
    (sample,) = scrape(tmp_path)["serinus_rows"].samples
    assert sample.labels["http_route"] == odd


def test_no_workers_are_no_error(tmp_path: Path) -> None:
    """A page of zeros."""
    found = scrape(tmp_path / "nothing")
    assert value(found["serinus_workers"], "serinus_workers") == 0
    assert found["http_server_request_duration_seconds"].samples == []


def test_classes_and_rollouts_are_told(tmp_path: Path) -> None:
    """Predictions by class from the boards, a running rollout's weight from the snapshot; a finished one has none."""
    board = Board(tmp_path / "boards")
    board.tally("predictions", "wine", "1", "stable", "red", amount=7)
    running = RolloutRecord("wine", 5, "r1", Phase.CANARY, Plan((500, 5000)), step_id="s", weight=500, stable="1",
                            candidate="2", salt="5a17")
    ended = RolloutRecord("beer", 5, "r1", Phase.PROMOTED, Plan((500,)), weight=0, stable="2", salt="5a17")
    publish_snapshot(tmp_path / "snapshot.json", {"wine": running, "beer": ended})
    families = {family.name: family.points for family in collect(tmp_path / "boards", tmp_path / "snapshot.json")}
    assert families["serinus.predictions"] == [Point({
        "serinus.model.name": "wine", "serinus.model.version": "1", "serinus.role": "stable",
        "serinus.class": "red"}, 7)]
    assert families["serinus.rollout.weight"] == [Point({
        "serinus.model.name": "wine", "serinus.model.version": "2", "serinus.rollout.phase": "canary"}, 0.05)]


def test_outcomes_are_told_for_each_prediction_of_the_last_day(tmp_path: Path) -> None:
    """By version and name: over hours, and without what is older."""
    run = tmp_path / "run"
    (run / "boards").mkdir(parents=True)

    def window(hour: int, version: str, predictions: int, **events: list[float]) -> dict[str, object]:
        return {"window": f"2026-01-{1 + hour // 24:02}T{hour % 24:02}:00:00Z", "version": version, "role": "stable",
                "predictions": predictions, "events": events}

    windows = [window(0, "1", 100, click=[100, 100, 100.0]), *(window(hour, "1", 10, click=[2, 3, 3.0])
                                                               for hour in range(1, 24)),
               window(24, "1", 20, click=[4, 4, 4.0], revenue=[1, 1, 125.0]), window(24, "2", 50)]
    publish_ground_truth(run, {"received": 1, "waiting_bytes": 0, "orphans": 0, "unlogged": 0, "forgotten": 0,
                               "models": {"wine": {"windows": windows}}})
    found = {family.name: {(point.attributes["serinus.outcome"], point.value) for point in family.points}
             for family in collect(run / "boards", run / "snapshot.json") if "outcome" in family.name}
    assert found == {"serinus.outcome.share": {("click", 50 / 250), ("revenue", 1 / 250)},
                     "serinus.outcome.mean": {("click", 73 / 250), ("revenue", 0.5)}}


def test_events_are_told_where_they_are_sent(tmp_path: Path) -> None:
    """As the steward noted them last; nothing where none are sent."""
    home = tmp_path / "run"
    snapshot = home / "snapshot.json"
    (home / "boards").mkdir(parents=True)
    assert [family.points for family in collect(home / "boards", snapshot) if "events" in family.name] == [[], []]
    (home / "events.json").write_text('{"format": 1, "sent": 4, "dropped": 2}')
    assert {family.name: family.points for family in collect(home / "boards", snapshot) if "events" in family.name} == {
        "serinus.events.sent": [Point({}, 4)], "serinus.events.dropped": [Point({}, 2)]}


def test_alerts_and_messages_are_told(tmp_path: Path) -> None:
    """As the steward published them beside the snapshot; a model without an open alert has no points."""
    Board(tmp_path / "boards")
    publish(tmp_path, {"alerts": [{"model": "wine", "state": "firing"}, {"model": "wine", "state": "firing"},
                                  {"model": "beer", "state": "resolved"}], "silences": [], "counts": {},
                       "notifications": {"ops": {"delivered": 3, "failures": 2, "given_up": 1, "waiting": 9}}})
    families = {family.name: family.points for family in collect(tmp_path / "boards", tmp_path / "snapshot.json")}
    assert families["serinus.alerts"] == [
        Point({"serinus.model.name": "wine", "serinus.alert.state": "pending"}, 0),
        Point({"serinus.model.name": "wine", "serinus.alert.state": "firing"}, 2)]
    assert {point.attributes["serinus.notification.outcome"]: point.value
            for point in families["serinus.notifications"]} == {"delivered": 3, "failed": 2, "given_up": 1}
