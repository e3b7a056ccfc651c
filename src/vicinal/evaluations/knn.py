"""k-NN probe: do an image's nearest training images share its class?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.evaluations.probe_result import wilson_interval
from vicinal.evaluations.score import Score
from vicinal.representations.neighbours import nearest, unit_length
from vicinal.representations.representations import Representations


@dataclass(frozen=True, eq=False)
class KnnResult:
    """The k-NN probe at one k.

    Attributes:
        k: Neighbours that voted, at most the number of training images.
        accuracy: Share of the test images whose class was voted for.
        predictions: Array (N,) int64, the class voted for each test image.
    """

    k: int
    accuracy: Score
    predictions: NDArray[np.int64]


def knn_probe(
    train: Representations,
    test: Representations,
    *,
    k: Sequence[int] = (20, 200),
    temperature: float = 0.07,
    device: str = "cpu",
) -> tuple[KnnResult, ...]:
    """Classifies test images by a weighted vote of their nearest training images.

    Wu et al., CVPR 2018, section 3.4: the k nearest by cosine similarity s vote for their
    class with weight exp(s / temperature). Equal votes go to the first class.

    Args:
        train: The images that vote, with labels.
        test: The images to classify, with labels of the same classes.
        k: Numbers of neighbours; one above the training images is lowered to them.
        temperature: Above 0; the lower, the more the nearest outweigh the rest.
        device: Where neighbours are searched, ``cpu`` or ``cuda``.

    Returns:
        A result for each distinct k, rising; chance is 1 / classes.

    Raises:
        InputError: If labels are missing, classes differ or a number is out of range.
    """
    if train.labels is None or test.labels is None:
        raise InputError("k-NN probe needs labels on the training and the test images")
    if train.class_names != test.class_names:
        raise InputError("k-NN probe: training and test images must have the same class names")
    if not k or min(k) < 1 or not temperature > 0:
        raise InputError(
            f"k-NN probe: k={tuple(k)} must be 1 or more, temperature={temperature} above 0"
        )
    if len(train) == 0 or len(test) == 0:
        raise InputError(f"k-NN probe: {len(train)} training and {len(test)} test images")
    ks = sorted({min(each, len(train)) for each in k})
    found = nearest(unit_length(test.array), unit_length(train.array), ks[-1], device=device)
    similarity = 1 - found.distances.astype(np.float64) ** 2 / 2
    # Dividing a query's weights by its greatest changes no vote and cannot overflow.
    weights = np.exp((similarity - similarity[:, :1]) / temperature)
    voters = train.labels[found.indices]
    return tuple(_result(each, weights, voters, test.labels, len(test.class_names)) for each in ks)


def _result(
    k: int,
    weights: NDArray[np.float64],
    voters: NDArray[np.int64],
    labels: NDArray[np.int64],
    classes: int,
) -> KnnResult:
    """The vote of the first k of the neighbours' weights and classes (N, K)."""
    count = len(labels)
    ballot = np.arange(count)[:, None] * classes + voters[:, :k]
    votes = np.bincount(ballot.ravel(), weights[:, :k].ravel(), minlength=count * classes)
    predictions = votes.reshape(count, classes).argmax(axis=1)
    right = int((predictions == labels).sum())
    accuracy = Score(
        name=f"knn_accuracy_k{k}",
        value=right / count,
        low=0.0,
        high=1.0,
        better="higher",
        chance=1 / classes,
        n=count,
        interval=wilson_interval(right, count),
    )
    return KnnResult(k=k, accuracy=accuracy, predictions=predictions)
