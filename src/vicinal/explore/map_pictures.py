"""The two maps of a set, and for each point whether its neighbours there mislead."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vicinal.evaluations.maps import pca_map, trustworthiness, tsne_map
from vicinal.explore.stage_results import StageResult
from vicinal.progress import counted
from vicinal.representations.neighbours import Neighbours

_FEWEST = 4  # pictures below which t-SNE has nothing to lay out
_SHARES = 1_000  # a bar's units


def map_pictures(array: NDArray[np.float32], near: Neighbours) -> StageResult:
    """Columns with both maps and their trust, and the figures ``maps``.

    Args:
        array: Representations (N, F) float32, N ≥ 2.
        near: The true nearest neighbours of each.
    """
    linear = pca_map(array)
    maps = {"pca": linear.points}
    if len(array) >= _FEWEST:
        with counted("map", _SHARES, "‰") as advance:
            maps["tsne"] = tsne_map(array, progress=lambda share: advance(round(share * _SHARES)))
    return map_columns(maps, array, near), map_figures(maps, array, linear.explained.tolist())


def map_figures(
    maps: Mapping[str, NDArray[np.float32]], array: NDArray[np.float32], explained: list[float]
) -> dict[str, Any]:
    """The figures ``maps``: of each the trustworthiness, of PCA the variance ``explained``."""
    figures: dict[str, Any] = {
        name: {
            # None where there are too few pictures for the measure
            "trustworthiness": trustworthiness(array, points).value
            if len(array) >= _FEWEST
            else None
        }
        for name, points in maps.items()
    }
    figures["pca"]["explained"] = explained
    return {"maps": figures}


def map_columns(
    maps: dict[str, NDArray[np.float32]],
    array: NDArray[np.float32],
    near: Neighbours,
    known_trust: Mapping[str, NDArray[np.float32]] = MappingProxyType({}),
) -> dict[str, pa.Array]:
    """Each map's points and whether they mislead, as columns; nulls where t-SNE is absent.

    Args:
        maps: ``pca``, and ``tsne`` if there is one, each (N, 2) float32.
        array: Representations (N, F) float32, N ≥ 2.
        near: The true nearest neighbours of each.
        known_trust: By map, the trust (N,) that is known, NaN for new pictures.
    """
    columns: dict[str, pa.Array] = {}
    for name, points in maps.items():
        columns[f"{name}_x"] = pa.array(points[:, 0])
        columns[f"{name}_y"] = pa.array(points[:, 1])
        trust = map_trust(array, points, near, known=known_trust.get(name))
        columns[f"{name}_trust"] = pa.array(trust)
    if "tsne" not in maps:
        for axis in ("x", "y", "trust"):
            columns[f"tsne_{axis}"] = pa.nulls(len(array), pa.float32())
    return columns


_RANDOM = 64  # pictures that a picture's usual distance is taken to
_BLOCK = 2048


def map_trust(
    array: NDArray[np.float32],
    points: NDArray[np.float32],
    near: Neighbours,
    *,
    seed: int = 0,
    known: NDArray[np.float32] | None = None,
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
        known: The trust (N,) that is known, NaN for new pictures: kept for those that have no new
            one among their neighbours on the map.
    """
    k = near.indices.shape[1]
    _, found = cKDTree(points).query(points, k=min(k + 1, len(points)))
    drawn = np.random.default_rng(seed).integers(len(array), size=(len(array), _RANDOM))
    trust = np.full(len(array), np.nan, np.float32) if known is None else known.copy()
    unknown = np.flatnonzero(np.isnan(trust[found]).any(axis=1) | np.isnan(trust))
    for rows in np.split(unknown, range(_BLOCK, len(unknown), _BLOCK)):
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
