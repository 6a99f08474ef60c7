"""`serinus monitor status|explain|reference`: what is published, said so that a person or a script can act on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris

from serinus.serving.home import Home
from serinus.serving.monitoring import FORMAT, MonitorFiles, View
from serinus.serving.references import Chosen
from serinus.serving.store import Document, SqliteStore
from serinus.serving.stream import Stream
from serinus.serving.ticks import Told
from tests.serving.cli.conftest import FakeServer
from tests.serving.cli.terminal import Terminal
from tests.serving.profiles import live, small_profile

PROFILE = small_profile()


def _published(home: Path, shift: float) -> View:
    stream = Stream("iris", "1", Chosen(PROFILE.digest, "set", "ana", "new season", 5.0), PROFILE, None, 1_000_000)
    counts = PROFILE.empty()
    for second in range(1, 9):
        seen = PROFILE.encoder.observe(*live(200, second, shift))
        counts.add(seen.codes, seen.deviations)
        tick = Told("w", "iris", "1", PROFILE.digest, second, 1_700_000_000 + second, 1800, counts.copy(), (), 0, False)
        stream.take([tick], 1_700_000_000 + second)
    view = stream.view()
    MonitorFiles(Home(home).monitors).publish(view)
    return view


def test_all_is_well_is_exit_code_0(cli: Any, home: Path) -> None:
    """A line for each version, with how much was observed."""
    _published(home, 0.0)
    said = cli("monitor", "status")
    assert said.code == 0
    head, line = said.out.splitlines()
    assert head.split() == ["VERSION", "STATE", "ROWS", "OBSERVED", "EVIDENCE", "AT", "SAYS"]
    assert line.startswith("iris:1   ok     1,600  88.9 %") and "2023-11-14T22:13:28Z  No drift in" in line


def test_an_open_alarm_is_exit_code_3(cli: Any, home: Path) -> None:
    """So that a script may ask; JSON has the whole document."""
    view = _published(home, 2.0)
    for words in (["status"], ["status", "iris"], ["status", "iris:1", "--json"], ["explain", "iris"]):
        assert cli("monitor", *words).code == 3, words
    assert cli("monitor", "status", "--json").json == {"versions": [json.loads(json.dumps(view.document))]}


def test_an_explanation_names_what_moved(cli: Any, home: Path) -> None:
    """The feature, by how much, since when, the stated run length, the reference and who chose it."""
    _published(home, 2.0)
    said = cli("monitor", "explain", "iris").out
    assert "at most one false alarm in 1,000,000 rows on average" in said
    assert f"reference  {PROFILE.digest[7:19]}, 2,000 rows, set by ana: new season" in said
    assert "1,600 observed of 1,800 answered" in said
    (age,) = [line for line in said.splitlines() if line.startswith("  age")]
    assert "100 %" in age and "up 2 sd" in age and "2023-11-14T22:13:2" in age


@pytest.mark.parametrize("word", ["status", "explain"])
def test_what_is_watched_is_told_anew(home: Path, word: str) -> None:
    """Every second, on a terminal, until somebody leaves: an alarm that opens meanwhile is seen."""
    _published(home, 0.0)
    terminal = Terminal("monitor", word, "iris", "--watch", "--home", home)
    terminal.until("iris:1")
    _published(home, 2.0)
    terminal.until("Drift since")
    terminal.interrupt()
    assert terminal.end() == 130 and "Traceback" not in terminal.said


def test_custom_monitors_say_their_own(cli: Any, home: Path) -> None:
    """A line each: the state, and the finding's sentence, or the name of one that is still learning."""
    view = _published(home, 0.0)
    custom = [{"name": "amount", "state": "alarm", "finding": {"text": "amount: the mean is 5, expected 1 to 2."}},
              {"name": "rate", "state": "learning, 2 of 20 windows of 500 rows", "finding": None}]
    MonitorFiles(Home(home).monitors).publish(View({**view.document, "custom": custom}))
    said = cli("monitor", "explain", "iris").out.splitlines()
    assert said[2:4] == ["  alarm      amount: the mean is 5, expected 1 to 2.",
                         "  learning   rate: learning, 2 of 20 windows of 500 rows"]


