"""Multinomial logistic regression along principal axes: the classifier behind the probes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from vicinal import cores
from vicinal.evaluations.on_gpu import SoftmaxLoss, rotated, spectrum

Array32 = NDArray[np.float32]
Array64 = NDArray[np.float64]
Loss = Callable[[Array64], tuple[float, Array64]]

_BLOCK = 4096  # rows standardised at a time


@dataclass(frozen=True, eq=False)
class Standard:
    """Mean (F,) and reciprocal standard deviation (F,) float64, 0 for a constant dimension."""

    mean: Array64
    inverse: Array64

    def apply(self, rows: Array32) -> Array32:
        """Standardises rows (K, F)."""
        return ((rows - self.mean) * self.inverse).astype(np.float32)


def standardisation(array: Array32) -> Standard:
    """What brings each dimension of ``array`` (N, F) float32 to mean 0 and deviation 1."""
    mean = array.mean(axis=0, dtype=np.float64)
    squares = np.zeros(array.shape[1])
    for start in range(0, len(array), _BLOCK):
        squares += ((array[start : start + _BLOCK] - mean) ** 2).sum(axis=0)
    # Rounding of the mean gives a constant a tiny deviation, so constants are told by range.
    varies = array.min(axis=0) < array.max(axis=0)
    inverse = np.zeros(array.shape[1])
    inverse[varies] = np.sqrt(len(array) / squares[varies])
    return Standard(mean, inverse)


@dataclass(frozen=True, eq=False)
class Axes:
    """Orthonormal axes (F, R) and the mean square (R,) of standardised points along each.

    The penalty ‖W‖² does not notice a rotation, so fitting along these axes finds the very
    same classifier; R = min(N, F), for the optimum lies in the span of the points.
    """

    basis: Array32
    variances: Array64

    def rotate(self, standard: Standard, array: Array32, device: str = "cpu") -> Array32:
        """Standardises ``array`` (N, F) and returns its coordinates (R, N) float32."""
        if device != "cpu":
            return rotated(array, standard.mean, standard.inverse, self.basis, device)
        coordinates = np.empty((self.basis.shape[1], len(array)), np.float32)
        for start in range(0, len(array), _BLOCK):
            block = standard.apply(array[start : start + _BLOCK])
            coordinates[:, start : start + _BLOCK] = self.basis.T @ block.T
        return coordinates


def principal_axes(standard: Standard, array: Array32, device: str = "cpu") -> Axes:
    """The axes along which the standardised rows of ``array`` (N, F) are uncorrelated."""
    count, dimensions = array.shape
    if device != "cpu" and count >= dimensions:
        values, vectors = spectrum(array, standard.mean, standard.inverse, device)
        return Axes(vectors.astype(np.float32), np.maximum(values, 0))
    span = None
    if count < dimensions:
        span = np.linalg.qr(standard.apply(array).T)[0]  # (F, N)
    moment = np.zeros((min(count, dimensions),) * 2)
    for start in range(0, count, _BLOCK):
        block = standard.apply(array[start : start + _BLOCK])
        if span is not None:
            block = block @ span
        moment += block.T @ block
    values, vectors = np.linalg.eigh(moment / count)
    basis = vectors if span is None else span @ vectors
    return Axes(basis.astype(np.float32), np.maximum(values, 0))


def fit_softmax(
    points: Array32,
    targets: NDArray[np.int64],
    variances: Array64,
    penalty: float,
    *,
    counted: NDArray[np.bool_] | None = None,
    start: Array64 | None = None,
    tolerance: float = 1e-5,
    device: str = "cpu",
) -> Array64:
    """Minimises mean cross-entropy + ½·penalty·‖W‖², biases free.

    The softmax's curvature is at most half the second moment of the points (Böhning,
    Multinomial logistic regression algorithm, AISM 1992), which is diagonal along principal
    axes; dividing by its root leaves L-BFGS a well-conditioned problem.

    Args:
        points: Array (R, N) float32, one point a column, along uncorrelated axes.
        targets: Array (N,) int64 of classes 0 to C − 1.
        variances: Array (R,) float64, the mean square of each axis.
        penalty: Weight of ½‖W‖², above 0.
        counted: Array (N,) of bool, the points to fit; all where None.
        start: Array (R + 1, C) to start from, such as the result for another penalty.
        tolerance: The search ends where no component of the scaled gradient exceeds it.
        device: Where losses and gradients are computed; L-BFGS itself runs on the CPU.

    Returns:
        Array (R + 1, C) float64: the weights, and the biases in the last row.
    """
    shape = (len(points) + 1, int(targets.max()) + 1)
    every = np.arange(len(targets))
    share = np.ones(len(targets)) if counted is None else counted.astype(np.float64)
    share /= share.sum()
    share32 = share.astype(np.float32)
    scale = np.append(1 / np.sqrt(variances / 2 + penalty), 1.0)[:, None]

    def objective(flat: Array64) -> tuple[float, Array64]:
        weights = flat.reshape(shape) * scale
        gradient = np.empty(shape)
        logits = weights[:-1].T.astype(np.float32) @ points  # (C, N): fast along N
        logits += weights[-1].astype(np.float32)[:, None]
        logits -= logits.max(axis=0)
        own = logits[targets, every]
        odds = np.exp(logits, out=logits)
        total = odds.sum(axis=0)
        loss = share @ (np.log(total) - own) + penalty / 2 * (weights[:-1] ** 2).sum()
        odds /= total
        odds[targets, every] -= 1
        odds *= share32
        gradient[:-1] = points @ odds.T + penalty * weights[:-1]
        gradient[-1] = odds.sum(axis=1, dtype=np.float64)
        return float(loss), (gradient * scale).ravel()

    work: Loss = objective
    if device != "cpu":
        work = _scaled(SoftmaxLoss(points, targets, share, penalty, device), scale)
    first = np.zeros(shape) if start is None else start / scale
    # ftol 0: stop on the gradient alone; the loss of float32 logits is too coarse to stop on.
    options = {"maxiter": 2_000, "maxfun": 4_000, "gtol": tolerance, "ftol": 0.0}
    # NumPy and SciPy bring a BLAS each, whose idle threads spin while the other one works: with
    # two threads a probe of the digits took thirty times as long as with one, and at no size
    # measured (up to 512 axes of 50,000 points) was a second thread of use.
    with cores.one_blas_thread():
        found = minimize(work, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    steepest = float(np.abs(found.jac).max())
    if steepest > 1e-4:  # a little above the tolerance float32 may have no digits left
        warnings.warn(
            f"the probe stopped at a gradient of {steepest:.1e} with penalty {penalty:g}: "
            f"{found.message}",
            ConvergenceWarning,
            stacklevel=3,
        )
    weights: Array64 = found.x.reshape(shape) * scale
    return weights


def _scaled(loss: SoftmaxLoss, scale: Array64) -> Loss:
    """The loss of flat weights that are divided by ``scale`` (R + 1, 1)."""

    def objective(flat: Array64) -> tuple[float, Array64]:
        value, gradient = loss(flat.reshape(len(scale), -1) * scale)
        return value, (gradient * scale).ravel()

    return objective


def answers(weights: Array64, points: Array32) -> NDArray[np.int64]:
    """The likeliest class of each point (R, N), as (N,) int64."""
    answers: NDArray[np.int64] = _logits(weights, points).argmax(axis=0)
    return answers


def probabilities(weights: Array64, points: Array32) -> Array64:
    """The probability (N, C) float64 of each class for each point (R, N)."""
    logits = _logits(weights, points).astype(np.float64)
    odds = np.exp(logits - logits.max(axis=0))
    shares: Array64 = (odds / odds.sum(axis=0)).T
    return shares


def _logits(weights: Array64, points: Array32) -> Array32:
    logits: Array32 = weights[:-1].T.astype(np.float32) @ points
    logits += weights[-1].astype(np.float32)[:, None]
    return logits
