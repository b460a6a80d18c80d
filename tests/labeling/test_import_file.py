"""The import pages: choose a file, read the report, put a column right, import, download what was bad."""

import csv
import io

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from jobs.models import Job
from labeling.models import Annotation, Example, Upload

GOOD = "id,text,label\na,It broke again.,negative\nb,It works.,positive\n"
FAULTY = f"{GOOD}a,Once more.,neutral\nc,,neutral\nd,Fine.,postive\n"


@pytest.fixture
def give(project, bob, client_of):
    """Hand a file in through the page; returns the client's answer."""

    def post(content, name="texts.csv", kind="examples", client=None):
        return (client or client_of(bob)).post(reverse("labeling:import", args=[project.pk]), {
            "file": SimpleUploadedFile(name, content.encode()), "kind": kind})

    return post


def report(client, upload):
    return client.get(reverse("labeling:upload", args=[upload.pk])).content.decode()


def start(client, upload, **data):
    return client.post(reverse("labeling:upload-import", args=[upload.pk]), data, follow=True)


@pytest.mark.parametrize(("who", "status"), [("alice", 302), ("bob", 302), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_import(give, request, client_of, who, status):
    client = client_of(request.getfixturevalue(who))
    assert give(GOOD, client=client).status_code == status
    assert Upload.objects.exists() == (status == 302)


def test_a_checked_file_shows_what_was_understood_and_imports_nothing(give, bob, client_of):
    give(GOOD)
    html = report(client_of(bob), Upload.objects.get())
    assert "All 2 rows are good." in html and "Import all 2 rows" in html and "It broke again." in html
    assert '<option value="label" selected>a label</option>' in html
    assert not Example.objects.exists()


def test_a_good_file_comes_in_whole(give, bob, client_of, run_jobs):
    give(GOOD)
    upload = Upload.objects.get()
    start(client_of(bob), upload)
    run_jobs()
    assert list(Example.objects.values_list("key", flat=True)) == ["a", "b"]
    html = report(client_of(bob), upload)
    assert "2 new examples and 2 new labels" in html and "Import all" not in html


def test_bad_rows_are_named_and_the_good_ones_can_be_taken_without_them(give, bob, client_of, run_jobs):
    give(FAULTY)
    upload = Upload.objects.get()
    html = report(client_of(bob), upload)
    assert "2 of 5 rows are good." in html and "Did you mean “positive”?" in html
    assert "Import the 2 good rows, leave 3 out" in html and "Import all" not in html
    start(client_of(bob), upload, skip_bad="1")
    run_jobs()
    assert Example.objects.count() == 2


def test_one_bad_row_stops_the_file_unless_somebody_says_otherwise(give, bob, client_of):
    give(FAULTY)
    upload = Upload.objects.get()
    page = reverse("labeling:upload", args=[upload.pk])
    answer = client_of(bob).post(reverse("labeling:upload-import", args=[upload.pk]), follow=True,
                                 headers={"Referer": f"http://testserver{page}"})
    assert "3 of 5 rows cannot be imported; the first is line 4" in answer.content.decode()
    assert not Job.objects.exists()


def test_the_bad_rows_are_a_file_with_their_reasons(give, bob, client_of):
    give(FAULTY, name="tickets.csv")
    answer = client_of(bob).get(reverse("labeling:upload-bad-rows", args=[Upload.objects.get().pk]))
    assert answer["Content-Disposition"] == 'attachment; filename="tickets-bad-rows.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert [row["line"] for row in rows] == ["4", "5", "6"] and "the text is empty" in rows[1]["reason"]


def test_a_file_without_bad_rows_has_none_to_download(give, bob, client_of):
    give(GOOD)
    url = reverse("labeling:upload-bad-rows", args=[Upload.objects.get().pk])
    assert client_of(bob).get(url).status_code == 404


def test_a_column_put_right_is_a_check_of_its_own(give, bob, client_of):
    give("nr,content,note\n1,hello there,x\n2,hello again,y\n")
    client, first = client_of(bob), Upload.objects.get()
    answer = client.post(reverse("labeling:upload", args=[first.pk]),
                         {"column-0": "key", "column-1": "", "column-2": "text"})
    second = Upload.objects.latest("pk")
    assert answer["Location"] == reverse("labeling:upload", args=[second.pk]) and second.pk != first.pk
    assert (second.mapping["key_column"], second.mapping["text_column"]) == ("nr", "note")
    listed = client.get(reverse("labeling:import", args=[first.project_id])).content.decode()
    assert listed.count("texts.csv") == 1, "the earlier check of the same file is no longer listed"


def test_a_column_of_labels_under_another_name_is_pointed_out(give, bob, client_of):
    give("id,text,feeling\na,It broke again.,negative\nb,It works.,positive\n")
    html = report(client_of(bob), Upload.objects.get())
    assert "“feeling” seems to hold labels." in html
    give(GOOD)
    assert "seems to hold labels" not in report(client_of(bob), Upload.objects.latest("pk"))


@pytest.mark.parametrize(("columns", "said"), [
    ({"column-0": "text", "column-1": "text"}, "“nr” and “content” cannot both be the text"),
    ({"column-0": "key"}, "Choose the column that holds the text.")])
def test_a_mapping_that_cannot_be_is_refused_in_words(give, bob, client_of, columns, said):
    give("nr,content\n1,hello there\n")
    answer = client_of(bob).post(reverse("labeling:upload", args=[Upload.objects.get().pk]), columns)
    assert said in answer.content.decode() and Upload.objects.count() == 1


def test_a_file_that_is_no_table_is_refused_on_the_page_it_came_from(give, project, bob, client_of):
    url = reverse("labeling:import", args=[project.pk])
    file = SimpleUploadedFile("a.xlsx", b"PK\x03\x04 and so on")
    answer = client_of(bob).post(url, {"file": file, "kind": "examples"},
                                 headers={"Referer": f"http://testserver{url}"}, follow=True)
    assert "The file is an Excel or zip file." in answer.content.decode() and not Upload.objects.exists()


def test_labels_of_several_people_come_in_by_key(give, bob, client_of, run_jobs):
    give("id,text\na,It broke again.\n")
    start(client_of(bob), Upload.objects.get())
    run_jobs()
    give("id,annotator,label\na,mira,negative\na,jon,neutral\n", kind="annotations")
    start(client_of(bob), Upload.objects.latest("pk"))
    run_jobs()
    assert sorted(Annotation.objects.values_list("annotator__name", "value")) == [
        ("jon", "neutral"), ("mira", "negative")]


def test_an_upload_that_runs_shows_its_progress_instead_of_a_button(give, bob, client_of):
    give(GOOD)
    upload = Upload.objects.get()
    start(client_of(bob), upload)
    html = report(client_of(bob), upload)
    assert "It is being imported" in html and "Import all" not in html and "Check again" not in html
