"""The converged probe and the few-label probe: is a class linearly readable at all?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from vicinal.errors import InputError
from vicinal.evaluations.probe_result import (
    ProbeResult,
    judge,
    labelled_pair,
    largest_class_share,
)
from vicinal.evaluations.score import Score
from vicinal.evaluations.softmax import (
    Array32,
    Axes,
    answers,
    fit_softmax,
    principal_axes,
    standardisation,
)
from vicinal.representations.representations import Representations

GRID = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Weights of ½‖W‖² beside the mean cross-entropy; scikit-learn's C is 1 / (N × weight)."""

FEW_LABEL_REGULARISATION = 1e-2
"""Fixed, for a handful of labels cannot choose it; on the five-a-class digits its tenth
and its tenfold differ from it by less than the spread between draws."""

_FEW_HELD_OUT = 200  # so few images choose poorly, then every fold is held out in turn


def converged_probe(
    train: Representations,
    test: Representations,
    *,
    holdout: float = 0.1,
    grid: Sequence[float] = GRID,
    seed: int = 0,
    device: str = "cpu",
) -> ProbeResult:
    """Multinomial logistic regression on standardised representations, run to its optimum.

    Minimises mean cross-entropy + ½·w·‖W‖² (biases free) by L-BFGS until no component of the
    preconditioned gradient exceeds 1e-5. ``w`` is the value of ``grid`` that is right most
    often on a stratified held-out part of ``train`` (on every such part in turn where one
    holds fewer than 200 images), the strongest on a tie; then all of ``train`` is fitted.
    Test images choose nothing. Standardising makes it blind to the scale of each dimension.

    Args:
        train: Labelled representations (N, F) to fit.
        test: Labelled representations (M, F) to judge on.
        holdout: Share held out, rounded to one over a whole number.
        grid: Weights of the penalty to choose from, all above 0; with one, nothing is held out.
        seed: Seed of what is held out.
        device: Where products are computed, ``cpu`` or ``cuda``; the optimum is the same.

    Returns:
        The result, its accuracy named ``probe_accuracy``.

    Raises:
        InputError: As `labelled_pair`, or if ``holdout`` or ``grid`` is out of range.
    """
    labels = labelled_pair(train, test)
    if not 0 < holdout < 1 or not grid or min(grid) <= 0:
        raise InputError(
            f"the probe needs 0 < holdout < 1 and penalties above 0, found {holdout} and {grid}"
        )
    classes, targets = np.unique(labels.train, return_inverse=True)
    standard = standardisation(train.array)
    axes = principal_axes(standard, train.array, device)
    points = axes.rotate(standard, train.array, device)
    penalty = _choose(points, targets, axes, sorted(grid, reverse=True), holdout, seed, device)
    weights = fit_softmax(points, targets, axes.variances, penalty, device=device)
    return judge(
        "probe_accuracy",
        labels,
        classes[answers(weights, points)],
        classes[answers(weights, axes.rotate(standard, test.array, device))],
        seed=seed,
        regularisation=penalty,
    )


def few_label_probe(
    train: Representations,
    test: Representations,
    *,
    per_class: int = 5,
    repeats: int = 10,
    seed: int = 0,
) -> Score:
    """Mean test accuracy of the converged regression given a few labels of each class.

    Dimensions are standardised by all training images, which needs no label; the penalty is
    `FEW_LABEL_REGULARISATION`. A class with fewer images than ``per_class`` gives all it has.

    Args:
        train: Labelled representations (N, F) to draw from.
        test: Labelled representations (M, F) to judge on.
        per_class: Labels of each class.
        repeats: Independent draws.
        seed: Seed of the draws.

    Returns:
        ``few_label_accuracy``: n counts the test images; the interval is Student's, of the
        mean over the draws (none with one draw).

    Raises:
        InputError: As `labelled_pair`, or if a count is below 1.
    """
    labels = labelled_pair(train, test)
    if per_class < 1 or repeats < 1:
        raise InputError(f"needs per_class and repeats ≥ 1, found {per_class} and {repeats}")
    standard = standardisation(train.array)
    shares = np.empty(repeats)
    classes, targets = np.unique(labels.train, return_inverse=True)
    for repeat, index in enumerate(_draws(targets, per_class, repeats, seed)):
        axes = principal_axes(standard, train.array[index])
        points = axes.rotate(standard, train.array[index])
        weights = fit_softmax(points, targets[index], axes.variances, FEW_LABEL_REGULARISATION)
        given = classes[answers(weights, axes.rotate(standard, test.array))]
        shares[repeat] = (given == labels.test).mean()
    mean = float(shares.mean())
    interval = None
    if repeats > 1:
        half = float(student.ppf(0.975, repeats - 1) * shares.std(ddof=1) / np.sqrt(repeats))
        interval = (max(0.0, mean - half), min(1.0, mean + half))
    return Score(
        name="few_label_accuracy",
        value=mean,
        low=0.0,
        high=1.0,
        better="higher",
        chance=largest_class_share(labels.test),
        n=len(test),
        seed=seed,
        interval=interval,
    )


def _choose(
    points: Array32,
    targets: NDArray[np.int64],
    axes: Axes,
    penalties: list[float],
    holdout: float,
    seed: int,
    device: str,
) -> float:
    """The penalty that is right most often on held-out points; the first on a tie."""
    if len(penalties) == 1:
        return penalties[0]
    folds = max(2, round(1 / holdout))
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    by_class = shuffled[np.argsort(targets[shuffled], kind="stable")]
    fold = np.empty(len(targets), np.int64)
    fold[by_class] = np.arange(len(targets)) % folds  # each fold gets its part of every class
    right = np.zeros(len(penalties), np.int64)
    for held_out in range(folds if len(targets) < folds * _FEW_HELD_OUT else 1):
        counted = fold != held_out
        weights = None
        for i, penalty in enumerate(penalties):  # from the strongest, each starting at the last
            weights = fit_softmax(
                points,
                targets,
                axes.variances,
                penalty,
                counted=counted,
                start=weights,
                device=device,
                tolerance=1e-4,  # moves a held-out accuracy by less than its fourth digit
            )
            right[i] += (answers(weights, points) == targets)[~counted].sum()
    return penalties[int(right.argmax())]


def _draws(
    targets: NDArray[np.int64], per_class: int, repeats: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Positions of ``per_class`` points of each class, drawn anew ``repeats`` times."""
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(targets == c) for c in range(targets.max() + 1)]
    for _ in range(repeats):
        yield np.concatenate([generator.permutation(m)[:per_class] for m in members])
