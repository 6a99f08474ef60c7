"""The dashboard in a real browser, on a real server behind a token: every page, both themes, and a rollback by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import serinus
from serinus.models import register
from serinus.monitors.alerts import Condition
from serinus.serving.alerting import report
from serinus.serving.client import Unknown
from serinus.serving.store import SqliteStore
from tests.integration.browser import Browser, browsing
from tests.integration.client import Client
from tests.integration.server import Server, eventually

TOKEN = "let-me-in"
EVIL = "<img src=x onerror=window.hacked=1>"
"""What a column may be called by whoever sends the reference."""
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PAGES = {"": "Models", "#/models/people": "people", "#/rollouts/people": "Rollout of people", "#/alerts": "Alerts",
         "#/predictions": "Predictions"}
LOOK_NOW = "document.dispatchEvent(new Event('visibilitychange'))"
"""As when the reader comes back to the tab: a page waits for its next turn otherwise."""
ENTER, TAB, SPACE = "\ue007", "\ue004", " "
DRAW = np.random.default_rng(0)


def _people(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"age": DRAW.normal(40, 10, rows), EVIL: DRAW.normal(0, 1, rows)})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two versions of `people`, with a reference, and some answered requests."""
    folder = tmp_path_factory.mktemp("ui")
    frame = _people(2000)
    frame["y"] = np.where(frame["age"] > 40, "old", "young")
    for strength in (1.0, 0.5):
        fitted = LogisticRegression(C=strength).fit(frame[["age", EVIL]], frame["y"])
        register(fitted, "people", home=folder / "home", reference=frame, target="y")
    environ = {"SERINUS_CONTROL_TOKEN": TOKEN, "SERINUS_MONITORS_OBSERVE_SHARE": "1e9",
               "SERINUS_UI_TRACE_URL": "http://traces.test/trace/{trace_id}"}
    with Server(folder / "home", folder, environ=environ) as running:
        yield running


