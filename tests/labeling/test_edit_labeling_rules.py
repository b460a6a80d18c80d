"""The rules of labelling: who changes them, what may stand in them, and that it is written down."""

from decimal import Decimal

import pytest
from django.urls import reverse

from labeling.models import LabelingRules
from labeling.services.batches import rules_of
from labeling.services.rules import save_rules
from projects.errors import UserError
from projects.models import AuditEvent

GOOD = {"open_limit": 12, "reservation_hours": 24, "honeypot_share": 10, "honeypot_floor": 90, "exam_size": 8,
        "exam_pass": 75, "hidden_share": 20, "hourly_wage": "18.50", "currency": "eur"}


@pytest.fixture
def edit(project, client_of, bob):
    def post(who=bob, **changes):
        given = {name: value for name, value in (GOOD | changes).items() if value is not None}
        return client_of(who).post(reverse("labeling:rules", args=[project.pk]), given)

    return post


@pytest.mark.parametrize(("who", "status"), [("alice", 302), ("bob", 302), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_change_the_rules(edit, request, who, status):
    assert edit(request.getfixturevalue(who)).status_code == status
    assert LabelingRules.objects.exists() == (status == 302)


def test_shares_are_asked_for_in_per_cent_and_kept_as_shares(edit, project, bob, client_of):
    edit()
    rules = rules_of(project)
    assert (rules.open_limit, rules.honeypot_share, rules.honeypot_floor, rules.exam_pass) == (12, 0.1, 0.9, 0.75)
    assert (rules.hourly_wage, rules.currency) == (Decimal("18.50"), "EUR")
    html = client_of(bob).get(reverse("labeling:rules", args=[project.pk])).content.decode()
    assert 'name="honeypot_floor" value="90"' in html and 'name="exam_pass" value="75"' in html


def test_what_changed_is_written_down_and_nothing_where_nothing_did(edit, project):
    edit()
    event = AuditEvent.objects.get(what="edit_labeling_rules")
    assert event.detail["open_limit"] == [30, 12] and event.detail["hourly_wage"] == [0, "18.50"]
    assert "hidden_share" not in event.detail and event.who == "bob"
    edit()
    assert AuditEvent.objects.filter(what="edit_labeling_rules").count() == 1


@pytest.mark.parametrize(("field", "value"), [
    ("open_limit", 0), ("open_limit", 501), ("reservation_hours", 0), ("honeypot_share", 51), ("honeypot_floor", 49),
    ("honeypot_floor", 100), ("exam_size", 101), ("exam_pass", 101), ("hidden_share", -1), ("hourly_wage", -1),
    ("currency", "E1R"), ("currency", "EURO"), ("open_limit", None)])
def test_what_makes_no_sense_is_refused_at_its_field(edit, field, value):
    response = edit(**{field: value})
    assert response.status_code == 422 and field in response.context["form"].errors
    assert not LabelingRules.objects.exists()


def test_a_curator_hides_names_and_only_an_admin_shows_them_again(edit, project, bob, alice):
    edit(hides_names="on")
    assert rules_of(project).hides_names
    edit()  # an unticked box, from a page that was changed by hand
    assert rules_of(project).hides_names
    with pytest.raises(UserError, match="Only an admin"):
        save_rules(project, {"hides_names": False}, by=bob)
    edit(alice)
    assert not rules_of(project).hides_names


def test_the_next_example_that_is_given_out_follows_the_rules(edit, floor):
    edit(open_limit=2, exam_size=0, honeypot_share=0)
    floor.ask(floor.examples(5))
    assert floor.sync()["n_handed_out"] == 2
