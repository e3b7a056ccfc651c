"""k-means and its measures against scikit-learn's, by property and on edge cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from vicinal.errors import InputError
from vicinal.evaluations.clusters import cluster, silhouette


def test_separate_blobs_are_found() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 5
    array = (20 * np.eye(5, 8)[labels] + rng.normal(size=(300, 8))).astype(np.float32)
    found = cluster(array, k=5, labels=labels)
    for score in (found.nmi, found.ari, found.matched_accuracy):
        assert score is not None
        assert score.value == pytest.approx(1.0)
    assert found.silhouette.value > 0.7
    np.testing.assert_array_equal(found.assignment, cluster(array, k=5).assignment)


def test_classes_that_say_nothing_agree_by_chance_only() -> None:
    rng = np.random.default_rng(0)
    found = cluster(
        rng.normal(size=(4000, 3)).astype(np.float32), k=4, labels=rng.integers(4, size=4000)
    )
    assert found.ari is not None
    assert found.matched_accuracy is not None
    assert found.ari.value == pytest.approx(0.0, abs=0.01)
    assert found.matched_accuracy.chance == 0.25
    assert found.matched_accuracy.value == pytest.approx(0.25, abs=0.04)


def test_without_labels_there_is_no_agreement() -> None:
    found = cluster(np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32), k=3)
    assert found.nmi is found.ari is found.matched_accuracy is None


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(6, 120),
    k=st.integers(2, 5),
    offset=st.sampled_from([0.0, 1e3]),
    seed=st.integers(0, 99),
)
def test_the_silhouette_is_scikit_learns(n: int, k: int, offset: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = (rng.normal(size=(n, 6)) + offset).astype(np.float32)
    assignment = np.concatenate([np.arange(k), rng.integers(k, size=n - k)])
    expected = silhouette_score(array.astype(np.float64), assignment)
    assert silhouette(array, assignment).value == pytest.approx(expected, abs=1e-4)


def test_the_silhouette_does_not_depend_on_blocks() -> None:
    rng = np.random.default_rng(0)
    array, assignment = rng.normal(size=(2500, 4)).astype(np.float32), rng.integers(7, size=2500)
    expected = silhouette_score(array, assignment)
    assert silhouette(array, assignment).value == pytest.approx(expected, abs=1e-5)


def test_a_point_alone_counts_0_and_equal_points_do_not_divide_by_0() -> None:
    array = np.array([[0, 0], [0, 1], [9, 9]], np.float32)
    assignment = np.array([0, 0, 1])
    assert silhouette(array, assignment).value == pytest.approx(silhouette_score(array, assignment))
    assert silhouette(np.zeros((4, 2), np.float32), np.array([0, 0, 1, 1])).value == 0


def test_more_clusters_than_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"5 clusters .* distinct images, 2; use --set"):
        cluster(np.array([[0.0], [1.0], [1.0]], np.float32), k=5)
    with pytest.raises(InputError, match="two clusters"):
        silhouette(np.zeros((3, 2), np.float32), np.zeros(3, np.int64))
