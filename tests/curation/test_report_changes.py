from curation.report_changes import Change, Judged, changes


def test_flags_come_and_go_labels_change_and_qualities_move():
    before = Judged("card", 0.2, {"pii": "An address.", "label_issue": "Wrong."})
    after = Judged("refund", 0.9, {"pii": "An address.", "outlier": "Far."})
    assert list(changes(before, after)) == [
        Change("flagged", "outlier", "", "Far."), Change("cleared", "label_issue", "Wrong.", ""),
        Change("relabelled", "", "card", "refund"), Change("better", "", "0.20", "0.90")]


def test_what_stays_within_chance_is_no_change():
    assert not list(changes(Judged("card", 0.5), Judged("card", 0.74)))
    assert [change.what for change in changes(Judged("card", 0.5), Judged("card", 0.25))] == ["worse"]


def test_a_new_example_brings_its_flags_and_nothing_else():
    assert list(changes(None, Judged("card", 0.1, {"pii": "An address."}))) == [
        Change("flagged", "pii", "", "An address.")]


def test_nothing_is_said_of_what_was_not_known_before_or_is_not_now():
    assert not list(changes(Judged("", None), Judged("card", 0.1)))
    assert not list(changes(Judged("card", 0.1), Judged("", None)))
