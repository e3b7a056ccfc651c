"""labels: pictures whose label their neighbours and a classifier without them contradict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.evaluations.wrong_labels import LEAST, WrongLabels, wrong_labels
from vicinal.representations.embeddings import Embeddings
from vicinal.verbs.pairing import read_labels

COLUMNS = (
    *("suggested", "confidence", "given_confidence", "score", "contradicted"),
    *("neighbours_agree", "neighbours"),
)


@dataclass(frozen=True, eq=False)
class Doubted:
    """Labels by how much speaks against them.

    Attributes:
        found: What was found, rows counted in the embeddings.
        class_names: What the classes are called.
        labels: Array (N,) of strings, the labels that were judged; empty for none.
    """

    found: WrongLabels
    class_names: tuple[str, ...]
    labels: NDArray[np.str_]

    @property
    def contradicted(self) -> int:
        """How many labels both the classifier and the neighbours contradict."""
        return int(self.found.contradicted.sum())

    def header(self, embeddings: Embeddings) -> list[str]:
        """Names of what `listed` says of a picture."""
        return ["rank", *dict.fromkeys([*embeddings.columns(), "label"]), *COLUMNS]

    def listed(self, embeddings: Embeddings) -> list[dict[str, Any]]:
        """Every judged picture as plain data, the most doubtful label first.

        ``neighbours`` are the ids of the nearest pictures whose label is the suggested one.
        """
        found, names = self.found, self.class_names
        return [
            {
                "rank": place + 1,
                **embeddings.describe(row),
                "label": names[found.given[place]],
                "suggested": names[found.suggested[place]],
                "confidence": float(found.confidence[place]),
                "given_confidence": float(found.given_confidence[place]),
                "score": float(found.scores[place]),
                "contradicted": bool(found.contradicted[place]),
                "neighbours_agree": int(found.agreeing[place].sum()),
                "neighbours": embeddings.ids[
                    found.neighbours[place][found.agreeing[place]]
                ].tolist(),
            }
            for place, row in enumerate(found.rows.tolist())
        ]

    def rows(self, embeddings: Embeddings) -> Iterator[list[Any]]:
        """Those pictures as rows of a CSV, several ids in one cell."""
        for one in self.listed(embeddings):
            yield list((one | {"neighbours": "; ".join(one["neighbours"])}).values())

    def to_json(self, embeddings: Embeddings) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "judged": len(self.found.rows),
            "unjudged": self.found.unjudged,
            "classes": list(self.class_names),
            "agreement": self.found.accuracy.to_json(),
            "contradicted": self.contradicted,
            "neighbours_asked": self.found.neighbours.shape[1],
            "pictures": self.listed(embeddings),
        }

    def told(self) -> str:
        """What was found, in a line or two."""
        found = self.found
        lines = [
            f"{self.contradicted:,} of {len(found.rows):,} labels are contradicted by their "
            "neighbours and by a classifier that was fitted without them; it agrees with "
            f"{found.accuracy.value:.1%} of all labels (always the largest class: "
            f"{found.accuracy.chance:.1%})"
        ]
        if found.unjudged:
            lines.append(
                f"{found.unjudged:,} labels were not judged: their classes have fewer than "
                f"{LEAST} pictures"
            )
        return "\n".join(lines)


@cores.shared()
def doubt_labels(
    embeddings: Embeddings, labels: Path | None = None, *, k: int = 10, seed: int = 0
) -> Doubted:
    """Ranks labelled pictures by how much speaks against their label.

    Args:
        embeddings: The pictures.
        labels: A CSV as `vicinal.verbs.pairing.read_labels` takes it; None for the labels in the
            embeddings.
        k: Labelled neighbours that are asked, see `wrong_labels`.
        seed: Seed of the classifier's folds.

    Raises:
        InputError: If there are no labels, or too few pictures of two classes.
    """
    texts = embeddings.labels
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
    return Doubted(
        wrong_labels(embeddings.array, classes, k=k, seed=seed), tuple(names.tolist()), texts
    )
