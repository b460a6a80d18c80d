import numpy as np

from curation import star_clusters as module
from curation.star_clusters import star_clusters
from tests.curation.test_similar_pairs import on_circle, random_rows

ELEVEN = np.cos(np.radians(11))


def test_a_chain_falls_into_stars_around_the_rows_with_most_neighbours():
    rows = on_circle(0, 10, 20, 30, 40).astype(np.float32)
    found = star_clusters(rows, np.zeros(5, int), np.array([1, 2, 2, 2, 1]), threshold=ELEVEN)
    assert found.centre.tolist() == [1, 1, 1, 3, 3]
    assert np.allclose(found.similarity, [0.98481, 1, 0.98481, 1, 0.98481], atol=1e-5)


def test_stars_stay_inside_their_cluster_and_leave_other_rows_alone():
    rows = on_circle(0, 1, 2, 3).astype(np.float32)
    assert star_clusters(rows, np.array([0, 1, 0, 1]), np.ones(4, int), threshold=0.9).centre.tolist() == [0, 1, 0, 1]
    found = star_clusters(rows, np.zeros(4, int), np.ones(4, int), threshold=0.9, rows=np.array([1, 3]))
    assert found.centre.tolist() == [0, 1, 2, 1]


def test_a_row_may_belong_to_a_centre_for_another_reason():
    rows = on_circle(0, 90).astype(np.float32)
    found = star_clusters(rows, np.zeros(2, int), np.array([1, 0]), threshold=0.9,
                          alike=lambda centre, others: others == 1)
    assert found.centre.tolist() == [0, 0] and abs(found.similarity[1]) < 1e-6


def test_every_member_is_like_its_centre_however_few_products_are_held(monkeypatch):
    rows = random_rows(300)
    cluster, degree = np.zeros(300, int), (rows @ rows.T >= 0.9).sum(axis=1)
    whole = star_clusters(rows, cluster, degree, threshold=0.9)
    assert (np.einsum("nd,nd->n", rows, rows[whole.centre]) >= 0.9 - 1e-6).all()
    assert (whole.centre[whole.centre] == whole.centre).all()
    monkeypatch.setattr(module, "HELD", 900)
    assert (star_clusters(rows, cluster, degree, threshold=0.9).centre == whole.centre).all()
