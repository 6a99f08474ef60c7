"""All notifiers: each keeps the contract, is made from its options, and says in a sentence what is wrong with them."""

from __future__ import annotations

import json
import logging
import re
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from serinus.monitors import notifiers
from serinus.monitors.alerts import AlertBook, AlertPolicy, Condition
from serinus.monitors.notifiers import Notification, Notifier, NotifierMisconfigured, kinds, make_notifier
from serinus.monitors.notifiers.testing import check_notifier, examples
from tests.monitors.notifiers.receiver import Receiver, receiver

__all__ = ["receiver"]

SECRET = "T0P-secret-path"
OPTIONS = {
    "alertmanager": {}, "slack": {"timeout_seconds": 5}, "webhook": {"secret_env": "HOOK_KEY"},
    "log": None, "apprise": {},
}


def options(kind: str, url: str) -> dict[str, object]:
    found = OPTIONS[kind]
    if found is None:
        return {}
    address = url.replace("http://", "json://") if kind == "apprise" else url
    return {"url": f"{address}/{SECRET}", **found}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_KEY", "another secret")


@pytest.mark.parametrize("kind", sorted(OPTIONS))
def test_every_kind_keeps_the_contract(kind: str, receiver: Receiver) -> None:
    """With a receiver that takes messages, and with one that is not there."""
    if kind == "apprise":
        pytest.importorskip("apprise")
    dead = Receiver()
    made = make_notifier(kind, options(kind, receiver.url))
    if kind == "log":
        assert check_notifier(made).left_out == ("fails", "discreet")
        return
    secrets = ("another secret",) if kind == "alertmanager" else (SECRET, "another secret")
    coverage = check_notifier(made, broken=make_notifier(kind, options(kind, dead.url)), secrets=secrets)
    assert coverage.left_out == () and len(receiver.received) >= len(examples())


def test_the_list_of_kinds_is_complete() -> None:
    """Every kind of this package is tried above."""
    assert set(kinds()) == set(OPTIONS)


