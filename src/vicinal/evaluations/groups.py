"""Groups of a set at every level of a tree, and which level to show first."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_mutual_info_score, pairwise_distances_argmin

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.evaluations.clusters import silhouette
from vicinal.evaluations.same_picture import first_equal
from vicinal.evaluations.score import Answer
from vicinal.representations.neighbours import nearest
from vicinal.representations.representations import Representations

FINEST = 100
"""Groups at the finest level, where there are as many distinct images."""
DIMENSIONS = 64
"""Directions in which groups are looked for; more are left out, those of least variance."""
_SEEDS = 500  # k-means centres that the tree is built on, where there are more distinct images
_DRAWN = 10_000  # distinct images on which these centres are found
_STEPS = 20  # of k-means: centres are joined again, so they need not have settled
TRIED = (*range(2, 21), 22, 25, 28, 32, 36, 40, 45, 50, 60, 70, 80, 90, FINEST)
"""Numbers of groups that are compared."""
_COMPARED = 5_000  # images that levels are compared on
_NEIGHBOURS = 10
_HALVINGS = 2
MOST = 1_000
"""Groups that can be asked for."""
LEVELS = (2, 5, 10, 20, 50, 100)
"""Levels that files have a column of, besides the one that was chosen."""
_SAMPLE = 5_000  # pictures on which the silhouette is taken
_REPRESENTATIVES = 6


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

        Of images with equal representations the first in the group stands for all.

        Args:
            array: Representations (N, F) float32.
            most: Images a group.

        Returns:
            For each of the G groups, pairs of a level and rows, the nearest first; they hold
            until the level of the next pair.
        """
        found: list[list[tuple[int, NDArray[np.int64]]]] = [[] for _ in self.parents]
        first = first_equal(array)
        for count in range(1, len(self) + 1):
            assignment = self.level(count)
            changed = {count - 1, int(self.parents[count - 1])} - {-1}
            for group in sorted(changed):
                rows = np.flatnonzero(assignment == group)  # none where all have left the set
                nearest = np.argsort(distances_to_mean(array[rows]), kind="stable")
                once = np.sort(np.unique(first[rows[nearest]], return_index=True)[1])
                found[group].append((count, rows[nearest[once[:most]]]))
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
    groups = _merged(merges[:lower], len(centres))
    sizes = np.bincount(groups, weights, len(centres)).astype(np.float64)
    numbers, parents = _split(merges[lower:], sizes)
    added = np.concatenate([[0.0], saved[lower:][::-1]])
    return GroupTree(numbers[groups][nearest], parents, added, points[own])


