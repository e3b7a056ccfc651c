"""Groups of pictures, and those that stand for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vicinal.files import write_csv
from vicinal.progress import counted
from vicinal.representations.embeddings import Embeddings
from vicinal.verbs.cluster import group

_SHARES = 1_000  # a bar's units


def find_groups(
    embeddings: Embeddings, folder: Path, clusters: int | None = None
) -> tuple[dict[str, pa.Array], dict[str, Any]]:
    """The column ``cluster``, and the clusters' figures; writes ``clusters.csv``.

    Pictures that are all alike are no groups: −1 and None.

    Args:
        embeddings: The pictures.
        folder: Where the file goes.
        clusters: How many, at least 2 and at most as many as there are distinct pictures; None
            for the number of the best silhouette.
    """
    none = {"cluster": pa.array(np.full(len(embeddings), -1, np.int32))}
    if (embeddings.array == embeddings.array[0]).all():
        return none, {"clusters": None}
    if clusters is not None:
        clusters = max(2, min(clusters, len(np.unique(embeddings.array, axis=0))))
    with counted("group", _SHARES, "‰") as advance:
        found = group(embeddings, clusters, progress=lambda share: advance(round(share * _SHARES)))
    header = ["cluster", *embeddings.columns(), "distance"]
    rows = (list(picture.values()) for picture in found.listed(embeddings))
    write_csv(folder / "clusters.csv", header, rows)
    return {"cluster": pa.array(found.assignment.astype(np.int32))}, {
        "clusters": {
            "k": len(found.sizes),
            "silhouette": found.silhouette,
            "tried": [{"clusters": k, "silhouette": value} for k, value in found.tried.items()],
            "sizes": found.sizes.tolist(),
            "representatives": [rows.tolist() for rows in found.representatives],
        }
    }
