"""Every link of a curator's pages leads somewhere, and those into the review queue to what their words promise."""

import re
from collections import Counter
from html import unescape
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import pytest
from django.urls import resolve, reverse

from curation.models import Decision, DuplicateCluster, DuplicateMember, Experiment, Flag, Selection
from curation.services.bulk_decisions import decide_all, look_at
from curation.services.gold_sets import gold_set_of, preview, rule_of
from curation.services.maps import start_map
from curation.services.queue import Filter, Queue, read_filter
from curation.services.review import decide
from curation.services.saved_views import save_view
from curation.services.selections import create_selection, selected_ids
from curation.services.snapshots import start_freeze
from tests.curation.conftest import annotate, new_job

PLACES = {"at", "page", "after"}  # where in a list somebody stands; one of each is enough
MOST_OBJECTS = 3  # pages of a kind


@pytest.fixture
def seeded(scored, alice, bob, run_jobs):
    """The scored project with something on every page of a curator."""
    project, report, examples = scored.project, scored.report, scored.examples
    for kind, keys in {"leak": ("p08",), "conflict": ("p06", "p07"), "duplicate": ("p06", "p07", "p08"),
                       "label_issue": ("p00", "p01", "p02", "p03"), "pii": ("p09",)}.items():
        Flag.objects.bulk_create(Flag(report=report, score=scored.score(key), kind=kind, reason="So.") for key in keys)
        report.n_flags[kind] = len(keys)
    report.save()
    for place, (what, keys) in enumerate({"leak": ("t0", "p08"), "conflict": ("p06", "p07")}.items()):
        cluster = DuplicateCluster.objects.create(
            report=report, place=place, what=what, kind="semantic", centre=examples[keys[0]], size=2, n_labels=2,
            n_held_out=what == "leak", n_to_exclude=1, similarity=0.97, urgency=0, members_sha256=f"{place:064}")
        DuplicateMember.objects.bulk_create(DuplicateMember(
            cluster=cluster, example=examples[key], kind="semantic", similarity=0.97) for key in keys)
    start_freeze(project, by=bob, wake=False)
    start_map(project, by=bob, wake=False)
    run_jobs()
    create_selection(project, [examples[key].pk for key in ("p01", "t1")], by=bob)
    save_view(project, {"view": "all", "label": "neutral"}, name="Neutral ones", is_shared=True, by=alice)
    decide(examples["p05"], verdict="relabel", value="neutral", cause="slip", by=alice, report=report)
    decide(examples["p20"], verdict="discuss", reason="Which?", by=alice, report=report)
    filter_ = Filter(view="all", label="neutral", q="p22")
    decide_all(project, filter_, seen=look_at(Queue(report, filter_)).seen, action="exclude", by=bob)
    gain = {"estimate": 0.01, "low": -0.01, "high": 0.03, "n": 6}
    Experiment.objects.create(
        project=project, kind="fixes", report=report, job=new_job(project, bob, "experiment"), split="dev", n=6,
        config={"seeds": [0]}, verdict=["It may help."], created_by=bob, groups=[{
            "given": "negative", "suggested": "positive", "n": 2, "gain": gain, "examples": [examples["p00"].pk]}])
    annotate(examples["p10"], "jon", "positive")
    return scored


def links(html, address):
    found = (unescape(href) for href in re.findall(r'<a\b[^>]*\shref="([^"]*)"', html))
    return [urljoin(address, href).partition("#")[0] for href in found if not re.match(r"[a-z]+:|#|//", href)]


def kind_of(address):
    """Page and query of an address without the place in a list."""
    parts = urlsplit(address)
    query = {name: value for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in PLACES}
    return parts.path, urlencode(sorted(query.items()))


