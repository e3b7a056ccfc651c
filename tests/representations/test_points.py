"""The check of points that every estimator makes, and the settings eigenmaps refuse."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from vicinal.errors import InputError
from vicinal.representations.spectral import LaplacianEigenmaps, checked_points


def test_points_become_float32_rows_and_are_not_copied_where_they_are() -> None:
    estimator = BaseEstimator()
    fitted = checked_points(estimator, [[1, 2], [3, 4]], fitting=True)
    assert (fitted.dtype, fitted.tolist()) == (np.float32, [[1, 2], [3, 4]])
    assert estimator.n_features_in_ == 2
    columns = np.asfortranarray(np.ones((5, 2), np.float32))
    assert checked_points(estimator, columns, fitting=False).flags.c_contiguous
    held = np.ones((3, 2), np.float32)
    assert checked_points(estimator, held, fitting=False) is held
    assert checked_points(estimator, held[:1], fitting=False).shape == (1, 2)
    assert checked_points(estimator, held, fitting=False, dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize(
    ("points", "fitting", "line"),
    [
        (np.ones((1, 2)), True, "X: has 1 sample, and BaseEstimator needs at least 2"),
        (np.ones((0, 2)), False, "X: has 0 samples, and BaseEstimator needs at least 1"),
        ([], True, "X: has 0 samples, and BaseEstimator needs at least 2"),
        (np.ones((0, 2, 2, 3)), True, "X: has 0 samples, and BaseEstimator needs at least 2"),
        (np.ones((2, 0)), True, "X: 0 feature(s) (shape=(2, 0)) while a minimum of 1"),
        (np.ones(5), True, "X: must be rows (N, F) of numbers, found shape (5,)"),
        (iter([]), True, "X: must be rows (N, F) of numbers, found list_iterator"),
        (np.ones((3, 4)), False, "X has 4 features, but BaseEstimator is expecting 2 features"),
        (np.full((3, 2), np.nan), False, "Input X contains NaN; leave such rows out"),
    ],
)
def test_a_complaint_is_one_line_that_names_the_parameter(
    points: np.ndarray, fitting: bool, line: str
) -> None:
    estimator = BaseEstimator()
    checked_points(estimator, np.ones((2, 2)), fitting=True)
    with pytest.raises(InputError) as caught:
        checked_points(estimator, points, fitting=fitting)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
    assert "  " not in str(caught.value)
    assert "XX" not in str(caught.value)


def test_eigenmaps_defaults_and_limits() -> None:
    assert LaplacianEigenmaps().get_params() == {
        "n_components": 128, "n_neighbors": 15, "weights": "connectivity", "bandwidth": None,
        "random_state": 0, "neighbors": "exact",
    }  # fmt: skip
    points = np.random.default_rng(0).normal(size=(8, 3))
    assert LaplacianEigenmaps(6, n_neighbors=7).fit(points).embedding_.shape == (8, 6)
    for settings, line in (
        ({"n_neighbors": 8}, "n_neighbors=8 must be at least 1 and below the 8 points there are"),
        ({"n_neighbors": 0}, "n_neighbors=0 must be at least 1 and below the 8 points there are"),
        ({"n_components": 7},
         "n_components=7 must be at least 1 and below 7, the number of points less one"),
        ({"weights": "none"}, "weights='none': valid are 'connectivity' and 'heat'"),
        ({"bandwidth": 0.0}, "bandwidth=0.0 must be above 0, or None"),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            LaplacianEigenmaps(**({"n_components": 2, "n_neighbors": 3} | settings)).fit(points)
        assert str(caught.value) == line
    same = LaplacianEigenmaps(2, n_neighbors=3, weights="heat").fit(np.ones((6, 2)))
    assert same.bandwidth_ == 1.0  # among nothing but duplicates any width gives the same
    with pytest.raises(InputError) as caught:  # all joined to all: each λ is −1/7
        LaplacianEigenmaps(6, n_neighbors=7).fit(points).transform(points)
    assert str(caught.value) == (
        "Laplacian Eigenmaps: only 0 of n_components=6 extend to new points; "
        "the fitted points hardly differ: add others"
    )
    some = LaplacianEigenmaps(6, n_neighbors=3).fit(points)
    usable = (some.eigenvalues_ > 1e-6).sum()
    assert 0 < usable < 6
    with pytest.raises(InputError) as caught:
        some.transform(points)
    assert str(caught.value) == (
        f"Laplacian Eigenmaps: only {usable} of n_components=6 extend to new points; "
        "lower n_components"
    )
