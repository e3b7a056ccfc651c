"""The check that scikit-learn's estimators make of points before they read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from vicinal.errors import InputError


def checked_points(
    estimator: BaseEstimator,
    X: ArrayLike,  # noqa: N803 (scikit-learn's name)
    *,
    fitting: bool,
    dtype: Any = np.float32,
) -> NDArray[Any]:
    """Points (N, F), finite, without a copy where they are of that type already.

    Args:
        estimator: Whose points they are. Fitting notes ``n_features_in_`` and, of a data frame,
            ``feature_names_in_`` on it; afterwards they must agree.
        X: Array (N, F) of numbers, nested lists or a data frame.
        fitting: Whether these are the points to fit, of which there must be at least 2.
        dtype: What the points are to become.

    Raises:
        InputError: scikit-learn's complaint, on one line.
        TypeError: If X is sparse.
    """
    try:
        points: NDArray[Any] = validate_data(
            estimator,
            X,
            reset=fitting,
            dtype=dtype,
            order="C",
            ensure_min_samples=2 if fitting else 1,
        )
    except ValueError as error:
        raise InputError(" ".join(str(error).split())) from None
    return points
