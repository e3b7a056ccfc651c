"""Anomaly detection: are images of another kind far from every training image?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.evaluations.score import Score
from vicinal.representations.neighbours import mean_distances
from vicinal.representations.representations import Representations

_CURVE_POINTS = 500  # as many as a chart can show


@dataclass(frozen=True, eq=False)
class MostAnomalous:
    """The images with the highest anomaly scores, the highest first.

    Attributes:
        anomalous: Array (M,) bool, whether the image is of the anomalous set.
        positions: Array (M,) int64, its position in its own set.
        ids: Array (M,) of strings.
        scores: Array (M,) float32.
        classes: The names of their classes; None for an image without a label.
    """

    anomalous: NDArray[np.bool_]
    positions: NDArray[np.int64]
    ids: NDArray[np.str_]
    scores: NDArray[np.float32]
    classes: tuple[str | None, ...]


@dataclass(frozen=True)
class ClassMean:
    """The mean anomaly score of a class of the anomalous set, and its number of images."""

    class_name: str
    mean: float
    n: int


@dataclass(frozen=True, eq=False)
class AnomalyResult:
    """How well the anomaly score tells anomalous images from normal ones.

    An anomaly is the positive class throughout, but in ``aupr_normal``.

    Attributes:
        auroc: Chance that an anomalous image scores above a normal one, with a 95 % bootstrap
            interval; a value below 0.5 is given as it is.
        fpr95: Share of the normal images flagged when 95 % of the anomalous ones are caught.
        aupr: Average precision with anomalies positive.
        aupr_normal: Average precision with normal images positive.
        false_positive_rate: Array (P,) float64, P ≤ 500, the ROC curve from 0 to 1: share of
            normal images flagged.
        true_positive_rate: Array (P,) float64, share of anomalous images caught.
        normal_scores: Array (N,) float32, anomaly scores of the normal set.
        anomalous_scores: Array (A,) float32, those of the anomalous set.
        most: The most anomalous of both sets.
        class_means: Mean score of each class of the anomalous set, highest first; empty
            without labels.
    """

    auroc: Score
    fpr95: Score
    aupr: Score
    aupr_normal: Score
    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    normal_scores: NDArray[np.float32]
    anomalous_scores: NDArray[np.float32]
    most: MostAnomalous
    class_means: tuple[ClassMean, ...]


def anomaly_scores(
    train: Representations,
    queries: Representations,
    *,
    k: int = 2,
    exclude_self: bool = False,
    normalise: bool = False,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Mean L2 distance (Q,) float32 to the k nearest training images; higher is stranger.

    Args:
        train: Normal images.
        queries: The images to score.
        k: Neighbours (2 as in Bergman et al. 2020, arXiv 2002.10445).
        exclude_self: The queries are the training images, and none is its own neighbour.
        normalise: Scale every representation to length 1 first.
        device: Where distances are computed, ``cpu`` or ``cuda``.

    Raises:
        InputError: If there are fewer than k training images.
    """
    return mean_distances(
        queries.array,
        train.array,
        k,
        exclude_self=exclude_self,
        normalise=normalise,
        device=device,
    ).astype(np.float32)


def detect(
    train: Representations,
    normal: Representations,
    anomalous: Representations,
    *,
    k: int = 2,
    most: int = 7,
    bootstrap: int = 1000,
    seed: int = 0,
    normalise: bool = False,
    device: str = "cpu",
) -> AnomalyResult:
    """Scores both test sets by `anomaly_scores` and measures how well that separates them.

    Args:
        train: Normal images, none of them in ``normal``.
        normal: Normal test images.
        anomalous: Anomalous test images.
        k: Neighbours whose mean distance is the score.
        most: How many of the most anomalous images to name.
        bootstrap: Resamples, within each set, behind the interval of the AUROC.
        seed: Seed of the resampling.
        normalise: Scale every representation to length 1 first.
        device: Where distances are computed, ``cpu`` or ``cuda``.

    Raises:
        InputError: If a set is empty, a number out of range or k above the training images.
    """
    if bootstrap < 1 or most < 0:
        raise InputError(
            f"anomalies: bootstrap={bootstrap} must be 1 or more, most={most} 0 or more"
        )
    if len(normal) == 0 or len(anomalous) == 0:
        raise InputError(
            f"anomalies: {len(normal)} normal and {len(anomalous)} anomalous test images, "
            "at least one of each is needed"
        )
    low = anomaly_scores(train, normal, k=k, normalise=normalise, device=device)
    high = anomaly_scores(train, anomalous, k=k, normalise=normalise, device=device)
    normals, anomalies = _counts(low, high)
    flagged, caught = _roc(normals, anomalies)
    total, share = len(low) + len(high), len(high) / (len(low) + len(high))
    precision = _average_precision(normals, anomalies)
    precision_normal = _average_precision(anomalies[::-1], normals[::-1])
    fpr95 = float(flagged[np.argmax(caught >= 0.95)])
    interval = _interval(normals, anomalies, bootstrap, seed)
    auroc = _auroc(normals, anomalies)
    false_positive_rate, true_positive_rate = _thinned(flagged, caught)
    return AnomalyResult(
        auroc=Score("auroc", auroc, 0.0, 1.0, "higher", 0.5, total, seed, interval),
        fpr95=Score("fpr95", fpr95, 0.0, 1.0, "lower", 0.95, total),
        aupr=Score("aupr", precision, 0.0, 1.0, "higher", share, total),
        aupr_normal=Score("aupr_normal", precision_normal, 0.0, 1.0, "higher", 1 - share, total),
        false_positive_rate=false_positive_rate,
        true_positive_rate=true_positive_rate,
        normal_scores=low,
        anomalous_scores=high,
        most=_most(normal, low, anomalous, high, most),
        class_means=_class_means(anomalous, high),
    )


