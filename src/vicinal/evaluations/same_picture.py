"""Whether two pictures are the same by their pixels, whatever an encoder makes of them.

A copy may be re-compressed, resized, mirrored, brightened and slightly cropped. Candidates are
pictures whose coarse structure is near, mirrored or not, and whom an encoder says; each pair is
then laid one over the other (`vicinal.evaluations.laid_over`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vicinal.evaluations.laid_over import (
    COARSE,
    SIDE,
    coarse,
    differences,
    grey,
    resized,
    unit,
    windows,
)
from vicinal.representations.neighbours import nearest

SAME = 0.75
"""Greatest difference of a copy. 1 would be fine structure that correlates by 0.8, a rest of 0.3 of
the contrast, or of 0.75 in one of 64 fields. `docs/benchmarks.md`, Leaks,
says what is found."""
NEAREST = 8
"""Candidates of each picture, and as many of its mirror image; twice as many among windows."""

_BLOCK = 512  # pictures at a time
_NARROW = 10  # the whole and the nine windows that leave out least
_MOST = 20_000**2  # pairs up to which windows are searched: minutes beyond
_WHOLE = 64  # members up to which all pairs of a group are compared
# Pairs of distinct pictures grow as this power of their difference: measured on MNIST and digits,
# whose pictures are alike by nature, between 0.6 and 1.5.
_GROWTH = 5.5
_BULK = (1.0, 1.5)  # differences at which nearly all pairs are of distinct pictures
_FALSE = 0.01
_AGREED = 0.66  # least share of the pairs of a group that are the same: two of three
_LESS, _ROUNDS = 0.8, 16  # by how much the limit of a group falls at a time, and how often

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SamePictures:
    """Pairs of pictures that are the same.

    Attributes:
        pairs: Array (P, 2) int64 of rows, left and right.
        differences: Array (P,) float32, from 0 (equal) to ``limit``.
        limit: The greatest difference of a pair.
        doubt: Why the limit is not sure, as the end of a sentence; None where it is.
        compared: What a later search of this set and more need not compare again.
    """

    pairs: NDArray[np.int64]
    differences: Floats
    limit: float
    doubt: str | None
    compared: Compared


@dataclass(frozen=True, eq=False)
class Compared:
    """Pairs of one set that were compared before.

    Attributes:
        pairs: Array (P, 2) int64 of rows: those whose difference says something about the limit.
        differences: Array (P,) float32.
        fresh: Array (N,) bool, the rows that were not there; all other pairs are known.
    """

    pairs: NDArray[np.int64]
    differences: Floats
    fresh: NDArray[np.bool_]


def made_small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (N, H, W, C) as means over 32 × 32 fields, (N, 32, 32, C); smaller ones enlarged."""
    if pixels.shape[1:3] == (SIDE, SIDE):
        return np.ascontiguousarray(pixels)
    down, across = (resized(side, SIDE) for side in pixels.shape[1:3])
    found = np.empty((len(pixels), SIDE, SIDE, pixels.shape[3]), np.uint8)
    for start in range(0, len(pixels), _BLOCK):
        block = np.moveaxis(pixels[start : start + _BLOCK], 3, 1).astype(np.float32)
        means = np.moveaxis(down @ block @ across.T, 1, 3)
        found[start : start + _BLOCK] = np.clip(np.rint(means), 0, 255)
    return found


def first_equal(rows: NDArray[Any]) -> NDArray[np.int64]:
    """For each row (N, …) the first row that equals it, (N,), itself where none before does."""
    seen: dict[bytes, int] = {}
    zero = rows.dtype.type(0)  # −0 becomes 0, so that equal rows have equal bytes
    digests = (hashlib.sha256((row + zero).tobytes()).digest() for row in rows)
    found = [seen.setdefault(digest, at) for at, digest in enumerate(digests)]
    return np.array(found, dtype=np.int64)


def same_pictures(
    left: NDArray[np.uint8],
    right: NDArray[np.uint8] | None = None,
    more: NDArray[np.int64] | None = None,
    *,
    cropped: bool = True,
    earlier: Compared | None = None,
) -> SamePictures:
    """Finds pairs of pictures that are the same.

    Args:
        left: Array (N, 32, 32, C), as `made_small` has them; within one set no two equal.
        right: Array (M, 32, 32, C) of another set; None for pairs within one set.
        more: Further candidates (P, 2) of rows, such as an encoder's nearest.
        cropped: False looks from ``right`` only and for copies that are not cropped: seconds for
            10,000 pictures against 50,000.
        earlier: What is known of pairs within ``left``: only pairs with a fresh row are compared.
    """
    other = left if right is None else right
    candidates = [np.empty((0, 2), np.int64) if more is None else more]
    if earlier is not None:
        rows = np.flatnonzero(earlier.fresh)
        candidates = [candidates[0][earlier.fresh[candidates[0]].any(axis=1)]]
        for propose in (_candidates, _holding) if len(rows) else ():
            asked, other_row = propose(left[rows], left, cropped).T
            candidates.append(np.stack([rows[asked], other_row], axis=1))
    else:
        candidates.append(_candidates(other, left, cropped)[:, ::-1])
        if right is not None and cropped:
            candidates.append(_candidates(left, other, cropped))
    pairs = _once(np.concatenate(candidates), len(other), right is None)
    found = differences(left, other, pairs, cropped)
    if earlier is not None:
        pairs = np.concatenate([earlier.pairs, pairs])
        found = np.concatenate([earlier.differences, found])
    limit, doubt = _limit(found)
    telling = found <= _BULK[1]
    compared = Compared(pairs[telling], found[telling], np.zeros(len(left), np.bool_))
    if right is None:  # of a large group each picture has met some of the others only
        missing = _missing(pairs, found <= limit, len(left))
        pairs = np.concatenate([pairs, missing])
        found = np.concatenate([found, differences(left, other, missing, cropped)])
    offset = 0 if right is None else len(left)
    same = _agreed(pairs + np.array([0, offset]), found, limit, offset + len(other))
    return SamePictures(pairs[same], found[same], limit, doubt, compared)