def test_a_running_server_is_asked_by_its_address(cli: Any, home: Path, server: FakeServer) -> None:
    """The same documents, the same words, the same exit code; its own sentence where it knows nothing."""
    document = json.loads(json.dumps(_published(home, 2.0).document))
    server.answer("GET", "/api/monitors/iris", {"versions": [document]})
    assert cli("monitor", "status", "iris", "--json").json == {"versions": [document]}
    assert cli("monitor", "explain", "iris:1").code == 3
    said = cli("monitor", "status", "beer")
    assert said.code == 1 and "No such thing." in said.err
    assert cli("monitor", "explain", "iris", "--home", home).code == 3
    asked = [path.rpartition("/")[2] for _, path, _, _ in server.asked]
    assert asked == ["iris", "iris", "beer"]


def test_what_is_not_watched_says_why(cli: Any, home: Path) -> None:
    """Learning and off are no alarms, and not fine."""
    document = {"format": FORMAT, "model": "iris", "version": "1", "state": "learning", "text": "Learning.",
                "judged": 0, "rows": 20, "wanted_rows": 500, "seen": 20, "observed_share": None, "evidence": None,
                "run_length": 1000, "reference": None, "self_check": None, "drift": None, "features_watched": 0,
                "novelty": None, "examples": []}
    MonitorFiles(Home(home).monitors).publish(View(document))
    said = cli("monitor", "status")
    assert said.code == 0 and "learning  20/500  -         -         -   Learning." in said.out
    assert cli("monitor", "explain", "iris").out == "iris:1  learning\n  Learning.\n"


@pytest.mark.parametrize("words", [["status"], ["status", "iris"], ["explain", "iris:7"]])
def test_nothing_known_is_an_error(cli: Any, home: Path, words: list[str]) -> None:
    """Missing data is no good news."""
    said = cli("monitor", *words)
    assert said.code == 1 and "Nothing is known of" in said.err


def _rows(path: Path, seed: int) -> Path:
    data = load_iris(as_frame=True)
    rows = data.data.iloc[np.random.default_rng(seed).integers(0, 150, 400)]
    rows.to_csv(path, index=False)
    return path


def test_a_reference_is_set_with_name_and_reason(cli: Any, home: Path, tmp_path: Path) -> None:
    """The choice is journaled; the first one stays where it is."""
    for number, who in enumerate(("ana", "bo")):
        said = cli("monitor", "reference", "iris:1", "--set", _rows(tmp_path / f"{number}.csv", number), "--by", who,
                   "--reason", f"season {number}")
        assert said.code == 0, said.err
        assert "400 rows" in said.out and "of your own reference" in said.out
    listed = cli("monitor", "reference", "iris", "--list", "--json").json
    assert [(row["by"], row["reason"], row["version"]) for row in listed] == [
        ("ana", "season 0", "1"), ("bo", "season 1", "1")]
    assert listed[1]["before"] == listed[0]["digest"]
    store = SqliteStore(Home(home).store, create=False)
    assert len(store.documents("reference")) == 1
    assert "ana" in cli("monitor", "reference", "iris", "--list").out


def test_a_reset_needs_evidence_and_a_version(cli: Any, home: Path) -> None:
    """It says what it cannot do, and does what it says."""
    store = SqliteStore(Home(home).store, create=True)
    assert "no evidence about iris:1" in cli("monitor", "reset", "iris:1").err
    assert "Which version" in cli("monitor", "reset", "iris").err
    stream = Stream("iris", "1", Chosen(PROFILE.digest, "set"), PROFILE, None, 1000)
    store.put_document(Document("monitor.state", "iris:1", 1, stream.to_bytes(), 1.0), expected_revision=0)
    assert cli("monitor", "reset", "iris:1", "--by", "ana", "--reason", "a campaign").code == 0
    found = store.document("monitor.state", "iris:1")
    assert found is not None and found.revision == 2 and json.loads(found.body)["monitor"] is None
    assert [(entry.kind, entry.actor, entry.reason) for entry in store.journal("iris")] == [
        ("monitor.reset", "ana", "a campaign")]


@pytest.mark.parametrize(("words", "code", "says"), [
    ([], 2, "Give --set FILE, or --list"), (["--set", "none.csv"], 1, "no such file"),
    (["--set", "x.csv", "--seasons"], 2, "--seasons needs --time")])
def test_a_choice_that_makes_no_sense_is_refused(cli: Any, home: Path, words: list[str], code: int, says: str) -> None:
    """With the sentence that helps."""
    said = cli("monitor", "reference", "iris", *words)
    assert said.code == code and says in said.err
