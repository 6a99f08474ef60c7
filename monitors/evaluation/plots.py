"""The report's pictures: small functions from numbers to SVG, whose colours are the page's classes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from serinus.monitors.calibration import Reliability
from serinus.monitors.intervals import Interval
from serinus.monitors.report.plots import svg

__all__ = ["change", "ranges", "reliability", "share"]


def change(better: float, interval: Interval, margin: float | None, *, about: str, reach: float | None = None) -> str:
    """Draw by how much a metric became better (to the right) or worse, its interval, and the margin of what may be.

    The scale ends at `reach`; without it a little beyond the interval and the margin.
    """
    width, height = 300, 26
    reach = (reach or max(abs(interval.low), abs(interval.high), margin or 0.0, 1e-12)) * 1.12
    middle = height / 2

    def at(value: float) -> float:
        return width / 2 + value / reach * width / 2

    marks = [f'<line class="grid" x1="0" x2="{width}" y1="{middle}" y2="{middle}"/>',
             f'<line class="axis" x1="{width / 2}" x2="{width / 2}" y1="3" y2="{height - 3}"/>']
    if margin is not None:
        marks.append(f'<rect class="beyond" x="0" y="3" width="{max(at(-margin), 0):.1f}" height="{height - 6}"/>'
                     f'<line class="limit" x1="{at(-margin):.1f}" x2="{at(-margin):.1f}" y1="2" y2="{height - 2}"/>')
    marks += [f'<rect class="fill" x="{at(interval.low):.1f}" y="{middle - 3}" rx="3" height="6" '
              f'width="{max(at(interval.high) - at(interval.low), 1):.1f}"/>',
              f'<circle class="point" cx="{at(better):.1f}" cy="{middle}" r="5"/>']
    return svg(width, height, about, marks, kind="change")


def ranges(values: Sequence[tuple[str, float, Interval | None, str]], *, about: str) -> str:
    """Draw shares from 0 to 1 with their intervals, one line each: a name, the share, its interval, and a remark."""
    line, left, right, width = 24, 150, 120, 720
    scale = width - left - right
    height = len(values) * line + 22
    marks = [f'<line class="grid" x1="{left + scale * step / 4:.1f}" x2="{left + scale * step / 4:.1f}" y1="0" '
             f'y2="{height - 20}"/><text class="tick" x="{left + scale * step / 4:.1f}" y="{height - 5}">'
             f'{25 * step} %</text>' for step in range(5)]
    for place, (name, value, ends, remark) in enumerate(values):
        y = place * line + line / 2
        marks.append(f'<text class="name" x="{left - 10}" y="{y + 4:.1f}">{escape(_short(name, 22))}</text>'
                     f'<text x="{width - right + 10}" y="{y + 4:.1f}">{escape(remark)}</text>')
        if ends is not None:
            low, high = left + max(ends.low, 0) * scale, left + min(ends.high, 1) * scale
            marks.append(f'<rect class="before" x="{low:.1f}" y="{y - 3:.1f}" width="{max(high - low, 1):.1f}" '
                         f'height="6" rx="3"/>')
            marks.append(f'<circle class="now" cx="{left + value * scale:.1f}" cy="{y:.1f}" r="4.5"/>')
    return svg(width, height, about, marks)


def reliability(bins: Sequence[Reliability], current: Sequence[Reliability], *, about: str) -> str:
    """Draw what was said against what came true: on the diagonal, 80 % sure is right 8 times in 10."""
    size, left, bottom, top = 340, 40, 26, 8
    scale = size - left - 26

    def x(value: float) -> float:
        return left + value * scale

    def y(value: float) -> float:
        return top + (1 - value) * scale

    marks = []
    for step in range(5):
        at = step / 4
        marks.append(f'<line class="grid" x1="{left}" x2="{left + scale}" y1="{y(at):.1f}" y2="{y(at):.1f}"/>'
                     f'<text class="share" x="{left - 6}" y="{y(at) + 4:.1f}">{25 * step} %</text>'
                     f'<text class="tick" x="{x(at):.1f}" y="{top + scale + 15}">{25 * step} %</text>')
    marks.append(f'<line class="limit" x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}"/>')
    if current:
        path = " ".join(f"{x(each.said):.1f},{y(each.happened):.1f}" for each in current)
        marks.append(f'<polyline class="old" points="{path}"/>')
    path = " ".join(f"{x(each.said):.1f},{y(each.happened):.1f}" for each in bins)
    marks.append(f'<polyline class="new" points="{path}"/>')
    for each in bins:
        at, low, high = x(each.said), y(each.interval.low), y(each.interval.high)
        marks.append(f'<g><title>{each.rows:,} rows: said {each.said:.3f}, true {each.happened:.3f}</title>'
                     f'<line class="bar" x1="{at:.1f}" x2="{at:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
                     f'<circle class="now" cx="{at:.1f}" cy="{y(each.happened):.1f}" r="3.5"/></g>')
    return svg(size, top + scale + bottom, about, marks, kind="square")


def share(value: float, most: float, *, about: str) -> str:
    """Draw a bar of a share, full at `most`, for a table's cell."""
    width = 96
    size = min(max(value, 0.0) / max(most, 1e-12), 1.0) * width
    marks = [f'<rect class="cell0" x="0" y="3" width="{width}" height="6" rx="3"/>',
             f'<rect class="fill" x="0" y="3" width="{size:.1f}" height="6" rx="3"/>']
    return svg(width, 12, about, marks, kind="meter")


def _short(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"
