"""What templates need to show Goldpan's numbers: drawings as tags, words as filters. `{% load goldpan %}`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.forms import BoundField
from django.template.context import RequestContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from projects import wording
from projects.charts import Chart
from projects.drawing import Axis, Series, axis_for, bar_svg, estimate_svg, histogram_svg, line_svg, scale_svg
from projects.models import Project, Role
from projects.rights import MAY, role_in
from projects.wording import (
    UNKNOWN,
    Estimate,
    ago_words,
    count_words,
    duration_words,
    in_unit,
    interval_words,
    is_known,
    number_words,
    percent_words,
    point_words,
    reveal,
)

register = template.Library()

# label, url name, the action it needs. What is used now and then stands one click deeper: Import under Examples, Map
# under Quality, Duplicates and Discussions under Review, Experiments and Label budget under Gold set, Jobs in the menu.
NAVIGATION = (
    ("Home", "projects:detail", "see_project"),
    ("Examples", "labeling:example-list", "see_examples"),
    ("Labelling", "labeling:board", "see_labeling"),
    ("Guideline", "curation:guideline", "see_project"),
    ("Review", "curation:review", "review"),
    ("Quality", "curation:quality", "see_quality"),
    ("Gold set", "curation:gold-set", "edit_gold_set"),
    ("Snapshots", "curation:snapshot-list", "see_snapshot"),
    ("Runs", "training:run-list", "see_runs"),
    ("Live", "serving:live", "see_live"),
)


@register.inclusion_tag("_project_nav.html", takes_context=True)
def project_nav(context: RequestContext) -> dict[str, Any]:
    """The project's pages that this person may open; the current one is marked.

    A page belongs under the entry whose url name, without "-list", its own begins with; the context's `nav`
    (a url name) says it for pages named otherwise.
    """
    project, request = project_here(context), context["request"]
    if project is None:
        return {"entries": []}
    role = _role(context, project)
    here = context.get("nav") or request.resolver_match.view_name
    return {"entries": [{"label": label, "url": reverse(name, args=[project.pk]),
                         "is_current": here.startswith(name.removesuffix("-list"))}
                        for label, name, action in NAVIGATION if role in MAY[action]]}


@register.simple_tag(takes_context=True)
def project_here(context: RequestContext) -> Project | None:
    """The project of the page: set by projects.rights.on, or handed over by the view as `project`."""
    return getattr(context.get("request"), "project", None) or context.get("project")


@register.simple_tag(takes_context=True)
def role_here(context: RequestContext) -> str:
    """The person's role in the project of the page, "" where there is none."""
    project = project_here(context)
    role = _role(context, project) if project else None
    return role.value if role else ""


def _role(context: RequestContext, project: Project) -> Role | None:
    """The person's role in this project, as projects.rights.on has looked it up where the page is about it."""
    request = context["request"]
    return request.role if getattr(request, "project", None) == project else role_in(request.user, project)


@register.simple_tag(takes_context=True)
def page_url(context: RequestContext, parameter: str, number: int) -> str:
    """The address of another page of the same list, all its filters kept."""
    query = context["request"].GET.copy()
    query[parameter] = str(number)
    return f"?{query.urlencode()}"


@register.simple_tag
def shared_axis(estimates: Iterable[Estimate], target: float | None = None) -> Axis:
    """`{% shared_axis estimates target=0.9 as axis %}`: one axis for all rows of a table."""
    return axis_for(estimates, target)


@register.simple_tag
def estimate(e: Estimate | None, *, axis: Axis | None = None, target: float | None = None, win: bool = False,
             unit: str = "percent", label: str = "") -> SafeString | str:
    """`{% estimate e axis=axis target=0.9 win=True %}`: a dot on its interval. An em dash without an estimate."""
    if e is None or not (is_known(e.low) and is_known(e.high)):
        return UNKNOWN
    words = f"{label} {in_unit(e.estimate, unit)}, interval at {interval_words(e, unit)}".strip()
    if target is not None:
        words += f", target {in_unit(target, unit)}"
    drawing = estimate_svg(e.estimate, e.low, e.high, target=target, axis=axis or axis_for([e], target), win=win,
                           label=words)
    return mark_safe(drawing)  # noqa: S308 - numbers, and a label that estimate_svg escapes


@register.simple_tag
def scale(axis: Axis, target: float | None = None, unit: str = "percent") -> SafeString:
    """`{% scale axis target=0.9 %}`: the figures of a shared axis, for the head of the estimates' column."""
    decimals = 0 if axis[1] - axis[0] >= 0.04 else 1
    words = {"percent": lambda v: percent_words(v, decimals), "points": lambda v: point_words(v, decimals)}
    return mark_safe(scale_svg(axis, words.get(unit, number_words), target=target))  # noqa: S308 - figures only


@register.inclusion_tag("_measured.html")
def measured(e: Estimate | None, *, target: float | None = None, axis: Axis | None = None, win: bool = False,
             unit: str = "percent", label: str = "") -> dict[str, Any]:
    """`{% measured e target=0.8 unit="number" label="Agreement" %}`: figure, interval, n and drawing in one block."""
    return {"e": e, "target": target, "axis": axis, "win": win, "unit": unit, "label": label,
            "figure": UNKNOWN if e is None else in_unit(e.estimate, unit), "interval": interval_words(e, unit)}


@register.simple_tag
def bar(done: int, total: int, label: str = "") -> SafeString:
    """`{% bar 620 1000 %}`: a thin bar; empty where the total is 0."""
    words = f"{label} {count_words(done)} of {count_words(total)}".strip()
    return mark_safe(bar_svg(done / total if total else 0.0, label=words))  # noqa: S308 - bar_svg escapes the label


