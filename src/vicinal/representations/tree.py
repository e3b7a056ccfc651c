"""A tree of groups: from two to a hundred, each group of a coarser level split in a finer one."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances_argmin

FINEST = 100
"""Groups at the finest level, where there are as many distinct images."""
DIMENSIONS = 64
"""Directions in which groups are looked for; more are left out, those of least variance."""
_SEEDS = 500  # k-means centres that the tree is built on, where there are more distinct images
_DRAWN = 10_000  # distinct images on which these centres are found
_STEPS = 20  # of k-means: centres are joined again, so they need not have settled


@dataclass(frozen=True, eq=False)
class GroupTree:
    """Groups by level: level K has the groups 0 to K - 1.

    From one level to the next a group is split: its larger part keeps its number, the other
    part gets the next number.

    Attributes:
        finest: Array (N,) int64, each image's group at the finest level, 0 to G - 1.
        parents: Array (G,) int64, the group that each group was split from, a smaller number;
            -1 for group 0.
        saved: Array (G,) float64, by how much the split that made a group lowered the sum of
            squared distances to the groups' means; 0 for group 0.
        points: Array (N, D) float32, the images as the groups were found in them.
    """

    finest: NDArray[np.int64]
    parents: NDArray[np.int64]
    saved: NDArray[np.float64]
    points: NDArray[np.float32]

    def __len__(self) -> int:
        """Groups at the finest level."""
        return len(self.parents)

    def numbers(self, count: int) -> NDArray[np.int64]:
        """Array (G,) int64: the group at level ``count`` that each finest group lies in."""
        found = np.arange(len(self))
        for group in range(count, len(self)):
            found[group] = found[self.parents[group]]
        return found

    def level(self, count: int) -> NDArray[np.int64]:
        """Array (N,) int64: each image's group at level ``count``, 1 to G."""
        assignment: NDArray[np.int64] = self.numbers(count)[self.finest]
        return assignment

    def typical(
        self, array: NDArray[np.float32], most: int
    ) -> list[list[tuple[int, NDArray[np.int64]]]]:
        """For each group, from which level on which images are nearest to its mean.

        Args:
            array: Representations (N, F) float32.
            most: Images a group.

        Returns:
            For each of the G groups, pairs of a level and rows, the nearest first; they hold
            until the level of the next pair.
        """
        found: list[list[tuple[int, NDArray[np.int64]]]] = [[] for _ in self.parents]
        for count in range(1, len(self) + 1):
            assignment = self.level(count)
            changed = {count - 1, int(self.parents[count - 1])} - {-1}
            for group in sorted(changed):
                rows = np.flatnonzero(assignment == group)  # none where all have left the set
                apart = distances_to_mean(array[rows])
                found[group].append((count, rows[np.argsort(apart, kind="stable")[:most]]))
        return found


