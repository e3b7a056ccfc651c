"""duplicates: pictures that are the same, or nearly, in pairs and in groups."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.evaluations.duplicate_threshold import duplicate_threshold
from vicinal.evaluations.same_picture import contrast, most_different, others, same
from vicinal.representations.embeddings import Embeddings
from vicinal.representations.index import Index
from vicinal.representations.neighbours import Neighbours, nearest

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
        threshold: The greatest distance of a pair; pairs beyond are the same by their pixels.
        typical: The median distance of a distinct picture to its nearest other that is no
            duplicate of it; None where there are too few pictures to choose a threshold by, or
            one was given.
        doubt: Why a chosen threshold is not sure, as the end of a sentence; None where it is, or
            was given, or where pixels decided.
    """

    pairs: NDArray[np.int64]
    distances: NDArray[np.float64]
    groups: tuple[NDArray[np.int64], ...]
    threshold: float
    typical: float | None = None
    doubt: str | None = None

    def warning(self) -> str | None:
        """One line where the threshold is not sure."""
        if self.doubt is None:
            return None
        return f"the threshold, {self.threshold:.4g}, is not sure: {self.doubt}; look at the pairs"

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
            "warning": self.warning(),
            "pairs": self.listed(embeddings),
            "groups": [embeddings.ids[rows].tolist() for rows in self.groups],
        }


@cores.shared()
def find_duplicates(
    embeddings: Embeddings,
    threshold: float | None = None,
    index: Index | None = None,
    near: Neighbours | None = None,
    small: NDArray[np.float32] | None = None,
) -> Duplicates:
    """Finds every pair of pictures whose representations lie within a threshold.

    A threshold that is chosen does not depend on how many pictures have copies, nor on how many
    each has, up to some 30; at most 1 % of its pairs are expected by chance: see
    `vicinal.evaluations.duplicate_threshold`. Pixels, where given, have the last word: pairs whose
    pixels are the same are found as well unless they lie as far apart as random pictures may, and
    pairs whose pixels are not alike are left out.

    Identical rows are told by equality, not by a rounded distance, and are always found. Of m
    identical rows the later ones are each paired with the first, which stands for all of them in
    pairs with others: m − 1 pairs instead of m (m − 1) / 2.

    Args:
        embeddings: The pictures.
        threshold: The greatest L2 distance of a pair, whatever the pixels say; None to choose one.
        index: The index of the set, row for row; then nearly every pair of pictures that are not
            identical is found, as its recall says, and no pair that is none.
        near: The nearest others of each picture by the exact search, where they are known
            already: spares a search where no two pictures are identical.
        small: Array (N, 8, 8, C) float32, the pictures as `made_small` has them, or None.

    Raises:
        InputError: If the threshold is negative, or there are fewer than two pictures.
    """
    if len(embeddings) < 2:
        raise InputError(f"duplicates need at least 2 pictures, found {len(embeddings)}")
    if threshold is not None and not (np.isfinite(threshold) and threshold >= 0):
        raise InputError(f"{option('threshold', threshold)}: give a distance of 0 or more")
    first = _first_equal(embeddings.array)
    distinct = np.flatnonzero(first == np.arange(len(first)))
    copies = np.flatnonzero(first != np.arange(len(first)))
    exact = np.stack([first[copies], copies], axis=1)
    array = embeddings.array[distinct] if len(copies) else embeddings.array
    search = _exact_search(array) if index is None else _index_search(index, distinct)
    close, distances, chosen = np.empty((0, 2), np.int64), np.empty(0), None
    if len(distinct) > 1 and threshold != 0:
        if near is None or len(copies):
            near = search(np.arange(len(distinct)), min(_FIRST, len(distinct) - 1), True)
        if threshold is None:
            chosen = duplicate_threshold(
                array, near.indices[:, :_FIRST], near.distances[:, :_FIRST]
            )
            threshold = chosen.distance
        close, distances = _pairs_within(search, near, threshold)
        if chosen is not None and small is not None:
            close, distances = _by_pixels(array, small[distinct], close, distances, chosen.quarter)
            chosen = replace(chosen, doubt=None)
    pairs = np.concatenate([exact, distinct[close]])
    lengths = np.concatenate([np.zeros(len(exact)), distances])
    order = np.lexsort((pairs[:, 1], pairs[:, 0], lengths))
    found = Duplicates(pairs[order], lengths[order], _groups(pairs, len(first)), threshold or 0.0)
    return found if chosen is None else replace(found, typical=chosen.typical, doubt=chosen.doubt)


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


def _pairs_within(
    search: Search, near: Neighbours, threshold: float | NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All pairs (P, 2) of rows at most ``threshold`` from one of them, and their distances (P,).

    Args:
        search: Search among the rows.
        near: The nearest others of every row.
        threshold: The greatest distance, of all rows or of each (N,).
    """
    count = len(near.indices)
    rows = np.arange(count)
    limits = np.broadcast_to(threshold, count)
    found: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    while len(rows) and limits.any():
        k = near.indices.shape[1]
        within = near.distances <= limits[rows, None]
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


def _by_pixels(
    array: NDArray[np.float32],
    small: NDArray[np.float32],
    close: NDArray[np.int64],
    distances: NDArray[np.float64],
    farthest: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs (P, 2) after the pixels were asked, and their distances (P,).

    Args:
        array: Representations (N, F) float32.
        small: The pictures (N, 8, 8, C) float32.
        close: Pairs (P, 2) by the representations.
        distances: Array (P,), how far apart those are.
        farthest: The distance beyond which pixels alone make no pair.
    """
    kept = ~others(small, close)
    alike = _alike(small)
    apart = np.empty(len(alike))
    for start in range(0, len(alike), _BLOCK):
        left, right = alike[start : start + _BLOCK].T
        between = array[left].astype(np.float64) - array[right]
        apart[start : start + _BLOCK] = np.sqrt(np.einsum("pf,pf->p", between, between))
    both = np.concatenate([close[kept], alike[apart <= farthest]])
    lengths = np.concatenate([distances[kept], apart[apart <= farthest]])
    once = np.unique(both[:, 0] * len(array) + both[:, 1], return_index=True)[1]
    return both[once], lengths[once]


def _alike(small: NDArray[np.float32]) -> NDArray[np.int64]:
    """All pairs (P, 2) of pictures (N, 8, 8, C) whose pixels are the same."""
    flat = small.reshape(len(small), -1)
    contrasts = contrast(small)
    scale = np.float32(np.sqrt(flat.shape[1]))  # from a root mean square to an L2 distance
    # Both of a pair may differ by the geometric mean of what each may; so one is within its own.
    reach = most_different(contrasts) * scale
    search = _exact_search(flat)
    near = search(np.arange(len(flat)), min(_FIRST, len(flat) - 1), True)
    pairs, lengths = _pairs_within(search, near, reach)
    return pairs[same(lengths.astype(np.float32) / scale, contrasts[pairs])]


def _groups(pairs: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], ...]:
    """Rows that pairs connect, directly or through others; the largest group first."""
    edges = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, component = connected_components(edges, directed=False)
    order = np.argsort(component, kind="stable")
    split = np.flatnonzero(np.diff(component[order])) + 1
    groups = [rows for rows in np.split(order, split) if len(rows) > 1]
    return tuple(sorted(groups, key=lambda rows: (-len(rows), int(rows[0]))))
