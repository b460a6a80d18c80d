"""The map page: drawn by a job, points as one file, selections that others can open and label."""

import base64
import gzip
import json

import numpy as np
import pyarrow.parquet
import pytest
from django.db import DatabaseError, transaction
from django.urls import reverse

from curation.models import Map, Selection
from curation.services.maps import select_points, start_map
from curation.services.selections import create_selection, selected_ids
from jobs.models import Job
from labeling.models import Batch
from projects.errors import UserError
from projects.objects import object_path


@pytest.fixture
def drawn(scored, bob, run_jobs):
    start_map(scored.project, by=bob, wake=False)
    run_jobs()
    assert Job.objects.get(kind="map").state == "succeeded", Job.objects.get(kind="map").error
    return Map.objects.get()


def bits_of(scored, *keys):
    order = sorted(example.pk for example in scored.examples.values())
    chosen = np.zeros(len(order), dtype=bool)
    chosen[[order.index(scored.examples[key].pk) for key in keys]] = True
    return base64.b64encode(np.packbits(chosen, bitorder="little").tobytes()).decode()


def points_of(response):
    content = gzip.decompress(b"".join(response.streaming_content))
    length = int.from_bytes(content[8:12], "little")
    header = json.loads(content[12:12 + length])
    return header, {name: np.frombuffer(content[12 + length:], f"<{kind}", header["n"], offset)
                    for name, (kind, offset) in header["columns"].items()}


def test_a_project_without_a_map_offers_to_draw_one(scored, bob, client_of, run_jobs):
    client, address = client_of(bob), reverse("curation:map", args=[scored.project.pk])
    assert "Draw the map" in client.get(address).content.decode()
    client.post(reverse("curation:map-draw", args=[scored.project.pk]))
    client.post(reverse("curation:map-draw", args=[scored.project.pk]))  # two clicks are one wish
    assert Job.objects.filter(kind="map").count() == 1
    run_jobs()
    assert "39 texts; like ones lie near each other" in client.get(address).content.decode()


def test_the_points_carry_what_is_known_of_each_example(scored, drawn, bob, client_of):
    response = client_of(bob).get(reverse("curation:map-points", args=[drawn.pk]))
    header, columns = points_of(response)
    assert response["Content-Encoding"] == "gzip" and header["n"] == 39
    at = {key: row for row, key in enumerate(sorted(scored.examples, key=lambda key: scored.examples[key].pk))}
    labels, flags = header["names"]["label"], header["names"]["flag"]
    assert labels == ["negative", "neutral", "positive"] and flags[0] == "looks wrong"
    assert labels[columns["label"][at["p00"]]] == "negative" and columns["label"][at["d0"]] < 3
    assert columns["quality"][at["p00"]] == 4 and columns["quality"][at["t0"]] == 255  # .02 in 200 steps; never scored
    assert flags[columns["flag"][at["p00"]]] == "looks wrong" and columns["flag"][at["p11"]] == 255
    assert flags[columns["flag"][at["p08"]]] == "near-copy is held out"
    assert columns["cluster"][at["p06"]] == 2 and columns["annotator"][at["p02"]] == 65534  # mira and jon


def test_a_browser_that_has_the_points_is_sent_none(drawn, bob, client_of):
    client, address = client_of(bob), reverse("curation:map-points", args=[drawn.pk])
    etag = client.get(address)["ETag"]
    assert etag == f'"{drawn.points_sha256}"'
    again = client.get(address, headers={"If-None-Match": etag})
    assert again.status_code == 304 and not again.content


def test_drawing_again_gives_the_same_map(scored, drawn, bob, run_jobs):
    start_map(scored.project, by=bob, wake=False)
    run_jobs()
    again = Map.objects.first()
    assert again.pk != drawn.pk
    assert (again.points_sha256, again.ids_sha256) == (drawn.points_sha256, drawn.ids_sha256)


def test_a_map_without_scores_shows_labels_only(project, bob, scored, run_jobs, client_of):
    scored.report.scores.all().delete()
    scored.report.delete()
    start_map(project, by=bob, wake=False)
    run_jobs()
    header, columns = points_of(client_of(bob).get(reverse("curation:map-points", args=[Map.objects.get().pk])))
    assert header["names"]["label"] == ["negative", "neutral", "positive"]
    assert "quality" not in columns and "predicted" not in columns


