"""What the demo's clients did, held against the server's books: prediction log, metrics, spans, ground truth."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from serinus.serving.demo.collector import Collector, tree
from serinus.serving.demo.commands import Commands
from serinus.serving.demo.crowd import Answer, Client
from serinus.serving.demo.narrator import Narrator
from serinus.serving.demo.patients import Clinic
from serinus.serving.demo.training import MODEL
from serinus.serving.home import Home
from serinus.serving.ids import parse_prediction_id
from serinus.serving.prediction_log import read

__all__ = ["Books"]

_PATIENCE_S, _TRUTHS_S, _LOOK_S = 30.0, 240.0, 0.3


class Books:
    """Keeps every answer, and checks that the server kept it, too."""

    def __init__(self, home: Home, narrator: Narrator) -> None:
        self.refused = 0
        """Requests that were answered with an error, as they should be."""
        self._home = home
        self._narrator = narrator
        self._answers: list[Answer] = []
        self._broken = 0

    def enter(self, answers: Iterable[Answer], broken: int = 0) -> None:
        """Keep answers; `broken` connections may have been answered or not."""
        self._answers += answers
        self._broken += broken

    def tally(self) -> Counter[str]:
        """How many answers each version gave, by their headers."""
        return Counter(answer.version for answer in self._answers)

    def check_log(self) -> None:
        """Every answer there has been is in the prediction log, once, under the version that its header named."""
        wanted = {_uuid(prediction): answer.version for answer in self._answers
                  for prediction in answer.prediction_ids}
        found = Counter((record.prediction_uuid, record.version) for record in read(self._home.log))
        times = Counter(found[each] for each in wanted.items())
        self._narrator.check(
            bool(wanted) and times == {1: len(wanted)} and sum(found.values()) <= len(wanted) + self._broken,
            f"Prediction log: {len(wanted)} predictions answered, {times[1]} found exactly once"
            f"{_by_version(self.tally())}.")

    def check_metrics(self, port: int) -> None:
        """Every request was counted once, whichever worker took it."""
        sent = len(self._answers) + self.refused
        counted = _eventually(lambda: _counted(port), sent)
        self._narrator.check(counted == sent,
                             f"GET /metrics: {sent} requests sent, {counted} counted over both workers.")

    def check_traces(self, collector: Collector | None, first: Answer) -> None:
        """Every request has its SERVER span; the first one's tree is shown."""
        if collector is None:
            self._narrator.line("Traces went to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names: look there.")
            return
        sent = len(self._answers) + self.refused
        arrived = _eventually(lambda: len(collector.server_spans()), sent)
        self._narrator.check(arrived == sent, f"OpenTelemetry: {sent} requests sent, {arrived} SERVER spans arrived. "
                                              "The first:")
        for line in tree(collector.spans(), first.headers["traceparent"].split("-")[1]):
            self._narrator.line(f"  {line}")

    def check_truths(self, commands: Commands, clinic: Clinic, delay_s: float) -> None:
        """The truth of every prediction of the clinic was told and joined, and each version's accuracy is ours."""
        answered, right = clinic.tally(), clinic.right()
        labelled, accurate = _joined(commands, answered.total())
        self._narrator.command(f"serinus feedback {MODEL}")
        self._narrator.check(clinic.told == answered.total() and labelled == answered,
                             f"{answered.total()} predictions; {clinic.told} truths told {delay_s:g} s after each.")
        for version, number in sorted(labelled.items()):
            self._narrator.check(
                round(accurate[version]) == right[version],
                f"Version {version}: {number} truths joined, {accurate[version] / max(number, 1):.1%} right; by our "
                f"own count {right[version]} of {answered[version]}.")


def _joined(commands: Commands, wanted: int) -> tuple[Counter[str], dict[str, float]]:
    """How many truths of each version's predictions are joined, and how many of these were right, as `serinus
    feedback` says; once it is so many as wanted, or when patience ends."""
    deadline = time.monotonic() + _TRUTHS_S
    while True:
        labelled: Counter[str] = Counter()
        accurate: dict[str, float] = defaultdict(float)
        for window in commands.ask("feedback", MODEL)["models"].get(MODEL, {"windows": []})["windows"]:
            if window["labelled"]:
                labelled[window["version"]] += window["labelled"]
                accurate[window["version"]] += window["labelled"] * window["naive_accuracy"]
        if labelled.total() >= wanted or time.monotonic() > deadline:
            return labelled, accurate
        time.sleep(_LOOK_S)


def _by_version(tally: Counter[str]) -> str:
    named = [f"version {version}: {number}" for version, number in sorted(tally.items())]
    return f" ({', '.join(named)})" if len(named) > 1 else ""


def _uuid(prediction: str) -> bytes:
    parsed = parse_prediction_id(prediction)
    return parsed.uuid if parsed is not None else b""


def _counted(port: int) -> int:
    """The requests of inference that `/metrics` has counted."""
    client = Client(port)
    try:
        return sum(_samples(client.get("/metrics")))
    finally:
        client.close()


def _samples(text: str) -> Iterator[int]:
    for line in text.splitlines():
        if line.startswith("http_server_request_duration_seconds_count{"):
            yield int(float(line.rpartition(" ")[2]))


def _eventually(look: Callable[[], int], wanted: int) -> int:
    """What `look` says once it says `wanted`, or when patience ends: counts and spans may trail the answers."""
    deadline = time.monotonic() + _PATIENCE_S
    while (found := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
