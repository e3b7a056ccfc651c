"""Odd images: how far from all others, and how rarely a normal one is as far.

Bates, Candès, Lei, Romano, Sesia: Testing for outliers with conformal p-values, Annals of
Statistics 2023, arXiv 2104.08279. They hold where calibration images and new normal images are
drawn alike and none of them shaped the score: no image of theirs is in the bank of neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError, option
from vicinal.evaluations.probe import wilson_interval
from vicinal.evaluations.score import Score
from vicinal.representations.index import Index
from vicinal.representations.neighbours import Neighbours, mean_distances
from vicinal.representations.pairing import check_one_encoder
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
            s.describe(int(p)).get("label") or None for s, p in zip(sets, positions, strict=True)
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


def conformal_p_values(
    scores: NDArray[np.floating[Any]], calibration: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """(1 + #{calibration ≥ s}) / (n + 1) of each score s, between 1 / (n + 1) and 1.

    Args:
        scores: Array (Q,) of float, higher is stranger.
        calibration: Array (n,) of float, scores of held-out normal images.
    """
    below = np.searchsorted(np.sort(calibration), scores, side="left")
    p: NDArray[np.float64] = (1 + len(calibration) - below) / (len(calibration) + 1)
    return p


def conformal_threshold(calibration: NDArray[np.float32], rate: float) -> float:
    """The score above which p ≤ ``rate``: so many normal images, at most, are flagged by chance.

    Args:
        calibration: Array (n,) float32, scores of held-out normal images.
        rate: The false-alarm rate, between 0 and 1.

    Raises:
        InputError: If so few images cannot calibrate so low a rate.
    """
    n = len(calibration)
    if not 0 < rate < 1:
        raise InputError(
            f"{option('false_alarms', rate)}: give a rate between 0 and 1, such as 0.01"
        )
    rank = conformal_rank(n, rate)
    if rank > n:
        raise InputError(
            f"{option('false_alarms', rate)}: {n} calibration images cannot tell so low a rate; "
            "ask for "
            f"{1 / (n + 1):.2g} or more, or give more normal images"
        )
    return float(np.sort(calibration)[rank - 1])


def conformal_rank(n: int, rate: float) -> int:
    """⌈(1 − rate)(n + 1)⌉: which of n rising calibration scores is the threshold.

    Above n, so few scores cannot calibrate so low a rate.
    """
    return math.ceil((1 - rate) * (n + 1) - 1e-9)


_HELD_OUT = 0.4  # of a reference without parts: half calibrates, half measures
_SEED = 0


@dataclass(frozen=True, eq=False)
class Ranked:
    """Pictures by how odd they are.

    Attributes:
        scores: Array (N,) float32, mean distance to the k nearest normal pictures.
        p_values: Array (N,) float64, the share of normal pictures at least as odd.
        threshold: The score above which a picture is flagged.
        order: Array (N,) int64, rows from the oddest on.
        bank: How many normal pictures scores are distances to.
        calibration: How many others gave the p-values; 0 without a reference.
        measured: The share of further normal pictures that the threshold flags, with its 95 %
            interval and their number; None without a reference.
    """

    scores: NDArray[np.float32]
    p_values: NDArray[np.float64]
    threshold: float
    order: NDArray[np.int64]
    bank: int
    calibration: int
    measured: dict[str, Any] | None

    def listed(self, embeddings: Representations) -> list[dict[str, Any]]:
        """Every picture as plain data, the oddest first."""
        return [
            {
                "rank": rank,
                **embeddings.describe(row),
                "score": float(self.scores[row]),
                "p_value": float(self.p_values[row]),
                "flagged": bool(self.scores[row] > self.threshold),
            }
            for rank, row in enumerate(self.order.tolist(), 1)
        ]

    def to_json(self, embeddings: Representations) -> dict[str, Any]:
        """All of it as plain data."""
        listed = self.listed(embeddings)
        return {
            "threshold": self.threshold,
            "flagged": sum(picture["flagged"] for picture in listed),
            "bank": self.bank,
            "calibration": self.calibration,
            "measured": self.measured,
            "pictures": listed,
        }


@cores.shared()
def rank_anomalies(
    embeddings: Representations,
    reference: Representations | None = None,
    *,
    false_alarms: float = 0.01,
    k: int = 2,
    index: Index | None = None,
) -> Ranked:
    """Scores pictures by their distance to normal ones, and calibrates the score.

    The reference is parted: scores are distances to its bank, held-out pictures calibrate
    p-values and threshold, and further ones, which did neither, measure how many the threshold
    flags. Its own test part is held out if it has one, else a seeded 40 %. Without a reference
    each picture is held against all others of the set, left out by its row: the p-value is then
    its rank within the set, and the threshold flags that share of it, at most.

    Args:
        embeddings: The pictures to rank.
        reference: Normal pictures, none of them in the set.
        false_alarms: The share of normal pictures that may be flagged.
        k: Neighbours whose mean distance is the score.
        index: The index of the reference, or without one of the set, row for row; then the
            neighbours are nearly the nearest.

    Raises:
        InputError: If sets do not fit together or are too small for ``k`` or the rate.
    """
    if reference is None:
        return rank_within(_own_scores(embeddings, k, index), false_alarms=false_alarms)
    _check_apart(embeddings, reference)
    bank, calibration, further = _parted(reference)
    if index is None:
        everything = reference
        normal = everything.take(bank)
        held_out = anomaly_scores(normal, everything.take(calibration), k=k)
        judged = anomaly_scores(normal, everything.take(further), k=k)
        scores = anomaly_scores(normal, embeddings, k=k)
    else:
        among = np.zeros(len(index), dtype=np.bool_)
        among[bank] = True
        held_out = _means(index.nearest_of(calibration, k, among=among))
        judged = _means(index.nearest_of(further, k, among=among))
        scores = _means(index.nearest(embeddings.array, k, among=among))
    threshold = conformal_threshold(held_out, false_alarms)
    flagged = judged > threshold
    return Ranked(
        scores,
        conformal_p_values(scores, held_out),
        threshold,
        np.argsort(-scores, kind="stable"),
        len(bank),
        len(calibration),
        {
            "rate": float(flagged.mean()),
            "interval": wilson_interval(int(flagged.sum()), len(flagged)),
            "n": len(flagged),
        },
    )


def _own_scores(embeddings: Representations, k: int, index: Index | None) -> NDArray[np.float32]:
    """Scores (N,) of a set's pictures, each against all others."""
    if index is not None:
        return _means(index.nearest_of(np.arange(len(index)), k))
    own = embeddings
    return anomaly_scores(own, own, k=k, exclude_self=True)


def _means(found: Neighbours) -> NDArray[np.float32]:
    """The scores (Q,) of neighbours that an index found, as `anomaly_scores` has them."""
    means: NDArray[np.float64] = found.distances.mean(axis=1, dtype=np.float64)
    return means.astype(np.float32)


def rank_within(scores: NDArray[np.float32], *, false_alarms: float = 0.01) -> Ranked:
    """Ranks pictures by scores (N,) against all others; each score is among those that rank it.

    Raises:
        InputError: If the rate is not between 0 and 1.
    """
    n = len(scores)
    if not 0 < false_alarms < 1:
        raise InputError(f"{option('false_alarms', false_alarms)}: give a rate between 0 and 1")
    at_least = n - np.searchsorted(np.sort(scores), scores, side="left")
    most = min(n - 1, int(false_alarms * n + 1e-9))  # pictures that may be flagged
    threshold = float(np.sort(scores)[n - 1 - most])
    order = np.argsort(-scores, kind="stable")
    return Ranked(scores, at_least / n, threshold, order, n - 1, 0, None)


def rank_beside(
    scores: NDArray[np.float32], known: NDArray[np.bool_], *, false_alarms: float = 0.01
) -> Ranked:
    """Ranks known pictures among themselves as `rank_within`, and new ones against those.

    Args:
        scores: Array (N,) float32, distances to known pictures only.
        known: Array (N,) bool, which pictures are known, one at least.
        false_alarms: As in `rank_within`; the share of the known ones that may be flagged.
    """
    within = rank_within(scores[known], false_alarms=false_alarms)
    p_values = np.empty(len(scores))
    p_values[known] = within.p_values
    p_values[~known] = conformal_p_values(scores[~known], scores[known])
    order = np.argsort(-scores, kind="stable")
    return Ranked(scores, p_values, within.threshold, order, int(known.sum()), 0, None)


def _parted(
    reference: Representations,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the bank, of the calibration and of what measures."""
    shuffled = np.random.default_rng(_SEED).permutation(len(reference))
    if reference.splits is not None and {"train", "test"} <= set(reference.splits.tolist()):
        is_bank = reference.splits[shuffled] == "train"
        bank, held_out = shuffled[is_bank], shuffled[~is_bank]
    else:
        count = round(_HELD_OUT * len(shuffled))
        bank, held_out = shuffled[count:], shuffled[:count]
    half = len(held_out) // 2
    if half == 0:
        raise InputError(
            f"{option('reference')}: {len(reference)} normal pictures are too few to hold some "
            "out; "
            "give more, or leave the reference out"
        )
    return np.sort(bank), held_out[:half], held_out[half:]


def _check_apart(embeddings: Representations, reference: Representations) -> None:
    """Refuses pictures that are in both sets: a picture is no judge of itself."""
    check_one_encoder(embeddings, reference, ("the set", option("reference")))
    _, mine, theirs = np.intersect1d(
        embeddings.ids, reference.ids, assume_unique=True, return_indices=True
    )
    # Two folders may both have a 001.jpg; the same name with the same numbers is one picture.
    same = (embeddings.array[mine] == reference.array[theirs]).all(axis=1)
    if same.any():
        raise InputError(
            f"{option('reference')}: {int(same.sum())} pictures are in both sets, such as "
            f"{embeddings.ids[mine[same][0]]}; keep them in one, or leave the reference out"
        )