def test_a_point_says_what_it_is(scored, drawn, bob, client_of):
    client, address = client_of(bob), reverse("curation:map-point", args=[drawn.pk])
    html = client.get(address, {"row": 0}).content.decode()
    assert "This is text p00." in html and "looks wrong, rather positive" in html
    assert client.get(address, {"row": 39}).status_code == 404 == client.get(address, {"row": "x"}).status_code


def test_a_lasso_becomes_a_selection_that_has_an_address(scored, drawn, alice, bob, client_of):
    response = client_of(bob).post(reverse("curation:map-select", args=[drawn.pk]),
                                   {"rows": bits_of(scored, "p00", "p03", "t1"), "colour": "flag"})
    selection = Selection.objects.get()
    assert response.url == f"{reverse('curation:map', args=[scored.project.pk])}?selection={selection.pk}&colour=flag"
    assert selected_ids(selection).tolist() == sorted(scored.examples[key].pk for key in ("p00", "p03", "t1"))
    html = client_of(alice).get(response.url).content.decode()
    assert "3 examples selected" in html and "This is text p03." in html and "This is text p01." not in html


def test_a_selection_becomes_a_batch(scored, drawn, bob, client_of):
    selection = select_points(drawn, bits_of(scored, "p01", "t2"), by=bob)
    client, address = client_of(bob), reverse("curation:selection-batch", args=[selection.pk])
    assert "2 examples picked on the map" in client.get(address).content.decode()
    client.post(address, {"title": "odd ones", "n_labels": 1, "overlap_share": 0, "overlap_labels": 1, "max_labels": 1,
                          "skips": "next_person"})
    items = {item.example.key: item.n_wanted for item in Batch.objects.get().items.all()}
    assert items == {"p01": 1, "t2": 3}


@pytest.mark.parametrize(("rows", "reason"), [("", "could not be read"), ("AAAAAAA=", "No point is selected")])
def test_nothing_selected_is_said_so(drawn, bob, client_of, rows, reason):
    response = client_of(bob).post(reverse("curation:map-select", args=[drawn.pk]), {"rows": rows})
    assert response.status_code == 400 and reason in response.content.decode() and not Selection.objects.exists()


def test_a_selection_of_another_project_is_not_shown(scored, drawn, dora, bob, client_of):
    theirs = dora.memberships.get().project
    stranger = create_selection(theirs, np.array([1]), by=dora)
    response = client_of(bob).get(reverse("curation:map", args=[scored.project.pk]), {"selection": stranger.pk})
    assert response.status_code == 400 and "There is no selection" in response.content.decode()


def test_the_table_holds_places_and_labels(scored, drawn, bob, client_of):
    response = client_of(bob).get(reverse("curation:map-table", args=[drawn.pk]))
    assert response["Content-Disposition"] == f'attachment; filename="moods-map-{drawn.pk}.parquet"'
    table = pyarrow.parquet.read_table(object_path_of(drawn)).to_pydict()
    assert table["key"][0] == "p00" and table["label"][0] == "negative" and table["predicted_label"][0] == "positive"
    assert len(set(zip(table["x"], table["y"], strict=True))) > 30


def object_path_of(drawn):
    from django.conf import settings

    return object_path(settings.GOLDPAN_OBJECTS, drawn.table_sha256)


def test_two_texts_make_no_map(project, bob):
    with pytest.raises(UserError, match="at least 3 examples; there are 0"):
        start_map(project, by=bob, wake=False)


def test_a_method_that_is_not_installed_is_refused(scored, bob):
    with pytest.raises(UserError, match=r"cannot be used here\. These can: PCA"):
        start_map(scored.project, by=bob, method="tea leaves", wake=False)


def test_a_map_is_never_changed(drawn):
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        Map.objects.update(seed=4)


def test_the_pages_ask_few_questions(scored, drawn, bob, client_of, django_assert_max_num_queries):
    selection = select_points(drawn, bits_of(scored, *scored.examples), by=bob)
    client, address = client_of(bob), reverse("curation:map", args=[scored.project.pk])
    for query in ({}, {"selection": selection.pk}, {"selection": selection.pk, "page": 3}):
        with django_assert_max_num_queries(19):
            assert client.get(address, query).status_code == 200
    with django_assert_max_num_queries(6):
        client.get(reverse("curation:map-points", args=[drawn.pk]))
