"""Charts with axes, as Vega-Lite specifications: what a page, a bench or a notebook draws, each with its sentence.

Colours are the names of goldpan.css, `var(--ink)`: a chart in a page has the page's theme, also after a switch. Where
there is no page, bench/charts.py puts colours in their place. Estimates in a table are drawn by projects/drawing.py.
Texts of people stand in the data only, never in an expression.
Source: Satyanarayan et al. 2017, Vega-Lite: A Grammar of Interactive Graphics, IEEE TVCG 23.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from projects.wording import percent_words, point_words, reveal

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
MAX_SHARES = 12  # labels whose shares are drawn; the table beside has all
NAMED_ROW = 46  # pixels of a row whose name stands above its mark, so that long names fit a phone

LOOK: dict[str, Any] = {
    "aria": False,  # the sentence is on the chart's box
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {"labelColor": "var(--quiet)", "labelFontSize": 12, "labelPadding": 6, "titleColor": "var(--quiet)",
             "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8, "domain": False, "ticks": False,
             "gridColor": "var(--rule)", "tickCount": 5, "labelOverlap": True},
    "legend": {"labelColor": "var(--quiet)", "labelFontSize": 12, "title": None, "orient": "top", "offset": 8,
               "labelLimit": 300, "symbolType": "square"},
}
MARKS: dict[str, dict[str, Any]] = {  # how each thing is drawn, in every chart alike
    "name": {"type": "text", "color": "var(--ink)", "fontSize": 13, "align": "left", "baseline": "bottom"},
    "line": {"type": "line", "color": "var(--gold-fill)", "strokeWidth": 2.5},
    "ahead": {"type": "line", "color": "var(--gold-fill)", "strokeWidth": 2.5, "strokeDash": [6, 4]},
    "band": {"type": "area", "color": "var(--gold-fill)", "opacity": 0.16},
    "part": {"type": "point", "filled": True, "color": "var(--quiet)", "opacity": 0.55, "size": 18},
    "dot": {"type": "point", "filled": True, "color": "var(--ink)", "opacity": 1, "size": 55},
    "range": {"type": "rule", "color": "var(--quiet)", "strokeWidth": 3, "strokeCap": "round"},
    "target": {"type": "rule", "color": "var(--bad)", "strokeWidth": 1.5, "strokeDash": [4, 3]},
    "target name": {"type": "text", "color": "var(--bad)", "fontSize": 12, "align": "left", "baseline": "bottom",
                    "dx": 4, "dy": -3},
    "zero": {"type": "rule", "color": "var(--edge)"},
    "bar": {"type": "bar", "height": 8},
    "grown": {"type": "line", "strokeWidth": 2.5},
    "measured": {"type": "point", "filled": True, "opacity": 1, "size": 55},
    "count": {"type": "bar", "width": {"band": 0.75}},
    "evenly": {"type": "line", "strokeWidth": 1, "strokeDash": [4, 3]},
}


class HasInterval(Protocol):
    @property
    def estimate(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Chart:
    """words: what is to be seen, in a sentence. spec: Vega-Lite 6, as wide as its place and `height` pixels high."""

    words: str
    spec: dict[str, Any]

    @property
    def height(self) -> int:
        return int(self.spec["height"])


def learning_chart(sizes: Sequence[int], parts: Sequence[Sequence[float]], *,
                   band: Sequence[tuple[float, float, float, float]], target: float, words: str) -> Chart:
    """Return what was measured at rising sizes, and the curve through it, dashed beyond the largest size.

    sizes: (m,) rising. parts: per size the shares of its subsets. band: by rising size, (size, share, low, high).
    target: a share.
    """
    measured = [{"size": size, "share": share} for size, shares in zip(sizes, parts, strict=True) for share in shares]
    means = [{"size": size, "share": sum(shares) / len(shares)} for size, shares in zip(sizes, parts, strict=True)]
    curve = [{"size": size, "share": share, "low": low, "high": high} for size, share, low, high in band]
    n_known = sum(row["size"] <= sizes[-1] for row in curve)
    line = {"x": _number("size", "labelled examples", ",d"), "y": _share("share")}
    told = [_told("size", "labelled examples", ",d"), _told("share", "share", ".1%")]
    foretold = [*told, _told("low", "from", ".1%"), _told("high", "to", ".1%")]
    return _chart(words, 300, [
        _layer(curve, "band", x=line["x"], y=_share("low"), y2={"field": "high"}, tooltip=foretold),
        _layer(curve[:n_known], "line", **line),
        _layer(curve[max(n_known - 1, 0):], "ahead", **line),
        *_target(target),
        _layer(measured, "part", **line, tooltip=told),
        _layer(means, "dot", **line, tooltip=told)])


def interval_chart(rows: Sequence[tuple[str, HasInterval]], *, words: str) -> Chart:
    """Return differences in points with their intervals, one below the other, and a line where there is none.

    rows: name and difference of shares, top first; names that stand twice share a row.
    """
    data = [{"name": _plain(name), "difference": 100 * e.estimate, "low": 100 * e.low, "high": 100 * e.high,
             "shown": point_words(e.estimate), "range": f"{point_words(e.low)} to {point_words(e.high)}"}
            for name, e in rows]
    x = {"field": "difference", "type": "quantitative", "title": "points", "axis": {"format": "~f"}}
    told = [_told("name", "set"), _told("shown", "difference"), _told("range", "95 % interval")]
    return _chart(words, NAMED_ROW * len(rows) + 50, [
        _layer([{"zero": 0}], "zero", x={"field": "zero", "type": "quantitative"}),
        _names(data, up=5),
        _layer(data, "range", y=_row("name"), x={**x, "field": "low"}, x2={"field": "high"}, tooltip=told),
        _layer(data, "dot", y=_row("name"), x=x, tooltip=told)])


def trend_chart(points: Sequence[tuple[str, HasInterval]], *, title: str, words: str,
                floor: float | None = None) -> Chart:
    """Return a share with its interval, report by report, evenly spaced.

    points: when, in words that no other point has, and the share; oldest first. title: what it is a share of.
    floor: a share that it should not fall below, drawn as a line; the axis then begins where the figures do.
    """
    data = [{"when": when, "share": e.estimate, "low": e.low, "high": e.high} for when, e in points]
    x = {"field": "when", "type": "ordinal", "sort": None, "title": None, "axis": {"labelAngle": 0, "grid": False}}
    told = [_told("when", "report"), _told("share", title, ".1%"), _told("low", "from", ".1%"),
            _told("high", "to", ".1%")]
    y = _share("share", title, from_zero=floor is None)
    return _chart(words, 220, [
        *([] if floor is None else _target(floor, "floor")),
        _layer(data, "line", x=x, y=y),
        _layer(data, "range", x=x, y={**y, "field": "low"}, y2={"field": "high"}, tooltip=told),
        _layer(data, "dot", x=x, y=y, tooltip=told)])


def evidence_chart(points: Sequence[tuple[str, float]], *, warning: float, alarm: float, words: str) -> Chart:
    """Return how evidence grew look by look, on a log scale, with the lines at which it warns and rings.

    points: when, in words that no other point has, and the evidence; oldest first. Drawn between 0.01 and a hundred
    times the alarm, beyond which it makes no difference.
    """
    least, most = 0.01, 100 * alarm
    drawn = [min(max(value, least), most) for _, value in points]
    data = [{"when": when, "evidence": value, "drawn": height} for (when, value), height in zip(
        points, drawn, strict=True)]
    x = {"field": "when", "type": "ordinal", "sort": None, "title": None, "axis": {"labelAngle": 0, "grid": False}}
    y = {"field": "drawn", "type": "quantitative", "title": "evidence of a drop", "axis": {"format": "~g"},
         "scale": {"type": "log", "domain": [min(10 * least, *drawn), max(2 * alarm, *drawn)]}}
    lines = [{"level": level, "name": f"{name} {level:,.0f}"} for name, level in (("alarm", alarm),
                                                                                 ("warning", warning))]
    level = {**y, "field": "level"}
    told = [_told("when", "look"), _told("evidence", "evidence", ".3~g")]
    return _chart(words, 220, [
        _layer(lines, "target", y=level),
        _layer(lines, "target name", x={"value": 0}, y=level, text={"field": "name"}),
        _layer(data, "line", x=x, y=y, tooltip=told),
        _layer(data, "dot", x=x, y=y, tooltip=told)])


def signal_chart(readings: Sequence[tuple[str, str, float, float, bool]], *, words: str) -> Chart:
    """Return a row of dots for every signal, one per look; where it warned the dot is large and red.

    readings: name, when, effect, adjusted p-value, whether it warned; oldest look first.
    """
    names = list(dict.fromkeys(reading[0] for reading in readings))
    data = [{"name": name, "when": when, "effect": effect, "p": p, "state": "warning" if warns else "no clear change"}
            for name, when, effect, p, warns in readings]
    x = {"field": "when", "type": "ordinal", "sort": list(dict.fromkeys(reading[1] for reading in readings)),
         "title": None, "axis": {"labelAngle": 0, "grid": False}}
    states = ["no clear change", "warning"]
    return _chart(words, NAMED_ROW * len(names) + 70, [
        _names([{"name": name} for name in names], up=5),
        _layer(data, "measured", x=x, y=_row("name"),
               color={"field": "state", "type": "nominal", "sort": states,
                      "scale": {"domain": states, "range": ["var(--quiet)", "var(--bad)"]}},
               size={"field": "state", "type": "nominal", "legend": None,
                     "scale": {"domain": states, "range": [30, 130]}},
               tooltip=[_told("name", "signal"), _told("when", "look"), _told("effect", "effect", ".3f"),
                        _told("p", "adjusted p-value", ".2~g"), _told("state", "state")])])


def share_chart(rows: Sequence[tuple[str, int, int]], *, whole: str, part: str) -> Chart:
    """Return each label's share of the whole and of the part as two bars.

    rows: label, how many of the whole and of the part; of more than MAX_SHARES those whose share differs most are
    drawn, in the order given. whole, part: what the two are called.
    Raises ValueError if the whole or the part is empty.
    """
    totals = [sum(row[1] for row in rows), sum(row[2] for row in rows)]
    if not all(totals):
        raise ValueError(f"shares need something of both, got {totals[0]} and {totals[1]}")
    most = sorted(rows, key=lambda row: -abs(row[1] / totals[0] - row[2] / totals[1]))[:MAX_SHARES]
    drawn = [row for row in rows if row in most]
    words = f"Shares of the {whole} and of the {part} examples: " + "; ".join(
        f"{_plain(label)} {percent_words(n / totals[0])} and {percent_words(n_part / totals[1])}"
        for label, n, n_part in drawn)
    if len(drawn) < len(rows):
        words += f"; the {len(drawn)} of {len(rows)} labels whose shares differ most"
    data = [{"name": _plain(label), "of": of, "n": n, "share": n / total}
            for label, *both in drawn for of, n, total in zip((whole, part), both, totals, strict=True)]
    colours = {"domain": [whole, part], "range": ["var(--quiet)", "var(--gold-fill)"]}
    return _chart(words, NAMED_ROW * len(drawn) + 76, [
        _names(data, up=4),
        _layer(data, "bar", y=_row("name"), x=_share("share", "share", from_zero=True),
               yOffset={"field": "of", "type": "nominal", "sort": [whole, part], "scale": {"range": [20, 40]}},
               color={"field": "of", "type": "nominal", "scale": colours},
               tooltip=[_told("name", "label"), _told("of", "of"), _told("n", "examples", ",d"),
                        _told("share", "share", ".1%")])])


def growth_chart(lines: Mapping[str, Sequence[tuple[float, float]]], *, title: str, words: str) -> Chart:
    """Return how a cost grows with n, both axes by powers of ten: a straight line's slope is its exponent.

    lines: name → (n, cost), both above 0, by rising n; a dashed line from each one's first point grows as n does.
    """
    data = [{"line": name, "n": n, "cost": cost} for name, points in lines.items() for n, cost in points]
    even = [{"line": name, "n": n, "cost": points[0][1] * n / points[0][0]} for name, points in lines.items()
            for n, _ in (points[0], points[-1])]
    x = {"field": "n", "type": "quantitative", "title": "rows", "scale": {"type": "log", "nice": False},
         "axis": {"format": "~s"}}
    y = {"field": "cost", "type": "quantitative", "title": title, "scale": {"type": "log"}, "axis": {"format": "~f"}}
    by_line = {"color": {"field": "line", "type": "nominal", "sort": list(lines),
                         "scale": {"range": ["var(--gold-fill)", "var(--ink)", "var(--good)"]}}}
    return _chart(words, 320, [
        _layer(even, "evenly", x=x, y=y, **by_line),
        _layer(data, "grown", x=x, y=y, **by_line),
        _layer(data, "measured", x=x, y=y, **by_line)])


def share_lines_chart(lines: Mapping[str, Sequence[tuple[float, float]]], *, title: str, words: str) -> Chart:
    """Return shares over a number such as a week, a line each.

    lines: name → (number, share), by rising number. title: what the number is.
    """
    data = [{"line": name, "number": number, "share": share} for name, points in lines.items()
            for number, share in points]
    x = {"field": "number", "type": "quantitative", "title": title, "axis": {"format": "d", "grid": False},
         "scale": {"nice": False}}
    by_line = {"color": {"field": "line", "type": "nominal", "sort": list(lines),
                         "scale": {"range": ["var(--gold-fill)", "var(--quiet)", "var(--bad)"]}}}
    return _chart(words, 300, [
        _layer(data, "grown", x=x, y=_share("share", "right", from_zero=True), **by_line),
        _layer(data, "measured", x=x, y=_share("share", "right", from_zero=True), **by_line)])


def traffic_chart(days: Sequence[tuple[date, int, int, int]], *, words: str) -> Chart:
    """Return a bar of every day: requests that were answered, failed and refused, one on the other.

    days: day and the three counts, oldest first, none left out.
    """
    kinds = ("answered", "failed", "refused")
    data = [{"day": day.isoformat(), "kind": kind, "n": n, "order": place} for day, *counts in days
            for place, (kind, n) in enumerate(zip(kinds, counts, strict=True))]
    x = {"field": "day", "type": "ordinal", "title": None, "axis": {"labelAngle": 0, "grid": False}}
    y = {"field": "n", "type": "quantitative", "title": "requests", "axis": {"format": "~s", "tickMinStep": 1}}
    return _chart(words, 220, [_layer(
        data, "count", x=x, y=y, order={"field": "order", "type": "quantitative"},
        color={"field": "kind", "type": "nominal", "sort": list(kinds), "scale": {
            "domain": list(kinds), "range": ["var(--gold-fill)", "var(--bad)", "var(--quiet)"]}},
        tooltip=[_told("day", "day"), _told("kind", "requests"), _told("n", "how many", ",d")])])


def decision_chart(needs: Sequence[tuple[float, float]], looks: Sequence[tuple[float, HasInterval]], *, n_max: float,
                   in_steps: bool, words: str) -> Chart:
    """Return how an A/B test is decided: outcomes per arm to the right, the difference in points upwards.

    needs: by rising outcomes per arm, (outcomes, difference that decides), differences as shares; the shaded part is
    where it is still open. looks: outcomes per arm, and the difference there with its interval. in_steps: a test is
    decided at those sizes only, which are marked.
    """
    funnel = [{"n": n, "high": 100 * need, "low": -100 * need, "shown": f"±{point_words(need).removeprefix('+')}"}
              for n, need in needs]
    data = [{"n": n, "difference": 100 * e.estimate, "low": 100 * e.low, "high": 100 * e.high,
             "shown": point_words(e.estimate), "range": f"{point_words(e.low)} to {point_words(e.high)}"}
            for n, e in looks]
    x = {**_number("n", "outcomes per arm", ",d"), "scale": {"domain": [0, n_max], "nice": False}}
    y = {"field": "difference", "type": "quantitative", "title": "challenger minus champion, points",
         "axis": {"format": "~f"}}
    told = [_told("n", "outcomes per arm", ",.0f"), _told("shown", "difference"), _told("range", "interval")]
    needed = [_told("n", "outcomes per arm", ",.0f"), _told("shown", "decided from")]
    return _chart(words, 300, [
        _layer(funnel, "band", x=x, y={**y, "field": "low"}, y2={"field": "high"}),
        *(_layer(funnel, "part", x=x, y={**y, "field": side}, tooltip=needed)
          for side in ("low", "high") if in_steps),
        _layer([{"zero": 0}], "zero", y={"field": "zero", "type": "quantitative"}),
        _layer(data, "range", x=x, y={**y, "field": "low"}, y2={"field": "high"}, tooltip=told),
        _layer(data, "dot", x=x, y=y, tooltip=told)])


def difference_chart(points: Sequence[tuple[date, HasInterval]], *, title: str, words: str) -> Chart:
    """Return a difference of shares with its band, day by day. points: oldest first. title: what differs."""
    data = [{"day": day.isoformat(), "difference": 100 * e.estimate, "low": 100 * e.low, "high": 100 * e.high,
             "shown": point_words(e.estimate), "range": f"{point_words(e.low)} to {point_words(e.high)}"}
            for day, e in points]
    n_days = (points[-1][0] - points[0][0]).days
    x = {"field": "day", "type": "temporal", "title": None, "axis": {  # no two ticks of one day
        "grid": False, "format": "%d %b", "tickCount": {"interval": "day", "step": 1 + n_days // 7}}}
    y = {"field": "difference", "type": "quantitative", "title": title, "axis": {"format": "~f"}}
    told = [_told("day", "day"), _told("shown", "difference"), _told("range", "band")]
    return _chart(words, 220, [
        _layer(data, "band", x=x, y={**y, "field": "low"}, y2={"field": "high"}),
        _layer([{"zero": 0}], "zero", y={"field": "zero", "type": "quantitative"}),
        _layer(data, "line", x=x, y=y),
        _layer(data, "dot", x=x, y=y, tooltip=told)])


def _chart(words: str, height: int, layers: list[dict[str, Any]]) -> Chart:
    return Chart(words, {"$schema": SCHEMA, "width": "container", "height": height, "config": LOOK,
                         "autosize": {"type": "fit", "contains": "padding"}, "layer": layers})


def _layer(data: list[dict[str, Any]], mark: str, **encoding: Any) -> dict[str, Any]:
    """One of MARKS drawn from the data."""
    return {"data": {"values": data}, "mark": MARKS[mark], "encoding": encoding}


def _target(target: float, name: str = "target") -> list[dict[str, Any]]:
    data = [{"target": target, "name": f"{name} {percent_words(target)}"}]
    return [_layer(data, "target", y=_share("target")),
            _layer(data, "target name", x={"value": 0}, y=_share("target"), text={"field": "name"})]


def _names(data: list[dict[str, Any]], *, up: int) -> dict[str, Any]:
    """Each row's name at the left edge, `up` pixels above its middle."""
    once = [{"name": name} for name in dict.fromkeys(row["name"] for row in data)]
    layer = _layer(once, "name", x={"value": 0}, y=_row("name"), text={"field": "name"})
    return {**layer, "mark": {**MARKS["name"], "yOffset": -up}}


def _row(field: str) -> dict[str, Any]:
    return {"field": field, "type": "nominal", "sort": None, "axis": None, "scale": {"padding": 0}}


def _number(field: str, title: str, form: str) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", "title": title, "axis": {"format": form, "grid": False}}


def _share(field: str, title: str | None = None, *, from_zero: bool = False) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", "title": title, "axis": {"format": ".0%"},
            "scale": {"zero": from_zero}}


def _told(field: str, title: str, form: str = "") -> dict[str, Any]:
    """A line of the tooltip."""
    kind = {"type": "quantitative", "format": form} if form else {"type": "nominal"}
    return {"field": field, "title": title, **kind}


def _plain(name: str) -> str:
    """A name with its invisible characters written out."""
    return "".join(piece for piece, _ in reveal(name))
