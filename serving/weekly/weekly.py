"""The judgement: from facts to sentences that somebody reads on Monday morning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from serinus.monitors.metrics import Measure
from serinus.monitors.performance import FEWEST
from serinus.serving.rollout.state import Phase
from serinus.serving.store import JournalEntry
from serinus.serving.weekly.facts import DAY_S, Facts, Quality

__all__ = ["Change", "Line", "State", "Weekly"]

_QUIET = {"alert.pending", "alert.withdrawn", "alert.repeated", "acknowledged"}
"""Entries of the journal that add nothing for a reader."""
_FEW_ROWS = 100
_OTHERWISE = 2.0
"""Times as many rows as before, or as few, that are worth a word."""
_CHANGES = 60
_HOURS = 24


class State(StrEnum):
    """How one thing stands; from best to worst."""

    FINE = "fine"
    """It was looked at, and nothing is wrong."""
    UNKNOWN = "unknown"
    """Nobody looked, or too little is known: not the same as fine."""
    LOOK = "look"
    """A person should know of it."""
    ACT = "act"
    """A person has to do something."""


_ORDER = list(State)


class Line(NamedTuple):
    """One thing that was asked: how it stands, in a sentence, and what to do; empty where nothing is."""

    subject: str
    state: State
    says: str
    advice: str = ""


class Change(NamedTuple):
    """One thing that happened: at a Unix time, in a sentence."""

    time: float
    says: str


@dataclass(frozen=True)
class Weekly:
    """`days` are rows by day (ISO) and version."""

    model: str
    begin: float
    end: float
    state: State
    headline: str
    lines: tuple[Line, ...]
    changes: tuple[Change, ...]
    days: Mapping[str, Mapping[str, int]]
    remarks: tuple[str, ...]

    @classmethod
    def of(cls, facts: Facts) -> Weekly:
        """Judge the facts."""
        lines = tuple(_lines(facts))
        state = max((line.state for line in lines), key=_ORDER.index)
        return cls(facts.model, facts.begin, facts.end, state, _headline(facts.model, state, lines), lines,
                   tuple(_changes(facts.journal)), _days(facts), facts.remarks)

    @property
    def actions(self) -> list[str]:
        """What to do, the most urgent first, each once."""
        wanted = sorted((line for line in self.lines if line.advice), key=lambda line: -_ORDER.index(line.state))
        return list(dict.fromkeys(line.advice for line in wanted))

    def to_json(self) -> dict[str, Any]:
        """Everything, for programs; times in ISO 8601."""
        return {"model": self.model, "begin": when(self.begin), "end": when(self.end), "state": self.state.value,
                "headline": self.headline, "lines": [line._asdict() for line in self.lines],
                "changes": [{"time": when(change.time), "says": change.says} for change in self.changes],
                "actions": self.actions, "days": self.days, "remarks": list(self.remarks)}


def when(seconds: float) -> str:
    """ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _minute(seconds: float) -> str:
    return f"{when(seconds)[:16].replace('T', ' ')} UTC"


def _headline(model: str, state: State, lines: Iterable[Line]) -> str:
    number = sum(line.state is state for line in lines)
    things = f"{number} thing" if number == 1 else f"{number} things"
    return {State.FINE: f"{model} is fine.",
            State.UNKNOWN: f"Nothing is known to be wrong with {model}, but {things} cannot be told.",
            State.LOOK: f"{model} works; {things} should be looked at.",
            State.ACT: f"{model} needs you: {things} to do."}[state]


def _lines(facts: Facts) -> Iterator[Line]:
    yield _rollout(facts)
    yield _answers(facts)
    yield from _inputs(facts)
    yield from _quality(facts)
    yield from _alerts(facts)


