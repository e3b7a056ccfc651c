"""The approximate search against the exact one."""

import sys

import numpy as np
import pytest

from vicinal.errors import InputError
from vicinal.recipes import override
from vicinal.recipes.recipe import Recipe
from vicinal.representations.index import nearest_approximate, neighbours_by
from vicinal.representations.neighbours import nearest
from vicinal.representations.representations import Representations
from vicinal.representations.spectral import LaplacianEigenmaps
from vicinal.study.learners import mined_neighbours


@pytest.fixture
def points() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(3000, 16)).astype(np.float32)


@pytest.fixture
def faiss() -> None:
    pytest.importorskip("faiss", reason="the approximate search needs faiss-cpu")


@pytest.mark.usefixtures("faiss")
def test_nearly_all_true_neighbours_are_found_and_the_recall_says_so(points: np.ndarray) -> None:
    found, recall = nearest_approximate(points[:500], points, 10, checked=500)
    truth = nearest(points[:500], points, 10)
    same = [np.isin(a, b).mean() for a, b in zip(truth.indices, found.indices, strict=True)]
    assert recall == pytest.approx(np.mean(same), abs=1e-3)
    assert recall > 0.95
    assert (np.diff(found.distances, axis=1) >= 0).all()
    own = np.linalg.norm(points[found.indices] - points[:500, None], axis=2)
    np.testing.assert_allclose(found.distances, own, atol=1e-3)


@pytest.mark.usefixtures("faiss")
def test_no_row_is_its_own_neighbour_but_its_duplicate_is(points: np.ndarray) -> None:
    doubled = np.concatenate([points[:400], points[:400]])
    found, recall = nearest_approximate(doubled, doubled, 3, exclude_self=True)
    assert found.indices.shape == (800, 3)
    assert not (found.indices == np.arange(800)[:, None]).any()
    assert (found.indices[:, 0] == (np.arange(800) + 400) % 800).mean() > 0.95
    assert recall > 0.95


@pytest.mark.usefixtures("faiss")
def test_the_same_rows_give_the_same_neighbours(points: np.ndarray) -> None:
    first, second = (nearest_approximate(points, points, 5, exclude_self=True) for _ in range(2))
    np.testing.assert_array_equal(first[0].indices, second[0].indices)
    assert first[1] == second[1]


@pytest.mark.usefixtures("faiss")
def test_where_the_graph_finds_too_few_the_exact_search_helps() -> None:
    """As many neighbours as there are rows: the search through the graph may miss some."""
    same = np.zeros((300, 4), np.float32)
    same[::3] = 50
    found, recall = nearest_approximate(same, same, 299, exclude_self=True)
    assert (np.sort(found.indices, axis=1) >= 0).all()
    assert all(len(set(row)) == 299 for row in found.indices.tolist())
    assert recall == 1.0


@pytest.mark.usefixtures("faiss")
def test_eigenmaps_and_mined_neighbours_take_either_search(points: np.ndarray) -> None:
    exact = LaplacianEigenmaps(4, n_neighbors=10).fit(points)
    hnsw = LaplacianEigenmaps(4, n_neighbors=10, neighbors="hnsw").fit(points)
    assert exact.recall_ == 1.0
    assert 0.95 < hnsw.recall_ <= 1.0
    np.testing.assert_allclose(hnsw.eigenvalues_, exact.eigenvalues_, atol=0.02)
    held = Representations(points, np.arange(len(points)).astype(np.str_))
    truth, certain = mined_neighbours(held, Recipe())
    near, recall = mined_neighbours(held, override(Recipe(), ["mined.search=hnsw"]))
    assert certain == 1.0
    assert (near == truth).mean() > 0.95
    assert 0.95 < recall <= 1.0


@pytest.mark.usefixtures("faiss")
def test_what_cannot_be_searched_is_refused_as_by_the_exact_search(points: np.ndarray) -> None:
    with pytest.raises(InputError, match="k=3000 neighbours but only 2999"):
        nearest_approximate(points, points, 3000, exclude_self=True)
    with pytest.raises(InputError, match="not finite"):
        nearest_approximate(points[:3] * np.nan, points, 3)


def test_without_faiss_one_line_says_how_to_get_it(
    points: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=r"needs faiss: pip install 'vicinal\[faiss\]'") as caught:
        neighbours_by("hnsw", points, points, 3)
    assert "\n" not in str(caught.value)


def test_an_unknown_search_is_refused(points: np.ndarray) -> None:
    with pytest.raises(InputError, match="valid are 'exact' and 'hnsw'"):
        LaplacianEigenmaps(4, neighbors="annoy").fit(points)  # type: ignore[arg-type]
