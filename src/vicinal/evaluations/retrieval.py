"""Retrieval: which images are nearest to a query and which farthest, and are they of its class?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.evaluations.score import Score
from vicinal.representations.neighbours import Neighbours, nearest_and_farthest
from vicinal.representations.representations import Representations


@dataclass(frozen=True, eq=False)
class Retrieved:
    """One end of the ranking: the k nearest, or the k farthest, of the gallery.

    Attributes:
        indices: Array (S, k) int64 of rows of the gallery, for each shown query, the most
            extreme first.
        distances: Array (S, k) float32, L2.
        ids: Array (S, k) of strings, the ids of those rows.
        precision: Share of all queries' k images that have the query's class; None without
            labels.
        precision_per_class: Array (C,) float64, the same by the query's class, NaN for a class
            without queries; None without labels.
        hubness: Skewness of how often a gallery image is among some query's k.
    """

    indices: NDArray[np.int64]
    distances: NDArray[np.float32]
    ids: NDArray[np.str_]
    precision: Score | None
    precision_per_class: NDArray[np.float64] | None
    hubness: Score


@dataclass(frozen=True, eq=False)
class RetrievalResult:
    """What `retrieve` found.

    Attributes:
        shown: Array (S,) int64, positions of the shown queries.
        query_ids: Array (S,) of strings, their ids.
        nearest: The nearest images.
        farthest: The farthest images.
    """

    shown: NDArray[np.int64]
    query_ids: NDArray[np.str_]
    nearest: Retrieved
    farthest: Retrieved


def retrieve(
    queries: Representations,
    gallery: Representations,
    *,
    k: int = 5,
    shown: NDArray[np.int64],
    exclude_self: bool = False,
    device: str = "cpu",
) -> RetrievalResult:
    """Finds the k nearest and the k farthest gallery images of every query, by L2.

    Args:
        queries: The images searched for; all count in the scores.
        gallery: The images searched.
        k: Images at either end.
        shown: Array (S,) int64, positions in ``queries`` whose images are kept in the result.
        exclude_self: The queries are the gallery, and an image is not its own neighbour.
        device: Where distances are computed, ``cpu`` or ``cuda``.

    Raises:
        InputError: If the gallery has fewer than k images, or classes or features differ.
    """
    if len(queries) == 0:
        raise InputError("retrieval: there are no queries")
    labelled = queries.labels is not None and gallery.labels is not None
    if labelled and queries.class_names != gallery.class_names:
        raise InputError("retrieval: queries and gallery must have the same class names")
    near, far = nearest_and_farthest(
        queries.array, gallery.array, k, exclude_self=exclude_self, device=device
    )
    return RetrievalResult(
        shown=shown,
        query_ids=queries.ids[shown],
        nearest=_retrieved("nearest", near, queries, gallery, shown, exclude_self),
        farthest=_retrieved("farthest", far, queries, gallery, shown, exclude_self),
    )


def one_query_per_class(
    queries: Representations, *, seed: int = 0, n_without_labels: int = 10
) -> NDArray[np.int64]:
    """Draws positions of queries to show: one of each class, in the classes' order.

    Args:
        queries: The images to draw from; a class without any is left out.
        seed: Seed of the draw; the same images and seed give the same positions whatever the
            representations are.
        n_without_labels: How many to draw where there are no labels.
    """
    shuffled = np.random.default_rng(seed).permutation(len(queries))
    if queries.labels is None:
        return np.sort(shuffled[:n_without_labels])
    _, first = np.unique(queries.labels[shuffled], return_index=True)
    return shuffled[first]


def colour_gap(
    query_pixels: NDArray[np.uint8], other_pixels: NDArray[np.uint8]
) -> tuple[Score, Score]:
    """How far in colour the retrieved images are from their queries.

    An image's saturation and brightness are the means over its pixels of HSV's S and V,
    from 0 to 1; a grey pixel has saturation 0. The gap is the mean absolute difference
    between a query and each of its images.

    Args:
        query_pixels: Array (Q, H, W, C) uint8, C = 1 or 3.
        other_pixels: Array (Q, k, H, W, C) uint8, the images retrieved for each query.

    Returns:
        The gap in saturation and the gap in brightness; n counts the pairs.
    """
    pairs = other_pixels.shape[:2]
    if other_pixels.ndim != 5 or len(query_pixels) != pairs[0] or 0 in pairs:
        raise InputError(
            f"colour gap: queries {query_pixels.shape} need others (Q, k, H, W, C), "
            f"found {other_pixels.shape}"
        )
    gaps = np.zeros((len(query_pixels), pairs[1], 2))
    for row in range(len(query_pixels)):  # one at a time bounds the memory
        query = _saturation_and_brightness(query_pixels[row : row + 1])
        gaps[row] = np.abs(_saturation_and_brightness(other_pixels[row]) - query)
    saturation, brightness = gaps.mean(axis=(0, 1)).tolist()
    count = pairs[0] * pairs[1]
    return (
        Score("saturation_gap", saturation, 0.0, 1.0, "neither", None, count),
        Score("brightness_gap", brightness, 0.0, 1.0, "neither", None, count),
    )


def _retrieved(
    end: str,
    found: Neighbours,
    queries: Representations,
    gallery: Representations,
    shown: NDArray[np.int64],
    exclude_self: bool,
) -> Retrieved:
    """One end of the ranking with its scores."""
    precision, per_class = None, None
    if queries.labels is not None and gallery.labels is not None:
        same = (gallery.labels[found.indices] == queries.labels[:, None]).mean(axis=1)
        classes = len(queries.class_names)
        sizes = np.bincount(queries.labels, minlength=classes)
        sums = np.bincount(queries.labels, same, minlength=classes)
        per_class = np.divide(sums, sizes, out=np.full(classes, np.nan), where=sizes > 0)
        available = np.bincount(gallery.labels, minlength=classes)[queries.labels] - exclude_self
        precision = Score(
            name=f"{end}_precision_at_{found.indices.shape[1]}",
            value=float(same.mean()),
            low=0.0,
            high=1.0,
            better="higher" if end == "nearest" else "neither",
            chance=float(available.mean() / (len(gallery) - exclude_self)),
            n=len(queries),
        )
    return Retrieved(
        indices=found.indices[shown],
        distances=found.distances[shown],
        ids=gallery.ids[found.indices[shown]],
        precision=precision,
        precision_per_class=per_class,
        hubness=_hubness(end, found.indices, len(gallery), exclude_self),
    )


def _hubness(end: str, indices: NDArray[np.int64], gallery_size: int, exclude_self: bool) -> Score:
    """Skewness of the k-occurrence N_k (Radovanović et al., JMLR 2010, equation 1).

    A few images that are among everybody's k give a large positive skewness. Chance is that
    of k images drawn at random for each query, where N_k is binomial.
    """
    queries, k = indices.shape
    occurrence = np.bincount(indices.ravel(), minlength=gallery_size)
    deviation = occurrence - occurrence.mean()
    spread = deviation.std()
    share = k / (gallery_size - exclude_self)
    trials = queries - exclude_self
    chance_spread = np.sqrt(trials * share * (1 - share))
    return Score(
        name=f"{end}_hubness",
        value=float((deviation**3).mean() / spread**3) if spread > 0 else 0.0,
        low=None,
        high=None,
        better="lower",
        chance=float((1 - 2 * share) / chance_spread) if chance_spread > 0 else 0.0,
        n=gallery_size,
    )


def _saturation_and_brightness(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean S and V of HSV, (B, 2), of images (B, H, W, C)."""
    greatest = pixels.max(axis=-1).astype(np.float64)
    least = pixels.min(axis=-1)
    saturation = (greatest - least) / np.maximum(greatest, 1)  # black has none
    return np.stack([saturation.mean(axis=(1, 2)), greatest.mean(axis=(1, 2)) / 255], axis=1)
