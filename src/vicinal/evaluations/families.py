"""Copies of one picture told from a family of like ones, which change by degrees.

A copy of a copy is a copy, so pairs of the same pictures are joined into groups. But where
pictures are of one template, or change by degrees, each is the same as the next, and the last is
like the first but not the same. A group is taken for copies where two thirds of the pairs that are
like each other are the same; crops that hardly overlap say nothing. Of any other group, those are
copies that lie around one picture and are the same as hardly anything else: in a family that goes
on, a picture at the edge is as near to others beyond. What is left is joined anew by pairs that
differ less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vicinal.evaluations.alignment import Flags, Floats

Integers = NDArray[np.int64]
Compare = Callable[[Integers], Floats]
"""Pairs (P, 2) of rows -> how different they are, (P,)."""

_AGREED = 0.66  # least share of the pairs of a group that are the same: two of three
# Around one picture: least share of the like pairs that are the same, and of all pairs that are the
# same as one of them, the least share with both ends among them. Along a line of pictures these
# are .75 and .75, in a plane .59 and .59.
_DENSE, _APART = 0.5, 0.95
_WHOLE = 64  # members up to which all pairs of a group are compared
_PROBES, _SAMPLE = 8, 250  # of a larger one: pictures, each compared with so many
_LESS, _ROUNDS = 0.8, 16  # by how much the limit of a group falls at a time, and how often


def connected(pairs: Integers, count: int) -> Integers:
    """The group (count,) of each of ``count`` pictures that pairs (P, 2) connect, from 0."""
    edges = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(count, count))
    found: Integers = connected_components(edges, directed=False)[1].astype(np.int64)
    return found


def copies(
    pairs: Integers,
    differences: Floats,
    limit: float,
    digests: Callable[[Integers], list[bytes]],
    compare: Compare,
    count: int,
) -> tuple[Integers, Floats]:
    """Pairs (P, 2) of copies, the lower row first, and how different they are, (P,).

    Args:
        pairs: Array (P, 2) int64 of rows, those that were compared; each once.
        differences: Array (P,) float32.
        limit: The greatest difference of a copy.
        digests: What pictures of large groups are drawn by, so that their order does not matter.
        compare: Compares further pairs.
        count: Pictures.
    """
    pairs = np.sort(pairs, axis=1)
    group = connected(pairs[differences <= limit], count)
    members = split(np.arange(count), group)
    unmet = _unmet(members, pairs, count)  # all at once, for large blocks are quickest
    pairs = np.concatenate([pairs, unmet])
    differences = np.concatenate([differences, compare(unmet)])
    within = np.flatnonzero(group[pairs[:, 0]] == group[pairs[:, 1]])
    pairs, differences = pairs[within], differences[within]
    of, same = group[pairs[:, 0]], differences <= limit
    agree, like = (
        np.bincount(of[which], minlength=count) for which in (same, differences < np.inf)
    )
    whole = np.bincount(group, minlength=count) <= _WHOLE
    told = whole & (agree >= _AGREED * like)  # by far the most groups
    found = [(pairs[same & told[of]], differences[same & told[of]])]
    for own in split(np.flatnonzero(~told[of]), of[~told[of]]):
        rows = members[int(of[own[0]])]
        if len(rows) > _WHOLE:
            keys = digests(rows)
            rows = rows[sorted(range(len(rows)), key=keys.__getitem__)]
        known = _Compared.of_group(rows, pairs[own], differences[own], compare)
        found.append(_told_apart(known, limit))
    return np.concatenate([ends for ends, _ in found]), np.concatenate([d for _, d in found])


def split(items: Integers, part: Integers) -> list[Integers]:
    """The items (N,) of each part (N,), in the order of parts and in their own."""
    order = np.argsort(part, kind="stable")
    found = np.split(items[order], np.flatnonzero(np.diff(part[order])) + 1)
    return [inside for inside in found if len(inside)]


def _unmet(members: list[Integers], pairs: Integers, count: int) -> Integers:
    """All pairs (P, 2) within groups of few members that are not among ``pairs``."""
    few = [rows for rows in members if 2 < len(rows) <= _WHOLE]
    inside = [np.stack([rows[at] for at in np.triu_indices(len(rows), 1)], axis=1) for rows in few]
    whole = np.concatenate([np.empty((0, 2), np.int64), *inside])
    met = np.isin(whole[:, 0] * count + whole[:, 1], pairs[:, 0] * count + pairs[:, 1])
    return whole[~met]


@dataclass
class _Compared:
    """Differences of pairs within a group, each compared once; ``codes`` rise.

    A code is a pair of places in ``rows``, the lower times the number of rows plus the higher.
    """

    rows: Integers
    codes: Integers
    differences: Floats
    compare: Compare

    @classmethod
    def of_group(
        cls, rows: Integers, pairs: Integers, differences: Floats, compare: Compare
    ) -> _Compared:
        by_row = np.argsort(rows)
        places = np.sort(by_row[np.searchsorted(rows, pairs, sorter=by_row)], axis=1)
        codes = places[:, 0] * len(rows) + places[:, 1]
        order = np.argsort(codes)
        return cls(rows, codes[order], differences[order], compare)

    def pairs(self) -> Integers:
        """The places (P, 2) of what was compared."""
        found: Integers = np.stack(np.divmod(self.codes, len(self.rows)), axis=1)
        return found

    def between(self, ours: Integers, theirs: Integers) -> Floats:
        """How different each place of ``ours`` (N,) is from each of ``theirs`` (M,), (N, M)."""
        ours, theirs = np.broadcast_arrays(ours[:, None], theirs)
        codes = np.minimum(ours, theirs) * len(self.rows) + np.maximum(ours, theirs)
        other = ours != theirs
        wanted = np.unique(codes[other])
        missing = wanted[~np.isin(wanted, self.codes, assume_unique=True)]
        if len(missing):
            ends = self.rows[np.stack(np.divmod(missing, len(self.rows)), axis=1)]
            at = np.searchsorted(self.codes, missing)
            self.differences = np.insert(self.differences, at, self.compare(np.sort(ends, axis=1)))
            self.codes = np.insert(self.codes, at, missing)
        apart = np.zeros(codes.shape, np.float32)
        apart[other] = self.differences[np.searchsorted(self.codes, codes[other])]
        return apart


def _told_apart(known: _Compared, limit: float) -> tuple[Integers, Floats]:
    """The pairs (P, 2) of a group's rows that are copies, and how different they are, (P,)."""
    copy = np.full(len(known.rows), -1, np.int64)
    waiting, told = [(np.arange(len(known.rows)), limit)], 0
    while waiting:
        places, level = waiting.pop()
        found = places if level <= limit * _LESS**_ROUNDS else _copies_in(places, level, known)
        if len(found):
            copy[found], told = told, told + 1
            places = places[~np.isin(places, found)]
        else:
            level *= _LESS
        waiting += [(part, level) for part in _parts(places, known, level)]
    pairs = known.pairs()
    ours, theirs = copy[pairs].T
    same = (ours == theirs) & (ours >= 0) & (known.differences <= limit)
    return np.sort(known.rows[pairs[same]], axis=1), known.differences[same]


