from curation.side_by_side import FieldRow, Stretch, field_rows, stretches

TEXT = "Ada met Bob in Paris"
ADA, BOB = {"start": 0, "end": 3, "label": "PERSON"}, {"start": 8, "end": 11, "label": "PERSON"}
PARIS = {"start": 15, "end": 20, "label": "PLACE"}


def test_a_span_that_not_all_mark_is_disputed() -> None:
    assert stretches(TEXT, [[ADA, PARIS], [ADA]], 0) == [
        Stretch("Ada", ("PERSON",), ("PERSON",), False), Stretch(" met Bob in ", (), (), False),
        Stretch("Paris", ("PLACE",), ("PLACE",), True)]
    assert [part.text for part in stretches(TEXT, [[ADA, PARIS], [ADA]], 1)] == ["Ada", " met Bob in Paris"]


def test_the_same_words_with_another_label_are_disputed() -> None:
    other = {**ADA, "label": "PLACE"}
    assert [part.is_disputed for part in stretches(TEXT, [[ADA], [other]], 0)] == [True, False]


def test_overlapping_spans_are_cut_where_each_begins_and_ends() -> None:
    whole = {"start": 0, "end": 11, "label": "GROUP"}
    found = stretches(TEXT, [[ADA, BOB, whole]], 0)
    assert [(part.text, part.labels, part.ending) for part in found] == [
        ("Ada", ("PERSON", "GROUP"), ("PERSON",)), (" met ", ("GROUP",), ()),
        ("Bob", ("PERSON", "GROUP"), ("PERSON", "GROUP")), (" in Paris", (), ())]
    assert "".join(part.text for part in found) == TEXT


def test_a_text_without_spans_is_one_stretch() -> None:
    assert stretches(TEXT, [[], [ADA]], 0) == [Stretch(TEXT, (), (), False)]


def test_fields_stand_in_rows_and_say_where_answers_differ() -> None:
    rows = field_rows([{"seller": {"name": "Ada"}, "total": 5}, {"seller": {"name": "Bob"}, "total": 5, "paid": True}])
    assert rows == [FieldRow("seller.name", ("Ada", "Bob"), True), FieldRow("total", ("5", "5"), False),
                    FieldRow("paid", ("", "yes"), True)]


def test_a_list_is_one_field_and_zero_is_no_no() -> None:
    assert field_rows([{"items": ["a", "b"], "n": 0, "m": False}, {"items": [], "n": 1, "m": 0.5}]) == [
        FieldRow("items", ("a, b", ""), True), FieldRow("n", ("0", "1"), True), FieldRow("m", ("no", "0.5"), True)]