def _rollout(facts: Facts) -> Line:
    record, model = facts.record, facts.model
    if record is None:
        return Line("version", State.UNKNOWN, "No server has run with this model yet.", f"serinus serve {model}")
    stable = f"Version {record.stable} is stable"
    if record.phase in (Phase.HOLD, Phase.FROZEN):
        return Line("version", State.ACT, f"{stable}; the rollout of version {record.candidate} waits for a person: "
                                          f"{_sentence(record.reason)}",
                    f"serinus rollout explain {model}, then resume, promote or abort it")
    if record.running:
        return Line("version", State.FINE, f"{stable}; version {record.candidate} is on trial ({record.phase}) with "
                                           f"{record.weight / 100:g} % of the requests.")
    taken_off = [entry for entry in facts.journal if entry.kind in ("roll_back", "abort", "reject")]
    if taken_off:
        times = f" (and {len(taken_off) - 1} more)" if len(taken_off) > 1 else ""
        return Line("version", State.LOOK, f"{stable}. {_sentence(_told(taken_off[-1]))}{times}",
                    f"serinus rollout explain {model}")
    return Line("version", State.FINE, f"{stable}, and no rollout is under way.")


def _answers(facts: Facts) -> Line:
    begin, counted = int(facts.begin // 3600), facts.traffic.rows
    now = Counter({version: 0 for _, version in counted})
    before = 0
    for (hour, version), rows in counted.items():
        if hour >= begin:
            now[version] += rows
        else:
            before += rows
    total, since = now.total(), facts.traffic.since
    if not total:
        return Line("answers", State.UNKNOWN, "No answer is in the prediction log for this time: nobody asked, or the "
                                              "log is off or does not reach back so far.")
    by = [(version, rows) for version, rows in now.most_common() if rows]
    parts = f", {', '.join(f'{rows:,} by version {version}' for version, rows in by)}" if len(by) > 1 \
        else f" by version {by[0][0]}"
    says = f"{total:,} rows were answered{parts}"
    if since is not None and since > facts.begin + 3600:
        return Line("answers", State.FINE, f"{says}. The log reaches back to {_minute(since)} only.")
    if since is None or since > 2 * facts.begin - facts.end or before < _FEW_ROWS:
        return Line("answers", State.FINE, f"{says}.")
    ratio = total / before
    says = f"{says}; in the {_span(facts.days)} before it were {before:,}."
    if 1 / _OTHERWISE < ratio < _OTHERWISE:
        return Line("answers", State.FINE, says)
    return Line("answers", State.LOOK, says, "Ask whether callers came or went away on purpose.")


def _inputs(facts: Facts) -> Iterator[Line]:
    served = {facts.record.stable, facts.record.candidate} if facts.record else set()
    views = [view for view in facts.monitors if view["version"] in served or not served]
    if not views:
        yield Line("inputs", State.UNKNOWN, "No monitor has told anything of them.",
                   f"serinus monitor status {facts.model}")
    for view in views:
        tag = f"{facts.model}:{view['version']}"
        state = {"ok": State.FINE, "warn": State.LOOK, "alarm": State.ACT, "act": State.ACT}.get(
            view["state"], State.UNKNOWN)
        advice = {State.FINE: "", State.UNKNOWN: f"serinus monitor reference {tag} --set FILE" * (
            view["state"] == "learning")}.get(state, f"serinus monitor explain {tag}")
        yield Line("inputs", state, f"Version {view['version']}: {_sentence(view['text'])}", advice)


def _quality(facts: Facts) -> Iterator[Line]:
    if not facts.quality:
        yield Line("quality", State.UNKNOWN, "No truth is known of these days, so nobody can tell whether the answers "
                                             "were right.", f"serinus feedback {facts.model} FILE")
    for one in facts.quality:
        yield _measured(facts, one)
    for harm in facts.harm:
        if harm["state"] == "alarm":
            yield Line("quality", State.ACT, f"Version {harm['version']}: {harm['text']}",
                       f"serinus monitor performance {facts.model}, and if a rollout did it: serinus rollback")


def _measured(facts: Facts, one: Quality) -> Line:
    who = f"Version {one.version} ({one.role})"
    if one.now.value is None or one.now.rows < FEWEST:
        return Line("quality", State.UNKNOWN, f"{who}: {one.now.rows:,} truths are too few to judge by; at least "
                                              f"{FEWEST} are needed.", f"serinus feedback {facts.model} FILE")
    share = one.labelled / one.rows if one.rows else 0.0
    says = f"{who}: {one.measure} {_value(one.now)}, by the truth of {share:.0%} of its rows"
    if one.before.value is None or one.before.rows < FEWEST:
        promised = [harm for harm in facts.harm if (harm["version"], harm["role"]) == (one.version, one.role)
                    and harm["state"] == "ok"]
        more = promised[0]["text"] if promised else "There is nothing to compare it with."
        return Line("quality", State.FINE if promised else State.UNKNOWN, f"{says}. {more}")
    says = f"{says}; in the {_span(facts.days)} before it was {_value(one.before)}."
    if not _apart(one.now, one.before):
        return Line("quality", State.FINE, f"{says} The difference may be chance.")
    worse = (one.now.value < one.before.value) == one.larger_is_better
    return Line("quality", State.LOOK, f"{says} It became worse.", f"serinus monitor performance {facts.model}") \
        if worse else Line("quality", State.FINE, f"{says} It became better.")


def _apart(one: Measure, other: Measure) -> bool:
    """Whether two measures differ by more than their intervals, which err in 1 of 20 each."""
    if one.interval is None or other.interval is None:
        return False
    return one.interval[0] > other.interval[1] or one.interval[1] < other.interval[0]


def _alerts(facts: Facts) -> Iterator[Line]:
    over = sum(entry.kind == "alert.resolved" for entry in facts.journal)
    if not facts.alerts:
        yield Line("alerts", State.FINE, f"None is open; {over} ended in these days." if over else "None is open.")
    for alert in facts.alerts:
        about = f"Version {alert['version']}, {alert['kind']}: {_sentence(alert['summary'])}"
        if alert["acknowledged_by"]:
            yield Line("alerts", State.LOOK, f"{about} {alert['acknowledged_by']} looks after it.")
        elif alert["state"] == "firing":
            yield Line("alerts", State.ACT, about, f"serinus alerts ack {alert['id']}, and look after it")
        else:
            yield Line("alerts", State.LOOK, f"{about} Not for long enough yet to tell anybody.")


def _changes(journal: Iterable[JournalEntry]) -> Iterator[Change]:
    """The latest ones, oldest first."""
    told = [entry for entry in journal if entry.kind not in _QUIET]
    for entry in told[-_CHANGES:]:
        more = f" {_sentence(str(entry.body['summary']))}" if entry.body.get("summary") else ""
        why = f": {_sentence(entry.reason)}" if entry.reason else "."
        yield Change(entry.time, f"{_sentence(_told(entry))}{more} By {entry.actor}{why}")


def _told(entry: JournalEntry) -> str:
    return str(entry.body.get("text") or entry.kind)


def _days(facts: Facts) -> dict[str, dict[str, int]]:
    """Every day from the first to the last, those without rows too."""
    first, last = int(facts.begin // DAY_S), int((facts.end - 1) // DAY_S)
    found: dict[str, dict[str, int]] = {when(day * DAY_S)[:10]: {} for day in range(first, last + 1)}
    for (hour, version), rows in sorted(facts.traffic.rows.items()):
        if hour >= facts.begin // 3600:
            day = found.setdefault(when(hour * 3600)[:10], {})
            day[version] = day.get(version, 0) + rows
    return found


def _value(measure: Measure) -> str:
    if measure.interval is None:
        return f"{measure.value:.4g}"
    return f"{measure.value:.4g} ({measure.interval[0]:.4g} to {measure.interval[1]:.4g})"


def _span(days: float) -> str:
    if days >= 2:
        return f"{days:.3g} days"
    return f"{days * _HOURS:.3g} hours"


def _sentence(text: str) -> str:
    """With a full stop."""
    return text if text.endswith((".", "!", "?")) or not text else f"{text}."
