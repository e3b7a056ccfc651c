"""How near two pictures must be to be taken for copies, whatever share of a set copies are.

Nearest distances cannot say it: the more copies, the more of those distances are to copies. What
can is how distances beyond them grow. About the k-th nearest picture, of all pairs of pictures a
share F(r) = F(v)·(r / v)ᵐ is at most r apart, where m is the dimension that the set has locally
(Levina & Bickel, NIPS 2004, take it from the same slope). Prolonged to small r, that gives the
pairs to be expected by chance; pairs beyond that number are copies. Of the distributions tried
(`tests/evaluations/test_duplicate_threshold.py`), F falls faster than so towards 0 where a set is
spread evenly, so that chance is rated too high and no picture is taken for another's copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

FEWEST = 10
"""Pictures below which distances say nothing."""
FALSE = 0.01
"""The share of the pairs found that may be there by chance."""
_LEAST = 0.1  # pairs by chance that are allowed even where few are found
_BEYOND = (32, 16, 8)  # neighbours that m is taken about: first beyond large groups of copies
_PASSES = 8  # at each of them; two or three are the rule
_ROWS, _COLUMNS = 1_000, 5_000  # of the distances that F is measured on, a seeded draw
_TIGHT = 1.5  # an m below which even distinct pictures lie in tight groups, or copies remain
_UNSURE = 0.05  # share of the pairs that may lie within a quarter of the threshold
_QUARTER = 1.25
_GAP = 1.5  # how many times as far as the pair before it one lies behind a gap


@dataclass(frozen=True)
class Threshold:
    """Up to which distance two pictures are taken for copies.

    Attributes:
        distance: L2; 0 where there are too few pictures to tell.
        by_chance: How many pairs so near are to be expected without any copy.
        typical: The median distance of a picture to its nearest other beyond ``distance``; None
            where none has one among those searched.
        quarter: The distance of which a quarter of all pairs of distinct pictures stay below.
        doubt: Why ``distance`` is not sure, as the end of a sentence; None where it is.
    """

    distance: float
    by_chance: float
    typical: float | None
    quarter: float
    doubt: str | None


def duplicate_threshold(
    array: NDArray[np.float32],
    indices: NDArray[np.int64],
    distances: NDArray[np.float32],
    *,
    seed: int = 0,
) -> Threshold:
    """Finds the greatest distance up to which at most 1 % of the pairs are there by chance.

    Pictures so near are then taken for one, and the rest is measured again, until nothing changes:
    so copies do not count in what they are held against. First m is taken between the 32 and the
    64 nearest, where up to some 30 copies of each picture matter little, then nearer, as far as
    that gives a greater distance.

    Args:
        array: Representations (N, F) float32, no two equal.
        indices: Array (N, k) int64, the nearest others of each, nearest first.
        distances: Array (N, k) float32, how far away they are.
        seed: Seed of the draw of pairs on which F is measured.
    """
    count = len(array)
    if count < FEWEST:
        return Threshold(0.0, 0.0, None, np.inf, None)
    ends, apart = _near_pairs(indices, distances)
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.permutation(count)[:_ROWS])
    columns = np.sort(generator.permutation(count)[:_COLUMNS])
    drawn = _distances(array[rows], array[columns])
    drawn[rows[:, None] == columns] = np.inf
    kept, threshold, chance, slope = np.arange(count), 0.0, 0.0, np.inf
    for k in _BEYOND:
        for _ in range(_PASSES):
            law = _law(drawn[np.isin(rows, kept)][:, np.isin(columns, kept)], len(kept), k)
            farther, expected = _most(law, apart, count)
            if farther > threshold:  # never back: copies would count again, and lower it further
                threshold, chance, slope = farther, expected, law.slope
            left = _representatives(ends[apart <= threshold], count)
            settled = len(left) == len(kept)
            kept = left
            if settled or len(kept) < FEWEST // 2:
                break
    threshold, chance = _within_gap(threshold, chance, slope, apart)
    beyond = np.where(distances > threshold, distances, np.inf).min(axis=1)
    known = beyond[np.isfinite(beyond)]
    near = int(((apart > threshold / _QUARTER) & (apart <= threshold * _QUARTER)).sum())
    doubt = None
    if law.slope < _TIGHT:
        doubt = "the pictures lie in tight groups, of copies or of kinds"
    elif near > max(1, _UNSURE * int((apart <= threshold).sum())):
        doubt = f"{near:,} pairs lie within a quarter of it"
    return Threshold(
        threshold,
        chance,
        float(np.median(known)) if len(known) else None,
        float(np.quantile(drawn[np.isfinite(drawn)], 0.25)),
        doubt,
    )


def _distances(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """All distances (R, C) between rows (R, F) and (C, F)."""
    centre = right.mean(axis=0, dtype=np.float64)
    one, other = left - centre, right - centre
    squares = np.einsum("rf,rf->r", one, one)[:, None] + np.einsum("cf,cf->c", other, other)
    squares -= 2 * one @ other.T
    found: NDArray[np.float32] = np.sqrt(np.maximum(squares, 0)).astype(np.float32)
    return found


@dataclass(frozen=True)
class _Law:
    """The share of all pairs that are at most r apart: ``share`` · (r / ``at``)^``slope``."""

    share: float
    at: float
    slope: float


def _law(drawn: NDArray[np.float32], count: int, k: int) -> _Law:
    """Of distances (R, C) between ``count`` pictures, about the k-th to the 2k-th nearest."""
    flat = drawn[np.isfinite(drawn)]
    share = min(k, (count - 1) / 4) / (count - 1)
    places = [min(len(flat) - 1, int(times * share * len(flat))) for times in (1, 2)]
    near, far = np.partition(flat, places)[places].astype(np.float64)
    grown = np.log(far / near) if 0 < near < far else 0.0
    return _Law(share, float(near), float(np.log(2) / max(grown, 1e-6)))


def _most(law: _Law, apart: NDArray[np.float64], count: int) -> tuple[float, float]:
    """The greatest distance with few pairs by chance, and how many those are.

    Args:
        law: How pairs by chance grow.
        apart: Array (P,), the distances of near pairs, rising.
        count: Pictures.
    """
    pairs = count * (count - 1) / 2 * law.share  # by chance at the distance ``law.at``
    chance = pairs * (apart / law.at) ** law.slope
    allowed = np.maximum(FALSE * np.arange(1, len(apart) + 1), _LEAST)
    good = np.flatnonzero((chance <= allowed) & (apart < law.at))
    found = int(good[-1]) + 1 if len(good) else 0
    most = max(FALSE * found, _LEAST)
    distance = law.at * min(1.0, (most / pairs) ** (1 / law.slope))
    return float(distance), min(most, pairs)


def _within_gap(
    distance: float, chance: float, slope: float, apart: NDArray[np.float64]
) -> tuple[float, float]:
    """The distance, moved into a gap if chance explains all pairs (P,) beyond that.

    Chance explains up to five times the pairs that are to be expected so near. Few copies far
    beyond the others are kept: there chance explains none.
    """
    found = apart[apart <= distance]
    if not len(found) or found[-1] <= 0:
        return distance, chance
    explained = int(5 * chance * (found[-1] / distance) ** slope)
    last = found[max(0, len(found) - explained - 1) :]
    gaps = np.flatnonzero(last[1:] > _GAP * last[:-1])
    if not len(gaps):
        return distance, chance
    middle = float(np.sqrt(last[gaps[0]] * last[gaps[0] + 1]))
    return middle, chance * (middle / distance) ** slope


def _near_pairs(
    indices: NDArray[np.int64], distances: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each pair of near pictures once, (P, 2), and how far apart (P,), rising."""
    count, k = indices.shape
    rows = np.repeat(np.arange(count), k)
    ends = np.sort(np.stack([rows, indices.ravel()], axis=1), axis=1)
    _, once = np.unique(ends[:, 0] * count + ends[:, 1], return_index=True)
    apart = distances.ravel()[once].astype(np.float64)
    order = np.argsort(apart, kind="stable")
    return ends[once][order], apart[order]


def _representatives(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The first picture of each group that pairs (P, 2) connect, of ``count`` pictures; rising."""
    edges = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, group = connected_components(edges, directed=False)
    return np.sort(np.unique(group, return_index=True)[1])
