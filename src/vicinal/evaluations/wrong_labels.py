"""Wrong labels: pictures whose label their neighbours and a classifier without them contradict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.evaluations.arrays import checked
from vicinal.evaluations.label_probe import PENALTIES, out_of_fold
from vicinal.evaluations.probe_result import share_right
from vicinal.evaluations.score import Score
from vicinal.evaluations.softmax import (
    Array32,
    Array64,
    Standard,
    principal_axes,
    standardisation,
)
from vicinal.representations.neighbours import nearest, unit_length

NEIGHBOURS = 10
"""Labelled neighbours that are asked."""
LEAST = 5
"""Pictures of a class, below which neither a classifier nor neighbours can speak for it."""
_FOLDS = 5
_AXES = 256  # principal axes that the classifier sees: more take minutes of a thousand pictures
_PENALTIES = PENALTIES[:3]
_PRIOR = 2  # neighbours' votes that are shared out as the classes are, so that none has nothing
_SLACK = 1e-3  # a probability that is not told from 0


@dataclass(frozen=True, eq=False)
class WrongLabels:
    """Labelled pictures by how much speaks against their label.

    Attributes:
        rows: Array (M,) int64, the pictures that were judged, the most doubtful label first.
        scores: Array (M,) float64, the doubt, from 0 up, see `wrong_labels`.
        given: Array (M,) int64, their labels.
        suggested: Array (M,) int64, the other class that gets most.
        confidence: Array (M,) float64, the suggested class's probability by the classifier that
            was fitted without the picture's fold.
        given_confidence: Array (M,) float64, the label's probability by it.
        neighbours: Array (M, k) int64, rows of the nearest judged pictures by cosine.
        agreeing: Array (M, k) bool, which of those have the suggested class as their label.
        contradicted: Array (M,) bool: more than half of the neighbours have the suggested class,
            and the classifier finds it likelier than the label, as likely as it finds the labels of
            that class on average (as confident learning does, Northcutt et al., JAIR 2021).
        accuracy: The share of the judged labels that the classifier agrees with.
        unjudged: How many labelled pictures are of classes of fewer than `LEAST`.
    """

    rows: NDArray[np.int64]
    scores: Array64
    given: NDArray[np.int64]
    suggested: NDArray[np.int64]
    confidence: Array64
    given_confidence: Array64
    neighbours: NDArray[np.int64]
    agreeing: NDArray[np.bool_]
    contradicted: NDArray[np.bool_]
    accuracy: Score
    unjudged: int


def wrong_labels(
    array: Array32, classes: NDArray[np.int64], *, k: int = NEIGHBOURS, seed: int = 0
) -> WrongLabels:
    """Holds each label against an out-of-fold classifier and the k nearest labelled pictures.

    The classifier is that of `label_probe` on 256 principal axes, fitted five times, each time
    without a fifth of the pictures. A class c gets q_c, the mean of its probability and of its
    share of the neighbours. The doubt in a label y is −log q_y · (1 − H(q) / log C), with H the
    entropy and C the number of classes: how unlikely the label is, and how sure it is of that.
    docs/benchmarks.md holds it beside cleanlab's scores.

    Args:
        array: Representations (N, F) float32.
        classes: Array (N,) int64, the label of each picture; −1 for none.
        k: Neighbours that are asked; fewer where there are fewer judged pictures.
        seed: Seed of the folds.

    Raises:
        InputError: If fewer than two classes have `LEAST` pictures, ``k`` is below 1, or a
            representation is not finite.
    """
    checked(array, "wrong labels")
    if k < 1:
        raise InputError(f"wrong labels: k={k} must be at least 1")
    judged, unjudged = _judged(classes)
    names, given = np.unique(classes[judged], return_inverse=True)
    shares = judged_by_classifier(array[judged], given, seed)
    directions = unit_length(array[judged])
    near = nearest(directions, directions, min(k, len(judged) - 1), exclude_self=True).indices
    counted = np.stack([(given[near] == c).sum(axis=1) for c in range(len(names))], axis=1)
    prior = np.bincount(given) / len(given)
    votes = (counted + _PRIOR * prior) / (near.shape[1] + _PRIOR)
    every = np.arange(len(judged))
    both = (shares + votes) / 2
    unsure = -(both * np.log(both)).sum(axis=1) / np.log(len(names))
    scores = -np.log(both[every, given] + _SLACK) * (1 - unsure)
    both[every, given] = -1
    suggested = both.argmax(axis=1)
    typical = np.array([shares[given == c, c].mean() for c in range(len(names))])
    confidence, trusted = shares[every, suggested], shares[every, given]
    contradicted = (
        (confidence > trusted)
        & (2 * counted[every, suggested] > near.shape[1])
        & (confidence >= typical[suggested])
    )
    order = np.argsort(-scores, kind="stable")
    right = int((shares.argmax(axis=1) == given).sum())
    return WrongLabels(
        rows=judged[order],
        scores=scores[order],
        given=names[given[order]],
        suggested=names[suggested[order]],
        confidence=confidence[order],
        given_confidence=trusted[order],
        neighbours=judged[near[order]],
        agreeing=given[near[order]] == suggested[order][:, None],
        contradicted=contradicted[order],
        accuracy=share_right("label_agreement", right, given, seed),
        unjudged=unjudged,
    )


def _judged(classes: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Rows of classes that can be judged, and how many labelled ones cannot."""
    rows = np.flatnonzero(classes >= 0)
    counts = np.bincount(classes[rows], minlength=1)
    enough = int((counts >= LEAST).sum())
    if enough < 2:
        raise InputError(
            f"wrong labels need two classes of {LEAST} pictures or more, found {enough} such among "
            f"{int((counts > 0).sum())} classes and {len(rows)} labelled pictures"
        )
    judged = rows[counts[classes[rows]] >= LEAST]
    return judged, len(rows) - len(judged)


def judged_by_classifier(array: Array32, classes: NDArray[np.int64], seed: int) -> Array64:
    """Probabilities (M, C) of each class for each picture by a classifier fitted without its fold.

    The penalty is the one of three whose classifier is right most often.

    Args:
        array: Representations (M, F) float32.
        classes: Array (M,) int64, 0 to C − 1.
        seed: Seed of the folds.
    """
    standard = standardisation(array)
    axes = principal_axes(standard, array)
    points = np.ascontiguousarray(axes.rotate(standard, array)[-_AXES:].T)  # variances rise
    plain = Standard(np.zeros(points.shape[1]), np.ones(points.shape[1]))
    found = out_of_fold(plain, points, classes, _PENALTIES, folds=_FOLDS, seed=seed)
    return max(found.values(), key=lambda shares: int((shares.argmax(axis=1) == classes).sum()))
