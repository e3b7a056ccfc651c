"""probe: labels for the rest of a set from those that somebody gave to a few of it."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError
from vicinal.evaluations.label_probe import LabelProbe, label_probe
from vicinal.files import plain_cell
from vicinal.representations.embeddings import Embeddings


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
    named = _read(labels, embeddings)
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


def _read(path: Path, embeddings: Embeddings) -> dict[int, str]:
    """The label of each row that the CSV gives one."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            columns = reader.fieldnames or []
            name = next((each for each in ("id", "path") if each in columns), None)
            if name is None or "label" not in columns:
                raise InputError(
                    f"{path}: needs columns id (or path) and label in its first line, "
                    f"found {', '.join(columns) or 'nothing'}"
                )
            lines = [
                (reader.line_num, plain_cell(line[name]), plain_cell(line["label"]).strip())
                for line in reader
            ]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: no CSV in UTF-8 ({error}); save it as that") from None
    place = _places(embeddings, name, path)
    labels: dict[int, str] = {}
    for number, picture, label in lines:
        row = place.get(picture if name == "id" else os.path.abspath(picture))
        row = place.get(picture) if row is None else row
        if row is None:
            raise InputError(
                f"{path}, line {number}: no picture {picture!r} in the embeddings; "
                f"they are named like {embeddings.describe(0).get(name)!r}"
            )
        if label and labels.setdefault(row, label) != label:
            raise InputError(f"{path}, line {number}: {picture!r} has two labels; keep one")
    return labels


def _places(embeddings: Embeddings, name: str, labels: Path) -> dict[str, int]:
    """Rows by id or by path."""
    column = embeddings.ids if name == "id" else embeddings.paths
    if column is None:
        raise InputError(f"{labels}: names paths, but the embeddings have none; give a column id")
    return {text: row for row, text in enumerate(column.tolist())}
