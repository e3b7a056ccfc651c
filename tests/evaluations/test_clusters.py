"""k-means and its measures against scikit-learn's, by property and on edge cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_samples, silhouette_score

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
    with pytest.raises(InputError, match=r"5 clusters .* distinct images, 2; use k=2"):
        cluster(np.array([[0.0], [1.0], [1.0]], np.float32), k=5)
    with pytest.raises(InputError, match="two clusters"):
        silhouette(np.zeros((3, 2), np.float32), np.zeros(3, np.int64))


@pytest.mark.parametrize("seed", range(4))
def test_a_sampled_silhouette_has_points_exact_values_and_an_honest_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assignment = rng.integers(5, size=3000)
    array = (rng.normal(size=(3000, 8)) + rng.normal(size=(5, 8))[assignment]).astype(np.float32)
    drawn = np.random.default_rng(seed).permutation(3000)[:600]
    order = np.argsort(assignment, kind="stable")  # the draw is of positions in this order
    values = silhouette_samples(array, assignment)[order]
    found = silhouette(array, assignment, sample=600, seed=seed)
    assert found.value == pytest.approx(values[drawn].mean(), abs=1e-5)
    assert found.n == 600
    assert found.interval is not None
    error = values[drawn].std(ddof=1) * np.sqrt((1 - 600 / 3000) / 600)
    assert (found.interval[1] - found.value) == pytest.approx(1.96 * error, rel=1e-3)
    assert abs(found.value - values.mean()) < 4 * error


def test_a_sample_of_everything_is_exact() -> None:
    rng = np.random.default_rng(0)
    array, assignment = rng.normal(size=(500, 4)).astype(np.float32), rng.integers(3, size=500)
    assert silhouette(array, assignment, sample=500) == silhouette(array, assignment)
    with pytest.raises(InputError, match="sample=1 must be 0"):
        silhouette(array, assignment, sample=1)


def test_the_silhouette_of_many_small_clusters_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    array, assignment = rng.normal(size=(1500, 4)).astype(np.float32), rng.integers(400, size=1500)
    expected = silhouette_score(array.astype(np.float64), assignment)
    assert silhouette(array, assignment).value == pytest.approx(expected, abs=1e-5)


def test_many_points_are_clustered_as_tightly_from_starts_on_a_draw() -> None:
    rng = np.random.default_rng(0)
    array = (
        rng.normal(size=(12_000, 4)) + 3 * rng.normal(size=(8, 4))[rng.integers(8, size=12_000)]
    ).astype(np.float32)
    found = cluster(array, k=8, silhouette_sample=100)
    spread = ((array - found.centroids[found.assignment]) ** 2).sum()
    assert spread <= 1.02 * KMeans(8, n_init=5, random_state=1).fit(array).inertia_
    assert found.silhouette.n == 100
