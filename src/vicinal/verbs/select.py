"""select: the pictures of a set to label first, beside those that are labelled already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.evaluations.selection import Selected, select
from vicinal.representations.embeddings import Embeddings
from vicinal.verbs.pairing import read_labels

OWN = "own"
"""Stands for the labels that the embeddings have themselves."""


@dataclass(frozen=True, eq=False)
class ToLabel:
    """Pictures to label first.

    Attributes:
        found: What was chosen, rows counted in the embeddings.
        method: How.
    """

    found: Selected
    method: str

    def header(self, embeddings: Embeddings) -> list[str]:
        """Names of what `listed` says of a picture; `vicinal probe` reads id and label of it."""
        return ["rank", "id", *(["path"] if embeddings.paths is not None else []), *_LAST]

    def listed(self, embeddings: Embeddings) -> list[dict[str, Any]]:
        """Each picture as plain data, with an empty label to be filled in."""
        return [
            {
                "rank": rank,
                **{k: v for k, v in embeddings.describe(row).items() if k != "label"},
                "label": "",
                "stands_for": number,
            }
            for rank, (row, number) in enumerate(
                zip(self.found.rows.tolist(), self.found.stands_for.tolist(), strict=True), 1
            )
        ]

    def to_json(self, embeddings: Embeddings) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "method": self.method,
            "labelled": self.found.labelled,
            "pictures": self.listed(embeddings),
        }


_LAST = ("label", "stands_for")


@cores.shared()
def select_pictures(
    embeddings: Embeddings,
    count: int,
    *,
    labels: str | Path | None = None,
    method: str = "typical",
    seed: int = 0,
) -> ToLabel:
    """Chooses the pictures to label first.

    Args:
        embeddings: The pictures; labels in that file are not looked at unless asked for.
        count: How many.
        labels: What is labelled already: a CSV as `vicinal.verbs.pairing.read_labels` takes it,
            whose column ``label`` may be absent, or ``own`` for the labels in the embeddings.
        method: One of `vicinal.evaluations.selection.METHODS`.
        seed: Seed of what is random in it.

    Raises:
        InputError: If there are fewer pictures without a label, or the labels cannot be read.
    """
    if labels is None:
        held = np.empty(0, np.int64)
    elif str(labels) == OWN:
        if embeddings.labels is None:
            raise InputError(f"{option('labels', OWN)}: the embeddings have no labels")
        held = np.flatnonzero(embeddings.labels != "")
    else:
        named = read_labels(Path(labels), embeddings, needed=False)
        held = np.array(sorted(named), dtype=np.int64)
    return ToLabel(select(embeddings.array, count, labelled=held, method=method, seed=seed), method)
