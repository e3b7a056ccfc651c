"""The kinds of faiss index: when each is chosen, how it is trained and filled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.representations.index import Kind, import_faiss

FLAT_UP_TO = 50_000
"""Images up to which an exact search of all of them is quick."""
HNSW_UP_TO = 1_000_000
"""Images up to which the graph, which holds every vector, is built in minutes."""

_LINKS, _BUILD_WIDTH = 16, 100  # as in approximate.py
_CODES = 256  # a byte for each part of a vector
_MOST_TRAINED = 64  # vectors a list, for the k-means of the lists
_BLOCK = 65_536
_SEED = 0


def kind_for(count: int) -> Kind:
    """The kind of index that ``count`` images call for."""
    return "flat" if count <= FLAT_UP_TO else "hnsw" if count <= HNSW_UP_TO else "ivfpq"


def _flat(vectors: NDArray[np.float32]) -> tuple[Any, int]:
    return import_faiss().IndexFlatL2(vectors.shape[1]), 0


def _hnsw(vectors: NDArray[np.float32]) -> tuple[Any, int]:
    graph = import_faiss().IndexHNSWFlat(vectors.shape[1], _LINKS)
    graph.hnsw.efConstruction = _BUILD_WIDTH
    return graph, 0


def _ivfpq(vectors: NDArray[np.float32]) -> tuple[Any, int]:
    """Trained on a seeded draw; lists are 4 √N, rounded down to a power of two."""
    faiss = import_faiss()
    count, width = vectors.shape
    if count < _CODES:
        raise InputError(
            f"{option('kind', 'ivfpq')}: needs {_CODES} images or more, found {count}; use flat"
        )
    lists = 2 ** int(np.log2(min(4 * np.sqrt(count), max(1, count / 39))))
    # Finding the list among many is itself a search.
    coarse = faiss.IndexFlatL2(width) if lists <= 16_384 else faiss.IndexHNSWFlat(width, 32)
    engine = faiss.IndexIVFPQ(coarse, width, lists, _parts(width), 8)
    drawn = min(count, max(_MOST_TRAINED * lists, 39 * _CODES))
    rows = np.sort(np.random.default_rng(_SEED).permutation(count)[:drawn])
    engine.cp.seed = engine.pq.cp.seed = _SEED + 1
    # A small set has fewer vectors than faiss would like; the measured recall says how it does.
    engine.cp.min_points_per_centroid = engine.pq.cp.min_points_per_centroid = 1
    engine.train(np.ascontiguousarray(vectors[rows]))
    return engine, drawn


ENGINES: dict[Kind, Callable[[NDArray[np.float32]], tuple[Any, int]]] = {
    "flat": _flat,
    "hnsw": _hnsw,
    "ivfpq": _ivfpq,
}
"""Vectors (N, F) -> an empty faiss index, trained on some of them, and on how many."""
EFFORTS: dict[Kind, tuple[int, int]] = {"flat": (1, 1), "hnsw": (64, 1024), "ivfpq": (8, 1024)}
"""The least and the most effort of a search: nodes held by HNSW, lists probed by IVF-PQ."""


def _parts(width: int) -> int:
    """Bytes of a vector's code: the most, up to 64, that parts of 4 or more numbers allow."""
    fitting = (parts for parts in range(min(64, max(1, width // 4)), 0, -1) if width % parts == 0)
    return next(fitting)


def add(engine: Any, vectors: NDArray[np.float32]) -> None:
    """Adds rows block by block, on one thread, for then the same rows give the same index."""
    faiss = import_faiss()
    graph = isinstance(engine, faiss.IndexHNSW)
    with cores.faiss_threads(faiss, 1 if graph else cores.threads()):
        for start in range(0, len(vectors), _BLOCK):
            engine.add(np.ascontiguousarray(vectors[start : start + _BLOCK]))
