"""Approximate nearest neighbours for large sets: faiss's HNSW graph, with its measured recall."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError
from vicinal.representations.neighbours import Neighbours, check_search, nearest

Search = Literal["exact", "hnsw"]

_LINKS = 16  # M: links of each point on each level of the graph
_BUILD_WIDTH = 100  # efConstruction: candidates held while a point is linked
_LEAST_WIDTH = 64  # efSearch: candidates held during a search, more where k is large
_SLACK = 1e-5  # relative: distances of this search and the exact one differ by rounding


def neighbours_by(
    search: Search,
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    k: int,
    *,
    exclude_self: bool = False,
    device: str = "cpu",
) -> tuple[Neighbours, float]:
    """The k nearest rows by the named search, and the share of the true ones among them.

    Arguments and errors are those of `nearest` and `nearest_approximate`, which is faiss's on the
    CPU whatever the device.
    """
    if search == "hnsw":
        return nearest_approximate(queries, gallery, k, exclude_self=exclude_self)
    if search != "exact":
        raise InputError(f"neighbour search {search!r}: valid are 'exact' and 'hnsw'")
    return nearest(queries, gallery, k, exclude_self=exclude_self, device=device), 1.0


def nearest_approximate(
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    k: int,
    *,
    exclude_self: bool = False,
    checked: int = 200,
    seed: int = 0,
) -> tuple[Neighbours, float]:
    """Nearly the k nearest rows of the gallery to each query, in O((N + Q) log N).

    Malkov & Yashunin (TPAMI 2020), by faiss. The graph is built on one thread, because then
    the same rows give the same neighbours. Memory beyond the arguments: a copy of the gallery
    and about 150 bytes a row.

    Args:
        queries: Array (Q, F) float32.
        gallery: Array (N, F) float32.
        k: Neighbours of each query, from 1 to N (to N − 1 with ``exclude_self``).
        exclude_self: The queries are the gallery, and row i is no neighbour of row i.
        checked: On so many queries, a seeded draw, the recall is measured.
        seed: Seed of the draw.

    Returns:
        The neighbours, nearest first, and the recall: of the true k nearest of the checked
        queries, the share that was found (0 to 1, an equally near row counts as the row).

    Raises:
        InputError: As `nearest`, or if faiss is not installed.
    """
    check_search(queries, gallery, k, exclude_self)
    faiss = _faiss()
    drawn = np.random.default_rng(seed).permutation(len(queries))[:checked]
    graph = faiss.IndexHNSWFlat(gallery.shape[1], _LINKS)
    graph.hnsw.efConstruction = _BUILD_WIDTH
    graph.hnsw.efSearch = max(_LEAST_WIDTH, 2 * (k + exclude_self))
    with cores.faiss_threads(faiss, 1):
        graph.add(np.ascontiguousarray(gallery))
    squared, indices = graph.search(np.ascontiguousarray(queries), k + exclude_self)
    distances = np.sqrt(np.maximum(squared, 0))
    missing = np.flatnonzero((indices < 0).any(axis=1))  # a corner the graph does not lead into
    if exclude_self:
        indices, distances = _without(np.arange(len(queries)), indices, distances)
    for start in range(0, len(missing), 4096):
        rows = missing[start : start + 4096]
        again = _exact(queries, gallery, k, rows, exclude_self)
        indices[rows], distances[rows] = again.indices, again.distances
    truth = _exact(queries, gallery, k, drawn, exclude_self)
    furthest = truth.distances[:, -1:] * (1 + _SLACK)
    recall = float((distances[drawn] <= furthest).mean())
    return Neighbours(indices.astype(np.int64), distances.astype(np.float32)), recall


def _exact(
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    k: int,
    rows: NDArray[np.int64],
    exclude_self: bool,
) -> Neighbours:
    """The exact neighbours of some of the queries."""
    found = nearest(queries[rows], gallery, k + exclude_self)
    if not exclude_self:
        return found
    return Neighbours(*_without(rows, found.indices, found.distances))


def _without(
    own: NDArray[np.int64], indices: NDArray[np.int64], distances: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Takes out of each row (B, k + 1) its own index, or the last where that is not among them."""
    out = indices == own[:, None]
    out[~out.any(axis=1), -1] = True
    shape = (len(own), indices.shape[1] - 1)
    return indices[~out].reshape(shape), distances[~out].reshape(shape)


def _faiss() -> Any:
    """The module faiss, an optional one."""
    try:
        import faiss
    except ImportError:
        raise InputError(
            "neighbour search 'hnsw' needs faiss: pip install 'vicinal[faiss]', or use 'exact'"
        ) from None
    faiss.omp_set_num_threads(cores.threads())
    return faiss
