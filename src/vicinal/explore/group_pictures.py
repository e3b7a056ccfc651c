"""Groups of pictures at every level of a tree, and those that stand for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vicinal.evaluations.groups import Grouped, GroupTree, group, grouped, reduced
from vicinal.explore.stage_results import StageResult
from vicinal.representations.representations import Representations

_ROUNDING = 1e-3
"""The share of the largest number up to which equal pictures differ: batches round unlike."""


def group_pictures(
    embeddings: Representations, folder: Path, clusters: int | None = None
) -> StageResult:
    """The columns ``cluster`` and ``finest``, and the figures ``clusters``; writes the CSV file.

    Pictures that are all alike are no groups: −1 and None.

    Args:
        embeddings: The pictures.
        folder: Where ``clusters.csv`` goes.
        clusters: How many groups are shown first, at least 2 and at most as many as there are
            distinct pictures; None to choose.
    """
    array = embeddings.array
    if np.ptp(array, axis=0).max() <= _ROUNDING * np.abs(array).max():
        none = pa.array(np.full(len(embeddings), -1, np.int32))
        return {"cluster": none, "finest": none}, {"clusters": None}
    if clusters is not None:
        clusters = max(2, min(clusters, len(np.unique(embeddings.array, axis=0))))
    return _stage_result(embeddings, folder, group(embeddings, clusters))


def keep_groups(
    embeddings: Representations, folder: Path, finest: NDArray[np.int64], figures: dict[str, Any]
) -> StageResult:
    """As `group_pictures`, of a tree that is there; grown anew where under two groups are left.

    Args:
        embeddings: The pictures.
        folder: As in `group_pictures`.
        finest: Array (N,) int64, each picture's group at the finest level.
        figures: The figures ``clusters`` of when the tree was grown.
    """
    parents = np.array(figures["parents"])
    tree = GroupTree(finest, parents, np.zeros(len(parents)), reduced(embeddings.array, 0))
    if len(np.unique(tree.level(figures["k"]))) < 2:
        return group_pictures(embeddings, folder)
    tried = {each["clusters"]: each["score"] for each in figures["tried"]}
    return _stage_result(embeddings, folder, grouped(embeddings, tree, figures["k"], tried))


def _stage_result(embeddings: Representations, folder: Path, found: Grouped) -> StageResult:
    found.save(folder / "clusters.csv", embeddings)
    columns = {
        "cluster": pa.array(found.assignment.astype(np.int32)),
        "finest": pa.array(found.tree.finest.astype(np.int32)),
    }
    middle = [found.representatives(number).tolist() for number in range(found.chosen)]
    figures = {
        "k": found.chosen,
        "silhouette": found.silhouette,
        "tried": [{"clusters": k, "score": value} for k, value in found.tried.items()],
        "sizes": found.sizes.tolist(),
        "representatives": middle,
        "parents": found.tree.parents.tolist(),
        "typical": [[[level, rows.tolist()] for level, rows in each] for each in found.typical],
    }
    return columns, {"clusters": figures}