def _parts(places: Integers, known: _Compared, level: float) -> list[Integers]:
    """Those of ``places`` that pairs of at most ``level`` connect, two or more, in their order."""
    number = np.full(len(known.rows), -1, np.int64)
    number[places] = np.arange(len(places))
    ends = number[known.pairs()[known.differences <= level]]
    part = connected(ends[(ends >= 0).all(axis=1)], len(places))
    return [inside for inside in split(places, part) if len(inside) > 1]


def _copies_in(places: Integers, level: float, known: _Compared) -> Integers:
    """Those of connected places that are copies of one picture; none where there are no such."""
    whole = len(places) <= _WHOLE
    probes, sample = (places, places) if whole else (places[:_PROBES], places[:_SAMPLE])
    same, like = _same(probes, sample, level, known)
    if same.sum() >= _AGREED * like.sum():
        return places
    tried = np.zeros(len(sample), np.bool_)
    for probe in np.argsort(-same.sum(axis=1), kind="stable").tolist():
        own = sample == probes[probe]
        around = same[probe] | own
        if around.sum() < 3 or tried[own].any():
            continue
        tried |= around
        members = sample[around] if whole else sample[around][:_PROBES]
        near, like = _same(members, sample, level, known)
        inside, alike = int(near[:, around].sum()), int(like[:, around].sum())
        if inside >= max(_DENSE * alike, _APART * int(near.sum())):
            found: Integers = places[known.between(probes[[probe]], places)[0] <= level]
            return found
    return np.empty(0, np.int64)


def _same(ours: Integers, theirs: Integers, level: float, known: _Compared) -> tuple[Flags, Flags]:
    """Which of ``theirs`` (M,) are the same as each of ``ours`` (N,), and which are like it.

    Both (N, M). A picture is not held against itself.
    """
    apart, other = known.between(ours, theirs), ours[:, None] != theirs
    return (apart <= level) & other, np.isfinite(apart) & other
