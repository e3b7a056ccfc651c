"""Pictures that are the same, or nearly, in pairs and in groups.

Nearest distances cannot say it: the more copies, the more of those distances are to copies. What
can is how distances beyond them grow. About the k-th nearest picture, of all pairs of pictures a
share F(r) = F(v)·(r / v)ᵐ is at most r apart, where m is the dimension that the set has locally
(Levina & Bickel, NIPS 2004, take it from the same slope). Prolonged to small r, that gives the
pairs to be expected by chance; pairs beyond that number are copies. Of the distributions tried
(`tests/evaluations/test_duplicate_threshold.py`), F falls faster than so towards 0 where a set is
spread evenly, so that chance is rated too high and no picture is taken for another's copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import euclidean_distances

from vicinal import cores
from vicinal.errors import InputError, number_of, option, readable
from vicinal.evaluations.families import connected, split
from vicinal.evaluations.same_picture import (
    KnownPairs,
    SamePictures,
    first_equal,
    same_pictures,
)
from vicinal.evaluations.score import Answer
from vicinal.representations.index import Index
from vicinal.representations.neighbours import Neighbours, nearest, squared_distances
from vicinal.representations.representations import Representations

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
_FIRST = 8  # nearest others that every picture is asked for
Search = Callable[[NDArray[np.int64], int, bool], Neighbours]
"""(positions among the distinct pictures, k, whether each leaves itself out) -> neighbours."""


@dataclass(frozen=True)
class Threshold:
    """Up to which distance two pictures are taken for copies.

    Attributes:
        distance: L2; 0 where there are too few pictures to tell.
        by_chance: How many pairs so near are to be expected without any copy.
        typical: The median distance of a picture to its nearest other beyond ``distance``; None
            where none has one among those searched.
        doubt: Why ``distance`` is not sure, as the end of a sentence; None where it is.
    """

    distance: float
    by_chance: float
    typical: float | None
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
        return Threshold(0.0, 0.0, None, None)
    ends, apart = _near_pairs(indices, distances)
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.permutation(count)[:_ROWS])
    columns = np.sort(generator.permutation(count)[:_COLUMNS])
    centre = array[columns].mean(axis=0, dtype=np.float64)  # smaller norms round less
    ends_of_drawn = (array[rows] - centre, array[columns] - centre)
    drawn = euclidean_distances(*ends_of_drawn).astype(np.float32)
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
        doubt,
    )


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
    return np.sort(np.unique(connected(pairs, count), return_index=True)[1])


@dataclass(frozen=True, eq=False)
class Duplicates(Answer):
    """Near-identical pictures.

    Attributes:
        pairs: Array (P, 2) int64 of rows, the first below the second, the nearest pair first.
        distances: Array (P,) float64, their L2 distances; 0 exactly for identical rows.
        groups: Rows of each group of pictures that pairs connect, the largest group first.
        threshold: The greatest distance of a pair; pairs beyond are the same by their pixels.
        typical: The median distance of a distinct picture to its nearest other that is no
            duplicate of it; None where there are too few pictures to choose a threshold by, or
            one was given.
        doubt: Why it is not sure what a copy is, as the end of a sentence; None where it is, or
            a threshold was given.
        by_pixels: Whether pixels decided, and not a threshold.
        compared: What the pixels said, for a later search of these pictures and more; None where
            they were not asked.
    """

    pairs: NDArray[np.int64]
    distances: NDArray[np.float64]
    groups: tuple[NDArray[np.int64], ...]
    threshold: float
    typical: float | None = None
    doubt: str | None = None
    by_pixels: bool = False
    compared: KnownPairs | None = None

    def warning(self) -> str | None:
        """One line where it is not sure what a copy is."""
        if self.doubt is None:
            return None
        if self.by_pixels:
            return f"{self.doubt}; look at the pairs"
        return readable(
            f"the threshold, {self.threshold:.4g}, is not sure: {self.doubt}; look at the pairs, "
            f"and choose one by {option('threshold')}"
        )

    def summary(self) -> list[str]:
        """What was found, in a line."""
        usual = "" if self.typical is None else f"; to the nearest it is usually {self.typical:.4g}"
        how = "the same by their pixels, seen at 32×32"
        if not self.by_pixels:
            how = f"at most {self.threshold:.4g} apart{usual}"
        pairs, groups = number_of(len(self.pairs), "pair"), number_of(len(self.groups), "group")
        return [f"{pairs} in {groups}, {how}"]

    def header(self, pictures: Representations) -> list[str]:
        """The names that `listed` gives."""
        names = pictures.columns()
        return ["group", "distance", *(f"{name}_{end}" for end in "ab" for name in names)]

    def listed(self, pictures: Representations) -> list[dict[str, Any]]:
        """Each pair as plain data."""
        number = {row: i for i, rows in enumerate(self.groups) for row in rows.tolist()}
        listed = []
        for (a, b), distance in zip(self.pairs.tolist(), self.distances.tolist(), strict=True):
            one, other = pictures.describe(a), pictures.describe(b)
            both = {f"{name}_a": text for name, text in one.items()}
            both |= {f"{name}_b": text for name, text in other.items()}
            listed.append({"group": number[a], "distance": distance, **both})
        return listed

    def to_json(self, pictures: Representations) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "threshold": self.threshold,
            "median_nearest": self.typical,
            "warning": self.warning(),
            "pairs": self.listed(pictures),
            "groups": [pictures.ids[rows].tolist() for rows in self.groups],
        }


@cores.shared()
def find_duplicates(
    embeddings: Representations,
    threshold: float | None = None,
    index: Index | None = None,
    near: Neighbours | None = None,
    small: NDArray[np.uint8] | None = None,
    earlier: KnownPairs | None = None,
) -> Duplicates:
    """Finds every pair of pictures whose representations lie within a threshold.

    A threshold that is chosen does not depend on how many pictures have copies, nor on how many
    each has, up to some 30; at most 1 % of its pairs are expected by chance: see
    `vicinal.evaluations.duplicates`. Pixels, where given, decide instead, and the
    representations only propose pairs: see `vicinal.evaluations.same_picture`.

    Identical rows are told by equality, not by a rounded distance, and are always found. Of m
    identical rows the later ones are each paired with the first, which stands for all of them in
    pairs with others: m − 1 pairs instead of m (m − 1) / 2.

    Args:
        embeddings: The pictures.
        threshold: The greatest L2 distance of a pair, whatever the pixels say; None to choose one.
        index: The index of the set, row for row; then nearly every pair of pictures that are not
            identical is found, as its recall says, and no pair that is none.
        near: The nearest others of each picture by the exact search, where they are known
            already: spares a search where no two pictures are identical.
        small: Array (N, 32, 32, C) uint8, the pictures as `made_small` has them, or None.
        earlier: What the pixels of some of these pictures said before, in rows of this set.

    Raises:
        InputError: If the threshold is negative, or there are fewer than two pictures.
    """
    if len(embeddings) < 2:
        raise InputError(f"duplicates need at least 2 pictures, found {len(embeddings)}")
    if threshold is not None and not (np.isfinite(threshold) and threshold >= 0):
        raise InputError(f"{option('threshold', threshold)}: give a distance of 0 or more")
    embeddings = embeddings.as_compared()
    first = first_equal(embeddings.array)
    distinct = np.flatnonzero(first == np.arange(len(first)))
    copies = np.flatnonzero(first != np.arange(len(first)))
    exact = np.stack([first[copies], copies], axis=1)
    array = embeddings.array[distinct] if len(copies) else embeddings.array
    search = _exact_search(array) if index is None else _index_search(index, distinct)
    close, distances, chosen, same = np.empty((0, 2), np.int64), np.empty(0), None, None
    if len(distinct) > 1 and threshold != 0:
        if near is None or len(copies):
            near = search(np.arange(len(distinct)), min(_FIRST, len(distinct) - 1), True)
        if threshold is None:
            chosen = duplicate_threshold(
                array, near.indices[:, :_FIRST], near.distances[:, :_FIRST]
            )
            threshold = chosen.distance
        if chosen is not None and small is not None:
            same = _by_pixels(small, first, distinct, near.indices[:, :_FIRST], earlier)
            close, distances = same.pairs, _lengths(array, same.pairs)
            chosen = replace(chosen, doubt=same.doubt)
        else:
            close, distances = _pairs_within(search, near, threshold)
    pairs = np.concatenate([exact, distinct[close]])
    lengths = np.concatenate([np.zeros(len(exact)), distances])
    order = np.lexsort((pairs[:, 1], pairs[:, 0], lengths))
    found = Duplicates(pairs[order], lengths[order], _groups(pairs, len(first)), threshold or 0.0)
    if chosen is None:
        return found
    found = replace(found, typical=chosen.typical, doubt=chosen.doubt)
    if same is None:
        return found
    known = replace(same.compared, pairs=distinct[same.compared.pairs])
    return replace(found, by_pixels=True, compared=known)


def _by_pixels(
    small: NDArray[np.uint8],
    first: NDArray[np.int64],
    distinct: NDArray[np.int64],
    near: NDArray[np.int64],
    earlier: KnownPairs | None,
) -> SamePictures:
    """The same pictures among distinct ones, each beside those that ``near`` (N, k) proposes."""
    proposed = np.stack([np.repeat(np.arange(len(near)), near.shape[1]), near.ravel()], axis=1)
    if earlier is not None:  # in rows of distinct pictures; each stands for its later copies
        fresh = np.ones(len(first), np.bool_)
        np.logical_and.at(fresh, first, earlier.fresh)
        ends = np.sort(np.searchsorted(distinct, first[earlier.pairs]), axis=1)
        _, once = np.unique(ends, axis=0, return_index=True)
        once = once[ends[once, 0] != ends[once, 1]]
        earlier = KnownPairs(ends[once], earlier.differences[once], fresh[distinct])
    return same_pictures(small[distinct], more=proposed, earlier=earlier)


def _exact_search(distinct: NDArray[np.float32]) -> Search:
    """The exact search among distinct rows (N, F)."""

    def search(rows: NDArray[np.int64], k: int, exclude_self: bool) -> Neighbours:
        queries = distinct if len(rows) == len(distinct) else distinct[rows]
        return nearest(queries, distinct, k, exclude_self=exclude_self)

    return search


def _index_search(index: Index, distinct: NDArray[np.int64]) -> Search:
    """The index's search among its rows ``distinct`` (N,), which rise."""
    among = np.zeros(len(index), dtype=np.bool_)
    among[distinct] = True

    def search(rows: NDArray[np.int64], k: int, exclude_self: bool) -> Neighbours:
        others = index.nearest_of(distinct[rows], k if exclude_self else k - 1, among=among)
        found = Neighbours(np.searchsorted(distinct, others.indices), others.distances)
        if exclude_self:
            return found
        return Neighbours(
            np.hstack([rows[:, None], found.indices]),
            np.pad(found.distances, ((0, 0), (1, 0))),
        )

    return search


