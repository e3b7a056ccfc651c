"""cluster: the groups of a set at every level of a tree, with the pictures that stand for each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.evaluations.clusters import silhouette
from vicinal.evaluations.levels import level_scores
from vicinal.representations.embeddings import Embeddings
from vicinal.representations.tree import FINEST, GroupTree, distances_to_mean, grow_tree

MOST = 1_000
"""Groups that can be asked for."""
LEVELS = (2, 5, 10, 20, 50, 100)
"""Levels that files have a column of, besides the one that was chosen."""
_SAMPLE = 5_000  # pictures on which the silhouette is taken
_REPRESENTATIVES = 6


@dataclass(frozen=True, eq=False)
class Grouped:
    """Groups at every level of a tree; ``cluster`` in files is the level that was chosen.

    Attributes:
        tree: The tree.
        typical: Of each of its groups, from which level on which rows are nearest to its mean.
        chosen: The number of groups that was asked for or chosen, K.
        tried: What the level was chosen by, for each number of groups, the highest best;
            empty where the number was asked for.
        assignment: Array (N,) int64, each picture's group at that level.
        distances: Array (N,) float32, its L2 distance to that group's mean.
        sizes: Array (K,) int64.
        silhouette: Mean silhouette of that level, −1 to 1, in the tree's points.
    """

    tree: GroupTree
    typical: list[list[tuple[int, NDArray[np.int64]]]]
    chosen: int
    tried: dict[int, float]
    assignment: NDArray[np.int64]
    distances: NDArray[np.float32]
    sizes: NDArray[np.int64]
    silhouette: float

    def representatives(self, group: int) -> NDArray[np.int64]:
        """Rows of the pictures nearest to a group's mean, at the chosen level."""
        return next(rows for level, rows in reversed(self.typical[group]) if level <= self.chosen)

    def by_size(self) -> list[int]:
        """The groups of the chosen level, the largest first."""
        order: list[int] = np.argsort(-self.sizes, kind="stable").tolist()
        return order

    def levels(self) -> dict[str, NDArray[np.int64]]:
        """Each picture's group (N,) at some levels, by the name of its column."""
        counts = [count for count in LEVELS if count <= len(self.tree)]
        return {f"cluster_{count}": self.tree.level(count) for count in counts}

    def header(self, embeddings: Embeddings) -> list[str]:
        """Names of what `listed` says of a picture."""
        return ["cluster", *embeddings.columns(), "distance", *self.levels()]

    def listed(self, embeddings: Embeddings) -> list[dict[str, Any]]:
        """Every picture as plain data, group by group, those nearest its mean first."""
        levels = self.levels()
        return [
            {
                "cluster": int(self.assignment[row]),
                **embeddings.describe(row),
                "distance": float(self.distances[row]),
                **{name: int(groups[row]) for name, groups in levels.items()},
            }
            for row in np.lexsort((self.distances, self.assignment)).tolist()
        ]

    def to_json(self, embeddings: Embeddings) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "silhouette": self.silhouette,
            "tried": [{"clusters": k, "score": value} for k, value in self.tried.items()],
            "tree": {
                "parents": self.tree.parents.tolist(),
                "saved": self.tree.saved.tolist(),
            },
            "clusters": [
                {
                    "cluster": group,
                    "size": int(self.sizes[group]),
                    **commonest(embeddings.labels, self.assignment == group),
                    "representatives": [
                        embeddings.describe(row) for row in self.representatives(group).tolist()
                    ],
                }
                for group in self.by_size()
            ],
            "pictures": self.listed(embeddings),
        }


def commonest(labels: NDArray[np.str_] | None, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """The commonest ``label`` of some pictures and its ``share`` of those that have one.

    Args:
        labels: Array (N,) of strings, empty for none; or None.
        rows: Array (N,) of which pictures.

    Returns:
        Both, or an empty dict where no picture has a label.
    """
    if labels is None:
        return {}
    counts = Counter(label for label in labels[rows].tolist() if label)
    if not counts:
        return {}
    label, count = counts.most_common(1)[0]
    return {"label": label, "share": count / counts.total()}


@cores.shared()
def group(embeddings: Embeddings, clusters: int | None = None, *, seed: int = 0) -> Grouped:
    """A tree of groups, with the level that is shown first given or chosen.

    Args:
        embeddings: The pictures.
        clusters: How many groups at that level; None to choose by `level_scores`.
        seed: Seed of the tree and of the draws that levels and silhouettes are taken on.

    Raises:
        InputError: If there are fewer distinct pictures than groups, or more than `MOST` groups
            are asked for.
    """
    array = embeddings.array
    tree = grow_tree(array, finest=max(FINEST, min(clusters or 0, MOST)), seed=seed)
    if len(tree) < 2:
        raise InputError(f"{len(array)} pictures, all alike: there is nothing to group")
    if clusters is not None and not 2 <= clusters <= len(tree):
        most = f"{MOST:,}" if len(tree) >= MOST else str(len(tree))
        raise InputError(
            f"{option('clusters', clusters)}: give 2 to {most}, "
            "no more than there are distinct pictures"
        )
    tried = {} if clusters is not None else level_scores(tree, seed=seed)
    chosen = clusters or max(tried, key=lambda count: tried[count])
    return grouped(embeddings, tree, chosen, tried, seed=seed)


def grouped(
    embeddings: Embeddings, tree: GroupTree, chosen: int, tried: dict[int, float], *, seed: int = 0
) -> Grouped:
    """The groups of a tree that is there, with the pictures that stand for each.

    Args:
        embeddings: The pictures.
        tree: Their tree.
        chosen: The level that is shown first.
        tried: What it was chosen by.
        seed: Seed of the draw that the silhouette is taken on.
    """
    array = embeddings.array
    assignment = tree.level(chosen)
    distances = np.empty(len(array), np.float32)
    for number in np.unique(assignment):
        rows = np.flatnonzero(assignment == number)
        distances[rows] = distances_to_mean(array[rows])
    return Grouped(
        tree,
        tree.typical(array, _REPRESENTATIVES),
        chosen,
        tried,
        assignment,
        distances,
        np.bincount(assignment, minlength=chosen),
        silhouette(tree.points, assignment, sample=_SAMPLE, seed=seed).value,
    )
