import pytest
from django.urls import reverse

from jobs import services as jobs
from jobs.models import Job
from projects.models import AuditEvent, Notice
from tests.training.conftest import trained
from tests.training.story import start_quoted
from training.models import Adapter, Evaluation, GeneralCheck

Stage = Adapter.Stage


def promote(client, adapter, **answer):
    return client.post(reverse("training:promote", args=[adapter.pk]), answer)


def page(client, adapter):
    return client.get(reverse("training:adapter", args=[adapter.pk])).content.decode()


def stage(adapter):
    return Adapter.objects.get(pk=adapter.pk).stage


@pytest.mark.parametrize(("who", "status"), [("alice", 302), ("bob", 403), ("charlie", 403), ("dora", 404)])
def test_only_admins_promote(adapter, request, client_of, who, status):
    user = request.getfixturevalue(who)
    assert promote(client_of(user), adapter).status_code == status
    assert stage(adapter) == (Stage.champion if status == 302 else Stage.candidate)
    assert AuditEvent.objects.filter(what="promote", who=who).exists() == (status == 302)


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_see_the_adapter(adapter, request, client_of, who, status):
    client = client_of(request.getfixturevalue(who))
    assert client.get(reverse("training:adapter", args=[adapter.pk])).status_code == status


def test_a_proven_adapter_needs_no_words(adapter, alice, bob, client_of):
    html = page(client_of(alice), adapter)
    assert "may be promoted." in html and "It is better than the best prompt by at least" in html
    assert 'btn-gold">Promote Adapter' in html and "Why promote it all the same?" not in html
    html = page(client_of(bob), adapter)
    assert "An admin decides about the promotion." in html and "Promote Adapter" not in html


def test_the_champion_is_the_champion(adapter, alice, client_of):
    client = client_of(alice)
    response = promote(client, adapter)
    assert response.headers["Location"] == reverse("training:adapter", args=[adapter.pk])
    html = page(client, adapter)
    told = {notice.event: (notice.title, notice.items.count()) for notice in Notice.objects.all()}
    assert told["adapter.promoted"] == (f"{adapter} is the champion now", 1) and told["run.finished"] == (
        f"Run {adapter.run_id} is trained, and is evaluated now", 2)
    assert told["run.evaluated"][0].startswith(f"Run {adapter.run_id}: accuracy ") and "verdict.reached" in told
    assert f"{adapter} is the champion now." in html and "the champion.</span>" in html
    assert "Promote Adapter" not in html
    response = promote(client, adapter)
    assert response.status_code == 400 and "is the champion already" in response.content.decode()


def test_a_new_champion_retires_the_old_one(judged, alice, client_of, model, run_jobs):
    client = client_of(alice)
    model.adapter_errs = lambda number: number % 6 == 0
    adapter = trained(judged, alice, run_jobs)
    promote(client, adapter)
    model.adapter_errs = lambda number: False
    second = trained(judged, alice, run_jobs, seed=2)
    assert f"{adapter} will be retired." in page(client, second)
    promote(client, second)
    assert (stage(adapter), stage(second)) == (Stage.retired, Stage.champion)
    html = client.get(reverse("training:run-list", args=[adapter.project_id])).content.decode()
    assert f"{second} is the champion. Freeze a new snapshot" in html


def test_an_unproven_adapter_takes_a_written_reason(judged, alice, bob, client_of, model, run_jobs):
    model.adapter_errs = lambda number: True
    adapter = trained(judged, alice, run_jobs)
    client = client_of(alice)
    html = page(client, adapter)
    assert "not promoted." in html and "It may be worse than the best prompt by" in html
    assert "Why promote it all the same?" in html and "btn-gold" not in html
    assert promote(client, adapter, override_reason=" ").status_code == 422
    assert "is not promoted." in promote(client, adapter).content.decode()
    assert stage(adapter) == Stage.candidate
    promote(client, adapter, override_reason="The customer asked for it.")
    assert stage(adapter) == Stage.champion
    assert AuditEvent.objects.get(what="promote").detail == {
        "adapter": adapter.pk, "allowed": False, "override": "The customer asked for it."}


def test_an_adapter_that_forgets_is_not_promoted(judged, alice, client_of, model, run_jobs):
    model.forgets = lambda number: number < 20
    adapter = trained(judged, alice, run_jobs)
    html = page(client_of(alice), adapter)
    assert "Of 50 general questions the base model answers 40 and the adapter 24: it has clearly forgotten some" in html
    assert promote(client_of(alice), adapter).status_code == 400 and stage(adapter) == Stage.candidate


def test_the_general_questions_are_asked_once_and_kept(adapter, alice, client_of):
    check = GeneralCheck.objects.get(adapter=adapter)
    assert (check.n, check.n_base, check.n_adapter, check.p_value) == (50, 40, 40, 1.0)
    assert "no clear loss" in page(client_of(alice), adapter)
    response = client_of(alice).post(reverse("training:questions", args=[adapter.pk]))
    assert response.status_code == 400 and "has been asked already" in response.content.decode()


def test_an_earlier_champion_comes_back_in_one_step(judged, alice, bob, client_of, model, run_jobs):
    client = client_of(alice)
    model.adapter_errs = lambda number: number % 6 == 0
    first = trained(judged, alice, run_jobs)
    promote(client, first)
    model.adapter_errs = lambda number: False
    second = trained(judged, alice, run_jobs, seed=2)
    url = reverse("training:roll-back", args=[first.pk])
    assert client.post(url, {"reason": "No."}).status_code == 400, "the champion cannot come back"
    promote(client, second)
    assert f"Roll back to {first}" in page(client, first) and "Roll back to" not in page(client_of(bob), first)
    assert "was the champion." in page(client, first) and "all the same" not in page(client, first)
    assert f'href="{reverse("training:adapter", args=[first.pk])}">Go back to {first}' in page(client, second)
    assert client.post(url, {"reason": " "}).status_code == 422 and client_of(bob).post(url).status_code == 403
    assert client.post(url, {"reason": "It is slow."}).status_code == 302
    assert (stage(first), stage(second)) == (Stage.champion, Stage.retired)
    assert AuditEvent.objects.get(what="roll_back").detail == {"adapter": first.pk, "from": second.pk,
                                                               "reason": "It is slow."}


def test_an_adapter_that_nobody_has_judged_is_not_promoted(judged, alice, client_of):
    start_quoted(judged, by=alice)
    jobs.run(Job.objects.get(kind="train").pk, heartbeat=False)
    adapter = Adapter.objects.get()
    assert not Evaluation.objects.filter(run=adapter.run).exists()
    html = page(client_of(alice), adapter)
    assert "It has not been evaluated on the test rows yet." in html and "not evaluated yet" in html
    assert promote(client_of(alice), adapter).status_code == 400 and stage(adapter) == Stage.candidate


def test_its_lineage_goes_back_to_the_labels(adapter, bob, client_of):
    html = page(client_of(bob), adapter)
    snapshot = adapter.run.snapshot
    for name, pk in (("curation:snapshot-detail", snapshot.pk), ("training:run", adapter.run_id),
                     ("training:comparison", snapshot.pk)):
        assert reverse(name, args=[pk]) in html
    assert '<span class="num">237</span>' in html, "30 pool rows with one label, 69 held-out rows with three"
    assert '<span class="num">99</span>' in html and "approved by alice" in html and "95.0\u202f%" in html


def test_the_page_takes_few_queries(adapter, alice, client_of, django_assert_max_num_queries):
    client = client_of(alice)
    with django_assert_max_num_queries(40):
        page(client, adapter)