def _pairs_within(
    search: Search, near: Neighbours, threshold: float | NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All pairs (P, 2) of rows at most ``threshold`` from one of them, and their distances (P,).

    Args:
        search: Search among the rows.
        near: The nearest others of every row.
        threshold: The greatest distance, of all rows or of each (N,).
    """
    count = len(near.indices)
    rows = np.arange(count)
    limits = np.broadcast_to(threshold, count)
    found: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    while len(rows) and limits.any():
        k = near.indices.shape[1]
        within = near.distances <= limits[rows, None]
        # A row whose k nearest all lie within may have more: it is asked again for more.
        more = within.all(axis=1) & (k < count)
        within[more] = False
        left = np.repeat(rows, within.sum(axis=1))
        right, distances = near.indices[within], near.distances[within].astype(np.float64)
        other = left != right  # of a second search each row itself is a part
        ends = np.stack([np.minimum(left, right), np.maximum(left, right)], axis=1)
        found.append((ends[other], distances[other]))
        rows = rows[more]
        if len(rows):
            near = search(rows, min(4 * k, count), False)
    pairs = np.concatenate([np.empty((0, 2), np.int64), *(pair for pair, _ in found)])
    lengths = np.concatenate([np.empty(0), *(distances for _, distances in found)])
    # An exact search sees each pair from both ends, an index perhaps from one.
    once = np.unique(pairs[:, 0] * count + pairs[:, 1], return_index=True)[1]
    return pairs[once], lengths[once]


def _lengths(array: NDArray[np.float32], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far apart the representations (N, F) of pairs (P, 2) are, (P,)."""
    return np.sqrt(squared_distances(array[pairs[:, 0]], array, pairs[:, 1:])[:, 0])


def _groups(pairs: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], ...]:
    """Rows that pairs connect, directly or through others; the largest group first."""
    parts = split(np.arange(count), connected(pairs, count))
    groups = [rows for rows in parts if len(rows) > 1]
    return tuple(sorted(groups, key=lambda rows: (-len(rows), int(rows[0]))))
