"""ProbeResult: what every probe returns, and how it is made from predictions."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.evaluations.arrays import checked
from vicinal.evaluations.score import Score
from vicinal.representations.representations import Representations


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """A classifier's answers about frozen representations of test images.

    Attributes:
        accuracy: Share of test images classified rightly, with its Wilson interval; chance is
            the share of the largest class among them: what one constant answer reaches at best.
        train_accuracy: The same of the training images.
        per_class: Array (C,) float64, recall of each class; NaN where the test set has none.
        confusion: Array (C, C) int64, test images by true class (row) and answer (column).
        predictions: Array (N,) int64, the answer for each test image.
        regularisation: Weight of ½‖W‖² beside the mean cross-entropy; None where none was used.
    """

    accuracy: Score
    train_accuracy: Score
    per_class: NDArray[np.float64]
    confusion: NDArray[np.int64]
    predictions: NDArray[np.int64]
    regularisation: float | None = None


@dataclass(frozen=True, eq=False)
class LabelledPair:
    """Labels of the two sets a probe reads, and the number of classes they come from."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    classes: int


def labelled_pair(train: Representations, test: Representations) -> LabelledPair:
    """Checks that a probe can be fitted to ``train`` and judged on ``test``.

    Raises:
        InputError: If labels are missing, classes or dimensions differ, training images show
            fewer than two classes, or a representation is not finite.
    """
    if train.labels is None or test.labels is None:
        which = "training" if train.labels is None else "test"
        raise InputError(f"the probe needs labels, and the {which} images have none")
    if train.array.shape[1] != test.array.shape[1]:
        raise InputError(
            f"the probe needs representations of one dimension, found {train.array.shape[1]} "
            f"in training and {test.array.shape[1]} in test"
        )
    if train.class_names != test.class_names:
        raise InputError(
            f"training and test images have different classes: {train.class_names} "
            f"and {test.class_names}"
        )
    checked(train.array, "the probe's training images")
    checked(test.array, "the probe's test images", least=1)
    if len(np.unique(train.labels)) < 2:
        raise InputError("the probe needs at least two classes among the training images")
    classes = max(len(train.class_names), int(max(train.labels.max(), test.labels.max())) + 1)
    return LabelledPair(train.labels, test.labels, classes)


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, which stays within 0 to 1 and is never empty.

    Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927.
    """
    z = 1.959963984540054
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def judge(
    name: str,
    labels: LabelledPair,
    train_predictions: NDArray[np.int64],
    predictions: NDArray[np.int64],
    *,
    seed: int,
    regularisation: float | None = None,
) -> ProbeResult:
    """Compares predictions (N,) int64 of both sets with their labels.

    Args:
        name: The name of the test accuracy; the training accuracy's is ``train_`` + name.
        labels: The true labels.
        train_predictions: The answers for the training images.
        predictions: The answers for the test images.
        seed: What the probe drew at random came from.
        regularisation: As in `ProbeResult`.
    """
    cells = labels.test * labels.classes + predictions
    confusion = np.bincount(cells, minlength=labels.classes**2)
    confusion = confusion.reshape(labels.classes, labels.classes)
    members = confusion.sum(axis=1)
    per_class = np.full(labels.classes, np.nan)
    np.divide(np.diag(confusion), members, out=per_class, where=members > 0)
    return ProbeResult(
        accuracy=_accuracy(name, labels.test, predictions, seed),
        train_accuracy=_accuracy(f"train_{name}", labels.train, train_predictions, seed),
        per_class=per_class,
        confusion=confusion,
        predictions=predictions,
        regularisation=regularisation,
    )


def largest_class_share(labels: NDArray[np.int64]) -> float:
    """The accuracy of always answering with the commonest of ``labels`` (N,) int64."""
    return float(np.bincount(labels).max() / len(labels))


def _accuracy(
    name: str, labels: NDArray[np.int64], predictions: NDArray[np.int64], seed: int
) -> Score:
    return share_right(name, int((labels == predictions).sum()), labels, seed)


def share_right(name: str, right: int, labels: NDArray[np.int64], seed: int) -> Score:
    """The accuracy of so many right answers to ``labels`` (N,) int64, with its Wilson interval."""
    return Score(
        name=name,
        value=right / len(labels),
        low=0.0,
        high=1.0,
        better="higher",
        chance=largest_class_share(labels),
        n=len(labels),
        seed=seed,
        interval=wilson_interval(right, len(labels)),
    )