def _candidates(
    queries: NDArray[np.uint8], gallery: NDArray[np.uint8], cropped: bool
) -> NDArray[np.int64]:
    """Pairs (P, 2) of a query and a picture of nearly its coarse structure, mirrored or not.

    Where ``cropped``, of a window of the gallery's picture too.
    """
    asked = coarse(queries)
    cropped = cropped and len(queries) * len(gallery) <= _MOST
    blocks = np.split(gallery, range(_BLOCK, len(gallery), _BLOCK))
    seen = np.concatenate([windows(grey(block), cropped)[:, :_NARROW] for block in blocks])
    each = seen.shape[1]
    k = min(NEAREST * (2 if each > 1 else 1), len(gallery) * each)
    pairs = []
    for turned in (asked, asked[:, :, ::-1]):
        near = nearest(unit(turned), seen.reshape(len(gallery) * each, -1), k)
        rows = np.repeat(np.arange(len(asked)), k)
        pairs.append(np.stack([rows, near.indices.ravel() // each], axis=1))
    return np.concatenate(pairs)


def _holding(
    queries: NDArray[np.uint8], gallery: NDArray[np.uint8], cropped: bool
) -> NDArray[np.int64]:
    """As `_candidates`, but windows are those of the query: the gallery's picture may be a crop."""
    cropped = cropped and len(queries) * len(gallery) <= _MOST
    asked, seen = windows(grey(queries), cropped)[:, :_NARROW], unit(coarse(gallery))
    fields = asked.reshape(*asked.shape[:2], COARSE, COARSE)
    k = min(NEAREST + 1, len(gallery))  # each finds itself too
    pairs = []
    for turned in (fields, fields[..., ::-1]):
        near = nearest(turned.reshape(-1, COARSE**2), seen, k)
        indices, apart = (each.reshape(len(queries), -1) for each in (near.indices, near.distances))
        best = np.argsort(apart, axis=1, kind="stable")[:, : 2 * k]
        rows = np.repeat(np.arange(len(queries)), best.shape[1])
        pairs.append(np.stack([rows, np.take_along_axis(indices, best, axis=1).ravel()], axis=1))
    return np.concatenate(pairs)


def _once(pairs: NDArray[np.int64], count: int, same_set: bool) -> NDArray[np.int64]:
    """Each pair once; within one set the lower row first, and none of a picture with itself."""
    if same_set:
        pairs = np.sort(pairs, axis=1)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    codes = np.unique(pairs[:, 0] * count + pairs[:, 1])
    return np.stack(np.divmod(codes, count), axis=1)


def _missing(pairs: NDArray[np.int64], same: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Pairs (P, 2) within the groups that are connected, other than ``pairs``."""
    group = _groups(pairs[same], count)
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    inside = [np.empty((0, 2), np.int64)]
    for rows in members:
        if 2 < len(rows) <= _WHOLE:
            inside.append(np.stack([rows[side] for side in np.triu_indices(len(rows), 1)], axis=1))
    whole = np.concatenate(inside)
    met = np.isin(whole[:, 0] * count + whole[:, 1], pairs[:, 0] * count + pairs[:, 1])
    return whole[~met]


def _groups(ends: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The group of each of ``count`` pictures that pairs (P, 2) connect, (count,)."""
    edges = coo_array((np.ones(len(ends)), tuple(ends.T)), shape=(count, count))
    found: NDArray[np.int64] = connected_components(edges, directed=False)[1].astype(np.int64)
    return found


def _agreed(
    pairs: NDArray[np.int64], differences: Floats, limit: float, count: int
) -> NDArray[np.bool_]:
    """Which pairs (P, 2) of ``count`` pictures are the same, (P,).

    A copy of a copy is a copy. Where less than two thirds of the pairs of a group are the same,
    its pictures are of one template or change by degrees: there the limit is lowered.
    """
    limits = np.full(len(pairs), limit, np.float32)
    same = differences <= limits
    for _ in range(_ROUNDS):
        group = _groups(pairs[same], count)
        ours, theirs = group[pairs].T
        within = (ours == theirs) & np.isfinite(differences)
        of = np.bincount(ours[within], minlength=count)
        share = np.bincount(ours[within & same], minlength=count) / np.maximum(of, 1)
        loose = within & (share[ours] < _AGREED)
        if not loose.any():
            break
        limits[loose] *= _LESS
        same = differences <= limits
    return same


def _limit(differences: Floats) -> tuple[float, str | None]:
    """Up to which difference at most 1 % of the pairs, or a tenth of one, is there by chance."""
    low, high = _BULK
    bulk = int(((differences > low) & (differences <= high)).sum())
    by_chance = bulk / (1 - (low / high) ** _GROWTH)  # up to ``high``
    limit = SAME
    for _ in range(3):
        allowed = max(_FALSE * int((differences <= limit).sum()), 0.1)
        limit = min(limit, high * (allowed / max(by_chance, 1e-9)) ** (1 / _GROWTH))
    if limit < 0.8 * SAME:
        return limit, "many pictures are nearly alike by nature, so less was taken for the same"
    return limit, None
