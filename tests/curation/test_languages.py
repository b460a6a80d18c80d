import pytest

from curation.languages import dominant_language, languages_of


@pytest.mark.parametrize(("text", "language"), [
    ("Where is my card? I have been waiting for two weeks now.", "en"),
    ("Wo ist meine Karte? Ich warte seit zwei Wochen darauf.", "de"),
    ("Waar is mijn kaart? Ik wacht er al twee weken op.", "nl"),
    ("Wo ist sie?", ""), ("12345 67890 12345 67890", ""), ("", "")])
def test_the_language_of_a_text_is_told_if_it_is_long_enough(text, language):
    assert languages_of([text]) == [language]


def test_most_texts_have_to_be_in_one_language_to_make_it_the_projects():
    assert dominant_language(["en"] * 15 + ["de"] * 5 + [""] * 80) == "en"
    assert dominant_language(["en"] * 10 + ["de"] * 10) == ""
    assert dominant_language(["en"] * 19 + [""] * 100) == ""
    assert dominant_language([]) == ""