@register.simple_tag
def histogram(counts: Sequence[int], edges: Sequence[float], label: str, threshold: float | None = None) -> SafeString:
    """`{% histogram counts edges "Label quality of 4,200 examples" threshold=0.3 %}`."""
    return mark_safe(histogram_svg(counts, edges, label=label, threshold=threshold))  # noqa: S308 - it escapes the label


@register.inclusion_tag("_chart.html")
def chart(chart: Chart) -> dict[str, Any]:
    """`{% chart made %}`: a chart of projects.charts; the page's scripts block includes "_chart_scripts.html"."""
    return {"chart": chart, "spec": json.dumps(chart.spec, allow_nan=False, ensure_ascii=False)}


@register.inclusion_tag("_loss_chart.html")
def loss_chart(points: Sequence[Mapping[str, Any]], metric: str = "dev_accuracy") -> dict[str, Any]:
    """`{% loss_chart points metric="dev_accuracy" %}`: the losses, below them the dev metric, and both as a table.

    points: by rising step, {"step": 10, "loss": 2.1, "dev_loss": 2.3, "dev_accuracy": 0.71} as the run's log has them;
    each but the step may be missing where it was not measured. metric: the key of a share in [0, 1].
    """
    metric_name = metric.replace("_", " ")
    training, dev, score = (_series(points, *names) for names in (
        ("training", "loss"), ("dev", "dev_loss"), (metric_name, metric)))
    losses = [series for series in (training, dev) if series.points]
    return {
        "losses": mark_safe(line_svg(losses, label=_loss_words(losses), x_name="step")) if losses else "",  # noqa: S308
        "scores": mark_safe(line_svg([score], label=_loss_words([score]), x_name="step", height=90,  # noqa: S308
                                     y_text=lambda v: percent_words(v, 0), value_text=percent_words)
                            ) if len(score.points) > 1 else "",
        "one_score": score.points[0] if len(score.points) == 1 else None,
        "metric": metric_name,
        "words": _loss_words(losses) if losses else "",
        "rows": [(point["step"], point.get("dev_loss"), point.get(metric)) for point in points
                 if "dev_loss" in point or metric in point],
    }


def _series(points: Sequence[Mapping[str, Any]], name: str, key: str) -> Series:
    return Series(name, [(point["step"], point[key]) for point in points if is_known(point.get(key))])


def _loss_words(losses: Sequence[Series]) -> str:
    """The lines in a sentence: "training from 2.31 to 0.41, dev from 2.30 to 0.52 over 120 steps"."""
    lines = [f"{one.name} from {number_words(one.points[0][1])} to {number_words(one.points[-1][1])}"
             if len(one.points) > 1 else f"{one.name} {number_words(one.points[0][1])}" for one in losses]
    return f"{', '.join(lines)} over {wording.counted(int(max(one.points[-1][0] for one in losses)), 'step')}"


@register.filter
def percent(share: float | None, decimals: int = 1) -> str:
    return percent_words(share, decimals)


@register.filter
def signed_points(difference: float | None, decimals: int = 1) -> str:
    return point_words(difference, decimals)


@register.filter
def figure(number: float | None, decimals: int = 2) -> str:
    return number_words(number, decimals)


@register.filter
def count(number: int | None) -> str:
    return count_words(number)


@register.filter
def counted(number: int | None, nouns: str) -> str:
    """`{{ 1|counted:"row" }}` is "1 row", `{{ 12|counted:"row has,rows have" }}` is "12 rows have"."""
    if number is None:
        return UNKNOWN
    one, _, several = nouns.partition(",")
    return wording.counted(number, one, several)


@register.filter
def interval(e: Estimate | None, unit: str = "percent") -> str:
    return interval_words(e, unit)


@register.filter
def ends(e: Estimate) -> str:
    """The interval's ends alone, "80.8 to 91.3 %", for a cell beside which stand its figure and n."""
    return f"{percent_words(e.low).removesuffix(f'{wording.THIN}%')} to {percent_words(e.high)}"


@register.filter
def point_ends(e: Estimate) -> str:
    """The same of a difference, "−34.2 to +20.6 points"."""
    return wording.point_ends_words(e.low, e.high)


@register.filter
def duration(seconds: float | timedelta | None) -> str:
    return duration_words(seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)


@register.filter
def ago(at: datetime | None) -> SafeString | str:
    """"2 minutes ago" as a <time> whose title is the exact time."""
    if at is None:
        return "never"
    local = timezone.localtime(at)
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(timespec="seconds"),
                       f"{local:%Y-%m-%d %H:%M:%S %Z}", ago_words(local, timezone.localtime()))


@register.filter
def visible(text: str) -> SafeString:
    """Other people's text with direction marks, zero-width and control characters written out."""
    mark = '<span class="codepoint" title="an invisible character">{}</span>'
    return format_html_join("", "{}", (
        (format_html(mark, piece) if is_hidden else piece,) for piece, is_hidden in reveal(str(text))))


@register.filter
def bootstrap(field: BoundField) -> SafeString:
    """The field's widget with the Bootstrap class that fits it; forms/field.html uses it."""
    kind = getattr(field.field.widget, "input_type", "textarea")
    css_class = {"checkbox": "form-check-input", "radio": "form-check-input", "select": "form-select", "hidden": "",
                 "range": "form-range"}.get(kind, "form-control")
    given = field.field.widget.attrs.get("class", "")
    invalid = "is-invalid" if field.errors else ""
    return field.as_widget(attrs={"class": " ".join(filter(None, (css_class, given, invalid)))})
