"""References of versions: made of rows and answers, kept beside the version, chosen by people, inherited, journaled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from serinus.models import Field, InvalidSignature, Registry, Signature, Trust, register, wrap
from serinus.monitors.errors import InvalidData
from serinus.monitors.features import MISSING
from serinus.monitors.profile import Profile
from serinus.serving.references import (
    Chosen,
    Columns,
    attached,
    check_of,
    choose,
    chosen,
    doubts_about,
    history,
    keep_reference,
    profile_bytes,
    profile_of,
    rows_of,
)
from serinus.serving.store import Document, SqliteStore

DRAW = np.random.default_rng(0)
FRAME = pd.DataFrame({"age": DRAW.normal(40, 10, 1200), "income": DRAW.lognormal(8, 1, 1200),
                      "when": pd.date_range("2026-01-01", periods=1200, freq="h")})
FRAME["y"] = (FRAME["age"] > 40).astype(int)
COLUMNS = Columns("y", "when")
SIGNATURE = Signature((Field("input", "FP64", (-1, 2)),), (Field("predict", "FP64", (-1,)),))


def _register(home: Path, name: str = "credit", scale: float = 1.0) -> None:
    fitted = LogisticRegression().fit(FRAME[["age", "income"]] * [1, scale], FRAME["y"])
    register(fitted, name, home=home, reference=FRAME[["age", "income", "y"]], target="y")


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "store.db", create=True)


def test_a_script_that_registers_with_a_reference_gets_a_profile(tmp_path: Path) -> None:
    """Inputs as the model takes them, and what it answers to them; no row of the frame is in it."""
    _register(tmp_path)
    registry = Registry(tmp_path)
    version = registry.get("credit", "1")
    (digest,) = attached(registry, version)
    data = registry.attachment(version, f"references/{digest[7:]}.json")
    profile = Profile.from_bytes(data)
    assert (profile.digest, profile.rows) == (digest, 1200)
    assert [one.name for one in profile.features if one.side == "input"] == ["age", "income"]
    assert "predict" in profile.names and any(name.startswith("predict_proba") for name in profile.names)
    assert profile.source["target"] == "y"
    income = float(FRAME["income"][17])
    assert repr(income).encode() not in data


def test_a_reference_that_cannot_be_watched_is_no_reason_not_to_register(tmp_path: Path) -> None:
    """The version is there, and a warning says what is missing."""
    fitted = LinearRegression().fit(FRAME[["income", "age"]].to_numpy(), FRAME["income"])
    with pytest.warns(UserWarning, match="reg:1 is registered, but has no reference for its monitors"):
        register(fitted, "reg", home=tmp_path, reference=FRAME[["age"]], target=None, signature=SIGNATURE)
    registry = Registry(tmp_path)
    assert attached(registry, registry.get("reg", "1")) == []


def test_rows_that_the_model_cannot_answer_are_left_out() -> None:
    """A profile is made of the others, and says how many were left out."""
    def strict(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if np.isnan(inputs["age"]).any():
            raise ValueError("a gap")
        return {"y": inputs["age"] * 2}

    model = wrap(strict, Signature((Field("age", "FP64", (-1,)),), (Field("y", "FP64", (-1,)),)))
    frame = FRAME[["age"]].copy()
    frame.loc[[3, 700, 701], "age"] = np.nan
    profile, check, *_ = profile_of(model, frame)
    assert profile.rows == 1197 and check.digest == profile.digest
    assert profile.source["left_out"] == "3 of 1200 rows, which the model cannot answer"
    assert profile.counts[:, MISSING].sum() == 0
    frame["age"] = np.nan
    with pytest.raises(InvalidData, match="can answer no row"):
        profile_of(model, frame)


def test_time_puts_rows_in_order_and_seasons_are_kept_if_asked(tmp_path: Path) -> None:
    """A shuffled reference with times gives the profile of the ordered one."""
    _register(tmp_path)
    registry = Registry(tmp_path)
    model = registry.load(registry.get("credit", "1"), trust=Trust(tmp_path))
    ordered, check, *_ = profile_of(model, FRAME, COLUMNS, seasons=True)
    shuffled, again, *_ = profile_of(model, FRAME.sample(frac=1, random_state=1), COLUMNS, seasons=True)
    assert np.array_equal(ordered.blocks.sum(axis=2), shuffled.blocks.sum(axis=2))
    assert (check.rows, check.alarms) == (again.rows, again.alarms)
    assert ordered.span == shuffled.span and ordered.span is not None
    assert ordered.seasons is not None and ordered.seasons.sum() == ordered.counts.sum()
    with pytest.raises(InvalidData, match="no column 'nope'"):
        profile_of(model, FRAME, Columns("nope"))


def test_columns_become_the_one_matrix_that_a_model_takes() -> None:
    """A graph with one tensor input gets all columns, and says how many it wants."""
    signature = Signature((Field("input", "FP32", (-1, 2)),), ())
    rows = rows_of(signature, FRAME[["age", "income"]])
    assert rows["input"].shape == (1200, 2) and rows["input"].dtype == np.float32
    with pytest.raises(InvalidSignature, match="has 1 columns, and input 'input' takes 2"):
        rows_of(signature, FRAME[["age"]])


def test_a_version_has_its_own_reference_or_its_stable_versions(tmp_path: Path, store: SqliteStore) -> None:
    """What was set goes before what it came with; a version without one inherits, unless it takes other inputs."""
    _register(tmp_path)
    registry = Registry(tmp_path)
    (digest,) = attached(registry, registry.get("credit", "1"))
    assert chosen(store, registry, "credit", "1", "1") == Chosen(digest, "registered")
    register(LogisticRegression(C=0.1).fit(FRAME[["age", "income"]], FRAME["y"]), "credit", home=tmp_path,
             signature=registry.get("credit", "1").signature)
    inherited = chosen(store, registry, "credit", "2", "1")
    assert inherited is not None and (inherited.digest, inherited.origin) == (digest, "inherited")
    assert chosen(store, registry, "credit", "2", None) is None
    register(LogisticRegression().fit(FRAME[["age"]], FRAME["y"]), "credit", home=tmp_path)
    assert chosen(store, registry, "credit", "3", "1") is None
    assert chosen(store, registry, "credit", "9", "1") is None


def test_a_choice_is_named_journaled_and_passed_on(tmp_path: Path, store: SqliteStore) -> None:
    """Another profile beside the first one, chosen with name and reason; what was before stays readable."""
    _register(tmp_path)
    registry = Registry(tmp_path)
    version = registry.get("credit", "1")
    first = attached(registry, version)[0]
    other = keep_reference(version, tmp_path, FRAME.iloc[:600], COLUMNS).profile
    assert sorted(attached(registry, version)) == sorted([first, other.digest])
    for digest, by in ((other.digest, "ana"), (first, "bo")):
        choose(store, "credit", "1", Chosen(digest, "set", by, "season", 1.5))
    assert chosen(store, registry, "credit", "1", "1") == Chosen(first, "set", "bo", "season", 1.5)
    told = [(entry.actor, entry.reason, entry.body["digest"], entry.body["before"])
            for entry in history(store, "credit")]
    assert told == [("ana", "season", other.digest, None), ("bo", "season", first, other.digest)]


def test_a_profile_is_found_in_registry_or_store(tmp_path: Path, store: SqliteStore) -> None:
    """What was learnt lies in the store, where every host finds it."""
    _register(tmp_path)
    registry = Registry(tmp_path)
    (digest,) = attached(registry, registry.get("credit", "1"))
    data = profile_bytes(store, registry, "credit", digest)
    assert data is not None and Profile.from_bytes(data).digest == digest
    check = check_of(store, registry, "credit", digest)
    assert check is not None and check.digest == digest and check.rows > 500
    assert profile_bytes(store, registry, "credit", "sha256:none") is None
    assert check_of(store, registry, "credit", "sha256:none") is None
    store.put_document(Document("profile", "sha256:other", 1, data, 1.0), expected_revision=0)
    assert profile_bytes(store, registry, "credit", "sha256:other") == data


def test_personal_columns_are_not_in_a_profile_by_value() -> None:
    """What is personal has hashed categories."""
    frame = FRAME[["age", "y"]].assign(email=[f"someone{number % 3}@example.org" for number in range(1200)])
    signature = Signature((Field("age", "FP64", (-1,)), Field("email", "BYTES", (-1,))), (Field("y", "FP64", (-1,)),))
    model = wrap(lambda inputs: {"y": inputs["age"]}, signature)
    plain = profile_of(model, frame, Columns("y")).profile.to_bytes()
    hidden = profile_of(model, frame, Columns("y"), personal={"email": "hash"}, salt=b"s").profile.to_bytes()
    assert b"someone1@example.org" in plain
    assert b"someone" not in hidden


def test_a_reference_is_doubted_that_differs_from_the_one_before(tmp_path: Path) -> None:
    """The next version's reference has other incomes; the sentence names the column. The first one has nothing to be
    compared with, and the same rows again raise no doubt."""
    _register(tmp_path)
    registry = Registry(tmp_path)
    first = registry.get("credit", "1")
    (digest,) = attached(registry, first)
    assert doubts_about(registry, first, digest) == []
    fitted = LogisticRegression(C=0.5).fit(FRAME[["age", "income"]], FRAME["y"])
    for frame in (FRAME, FRAME.assign(income=3 * FRAME["income"])):
        fitted.C *= 0.5
        register(fitted, "credit", home=tmp_path, reference=frame[["age", "income", "y"]], target="y")
    second, third = (registry.get("credit", number) for number in ("2", "3"))
    assert doubts_about(registry, second, attached(registry, second)[0]) == []
    doubts = doubts_about(registry, third, attached(registry, third)[0])
    assert ("changed", "income") in [(doubt.kind, doubt.feature) for doubt in doubts]
