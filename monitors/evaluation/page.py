"""The report as one HTML page: no script, no font, no picture from elsewhere; light, dark and on paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from typing import Any

from serinus.monitors.evaluation import plots
from serinus.monitors.evaluation.calibration import CalibrationFound
from serinus.monitors.evaluation.check import Check, Status
from serinus.monitors.evaluation.compare import Compared, Comparison, rounded
from serinus.monitors.evaluation.fairness import FairnessFound, Gap
from serinus.monitors.evaluation.gate import Gate, Verdict
from serinus.monitors.evaluation.latency import LatencyFound
from serinus.monitors.evaluation.leakage import LeakageFound
from serinus.monitors.evaluation.profile import Likeness, ProfileFound
from serinus.monitors.evaluation.provenance import Provenance
from serinus.monitors.evaluation.robustness import Change, RobustnessFound
from serinus.monitors.evaluation.signature import SignatureFound
from serinus.monitors.evaluation.slices import Slice, SlicesFound
from serinus.monitors.intervals import Interval
from serinus.monitors.report.style import STYLE

__all__ = ["page"]

_KINDS = {Status.PASS: "good", Status.WARN: "slight", Status.FAIL: "bad", Status.NOT_RUN: "none"}
_WORDS = {Status.PASS: "✓ pass", Status.WARN: "△ warn", Status.FAIL: "✕ fail", Status.NOT_RUN: "? not run"}
_UNDECIDED = "? undecided"
_VERDICTS = {Verdict.PASS: ("good", "Passed"), Verdict.FAIL: ("bad", "Failed"),
             Verdict.UNDECIDED: ("none", "Undecided")}
_SLICES, _IDS = 15, 12
_STYLE = """
.chip{min-width:76px;text-align:center}.checks td:last-child{max-width:64ch}
svg.change{display:inline-block;width:300px;min-width:180px;vertical-align:middle}.point{fill:var(--now)}
svg.change .fill{fill:var(--before)}.beyond{fill:var(--badback)}.two{display:grid;gap:8px 40px;
grid-template-columns:minmax(260px,340px) minmax(0,1fr);align-items:start}svg.square{width:100%;max-width:340px}
.bar{stroke:var(--now);stroke-width:1.5;stroke-opacity:.5}.old,.new{fill:none;stroke-width:2}.old{stroke:var(--before)}
.new{stroke:var(--now)}.ids{font-size:12.5px;color:var(--soft);overflow-wrap:anywhere}
.check{border-top:1px solid var(--line);margin-top:34px;padding-top:4px}.check h2{display:flex;gap:12px;
align-items:center;margin-top:18px}.heat td{text-align:right;font-variant-numeric:tabular-nums;padding:5px 10px;
border-radius:4px}.heat th{white-space:nowrap}.bad .fill{fill:var(--bad)}.key i{margin-left:0}
.check h3{margin:22px 0 8px}.check .wide{margin-top:12px}.check svg.plot{max-width:760px}
.check .facts{margin-top:10px}th .chip{margin-left:8px}.checks a{text-transform:capitalize}
@media(max-width:760px){.two{grid-template-columns:1fr}}
"""


def page(gate: Gate) -> str:
    """Give the page."""
    title = escape(gate.evaluated.tag)
    return "".join([
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="color-scheme" content="light dark"><title>Evaluation of {title}</title>',
        f"<style>{STYLE}{_STYLE}</style></head><body><main>",
        _header(gate),
        _overview(gate),
        *(_section(check) for check in gate.checks),
        _method(gate),
        "</main></body></html>",
    ])


def _header(gate: Gate) -> str:
    kind, word = _VERDICTS[gate.verdict]
    what, found = gate.evaluated, gate.check("metrics").details
    looks = found.looks if isinstance(found, Comparison) else 1
    left = f"<br><small>{what.left_out:,} left out</small>" if what.left_out else ""
    facts = [("Evaluation set", f"{escape(what.data)}<br><small>target {escape(what.target)}</small>"),
             ("Rows", f"{what.rows:,}{left}"), ("Against", escape(what.against) or "a trivial answer"),
             ("Look at these rows", _look(looks)), ("Judged", what.at.replace("T", " "))]
    cells = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in facts)
    return (f'<header><p class="eyebrow">Evaluation gate</p><h1>{escape(what.tag)}</h1>'
            f'<section class="verdict {kind}" aria-label="Verdict: {word}"><h2>{word}</h2><p>{_text(gate.sentence)}</p>'
            f'</section><dl class="facts">{cells}</dl></header>')


def _look(number: int) -> str:
    return "the first" if number == 1 else f"number {number} <small>(intervals are wider for it)</small>"


def _overview(gate: Gate) -> str:
    rows = "".join(f'<tr class="{_KINDS[check.status]}"><th scope="row">{_link(check)}</th>'
                   f'<td>{_status(check)}</td><td>{_text(check.reason)}</td></tr>' for check in gate.checks)
    return ('<section><h2>Checks</h2><div class="wide"><table class="checks"><thead><tr><th scope="col">check</th>'
            f'<th scope="col">status</th><th scope="col">why</th></tr></thead><tbody>{rows}</tbody></table></div>'
            '</section>')


def _link(check: Check) -> str:
    return f'<a href="#{check.name}">{check.name}</a>' if type(check.details) in _DRAWN else check.name.capitalize()


def _status(check: Check) -> str:
    return _chip(check.status, _UNDECIDED if check.undecided else "")


def _chip(status: Status, word: str = "") -> str:
    return f'<span class="chip {_KINDS[status]}">{word or _WORDS[status]}</span>'


def _section(check: Check) -> str:
    draw = _DRAWN.get(type(check.details))
    if draw is None:
        return ""
    return (f'<section class="check" id="{check.name}"><h2>{check.name.capitalize()} {_status(check)}</h2>'
            f'{"".join(draw(check.details))}</section>')


def _metrics(found: Comparison) -> Iterator[str]:
    rows = "".join(map(_metric, found.metrics))
    yield (f'<div class="wide"><table><caption>To the right is better. The shaded part is beyond the margin; bars are '
           f'{100 * found.level:.4g} % intervals.</caption><thead><tr><th scope="col">metric</th>'
           f'<th scope="col" class="n">value</th><th scope="col" class="n">{escape(found.against)}</th>'
           f'<th scope="col">change</th><th scope="col" class="n">p</th>'
           f'<th scope="col" class="n">rows needed</th></tr></thead><tbody>{rows}</tbody></table></div>')
    if found.fixed is not None:
        yield f"<p>It gets {found.fixed:,} rows right that {escape(found.against)} gets wrong, and {found.broke:,} "
        yield "the other way round.</p>"


def _metric(one: Compared) -> str:
    ends = one.difference_interval
    drawn = "–"
    if ends is not None:
        better = ends if one.higher else Interval(-ends.high, -ends.low)
        value = one.difference if one.higher else -one.difference
        said = f"{_signed(one.difference)} <small>({_signed(ends.low)} to {_signed(ends.high)})</small>"
        about = f"{one.title}: change {_signed(one.difference)}"
        drawn = f"{plots.change(value, better, one.margin, about=about)}<br>{said}"
    span = f"<br><small>{one.interval.low:.4g} to {one.interval.high:.4g}</small>" if one.interval else ""
    needed = f"{rounded(one.rows_needed):,}" if one.rows_needed else ""
    word = _UNDECIDED if one.status is Status.NOT_RUN else ""
    decides = "" if one.margin is None and one.floor is None else f" {_chip(one.status, word)}"
    return (f'<tr><th scope="row">{escape(one.title)}{decides}</th><td class="n">{one.value:.4g}{span}</td>'
            f'<td class="n">{one.current:.4g}</td><td>{drawn}</td><td class="n">{_p(one.p)}</td>'
            f'<td class="n">{needed}</td></tr>')


def _calibration(found: CalibrationFound) -> Iterator[str]:
    ours, before = found.candidate, found.current
    facts = [("Calibration error", f"{ours.error:.4f}" + ("" if before is None else
                                                          f" <small>before {before.error:.4f}</small>"))]
    if found.interval is not None:
        facts.append(("Brier score, change", f"{_signed(found.difference)} <small>({_signed(found.interval.low)} to "
                                             f"{_signed(found.interval.high)})</small>"))
    facts.append(("Slope and intercept", f"{ours.slope:.3g} and {_signed(ours.intercept)} "
                                         "<small>1 and 0 are right; a slope below 1 is too sure</small>"))
    drawn = plots.reliability(ours.bins, before.bins if before else (), about="What was said against what came true")
    old = '<i class="before"></i> current &ensp;' if before else ""
    yield (f'<div class="two"><div>{drawn}</div><div><p class="key">{old}<i class="now"></i> candidate, with Wilson’s '
           f'intervals. On the dashed line, 80&nbsp;% sure is right 8 times in 10.</p>{_facts(facts)}</div></div>')


def _slices(found: SlicesFound) -> Iterator[str]:
    shown = found.slices[:_SLICES]
    reach = max((max(abs(end) for end in one.interval) for one in shown if one.interval is not None), default=1.0)
    rows = "".join(_slice(one, reach) for one in shown)
    more = len(found.slices) - len(shown)
    yield (f'<div class="wide"><table><caption>The share of wrong answers, those that got worse first. Slices marked '
           f'“found” were searched among {found.tried:,} and are measured on rows that had no part in the search.'
           f'{f" {more} more are in the JSON form." if more > 0 else ""}</caption><thead><tr><th scope="col">slice</th>'
           f'<th scope="col" class="n">rows</th><th scope="col" class="n">wrong</th>'
           f'<th scope="col" class="n">before</th><th scope="col">change</th><th scope="col" class="n">p</th></tr>'
           f'</thead><tbody>{rows}</tbody></table></div>')
    if found.churn is not None:
        yield f"<h3>Churn</h3><p>{escape(found.churn.sentence)}</p>"
        for word, rows_ in (("Broke", found.churn.broke_rows), ("Fixed", found.churn.fixed_rows)):
            if rows_:
                yield f'<p class="ids">{word}, the surest first: rows {_listed(rows_)}</p>'


def _slice(one: Slice, reach: float) -> str:
    status = Status.NOT_RUN if one.unknown else Status.FAIL if one.named else Status.PASS
    kind = "" if one.declared else ' <span class="role">found</span>'
    drawn = "too few rows" if one.interval is None else plots.change(
        -one.difference, Interval(-one.interval.high, -one.interval.low), None,
        reach=reach,
        about=f"{one.name}: {one.difference:+.3f}")
    return (f'<tr class="{_KINDS[status]}"><th scope="row">{escape(one.name)}{kind}</th><td class="n">{one.rows:,}</td>'
            f'<td class="n">{_percent(one.loss)}</td><td class="n">{_percent(one.current)}</td><td>{drawn}</td>'
            f'<td class="n">{"" if one.unknown else _p(one.p)}</td></tr>')


def _robustness(found: RobustnessFound) -> Iterator[str]:
    names = dict.fromkeys(one.change for one in found.changes if not one.change.startswith("swapped"))
    features = list(dict.fromkeys(one.feature for one in found.changes))
    by = {(one.feature, one.change): one for one in found.changes}
    head = "".join(f'<th scope="col" class="n">{escape(name)}</th>' for name in names)
    rows = "".join(f'<tr><th scope="row">{escape(feature)}</th>'
                   f'{"".join(_flip(by.get((feature, name))) for name in names)}</tr>' for feature in features)
    yield (f'<h3>Answers that flip when one feature changes</h3><div class="wide"><table class="heat"><caption>Share '
           f'of {found.rows:,} rows; hover for the cost and the current version. “Without” shuffles the feature.'
           f'</caption><thead><tr><th scope="col">feature</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>')
    swaps = [one for one in found.changes if one.change.startswith("swapped")]
    if swaps:
        yield "<ul>" + "".join(f"<li>{escape(one.feature)} {escape(one.change)}: {_percent(one.flips or 0.0)}</li>"
                               for one in swaps if one.flips is not None) + "</ul>"
    lost = sorted((one for one in found.changes if one.change == "without" and one.cost is not None),
                  key=lambda one: -(one.cost or 0.0))
    most = max((one.cost or 0.0 for one in lost), default=0.0)
    yield _table(("feature", "lost without it", "", "interval"), [
        (escape(one.feature), plots.share(one.cost or 0.0, most, about=f"{one.cost:.3f}"), _percent(one.cost or 0.0),
         "" if one.interval is None else f"{_percent(one.interval.low)} to {_percent(one.interval.high)}")
        for one in lost[:12]])
    yield "<h3>Edges</h3>" + _table(("request", "status", "what happened"), [
        (escape(edge.name), _chip(edge.status), escape(edge.said)) for edge in found.edges])
    if found.contracts:
        yield "<h3>Contracts</h3>" + _table(("promise", "broken in", "of"), [
            (escape(one.name), f"{one.broken:,}", f"{one.rows:,} rows") for one in found.contracts])


def _flip(one: Change | None) -> str:
    if one is None:
        return "<td></td>"
    if one.flips is None:
        return f'<td title="{escape(one.refused)}">refused</td>'
    before = "" if one.current_flips is None else f"; current version {_percent(one.current_flips)}"
    cost = "" if one.cost is None else f"costs {100 * one.cost:+.1f} points"
    shade = f"background:color-mix(in srgb,var(--bad) {min(55, round(70 * one.flips))}%,transparent)"
    return f'<td style="{shade}" title="{cost}{before}">{_percent(one.flips)}</td>'


def _fairness(found: FairnessFound) -> Iterator[str]:
    for gap in found.gaps:
        yield f"<h3>{escape(gap.column)}: {escape(gap.rate)} {_gap_chip(gap)}</h3>{_gap(gap)}"


def _gap_chip(gap: Gap) -> str:
    return _chip(gap.status, _UNDECIDED if gap.status is Status.NOT_RUN else "")


def _gap(gap: Gap) -> str:
    values = [(rate.group, rate.value or 0.0, rate.interval,
               f"{rate.rows:,} rows" if rate.value is not None else f"unknown: {rate.rows} rows") for rate in gap.rates]
    return f'<div class="wide">{plots.ranges(values, about=f"{gap.rate} by {gap.column}")}</div>'


def _leakage(found: LeakageFound) -> Iterator[str]:
    facts = [("Rows there more than once", _percent(found.twice)),
             ("Rows of the training", "not known" if found.trained is None else _percent(found.trained))]
    if found.classes:
        facts.append(("Classes", ", ".join(f"{escape(name)} {rows:,}" for name, rows in found.classes.items())))
    yield _facts(facts)
    yield _table(("feature alone", "area under its ROC curve", ""), [
        (escape(name), plots.share(area - 0.5, 0.5, about=f"{area:.3f}"), f"{area:.3f}")
        for name, area in found.areas.items()])
    if found.suspects:
        yield f"<h3>Labels that contradict it where it is surest: {found.doubted:,}</h3>" + (
            f"<p>Were its probabilities right, there would be about {found.expected:.0f}.</p>") + _table(
            ("row", "label", "the version says", "how sure"), [
                (escape(one.row), escape(one.truth), escape(one.answer), _percent(one.probability))
                for one in found.suspects[:_IDS]])


def _latency(found: LatencyFound) -> Iterator[str]:
    yield _table(("rows", "median", "95 in 100", "99 in 100", "current", "ratio"), [
        (f"{one.rows}", _ms(one.p50), _ms(one.p95), _ms(one.p99), _ms(one.current_p50),
         "–" if one.ratio is None or one.interval is None else
         f"{one.ratio:.2f} <small>({one.interval.low:.2f} to {one.interval.high:.2f})</small>")
        for one in found.timings])
    cost = found.cost
    before = "" if cost.current_file_mb is None else f" <small>current {cost.current_file_mb:.3g} MB</small>"
    yield _facts([("Artifact", f"{cost.file_mb:.3g} MB{before}"), ("Loaded in", _ms(cost.load_ms)),
                  ("Memory for it", f"{cost.rss_mb:.3g} MB"),
                  ("Machine", ", ".join(escape(str(value)) for value in cost.machine.values()))])


def _live(found: Likeness | None) -> tuple[str, str]:
    return "Against live rows", "too few are logged" if found is None else (
        f"{escape(found.sentence)} <small>the last {found.rows:,} logged rows</small>")


def _unwatched(found: Likeness) -> Iterator[str]:
    yield _facts([_live(found)])


def _profile(found: ProfileFound) -> Iterator[str]:
    yield _facts([("Reference", f"{found.rows:,} rows, {found.features} features"),
                  ("False alarms", f"at most one in {found.run_length:,.0f} rows"),
                  ("Replayed on itself", f"{found.replayed:,} rows, {found.alarms} alarms"),
                  ("Not supported", _listed(found.unsupported) or "none"),
                  ("Too few rows", _listed(found.too_small) or "none"), _live(found.live),
                  ("Digest", found.digest[:19] + "…")])


def _provenance(found: Provenance) -> Iterator[str]:
    names = {"model": "Model", "data": "Evaluation set", "training": "Training data", "commit": "Commit",
             "libraries": "Libraries", "license": "Licence", "approver": "Approver", "policy": "Policy",
             "previous": "Gate before"}
    known = [(word, escape(str(getattr(found, name)))) for name, word in names.items()]
    yield _facts([(word, f'<span class="digest">{text}</span>' if text else "not known") for word, text in known])


def _signature(found: SignatureFound) -> Iterator[str]:
    facts = [("Outputs", "as the signature says" if not found.problems else escape(" ".join(found.problems))),
             ("Callers of the current version", "are answered" if not found.obstacles else
              escape(" ".join(found.obstacles)))]
    if found.replayed is not None:
        again = found.replayed
        facts.append(("Logged rows", f"{again.rows:,}, of which {again.errors:,} are refused and "
                                     f"{_percent(again.share)} get another answer"))
    else:
        facts.append(("Logged rows", escape(found.not_replayed)))
    if found.agreement is not None:
        facts.append((f"Made of {escape(found.agreement.parent)}",
                      f"{_percent(found.agreement.changed)} of the answers changed, numbers by at most "
                      f"{found.agreement.apart:.2g}"))
    yield _facts(facts)


_DRAWN: dict[type, Callable[[Any], Iterable[str]]] = {
    SignatureFound: _signature, Comparison: _metrics, CalibrationFound: _calibration, SlicesFound: _slices,
    RobustnessFound: _robustness, FairnessFound: _fairness, LeakageFound: _leakage, LatencyFound: _latency,
    ProfileFound: _profile, Likeness: _unwatched, Provenance: _provenance}


def _method(gate: Gate) -> str:
    return ('<footer><h2>How this was judged</h2><p>A metric passes where the whole interval of its difference, row by '
            'row, is better than the margin allows (non-inferiority); it fails where the whole interval is worse, and '
            'otherwise the rows are too few to tell. Accuracy: McNemar’s exact test and Newcombe’s paired interval. '
            'ROC AUC: DeLong. Others: a paired bootstrap. The k-th version judged on the same rows is judged at an '
            'error of 5 % / k². Slices are named by Benjamini and Hochberg’s rule.</p>'
            f'<p class="digest">Evaluation set {escape(gate.evaluated.digest)}</p></footer>')


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    return ('<dl class="facts">' + "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in facts)
            + "</dl>")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    heads = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join(f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
                   for first, *rest in rows)
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _listed(words: Sequence[str]) -> str:
    shown = ", ".join(escape(word) for word in words[:_IDS])
    return shown + (f" and {len(words) - _IDS} more" if len(words) > _IDS else "")


def _text(words: str) -> str:
    """Give words for the page; a number stays on the line of its unit."""
    return escape(words).replace(" %", "\u00a0%")


def _percent(value: float) -> str:
    return f"{100 * value:.3g}\u00a0%".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return "&lt; 10⁻⁶" if p < 1e-6 else f"{p:.2g}"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}\u00a0ms"
