import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import vl_convert
from django.template import Context, Template

from bench.charts import exponent, standing_alone
from projects.charts import (
    MAX_SHARES,
    Chart,
    evidence_chart,
    growth_chart,
    interval_chart,
    learning_chart,
    share_chart,
    share_lines_chart,
    signal_chart,
    trend_chart,
)
from stats.intervals import Interval

ROOT = Path(__file__).resolve().parents[2]
BAND = [(40, .6, .5, .7), (80, .7, .6, .8), (160, .75, .62, .88)]


def every_chart(name="gold"):
    return {
        "learning": learning_chart([40, 80], [[.6, .64], [.7]], band=BAND, target=.8, words=name),
        "interval": interval_chart([(name, Interval(.02, -.01, .05, 300)), ("b", Interval(-.1, -.2, -.05, 300))],
                                   words=name),
        "trend": trend_chart([(name, Interval(.2, .1, .3, 50)), ("4, 9 Nov", Interval(.1, .05, .2, 60))],
                             title="looked wrong", words=name),
        "share": share_chart([(name, 80, 20), ("b", 20, 20)], whole="labelled", part="picked"),
        "growth": growth_chart({name: [(1000, .1), (4000, .5)]}, title="CPU seconds", words=name),
        "floor": trend_chart([(name, Interval(.92, .8, .97, 35))], title="accuracy", words=name, floor=.9),
        "evidence": evidence_chart([(name, 0.0), ("2: 8 Mar", 1e9)], warning=50, alarm=250, words=name),
        "signals": signal_chart([("meaning", name, .7, .001, True), ("lengths", name, .5, 1.0, False)], words=name),
        "shares": share_lines_chart({name: [(1, .9), (2, .7)], "b": [(2, .1)]}, title="week", words=name),
    }


CHARTS = every_chart()


def values(chart, number):
    return chart.spec["layer"][number]["data"]["values"]


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_every_field_that_is_drawn_stands_in_the_data(chart):
    for layer in chart.spec["layer"]:
        encoded = [one for channel in layer["encoding"].values()
                   for one in (channel if isinstance(channel, list) else [channel])]
        fields = {one["field"] for one in encoded if "field" in one}
        assert fields and layer["data"]["values"]
        assert all(fields <= set(row) for row in layer["data"]["values"])


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_vega_lite_reads_every_chart_without_a_word(chart, capfd):
    vega = vl_convert.vegalite_to_vega(chart.spec, vl_version="6.4")
    assert {mark["type"] for mark in vega["marks"]} & {"line", "rule", "rect", "symbol", "area"}
    assert "WARN" not in capfd.readouterr().err


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_colours_are_those_of_the_look_and_nothing_is_an_expression(chart):
    css = (ROOT / "static" / "goldpan.css").read_text()
    text = json.dumps(chart.spec, allow_nan=False)
    assert all(f"--{name}: #" in css for name in re.findall(r"var\(--([\w-]+)\)", text))
    assert not re.search(r"#[0-9a-f]{3,6}\b|\"(expr|signal|transform|url|href)\":", text)


def test_the_curve_is_dashed_from_the_largest_measured_size_on_without_a_gap():
    between = learning_chart([40, 100], [[.6], [.7]], band=BAND, target=.8, words="x")
    assert values(between, 1)[-1]["size"] == values(between, 2)[0]["size"] == 80
    _, line, ahead, target, *_ = (values(CHARTS["learning"], number) for number in range(6))
    assert [row["size"] for row in line] == [40, 80] and [row["size"] for row in ahead] == [80, 160]
    assert target == [{"target": .8, "name": "target 80.0\u202f%"}]


def test_each_subset_is_a_dot_and_their_mean_another():
    parts, means = (values(CHARTS["learning"], number) for number in (5, 6))
    assert [row["share"] for row in parts] == [.6, .64, .7]
    assert [(row["size"], round(row["share"], 3)) for row in means] == [(40, .62), (80, .7)]


