"""Clusters: what k-means finds, how tight it is, and whether classes agree with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from torch import Tensor

from vicinal.errors import InputError, option
from vicinal.evaluations.on_gpu import distance_sums, lloyd
from vicinal.evaluations.score import Score, checked

_TILE = 1024  # rows and columns of distances held at a time: near the processor, 4 MB
_SCREEN = 10_000  # points on which k-means' starts are compared


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
    silhouette_sample: int = 0,
    device: str = "cpu",
) -> ClusterResult:
    """k-means (scikit-learn's on the CPU, k-means++ starts, the best of several) and its measures.

    Of more than 10,000 points the starts run on a seeded draw of so many, and the tightest of
    them goes on with all.

    Args:
        array: Representations (N, F) float32.
        k: Number of clusters, at least 2 and at most the number of distinct rows.
        seed: Seed of the starts.
        labels: Array (N,) int64, or None.
        starts: Starts, of which the tightest is kept.
        silhouette_sample: As ``sample`` of `silhouette`.
        device: ``cpu``, or ``cuda`` for `lloyd` from starts of the same kind, other random numbers.

    Raises:
        InputError: If there are fewer distinct representations than clusters.
    """
    checked(array, "clusters")
    distinct = len(np.unique(array, axis=0)) if len(array) <= 10 * k else len(array)
    if not 2 <= k <= distinct:
        fit = max(2, min(k, distinct))
        raise InputError(
            f"{k} clusters need at least 2 and at most as many as distinct images, {distinct}; "
            f"use {option('k', fit, f'--set evaluation.clusters={fit}')}"
        )
    if device == "cpu":
        fitted = _fitted(array, k, starts, seed)
        assignment, centroids = fitted.labels_.astype(np.int64), fitted.cluster_centers_
    else:
        assignment, centroids = _fitted_on(device, array, k, starts, seed)
    nmi = ari = matched = None
    if labels is not None:
        n = len(array)
        nmi = Score(
            "nmi", float(normalized_mutual_info_score(labels, assignment)), 0, 1, "higher", 0, n
        )
        ari = Score("ari", float(adjusted_rand_score(labels, assignment)), -0.5, 1, "higher", 0, n)
        matched = _matched(labels, assignment)
    tightness = silhouette(array, assignment, sample=silhouette_sample, seed=seed, device=device)
    return ClusterResult(assignment, centroids.astype(np.float32), tightness, nmi, ari, matched)


def _fitted(array: NDArray[np.float32], k: int, starts: int, seed: int) -> KMeans:
    """k-means from the best of several starts."""
    if len(array) <= _SCREEN or k > _SCREEN // 10:
        return KMeans(k, n_init=starts, random_state=seed).fit(array)
    drawn = np.random.default_rng(seed).permutation(len(array))[:_SCREEN]
    best = KMeans(k, n_init=starts, random_state=seed).fit(array[drawn])
    return KMeans(k, init=best.cluster_centers_, n_init=1, random_state=seed).fit(array)


def _fitted_on(
    device: str, array: NDArray[np.float32], k: int, starts: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The same on a device: the assignment (N,) and the centroids (K, F)."""
    points = torch.tensor(array, device=device)
    screen = array
    if len(array) > _SCREEN and k <= _SCREEN // 10:
        screen = array[np.random.default_rng(seed).permutation(len(array))[:_SCREEN]]
    screened = torch.tensor(screen, device=device)
    found = []
    for start in range(starts):
        centres, _ = kmeans_plusplus(screen, k, random_state=seed + start)
        found.append(lloyd(screened, torch.from_numpy(centres).to(points)))
    best = min(found, key=lambda one: one.inertia)
    if len(screen) < len(array):
        best = lloyd(points, best.centres)
    return best.assignment.cpu().numpy(), best.centres.cpu().numpy()


def silhouette(
    array: NDArray[np.float32],
    assignment: NDArray[np.int64],
    *,
    sample: int = 0,
    seed: int = 0,
    device: str = "cpu",
) -> Score:
    """Mean silhouette (Rousseeuw 1987), −1 to 1, in memory of N × K and a tile of distances.

    (b − a) / max(a, b) a point, with a the mean distance to the others of its cluster and b
    the least mean distance to another cluster; 0 for a point alone in its cluster.

    All points take O(N²) time. A sample of S points takes O(S·N): each is held against all
    points, so its value is the exact one and the mean over the sample is unbiased.

    Args:
        array: Representations (N, F) float32.
        assignment: Array (N,) int64.
        sample: How many points to take the mean of, a seeded draw; 0, or N and more, for all.
        seed: Seed of the draw.
        device: Where distances are computed, ``cpu`` or ``cuda``.

    Returns:
        The mean, its n the points it is of. Of a sample, the interval is ± 1.96 standard errors
        s / √S · √(1 − S/N), with s the sample's standard deviation.

    Raises:
        InputError: If fewer than two clusters have points, or the sample is a single point.
    """
    names, members, sizes = np.unique(assignment, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise InputError(
            f"a silhouette needs at least two clusters with points, found {len(names)}"
        )
    if sample < 0 or sample == 1:
        raise InputError(f"a silhouette's sample={sample} must be 0 (all points) or at least 2")
    count = len(array)
    whole = not 0 < sample < count
    order = np.argsort(members, kind="stable")
    drawn = np.arange(count)
    if not whole:
        drawn = np.sort(np.random.default_rng(seed).permutation(count)[:sample])
    if device == "cpu":
        sums = _summed_distances(array[order], np.cumsum(sizes), drawn)
    else:
        sums = distance_sums(torch.tensor(array[order], device=device), sizes, drawn).cpu()
    values = _silhouettes(sums, torch.from_numpy(members[order][drawn]), torch.from_numpy(sizes))
    mean = float(values.mean())
    if whole:
        return Score("silhouette", mean, -1.0, 1.0, "higher", None, n=count)
    error = float(values.std() * np.sqrt((1 - sample / count) / sample))
    interval = (max(-1.0, mean - 1.96 * error), min(1.0, mean + 1.96 * error))
    return Score("silhouette", mean, -1.0, 1.0, "higher", None, sample, seed, interval)


def _silhouettes(sums: Tensor, own: Tensor, sizes: Tensor) -> Tensor:
    """Each point's silhouette (S,) from its summed distances (S, K), its cluster and all sizes."""
    own = own[:, None]
    inner = (sums.gather(1, own) / (sizes[own] - 1).clamp(min=1)).squeeze(1)
    outer = (sums / sizes).scatter(1, own, torch.inf).min(dim=1).values
    greatest = torch.maximum(inner, outer)
    counts = (greatest > 0) & (sizes[own].squeeze(1) > 1)
    return torch.where(counts, (outer - inner) / greatest, 0.0)


def _summed_distances(
    points: NDArray[np.float32], ends: NDArray[np.int64], drawn: NDArray[np.int64]
) -> Tensor:
    """Sums (S, K) float64 of the distances from drawn points to the points of each cluster.

    Args:
        points: Array (N, F) float32, ordered by cluster.
        ends: Array (K,) int64, where each cluster ends.
        drawn: Array (S,) int64, rising positions; where they are all, each distance is
            computed once and counts for both its ends.
    """
    count = len(points)
    mirrored = len(drawn) == count
    rows, columns = _factors(points)
    rows = rows[torch.from_numpy(drawn)]
    starts = np.concatenate([[0], ends[:-1]])
    sums = torch.zeros(len(drawn), len(ends), dtype=torch.float64)
    buffer = torch.empty(_TILE * _TILE)
    for left in range(0, count, _TILE):
        right = min(left + _TILE, count)
        across = _pieces(starts, ends, left, right)
        for top in range(0, right if mirrored else len(drawn), _TILE):
            bottom = min(top + _TILE, len(drawn))
            tile = buffer[: (bottom - top) * (right - left)].view(bottom - top, right - left)
            torch.mm(rows[top:bottom], columns[:, left:right], out=tile)
            tile.clamp_(min=0).sqrt_()
            itself = np.flatnonzero((drawn[top:bottom] >= left) & (drawn[top:bottom] < right))
            tile[itself, drawn[top:bottom][itself] - left] = 0  # rounding leaves a little
            for cluster_, start, stop in across:
                sums[top:bottom, cluster_] += tile[:, start:stop].sum(dim=1)
            if mirrored and top != left:
                for cluster_, start, stop in _pieces(starts, ends, top, bottom):
                    sums[left:right, cluster_] += tile[start:stop].sum(dim=0)
    return sums


def _factors(points: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Two matrices (N, F + 2) and (F + 2, N) whose product is all squared distances.

    ‖x − y‖² = ‖x‖² + ‖y‖² − 2 x·y, after moving the points to their mean, for the norms'
    rounding counts in the distances.
    """
    centre = points.mean(axis=0, dtype=np.float64)
    centred = torch.from_numpy((points - centre).astype(np.float32))
    squares = centred.square().sum(dim=1, keepdim=True)
    ones = torch.ones_like(squares)
    rows = torch.cat([centred * -2, squares, ones], dim=1)
    return rows, torch.cat([centred, ones, squares], dim=1).T


def _pieces(
    starts: NDArray[np.int64], ends: NDArray[np.int64], left: int, right: int
) -> list[tuple[int, int, int]]:
    """The clusters that have points from ``left`` to ``right``, and where, from ``left``."""
    first, last = np.searchsorted(ends, [left, right - 1], side="right")
    return [
        (k, max(int(starts[k]), left) - left, min(int(ends[k]), right) - left)
        for k in range(first, last + 1)
    ]


def _matched(labels: NDArray[np.int64], assignment: NDArray[np.int64]) -> Score:
    """Accuracy under the best one-to-one naming; chance is an even share a cluster."""
    table = np.zeros((assignment.max() + 1, labels.max() + 1), np.int64)
    np.add.at(table, (assignment, labels), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    value = float(table[rows, columns].sum() / len(labels))
    chance = 1 / max(table.shape)
    return Score("matched_accuracy", value, 0.0, 1.0, "higher", chance, n=len(labels))
