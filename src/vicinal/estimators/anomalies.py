"""Anomalies by nearest neighbours, as a scikit-learn outlier detector."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from vicinal.errors import InputError
from vicinal.evaluations.anomalies import anomaly_scores, conformal_p_values, conformal_threshold
from vicinal.representations.spectral import checked_points

Floats = NDArray[np.float64]


class NeighbourAnomalyDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]  # sklearn is untyped
    """Odd is what lies far from its nearest normal neighbours.

    The oddness of a representation is its mean L2 distance to the k nearest fitted ones
    (Bergman et al. 2020, arXiv 2002.10445, with k = 2), by exact search. Sun et al. (ICML
    2022, arXiv 2204.06507) scale representations to length 1 first and take the distance to
    the k-th.

    What is fitted is taken as normal but for a share ``contamination``. Each fitted row is
    scored against the others, itself left out by its index, so that exact duplicates still
    count; rows given to the other methods are new, and a fitted row among them finds itself
    at distance 0. So `fit_predict` and ``fit(X).predict(X)`` differ, as they would for
    scikit-learn's `LocalOutlierFactor`; which of the fitted rows are odd is `fit_predict`'s.

    The threshold is the fitted rows' oddness that at most a share ``contamination`` of them
    exceeds. After `calibrate` it is instead the one that flags new normal images at a rate of
    at most ``contamination``, a guarantee and not an estimate.

    Names: scikit-learn's contract (higher is more normal, −1 is an outlier) where PyOD's
    differs (its `decision_function` rises with oddness, its `predict` gives 0 and 1); PyOD's
    attributes otherwise.

    Args:
        k: Neighbours.
        contamination: Share to flag, above 0 and at most 0.5.
        normalise: Whether rows are scaled to length 1 first.

    Attributes:
        decision_scores_: Array (N,) float64, oddness of the fitted rows; higher is odder.
        threshold_: Oddness above which a row is an outlier.
        labels_: Array (N,) int64, 1 where ``decision_scores_`` exceeds ``threshold_``, else 0.
        offset_: −``threshold_``; `decision_function` is `score_samples` less this.
        calibration_scores_: Array (C,) float64, rising: oddness of the normal rows that
            `p_values` compares with, the fitted ones or those last given to `calibrate`.
        n_features_in_: F.
    """

    def __init__(self, k: int = 2, contamination: float = 0.05, normalise: bool = False) -> None:
        self.k = k
        self.contamination = contamination
        self.normalise = normalise

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: N803 (scikit-learn's name)
        """Learns what is normal from rows (N, F); ``y`` is ignored.

        Raises:
            InputError: If a number is not finite, a setting is out of range or there are not
                more rows than neighbours.
        """
        share: object = self.contamination
        if not isinstance(share, Real) or not 0 < float(share) <= 0.5:
            raise InputError(f"contamination={share!r}: give a share above 0, at most 0.5")
        k: object = self.k
        if not isinstance(k, Integral) or k < 1:
            raise InputError(f"k={k!r}: give a whole number of neighbours, at least 1")
        points = checked_points(self, X, fitting=True)
        self.decision_scores_ = anomaly_scores(
            points, points, k=self.k, exclude_self=True, normalise=self.normalise
        )
        self._train = points
        self.calibration_scores_ = np.sort(self.decision_scores_)
        threshold = conformal_threshold(self.decision_scores_, self.contamination, own=True)
        self._set_threshold(threshold)
        return self

    def calibrate(self, X: ArrayLike) -> Self:  # noqa: N803
        """Sets threshold and p-values by held-out normal rows (C, F), none of them fitted.

        Split conformal prediction (Vovk, Gammerman, Shafer 2005; for outliers Bates et al.,
        Annals of Statistics 2023): the threshold is their oddness of rank
        ⌈(1 − contamination)(C + 1)⌉, and a new row is then an outlier exactly if its p-value
        is at most ``contamination``.

        Raises:
            InputError: If there are fewer than 1/contamination − 1 rows, too few to say so.
        """
        scores = np.sort(self._oddness(X))
        needed = math.ceil(1 / self.contamination) - 1
        if len(scores) < needed:
            raise InputError(
                f"calibrate: {len(scores)} normal images cannot hold false alarms at "
                f"{self.contamination:g}; give at least {needed}"
            )
        self.calibration_scores_ = scores
        self._set_threshold(conformal_threshold(scores, self.contamination))
        return self

    def score_samples(self, X: ArrayLike) -> Floats:  # noqa: N803
        """Minus the oddness (Q,) of new rows (Q, F): higher is more normal, at most 0.

        Raises:
            InputError: If X does not have the fitted features or a number is not finite.
        """
        return -self._oddness(X)

    def decision_function(self, X: ArrayLike) -> Floats:  # noqa: N803
        """`score_samples` less ``offset_`` (Q,): below 0 for an outlier."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:  # noqa: N803
        """1 for each normal and −1 for each odd one of new rows (Q, F)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def fit_predict(self, X: ArrayLike, y: object = None) -> NDArray[np.int64]:  # noqa: N803
        """Fits, and tells which of these very rows are odd (−1), each beside all others."""
        return 1 - 2 * self.fit(X).labels_

    def p_values(self, X: ArrayLike) -> Floats:  # noqa: N803
        """Conformal p-values (Q,) of new rows (Q, F): (1 + #{c : c ≥ s}) / (C + 1).

        c are the calibration scores and s the row's oddness. After `calibrate`, a normal row's
        is at most α with probability at most α, whatever the distribution, if it and the
        calibration rows are exchangeable. Before, the fitted rows' own scores stand in, each
        from one neighbour's choice fewer than a new row has: nearly so, without the guarantee.
        """
        return conformal_p_values(self._oddness(X), self.calibration_scores_)

    def _oddness(self, X: ArrayLike) -> Floats:  # noqa: N803
        check_is_fitted(self)
        points = checked_points(self, X, fitting=False)
        return anomaly_scores(self._train, points, k=self.k, normalise=self.normalise)

    def _set_threshold(self, threshold: float) -> None:
        self.threshold_ = threshold
        self.offset_ = -threshold
        self.labels_ = (self.decision_scores_ > threshold).astype(np.int64)
