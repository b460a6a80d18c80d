"""Estimates, shares, curves and histograms as SVG text, ready to stand in a page.

Geometry is in attributes and colour in classes of goldpan.css: no style attribute, so the strictest policy lets it
through, and both themes fit. Across, everything is in percent of the width and down in pixels: a drawing fills its
column while dots stay round and text keeps its size. Every text that comes in is escaped.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Protocol

Axis = tuple[float, float]

_EST_HEIGHT = 18
_TOP, _BOTTOM = 20, 26  # pixels above and below a chart's plot
_MAX_DRAWN = 400  # points per line; more cannot be told apart


class HasInterval(Protocol):
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Series:
    """One named line: points are (x, y) by rising x; a y that is not finite is left out."""

    name: str
    points: Sequence[tuple[float, float]]


def axis_for(estimates: Iterable[HasInterval], target: float | None = None) -> Axis:
    """Return the axis that holds all these intervals and the target, so that the rows of a table can be compared.

    It ends on round numbers and stays within [0, 1] if all the values do; (0, 1) if there are none.
    """
    values = [value for e in estimates for value in (e.low, e.high) if math.isfinite(value)]
    values += [target] if target is not None else []
    if not values:
        return (0.0, 1.0)
    low, high = min(values), max(values)
    margin = 0.04 * (high - low) or 0.05
    step = _round_step(high - low + 2 * margin)
    start, end = math.floor((low - margin) / step + 1e-9) * step, math.ceil((high + margin) / step - 1e-9) * step
    if low >= 0 and high <= 1:
        start, end = max(start, 0.0), min(end, 1.0)
    return (round(start, 10), round(end, 10))


def ticks(axis: Axis, *, n_at_most: int = 5) -> list[float]:
    """Return round numbers within the axis, rising, both ends included where they are round."""
    low, high = _checked(axis)
    step = _round_step(high - low, n_at_most - 1)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def estimate_svg(estimate: float, low: float, high: float, *, target: float | None = None, axis: Axis = (0.0, 1.0),
                 win: bool = False, label: str) -> str:
    """Return a dot on its interval over the axis, the target as a dashed line.

    label: the same in words, for those who do not see it.
    What lies beyond the axis is drawn at its end. An estimate that is not finite has no dot, only its interval.
    Raises ValueError if the interval is not finite or low > high.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"an interval needs finite low <= high, got {low} to {high}")
    middle = _EST_HEIGHT // 2
    left, right = _percent(low, axis), _percent(high, axis)
    parts = [f'<line class="est-axis" x1="0" x2="100%" y1="{middle}" y2="{middle}"/>',
             f'<line class="est-range" x1="{left}" x2="{right}" y1="{middle}" y2="{middle}"/>']
    if target is not None:
        x = _percent(target, axis)
        parts.append(f'<line class="est-target" x1="{x}" x2="{x}" y1="0" y2="{_EST_HEIGHT}"/>')
    if math.isfinite(estimate):
        parts.append(f'<circle class="est-dot" cx="{_percent(estimate, axis)}" cy="{middle}" r="6"/>')
    return _svg("est win" if win else "est", _EST_HEIGHT, parts, label)


def scale_svg(axis: Axis, text: Callable[[float], str], *, target: float | None = None) -> str:
    """Return the axis of a column of estimates as figures for its head; `text` writes a figure.

    With a target, figures that would touch it give way. It is hidden from screen readers: the rows say their numbers.
    """
    values = ticks(axis)
    if target is not None:
        span = axis[1] - axis[0]
        values = sorted([*(v for v in values if abs(v - target) > 0.25 * span), target])
    parts = [_tick_text(value, axis, text(value), y=12, kind="target" if value == target else "") for value in values]
    return f'<svg class="scale" width="100%" height="16" aria-hidden="true">{"".join(parts)}</svg>'


