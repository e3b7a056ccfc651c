"""Which level of a tree of groups to show first, found without labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score, pairwise_distances_argmin

from vicinal.representations.neighbours import nearest
from vicinal.representations.tree import FINEST, GroupTree, grow_tree

TRIED = (*range(2, 21), 22, 25, 28, 32, 36, 40, 45, 50, 60, 70, 80, 90, FINEST)
"""Numbers of groups that are compared."""
_DRAWN = 5_000  # images that levels are compared on
_NEIGHBOURS = 10
_HALVINGS = 2


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
    if len(drawn) > _DRAWN:
        drawn = np.sort(np.random.default_rng(seed).permutation(len(drawn))[:_DRAWN])
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
