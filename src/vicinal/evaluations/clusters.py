"""Clusters: what k-means finds, how tight it is, and whether classes agree with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from vicinal.errors import InputError
from vicinal.evaluations.arrays import checked
from vicinal.evaluations.score import Score

_BLOCK = 1024  # rows of distances held at a time


@dataclass(frozen=True, eq=False)
class ClusterResult:
    """k-means clusters of representations.

    Attributes:
        assignment: Array (N,) int64, the cluster of each image.
        centroids: Array (K, F) float32.
        silhouette: See `silhouette`.
        nmi: Normalised mutual information with the classes, 0 to 1; None without labels.
        ari: Adjusted Rand index with the classes, about 0 by chance, 1 at best; likewise.
        matched_accuracy: Share of images in the cluster matched to their class, under the
            best one-to-one matching (Kuhn 1955); likewise.
    """

    assignment: NDArray[np.int64]
    centroids: NDArray[np.float32]
    silhouette: Score
    nmi: Score | None
    ari: Score | None
    matched_accuracy: Score | None


def cluster(
    array: NDArray[np.float32],
    *,
    k: int = 10,
    seed: int = 0,
    labels: NDArray[np.int64] | None = None,
    starts: int = 5,
) -> ClusterResult:
    """k-means (scikit-learn's, k-means++ starts, the best of several) and its measures.

    Args:
        array: Representations (N, F) float32.
        k: Number of clusters, at least 2 and at most the number of distinct rows.
        seed: Seed of the starts.
        labels: Array (N,) int64, or None.
        starts: Starts, of which the tightest is kept.

    Raises:
        InputError: If there are fewer distinct representations than clusters.
    """
    checked(array, "clusters")
    distinct = len(np.unique(array, axis=0)) if len(array) <= 10 * k else len(array)
    if not 2 <= k <= distinct:
        raise InputError(
            f"{k} clusters need at least 2 and at most as many as distinct images, {distinct}; "
            f"use --set evaluation.clusters={max(2, min(k, distinct))}"
        )
    fitted = KMeans(k, n_init=starts, random_state=seed).fit(array)
    assignment = fitted.labels_.astype(np.int64)
    nmi = ari = matched = None
    if labels is not None:
        n = len(array)
        nmi = Score(
            "nmi", float(normalized_mutual_info_score(labels, assignment)), 0, 1, "higher", 0, n
        )
        ari = Score("ari", float(adjusted_rand_score(labels, assignment)), -0.5, 1, "higher", 0, n)
        matched = _matched(labels, assignment)
    centroids = fitted.cluster_centers_.astype(np.float32)
    return ClusterResult(assignment, centroids, silhouette(array, assignment), nmi, ari, matched)


def silhouette(array: NDArray[np.float32], assignment: NDArray[np.int64]) -> Score:
    """Mean silhouette (Rousseeuw 1987), exact, −1 to 1, in memory of a block of rows.

    (b − a) / max(a, b) a point, with a the mean distance to the others of its cluster and b
    the least mean distance to another cluster; 0 for a point alone in its cluster.

    Args:
        array: Representations (N, F) float32.
        assignment: Array (N,) int64.

    Raises:
        InputError: If fewer than two clusters have points.
    """
    names, members = np.unique(assignment, return_inverse=True)
    if len(names) < 2:
        raise InputError(
            f"a silhouette needs at least two clusters with points, found {len(names)}"
        )
    centred = array.astype(np.float64)
    points = torch.from_numpy((centred - centred.mean(axis=0)).astype(np.float32))
    which = torch.from_numpy(members.astype(np.int64))
    one_hot = torch.nn.functional.one_hot(which).float()
    sizes = one_hot.sum(dim=0).double()
    total = 0.0
    for start in range(0, len(points), _BLOCK):
        rows = slice(start, start + _BLOCK)
        # Direct differences where float32 products would cancel: torch decides by itself.
        distances = torch.cdist(points[rows], points)
        sums = (distances @ one_hot).double()
        own = which[rows, None]
        alone = sizes[own].squeeze(1) == 1
        inner = (sums.gather(1, own) / (sizes[own] - 1).clamp(min=1)).squeeze(1)
        means = sums / sizes
        outer = means.scatter(1, own, torch.inf).min(dim=1).values
        greatest = torch.maximum(inner, outer)
        values = torch.where(greatest > 0, (outer - inner) / greatest, torch.zeros_like(inner))
        total += float(torch.where(alone, torch.zeros_like(values), values).sum())
    value = total / len(points)
    return Score("silhouette", value, -1.0, 1.0, "higher", None, n=len(points))


def _matched(labels: NDArray[np.int64], assignment: NDArray[np.int64]) -> Score:
    """Accuracy under the best one-to-one naming; chance is an even share a cluster."""
    table = np.zeros((assignment.max() + 1, labels.max() + 1), np.int64)
    np.add.at(table, (assignment, labels), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    value = float(table[rows, columns].sum() / len(labels))
    chance = 1 / max(table.shape)
    return Score("matched_accuracy", value, 0.0, 1.0, "higher", chance, n=len(labels))
