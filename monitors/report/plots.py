"""The report's pictures: small functions from numbers to SVG. Colours are the page's classes, so they follow its theme.

Every picture says in words what it shows (`aria-label`), and each mark has a `<title>` that browsers show on hovering.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

__all__ = ["bars", "heat", "meter", "rows_by_window", "spark", "svg"]

_WIDTH = 460
_LEFT, _BOTTOM, _TOP = 40, 26, 10


def bars(labels: Sequence[str], reference: Sequence[float], current: Sequence[float],
         ticks: Sequence[tuple[float, str]], *, about: str) -> str:
    """Draw the shares of bins side by side: the reference as a grey step behind the current bars.

    Args:
        labels: what each bin holds.
        reference, current: shares of rows.
        ticks: where on the axis (in bins from the left) stands which text.
        about: the picture in words.
    """
    height = 150
    most = max(*reference, *current, 0.01)
    step = (_WIDTH - _LEFT) / len(labels)
    floor = height - _BOTTOM
    scale = (floor - _TOP) / most
    marks = []
    for place, (label, p, q) in enumerate(zip(labels, reference, current, strict=True)):
        x = _LEFT + place * step
        marks.append(
            f'<g><title>{escape(label)}: {_percent(p)} before, {_percent(q)} now</title>'
            f'<rect class="hit" x="{x:.1f}" y="{_TOP}" width="{step:.1f}" height="{floor - _TOP}"/>'
            f'<rect class="before" x="{x + 1:.1f}" y="{floor - p * scale:.1f}" width="{step - 2:.1f}" '
            f'height="{p * scale:.1f}"/>'
            f'<rect class="now" x="{x + step * 0.22:.1f}" y="{floor - q * scale:.1f}" width="{step * 0.56:.1f}" '
            f'height="{q * scale:.1f}" rx="1.5"/></g>')
    lines = [_grid(share, floor - share * scale) for share in _steps(most)]
    texts = [_tick(_LEFT + place * step, height - 9, text) for place, text in ticks]
    axis = f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH}" y1="{floor}" y2="{floor}"/>'
    return svg(_WIDTH, height, about, [*lines, *marks, axis, *texts])


def rows_by_window(starts: Sequence[str], rows: Sequence[int], drifted: Sequence[int], *, about: str) -> str:
    """Draw how many rows each window has; windows in which anything drifted are marked."""
    height, width = 84, 960
    most, step = max(*rows, 1), (width - _HEAT_LEFT) / len(rows)
    floor = height - 18
    marks = []
    for place, (start, count, names) in enumerate(zip(starts, rows, drifted, strict=True)):
        size = count / most * (floor - 6)
        kind = "drift" if names else "calm"
        marks.append(f'<g><title>{escape(start)}: {count:,} rows, {names} drifted</title>'
                     f'<rect class="{kind}" x="{_HEAT_LEFT + place * step + 0.5:.1f}" y="{floor - size:.1f}" '
                     f'width="{max(step - 1, 0.5):.1f}" height="{size:.1f}" rx="1"/></g>')
    name = f'<text x="{_HEAT_LEFT - 8}" y="{floor - 2}" class="name">rows</text>'
    return svg(width, height, about, [*marks, name, *_dates(starts, step, height - 4)])


_HEAT_LEFT = 170
_UNSURE = 0.3


def heat(names: Sequence[str], starts: Sequence[str], values: Sequence[Sequence[float]],
         drifted: Sequence[Sequence[bool]], *, about: str) -> str:
    """Draw features (rows) by windows (columns): the darker, the further; what is sure has a dot, the rest is pale."""
    line, width = 22, 960
    step = (width - _HEAT_LEFT) / len(starts)
    marks = []
    for row, name in enumerate(names):
        y = row * line
        marks.append(f'<text x="{_HEAT_LEFT - 8}" y="{y + 15}" class="name">{escape(_short(name, 22))}</text>')
        for column, start in enumerate(starts):
            x = _HEAT_LEFT + column * step
            strength = min(max(values[row][column], 0.0) / 0.25, 1.0) * (1.0 if drifted[row][column] else _UNSURE)
            dot = f'<circle class="dot" cx="{x + step / 2:.1f}" cy="{y + line / 2:.1f}" r="{min(2.4, step / 3):.1f}"/>'
            marks.append(
                f'<g><title>{escape(name)}, {escape(start)}: PSI {values[row][column]:.3f}'
                f'{", drifted" if drifted[row][column] else ""}</title>'
                f'<rect class="cell0" x="{x + 0.5:.1f}" y="{y + 1}" width="{max(step - 1, 0.5):.1f}" '
                f'height="{line - 2}" rx="2"/>'
                f'<rect class="cell" x="{x + 0.5:.1f}" y="{y + 1}" width="{max(step - 1, 0.5):.1f}" '
                f'height="{line - 2}" rx="2" fill-opacity="{strength:.2f}"/>{dot if drifted[row][column] else ""}</g>')
    height = len(names) * line + 20
    return svg(width, height, about, [*marks, *_dates(starts, step, height - 4)])


def meter(value: float, limit: float, *, about: str) -> str:
    """Draw a bar on a scale that ends at three times what matters much; a line marks what matters much."""
    width, height = 96, 12
    full = 3 * limit
    size = min(max(value, 0.0) / full, 1.0) * width
    marks = [f'<rect class="cell0" x="0" y="3" width="{width}" height="6" rx="3"/>',
             f'<rect class="fill" x="0" y="3" width="{size:.1f}" height="6" rx="3"/>',
             f'<line class="limit" x1="{width / 3:.1f}" x2="{width / 3:.1f}" y1="0" y2="{height}"/>']
    return svg(width, height, about, marks, kind="meter")


def spark(reference: Sequence[float], current: Sequence[float], *, about: str) -> str:
    """Draw the two histograms very small, for a table's cell."""
    width, height = 96, 24
    most, step = max(*reference, *current, 0.01), width / len(reference)
    marks = []
    for place, (p, q) in enumerate(zip(reference, current, strict=True)):
        before, now = p / most * (height - 2), q / most * (height - 2)
        marks.append(f'<rect class="before" x="{place * step:.1f}" y="{height - before:.1f}" '
                     f'width="{max(step - 0.6, 0.5):.1f}" height="{before:.1f}"/>'
                     f'<rect class="now" x="{(place + 0.25) * step:.1f}" y="{height - now:.1f}" '
                     f'width="{step * 0.45:.1f}" height="{now:.1f}"/>')
    return svg(width, height, about, marks, kind="spark")