def distances_to_mean(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """L2 distances (N,) float32 of images (N, F) to their mean."""
    if not len(array):
        return np.empty(0, np.float32)
    apart = array - array.mean(axis=0, dtype=np.float64).astype(np.float32)
    squares: NDArray[np.float64] = np.einsum("nf,nf->n", apart, apart, dtype=np.float64)
    return np.sqrt(squares).astype(np.float32)


def grow_tree(array: NDArray[np.float32], *, finest: int = FINEST, seed: int = 0) -> GroupTree:
    """Ward's tree (1963), on 500 centres of k-means where there are more images than that.

    For more than 250 groups there are twice as many centres as groups.

    Ward joins the two groups whose union adds least to the sum of squared distances to the
    groups' means: |A|·|B| / (|A| + |B|) · ‖mean A − mean B‖², so a centre counts as many times
    as it has images. The distances are those of the 64 directions of most variance (all, where
    there are no more), found by a randomised SVD (Halko et al. 2011).

    Args:
        array: Representations (N, F) float32, at least 1.
        finest: Groups at the finest level, at most as many as there are distinct images.
        seed: Seed of the SVD, of the draw of 10,000 that centres are found on, of k-means.
    """
    first, own, counts = _distinct(array)
    points = reduced(array[first], seed)
    centres, nearest = _centres(points, counts, max(_SEEDS, 2 * finest), seed)
    nearest = nearest[own]
    weights = np.bincount(nearest).astype(np.float64)
    merges, saved = _ward(centres.astype(np.float64), weights)
    finest = min(finest, len(centres))
    lower = len(centres) - finest
    groups = _joined(merges[:lower], len(centres))
    sizes = np.bincount(groups, weights, len(centres)).astype(np.float64)
    numbers, parents = _split(merges[lower:], sizes)
    added = np.concatenate([[0.0], saved[lower:][::-1]])
    return GroupTree(numbers[groups][nearest], parents, added, points[own])


def _distinct(
    array: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The first row of each distinct image, each image's place among those, and how often."""
    rows = np.ascontiguousarray(array + np.float32(0))  # no negative zeros: bytes are compared
    whole = rows.view(f"V{rows.shape[1] * rows.itemsize}").ravel()
    _, first, own, counts = np.unique(
        whole, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(first)  # in the images' order
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order], place[own], counts[order]


def reduced(array: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Images (N, F) float32 in their `DIMENSIONS` directions of most variance, (N, D) float32."""
    centred: NDArray[np.float32] = array - array.mean(axis=0, dtype=np.float64).astype(np.float32)
    if min(centred.shape) <= DIMENSIONS:
        return centred
    svd = PCA(DIMENSIONS, svd_solver="randomized", iterated_power=3, random_state=seed)
    found: NDArray[np.float32] = svd.fit_transform(centred).astype(np.float32)
    return found


def _centres(
    points: NDArray[np.float32], counts: NDArray[np.int64], most: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """At most so many centres (M, D), and the nearest (N,) to each point."""
    if len(points) <= most:
        return points, np.arange(len(points))
    drawn = np.arange(len(points))
    if len(points) > max(_DRAWN, most):
        drawn = np.random.default_rng(seed).permutation(len(points))[: max(_DRAWN, most)]
    kmeans = KMeans(most, n_init=1, max_iter=_STEPS, random_state=seed)
    kmeans.fit(points[drawn], sample_weight=counts[drawn])
    used, nearest = np.unique(
        pairwise_distances_argmin(points, kmeans.cluster_centers_), return_inverse=True
    )
    sums = np.zeros((len(used), points.shape[1]))
    np.add.at(sums, nearest, points * counts[:, None])
    centres = sums / np.bincount(nearest, counts)[:, None]
    return centres.astype(np.float32), nearest


def _ward(
    centres: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ward's merges (M - 1, 2) of weighted points (M, D) by rising cost, and their costs.

    Of a pair, the second joins the first, which stands for both from then on. Found by chains
    of nearest neighbours (Murtagh 1983), updated by Lance and Williams' formula; SciPy's has
    no weights.
    """
    weights = weights.copy()
    squares = (centres**2).sum(axis=1)
    cost = np.maximum(squares[:, None] + squares - 2 * centres @ centres.T, 0)
    cost *= weights[:, None] * weights / (weights[:, None] + weights)
    np.fill_diagonal(cost, np.inf)
    merges, costs = [], []
    chain: list[int] = []
    alive = np.ones(len(centres), dtype=bool)
    for _ in range(len(centres) - 1):
        chain = chain or [int(alive.argmax())]
        while True:
            row = cost[chain[-1]]
            near = int(row.argmin())
            if len(chain) > 1 and row[chain[-2]] <= row[near]:
                break
            chain.append(near)
        a, b = chain.pop(), chain.pop()
        least = cost[a, b]
        merges.append((a, b))
        costs.append(least)
        both = weights[a] + weights[b]
        joined = (weights[a] + weights) * cost[a] + (weights[b] + weights) * cost[b]
        joined = (joined - weights * least) / (both + weights)
        alive[b] = False
        joined[[a, b]] = np.inf
        cost[a], cost[:, a] = joined, joined
        cost[b], cost[:, b] = np.inf, np.inf
        weights[a] = both
    order = np.argsort(costs, kind="stable")
    return np.array(merges, np.int64).reshape(-1, 2)[order], np.array(costs)[order]


def _joined(merges: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Which point (M,) stands for each after some merges."""
    stands = np.arange(count)
    for a, b in merges.tolist():
        stands[stands == b] = a
    return stands


def _split(
    merges: NDArray[np.int64], sizes: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers (M,) of the groups that merges join, and parents (G,), as `GroupTree` has them."""
    sizes = sizes.copy()
    halves = []
    for a, b in merges.tolist():
        halves.append((a, b, sizes[a] >= sizes[b]))
        sizes[a] += sizes[b]
    numbers = np.zeros(len(sizes), np.int64)
    parents = np.full(len(merges) + 1, -1, np.int64)
    for (a, b, first), number in zip(reversed(halves), itertools.count(1)):
        parents[number] = numbers[a]
        numbers[b] = numbers[a]
        numbers[b if first else a] = number
    return numbers, parents
