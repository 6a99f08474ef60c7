"""Journal entries as sentences for people."""

from __future__ import annotations

from datetime import UTC, datetime

from serinus.serving.store import JournalEntry


def explain(entry: JournalEntry) -> str:
    """One line: when (UTC), what, who, and why if given."""
    when = datetime.fromtimestamp(entry.time, UTC).strftime("%Y-%m-%d %H:%M:%S")
    what = str(entry.body.get("text") or f"{entry.kind}.")
    why = f": {entry.reason}" if entry.reason else ""
    return f"{when} {what} By {entry.actor}{why}"