@pytest.mark.parametrize(("kind", "given", "sentence"), [
    ("pigeon", {}, "Kind 'pigeon': expected one of alertmanager, apprise, log, slack, webhook"),
    ("slack", {"link": "x"}, "Option 'link': the kind 'slack' has url, url_env, url_file, timeout_seconds."),
    ("log", {"url": "x"}, "Option 'url': the kind 'log' has no options."),
    ("slack", {"url": 3}, "Option url: expected text, got 3."),
    ("slack", {"url": "http://h/", "timeout_seconds": "soon"}, "expected a number, got 'soon'"),
    ("slack", {"url": "http://h/", "timeout_seconds": 0}, "expected more than 0 and at most 60, got 0"),
    ("webhook", {"url": "http://h/", "unsigned": "yes"}, "Option unsigned: expected true or false, got 'yes'."),
    ("slack", {"url": "ftp://h/secret"}, "Option url: expected http://HOST/… or https://HOST/…, got something else."),
    ("slack", {"url": "http://"}, "expected http://HOST/"),
    ("slack", {"url": "http://h:99999/"}, "expected http://HOST/"),
    ("slack", {"url": "http://h/a b"}, "expected http://HOST/"),
    ("slack", {"url": "http://me:pw@h/"}, "expected an address without a user and password"),
    ("slack", {}, "Expected exactly one of url, url_env and url_file"),
    ("slack", {"url": "http://h/", "url_env": "X"}, "Expected exactly one of url, url_env and url_file"),
    ("slack", {"url_env": "SURELY_NOT_SET"}, "Option url: expected text, but the variable SURELY_NOT_SET is empty"),
    ("slack", {"url_file": "/not/there"}, "Option url_file: /not/there cannot be read"),
    ("webhook", {"url": "http://h/"}, "Expected secret_env or secret_file, the key that signs messages, got neither."),
    ("webhook", {"url": "http://h/", "secret_env": "BAD_KEY"}, "goes on in Base64, got something else"),
    ("webhook", {"url": "http://h/", "unsigned": True, "authorization_env": "SURELY_NOT_SET"}, "SURELY_NOT_SET"),
    ("alertmanager", {"url": "http://h/", "resend_seconds": 0.0}, "Option resend_seconds: expected more than 0"),
    ("alertmanager", {"url": "http://h/", "labels": {"a-b": "c"}}, "got 'a-b' = 'c'"),
    ("alertmanager", {"url": "http://h/", "labels": "team"}, "Option labels: expected a table such as"),
])
def test_options_that_cannot_work_are_refused(kind: str, given: dict[str, object], sentence: str,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence that repeats no address."""
    monkeypatch.setenv("BAD_KEY", "whsec_no base64!")
    with pytest.raises(NotifierMisconfigured) as caught:
        make_notifier(kind, given)
    assert sentence in str(caught.value) and "secret/" not in str(caught.value)


def test_apprise_says_what_it_does_not_know() -> None:
    """An address without a service behind it."""
    pytest.importorskip("apprise")
    with pytest.raises(NotifierMisconfigured, match="apprise does not know this form of address"):
        make_notifier("apprise", {"url": "carrier-pigeon://loft"})


def test_a_secret_is_read_anew_each_time(receiver: Receiver, tmp_path: Path) -> None:
    """A file whose text is replaced needs no restart."""
    file = tmp_path / "url"
    file.write_text(f"{receiver.url}/old\n")
    made = make_notifier("slack", {"url_file": str(file)})
    made.send(examples()[0])
    file.write_text(f"{receiver.url}/new\n")
    made.send(examples()[0])
    assert [one.path for one in receiver.received] == ["/old", "/new"]


class Pigeon:
    """A kind that another package offers."""

    def __init__(self, loft: str) -> None:
        self.target = loft
        self.resend_seconds = 0.0

    def send(self, notification: Notification) -> None:
        """Away."""


def test_a_package_offers_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """By an entry point; what its options lack is told."""
    point = EntryPoint("pigeon", f"{__name__}:Pigeon", "serinus.notifiers")
    monkeypatch.setattr(EntryPoint, "load", lambda _: Pigeon)
    monkeypatch.setattr(notifiers, "entry_points", lambda **_: [point])
    made = make_notifier("pigeon", {"loft": "roof"})
    assert isinstance(made, Notifier) and made.target == "roof"
    with pytest.raises(NotifierMisconfigured, match=r"The kind 'pigeon' cannot be made: .*loft"):
        make_notifier("pigeon", {})


def test_the_log_line_is_an_event(caplog: pytest.LogCaptureFixture) -> None:
    """A warning while it fires, a remark when it is over."""
    caplog.set_level(logging.INFO, "serinus.alerts")
    firing, *_, = examples()
    over = next(message for message in examples() if message.ended is not None)
    for message in (firing, over):
        make_notifier("log", {}).send(message)
    first, second = caplog.records
    assert (first.levelname, second.levelname) == ("WARNING", "INFO")
    assert first.getMessage() == (
        "[firing] credit:3 drift (alarm) age and income moved. Features: age, income. evidence 1, rows 4,096, "
        "age up 0.3 sd. Since 2026-01-01T00:00:00Z. Alert 6f1c0a9d2b7e.")
    assert first.__dict__["event_name"] == "serinus.alert.firing"
    assert first.__dict__["attributes"]["serinus.model.name"] == "credit"


def test_a_change_becomes_a_notification() -> None:
    """With its own id, the alert's, and the time at which it ended."""
    policy, seen = AlertPolicy(for_seconds=0, keep_firing_seconds=0), Condition(
        "credit", "3", "drift", "act", True, "age moved.", {"rows": 4096}, ("age",))
    book = AlertBook().evaluate([seen], 100.0, policy)
    calm = Condition("credit", "3", "drift", "warn", False, "")
    firing, over = (Notification.of(change) for change in book.evaluate([calm], 900.0, policy).outbox if change.tell)
    assert (firing.event, firing.since, firing.ended, firing.features) == ("firing", 100.0, None, ("age",))
    assert (over.event, over.since, over.ended, over.alert) == ("resolved", 100.0, 900.0, firing.alert)
    assert firing.id != over.id and Notification.from_json(firing.to_json()) == firing


@pytest.mark.parametrize("kind", ["slack", "webhook"])
def test_the_documentation_shows_what_is_sent(kind: str, receiver: Receiver, checkout: Path) -> None:
    """The README's example is the message, to the letter."""
    chapter = (checkout / "monitors" / "README.md").read_text("utf-8")
    shown = re.search(rf"^<!-- example: {kind} -->\n```json\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)
    make_notifier(kind, options(kind, receiver.url)).send(examples()[0])
    assert shown is not None and json.loads(shown[1]) == receiver.received[0].json


def test_the_documentation_shows_settings_that_work(checkout: Path, monkeypatch: pytest.MonkeyPatch,
                                                    tmp_path: Path) -> None:
    """Every notifier of the README's example is made."""
    monkeypatch.setenv("MAIL_URL", "mailtos://user:password@example.com")
    (tmp_path / "slack").write_text("https://hooks.example/x")
    chapter = (checkout / "monitors" / "README.md").read_text("utf-8").replace("/run/secrets", str(tmp_path))
    for text in re.findall(r"^```toml\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL):
        for name, given in tomllib.loads(text).get("alerts", {}).get("notifiers", {}).items():
            if given["kind"] == "apprise":
                pytest.importorskip("apprise")
            assert make_notifier(given.pop("kind"), given).target, name
