import pytest
from django.urls import reverse

from curation.models import SavedView
from curation.services import saved_views as service
from curation.services.saved_views import delete_view, save_view, saved_views
from projects.errors import UserError
from projects.models import AuditEvent


def names(project, user):
    return [view.name for view in saved_views(project, user)]


def test_a_view_is_ones_own_until_it_is_shared(project, alice, bob):
    save_view(project, {"view": "all", "label": "neutral"}, name="Neutral ones", is_shared=False, by=bob)
    assert names(project, bob) == ["Neutral ones"] and names(project, alice) == []
    shared = save_view(project, {"view": "all", "q": "late"}, name=" Late   ones ", is_shared=True, by=bob)
    assert names(project, alice) == ["Late ones"] and shared.query == "view=all&q=late"


def test_one_name_is_one_view_of_a_person(project, alice, bob):
    for by, view in ((bob, "all"), (bob, "discuss"), (alice, "flagged")):
        save_view(project, {"view": view}, name="Mine", is_shared=True, by=by)
    assert sorted(SavedView.objects.values_list("owner__username", "query")) == [
        ("alice", "view=flagged"), ("bob", "view=discuss")]


def test_what_the_address_has_wrong_is_not_kept(project, bob):
    kept = save_view(project, {"view": "odd", "order": "came", "at": "7"}, name="x", is_shared=False, by=bob)
    assert kept.query == "view=flagged&order=came"


@pytest.mark.parametrize("name", ["", "   ", "x" * 61])
def test_a_view_needs_a_name(project, bob, name):
    with pytest.raises(UserError, match="has 1 to 60 characters"):
        save_view(project, {}, name=name, is_shared=False, by=bob)


def test_there_are_not_more_views_than_somebody_reads(project, bob, monkeypatch):
    monkeypatch.setattr(service, "MAX_VIEWS", 2)
    for name in ("a", "b", "a"):
        save_view(project, {}, name=name, is_shared=False, by=bob)
    with pytest.raises(UserError, match="You have 2 views here"):
        save_view(project, {}, name="c", is_shared=False, by=bob)


def test_only_who_made_a_view_deletes_it(project, alice, bob):
    view = save_view(project, {}, name="Mine", is_shared=True, by=bob)
    with pytest.raises(UserError, match="bob made the view “Mine”"):
        delete_view(view, by=alice)
    delete_view(view, by=bob)
    assert names(project, bob) == [] and AuditEvent.objects.filter(what="delete_view").exists()


def test_the_page_keeps_a_view_links_to_it_and_deletes_it(scored, alice, bob, client_of):
    client = client_of(bob)
    url = reverse("curation:save-view", args=[scored.project.pk]) + "?view=all&label=neutral"
    html = client.post(url, {"name": "Neutral ones", "is_shared": "on"}, follow=True).content.decode()
    assert "for everybody who reviews here" in html and "8 in this filter" in html and "copy link" in html
    html = client_of(alice).get(reverse("curation:review", args=[scored.project.pk])).content.decode()
    assert "?view=all&amp;label=neutral" in html and "Neutral ones" in html and "by bob" in html
    delete = reverse("curation:delete-view", args=[SavedView.objects.get().pk])
    assert client_of(alice).post(delete).status_code == 400
    assert "is deleted" in client.post(delete, follow=True).content.decode()


def test_a_private_view_is_a_404_to_others(project, alice, bob, client_of):
    view = save_view(project, {}, name="Mine", is_shared=False, by=bob)
    assert client_of(alice).post(reverse("curation:delete-view", args=[view.pk])).status_code == 404
