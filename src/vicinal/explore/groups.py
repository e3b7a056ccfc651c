"""Groups of pictures at every level of a tree, and those that stand for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vicinal.evaluations.groups import Grouped, GroupTree, group, grouped, reduced
from vicinal.representations.representations import Representations


def find_groups(
    embeddings: Representations, folder: Path, clusters: int | None = None
) -> tuple[dict[str, pa.Array], dict[str, Any]]:
    """The columns ``cluster`` and ``finest``, and the groups' figures; writes ``clusters.csv``.

    Pictures that are all alike are no groups: −1 and None.

    Args:
        embeddings: The pictures.
        folder: Where the file goes.
        clusters: How many groups are shown first, at least 2 and at most as many as there are
            distinct pictures; None to choose.
    """
    if (embeddings.array == embeddings.array[0]).all():
        none = pa.array(np.full(len(embeddings), -1, np.int32))
        return {"cluster": none, "finest": none}, {"clusters": None}
    if clusters is not None:
        clusters = max(2, min(clusters, len(np.unique(embeddings.array, axis=0))))
    return _told(embeddings, folder, group(embeddings, clusters))


def keep_groups(
    embeddings: Representations, folder: Path, finest: NDArray[np.int64], told: dict[str, Any]
) -> tuple[dict[str, pa.Array], dict[str, Any]]:
    """As `find_groups`, of a tree that is there; grown anew where fewer than two groups are left.

    Args:
        embeddings: The pictures.
        folder: As in `find_groups`.
        finest: Array (N,) int64, each picture's group at the finest level.
        told: The figures ``clusters`` of when the tree was grown.
    """
    parents = np.array(told["parents"])
    tree = GroupTree(finest, parents, np.zeros(len(parents)), reduced(embeddings.array, 0))
    if len(np.unique(tree.level(told["k"]))) < 2:
        return find_groups(embeddings, folder)
    tried = {each["clusters"]: each["score"] for each in told["tried"]}
    return _told(embeddings, folder, grouped(embeddings, tree, told["k"], tried))


def _told(
    embeddings: Representations, folder: Path, found: Grouped
) -> tuple[dict[str, pa.Array], dict[str, Any]]:
    found.save(folder / "clusters.csv", embeddings)
    columns = {
        "cluster": pa.array(found.assignment.astype(np.int32)),
        "finest": pa.array(found.tree.finest.astype(np.int32)),
    }
    return columns, {
        "clusters": {
            "k": found.chosen,
            "silhouette": found.silhouette,
            "tried": [{"clusters": k, "score": value} for k, value in found.tried.items()],
            "sizes": found.sizes.tolist(),
            "representatives": [
                found.representatives(number).tolist() for number in range(found.chosen)
            ],
            "parents": found.tree.parents.tolist(),
            "typical": [
                [[level, rows.tolist()] for level, rows in levels] for levels in found.typical
            ],
        }
    }
