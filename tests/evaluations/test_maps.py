"""Maps: deterministic, safe on collapsed input, and judged against chance and scikit-learn."""

from typing import Any

import numpy as np
import openTSNE
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness as sklearn_trustworthiness

from vicinal.errors import InputError
from vicinal.evaluations import maps
from vicinal.evaluations.maps import (
    centroids_on_map,
    class_agreement,
    pca_map,
    placed_by_pca,
    placed_by_tsne,
    trustworthiness,
    tsne_map,
)
from vicinal.representations.neighbours import Neighbours, nearest

Array = NDArray[np.float32]


def blobs(count: int = 200, apart: float = 8.0) -> tuple[Array, NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 4
    centres = apart * np.eye(4, 10)
    return (centres[labels] + rng.normal(size=(count, 10))).astype(np.float32), labels


def test_pca_is_scikit_learns_up_to_sign() -> None:
    array, _ = blobs()
    ours = pca_map(array)
    theirs = PCA(2).fit(array.astype(np.float64))
    expected = theirs.transform(array)
    np.testing.assert_allclose(np.abs(ours.points), np.abs(expected), atol=1e-3)
    np.testing.assert_allclose(ours.explained, theirs.explained_variance_ratio_, rtol=1e-6)
    np.testing.assert_array_equal(ours.points, pca_map(array).points)


def test_tsne_keeps_blobs_apart_and_repeats_itself() -> None:
    array, labels = blobs()
    points = tsne_map(array, seed=1)
    assert points.shape == (200, 2)
    assert points.dtype == np.float32
    assert class_agreement(points, labels).value > 0.97
    np.testing.assert_array_equal(points, tsne_map(array, seed=1))


@pytest.mark.parametrize("kind", ["constant", "rank one", "pairs"])
def test_collapsed_representations_still_have_maps(kind: str) -> None:
    rng = np.random.default_rng(0)
    array = {
        "constant": np.ones((40, 6)),
        "rank one": rng.normal(size=(40, 1)) * np.ones((1, 6)),
        "pairs": np.repeat(rng.normal(size=(20, 6)), 2, axis=0),
    }[kind].astype(np.float32)
    assert np.isfinite(pca_map(array).points).all()
    assert np.isfinite(pca_map(array).explained).all()
    assert np.isfinite(tsne_map(array)).all()


def test_agreement_is_1_for_separate_classes_and_chance_for_random_ones() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(3000) % 5
    far = np.stack([labels * 1000.0, np.zeros(3000)], axis=1) + rng.normal(size=(3000, 2))
    assert class_agreement(far.astype(np.float32), labels).value == 1.0
    score = class_agreement(rng.normal(size=(3000, 2)).astype(np.float32), labels)
    assert score.chance == pytest.approx(0.2, abs=1e-3)
    assert score.value == pytest.approx(0.2, abs=0.01)


def test_agreement_of_points_in_one_place_counts_each_neighbour_once() -> None:
    points = np.zeros((6, 2), np.float32)
    assert class_agreement(points, np.zeros(6, np.int64), k=5).value == 1.0
    alone = class_agreement(points, np.arange(6), k=5)
    assert alone.value == 0.0


def test_trustworthiness_is_scikit_learns() -> None:
    array, _ = blobs()
    points = pca_map(array).points
    ours = trustworthiness(array, points, k=7)
    theirs = sklearn_trustworthiness(array, points, n_neighbors=7)
    assert ours.value == pytest.approx(theirs)
    assert trustworthiness(array, points, at_most=50).n == 50


def test_centroids_lie_in_the_middle_and_an_empty_cluster_has_none() -> None:
    points = np.array([[0, 0], [2, 2], [4, 4], [9, 9]], np.float32)
    centres = centroids_on_map(points, np.array([0, 0, 0, 2]), k=3)
    np.testing.assert_array_equal(centres[0], [2, 2])
    assert np.isnan(centres[1]).all()
    np.testing.assert_array_equal(centres[2], [9, 9])


def test_too_few_images_are_refused() -> None:
    with pytest.raises(InputError, match="at least 4"):
        tsne_map(np.ones((3, 2), np.float32))
    with pytest.raises(InputError, match="more than 3 points"):
        class_agreement(np.zeros((3, 2), np.float32), np.zeros(3, np.int64), k=5)
    with pytest.raises(InputError, match="NaN"):
        pca_map(np.full((5, 2), np.nan, np.float32))


def test_one_feature_has_one_axis() -> None:
    ours = pca_map(np.arange(5, dtype=np.float32)[:, None])
    assert ours.points[:, 1].tolist() == [0] * 5
    np.testing.assert_allclose(np.abs(ours.points[:, 0]), [2, 1, 0, 1, 2])
    assert ours.explained.tolist() == [1, 0]


def test_progress_adds_up_to_all_of_it() -> None:
    told: list[float] = []
    tsne_map(blobs(12)[0], progress=told.append)
    assert len(told) > 1
    assert sum(told) == pytest.approx(1)


class Asked:
    """Stands in for openTSNE: what it was asked for, and points in a row."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def tsne(**settings: Any) -> "Asked":
            self.tsne = settings
            return self

        def near(**settings: Any) -> str:
            self.near = settings
            return "affinities"

        monkeypatch.setattr(openTSNE, "TSNE", tsne)
        monkeypatch.setattr(openTSNE.affinity, "PerplexityBasedNN", near)

    def fit(self, *, affinities: object) -> NDArray[np.float64]:
        assert affinities == "affinities"
        return np.zeros((len(self.tsne["initialization"]), 2))


@pytest.mark.parametrize(("count", "perplexity"), [(200, 30.0), (40, 13.0)])
def test_tsne_starts_from_pca_and_takes_our_exact_neighbours(
    count: int, perplexity: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, (array, _) = Asked(monkeypatch), blobs(count)
    assert tsne_map(array, seed=4).dtype == np.float32
    start = asked.tsne["initialization"]
    plane = pca_map(array, seed=4).points
    np.testing.assert_allclose(start, plane / plane[:, 0].std() * 1e-4, atol=5e-6)
    assert 0 < np.abs(start - plane / plane[:, 0].std() * 1e-4).mean() < 2e-6  # jitter
    assert asked.tsne["random_state"] == 4
    assert asked.tsne["callbacks"] is None
    assert asked.near["perplexity"] == perplexity  # 30, or a third of the other points
    found = nearest(array, array, int(3 * perplexity), exclude_self=True)
    given = asked.near["knn_index"]
    np.testing.assert_array_equal(given.indices, found.indices)
    np.testing.assert_array_equal(given.distances, found.distances)
    assert given.distances.dtype == np.float64


@pytest.mark.parametrize(
    ("limits", "method", "jobs", "index"),
    [
        ((20, 20, 20), "bh", 1, "knn_index"),
        ((20, 19, 20), "fft", 1, "knn_index"),
        ((19, 20, 20), "bh", 7, "knn_index"),
        ((20, 20, 19), "bh", 1, "data"),
    ],
)
def test_sizes_decide_how_tsne_is_computed(
    limits: tuple[int, int, int],
    method: str,
    jobs: int,
    index: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, limit in zip(("_ONE_THREAD", "_BARNES_HUT", "_EXACT"), limits, strict=True):
        monkeypatch.setattr(maps, name, limit)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    asked, (array, _) = Asked(monkeypatch), blobs(20)
    tsne_map(array, perplexity=5, seed=2)
    assert asked.tsne["negative_gradient_method"] == method
    assert asked.tsne["n_jobs"] == asked.near["n_jobs"] == jobs
    assert asked.near["perplexity"] == 5
    assert asked.near.keys() & {"knn_index", "data"} == {index}
    if index == "data":
        np.testing.assert_array_equal(asked.near["data"], array)
        assert (asked.near["data"].dtype, asked.near["random_state"]) == (np.float64, 2)


@pytest.mark.parametrize("there", [True, False])
def test_torchdr_maps_where_it_is_and_where_the_device_is_no_cpu(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, _ = blobs(40)
    told: list[Any] = []

    def theirs(*given: Any) -> Array:
        told.append(given[1:])
        return np.ones((40, 2), np.float32)

    monkeypatch.setattr(maps, "find_spec", lambda name: (there and name == "torchdr") or None)
    monkeypatch.setattr(maps, "exact_tsne", theirs)
    Asked(monkeypatch)
    assert tsne_map(array, seed=3, device="cpu").sum() == 0
    assert tsne_map(array, seed=3, device="cpu:0", progress=told.append).sum() == 80 * there
    assert told == ([(13.0, 3, "cpu:0"), 1.0] if there else [])
    monkeypatch.setattr(maps, "_EXACT", 39)
    assert tsne_map(array, device="cpu:0").sum() == 0


def test_exact_tsne_starts_and_steps_as_opentsne_does(monkeypatch: pytest.MonkeyPatch) -> None:
    torchdr = pytest.importorskip("torchdr")
    asked: dict[str, Any] = {}

    class Theirs:
        def __init__(self, **settings: Any) -> None:
            asked.update(settings)

        def fit_transform(self, array: Array) -> NDArray[np.float64]:
            return array[:, :2].astype(np.float64)

    monkeypatch.setattr(torchdr, "TSNE", Theirs)
    array, _ = blobs(20)
    points = maps.exact_tsne(array, 7.0, 5, "cpu:0")
    np.testing.assert_array_equal(points, array[:, :2])
    assert points.dtype == np.float32
    start = asked.pop("init")
    np.testing.assert_array_equal(start, maps._start(array, 5).astype(np.float32))
    assert start.dtype == np.float32
    assert asked == {
        "perplexity": 7.0,
        "early_exaggeration_iter": 100,
        "max_iter": 400,
        "device": "cpu:0",
        "random_state": 5,
    }


def test_a_placed_map_is_as_trustworthy_as_one_made_anew() -> None:
    digits = load_digits().data.astype(np.float32)[:900]
    old, new = digits[:800], digits[800:]
    points = tsne_map(old)
    placed = placed_by_tsne(points, nearest(new, old, 15))
    both = trustworthiness(digits, np.concatenate([points, placed])).value
    assert both > trustworthiness(digits, tsne_map(digits)).value - 0.02
    linear = pca_map(old).points
    np.testing.assert_allclose(placed_by_pca(linear, old, old), linear, atol=1e-4)


@pytest.mark.parametrize("barnes_hut", [10_000, 0])
def test_each_new_image_is_placed_by_itself(
    barnes_hut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "_BARNES_HUT", barnes_hut)
    digits = load_digits().data.astype(np.float32)[:420]
    old, new = digits[:400], digits[400:]
    points = tsne_map(old) + np.float32(7)  # a map need not lie about 0
    found = nearest(new, old, 15)
    placed = placed_by_tsne(points, found)
    assert placed.dtype == np.float32
    np.testing.assert_array_equal(placed, placed_by_tsne(points, found))
    few = placed_by_tsne(points, Neighbours(found.indices[:3], found.distances[:3]))
    # By the interpolated method the grid hangs on where the others are.
    np.testing.assert_allclose(few, placed[:3], atol=1e-3 if barnes_hut else 1.0)
    apart = np.linalg.norm(placed[:, None] - points[found.indices], axis=2).min(axis=1)
    assert np.median(apart) < 0.05 * np.ptp(points)
