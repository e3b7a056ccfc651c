"""map: pictures as points of a plane, with their neighbours in the full representation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.evaluations.maps import pca_map, trustworthiness, tsne_map
from vicinal.files import replacing
from vicinal.representations.embeddings import Embeddings
from vicinal.representations.neighbours import Neighbours, nearest

NEIGHBOURS = 15
"""How many neighbours of each picture a map file keeps."""


@dataclass(frozen=True, eq=False)
class Map:
    """Points of a plane.

    Attributes:
        points: Array (N, 2) float32.
        neighbours: The nearest other pictures by the full representation, not by the map.
        trustworthiness: How far neighbours on the map are neighbours in truth, 0 to 1.
    """

    points: NDArray[np.float32]
    neighbours: Neighbours
    trustworthiness: float


@cores.shared()
def map_of(embeddings: Embeddings, method: str = "tsne") -> Map:
    """Lays pictures out by t-SNE or PCA, seed 0.

    Raises:
        InputError: If the method is another, or there are fewer than 4 pictures.
    """
    if method not in ("tsne", "pca"):
        raise InputError(f"{option('method', method)}: give tsne or pca")
    array = embeddings.array
    if len(array) < 4:
        raise InputError(f"a map needs at least 4 pictures, found {len(array)}")
    points = tsne_map(array) if method == "tsne" else pca_map(array).points
    near = nearest(array, array, min(NEIGHBOURS, len(array) - 1), exclude_self=True)
    return Map(points, near, trustworthiness(array, points).value)


def write_map(path: Path, embeddings: Embeddings, found: Map) -> None:
    """Writes parquet: id, path, label, split (those there are), x, y and neighbors.

    ``neighbors`` holds ``{"ids": [row, …], "distances": [L2, …]}``, rows counted from 0, nearest
    first: what embedding-atlas reads by ``--x x --y y --neighbors neighbors``.
    """
    known = {
        "id": embeddings.ids,
        "path": embeddings.paths,
        "label": embeddings.labels,
        "split": embeddings.splits,
    }
    columns = {
        name: pa.array([text or None for text in column.tolist()], pa.string())
        for name, column in known.items()
        if column is not None
    }
    columns |= {"x": pa.array(found.points[:, 0]), "y": pa.array(found.points[:, 1])}
    columns["neighbors"] = pa.StructArray.from_arrays(
        [lists(found.neighbours.indices), lists(found.neighbours.distances)],
        ["ids", "distances"],
    )
    with replacing(path) as partial:
        pq.write_table(pa.table(columns), partial)


def lists(rows: NDArray[np.generic]) -> pa.ListArray:
    """An array (N, K) as a column of N lists."""
    ends = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(rows.ravel()))