def bar_svg(share: float, *, label: str) -> str:
    """Return a thin bar filled to `share`, which is clipped to [0, 1]. Raises ValueError if it is not finite."""
    if not math.isfinite(share):
        raise ValueError(f"share must be finite, got {share}")
    parts = ['<rect class="bar-rest" width="100%" height="6" rx="3"/>']
    if share > 0:
        parts.append(f'<rect class="bar-done" width="{_percent(share, (0.0, 1.0))}" height="6" rx="3"/>')
    return _svg("bar", 6, parts, label)


def line_svg(series: Sequence[Series], *, label: str, x_name: str, height: int = 190,
             y_text: Callable[[float], str] = "{:g}".format,
             value_text: Callable[[float], str] = "{:.2f}".format) -> str:
    """Return lines with a grid, figures on both axes, and each line's name and last value at its end.

    label: what the chart shows, in a sentence. height: of the plot, in pixels.
    y_text writes the figures of the y axis, value_text a line's last value.
    Of more than 400 points every k-th is drawn, and the last.
    Raises ValueError if no series has a finite point.
    """
    drawn = [Series(one.name, _finite(one.points)) for one in series]
    drawn = [one for one in drawn if one.points]
    if not drawn:
        raise ValueError("a chart needs at least one finite point, got none")
    xs = [x for one in drawn for x, _ in one.points]
    ys = [y for one in drawn for _, y in one.points]
    x_axis = (min(xs), max(xs)) if max(xs) > min(xs) else (min(xs) - 0.5, max(xs) + 0.5)
    y_axis = _padded(min(ys), max(ys))
    grid = [(value, _down(value, y_axis, height)) for value in ticks(y_axis)]
    total = _TOP + height + _BOTTOM
    scale = [f'<text class="chart-figure" x="100%" y="{y + 4}" text-anchor="end">{escape(y_text(value))}</text>'
             for value, y in grid]
    parts = [f'<line class="chart-grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>' for _, y in grid]
    parts += [_tick_text(value, x_axis, f"{value:,g}", y=total - 8) for value in ticks(x_axis)]
    parts += [_polyline(one, x_axis, y_axis, height, number) for number, one in enumerate(drawn)]
    parts += _end_labels(drawn, x_axis, y_axis, height, value_text)
    return (f'<div class="chart" role="img" aria-label="{escape(label)}">'
            f'<svg class="chart-scale" width="48" height="{total}">{"".join(scale)}</svg>'
            f'<div class="chart-main"><svg class="chart-plot" width="100%" height="{total}">{"".join(parts)}</svg>'
            f'<span class="chart-x">{escape(x_name)}</span></div></div>')


def histogram_svg(counts: Sequence[int], edges: Sequence[float], *, label: str, threshold: float | None = None,
                  height: int = 110, x_text: Callable[[float], str] = "{:g}".format) -> str:
    """Return one bar per bin; bins that end at or below the threshold stand out and it is a dashed line.

    counts: n numbers >= 0. edges: n + 1 rising bin edges. label: what the histogram shows, in a sentence.
    Raises ValueError if the lengths do not fit or the edges do not rise.
    """
    if len(edges) != len(counts) + 1 or not counts:
        raise ValueError(f"n counts need n + 1 edges, got {len(counts)} and {len(edges)}")
    if any(a >= b for a, b in pairwise(edges)):
        raise ValueError("edges must rise")
    axis, most = (edges[0], edges[-1]), max(max(counts), 1)
    parts = []
    for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
        size = max(round(height * count / most, 1), 1.5) if count else 0  # one row among thousands is still seen
        kind = "hist-low" if threshold is not None and end <= threshold + 1e-9 else "hist-bar"
        parts.append(f'<rect class="{kind}" x="{_percent(start, axis)}" width="{_width(end - start, axis)}" '
                     f'y="{round(_TOP + height - size, 1)}" height="{size}">'
                     f"<title>{escape(f'{x_text(start)} to {x_text(end)}: {count:,}')}</title></rect>")
    base = _TOP + height
    parts.append(f'<line class="chart-base" x1="0" x2="100%" y1="{base}" y2="{base}"/>')
    if threshold is not None:
        x = _percent(threshold, axis)
        parts.append(f'<line class="est-target" x1="{x}" x2="{x}" y1="0" y2="{base}"/>')
    parts += [_tick_text(value, axis, x_text(value), y=base + _BOTTOM - 8) for value in ticks(axis)]
    return _svg("hist", base + _BOTTOM, parts, label)