def _distinct(
    array: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The first row of each distinct image, each image's place among those, and how often."""
    first = first_equal(array)
    rows = np.flatnonzero(first == np.arange(len(first)))
    own = np.searchsorted(rows, first)
    return rows, own, np.bincount(own)


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
        merged = (weights[a] + weights) * cost[a] + (weights[b] + weights) * cost[b]
        merged = (merged - weights * least) / (both + weights)
        alive[b] = False
        merged[[a, b]] = np.inf
        cost[a], cost[:, a] = merged, merged
        cost[b], cost[:, b] = np.inf, np.inf
        weights[a] = both
    order = np.argsort(costs, kind="stable")
    return np.array(merges, np.int64).reshape(-1, 2)[order], np.array(costs)[order]


def _merged(merges: NDArray[np.int64], count: int) -> NDArray[np.int64]:
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


def level_scores(tree: GroupTree, *, seed: int = 0) -> dict[int, float]:
    """How good each of some levels is: repeatability × modularity, 0 to 1, the highest best.

    Repeatability alone favours few groups, and modularity alone splits large ones: measured in
    ``benchmarks/grouping.py`` beside other rules.

    Args:
        tree: A tree of at least two groups.
        seed: Seed of a draw of 5,000 images, where there are more, and of the halves.

    Returns:
        The score by number of groups, for the numbers of `TRIED` that the tree and the halves
        of the images have; at least for 2.
    """
    drawn = np.arange(len(tree.finest))
    if len(drawn) > _COMPARED:
        drawn = np.sort(np.random.default_rng(seed).permutation(len(drawn))[:_COMPARED])
    points = tree.points[drawn]
    repeated = repeatability(points, seed=seed)
    counts = [count for count in TRIED if count <= len(tree) and count in repeated] or [2]
    near = nearest(points, points, min(_NEIGHBOURS, len(points) - 1), exclude_self=True).indices
    return {
        count: max(0.0, repeated.get(count, 0.0))
        * max(0.0, modularity(tree.level(count)[drawn], near))
        for count in counts
    }


def modularity(groups: NDArray[np.int64], near: NDArray[np.int64]) -> float:
    """Modularity of groups in the directed graph from each image to its nearest ones.

    The share of edges within groups, less that of random edges between the same ends (Newman
    and Girvan 2004; for directed graphs, Leicht and Newman 2008): 0 by chance, below 1 at best.

    Args:
        groups: Array (N,) int64.
        near: Array (N, K) int64, rows of each image's nearest.
    """
    ends = groups[near]
    leaving = np.bincount(groups) / groups.size
    arriving = np.bincount(ends.ravel(), minlength=len(leaving)) / ends.size
    return float((ends == groups[:, None]).mean() - leaving @ arriving)


def repeatability(points: NDArray[np.float32], *, seed: int = 0) -> dict[int, float]:
    """How alike the groups are that two halves of the images have, by number of groups.

    Each half has a tree of its own. The images of one half are put into the other half's groups
    by the nearest mean; that and their own groups are compared by adjusted mutual information
    (Vinh, Epps and Bailey, JMLR 2010): 0 by chance, 1 where they are the same. The mean over
    two halvings. After Tibshirani and Walther's prediction strength (2005), which takes the
    worst group's.

    Args:
        points: Representations (N, D) float32.
        seed: Seed of the halvings.

    Returns:
        For each number of `TRIED` that all halves have.
    """
    found: dict[int, list[float]] = {}
    for halving in range(_HALVINGS):
        order = np.random.default_rng([seed, halving]).permutation(len(points))
        middle = len(points) // 2
        if not middle:
            return {}
        one, other = points[order[:middle]], points[order[middle:]]
        tree_one, tree_other = grow_tree(one, seed=seed), grow_tree(other, seed=seed)
        for count in TRIED:
            if count > min(len(tree_one), len(tree_other)):
                break
            there = pairwise_distances_argmin(other, _means(one, tree_one.level(count)))
            same = adjusted_mutual_info_score(there, tree_other.level(count))
            found.setdefault(count, []).append(float(same))
    return {
        count: float(np.mean(values)) for count, values in found.items() if len(values) == _HALVINGS
    }


def _means(points: NDArray[np.float32], groups: NDArray[np.int64]) -> NDArray[np.float32]:
    """The mean (K, D) of each group."""
    sizes = np.bincount(groups)
    ordered = points[np.argsort(groups, kind="stable")]
    sums = np.add.reduceat(ordered, np.cumsum(sizes) - sizes, axis=0, dtype=np.float64)
    return (sums / sizes[:, None]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Grouped(Answer):
    """Groups at every level of a tree; ``cluster`` in files is the level that was chosen.

    Attributes:
        tree: The tree.
        typical: Of each of its groups, from which level on which rows are nearest to its mean.
        chosen: The number of groups that was asked for or chosen, K.
        tried: What the level was chosen by, for each number of groups, the highest best;
            empty where the number was asked for.
        assignment: Array (N,) int64, each picture's group at that level.
        distances: Array (N,) float32, its L2 distance to that group's mean.
        sizes: Array (K,) int64.
        silhouette: Mean silhouette of that level, −1 to 1, in the tree's points.
    """

    tree: GroupTree
    typical: list[list[tuple[int, NDArray[np.int64]]]]
    chosen: int
    tried: dict[int, float]
    assignment: NDArray[np.int64]
    distances: NDArray[np.float32]
    sizes: NDArray[np.int64]
    silhouette: float

    def representatives(self, group: int) -> NDArray[np.int64]:
        """Rows of the pictures nearest to a group's mean, at the chosen level."""
        return next(rows for level, rows in reversed(self.typical[group]) if level <= self.chosen)

    def by_size(self) -> list[int]:
        """The groups of the chosen level, the largest first."""
        order: list[int] = np.argsort(-self.sizes, kind="stable").tolist()
        return order

    def levels(self) -> dict[str, NDArray[np.int64]]:
        """Each picture's group (N,) at some levels, by the name of its column."""
        counts = [count for count in LEVELS if count <= len(self.tree)]
        return {f"cluster_{count}": self.tree.level(count) for count in counts}

    def header(self, pictures: Representations) -> list[str]:
        """Names of what `listed` says of a picture."""
        return ["cluster", *pictures.columns(), "distance", *self.levels()]

    def listed(self, pictures: Representations) -> list[dict[str, Any]]:
        """Every picture as plain data, group by group, those nearest its mean first."""
        levels = self.levels()
        return [
            {
                "cluster": int(self.assignment[row]),
                **pictures.describe(row),
                "distance": float(self.distances[row]),
                **{name: int(groups[row]) for name, groups in levels.items()},
            }
            for row in np.lexsort((self.distances, self.assignment)).tolist()
        ]

    def to_json(self, pictures: Representations) -> dict[str, Any]:
        """All of it as plain data."""
        labels = pictures.label_names
        return {
            "silhouette": self.silhouette,
            "tried": [{"clusters": k, "score": value} for k, value in self.tried.items()],
            "tree": {
                "parents": self.tree.parents.tolist(),
                "saved": self.tree.saved.tolist(),
            },
            "clusters": [
                {
                    "cluster": group,
                    "size": int(self.sizes[group]),
                    **commonest(labels, self.assignment == group),
                    "representatives": [
                        pictures.describe(row) for row in self.representatives(group).tolist()
                    ],
                }
                for group in self.by_size()
            ],
            "pictures": self.listed(pictures),
        }


def commonest(labels: NDArray[np.str_] | None, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """The commonest ``label`` of some pictures and its ``share`` of those that have one.

    Args:
        labels: Array (N,) of strings, empty for none; or None.
        rows: Array (N,) of which pictures.

    Returns:
        Both, or an empty dict where no picture has a label.
    """
    if labels is None:
        return {}
    counts = Counter(label for label in labels[rows].tolist() if label)
    if not counts:
        return {}
    label, count = counts.most_common(1)[0]
    return {"label": label, "share": count / counts.total()}


@cores.shared()
def group(embeddings: Representations, clusters: int | None = None, *, seed: int = 0) -> Grouped:
    """A tree of groups, with the level that is shown first given or chosen.

    Args:
        embeddings: The pictures.
        clusters: How many groups at that level; None to choose by `level_scores`.
        seed: Seed of the tree and of the draws that levels and silhouettes are taken on.

    Raises:
        InputError: If there are fewer distinct pictures than groups, or more than `MOST` groups
            are asked for.
    """
    embeddings = embeddings.as_compared()
    array = embeddings.array
    tree = grow_tree(array, finest=max(FINEST, min(clusters or 0, MOST)), seed=seed)
    if len(tree) < 2:
        raise InputError(f"{len(array)} pictures, all alike: there is nothing to group")
    if clusters is not None and not 2 <= clusters <= len(tree):
        most = f"{MOST:,}" if len(tree) >= MOST else str(len(tree))
        raise InputError(
            f"{option('clusters', clusters)}: give 2 to {most}, "
            "no more than there are distinct pictures"
        )
    tried = {} if clusters is not None else level_scores(tree, seed=seed)
    chosen = clusters or max(tried, key=lambda count: tried[count])
    return grouped(embeddings, tree, chosen, tried, seed=seed)


def grouped(
    embeddings: Representations,
    tree: GroupTree,
    chosen: int,
    tried: dict[int, float],
    *,
    seed: int = 0,
) -> Grouped:
    """The groups of a tree that is there, with the pictures that stand for each.

    Args:
        embeddings: The pictures.
        tree: Their tree.
        chosen: The level that is shown first.
        tried: What it was chosen by.
        seed: Seed of the draw that the silhouette is taken on.
    """
    array = embeddings.as_compared().array
    assignment = tree.level(chosen)
    distances = np.empty(len(array), np.float32)
    for number in np.unique(assignment):
        rows = np.flatnonzero(assignment == number)
        distances[rows] = distances_to_mean(array[rows])
    return Grouped(
        tree,
        tree.typical(array, _REPRESENTATIVES),
        chosen,
        tried,
        assignment,
        distances,
        np.bincount(assignment, minlength=chosen),
        silhouette(tree.points, assignment, sample=_SAMPLE, seed=seed).value,
    )
