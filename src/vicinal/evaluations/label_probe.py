"""From the labels there are to a class, with its probability, for every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError
from vicinal.evaluations.probe import accuracy, stratified_folds
from vicinal.evaluations.score import Answer, Score, checked
from vicinal.evaluations.softmax import (
    Array32,
    Array64,
    Standard,
    fit_softmax,
    principal_axes,
    probabilities,
    standardisation,
)
from vicinal.representations.pairing import read_labels
from vicinal.representations.representations import Representations

PENALTY = 1e-2
"""Weight of ½‖W‖², that of the few-label probe: a handful of labels cannot choose it."""
PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)
"""Chosen among, by the held-out folds, from `ENOUGH` labels a class on."""
ENOUGH = 50


@dataclass(frozen=True, eq=False)
class LabelProbe(Answer):
    """Classes of all images from the labels of some.

    Attributes:
        accuracy: Share of the labelled images that are classified rightly by a classifier that
            was fitted without them (5-fold, stratified), with its Wilson interval; chance is the
            share of the largest class. Where penalties were chosen among, by the very same folds,
            it is the best of a few such shares, and so a little high.
        predictions: Array (N,) int64, the likeliest class of each image.
        probabilities: Array (N, C) float64, of each class; rows sum to 1.
        penalty: Weight of ½‖W‖² beside the mean cross-entropy.
        folds: Into how many parts the labelled images were divided.
        rest: Array (M,) int64, rows of the images without a label.
        given: How many labels of each class there are.
        class_names: What the classes are called; their numbers where nobody says.
    """

    accuracy: Score
    predictions: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    penalty: float
    folds: int
    rest: NDArray[np.int64]
    given: tuple[int, ...]
    class_names: tuple[str, ...] = ()

    def header(self, pictures: Representations) -> list[str]:
        """The names that `listed` gives."""
        return [*pictures.columns(), "prediction", "probability"]

    def listed(self, pictures: Representations) -> list[dict[str, Any]]:
        """Each image without a label as plain data, in the set's order."""
        return [
            {
                **pictures.describe(row),
                "prediction": self.class_names[self.predictions[row]],
                "probability": float(self.probabilities[row].max()),
            }
            for row in self.rest.tolist()
        ]

    def to_json(self, pictures: Representations) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "accuracy": self.accuracy.to_json(),
            "folds": self.folds,
            "labels": dict(zip(self.class_names, self.given, strict=True)),
            "pictures": self.listed(pictures),
        }


def label_probe(
    array: Array32, rows: NDArray[np.int64], classes: NDArray[np.int64], *, seed: int = 0
) -> LabelProbe:
    """Multinomial logistic regression on standardised representations, run to its optimum.

    Minimises mean cross-entropy + ½·w·‖W‖², biases free, as the converged probe. Dimensions are
    standardised by all images, which needs no label.

    Args:
        array: Representations (N, F) float32 of all images.
        rows: Array (L,) int64, which of them have a label.
        classes: Array (L,) int64, their classes, 0 to C − 1, each there at least once.
        seed: Seed of the folds.

    Raises:
        InputError: If there are fewer than two classes, or no class has two labels.
    """
    checked(array, "the probe")
    counts = np.bincount(classes)
    if len(counts) < 2:
        raise InputError("labels of at least two classes are needed, found one; label another kind")
    if counts.max() < 2:
        raise InputError("every class has a single label; label two or more pictures of a class")
    standard = standardisation(array)
    penalties = PENALTIES if counts.min() >= ENOUGH else (PENALTY,)
    folds = min(5, int(counts.max()))
    held_out = out_of_fold(standard, array[rows], classes, penalties, folds=folds, seed=seed)
    right = {weight: int((held_out[weight].argmax(axis=1) == classes).sum()) for weight in held_out}
    best = max(right, key=lambda weight: right[weight])  # the strongest on a tie
    axes = principal_axes(standard, array[rows])
    points = axes.rotate(standard, array[rows])
    weights = fit_softmax(points, classes, axes.variances, best)
    shares = probabilities(weights, axes.rotate(standard, array))
    guessed = held_out[best].argmax(axis=1)
    judged = accuracy("cross_validated_accuracy", classes, guessed, seed)
    rest = np.setdiff1d(np.arange(len(array)), rows)
    given = tuple(counts.tolist())
    return LabelProbe(judged, shares.argmax(axis=1), shares, best, folds, rest, given)


def out_of_fold(
    standard: Standard,
    array: Array32,
    classes: NDArray[np.int64],
    penalties: Sequence[float],
    *,
    folds: int,
    seed: int = 0,
) -> dict[float, Array64]:
    """Each image's probabilities by a classifier that was fitted without its fold.

    Args:
        standard: What standardises the representations.
        array: Representations (L, F) float32.
        classes: Array (L,) int64, their classes, 0 to C − 1.
        penalties: Weights of ½‖W‖², the strongest first.
        folds: Into how many parts the images are divided, each with its part of every class.
        seed: Seed of the folds.

    Returns:
        For each penalty an array (L, C) float64; a class that a fold alone holds gets 0 there.
    """
    fold = stratified_folds(classes, folds, seed)
    found = {weight: np.zeros((len(classes), int(classes.max()) + 1)) for weight in penalties}
    for held_out in range(folds):
        fitted = fold != held_out
        kept, targets = np.unique(classes[fitted], return_inverse=True)
        axes = principal_axes(standard, array[fitted])
        points = axes.rotate(standard, array[fitted])
        others = axes.rotate(standard, array[~fitted])
        weights = None
        for penalty, shares in found.items():  # each starts at the last
            weights = fit_softmax(points, targets, axes.variances, penalty, start=weights)
            shares[np.ix_(~fitted, kept)] = probabilities(weights, others)
    return found


@cores.shared()
def predict(embeddings: Representations, labels: Path, *, seed: int = 0) -> LabelProbe:
    """Fits a classifier to the labelled pictures and applies it to the others.

    Args:
        embeddings: All pictures; labels in that file are not looked at.
        labels: CSV with a column ``id`` or ``path`` and a column ``label``; an empty label is
            none.
        seed: Seed of the folds of the cross-validation.

    Raises:
        InputError: If the CSV is unusable, names a picture that is not in the set, or gives
            too few labels.
    """
    named = read_labels(labels, embeddings)
    class_names, classes = np.unique(list(named.values()), return_inverse=True)
    rows = np.array(list(named), dtype=np.int64)
    if len(rows) < 2:
        raise InputError(f"{labels}: has {len(rows)} labels; label a few pictures of each kind")
    found = label_probe(embeddings.array, rows, classes.astype(np.int64), seed=seed)
    return replace(found, class_names=tuple(class_names.tolist()))
