from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from django import forms
from django.http import HttpResponse
from django.template import Context, Template
from django.template.loader import render_to_string
from django.urls import include, path

from stats.intervals import Interval


def nothing(request, pk):
    return HttpResponse()


urlpatterns = [path("jobs/", include(([
    path("<int:pk>/progress", nothing, name="job-progress"),
    path("<int:pk>/cancel", nothing, name="job-cancel"),
], "jobs")))]


class NameForm(forms.Form):
    name = forms.CharField(help_text="Shown on every page.")
    note = forms.CharField(required=False, widget=forms.Textarea)
    recipe = forms.ChoiceField(choices=[("quick", "Quick"), ("thorough", "Thorough")], widget=forms.RadioSelect)


def render(source, **context):
    return Template("{% load goldpan %}" + source).render(Context(context)).replace("\u202f", " ")


def test_an_estimate_says_in_words_what_it_draws():
    drawing = render('{% estimate e target=0.9 label="Best prompt" %}', e=Interval(0.796, 0.758, 0.829, 500))
    assert 'aria-label="Best prompt 79.6 %, interval at 95 %: 75.8 to 82.9 %, n = 500, target 90.0 %"' in drawing


def test_a_label_cannot_break_out_of_a_drawing():
    drawing = render("{% estimate e label=name %}", e=Interval(0.5, 0.4, 0.6, 10), name='"><script>alert(1)</script>')
    assert "<script" not in drawing


def test_without_an_estimate_there_is_a_dash():
    assert render("{% estimate e %}", e=None) == "—"
    assert "—" in render("{% measured e %}", e=None)


def test_an_estimate_from_no_rows_is_drawn_as_knowing_nothing():
    drawing = render("{% measured e %}", e=Interval(float("nan"), 0.0, 1.0, 0))
    assert "0.0 to 100.0 %, n = 0" in drawing and "est-dot" not in drawing


def test_all_rows_of_a_table_share_an_axis():
    rows = "{% for e in es %}{% estimate e axis=axis target=0.9 %}{% endfor %}"
    drawing = render("{% shared_axis es target=0.9 as axis %}" + rows,
                     es=[Interval(0.7, 0.65, 0.75, 9), Interval(0.88, 0.85, 0.91, 9)])
    assert drawing.count('class="est-target" x1="75.00%"') == 2


def test_a_bar_without_a_total_is_empty():
    assert "bar-done" not in render("{% bar 0 0 %}")


def test_losses_are_drawn_said_and_listed():
    page = render("{% loss_chart points %}", points=[
        {"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "dev_loss": 1.2, "dev_accuracy": 0.7},
        {"step": 4, "loss": float("nan"), "dev_loss": 1.1, "dev_accuracy": 0.8}])
    assert "training from 2.00 to 1.00, dev from 1.20 to 1.10 over 4 steps" in page
    assert page.count("<tr>") == 3 and "80.0 %" in page


def test_nothing_logged_yet_is_said():
    assert "No step has been logged yet." in render("{% loss_chart points %}", points=[])


def test_hidden_characters_are_shown_and_markup_is_not():
    assert render("{{ text|visible }}", text="a\u202e<b>") == (
        'a<span class="codepoint" title="an invisible character">⟨U+202E⟩</span>&lt;b&gt;')


def test_a_time_carries_its_exact_moment():
    assert 'datetime="2020-05-03T12:00:00+00:00"' in render("{{ at|ago }}", at=datetime(2020, 5, 3, 12, tzinfo=UTC))
    assert render("{{ at|ago }}", at=None) == "never"


def test_a_field_has_its_label_its_help_and_its_error_tied_to_it():
    form = NameForm({"name": ""})
    page = str(form["name"].as_field_group())
    assert 'for="id_name"' in page and 'aria-invalid="true"' in page and "form-control is-invalid" in page
    assert 'aria-describedby="id_name_helptext id_name_error"' in page
    assert 'id="id_name_helptext"' in page and 'id="id_name_error"' in page


def test_an_optional_field_says_so_and_choices_stand_in_a_fieldset():
    page = str(NameForm())
    assert page.count("optional") == 1
    assert "<fieldset" in page and "<legend>Recipe</legend>" in page


def job(**changed):
    return SimpleNamespace(**({
        "pk": 7, "kind_label": "Scoring", "state": "running", "stage": "Embedding", "done": 62, "total": 100,
        "percent": 62, "eta_seconds": 40, "error": "", "is_active": True, "can_cancel": True, "seconds": None,
    } | changed))


@pytest.mark.urls(__name__)
def test_a_running_job_asks_again_and_can_be_cancelled():
    page = render_to_string("_progress.html", {"job": job()})
    assert 'hx-get="/jobs/7/progress" hx-trigger="every 2s"' in page and 'hx-post="/jobs/7/cancel"' in page
    assert 'aria-valuenow="62"' in page


@pytest.mark.urls(__name__)
def test_an_ended_job_asks_no_more():
    page = render_to_string("_progress.html", {"job": job(
        state="failed", error="No <space> left.", is_active=False, can_cancel=False)})
    assert "hx-" not in page and "data-finished" in page and "No &lt;space&gt; left." in page


@pytest.mark.parametrize("page", ["400.html", "403.html", "403_csrf.html", "404.html", "429.html", "500.html"])
def test_an_error_page_is_drawn_without_a_request_and_says_what_to_do(page):
    assert 'class="lead-line" data-error>' in render_to_string(page)


def test_a_noun_follows_its_number():
    assert render('{{ one|counted:"row" }}, {{ many|counted:"row has,rows have" }}, {{ none|counted:"row" }}', one=1,
                  many=1200, none=None) == "1 row, 1,200 rows have, —"


def test_of_a_single_scored_pass_the_figure_is_said_and_not_drawn():
    html = render("{% loss_chart points %}", points=[
        {"step": 1, "loss": 2.5}, {"step": 2, "loss": 1.25}, {"step": 2, "dev_accuracy": 0.875, "dev_loss": 1.5}])
    assert "training from 2.50 to 1.25, dev 1.50 over 2 steps" in html and html.count('class="chart"') == 1
    assert "87.5 %" in html and "after step 2" in html
