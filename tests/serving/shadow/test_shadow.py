"""One rollout's shadow: every copy becomes a pair, whatever the candidate does with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serinus.models import Field, Signature, wrap
from serinus.serving.ids import IdSource
from serinus.serving.prediction_log import SegmentWriter, read
from serinus.serving.rollout import Judgement, Phase, Plan, RolloutRecord
from serinus.serving.router import Loaded
from serinus.serving.shadow.ledger import ledgers_in, read_ledger
from serinus.serving.shadow.pairs import Answers, PairCounts
from serinus.serving.shadow.published import Mark, ShadowFiles
from serinus.serving.shadow.shadow import Journals, Shadow
from serinus.serving.shadow.slices import LEARNT_FROM, Slices
from serinus.serving.shadow.spans import ShadowSpans
from tests.serving.shadow.copies import SIGNATURE, copy_of, given, texts

RECORD = RolloutRecord("wine", 3, "r1", Phase.SHADOW, Plan((1000,), manual=False, judgement=Judgement()),
                       shadow_weight=1000, stable="1", candidate="2")


PRICES = Signature(SIGNATURE.inputs, (Field("price", "FP64", (-1,)),))


class Cellar:
    """A candidate that calls a wine white from 10 on and fails below 0, with all it writes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, signature: Signature = SIGNATURE) -> None:
        self.folder, self.files = folder, ShadowFiles(folder)
        self.exporter = InMemorySpanExporter()
        monkeypatch.setattr("serinus.serving.shadow.spans._exporter", lambda: self.exporter)
        monkeypatch.setattr("serinus.serving.shadow.spans.BatchSpanProcessor", SimpleSpanProcessor)
        self.marked: list[Any] = []
        self.prices = signature is PRICES
        ids = IdSource()
        journals = Journals(Mark(self.files.mark), folder / "pairs", "here-1",
                            SegmentWriter(folder / "log", ids.writer, 1 << 20), ids, ShadowSpans({}, enabled=True))
        self.shadow = Shadow(RECORD, Loaded(wrap(self.predict, signature=signature), "", {}), (),
                             PairCounts("r1", "wine", "1", "2", Answers(signature).labels), Slices(), journals, 10.0)

    def predict(self, frame: Any) -> Any:
        self.marked.append(self.files.doing())
        x = frame["x"].to_numpy(dtype=float)
        if x[0] < 0:
            raise ValueError("secret")
        white = x >= 10
        return {"price": 2 * x} if self.prices else {"kind": np.where(white, "white", "red").astype(object),
                "chance": np.stack([np.where(white, 0.3, 0.8), np.where(white, 0.7, 0.2)], axis=1)}


@pytest.fixture
def cellar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cellar]:
    yield Cellar(tmp_path, monkeypatch)


def test_a_copy_becomes_a_pair_and_a_record(cellar: Cellar) -> None:
    """The record has the caller's id, the candidate's version and answer, and the role shadow; the call was marked."""
    copy = copy_of(given("red"), x=12.0)
    cellar.shadow.pair(copy)
    counts = cellar.shadow.counts
    assert (counts.pairs, counts.disagreements, counts.flips) == (1, 1, {"red": [0, 1], "white": [1, 0]})
    assert counts.scores.mean == pytest.approx(0.3 - 0.9)
    (record,) = read(cellar.folder / "log")
    assert (record.prediction_uuid, record.request_id, record.version, record.role) == (
        copy.prediction_uuid, "order-1", "2", "shadow")
    assert record.outputs["kind"].tolist() == ["white"]
    assert (cellar.marked[0].rollout_id, cellar.files.doing()) == ("r1", None)


