"""duplicates: pictures that are the same, or nearly, in pairs and in groups."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vicinal.errors import InputError
from vicinal.representations.embeddings import Embeddings
from vicinal.representations.index import Index
from vicinal.representations.neighbours import Neighbours, nearest

_HALVINGS = 10  # one picture in 1,500 of an evenly spread set is taken for a duplicate
_FEWEST = 10  # distinct pictures below which quartiles say nothing
_FIRST = 8  # nearest others that every picture is asked for
_BLOCK = 16_384  # rows at a time

Search = Callable[[NDArray[np.int64], int, bool], Neighbours]
"""(positions among the distinct pictures, k, whether each leaves itself out) -> neighbours."""


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Near-identical pictures.

    Attributes:
        pairs: Array (P, 2) int64 of rows, the first below the second, the nearest pair first.
        distances: Array (P,) float64, their L2 distances; 0 exactly for identical rows.
        groups: Rows of each group of pictures that pairs connect, the largest group first.
        threshold: The greatest distance of a pair.
        typical: The median distance of a distinct picture to its nearest other; None where there
            are too few pictures to choose a threshold by.
    """

    pairs: NDArray[np.int64]
    distances: NDArray[np.float64]
    groups: tuple[NDArray[np.int64], ...]
    threshold: float
    typical: float | None

    def listed(self, embeddings: Embeddings) -> list[dict[str, Any]]:
        """Each pair as plain data."""
        number = {row: i for i, rows in enumerate(self.groups) for row in rows.tolist()}
        listed = []
        for (a, b), distance in zip(self.pairs.tolist(), self.distances.tolist(), strict=True):
            one, other = embeddings.describe(a), embeddings.describe(b)
            both = {f"{name}_a": text for name, text in one.items()}
            both |= {f"{name}_b": text for name, text in other.items()}
            listed.append({"group": number[a], "distance": distance, **both})
        return listed

    def to_json(self, embeddings: Embeddings) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "threshold": self.threshold,
            "median_nearest": self.typical,
            "pairs": self.listed(embeddings),
            "groups": [embeddings.ids[rows].tolist() for rows in self.groups],
        }


def find_duplicates(
    embeddings: Embeddings,
    threshold: float | None = None,
    index: Index | None = None,
    near: Neighbours | None = None,
) -> Duplicates:
    """Finds every pair of pictures whose representations lie within a threshold.

    Identical rows are told by equality, not by a rounded distance, and are always found. Of m
    identical rows the later ones are each paired with the first, which stands for all of them in
    pairs with others: m − 1 pairs instead of m (m − 1) / 2.

    Args:
        embeddings: The pictures.
        threshold: The greatest L2 distance of a pair; None for `default_threshold`.
        index: The index of the set, row for row; then nearly every pair of pictures that are not
            identical is found, as its recall says, and no pair that is none.
        near: The nearest others of each picture by the exact search, where they are known
            already: spares a search where no two pictures are identical.

    Raises:
        InputError: If the threshold is negative, or there are fewer than two pictures.
    """
    if len(embeddings) < 2:
        raise InputError(f"duplicates need at least 2 pictures, found {len(embeddings)}")
    if threshold is not None and not (np.isfinite(threshold) and threshold >= 0):
        raise InputError(f"--threshold {threshold:g}: give a distance of 0 or more")
    first = _first_equal(embeddings.array)
    distinct = np.flatnonzero(first == np.arange(len(first)))
    copies = np.flatnonzero(first != np.arange(len(first)))
    exact = np.stack([first[copies], copies], axis=1)
    search = (
        _exact_search(embeddings.array[distinct])
        if index is None
        else _index_search(index, distinct)
    )
    close, distances = np.empty((0, 2), np.int64), np.empty(0)
    typical = None
    if len(distinct) > 1 and threshold != 0:
        if near is None or len(copies):
            near = search(np.arange(len(distinct)), min(_FIRST, len(distinct) - 1), True)
        if threshold is None:
            threshold, typical = default_threshold(near.distances[:, 0])
        close, distances = _pairs_within(search, near, threshold)
    pairs = np.concatenate([exact, distinct[close]])
    lengths = np.concatenate([np.zeros(len(exact)), distances])
    threshold = threshold or 0.0
    order = np.lexsort((pairs[:, 1], pairs[:, 0], lengths))
    return Duplicates(pairs[order], lengths[order], _groups(pairs, len(first)), threshold, typical)