def svg(width: float, height: float, about: str, marks: Sequence[str], *, kind: str = "plot") -> str:
    """Put marks together; `about` is the picture in words."""
    return (f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(about)}">'
            f'{"".join(marks)}</svg>')


def _grid(share: float, y: float) -> str:
    return (f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 5}" y="{y + 3.5:.1f}" class="share">{100 * share:g} %</text>')


def _tick(x: float, y: float, text: str) -> str:
    """Write below the axis, and not beyond its end."""
    beyond = x + 3 * len(text) > _WIDTH
    place, kind = (_WIDTH, "last") if beyond else (x, "tick")
    return f'<text x="{place:.1f}" y="{y}" class="{kind}">{escape(text)}</text>'


def _steps(most: float) -> list[float]:
    """Give two or three round shares below the largest."""
    step = next((each for each in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if most / each < 4), 0.5)
    return [round(step * number, 4) for number in range(1, 5) if step * number <= most]


def _dates(starts: Sequence[str], step: float, y: float) -> list[str]:
    """Name some of the windows: as many as have room."""
    dates = list(map(_date, starts))
    every = math.ceil((6.5 * max(map(len, dates)) + 12) / step)
    return [f'<text x="{_HEAT_LEFT + place * step:.1f}" y="{y}" class="date">{escape(dates[place])}</text>'
            for place in range(0, len(starts), every) if place == 0 or len(starts) - place >= every]


def _date(start: str) -> str:
    return start[:10] if start[11:16] in ("", "00:00") else start[:16].replace("T", " ")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _short(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"