@pytest.fixture(scope="module")
def browser(served: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser that has no token yet."""
    with browsing(tmp_path_factory.mktemp("browser")) as found:
        found.size(1280, 900)
        yield found


@pytest.fixture
def page(served: Server, browser: Browser) -> Browser:
    """The browser with the token in its tab, at the overview."""
    address = f"http://127.0.0.1:{served.port}/ui/"
    browser.go(address)
    kept = browser.run("""
        const kept = [sessionStorage['serinus.token'], localStorage['serinus.theme'] || ''];
        sessionStorage.setItem('serinus.token', arguments[0]); localStorage.clear(); return kept""", TOKEN)
    if kept != [TOKEN, ""]:
        browser.go(address)
    browser.wait_for("people", "main table")
    browser.complaints()
    return browser


def _ask(client: Client, rows: int = 8) -> Any:
    answer = client.post("/predict/people", {"rows": _people(rows).to_dict("records")})
    assert answer.status == 200, answer.body
    return answer.json()


def _open(page: Browser, route: str) -> None:
    page.run("location.hash = arguments[0]", route or "#/")
    page.wait_for(PAGES.get(route, ""), "main h1")
    eventually(lambda: "Loading" not in page.text("main"), 20)


def test_without_a_token_the_page_asks_for_one(served: Server, browser: Browser) -> None:
    """The files need none; data does. A wrong one is asked for again, the right one stays in this tab only."""
    browser.go(f"http://127.0.0.1:{served.port}/ui")
    browser.wait_for("missing or wrong", "dialog[open]")
    assert "people" not in browser.text("main")
    browser.type("#token-field", f"wrong{ENTER}")
    browser.wait_for("missing or wrong", "#banner")
    browser.wait_for("missing or wrong", "dialog[open]")
    browser.run("document.querySelector('#token-field').value = ''")
    browser.type("#token-field", f"{TOKEN}{ENTER}")
    browser.wait_for("people", "main table")
    kept = browser.run("return [sessionStorage['serinus.token'], document.cookie, Object.keys(localStorage).join()]")
    assert kept == [TOKEN, "", "serinus.theme"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_in_both_themes(theme: str, page: Browser) -> None:
    """Each is drawn whole, by the system's theme, and the browser has nothing to complain of, its policy included."""
    page.prefer(theme)
    dark = page.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 128")
    assert dark == (theme == "dark")
    for route in PAGES:
        _open(page, route)
        plots, tables = page.run("return ['figure.plot', 'figure.plot details table'].map("
                                 "(wanted) => document.querySelectorAll(wanted).length)")
        assert plots == tables, "a table behind every plot"
        if route not in ("#/alerts", "#/predictions"):  # a line needs two points, five seconds apart
            shown = "return document.querySelector('figure .canvas:not([hidden]) canvas') !== null"
            eventually(lambda: page.run(shown), 30)  # noqa: B023
        assert page.run("return document.querySelectorAll('h1').length") == 1
    assert page.complaints() == []


def test_the_theme_can_be_chosen(page: Browser) -> None:
    """By a button, for all visits, against what the system prefers."""
    page.prefer("light")
    page.run("document.querySelector('#theme').click(); document.querySelector('#theme').click()")
    assert page.text("#theme") == "Theme: dark" and page.run("return document.documentElement.dataset.theme") == "dark"
    page.run("location.reload()")
    eventually(lambda: page.text("#theme") == "Theme: dark" and page.text("main table"), 10)


def test_numbers_are_live(served: Server, page: Browser) -> None:
    """What is answered now is on the page some seconds later, with nobody touching it."""
    _open(page, "#/models/people")
    with served.client() as client:
        def counted() -> bool:
            _ask(client, 2)
            page.run(LOOK_NOW)
            return "1 stable" in page.text("#traffic table") and "old" in page.text("#predictions")

        eventually(counted, 40, lambda: page.text("main"))
    assert "False alarms" in page.text("#drift") and "at most 1 in 1,000,000 rows" in page.text("#drift")


def test_names_from_outside_are_text(served: Server, page: Browser) -> None:
    """A feature called like an element with a script in it is shown by that name, and does nothing."""
    with served.client() as client:
        for _ in range(8):  # more rows than are judged at first, though not every row is observed
            _ask(client, 64)
    _open(page, "#/models/people")
    ranked = """for (const one of document.querySelectorAll("#drift details")) one.open = true;
                return document.querySelector("#drift")?.innerText ?? "";"""
    eventually(lambda: EVIL in page.run(ranked), 30.0, lambda: page.text("#drift"))  # it need not be among the first
    assert page.run("return [window.hacked ?? null, document.querySelectorAll('main img').length]") == [None, 0]


def test_a_prediction_is_found_with_its_trace(served: Server, page: Browser) -> None:
    """By the id that an answer carried: inputs, outputs, and a link to where traces are."""
    with served.client() as client:
        prediction = _ask(client, 2)["prediction_ids"][1]
    _open(page, "#/predictions")
    page.type("#prediction", f"{prediction}{ENTER}")
    page.wait_for("people:1", "main")
    seen = page.text("main")
    assert EVIL in seen and "predict_proba" in seen
    assert page.run("return document.querySelector('main a[target]').href.startsWith('http://traces.test/trace/')")
    page.click("[data-verb=explain]")
    assert "age" in page.wait_for("where every feature is as usual", "#why")
    page.run("document.querySelector('#prediction').value = ''")
    page.type("#prediction", f"0190a6b2-7c3e-7000-8000-000000000000-0{ENTER}")
    page.wait_for("not in the log", "main")


def test_rows_are_explained_in_kserves_form(served: Server) -> None:
    """`:explain` says for each row what its answer rests on; since that is more than an answer, it needs a token."""
    asked, path = {"instances": _people(2).to_dict("records")}, "/v1/models/people:explain"
    with served.client() as client:
        answer = client.post(path, asked, BEARER)
        first, _ = answer.json()["explanations"]
        assert (first["output"], first["contributions"][0]["feature"]) == ("predict_proba", "age")
        assert client.post(path, asked).status == 401
        assert client.post("/v1/models/people/versions/7:explain", asked, BEARER).status == 404
        assert client.post(path, {"instances": [{"age": "old"}]}, BEARER).status == 400
        assert client.get(path, BEARER).status == 405
        unknown = {"prediction_id": "0190a6b2-7c3e-7000-8000-000000000000-0"}
        refused = client.post("/api/explain/people", unknown, BEARER)
        assert (refused.status, "not in the log" in refused.json()["detail"]) == (404, True)


def test_a_rollback_through_the_button(served: Server, page: Browser) -> None:
    """A person looks at a rollout, presses, confirms with a reason: every caller has the stable version again, and the
    journal says who and why."""
    with served.client() as client:
        body = {"version": "2", "steps": "50", "actor": "tester"}
        answer = client.post("/api/rollouts/people/start", body, BEARER)
        assert answer.status == 202, answer.body
        eventually(lambda: {_version(client) for _ in range(20)} == {"1", "2"}, 30)
        _open(page, "#/rollouts/people")
        page.wait_for("version 2 at 50 %", "main")
        page.click("button[data-verb=rollback]")
        page.wait_for("taken off at once", "dialog[open]")
        assert {_version(client) for _ in range(20)} == {"1", "2"}, "nothing happens before it is confirmed"
        page.type("#reason", "seen on the page")
        page.click("dialog button.danger")
        page.wait_for("seen on the page", "main")
        eventually(lambda: page.run("return !document.querySelector('dialog').open"), 10)
        assert {_version(client) for _ in range(40)} == {"1"}
        entries = client.get("/api/rollouts/people/journal", BEARER).json()["entries"]
    done = next(entry for entry in entries if entry["reason"] == "seen on the page")
    assert (done["kind"], done["actor"]) == ("roll_back", "dashboard")


def test_an_alert_is_looked_after_by_a_button(served: Server, page: Browser) -> None:
    """It asks for a name, which everybody sees from then on; a client and a command do the same from elsewhere."""
    store = SqliteStore(served.home.store, create=False)
    for kind in ("error_rate", "missing"):
        report(store, Condition("people", "1", kind, "alarm", True, f"Too much {kind}."), time.time())
    _open(page, "#/alerts")
    page.wait_for("Too much error_rate.", "main")
    page.run("""[...document.querySelectorAll('article')].find((one) => one.innerText.includes('Too much error_rate.'))
        .querySelector('[data-verb=acknowledge]').click()""")
    page.wait_for("Too much error_rate.", "dialog[open]")
    page.click("dialog button.main")
    assert page.run("return document.querySelector('dialog').open"), "nobody is not somebody"
    page.type("#name", f"ana{ENTER}")
    page.wait_for("Looked after by\nana", "main")
    with serinus.Client(f"http://127.0.0.1:{served.port}", TOKEN, actor="ben") as client:
        held = {alert.kind: alert for alert in client.alerts()}
        assert client.acknowledge(held["missing"].id).document["acknowledged_by"] == "ben"
        with pytest.raises(Unknown, match="expected the id of one open alert"):
            client.acknowledge("zz")
        seen = {alert.kind: alert.document["acknowledged_by"] for alert in client.alerts()}
    assert (seen["error_rate"], seen["missing"]) == ("ana", "ben")
    with served.client() as plain:
        assert plain.post(f"/api/alerts/{held['missing'].id}/acknowledge", {}).status == 401
        assert plain.get(f"/api/alerts/{held['missing'].id}/acknowledge", BEARER).status == 405
    eventually(lambda: "alert.acknowledged" in {entry.kind for entry in store.journal("people")}, 20)


def test_what_is_refused_is_said_where_it_was_asked(served: Server, page: Browser) -> None:
    """A verb that the server refuses leaves the dialog open with the server's own sentence."""
    _open(page, "#/rollouts/people")
    page.run("document.querySelector('[data-verb=pause]').disabled = false")
    page.click("button[data-verb=pause]")
    page.click("dialog button.main")
    page.wait_for("rollout", "dialog [role=alert]")
    page.click("dialog button[type=button]")


def test_stale_numbers_say_so(page: Browser) -> None:
    """Without a network the page says that what it shows is old, in words that are spoken too, and recovers."""
    page.network(offline=True)
    page.run(LOOK_NOW)
    page.wait_for("What you see is old.", "#banner")
    assert "not up to date" in page.run("return document.querySelector('#spoken').textContent")
    page.network(offline=False)
    page.click("#banner button")
    eventually(lambda: page.text("#banner") == "", 20)
    assert "up to date again" in page.run("return document.querySelector('#spoken').textContent")


@pytest.mark.slow
def test_a_hidden_tab_asks_for_nothing(page: Browser) -> None:
    """Only a page that is seen costs anything; once seen again, it looks at once."""
    page.run("""
        window.calls = 0; const before = window.fetch;
        window.fetch = (...all) => { window.calls += 1; return before(...all); };
        Object.defineProperty(document, 'hidden', { value: true, configurable: true });""")
    eventually(lambda: _rests(page), 30)
    page.run(f"delete document.hidden; window.calls = 0; {LOOK_NOW}")
    eventually(lambda: page.run("return window.calls") > 0, 5)


def _rests(page: Browser) -> bool:
    """Whether nothing was asked for during more than one period."""
    page.run("window.calls = 0")
    page.run("return new Promise((done) => setTimeout(done, 6000))")
    return bool(page.run("return window.calls") == 0)


def test_the_keyboard_is_enough(page: Browser) -> None:
    """The first stop leads past the head of the page; the focus stays where it is while numbers change."""
    page.press(TAB)
    assert page.run("return document.activeElement.id") == "skip"
    page.press(ENTER)
    assert page.run("return document.activeElement.id") == "main"
    page.run("document.querySelector('main figure summary').focus()")
    page.press(SPACE)
    assert page.run("return document.querySelector('main figure details').open")
    before = page.run("return document.querySelector('main tbody').innerText")
    eventually(lambda: "Last answer 0 s" in page.text("#status") or page.run(
        "return document.querySelector('main tbody').innerText") != before, 15)
    assert page.run("return [document.activeElement.tagName, document.activeElement.parentElement.open]") == [
        "SUMMARY", True]


def test_a_phone_is_wide_enough(page: Browser) -> None:
    """No page is wider than its window."""
    page.size(390, 844)
    try:
        for route in PAGES:
            _open(page, route)
            assert page.run("return document.documentElement.scrollWidth") <= 390, route
    finally:
        page.size(1280, 900)


def test_landmarks_and_names_for_those_who_hear_the_page(page: Browser) -> None:
    """One main, named navigation, every control and picture with a name, every header cell with its scope."""
    for route in PAGES:
        _open(page, route)
        assert page.run("""
            const named = (element) => element.textContent.trim() || element.getAttribute('aria-label') ||
                                       element.labels?.length;
            return [document.querySelectorAll('main').length, document.querySelectorAll('nav:not([aria-label])').length,
                    [...document.querySelectorAll('button, input, a')].filter((element) => !named(element)).length,
                    document.querySelectorAll('svg[role=img]:not([aria-label]), [role=meter]:not([aria-label])').length,
                    document.querySelectorAll('main th:not([scope]):not(.u-series th)').length]""") == [
                1, 0, 0, 0, 0], route


def _version(client: Client) -> str:
    return client.post("/predict/people", {"rows": _people(1).to_dict("records")}).version