def _first_equal(array: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each row (N,) the first row that equals it, itself where none before does.

    Told by SHA-256, so that no more than a few rows are in memory at a time.
    """
    seen: dict[bytes, int] = {}
    first = np.empty(len(array), dtype=np.int64)
    for start in range(0, len(array), _BLOCK):
        # −0 becomes 0, so that equal rows have equal bytes
        block = np.ascontiguousarray(array[start : start + _BLOCK] + np.float32(0))
        for row, numbers in enumerate(block, start):
            first[row] = seen.setdefault(hashlib.sha256(numbers).digest(), row)
    return first


def _exact_search(distinct: NDArray[np.float32]) -> Search:
    """The exact search among distinct rows (N, F)."""

    def search(rows: NDArray[np.int64], k: int, exclude_self: bool) -> Neighbours:
        queries = distinct if len(rows) == len(distinct) else distinct[rows]
        return nearest(queries, distinct, k, exclude_self=exclude_self)

    return search


def _index_search(index: Index, distinct: NDArray[np.int64]) -> Search:
    """The index's search among its rows ``distinct`` (N,), which rise."""
    among = np.zeros(len(index), dtype=np.bool_)
    among[distinct] = True

    def search(rows: NDArray[np.int64], k: int, exclude_self: bool) -> Neighbours:
        others = index.nearest_of(distinct[rows], k if exclude_self else k - 1, among=among)
        found = Neighbours(np.searchsorted(distinct, others.indices), others.distances)
        if exclude_self:
            return found
        return Neighbours(
            np.hstack([rows[:, None], found.indices]),
            np.pad(found.distances, ((0, 0), (1, 0))),
        )

    return search


def default_threshold(apart: NDArray[np.float32]) -> tuple[float, float | None]:
    """A threshold from how far apart the pictures of this very set usually are.

    Where points lie locally even in m dimensions, a nearest neighbour is farther than r with
    probability exp(−c rᵐ). So the median and the third quartile of the nearest-neighbour
    distances are in the ratio 2^(1/m), which gives m, and the distance below which only
    ln 2 / 2¹⁰ (0.07 %) of all pictures would have a neighbour by chance is
    median · (median / third quartile)¹⁰, in any number of dimensions. Pairs nearer than that are
    too near for the set's own spread. It is at most half the median, for where all distances
    are alike the quartiles say little. Median and quartile are of distinct rows and stay what
    they are while less than half of those have a near-duplicate.

    Args:
        apart: Array (N,), the distance from each of N pictures to its nearest other, where
            no two are equal.

    Returns:
        The threshold and the median; 0 and None for fewer than 10 rows.
    """
    if len(apart) < _FEWEST:
        return 0.0, None
    middle, upper = np.quantile(apart.astype(np.float64), [0.5, 0.75])
    return float(middle * min(0.5, (middle / upper) ** _HALVINGS)), float(middle)


def _pairs_within(
    search: Search, near: Neighbours, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All pairs (P, 2) of rows at most ``threshold`` apart, and their distances (P,).

    Args:
        search: Search among the rows.
        near: The nearest others of every row.
        threshold: The greatest distance.
    """
    count = len(near.indices)
    rows = np.arange(count)
    found: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    while len(rows) and threshold > 0:
        k = near.indices.shape[1]
        within = near.distances <= threshold
        # A row whose k nearest all lie within may have more: it is asked again for more.
        more = within.all(axis=1) & (k < count)
        within[more] = False
        left = np.repeat(rows, within.sum(axis=1))
        right, distances = near.indices[within], near.distances[within].astype(np.float64)
        other = left != right  # of a second search each row itself is a part
        ends = np.stack([np.minimum(left, right), np.maximum(left, right)], axis=1)
        found.append((ends[other], distances[other]))
        rows = rows[more]
        if len(rows):
            near = search(rows, min(4 * k, count), False)
    pairs = np.concatenate([np.empty((0, 2), np.int64), *(pair for pair, _ in found)])
    lengths = np.concatenate([np.empty(0), *(distances for _, distances in found)])
    # An exact search sees each pair from both ends, an index perhaps from one.
    once = np.unique(pairs[:, 0] * count + pairs[:, 1], return_index=True)[1]
    return pairs[once], lengths[once]


def _groups(pairs: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], ...]:
    """Rows that pairs connect, directly or through others; the largest group first."""
    edges = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, component = connected_components(edges, directed=False)
    order = np.argsort(component, kind="stable")
    split = np.flatnonzero(np.diff(component[order])) + 1
    groups = [rows for rows in np.split(order, split) if len(rows) > 1]
    return tuple(sorted(groups, key=lambda rows: (-len(rows), int(rows[0]))))
