"""A search index on disk: faiss proposes, exact distances of the stored vectors decide.

An index is a folder. ``index.json`` says what it is and names the other files: the faiss index,
the ids in parquet and the representations as raw float32 rows, which are memory-mapped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.files import read_json
from vicinal.representations.neighbours import (
    Neighbours,
    check_search,
    nearest,
    nearest_and_farthest,
    squared_distances,
)

Kind = Literal["flat", "hnsw", "ivfpq"]
Search = Literal["exact", "hnsw"]
FORMAT = 1
DESCRIPTION = "index.json"
VECTORS = "vectors.f32"

# Candidates beside 4 (k + 1), whose order the true distances then decide; codes of a few bytes
# rank roughly, so they need more.
_SLACK = {"flat": 16, "hnsw": 16, "ivfpq": 96}
_QUERIES = 1024  # at a time, which bounds the memory
_ROWS = 65_536  # of the stored vectors at a time in an exact pass
FLAT_UP_TO = 50_000
"""Images up to which an exact search of all of them is quick."""
HNSW_UP_TO = 1_000_000
"""Images up to which the graph, which holds every vector, is built in minutes."""
_LINKS, _BUILD_WIDTH = 16, 100  # of a point on each level; candidates while it is linked
_CODES = 256  # a byte for each part of a vector
_MOST_TRAINED = 64  # vectors a list, for the k-means of the lists
_BLOCK = 65_536
SEED = 0
EFFORTS: dict[Kind, tuple[int, int]] = {"flat": (1, 1), "hnsw": (64, 1024), "ivfpq": (8, 1024)}
"""The least and the most effort of a search: nodes held by HNSW, lists probed by IVF-PQ."""


@dataclass(frozen=True, eq=False)
class Index:
    """An opened index over N representations."""

    folder: Path  # where it lies
    kind: Kind  # ``flat``, ``hnsw`` or ``ivfpq``
    ids: NDArray[np.str_]  # array (N,) of strings, row by row
    vectors: NDArray[np.float32]  # memory map (N, F) float32, the representations
    effort: int  # how hard a search tries: nodes held by HNSW, lists probed by IVF-PQ
    description: dict[str, Any]  # ``index.json`` as plain data
    engine: Any  # the faiss index, memory-mapped where its kind allows it

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def open(cls, folder: str | Path) -> Index:
        """Opens an index that `vicinal index` made; nothing but the ids is read into memory."""
        folder = Path(folder)
        if not (folder / DESCRIPTION).is_file():
            raise InputError(f"{folder}: no index there; `vicinal index` makes one")
        said = read_json(folder / DESCRIPTION)
        if not isinstance(said, dict) or said.get("vicinal_index") != FORMAT:
            raise InputError(f"{folder}: not an index of this version of Vicinal; build it again")
        count, width = said["images"], said["dimension"]
        try:
            ids = [pq.read_table(folder / name)["id"].to_numpy() for name in said["ids"]]
            vectors = np.memmap(folder / VECTORS, np.float32, "r", shape=(count, width))
        except (OSError, ValueError) as error:
            raise InputError(f"{folder}: damaged ({error}); build the index again") from None
        return cls(
            folder,
            said["kind"],
            np.concatenate(ids).astype(np.str_),
            vectors,
            said["effort"],
            said,
            read_engine(folder / said["faiss"]),
        )

    def nearest(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        own: NDArray[np.int64] | None = None,
        among: NDArray[np.bool_] | None = None,
    ) -> Neighbours:
        """Nearly the k nearest rows of the index, nearest first, with their exact distances.

        Distances are those of `neighbours.nearest`; which rows are found is as good as the
        recall in the description says. Equal distances are ordered by row.

        Args:
            queries: Array (Q, F) float32.
            k: Neighbours of each query.
            own: Array (Q,) of the rows that the queries are themselves; none is found for itself.
            among: Array (N,) of the rows that may be found; None for all.

        Raises:
            InputError: If widths differ or there are fewer than k rows to find.
        """
        self._check(queries, k, own, among)
        parts = [
            self._nearest(queries[at], k, None if own is None else own[at], among)
            for at in _slices(len(queries), _QUERIES)
        ]
        return _stacked(parts, k)

    def nearest_of(
        self, rows: NDArray[np.int64], k: int, *, among: NDArray[np.bool_] | None = None
    ) -> Neighbours:
        """As `nearest` for rows of the index, each of which is left out of its own neighbours."""
        parts = [
            self.nearest(np.asarray(self.vectors[rows[at]]), k, own=rows[at], among=among)
            for at in _slices(len(rows), _QUERIES)
        ]
        return _stacked(parts, k)

    def farthest(
        self, queries: NDArray[np.float32], k: int, *, own: NDArray[np.int64] | None = None
    ) -> Neighbours:
        """The k farthest rows of the index, farthest first: exact, one pass over the vectors.

        Lists and graphs lead to near rows. The way round, farthest rows as those of the
        greatest inner product in one dimension more, is approximate at its best; a pass reads
        the vectors once for all queries, at the speed of memory or of the disk.

        Arguments and errors are those of `nearest`.
        """
        self._check(queries, k, own, None)
        return exact(self.vectors, queries, k, own=own, farthest=True)

    def _check(
        self,
        queries: NDArray[np.float32],
        k: int,
        own: NDArray[np.int64] | None,
        among: NDArray[np.bool_] | None,
    ) -> None:
        if queries.ndim != 2 or queries.shape[1] != self.vectors.shape[1]:
            raise InputError(
                f"{self.folder}: holds rows of {self.vectors.shape[1]} numbers, asked with "
                f"{queries.shape}; use the encoder that the index was made with"
            )
        pool = len(self) if among is None else int(among.sum())
        pool -= own is not None and (among is None or bool(among[own].any()))
        if pool < 1:
            raise InputError(f"{self.folder}: holds no other image to find")
        if not 1 <= k <= pool:
            raise InputError(f"k={k} neighbours but {pool} images to find; ask for 1 to {pool}")

    def _nearest(
        self,
        queries: NDArray[np.float32],
        k: int,
        own: NDArray[np.int64] | None,
        among: NDArray[np.bool_] | None,
    ) -> Neighbours:
        """The neighbours of a few queries."""
        count = min(len(self), 4 * (k + 1) + _SLACK[self.kind])
        query = np.ascontiguousarray(queries, dtype=np.float32)
        # TorchDR, among others, imports faiss's torch_utils, whose `search` takes no parameters.
        search = getattr(self.engine, "search_numpy", self.engine.search)
        _, rows = search(query, count, params=self._parameters(count, among))
        rows = np.sort(
            rows.astype(np.int64), axis=1
        )  # so that equal distances keep the rows' order
        wanted = rows >= 0
        if own is not None:
            wanted &= rows != own[:, None]
        squared = squared_distances(query, self.vectors, np.maximum(rows, 0))
        squared[~wanted] = np.inf
        order = np.argsort(squared, axis=1, kind="stable")[:, :k]
        found = Neighbours(
            np.take_along_axis(rows, order, axis=1),
            np.sqrt(np.take_along_axis(squared, order, axis=1)).astype(np.float32),
        )
        lacking = np.flatnonzero(wanted.sum(axis=1) < k)  # a corner that no link leads out of
        if len(lacking):
            mine = None if own is None else own[lacking]
            again = exact(self.vectors, query[lacking], k, own=mine, among=among)
            found.indices[lacking], found.distances[lacking] = again.indices, again.distances
        return found

    def _parameters(self, count: int, among: NDArray[np.bool_] | None) -> Any:
        """How faiss shall search for ``count`` candidates."""
        faiss = import_faiss()
        chosen: dict[str, Any] = {}
        effort = self.effort
        if among is not None:
            # The fewer rows count, the more must be looked at to meet as many that do.
            effort = min(len(self), int(effort * len(self) / max(1, among.sum())))
            chosen["sel"] = faiss.IDSelectorBitmap(np.packbits(among, bitorder="little"))
        if self.kind == "hnsw":
            return faiss.SearchParametersHNSW(efSearch=max(effort, count), **chosen)
        if self.kind == "ivfpq":
            return faiss.SearchParametersIVF(nprobe=effort, **chosen)
        return faiss.SearchParameters(**chosen)


def exact(
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    k: int,
    *,
    own: NDArray[np.int64] | None = None,
    among: NDArray[np.bool_] | None = None,
    farthest: bool = False,
) -> Neighbours:
    """The k nearest or farthest of ``vectors`` (N, F) to ``queries`` (Q, F): exact, in one pass."""
    sign = -1.0 if farthest else 1.0
    best = np.empty((len(queries), 0), np.int64)
    keys = np.empty((len(queries), 0), np.float32)
    for at in _slices(len(vectors), _ROWS):
        rows = np.arange(at.start, min(at.stop, len(vectors)))
        if among is not None:
            rows = rows[among[rows]]
        if len(rows) == 0:
            continue
        block = np.ascontiguousarray(vectors[at] if among is None else vectors[rows])
        count = min(len(rows), k + (own is not None))
        search = nearest if not farthest else lambda *args: nearest_and_farthest(*args)[1]
        found = search(queries, block, count)
        index, distances = rows[found.indices], sign * found.distances
        if own is not None:
            distances[index == own[:, None]] = np.inf
        best, keys = np.hstack([best, index]), np.hstack([keys, distances])
        order = np.lexsort((best, keys))[:, :k]  # equal distances by row
        best, keys = np.take_along_axis(best, order, 1), np.take_along_axis(keys, order, 1)
    return Neighbours(best, sign * keys)


def read_engine(path: Path, *, mapped: bool = True) -> Any:
    """The faiss index in a file; ``mapped``: left there, and read when a search needs it."""
    faiss = import_faiss()
    # Older faiss maps the lists of IVF alone and reads other kinds into memory.
    flags = getattr(faiss, "IO_FLAG_MMAP_IFC", faiss.IO_FLAG_MMAP) if mapped else 0
    try:
        return faiss.read_index(str(path), flags)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[-200:]
        raise InputError(f"{path}: faiss cannot read it ({reason}); build it again") from None


def import_faiss(what: str = "an index", instead: str = "") -> Any:
    """The module faiss, an optional one."""
    try:
        import faiss
    except ImportError:
        raise InputError(f"{what} needs faiss: pip install 'vicinal[faiss]'{instead}") from None
    faiss.omp_set_num_threads(cores.threads())
    return faiss


def neighbours_by(
    search: Search,
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    k: int,
    *,
    exclude_self: bool = False,
    device: str = "cpu",
) -> tuple[Neighbours, float]:
    """The k nearest rows by the named search, and the share of the true ones among them."""
    if search == "hnsw":
        import_faiss("neighbour search 'hnsw'", ", or use 'exact'")
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
    """Nearly the k nearest rows (N, F) to each query (Q, F) by HNSW, and the recall.

    Takes a copy of the gallery and about 150 bytes a row.
    """
    check_search(queries, gallery, k, exclude_self)
    engine, _ = _hnsw(gallery)
    add(engine, gallery)
    nameless = np.empty(0, np.str_)
    index = Index(Path(), "hnsw", nameless, gallery, EFFORTS["hnsw"][0], {}, engine)
    own = np.arange(len(queries)) if exclude_self else None
    found = index.nearest(queries, k, own=own)
    drawn = np.random.default_rng(seed).permutation(len(queries))[:checked]
    truth = exact(gallery, queries[drawn], k, own=None if own is None else own[drawn])
    return found, float((found.distances[drawn] <= truth.distances[:, -1:]).mean())


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _stacked(parts: Sequence[Neighbours], k: int) -> Neighbours:
    return Neighbours(
        np.concatenate([np.empty((0, k), np.int64), *(part.indices for part in parts)]),
        np.concatenate([np.empty((0, k), np.float32), *(part.distances for part in parts)]),
    )


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
    rows = np.sort(np.random.default_rng(SEED).permutation(count)[:drawn])
    engine.cp.seed = engine.pq.cp.seed = SEED + 1
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
