"""The two maps of a set, and for each point whether its neighbours there mislead."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vicinal.evaluations.maps import pca_map, trustworthiness, tsne_map
from vicinal.explore.trust import map_trust
from vicinal.progress import counted
from vicinal.representations.neighbours import Neighbours

_FEWEST = 4  # pictures below which t-SNE has nothing to lay out
_SHARES = 1_000  # a bar's units


def lay_out(
    array: NDArray[np.float32], near: Neighbours
) -> tuple[dict[str, pa.Array], dict[str, Any]]:
    """Columns with both maps and their trust, and each map's figures.

    Args:
        array: Representations (N, F) float32, N ≥ 2.
        near: The true nearest neighbours of each.
    """
    linear = pca_map(array)
    maps = {"pca": linear.points}
    if len(array) >= _FEWEST:
        with counted("map", _SHARES, "‰") as advance:
            maps["tsne"] = tsne_map(array, progress=lambda share: advance(round(share * _SHARES)))
    figures: dict[str, Any] = {
        name: {"trustworthiness": map_trustworthiness(array, points)}
        for name, points in maps.items()
    }
    figures["pca"]["explained"] = linear.explained.tolist()
    return map_columns(maps, array, near), {"maps": figures}


def map_columns(
    maps: dict[str, NDArray[np.float32]],
    array: NDArray[np.float32],
    near: Neighbours,
    held: Mapping[str, NDArray[np.float32]] = MappingProxyType({}),
) -> dict[str, pa.Array]:
    """Each map's points and whether they mislead, as columns; nulls where t-SNE is absent.

    Args:
        maps: ``pca``, and ``tsne`` if there is one, each (N, 2) float32.
        array: Representations (N, F) float32, N ≥ 2.
        near: The true nearest neighbours of each.
        held: By map, the trust (N,) that is known, NaN for new pictures.
    """
    columns: dict[str, pa.Array] = {}
    for name, points in maps.items():
        columns[f"{name}_x"] = pa.array(points[:, 0])
        columns[f"{name}_y"] = pa.array(points[:, 1])
        columns[f"{name}_trust"] = pa.array(map_trust(array, points, near, held=held.get(name)))
    if "tsne" not in maps:
        for axis in ("x", "y", "trust"):
            columns[f"tsne_{axis}"] = pa.nulls(len(array), pa.float32())
    return columns


def map_trustworthiness(array: NDArray[np.float32], points: NDArray[np.float32]) -> float | None:
    """None where there are too few pictures for the measure."""
    return trustworthiness(array, points).value if len(array) >= _FEWEST else None
