"""Neighbours of a set some of whose rows were searched before: only the others are searched."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vicinal.representations.distances import BLOCK, rough_float64, squared_distances
from vicinal.representations.neighbours import Neighbours, nearest_and_farthest

_SPARE = 8  # candidates beyond k, so that rounding hides none


def updated_neighbours(
    array: NDArray[np.float32],
    origin: NDArray[np.int64],
    near: Neighbours,
    far: Neighbours,
    k: tuple[int, int],
) -> tuple[Neighbours, Neighbours]:
    """The nearest and the farthest other rows of each, as a search of all among all finds them.

    A row that was there is compared with the new ones; its list is merged with those, by float64
    distances. New rows are searched among all, and so are those whose lists lost a row.

    Args:
        array: Array (N, F) float32.
        origin: Array (N,) int64, each row's place in the set that was searched; -1 for a new one.
        near: What was found there: as many nearest others as ``k`` says, or all there were.
        far: The same of the farthest.
        k: How many nearest and how many farthest, each from 1 to N - 1.
    """
    new, old = np.flatnonzero(origin < 0), np.flatnonzero(origin >= 0)
    place = np.full(len(near.indices), -1)
    place[origin[old]] = old
    lists = [place[each.indices[origin[old]]] for each in (near, far)]
    whole = (np.hstack(lists) >= 0).all(axis=1)
    rows, kept = np.concatenate([new, old[~whole]]), old[whole]
    results = [
        Neighbours(np.empty((len(array), n), np.int64), np.empty((len(array), n), np.float32))
        for n in k
    ]
    if len(rows):
        searched = nearest_and_farthest(array[rows], array, min(max(k) + 1, len(array)))
        for result, found in zip(results, searched, strict=True):
            _merge(array, rows, found.indices, result, farthest=result is results[1])
    held = [
        Neighbours(each[whole], earlier.distances[origin[kept]])
        for each, earlier in zip(lists, (near, far), strict=True)
    ]
    centre = array.mean(axis=0, dtype=np.float64)
    step = max(1, BLOCK // (4 * max(len(new), array.shape[1])))
    for start in range(0, len(kept), step):
        part = slice(start, start + step)
        rough, error = rough_float64(array[kept[part]] - centre, array[new], centre)
        for result, earlier in zip(results, held, strict=True):
            one = Neighbours(earlier.indices[part], earlier.distances[part])
            farthest = result is results[1]
            _join(array, kept[part], one, new, rough, error, result, farthest=farthest)
    return results[0], results[1]


def _join(
    array: NDArray[np.float32],
    rows: NDArray[np.int64],
    held: Neighbours,
    new: NDArray[np.int64],
    rough: NDArray[np.float64],
    error: NDArray[np.float64],
    result: Neighbours,
    *,
    farthest: bool,
) -> None:
    """Fills the lists of ``rows`` (B,) from those held and from squared distances (B, M) to new."""
    k = result.indices.shape[1]
    short = held.indices.shape[1] < k  # there were no more
    if not short:
        result.indices[rows] = held.indices[:, :k]
        result.distances[rows] = held.distances[:, :k]
    keys = -rough if farthest else rough
    nearest_new = np.argsort(keys, axis=1, kind="stable")[:, : k + _SPARE]
    last = np.square(held.distances[:, -1].astype(np.float64))  # as it was rounded to float32
    limit = (-last * (1 - 1e-6) if farthest else last * (1 + 1e-6)) + error
    enters = np.take_along_axis(keys, nearest_new, axis=1) <= limit[:, None]
    enters |= short
    some = np.flatnonzero(enters.any(axis=1) | short)
    # A row itself fills up the candidates: it is no neighbour of its own.
    added = np.where(enters[some], new[nearest_new[some]], rows[some, None])
    candidates = np.hstack([held.indices[some], added])
    _merge(array, rows[some], candidates, result, farthest=farthest)


def _merge(
    array: NDArray[np.float32],
    rows: NDArray[np.int64],
    candidates: NDArray[np.int64],
    result: Neighbours,
    *,
    farthest: bool,
) -> None:
    """Fills the lists of ``rows`` (B,) with the best of their candidates (B, m), none of itself."""
    k = result.indices.shape[1]
    index = np.sort(candidates, axis=1)
    keys = squared_distances(array[rows], array, index)
    keys = np.where(index == rows[:, None], np.inf, -keys if farthest else keys)
    order = np.argsort(keys, axis=1, kind="stable")[:, :k]  # stable: ties by index
    result.indices[rows] = np.take_along_axis(index, order, axis=1)
    result.distances[rows] = np.sqrt(np.abs(np.take_along_axis(keys, order, axis=1)))
