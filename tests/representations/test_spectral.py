import pickle
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from sklearn.base import clone
from sklearn.datasets import load_digits, make_swiss_roll
from sklearn.manifold import SpectralEmbedding
from sklearn.neighbors import kneighbors_graph
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vicinal.errors import InputError
from vicinal.representations.spectral import LaplacianEigenmaps

Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def digits() -> Array:
    pixels = load_digits().data[:600]
    noise = np.random.default_rng(0).random(pixels.shape) / 10  # whole numbers tie, and then
    return (pixels + noise).astype(np.float32)  # scikit-learn may choose another neighbour


def affinity(points: Array, k: int, bandwidth: float | None = None) -> NDArray[np.float64]:
    """The graph, dense, by scikit-learn."""
    mode = "connectivity" if bandwidth is None else "distance"
    graph = kneighbors_graph(points.astype(np.float64), k, mode=mode).toarray()
    if bandwidth is not None:
        graph = np.where(graph > 0, np.exp(-(graph**2) / (2 * bandwidth**2)), 0)
    return np.maximum(graph, graph.T)


def greatest_angle(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The greatest principal angle between two column spaces, in radians."""
    return float(scipy.linalg.subspace_angles(one.astype(float), other.astype(float)).max())


def test_is_scikit_learns_embedding_but_for_scale(digits: Array) -> None:
    ours = LaplacianEigenmaps(10, n_neighbors=8).fit(digits)
    graph = affinity(digits, 8)
    assert ours.n_components_graph_ == connected_components(graph)[0] == 1
    theirs = SpectralEmbedding(10, affinity="precomputed", random_state=0).fit_transform(graph)
    assert greatest_angle(ours.embedding_, theirs) < 1e-3
    scale = np.sqrt(graph.sum())
    np.testing.assert_allclose(ours.embedding_, theirs * scale, atol=2e-3)  # signs and order too


@pytest.mark.parametrize("bandwidth", [None, 20.0])
def test_solves_the_generalised_eigenproblem(digits: Array, bandwidth: float | None) -> None:
    weights = "connectivity" if bandwidth is None else "heat"
    ours = LaplacianEigenmaps(12, n_neighbors=8, weights=weights, bandwidth=bandwidth).fit(digits)
    graph = affinity(digits, 8, bandwidth)
    degree = np.diag(graph.sum(axis=1))
    values, vectors = scipy.linalg.eigh(degree - graph, degree)  # L y = (1 − λ) D y
    np.testing.assert_allclose(1 - ours.eigenvalues_, values[1:13], atol=1e-6)
    assert greatest_angle(ours.embedding_, vectors[:, 1:13]) < 1e-3


def test_columns_have_unit_second_moment_and_mean_zero_by_degree(digits: Array) -> None:
    ours = LaplacianEigenmaps(20, n_neighbors=8).fit(digits)
    share = affinity(digits, 8).sum(axis=1)
    share /= share.sum()
    moments = np.einsum("n,ni,nj->ij", share, ours.embedding_, ours.embedding_)
    np.testing.assert_allclose(moments, np.eye(20), atol=1e-4)
    np.testing.assert_allclose(share @ ours.embedding_, 0, atol=1e-4)
    assert ours.embedding_.dtype == np.float32
    assert np.all(np.diff(ours.eigenvalues_) <= 0)


def test_default_bandwidth_is_the_mean_distance_to_the_last_neighbour(digits: Array) -> None:
    graph = kneighbors_graph(digits.astype(np.float64), 8, mode="distance")
    mean = graph.max(axis=1).toarray().mean()
    ours = LaplacianEigenmaps(4, n_neighbors=8, weights="heat").fit(digits)
    assert ours.bandwidth_ == pytest.approx(mean, rel=1e-6)
    given = LaplacianEigenmaps(4, n_neighbors=8, weights="heat", bandwidth=ours.bandwidth_)
    np.testing.assert_array_equal(given.fit_transform(digits), ours.embedding_)


def test_same_seed_same_embedding_and_another_seed_the_same_space(digits: Array) -> None:
    first = LaplacianEigenmaps(10, n_neighbors=8, random_state=0).fit_transform(digits)
    again = LaplacianEigenmaps(10, n_neighbors=8, random_state=0).fit_transform(digits)
    other = LaplacianEigenmaps(10, n_neighbors=8, random_state=1).fit_transform(digits)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, other, atol=1e-3)


def circle(angles: NDArray[np.float64]) -> Array:
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_components_are_joined_and_keep_their_inner_structure() -> None:
    """Two far circles: components apart in one column, the angle along each in others."""
    angles = np.arange(150) * (2 * np.pi / 150)
    points = np.concatenate([circle(angles), circle(angles) * 1.1 + np.float32(100)])
    ours = LaplacianEigenmaps(5, n_neighbors=4).fit(points)
    assert ours.n_components_graph_ == 2
    assert np.isfinite(ours.embedding_).all()
    marker = ours.embedding_[:, 0]
    assert np.sign(marker[:150].min()) == np.sign(marker[:150].max())
    assert np.sign(marker[:150].mean()) == -np.sign(marker[150:].mean())
    for own in (slice(0, 150), slice(150, 300)):
        columns = np.column_stack([np.ones(150), ours.embedding_[own]])
        target = circle(angles)
        fitted = columns @ np.linalg.lstsq(columns, target, rcond=None)[0]
        assert ((target - fitted) ** 2).sum() / (target**2).sum() < 0.05


@pytest.mark.parametrize("weights", ["connectivity", "heat"])
def test_many_components_duplicates_and_an_outlier_stay_finite(weights: Any) -> None:
    generator = np.random.default_rng(0)
    blobs = np.concatenate(
        [generator.standard_normal((40, 3)) + 1000 * place for place in range(4)]
        + [np.zeros((30, 3)) - 500, np.full((1, 3), 1e6)]
    ).astype(np.float32)
    ours = LaplacianEigenmaps(8, n_neighbors=5, weights=weights).fit(blobs)
    assert ours.n_components_graph_ == connected_components(affinity(blobs, 5))[0] >= 5
    assert np.isfinite(ours.embedding_).all()
    assert np.isfinite(ours.transform(blobs)).all()
    assert np.all(np.abs(ours.eigenvalues_) <= 1 + 1e-9)
    assert ours.eigenvalues_[0] < 1  # joined: no second constant solution


def test_components_are_joined_by_the_shortest_edges() -> None:
    """Four points on a line in pairs: only the gap from 1 to 3 can join them."""
    points = np.array([[0.0], [1], [3], [4.5]], dtype=np.float32)
    ours = LaplacianEigenmaps(2, n_neighbors=1).fit(points)
    assert ours.n_components_graph_ == 2
    path = np.diag(np.ones(3), 1) + np.diag(np.ones(3), -1)
    degree = np.diag(path.sum(axis=1))
    values = scipy.linalg.eigh(path, degree, eigvals_only=True)[::-1]
    np.testing.assert_allclose(ours.eigenvalues_, values[1:3], atol=1e-6)
    along = np.diff(ours.embedding_[:, 0])  # the path's ends must be the line's
    assert np.all(along > 0) or np.all(along < 0)


def test_new_points_on_a_circle_land_between_their_neighbours() -> None:
    angles = np.arange(200) * (2 * np.pi / 200)
    ours = LaplacianEigenmaps(4, n_neighbors=2).fit(circle(angles))
    between = ours.transform(circle(angles + np.pi / 200))
    middle = (ours.embedding_ + np.roll(ours.embedding_, -1, axis=0)) / 2
    np.testing.assert_allclose(between, middle, atol=0.02)  # columns run from −1.4 to 1.4


def test_new_points_on_a_swiss_roll_agree_with_fitting_them_too() -> None:
    points = make_swiss_roll(2400, random_state=0)[0].astype(np.float32)
    known, new = points[:2000], points[2000:]
    part = LaplacianEigenmaps(3, n_neighbors=12).fit(known)
    whole = LaplacianEigenmaps(3, n_neighbors=12).fit(points)
    for column in range(3):
        fitted, placed = whole.embedding_[2000:, column], part.transform(new)[:, column]
        assert abs(np.corrcoef(fitted, placed)[0, 1]) > 0.98


@pytest.mark.parametrize("weights", ["connectivity", "heat"])
def test_transform_of_training_points_nearly_reproduces_the_embedding(
    digits: Array, weights: Any
) -> None:
    ours = LaplacianEigenmaps(10, n_neighbors=8, weights=weights).fit(digits)
    error = ours.transform(digits) - ours.embedding_
    assert (error**2).mean() < 0.05 * (ours.embedding_**2).mean()


def test_transform_is_the_nystrom_formula(digits: Array) -> None:
    ours = LaplacianEigenmaps(6, n_neighbors=8, weights="heat").fit(digits)
    new = digits[:5] + np.float32(0.5)
    for row, point in enumerate(new.astype(np.float64)):
        distance = np.sqrt(((digits - point) ** 2).sum(axis=1))
        near = np.argsort(distance)[:8]
        weight = np.exp(-((distance[near] / ours.bandwidth_) ** 2) / 2)
        expected = weight @ ours.embedding_[near] / weight.sum() / ours.eigenvalues_
        np.testing.assert_allclose(ours.transform(new)[row], expected, rtol=1e-4, atol=1e-5)


def test_keeps_scikit_learns_contract(digits: Array) -> None:
    model = LaplacianEigenmaps(5, n_neighbors=7, weights="heat", bandwidth=3.0, random_state=4)
    copy = clone(model)
    assert copy.get_params() == model.get_params() == {
        "n_components": 5,
        "n_neighbors": 7,
        "weights": "heat",
        "bandwidth": 3.0,
        "random_state": 4,
        "neighbors": "exact",
    }  # fmt: skip
    fitted = copy.set_params(bandwidth=None).fit(digits)
    assert fitted.n_features_in_ == 64
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(digits[:9]), fitted.transform(digits[:9]))
    pipeline = make_pipeline(StandardScaler(), clone(model)).fit(digits)
    assert pipeline.transform(digits[:9]).shape == (9, 5)
    assert pipeline.fit_transform(digits).shape == (600, 5)


def test_works_on_lists_and_float64(digits: Array) -> None:
    expected = LaplacianEigenmaps(3, n_neighbors=8).fit_transform(digits)
    given = LaplacianEigenmaps(3, n_neighbors=8).fit_transform(digits.astype(np.float64).tolist())
    np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_neighbors": 20}, "n_neighbors=20 must be .* below the 20 points"),
        ({"n_neighbors": 0}, "n_neighbors=0 must be at least 1"),
        ({"n_components": 19}, "n_components=19 must be .* below 19"),
        ({"n_components": 0}, "n_components=0 must be at least 1"),
        ({"weights": "rbf"}, "weights='rbf': valid are 'connectivity' and 'heat'"),
        ({"weights": "heat", "bandwidth": 0.0}, r"bandwidth=0.0 must be above 0"),
    ],
)
def test_refuses_settings_in_one_line(settings: dict[str, Any], message: str) -> None:
    points = np.random.default_rng(0).standard_normal((20, 3))
    chosen = {"n_components": 2, "n_neighbors": 5} | settings
    with pytest.raises(InputError, match=message) as caught:
        LaplacianEigenmaps(**chosen).fit(points)
    assert "\n" not in str(caught.value)


def test_refuses_points_in_one_line(digits: Array) -> None:
    fitted = LaplacianEigenmaps(2, n_neighbors=8).fit(digits)
    with pytest.raises(InputError, match="contains NaN"):
        LaplacianEigenmaps(2).fit(np.where(digits > 15, np.nan, digits))
    with pytest.raises(InputError, match="contains infinity"):
        fitted.transform(digits + np.float32(np.inf))
    with pytest.raises(InputError, match=r"X: must be rows \(N, F\)") as caught:
        LaplacianEigenmaps(2).fit(digits[0])
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"X has 3 features, but .* expecting 64"):
        fitted.transform(digits[:, :3])


def test_says_which_columns_extend_to_new_points() -> None:
    points = np.random.default_rng(0).standard_normal((30, 3))
    fitted = LaplacianEigenmaps(4, n_neighbors=29).fit(points)  # complete graph: λ = −1/29
    with pytest.raises(InputError, match="only 0 of n_components=4 extend"):
        fitted.transform(points)


def test_as_many_components_as_extend_do() -> None:
    points = np.random.default_rng(0).standard_normal((52, 40)).astype(np.float32)
    fitted = LaplacianEigenmaps(30, n_neighbors=15).fit(points)
    assert 0 < fitted.n_extending_ < 30
    fewer = LaplacianEigenmaps(fitted.n_extending_, n_neighbors=15).fit(points)
    assert fewer.transform(points[:5]).shape == (5, fitted.n_extending_)