def test_differences_are_in_points_with_their_words():
    row = values(CHARTS["interval"], 2)[1]
    assert (row["difference"], row["low"], row["high"]) == (-10, -20, -5)
    assert (row["shown"], row["range"]) == ("−10.0 points", "−20.0 points to −5.0 points")


def test_evidence_is_drawn_within_what_makes_a_difference_and_told_as_it_is():
    drawn = values(CHARTS["evidence"], 2)
    assert [(row["drawn"], row["evidence"]) for row in drawn] == [(0.01, 0.0), (25_000, 1e9)]
    assert [row["name"] for row in values(CHARTS["evidence"], 0)] == ["alarm 250", "warning 50"]


def test_shares_are_of_their_own_total_and_said_in_words():
    assert [(row["name"], row["of"], row["share"]) for row in values(CHARTS["share"], 1)] == [
        ("gold", "labelled", .8), ("gold", "picked", .5), ("b", "labelled", .2), ("b", "picked", .5)]
    assert "gold 80.0\u202f% and 50.0\u202f%; b 20.0\u202f% and 50.0\u202f%" in CHARTS["share"].words


def test_of_many_labels_those_whose_share_differs_most_are_drawn_in_their_order():
    rows = [(f"l{n:02}", 100, 100 - n) for n in range(30)]
    chart = share_chart(rows, whole="labelled", part="picked")
    drawn = [row["name"] for row in values(chart, 1)[::2]]
    assert len(drawn) == MAX_SHARES and drawn == sorted(drawn)
    assert {"l00", "l29"} <= set(drawn) and "l15" not in drawn  # the middle one has its share in both
    assert chart.words.endswith(f"the {MAX_SHARES} of 30 labels whose shares differ most")


def test_shares_of_nothing_are_refused():
    with pytest.raises(ValueError, match="got 3 and 0"):
        share_chart([("a", 3, 0)], whole="labelled", part="picked")


def test_invisible_characters_of_a_name_are_written_out():
    chart = interval_chart([("a\u202eb", Interval(.1, 0, .2, 9))], words="x")
    assert values(chart, 2)[0]["name"] == "a⟨U+202E⟩b"


def test_a_page_gets_the_specification_its_sentence_and_its_place():
    chart = every_chart('"><script>alert(1)</script>')["interval"]
    html = Template("{% load goldpan %}{% chart made %}").render(Context({"made": chart}))
    box = first_tag(html)
    assert "<script" not in html
    assert json.loads(box["data-chart"]) == chart.spec and box["aria-label"] == chart.words and box["role"] == "img"
    assert f'height="{chart.height}"' in html


def first_tag(html):
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append(dict(attributes))
    parser.feed(html)
    return found[0]


def test_a_number_that_is_none_never_reaches_a_page():
    chart = Chart("x", {"height": 10, "layer": [float("nan")]})
    with pytest.raises(ValueError, match="JSON compliant"):
        Template("{% load goldpan %}{% chart made %}").render(Context({"made": chart}))


def test_the_libraries_that_a_page_loads_are_the_vendored_ones():
    html = Template('{% include "_chart_scripts.html" %}').render(Context())
    libraries = first_tag(html)["data-libraries"].split()
    assert len(libraries) == 3
    assert all((ROOT / library.lstrip("/")).exists() for library in libraries)


def test_a_picture_for_the_docs_has_colours_of_its_own():
    text = json.dumps(standing_alone(CHARTS["growth"].spec))
    assert "var(" not in text and "#b7791f" in text and '"width": 640' in text


def test_the_exponent_is_the_slope_on_two_logarithmic_axes():
    assert exponent([(10, 1.0), (100, 12.0), (1000, 100.0)]) == pytest.approx(1)
    assert exponent([(10, 1.0), (1000, 10_000.0)]) == pytest.approx(2)