def test_failures_of_either_are_pairs(cellar: Cellar, caplog: pytest.LogCaptureFixture) -> None:
    """The candidate's alone, stable's alone, and both; what failed is in no ledger and no log."""
    for outputs, x in ((given("red"), -1.0), ({}, 1.0), ({}, -1.0)):
        cellar.shadow.pair(copy_of(outputs, x=x))
    counts = cellar.shadow.counts
    assert (counts.pairs, counts.candidate_failed, counts.stable_failed, counts.both_failed) == (3, 1, 1, 1)
    assert not list(read(cellar.folder / "log"))
    assert caplog.text.count("raised ValueError in the shadow") == 1, "not for every request"


def test_an_old_copy_is_dropped_unasked(cellar: Cellar) -> None:
    """Past the deadline; the candidate does not see it."""
    cellar.shadow.pair(copy_of(given("red"), age_s=11))
    assert (cellar.shadow.counts.pairs, cellar.shadow.counts.late, cellar.marked) == (0, 1, [])


def test_pairs_wait_in_the_ledger_with_their_slices(cellar: Cellar) -> None:
    """Those by which the slices were learnt too; nothing is in it before it was told."""
    copies = [copy_of(given("red"), x=float(number % 20), region="north" if number % 2 else "south")
              for number in range(LEARNT_FROM + 10)]
    for copy in copies:
        cellar.shadow.pair(copy)
    assert not ledgers_in(cellar.folder / "pairs")
    cellar.shadow.enter()
    ledger = read_ledger(*ledgers_in(cellar.folder / "pairs"))
    assert ledger is not None
    assert (ledger.labels, set(ledger.slices)) == (("red", "white"), {"region=north", "region=south"})
    assert [row["uuid"].tobytes() for row in ledger.rows] == [copy.prediction_uuid for copy in copies]
    assert ledger.rows["candidate"].tolist() == [int(number % 20 >= 10) for number in range(len(copies))]
    north = 1 << ledger.slices.index("region=north")
    assert [int(bits) & north > 0 for bits in ledger.rows["slices"]] == [number % 2 == 1 for number in
                                                                       range(len(copies))]
    assert sum(cellar.shadow.counts.slices["region=north"]) >= 5


def test_numbers_wait_in_the_ledger_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both as they were given; without labels."""
    cellar = Cellar(tmp_path, monkeypatch, PRICES)
    for number in range(LEARNT_FROM):
        cellar.shadow.pair(copy_of({"price": np.array([1.5 * number])}, x=float(number)))
    cellar.shadow.enter()
    ledger = read_ledger(*ledgers_in(cellar.folder / "pairs"))
    assert ledger is not None
    assert ledger.labels == ()
    assert ledger.rows[["stable", "candidate"]][-1].tolist() == (1.5 * (LEARNT_FROM - 1), 2.0 * (LEARNT_FROM - 1))


def test_only_what_the_caller_asked_for_is_compared(cellar: Cellar) -> None:
    """A caller who wanted scores alone has no class to compare, and makes a pair all the same."""
    cellar.shadow.pair(copy_of({"chance": np.array([[0.5, 0.5]])}))
    counts = cellar.shadow.counts
    assert (counts.pairs, counts.compared, counts.scores.number) == (1, 0, 1)
    assert texts("red").tolist() == given("red")["kind"].tolist()


def test_a_shadows_span_is_linked_and_no_child(cellar: Cellar) -> None:
    """Of a request that is traced; it says whether the versions disagree, and what failed."""
    for x, trace_id in ((12.0, 0), (12.0, 5), (-1.0, 6)):
        cellar.shadow.pair(copy_of(given("red"), x=x, trace_id=trace_id))
    first, second = cellar.exporter.get_finished_spans()
    assert (first.parent, first.name, first.links[0].context.trace_id, first.links[0].context.span_id) == (
        None, "predict wine", 5, 3)
    assert first.attributes is not None and second.attributes is not None
    assert first.context.trace_id != 5
    assert (first.attributes["serinus.role"], first.attributes["serinus.shadow.disagrees"]) == ("shadow", True)
    assert second.attributes["error.type"] == "ValueError"