def _svg(css_class: str, height: int, parts: Sequence[str], label: str) -> str:
    return (f'<svg class="{css_class}" width="100%" height="{height}" role="img" aria-label="{escape(label)}">'
            f'{"".join(parts)}</svg>')


def _checked(axis: Axis) -> Axis:
    if not (math.isfinite(axis[0]) and math.isfinite(axis[1]) and axis[0] < axis[1]):
        raise ValueError(f"an axis needs finite ends, the first below the second, got {axis}")
    return axis


def _share(value: float, axis: Axis) -> float:
    low, high = _checked(axis)
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _percent(value: float, axis: Axis) -> str:
    return f"{100 * _share(value, axis):.2f}%"


def _width(size: float, axis: Axis) -> str:
    return f"{100 * size / (axis[1] - axis[0]):.2f}%"


def _down(value: float, axis: Axis, height: int) -> float:
    return round(_TOP + height * (1 - _share(value, axis)), 1)


def _round_step(span: float, n_at_most: int = 5) -> float:
    """The smallest of 1, 2, 5 x 10^k that cuts the span into at most n pieces."""
    power = 10.0 ** math.floor(math.log10(span / n_at_most))
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if span / step <= n_at_most + 1e-9)


def _padded(low: float, high: float) -> Axis:
    margin = 0.06 * (high - low) or abs(low) * 0.1 or 1.0
    return (0.0 if 0 <= low < 0.5 * high else low - margin, high + margin)


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    kept = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    stride = math.ceil(len(kept) / _MAX_DRAWN) or 1
    return kept[::stride] + ([kept[-1]] if kept and (len(kept) - 1) % stride else [])


def _polyline(series: Series, x_axis: Axis, y_axis: Axis, height: int, number: int) -> str:
    """A line in a box of its own whose units stretch with the width; its stroke does not."""
    points = " ".join(f"{1000 * _share(x, x_axis):.1f},{1000 * (1 - _share(y, y_axis)):.1f}" for x, y in series.points)
    return (f'<svg y="{_TOP}" width="100%" height="{height}" viewBox="0 0 1000 1000" preserveAspectRatio="none">'
            f'<polyline class="chart-line line-{number}" vector-effect="non-scaling-stroke" points="{points}"/></svg>')


def _end_labels(series: Sequence[Series], x_axis: Axis, y_axis: Axis, height: int,
                value_text: Callable[[float], str]) -> list[str]:
    """Each line's last point and, above or below it, its name; the highest goes above, the others below each other."""
    parts = []
    order = sorted(range(len(series)), key=lambda number: -series[number].points[-1][1])
    lowest_text = -math.inf
    for rank, number in enumerate(order):
        x, y = series[number].points[-1]
        down = _down(y, y_axis, height)
        text_at = max(down - 9, 11) if rank == 0 else max(down + 17, lowest_text + 15)
        lowest_text = text_at
        parts.append(f'<circle class="chart-dot line-{number}" cx="{_percent(x, x_axis)}" cy="{down}" r="3.5"/>')
        parts.append(f'<text class="chart-name line-{number}" x="{_percent(x, x_axis)}" y="{round(text_at, 1)}" '
                     f'text-anchor="{"end" if _share(x, x_axis) > 0.5 else "start"}">'
                     f"{escape(series[number].name)} {escape(value_text(y))}</text>")
    return parts


def _tick_text(value: float, axis: Axis, text: str, *, y: int, kind: str = "") -> str:
    """A figure centred under its place, except at the ends, where it would be cut off."""
    share = _share(value, axis)
    anchor = "start" if share < 0.04 else "end" if share > 0.96 else "middle"
    css_class = f"chart-figure {kind}".strip()
    return f'<text class="{css_class}" x="{_percent(value, axis)}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
