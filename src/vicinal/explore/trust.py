"""Which points of a map mislead: those whose neighbours there are none in truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vicinal.representations.neighbours import Neighbours

_RANDOM = 64  # pictures that a picture's usual distance is taken to
_BLOCK = 2048


def map_trust(
    array: NDArray[np.float32],
    points: NDArray[np.float32],
    near: Neighbours,
    *,
    seed: int = 0,
    held: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """How near a point's neighbours on the map are in truth, (N,) float32 from 0 to 1.

    1 where they are as near as the true neighbours are, 0 where they are no nearer than random
    pictures: (r − m) / (r − t) with m, t and r the mean representation distances to the k
    neighbours on the map, the k true ones and random pictures, clipped to 0 … 1. Where true
    neighbours are no nearer than random pictures, no map can mislead, and it is 1.

    Args:
        array: Representations (N, F) float32.
        points: The map (N, 2) float32.
        near: The k true neighbours of each picture.
        seed: Seed of the random pictures.
        held: What is known of this map (N,), NaN for new pictures: kept for those that have no new
            one among their neighbours on the map.
    """
    k = near.indices.shape[1]
    _, found = cKDTree(points).query(points, k=min(k + 1, len(points)))
    drawn = np.random.default_rng(seed).integers(len(array), size=(len(array), _RANDOM))
    trust = np.full(len(array), np.nan, np.float32) if held is None else held.copy()
    asked = np.flatnonzero(np.isnan(trust[found]).any(axis=1) | np.isnan(trust))
    for rows in np.split(asked, range(_BLOCK, len(asked), _BLOCK)):
        on_map = _mean_distance(array, rows, found[rows])
        random = _mean_distance(array, rows, drawn[rows])
        true = near.distances[rows].mean(axis=1, dtype=np.float64)
        apart = random - true
        share = (random - on_map) / np.where(apart > 0, apart, 1)
        trust[rows] = np.where(apart > 0, np.clip(share, 0, 1), 1)
    return trust


def _mean_distance(
    array: NDArray[np.float32], rows: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean L2 distance (B,) of each row to its others (B, K), itself left out."""
    sums = np.zeros(len(rows))
    for column in others.T:  # one neighbour at a time: (B, K, F) would be too much memory
        apart = array[rows] - array[column]
        sums += np.sqrt(np.einsum("bf,bf->b", apart, apart, dtype=np.float64))
    counted = (others != rows[:, None]).sum(axis=1)
    means: NDArray[np.float64] = sums / np.maximum(counted, 1)
    return means