def test_every_link_of_a_curators_pages_answers(seeded, bob, client_of):
    bob.set_password("a password of his own")  # whose change is a page as well
    bob.save()
    client, start = client_of(bob), reverse("projects:detail", args=[seeded.project.pk])
    waiting, known, wrong, n_of = [start], {kind_of(start)}, [], Counter()
    while waiting:
        address = waiting.pop(0)
        response = client.get(address)
        if response.status_code not in (200, 302):
            wrong.append(f"{address}: {response.status_code}")
        if response.streaming or not response.get("Content-Type", "").startswith("text/html"):
            continue
        for link in links(response.content.decode(), address):
            name = resolve(urlsplit(link).path).view_name
            if kind_of(link) in known or (not urlsplit(link).query and n_of[name] >= MOST_OBJECTS):
                continue
            known.add(kind_of(link))
            n_of[name] += 1
            waiting.append(link)
    assert not wrong
    assert {"curation:review", "curation:quality", "curation:duplicates", "curation:map", "curation:gold-set",
            "curation:experiment", "curation:snapshot-detail", "curation:snapshot-row", "curation:bulk",
            "curation:causes", "labeling:example"} <= set(n_of)


def leads_to(seeded, html, path, words):
    """The examples that the link beside these words brings to review."""
    address, = {link for link in links(re.findall(rf"<tr[^>]*>(?:(?!</tr>).)*{words}.*?</tr>", html, re.S)[0], path)
                if resolve(urlsplit(link).path).view_name == "curation:review"}
    queue = Queue(seeded.report, read_filter(dict(parse_qsl(urlsplit(address).query))))
    return sorted(score.example.key for score in queue.ordered)


def test_confused_pairs_labels_and_flags_lead_to_their_rows(seeded, bob, client_of):
    path = reverse("curation:quality", args=[seeded.project.pk])
    html = client_of(bob).get(path).content.decode()
    assert leads_to(seeded, html, path, "negative <span class=\"quiet\">→</span> positive") == ["p00", "p03"]
    assert leads_to(seeded, html, path, "neutral <span class=\"quiet\">→</span> positive") == ["p01"]
    assert leads_to(seeded, html, path, "<th scope=\"row\">positive</th>") == ["p02"]
    assert leads_to(seeded, html, path, "personal data") == ["p09"]
    groups = reverse("curation:duplicates", args=[seeded.project.pk])
    assert f'{groups}?what=leak"' in html and f'{groups}?what=conflict"' in html and f'{groups}"' in html


def test_an_experiments_group_leads_to_its_rows(seeded, bob, client_of):
    path = reverse("curation:experiment", args=[Experiment.objects.get().pk])
    assert leads_to(seeded, client_of(bob).get(path).content.decode(), path, "negative → positive") == ["p00", "p03"]


def test_duplicates_and_review_lead_to_each_other(seeded, bob, client_of):
    client, group = client_of(bob), DuplicateCluster.objects.get(what="conflict")
    groups, review = (reverse(f"curation:{name}", args=[seeded.project.pk]) for name in ("duplicates", "review"))
    html = client.get(groups, {"at": group.pk}).content.decode()
    there = f"{review}?view=all&amp;cluster={seeded.score('p06').cluster}&amp;state=any"
    assert there in html
    assert f"{groups}?at={group.pk}" in client.get(unescape(there)).content.decode()


def test_the_labels_to_check_by_hand_are_a_queue(seeded, bob, client_of):
    client, project = client_of(bob), seeded.project
    rule = rule_of(gold_set_of(project))
    rows = preview(project, rule).audit.rows
    page = client.get(reverse("curation:gold-set", args=[project.pk])).content.decode()
    assert f"Check all {len(rows)} <kbd>C</kbd>" in page
    url = reverse("curation:gold-set-check", args=[project.pk])
    there = client.post(url).url
    assert client.post(url).url == there  # the same rows are the same selection
    selection = Selection.objects.first()
    assert selected_ids(selection).tolist() == sorted(rows)
    queue = Queue(seeded.report, read_filter(dict(parse_qsl(urlsplit(there).query))))
    done = {decision.example_id for decision in Decision.objects.all()}
    assert {score.example_id for score in queue.rows} == set(rows) - done
    assert client.get(there).status_code == 200
