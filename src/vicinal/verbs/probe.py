"""probe: labels for the rest of a set from those that somebody gave to a few of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError
from vicinal.evaluations.label_probe import LabelProbe, label_probe
from vicinal.representations.embeddings import Embeddings
from vicinal.verbs.pairing import read_labels


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions for the pictures without a label.

    Attributes:
        probe: The classifier's answers for all pictures, and its cross-validated accuracy.
        class_names: What its classes are called.
        given: How many labels of each class there are.
        rest: Array (M,) int64, rows of the pictures without a label.
    """

    probe: LabelProbe
    class_names: tuple[str, ...]
    given: tuple[int, ...]
    rest: NDArray[np.int64]

    def listed(self, embeddings: Embeddings) -> list[dict[str, Any]]:
        """Each picture of the rest as plain data, in the set's order."""
        return [
            {
                **embeddings.describe(row),
                "prediction": self.class_names[self.probe.predictions[row]],
                "probability": float(self.probe.probabilities[row].max()),
            }
            for row in self.rest.tolist()
        ]

    def to_json(self, embeddings: Embeddings) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "accuracy": self.probe.accuracy.to_json(),
            "folds": self.probe.folds,
            "labels": dict(zip(self.class_names, self.given, strict=True)),
            "pictures": self.listed(embeddings),
        }


@cores.shared()
def predict(embeddings: Embeddings, labels: Path, *, seed: int = 0) -> Predicted:
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
    return Predicted(
        probe=label_probe(embeddings.array, rows, classes.astype(np.int64), seed=seed),
        class_names=tuple(class_names.tolist()),
        given=tuple(np.bincount(classes).tolist()),
        rest=np.setdiff1d(np.arange(len(embeddings)), rows),
    )
