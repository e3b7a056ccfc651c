"""Maps: deterministic, safe on collapsed input, and judged against chance and scikit-learn."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness as sklearn_trustworthiness

from vicinal.errors import InputError
from vicinal.evaluations.maps import (
    centroids_on_map,
    class_agreement,
    pca_map,
    trustworthiness,
    tsne_map,
)

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