def _counts(
    normal: NDArray[np.float32], anomalous: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many normal and how many anomalous images have each distinct score (U,), rising."""
    values, inverse = np.unique(np.concatenate([normal, anomalous]), return_inverse=True)
    size = len(values)
    return (
        np.bincount(inverse[: len(normal)], minlength=size),
        np.bincount(inverse[len(normal) :], minlength=size),
    )


def _auroc(normals: NDArray[np.int64], anomalies: NDArray[np.int64]) -> float:
    """P(anomalous > normal) + P(equal) / 2, from the counts of each score (U,), rising."""
    below = np.cumsum(normals) - normals / 2
    return float(anomalies @ below / (normals.sum() * anomalies.sum()))


def _interval(
    normals: NDArray[np.int64], anomalies: NDArray[np.int64], resamples: int, seed: int
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the AUROC, each set resampled by itself."""
    generator = np.random.default_rng(seed)
    count, positive = int(normals.sum()), int(anomalies.sum())
    # Of the normal images in rising order: how many score below each anomaly, how many no higher.
    bounds = np.concatenate([[0], np.cumsum(normals)])
    place = np.repeat(np.arange(len(anomalies)), anomalies)
    below, no_higher = bounds[place], bounds[place + 1]
    drawn = np.empty(resamples)
    for resample in range(resamples):
        normal = np.bincount(generator.integers(count, size=count), minlength=count)
        rank = np.concatenate([[0], np.cumsum(normal)])
        chosen = generator.integers(positive, size=positive)
        drawn[resample] = rank[below[chosen]].sum() + rank[no_higher[chosen]].sum()
    lower, upper = np.quantile(drawn / (2 * count * positive), [0.025, 0.975])
    return float(lower), float(upper)


def _roc(
    normals: NDArray[np.int64], anomalies: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False and true positive rates (U + 1,), from the highest threshold to the lowest."""
    flagged = np.concatenate([[0], np.cumsum(normals[::-1])])
    caught = np.concatenate([[0], np.cumsum(anomalies[::-1])])
    return flagged / flagged[-1], caught / caught[-1]


def _average_precision(negatives: NDArray[np.int64], positives: NDArray[np.int64]) -> float:
    """Σ (R_i − R_{i−1}) P_i over falling thresholds, from the counts of each score, rising."""
    found = np.cumsum(positives[::-1])
    precision = found / (found + np.cumsum(negatives[::-1]))
    return float(positives[::-1] @ precision / found[-1])


def _thinned(
    flagged: NDArray[np.float64], caught: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most 500 points of the curve, all of them its own, evenly along it, ends included."""
    across, up = np.diff(flagged), np.diff(caught)
    # A point between two pieces of the same direction draws nothing.
    corner = np.abs(across[:-1] * up[1:] - up[:-1] * across[1:]) > 1e-15
    kept = np.flatnonzero(np.concatenate([[True], corner, [True]]))
    along = flagged[kept] + caught[kept]
    if len(kept) > _CURVE_POINTS:
        kept = kept[np.unique(np.searchsorted(along, np.linspace(0, 2, _CURVE_POINTS)))]
    return flagged[kept], caught[kept]


def _most(
    normal: Representations,
    low: NDArray[np.float32],
    anomalous: Representations,
    high: NDArray[np.float32],
    count: int,
) -> MostAnomalous:
    """The ``count`` highest scores of both sets, equal ones in the sets' order."""
    scores = np.concatenate([low, high])
    top = np.argsort(-scores, kind="stable")[:count]
    is_anomalous = top >= len(low)
    positions = np.where(is_anomalous, top - len(low), top)
    sets = [anomalous if flag else normal for flag in is_anomalous]
    return MostAnomalous(
        anomalous=is_anomalous,
        positions=positions,
        ids=np.array([s.ids[p] for s, p in zip(sets, positions, strict=True)], dtype=np.str_),
        scores=scores[top],
        classes=tuple(
            None if s.labels is None else s.class_names[s.labels[p]]
            for s, p in zip(sets, positions, strict=True)
        ),
    )


def _class_means(images: Representations, scores: NDArray[np.float32]) -> tuple[ClassMean, ...]:
    """Mean score of each class that has images, highest first."""
    if images.labels is None:
        return ()
    means = [
        ClassMean(name, float(scores[own].mean(dtype=np.float64)), int(own.sum()))
        for number, name in enumerate(images.class_names)
        if (own := images.labels == number).any()
    ]
    return tuple(sorted(means, key=lambda entry: -entry.mean))
