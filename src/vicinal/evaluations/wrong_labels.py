"""Wrong labels: pictures whose label their neighbours and a classifier without them contradict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError, number_of, option
from vicinal.evaluations.label_probe import PENALTIES, out_of_fold
from vicinal.evaluations.probe import accuracy
from vicinal.evaluations.score import Answer, Score, checked
from vicinal.evaluations.softmax import (
    Array32,
    Array64,
    Standard,
    principal_axes,
    standardisation,
)
from vicinal.representations.neighbours import nearest, unit_length
from vicinal.representations.pairing import read_labels
from vicinal.representations.representations import Representations

NEIGHBOURS = 10
"""Labelled neighbours that are asked."""
LEAST = 5
"""Pictures of a class, below which neither a classifier nor neighbours can speak for it."""
_FOLDS = 5
_AXES = 256  # principal axes that the classifier sees: more take minutes of a thousand pictures
_PENALTIES = PENALTIES[:3]
_CLASSIFIER = 2 / 3  # its weight beside the neighbours
_PRIOR = 2  # neighbours' votes that are shared out as the classes are, so that none has nothing
_SLACK = 1e-3  # a probability that is not told from 0


COLUMNS = (
    *("suggested", "confidence", "given_confidence", "score", "contradicted"),
    *("neighbours_agree", "neighbours"),
)


@dataclass(frozen=True, eq=False)
class WrongLabels(Answer):
    """Labelled pictures by how much speaks against their label.

    Attributes:
        rows: Array (M,) int64, the pictures that were judged, the most doubtful label first.
        scores: Array (M,) float64, the doubt, from −1 up, above 0 where another class is likelier
            than the label, see `wrong_labels`.
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
        class_names: What the classes are called; their numbers where nobody says.
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
    class_names: tuple[str, ...] = ()

    def header(self, pictures: Representations) -> list[str]:
        """The names that `listed` gives."""
        return ["rank", *dict.fromkeys([*pictures.columns(), "label"]), *COLUMNS]

    def listed(self, pictures: Representations) -> list[dict[str, Any]]:
        """Every judged picture as plain data, the most doubtful label first.

        ``neighbours`` are the ids of the nearest pictures whose label is the suggested one.
        """
        names = self.class_names
        return [
            {
                "rank": place + 1,
                **pictures.describe(row),
                "label": names[self.given[place]],
                "suggested": names[self.suggested[place]],
                "confidence": float(self.confidence[place]),
                "given_confidence": float(self.given_confidence[place]),
                "score": float(self.scores[place]),
                "contradicted": bool(self.contradicted[place]),
                "neighbours_agree": int(self.agreeing[place].sum()),
                "neighbours": pictures.ids[self.neighbours[place][self.agreeing[place]]].tolist(),
            }
            for place, row in enumerate(self.rows.tolist())
        ]

    def to_json(self, pictures: Representations) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "judged": len(self.rows),
            "unjudged": self.unjudged,
            "classes": list(self.class_names),
            "agreement": self.accuracy.to_json(),
            "contradicted": int(self.contradicted.sum()),
            "neighbours_asked": self.neighbours.shape[1],
            "pictures": self.listed(pictures),
        }

    def summary(self) -> list[str]:
        """What was found, in a line or two."""
        lines = [
            f"{int(self.contradicted.sum()):,} of {len(self.rows):,} labels are contradicted by "
            "most of their neighbours and clearly by a classifier that was fitted without them; it "
            "agrees with "
            f"{self.accuracy.value:.1%} of all labels (always the largest class: "
            f"{self.accuracy.chance:.1%})"
        ]
        if self.unjudged:
            lines.append(
                f"{number_of(self.unjudged, 'label was', 'labels were')} not judged: a class needs "
                f"{LEAST} pictures"
            )
        return lines


def wrong_labels(
    array: Array32, classes: NDArray[np.int64], *, k: int = NEIGHBOURS, seed: int = 0
) -> WrongLabels:
    """Holds each label against an out-of-fold classifier and the k nearest labelled pictures.

    The classifier is that of `label_probe` on 256 principal axes, fitted five times, each time
    without a fifth of the pictures. A class c gets q_c, two parts of its probability and one of
    its share of the neighbours. The doubt in a label y is how far another class is ahead,
    d = max of q_c over c ≠ y less q_y, times −log q_y, how unlikely the label is; d alone where
    none is ahead. docs/benchmarks.md holds it beside cleanlab's scores.

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
        raise InputError(f"{option('k', k)} must be at least 1")
    judged, unjudged = _judged(classes)
    names, given = np.unique(classes[judged], return_inverse=True)
    shares = judged_by_classifier(array[judged], given, seed)
    directions = unit_length(array[judged])
    near = nearest(directions, directions, min(k, len(judged) - 1), exclude_self=True).indices
    counted = np.stack([(given[near] == c).sum(axis=1) for c in range(len(names))], axis=1)
    prior = np.bincount(given) / len(given)
    votes = (counted + _PRIOR * prior) / (near.shape[1] + _PRIOR)
    every = np.arange(len(judged))
    both = _CLASSIFIER * shares + (1 - _CLASSIFIER) * votes
    label = both[every, given].copy()
    both[every, given] = -1
    suggested = both.argmax(axis=1)
    ahead = both[every, suggested] - label
    scores = np.where(ahead > 0, -np.log(label + _SLACK) * ahead, ahead)
    typical = np.array([shares[given == c, c].mean() for c in range(len(names))])
    confidence, trusted = shares[every, suggested], shares[every, given]
    contradicted = (
        (confidence > trusted)
        & (2 * counted[every, suggested] > near.shape[1])
        & (confidence >= typical[suggested])
    )
    order = np.argsort(-scores, kind="stable")
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
        accuracy=accuracy("label_agreement", given, shares.argmax(axis=1), seed),
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


@cores.shared()
def doubt_labels(
    embeddings: Representations, labels: Path | None = None, *, k: int = 10, seed: int = 0
) -> WrongLabels:
    """Ranks labelled pictures by how much speaks against their label.

    Args:
        embeddings: The pictures.
        labels: A CSV as `vicinal.representations.pairing.read_labels` takes it; None for those in
            the embeddings.
        k: Labelled neighbours that are asked, see `wrong_labels`.
        seed: Seed of the classifier's folds.

    Raises:
        InputError: If there are no labels, or too few pictures of two classes.
    """
    texts = embeddings.label_names
    if labels is not None:
        given = read_labels(labels, embeddings)
        width = max(map(len, given.values()), default=1)
        texts = np.full(len(embeddings), "", f"<U{width}")
        texts[list(given)] = list(given.values())
    if texts is None:
        raise InputError(
            "the embeddings have no labels to judge; name a CSV with columns id and label by "
            f"{option('labels')}, or embed a folder of class folders"
        )
    names, classes = np.unique(texts, return_inverse=True)
    if names[0] == "":
        names, classes = names[1:], classes - 1
    found = wrong_labels(embeddings.as_compared().array, classes, k=k, seed=seed)
    return replace(found, class_names=tuple(names.tolist()))
