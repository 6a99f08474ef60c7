"""What a rollback would break is said before the promotion, once, and without a value."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier

from serinus.models import register
from serinus.models.signature import Signature
from serinus.monitors.record import PredictionRecord
from serinus.monitors.validation import Expectation, Expectations
from serinus.serving.expectations import guard_for
from serinus.serving.rollout import Plan, Promote, controller
from serinus.serving.steward.commands import look
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.tell_reverse import TellReverse, differences, refusals
from tests.serving.steward.hosts import serve, shared, trained


def version(home: Path, *columns: str, optional: tuple[str, ...] = ()) -> Any:
    """A registered version that takes these columns."""
    frame = pd.DataFrame({column: np.arange(10.0) for column in columns})
    model = DecisionTreeClassifier(max_depth=1, random_state=0).fit(frame, np.arange(10) % 2)
    made = register(model, "shop", home=home)
    inputs = tuple(replace(field, optional=field.name in optional) for field in made.signature.inputs)
    return replace(made, signature=Signature(inputs, made.signature.outputs))


def test_what_only_the_candidate_knows_is_named(tmp_path: Path) -> None:
    """New inputs, inputs that may be left out from now on, and nothing for equal signatures."""
    old, same = version(tmp_path, "age", "income"), version(tmp_path, "age", "income")
    new = version(tmp_path, "age", "income", "city", optional=("city", "income"))
    assert differences(old, same) == []
    assert differences(old, new) == [
        "Input 'city' is known to version 2 only: version 1 leaves it out, or refuses who asks by name.",
        "Seen from version 2, version 1 differs: Input 'income' was optional and is now required."]


def record_of(**inputs: list[float]) -> PredictionRecord:
    columns = {name: np.array(values) for name, values in inputs.items()}
    return PredictionRecord(b"0" * 16, "", 0, 0, "shop", "2", "candidate", 1, columns, {}, 0, 0, 0)


def test_requests_of_the_rollout_are_held_to_the_old_version(tmp_path: Path) -> None:
    """Missing inputs, and values that its expectations refuse; the values themselves are not told."""
    old = version(tmp_path, "age", "income")
    expected = Expectations((Expectation("age", maximum=100.0, on={"out_of_range": "reject"}),))
    guard = guard_for(expected, old.signature, tmp_path, "enforce")
    records = [record_of(age=[30.0], income=[1.0]), record_of(age=[4711.0], income=[1.0]), record_of(age=[30.0])]
    (sentence,) = refusals(old, guard, records)
    assert sentence.startswith("Of 3 requests that the candidate answered, version 1 would refuse 2 (")
    assert "without 'income' in 1" in sentence and "4711" not in sentence
    assert refusals(old, guard, records[:1]) == refusals(old, None, []) == []


def test_it_is_told_once_when_the_last_step_begins(tmp_path: Path) -> None:
    """In the journal, and in what `explain` shows; not at the first step, and not again by the next steward."""
    trained(tmp_path, "wine", 1.0, 2.0)
    host = shared(tmp_path)
    serve(host)
    digest = host.registry.get("wine", "2").digest
    controller.start(host.store, "wine", "2", digest, Plan((500, 1000)), "ana", now=time.time())
    HoldLease().run(host)
    TellReverse().run(host)
    assert [entry for entry in host.store.journal("wine") if entry.kind == "reverse"] == []
    controller.apply(host.store, "wine", Promote(actor="ana"), now=time.time())
    for _ in range(2):
        TellReverse().run(host)
    (told,) = [entry for entry in host.store.journal("wine") if entry.kind == "reverse"]
    assert told.body["text"] == "A rollback to version 1 would break nothing that is known of."
    assert look(host.store, "wine", {"verb": "analysis"})["reverse"] == []


def test_without_the_lease_nobody_tells(tmp_path: Path) -> None:
    """One of several stewards is enough."""
    trained(tmp_path, "wine", 1.0, 2.0)
    host = shared(tmp_path)
    serve(host)
    controller.start(host.store, "wine", "2", "d2", Plan((5000,)), "ana", now=time.time())
    TellReverse().run(host)
    assert {entry.kind for entry in host.store.journal("wine")} == {"set_stable", "start"}
