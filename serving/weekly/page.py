"""The weekly page: one HTML file without script, font or picture from elsewhere; light, dark and on paper."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from serinus.monitors.report.plots import svg
from serinus.monitors.report.style import STYLE
from serinus.serving.weekly.weekly import Line, State, Weekly, when

__all__ = ["page"]

_KINDS = {State.FINE: "good", State.UNKNOWN: "none", State.LOOK: "slight", State.ACT: "bad"}
_WORDS = {State.FINE: "● fine", State.UNKNOWN: "? unknown", State.LOOK: "△ look", State.ACT: "▲ act"}
_MORE = """
.week td:first-child{width:8em;color:var(--soft)}.week td:nth-child(2){width:8em}.week td{vertical-align:top}
h3{margin-top:22px}ol.todo{padding-left:22px}ol.todo li{margin:8px 0}ol.todo code{font-size:14px;overflow-wrap:anywhere}
.when td:first-child{white-space:nowrap;color:var(--soft);font-variant-numeric:tabular-nums;width:11em}
.when td{vertical-align:top}.bar{fill:var(--now)}
@media (max-width:560px){.week td,.when td{display:block;width:auto!important;border-bottom:0;padding:2px 0}
.week tr,.when tr{display:block;border-bottom:1px solid var(--line);padding:8px 0}}
"""
_WIDTH, _HEIGHT, _FOOT = 960, 130, 22


def page(weekly: Weekly) -> str:
    """Give the page."""
    span = f"{when(weekly.begin)[:10]} to {when(weekly.end)[:10]}"
    title = f"{weekly.model}, {span}"
    return "".join([
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title>',
        f"<style>{STYLE}{_MORE}</style></head><body><main>",
        f'<header><p class="eyebrow">{escape(span)}</p><h1>{escape(weekly.model)}</h1>',
        f'<section class="verdict {_KINDS[weekly.state]}" aria-label="Verdict"><h2>{escape(weekly.headline)}</h2>'
        f"</section></header>",
        f'<section><h2>Is it fine?</h2><table class="week"><tbody>{_rows(weekly.lines)}</tbody></table></section>',
        f"<section><h2>What changed</h2>{_changes(weekly)}{_volume(weekly)}</section>",
        f"<section><h2>What to do</h2>{_actions(weekly)}</section>",
        _remarks(weekly),
        '<footer><p>Written by Serinus. Times are UTC. "Unknown" means that nobody looked or that too little is '
        'known; it does not mean fine.</p></footer></main></body></html>',
    ])


def _rows(lines: Iterable[Line]) -> str:
    return "".join(f'<tr><td>{escape(line.subject)}</td><td><span class="chip {_KINDS[line.state]}">'
                   f"{_WORDS[line.state]}</span></td><td>{escape(line.says)}</td></tr>" for line in lines)


def _changes(weekly: Weekly) -> str:
    if not weekly.changes:
        return "<p>Nobody changed anything, and nothing raised an alert.</p>"
    rows = "".join(f"<tr><td>{when(change.time)[:16].replace('T', ' ')}</td><td>{escape(change.says)}</td></tr>"
                   for change in weekly.changes)
    return f'<table class="when"><tbody>{rows}</tbody></table>'


def _volume(weekly: Weekly) -> str:
    """Rows by day as bars, with the same numbers as a table."""
    totals = {day: sum(rows.values()) for day, rows in weekly.days.items()}
    most = max(totals.values(), default=0)
    if not most:
        return ""
    step, floor = _WIDTH / len(totals), _HEIGHT - _FOOT
    every = max(1, -(-len(totals) * 90 // _WIDTH))
    marks = []
    for place, (day, rows) in enumerate(totals.items()):
        size, x = rows / most * (floor - 16), place * step
        marks.append(f'<g><title>{day}: {rows:,} rows</title><rect class="hit" x="{x:.1f}" y="0" width="{step:.1f}" '
                     f'height="{floor}"/><rect class="bar" x="{x + 1.5:.1f}" y="{floor - size:.1f}" '
                     f'width="{max(step - 3, 0.5):.1f}" height="{size:.1f}" rx="2"/></g>')
        if place % every == 0:
            marks.append(f'<text x="{x + 2:.1f}" y="{_HEIGHT - 6}">{day}</text>')
    drawn = svg(_WIDTH, _HEIGHT, f"Rows answered by day, {most:,} at most", marks)
    versions = sorted({version for rows in weekly.days.values() for version in rows}, key=int)
    head = "".join(f'<th scope="col" class="n">version {escape(version)}</th>' for version in versions)
    body = "".join(f'<tr><th scope="row">{day}</th>' + "".join(
        f'<td class="n">{rows.get(version, 0):,}</td>' for version in versions) + "</tr>"
        for day, rows in weekly.days.items())
    return (f'<h3>Rows answered by day</h3><div class="wide">{drawn}</div><details><summary>as a table</summary><table>'
            f'<thead><tr><th scope="col">day</th>{head}</tr></thead><tbody>{body}</tbody></table></details>')


def _actions(weekly: Weekly) -> str:
    if not weekly.actions:
        return "<p>Nothing.</p>"
    return f'<ol class="todo">{"".join(map(_action, weekly.actions))}</ol>'


def _action(advice: str) -> str:
    """A command in its own type, with the words behind it."""
    if not advice.startswith("serinus "):
        return f"<li>{escape(advice)}</li>"
    command, comma, rest = advice.partition(",")
    return f"<li><code>{escape(command)}</code>{escape(comma + rest)}</li>"


def _remarks(weekly: Weekly) -> str:
    items = "".join(f"<li>{escape(remark)}</li>" for remark in weekly.remarks)
    return f"<section><h2>What could not be read</h2><ul>{items}</ul></section>" if items else ""
