"""The report as one HTML page: no script, no font, no picture from elsewhere; light, dark and on paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from serinus.monitors.report import plots
from serinus.monitors.report.comparison import Bin, Comparison, Rate, Verdict, formatted
from serinus.monitors.report.style import STYLE

if TYPE_CHECKING:
    from serinus.monitors.report.report import Batch, Report

__all__ = ["page"]

_MUCH = 0.1
"""The corrected PSI that is commonly called a moderate change."""
_CARDS = 60
_HEAT_ROWS = 24
_WORDS = {Verdict.DRIFTED: "▲ drifted", Verdict.ABSENT: "✕ absent", Verdict.SLIGHT: "△ slight",
          Verdict.SAME: "● same", Verdict.UNKNOWN: "? unknown"}


def page(report: Report) -> str:
    """Give the page."""
    named = [feature for feature in report.features if feature.side != "joint"]
    title = f"{report.current.name} against {report.reference.name}"
    return "".join([
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="color-scheme" content="light dark"><title>Drift report: {escape(title)}</title>',
        f"<style>{STYLE}</style></head><body><main>",
        _header(report, title),
        _overview(named),
        _joint([feature for feature in report.features if feature.side == "joint"]),
        _windows(report),
        _cards(named),
        _notes(report),
        _method(report),
        "</main></body></html>",
    ])


def _header(report: Report, title: str) -> str:
    kind, word = ("bad", "Drift") if report.drifted else ("good", "No drift")
    sentence = report.sentence.partition(": ")
    if all(feature.verdict is Verdict.UNKNOWN for feature in report.features):
        kind, word = "none", "Unknown"
    facts = [("Reference", _batch(report.reference)), ("Current", _batch(report.current)),
             ("False alarms", f"at most 1 in {1 / report.level:,.0f} batches that have not changed"),
             ("Smallest visible shift", f"{report.smallest:.2g} standard deviations of a mean")]
    cells = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in facts)
    rest = f"<p>{_text(sentence[2])}</p>" if sentence[2] else ""
    return (f'<header><p class="eyebrow">Drift report</p><h1>{escape(title)}</h1>'
            f'<section class="verdict {kind}" aria-label="Verdict: {word}"><h2>{escape(sentence[0])}</h2>{rest}'
            f'</section><dl class="facts">{cells}</dl></header>')


def _batch(batch: Batch) -> str:
    span = f"<br><small>{escape(batch.span[0][:16])} to {escape(batch.span[1][:16])}</small>" if batch.span else ""
    return f"{batch.rows:,} rows{span.replace('T', ' ')}"


def _overview(features: Sequence[Comparison]) -> str:
    rows = "".join(map(_row, features))
    return (f'<section><h2>Features</h2><div class="wide"><table class="overview"><caption>Those that changed most '
            f'first. <span class="key"><i class="before"></i> reference <i class="now"></i> current</span></caption>'
            f'<thead><tr><th scope="col">feature</th><th scope="col">verdict</th><th scope="col">what changed</th>'
            f'<th scope="col">effect (PSI)</th><th scope="col" class="n">p</th><th scope="col" class="n">missing</th>'
            f'<th scope="col">distribution</th></tr></thead><tbody>{rows}</tbody></table></div></section>')


def _row(feature: Comparison) -> str:
    small = plots.spark([each.reference for each in feature.bins] or [0.0], [each.current for each in feature.bins]
                        or [0.0], about=f"Distribution of {feature.name} before and now")
    role = ' <span class="role">output</span>' if feature.side == "output" else ""
    said = feature.change if feature.verdict in (Verdict.DRIFTED, Verdict.SLIGHT) else feature.reason
    return (f'<tr class="{feature.verdict}"><th scope="row"><a href="#{_anchor(feature)}">{escape(feature.name)}</a>'
            f'{role}</th><td>{_chip(feature.verdict)}</td><td>{_text(said)}</td><td class="effect">{_effect(feature)}'
            f'</td><td class="n">{_p(feature.p)}</td><td class="n">{_missing(feature)}</td><td>{small}</td></tr>')


def _missing(feature: Comparison) -> str:
    return "–" if feature.p is None else _percent(feature.missing.current)


def _chip(verdict: Verdict) -> str:
    return f'<span class="chip {verdict}">{_WORDS[verdict]}</span>'


def _effect(feature: Comparison) -> str:
    if feature.psi is None:
        return "–"
    drawn = plots.meter(feature.psi, _MUCH, about=f"PSI {feature.psi:.3f}, of which {_MUCH} is much")
    return f'{drawn}<span class="n">{max(feature.psi, 0.0):.3f}</span>'


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return "&lt; 10⁻⁶" if p < 1e-6 else f"{p:.2g}"


def _joint(features: Sequence[Comparison]) -> str:
    if not features:
        return ""
    changed = [feature for feature in features if feature.changed]
    novelty = next((feature for feature in features if feature.name == "novelty"), None)
    projections = [feature for feature in features if feature is not novelty]
    said = []
    if novelty is not None:
        far = "rows are less like the reference's" if (novelty.shift or 0.0) > 0 else "rows have changed"
        said.append(f"Novelty, the distance of a row from the reference’s: {_chip(novelty.verdict)} "
                    f"{far if novelty.changed else ''}")
    if projections:
        count = sum(feature.changed for feature in projections)
        said.append(f"Random projections of all numbers at once, which see correlations: "
                    f"<b>{count} of {len(projections)}</b> drifted")
    items = "".join(f"<li>{each}</li>" for each in said)
    word = "has changed" if changed else "is as it was"
    return f"<section><h2>How the features go together {word}</h2><ul>{items}</ul></section>"


def _windows(report: Report) -> str:
    if len(report.windows) < 2:
        return ""
    chosen = [row for row, feature in enumerate(report.features)
              if feature.side != "joint" and feature.psi is not None][:_HEAT_ROWS]
    starts = [window.start for window in report.windows]
    names = [report.features[row].name for row in chosen]
    drifted = [[name in window.drifted for window in report.windows] for name in names]
    values = [[window.psi[row] for window in report.windows] for row in chosen]
    beside = {feature.name for feature in report.features if feature.side == "joint"}
    counts = [len(set(window.drifted) - beside) for window in report.windows]
    first = next((start for start, count in zip(starts, counts, strict=True) if count), None)
    many = sum(map(bool, counts))
    said = f"{many} of {len(starts)} windows of one {report.period} show drift" + (
        f"; the first begins {first[:16].replace('T', ' ')}" if first else "")
    rows = plots.rows_by_window(starts, [window.rows for window in report.windows], counts,
                                about=f"Rows per {report.period}; {said}")
    cells = plots.heat(names, starts, values, drifted, about=f"Effect by feature and {report.period}; {said}")
    return (f'<section><h2>By {report.period}</h2><p>{said}. The darker a cell, the larger the effect (PSI, full at '
            f'0.25); a dot marks sure drift.</p><div class="wide">{rows}{cells}</div></section>')


def _cards(features: Sequence[Comparison]) -> str:
    shown = "".join(map(_card, features[:_CARDS]))
    more = len(features) - _CARDS
    rest = f"<p>{more:,} further features are in the table above and in the JSON form.</p>" if more > 0 else ""
    return f'<section><h2>Distributions</h2><div class="cards">{shown}</div>{rest}</section>'


def _card(feature: Comparison) -> str:
    role = f"{feature.side}, {feature.kind}"
    head = (f'<article class="card {feature.verdict}" id="{_anchor(feature)}"><header><h3>{escape(feature.name)}</h3>'
            f'{_chip(feature.verdict)}<small>{role}</small></header>')
    if not feature.bins:
        return f"{head}<p>{escape(feature.reason)}</p></article>"
    labels = [each.label for each in feature.bins]
    about = f"Shares of the bins of {feature.name}. {feature.change or feature.reason}"
    drawn = plots.bars(labels, [each.reference for each in feature.bins], [each.current for each in feature.bins],
                       _ticks(feature), about=about)
    said = feature.change if feature.verdict in (Verdict.DRIFTED, Verdict.SLIGHT) else feature.reason
    line = f'<p class="said">{_text(said)}</p>' if said else ""
    facts = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in _facts(feature))
    return f'{head}{line}{drawn}<dl>{facts}</dl>{_table(feature.bins)}</article>'


def _facts(feature: Comparison) -> Iterable[tuple[str, str]]:
    if feature.means is not None and feature.shift is not None:
        before, now = (formatted(mean, moment=feature.moments) for mean in feature.means)
        yield "mean", f"{before} → {now} <small>({feature.shift:+.2f} sd)</small>"
    if feature.wasserstein is not None and not feature.moments:
        yield "moved by", f"{formatted(feature.wasserstein)} <small>on average</small>"
    if feature.distance is not None and feature.threshold is not None:
        yield "distance", f"{feature.distance:.4g} <small>threshold {feature.threshold:.4g}</small>"
    yield from ((name, _rate(rate)) for name, rate in (("missing", feature.missing), ("unseen", feature.unseen))
                if rate.current > 0 or rate.reference > 0)


def _rate(rate: Rate) -> str:
    return (f"{_percent(rate.reference)} → {_percent(rate.current)} "
            f"<small>({_percent(rate.low)} to {_percent(rate.high)})</small>")


def _ticks(feature: Comparison) -> list[tuple[float, str]]:
    """Name categories below their bars, and numbers between some of the bars."""
    special = {"missing", "unseen"}
    last = [(place + 0.5, each.label) for place, each in enumerate(feature.bins) if each.label in special]
    values = [each.label for each in feature.bins if each.label not in special]
    if feature.kind == "categorical":
        room = max(4, 66 // max(len(feature.bins), 1))
        return [(place + 0.5, label if len(label) <= room else f"{label[: room - 1]}…")
                for place, label in enumerate(values)] + [(place, label[:room]) for place, label in last]
    every = max(1, -(-len(values) // (6 if not last else 5)))
    return [(place, _edge(values[place])) for place in range(1, len(values), every)] + last


def _edge(label: str) -> str:
    """Give the lower edge of a bin from its name, a number as numbers are written here."""
    text = label.removeprefix("from ").partition(" to ")[0]
    try:
        return formatted(float(text))
    except ValueError:  # a date
        return text


def _table(bins: Sequence[Bin]) -> str:
    rows = "".join(f'<tr><th scope="row">{escape(each.label)}</th><td class="n">{_percent(each.reference)}</td>'
                   f'<td class="n">{_percent(each.current)}</td></tr>' for each in bins)
    return ('<details><summary>as a table</summary><table><thead><tr><th scope="col">bin</th>'
            f'<th scope="col" class="n">reference</th><th scope="col" class="n">current</th></tr></thead>'
            f'<tbody>{rows}</tbody></table></details>')


def _notes(report: Report) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    return f"<section><h2>Notes</h2><ul>{items}</ul></section>" if items else ""


def _method(report: Report) -> str:
    how = ("the χ² test of shape, location, scale, missing and unseen values, with the dispersion of the reference’s "
           "own time blocks" if report.distance is None else
           f"the distance {escape(report.distance)}, with a threshold for these numbers of rows")
    return (f'<footer><h2>How this was judged</h2><p>Each feature’s values fall into 16 bins of the reference, one '
            f'for missing and one for unseen values. They are compared by {how}. By Holm’s correction the chance that '
            f'a batch of an unchanged population names any of {len(report.features):,} features is at most '
            f'{report.level:g}. What is sure but has a corrected PSI below {report.effect:g} is called slight and is '
            f'no drift. Intervals are Wilson’s, at 95 %.</p>'
            f'<p class="digest">Reference {escape(report.digest)}</p></footer>')


def _anchor(feature: Comparison) -> str:
    return "f-" + "".join(sign if sign.isalnum() else f"_{ord(sign):x}" for sign in feature.name)


def _text(words: str) -> str:
    """Give words for the page; a number stays on the line of its unit."""
    return escape(words).replace(" %", "\u00a0%").replace(" sd", "\u00a0sd")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
