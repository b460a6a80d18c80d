from labeling.overlap import needs_another


def test_a_majority_is_enough() -> None:
    assert not needs_another(["a", "a", "b"], "classification")
    assert needs_another(["a", "b"], "classification")
    assert needs_another(["a", "b", "c"], "classification")


def test_one_answer_is_never_in_need() -> None:
    assert not needs_another([], "classification") and not needs_another(["a"], "response")


def test_sets_fields_and_spans_need_a_consensus_not_equal_answers() -> None:
    assert not needs_another([["a"], ["a"], ["a", "b"]], "multilabel")
    assert not needs_another([{"city": "Rome"}, {"city": "Rome"}, {"city": "Oslo"}], "extraction")
    assert needs_another([{"city": "Rome"}, {"city": "Oslo"}], "extraction")
    span = {"start": 0, "end": 4, "label": "PLACE"}
    assert needs_another([[span], []], "spans") and not needs_another([[span], [span], []], "spans")


def test_free_text_needs_two_that_tell_the_same() -> None:
    assert not needs_another(["It leaves tomorrow.", "it leaves  tomorrow", "Nobody knows."], "response")
    assert needs_another(["It leaves tomorrow.", "Nobody knows."], "chat")
