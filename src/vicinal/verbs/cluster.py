"""cluster: the groups of a set, with the pictures that stand for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.evaluations.clusters import ClusterResult, cluster
from vicinal.representations.embeddings import Embeddings

MOST = 15
"""Clusters up to which the number is looked for where none is asked."""
_SAMPLE = 5_000  # pictures on which silhouettes are taken
_DRAWN = 10_000  # pictures on which numbers of clusters are compared
_REPRESENTATIVES = 5


@dataclass(frozen=True, eq=False)
class Grouped:
    """Clusters, the largest first.

    Attributes:
        assignment: Array (N,) int64, each picture's cluster.
        distances: Array (N,) float32, its L2 distance to the cluster's centroid.
        sizes: Array (K,) int64.
        representatives: For each cluster, rows of the pictures nearest to its centroid.
        silhouette: Mean silhouette, −1 to 1.
        tried: The silhouette of each number of clusters that was tried, of more than 10,000
            pictures on a seeded draw of so many.
    """

    assignment: NDArray[np.int64]
    distances: NDArray[np.float32]
    sizes: NDArray[np.int64]
    representatives: tuple[NDArray[np.int64], ...]
    silhouette: float
    tried: dict[int, float]

    def listed(self, embeddings: Embeddings) -> list[dict[str, Any]]:
        """Every picture as plain data, cluster by cluster, those nearest its centroid first."""
        return [
            {
                "cluster": int(self.assignment[row]),
                **embeddings.describe(row),
                "distance": float(self.distances[row]),
            }
            for row in np.lexsort((self.distances, self.assignment)).tolist()
        ]

    def to_json(self, embeddings: Embeddings) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "silhouette": self.silhouette,
            "tried": [{"clusters": k, "silhouette": value} for k, value in self.tried.items()],
            "clusters": [
                {
                    "cluster": number,
                    "size": int(self.sizes[number]),
                    "representatives": [embeddings.describe(row) for row in rows.tolist()],
                }
                for number, rows in enumerate(self.representatives)
            ],
            "pictures": self.listed(embeddings),
        }


@cores.shared()
def group(
    embeddings: Embeddings,
    clusters: int | None = None,
    *,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Grouped:
    """k-means, with the number of clusters given or chosen by the highest silhouette.

    Args:
        embeddings: The pictures.
        clusters: How many; None to try 2 to `MOST`, as far as there are distinct pictures.
        seed: Seed of the starts, of the draw that numbers of clusters are compared on and of
            the sample that silhouettes are taken on.
        progress: Called after each number of clusters with the share of the work it was.

    Raises:
        InputError: If there are fewer distinct pictures than clusters.
    """
    array = embeddings.array
    wanted = MOST if clusters is None else clusters
    few = len(array) <= 10 * wanted  # beyond, it is not worth the time to count
    distinct = len(np.unique(array, axis=0)) if few else len(array)
    if distinct < 2:
        raise InputError(f"{len(array)} pictures, all alike: there is nothing to group")
    if clusters is not None and not 2 <= clusters <= distinct:
        raise InputError(
            f"{option('clusters', clusters)}: give 2 to {distinct}, the number of distinct pictures"
        )
    if clusters is not None:
        found = cluster(array, k=clusters, seed=seed, silhouette_sample=_SAMPLE)
        return _ordered(array, found, {clusters: found.silhouette.value})
    drawn = array
    if len(array) > _DRAWN:
        drawn = array[np.sort(np.random.default_rng(seed).permutation(len(array))[:_DRAWN])]
        if (drawn == drawn[0]).all():  # all but a few are alike
            drawn = array
    numbers = range(2, min(MOST, distinct) + 1)
    tried: dict[int, ClusterResult] = {}
    for k in numbers:
        tried[k] = cluster(drawn, k=k, seed=seed, silhouette_sample=_SAMPLE)
        if progress is not None:
            progress(1 / len(numbers))
    best = max(tried, key=lambda k: tried[k].silhouette.value)
    found = tried[best]
    if drawn is not array:
        found = cluster(array, k=best, seed=seed, silhouette_sample=_SAMPLE)
    return _ordered(array, found, {k: one.silhouette.value for k, one in tried.items()})


def _ordered(array: NDArray[np.float32], found: ClusterResult, tried: dict[int, float]) -> Grouped:
    """The clusters renumbered by size, with their nearest pictures."""
    sizes = np.bincount(found.assignment, minlength=len(found.centroids))
    order = np.argsort(-sizes, kind="stable")
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    assignment = number[found.assignment]
    apart = array.astype(np.float64) - found.centroids[found.assignment]
    distances = np.sqrt(np.einsum("nf,nf->n", apart, apart)).astype(np.float32)
    near = np.lexsort((distances, assignment))
    ends = np.cumsum(sizes[order])
    starts = ends - sizes[order]
    return Grouped(
        assignment,
        distances,
        sizes[order],
        tuple(
            near[start : min(end, start + _REPRESENTATIVES)]
            for start, end in zip(starts, ends, strict=True)
        ),
        found.silhouette.value,
        tried,
    )
