"""Whether two pictures are the same by their pixels, whatever an encoder makes of them.

A copy may be re-compressed, resized, mirrored, brightened and slightly cropped. Candidates are
pictures whose coarse structure is near, mirrored or not, and those that an encoder proposes; each
pair is then laid one over the other.

Scale and place are found by least squares (Lucas & Kanade, IJCAI 1981), from the best of a few
windows. What counts is how well fine structure agrees and how much is left over, on the whole and
where most is left: two crops of one sky, or two icons that differ by a sign, agree in the large.
Pictures whose levels are the same everywhere, straight or mirrored, are the same in any case. Plain
ones, a grey card or a clear sky, are the same in no other: they have no fine structure, and whether
one is a part of another, or was brightened, nobody could tell. What 32 × 32 pixels do not show, a
word on a page, is not told apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.evaluations.alignment import (
    Flags,
    Floats,
    agreement,
    centred,
    mirrored_where,
    moved,
    pixel_centres,
    registered,
    resized,
    sampling,
    smoothed,
)
from vicinal.evaluations.families import Integers, copies
from vicinal.progress import counted
from vicinal.representations.neighbours import nearest

SIDE = 32
"""Height and width at which pictures are compared: noise of re-compression is averaged away."""
COARSE = 8
"""Fields a side of the coarse structure."""

# Each makes a difference of 1, see `differences`.
_STRUCTURE, _REST, _FIELD, _SIGNS = 0.2, 0.3, 0.75, 0.6
_SIGN = 4  # fields that a small sign covers
_NOISE = 16  # square grey levels of fine structure that re-compression makes
_ALIKE = 0.75  # least correlation of the coarse structure of the best windows
_WHOLE_SAME = 0.9  # the same of whole pictures, where none is cropped
_ROUGHLY = 0.7  # least correlation at half the size
_OVERLAP = 0.65  # least share of a picture that lies within the other
_PLAIN, _FAINT = 0.5, 3  # grey levels of fine structure, up to which a picture is plain, or faint
# Grey levels that make a difference of 1: of the whole's shade, about that, in one pixel of a plain
# picture, where a sign may be all that there is, and in one field of a faint print.
_SHADE, _LEVELS, _IN_PIXEL, _IN_FIELD = 4, 2, 4, 6
_SCALES = (0.9, 0.8)  # windows of these, nine each, stand for crops
_STARTS = 4
_STEPS = ((16, 6), (SIDE, 5))  # pixels a side, and steps of least squares there
_SMOOTH, _WIDE = 0.8, 2.0  # pixels; fine structure is what lies between
_PRINT = 0.5  # least correlation of the fine structure of pictures whose levels are the same
_DARK, _BRIGHT = 4, 250  # beyond these brightness is cut off

SAME = 0.75
"""Greatest difference of a copy. 1 would be fine structure that correlates by 0.8, a rest of 0.3 of
the contrast, or of 0.75 in one of 64 fields. `docs/benchmarks.md`, Leaks,
says what is found."""
NEAREST = 8
"""Candidates of each picture, and as many of its mirror image; twice as many among windows."""

_BLOCK = 256  # pictures or pairs at a time
_NARROW = 10  # the whole and the nine windows that leave out least
_MOST = 20_000**2  # pairs up to which windows are searched: minutes beyond
# Pairs of distinct pictures grow as this power of their difference: measured on MNIST and digits,
# whose pictures are alike by nature, between 0.6 and 1.5.
_GROWTH = 5.5
_BULK = (1.0, 1.5)  # differences at which nearly all pairs are of distinct pictures
_FALSE = 0.01

_WINDOWS = np.array(
    [(1.0, 0.0, 0.0)]
    + [(s, y, x) for s in _SCALES for y in (s - 1, 0, 1 - s) for x in (s - 1, 0, 1 - s)]
)
"""Scale and centre of each window, in halves of a side."""


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

    pairs: Integers
    differences: Floats
    limit: float
    doubt: str | None
    compared: KnownPairs


@dataclass(frozen=True, eq=False)
class KnownPairs:
    """Pairs of one set that were compared before.

    Attributes:
        pairs: Array (P, 2) int64 of rows: those whose difference says something about the limit.
        differences: Array (P,) float32.
        fresh: Array (N,) bool, the rows that were not there; all other pairs are known.
    """

    pairs: Integers
    differences: Floats
    fresh: Flags


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


def first_equal(rows: NDArray[Any]) -> Integers:
    """For each row (N, …) the first row that equals it, (N,), itself where none before does."""
    seen: dict[bytes, int] = {}
    zero = rows.dtype.type(0)  # −0 becomes 0, so that equal rows have equal bytes
    digests = (hashlib.sha256((row + zero).tobytes()).digest() for row in rows)
    found = [seen.setdefault(digest, at) for at, digest in enumerate(digests)]
    return np.array(found, dtype=np.int64)


def same_pictures(
    left: NDArray[np.uint8],
    right: NDArray[np.uint8] | None = None,
    more: Integers | None = None,
    *,
    cropped: bool = True,
    earlier: KnownPairs | None = None,
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
            query, other_row = propose(left[rows], left, cropped).T
            candidates.append(np.stack([rows[query], other_row], axis=1))
    else:
        candidates.append(_candidates(other, left, cropped)[:, ::-1])
        if right is not None and cropped:
            candidates.append(_candidates(left, other, cropped))
    plain = _plain_pairs(left, other)
    if earlier is not None:
        plain = plain[earlier.fresh[plain].any(axis=1)]
    pairs = _once(np.concatenate([*candidates, plain]), len(other), right is None)
    found = differences(left, other, pairs, cropped)
    if earlier is not None:
        pairs = np.concatenate([earlier.pairs, pairs])
        found = np.concatenate([earlier.differences, found])
    limit, doubt = _limit(found)
    telling = found <= _BULK[1]
    compared = KnownPairs(pairs[telling], found[telling], np.zeros(len(left), np.bool_))
    pairs, found = _copies(left, right, pairs, found, limit, cropped)
    return SamePictures(pairs, found, limit, doubt, compared)


def _candidates(queries: NDArray[np.uint8], gallery: NDArray[np.uint8], cropped: bool) -> Integers:
    """Pairs (P, 2) of a query and a picture of nearly its coarse structure, mirrored or not.

    Where ``cropped``, of a window of the gallery's picture too.
    """
    query_fields = coarse(queries)
    cropped = cropped and len(queries) * len(gallery) <= _MOST
    blocks = np.split(gallery, range(_BLOCK, len(gallery), _BLOCK))
    seen = np.concatenate([windows(grey(block), cropped)[:, :_NARROW] for block in blocks])
    each = seen.shape[1]
    k = min(NEAREST * (2 if each > 1 else 1), len(gallery) * each)
    pairs = []
    for turned in (query_fields, query_fields[:, :, ::-1]):
        near = nearest(unit(turned), seen.reshape(len(gallery) * each, -1), k)
        rows = np.repeat(np.arange(len(query_fields)), k)
        pairs.append(np.stack([rows, near.indices.ravel() // each], axis=1))
    return np.concatenate(pairs)


def _holding(queries: NDArray[np.uint8], gallery: NDArray[np.uint8], cropped: bool) -> Integers:
    """As `_candidates`, but windows are those of the query: the gallery's picture may be a crop."""
    cropped = cropped and len(queries) * len(gallery) <= _MOST
    query_fields, seen = windows(grey(queries), cropped)[:, :_NARROW], unit(coarse(gallery))
    fields = query_fields.reshape(*query_fields.shape[:2], COARSE, COARSE)
    k = min(NEAREST + 1, len(gallery))  # each finds itself too
    pairs = []
    for turned in (fields, fields[..., ::-1]):
        near = nearest(turned.reshape(-1, COARSE**2), seen, k)
        indices, apart = (each.reshape(len(queries), -1) for each in (near.indices, near.distances))
        best = np.argsort(apart, axis=1, kind="stable")[:, : 2 * k]
        rows = np.repeat(np.arange(len(queries)), best.shape[1])
        pairs.append(np.stack([rows, np.take_along_axis(indices, best, axis=1).ravel()], axis=1))
    return np.concatenate(pairs)


def _plain_pairs(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Integers:
    """Pairs (P, 2) of a plain picture of each set and one whose levels are near, or mirrored."""
    ours, theirs = (np.flatnonzero(fine_levels(pictures) < _PLAIN) for pictures in (left, right))
    k = min(NEAREST + 1, len(ours))  # each finds itself too
    levels, queries = (field_levels(part[rows]) for part, rows in ((left, ours), (right, theirs)))
    pairs = [np.empty((0, 2), np.int64)]
    for turned in (queries, queries[:, :, ::-1]) if k and len(theirs) else ():
        near = nearest(turned.reshape(len(theirs), -1), levels.reshape(len(ours), -1), k)
        pairs.append(np.stack([ours[near.indices.ravel()], np.repeat(theirs, k)], axis=1))
    return np.concatenate(pairs)


def fine_levels(small: NDArray[np.uint8]) -> Floats:
    """Grey levels (root mean square) of the fine structure of pictures (N, 32, 32, C), (N,)."""
    blocks = (small[start : start + _BLOCK] for start in range(0, max(len(small), 1), _BLOCK))
    fine = (np.square(_fine(block.astype(np.float32))).mean(axis=(1, 2, 3)) for block in blocks)
    found: Floats = np.sqrt(np.concatenate(list(fine)))
    return found


def field_levels(small: NDArray[np.uint8]) -> Floats:
    """The levels of each field of pictures, (N, 8, 8, C)."""
    count, side = len(small), SIDE // COARSE
    fields = small.reshape(count, COARSE, side, COARSE, side, small.shape[3])
    found: Floats = fields.mean(axis=(2, 4), dtype=np.float32)
    return found


def _once(pairs: Integers, count: int, same_set: bool) -> Integers:
    """Each pair once; within one set the lower row first, and none of a picture with itself."""
    if same_set:
        pairs = np.sort(pairs, axis=1)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    codes = np.unique(pairs[:, 0] * count + pairs[:, 1])
    return np.stack(np.divmod(codes, count), axis=1)


def _copies(
    left: NDArray[np.uint8],
    right: NDArray[np.uint8] | None,
    pairs: Integers,
    found: Floats,
    limit: float,
    cropped: bool,
) -> tuple[Integers, Floats]:
    """Those of the pairs (P, 2), and of others in their groups, that are copies; see `copies`.

    Two sets are looked at as one, the rows of ``right`` after those of ``left``.
    """
    sets = [left] if right is None else [left, right]
    starts = np.array([0, len(left)][: len(sets)])

    def digests(rows: Integers) -> list[bytes]:
        of = np.searchsorted(starts, rows, side="right") - 1
        each = zip(of.tolist(), (rows - starts[of]).tolist(), strict=True)
        return [hashlib.sha256(sets[which][row].tobytes()).digest() for which, row in each]

    def compare(more: Integers) -> Floats:
        of = np.searchsorted(starts, more, side="right") - 1
        apart = np.empty(len(more), np.float32)
        for one, other in np.unique(of, axis=0).tolist():
            rows = (of == (one, other)).all(axis=1)
            ends = more[rows] - starts[[one, other]]
            apart[rows] = differences(sets[one], sets[other], ends, cropped)
        return apart

    ends, found = copies(
        pairs + starts[[0, -1]], found, limit, digests, compare, sum(map(len, sets))
    )
    if right is not None:
        across = (ends < len(left)).sum(axis=1) == 1
        ends, found = ends[across], found[across]
    return ends - starts[[0, -1]], found


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


def differences(
    left: NDArray[np.uint8], right: NDArray[np.uint8], pairs: Integers, cropped: bool
) -> Floats:
    """How different the pictures of each pair (P, 2) are, (P,); infinite for surely others.

    Beyond the second of `_BULK` it is only said that they differ by at least so much.
    """
    found = np.full(len(pairs), np.inf, np.float32)
    fine = np.zeros(len(pairs), np.float32)  # the more of either
    for pictures, column in ((left, pairs[:, 0]), (right, pairs[:, 1])):
        used, number = np.unique(column, return_inverse=True)  # each is in many pairs
        np.maximum(fine, fine_levels(pictures[used])[number], out=fine)

    def compare(rows: slice) -> Floats:
        one, other = left[pairs[rows, 0]], right[pairs[rows, 1]]
        return _differences(one, other, fine[rows], cropped)

    blocks = [slice(start, start + _BLOCK) for start in range(0, len(pairs), _BLOCK)]
    with cores.one_blas_thread(), counted("compare", len(pairs), "pairs") as advance:
        for rows, block in zip(blocks, cores.side_by_side(compare, blocks), strict=True):
            found[rows] = block
            advance(len(block))
    return found


def _differences(
    one: NDArray[np.uint8], other: NDArray[np.uint8], fine: Floats, cropped: bool
) -> Floats:
    """As `differences`, of pictures (P, 32, 32, C) with ``fine`` levels (P,) of fine structure."""
    found = np.full(len(one), np.inf, np.float32)
    faint = np.flatnonzero(fine <= _FAINT)
    found[faint] = _by_levels(one[faint], other[faint], fine[faint])
    score, mirrored, places = _begun(grey(one), grey(other), cropped)
    near = np.flatnonzero((score[:, 0] > (_ALIKE if cropped else _WHOLE_SAME)) & (fine >= _PLAIN))
    if len(near):
        laid = _laid_over(one[near], other[near], places[near], mirrored[near])
        found[near] = np.minimum(found[near], laid)
    return found


def _by_levels(one: NDArray[np.uint8], other: NDArray[np.uint8], fine: Floats) -> Floats:
    """How different plain pictures and faint prints (P, 32, 32, C) are, in grey levels, (P,).

    They are not moved. Infinite beyond `SAME`: shades of plain pictures that differ by a bit more
    say nothing about other pairs. What ``fine`` structure (P,) a print has must agree too, as far
    as noise lets it.
    """
    ours, best = one.astype(np.float32), np.full(len(one), np.inf, np.float32)
    for laid in (other, other[:, :, ::-1]):
        left = ours - laid
        shade = left.mean(axis=(1, 2), keepdims=True)
        squares = np.square(left - shade).mean(axis=3)
        in_pixel = squares.max(axis=(1, 2)) / _IN_PIXEL**2
        in_field = _by_field(squares).max(axis=(1, 2)) / _IN_FIELD**2
        whole = squares.mean(axis=(1, 2)) / _LEVELS**2
        apart = np.sqrt(np.maximum(whole, np.where(fine < _PLAIN, in_pixel, in_field)))
        apart = np.maximum(apart, np.abs(shade).max(axis=(1, 2, 3)) / _SHADE)
        apart[apart > SAME] = np.inf
        near = np.flatnonzero(np.isfinite(apart) & (fine >= _PLAIN))
        mine, print_of_other = (_fine(part[near].astype(np.float32)) for part in (ours, laid))
        agree = agreement(mine, print_of_other, np.ones_like(mine[..., :1]))
        apart[near[agree < _PRINT]] = np.inf
        np.minimum(best, apart, out=best)
    return best


def grey(small: NDArray[np.uint8]) -> Floats:
    """Pictures (N, H, W, C) as (N, H, W)."""
    found = np.zeros(small.shape[:3], np.float32)
    for channel in range(small.shape[3]):  # many times as fast as a mean over three numbers
        found += small[..., channel]
    found /= small.shape[3]
    return found


def unit(fields: Floats) -> Floats:
    """Fields (…, 8, 8) without their mean and of length 1, (…, 64); nearly 0 of a flat picture."""
    flat = fields.reshape(*fields.shape[:-2], -1)
    flat = flat - flat.mean(axis=-1, keepdims=True)
    found: Floats = flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 4)
    return found


def coarse(small: NDArray[np.uint8]) -> Floats:
    """The coarse structure of pictures, (N, 8, 8)."""
    fields = resized(SIDE, COARSE)
    blocks = (small[start : start + _BLOCK] for start in range(0, len(small), _BLOCK))
    return np.concatenate([fields @ grey(block) @ fields.T for block in blocks])


def _begun(one: Floats, other: Floats, cropped: bool) -> tuple[Floats, Flags, Floats]:
    """Where to begin: for pairs of (P, 32, 32), the best windows of either in the other.

    Returns:
        Correlations (P, 2), the best first; whether the other is mirrored there (P, 2); scales and
        places (P, 2, 4) as `registered` has them.
    """
    ours, theirs = windows(one, cropped), windows(other, cropped)
    mirror = theirs.reshape(*theirs.shape[:2], COARSE, COARSE)[..., ::-1].reshape(theirs.shape)
    scores = np.stack(
        [
            np.einsum("pd,pwd->pw", whole, windows)
            for turned in (theirs, mirror)
            for whole, windows in ((ours[:, 0], turned), (turned[:, 0], ours))
        ],
        axis=1,
    )  # (P, 4, W): in theirs, in ours, in their mirror image, theirs mirrored in ours
    best = np.argsort(-scores.reshape(len(one), -1), axis=1)[:, : _STARTS if cropped else 1]
    which, window = np.divmod(best, scores.shape[2])
    straight = _WINDOWS[window]
    inverse = straight * (1, -1, -1) / straight[..., :1] ** (2, 1, 1)  # theirs laid over ours
    laid = np.where((which % 2 == 1)[..., None], inverse, straight)
    places = laid[..., [0, 1, 0, 2]].astype(np.float32)
    return np.take_along_axis(scores.reshape(len(one), -1), best, axis=1), which >= 2, places


def windows(pictures: Floats, cropped: bool) -> Floats:
    """The coarse structure of each window of pictures (P, 32, 32), (P, W, 64)."""
    fields = resized(SIDE, COARSE)
    found = [unit(fields @ pictures @ fields.T)[:, None]]
    for scale in _SCALES if cropped else ():
        places = [scale * pixel_centres(4 * COARSE) + place for place in (scale - 1, 0, 1 - scale)]
        rows = np.concatenate([sampling(place, SIDE)[0] for place in places])
        rows = rows.reshape(3 * COARSE, 4, SIDE).mean(axis=1)
        block = (rows @ pictures @ rows.T).reshape(len(pictures), 3, COARSE, 3, COARSE)
        found.append(unit(np.moveaxis(block, 2, 3)).reshape(len(pictures), 9, -1))
    return np.concatenate(found, axis=1)


def _laid_over(
    one: NDArray[np.uint8], other: NDArray[np.uint8], places: Floats, mirrored: Flags
) -> Floats:
    """How different pictures (P, 32, 32, C) are, from the best of the starts (P, S); (P,)."""
    ours, theirs = grey(one), grey(other)
    (small, steps), (_, last) = _STEPS
    fields = resized(SIDE, small)
    rough, rough_other = fields @ ours @ fields.T, fields @ theirs @ fields.T
    best = np.full(len(one), -np.inf, np.float32)
    place, turned = places[:, 0].copy(), mirrored[:, 0].copy()
    for start in range(places.shape[1]):
        flipped = mirrored_where(rough_other, mirrored[:, start])
        found = registered(rough, flipped, places[:, start], steps)
        laid, inside = moved(flipped[..., None], found)
        score = agreement(rough[..., None], laid, inside[..., None].astype(np.float32))
        better = score > best
        best[better], place[better] = score[better], found[better]
        turned[better] = mirrored[better, start]
    found = np.full(len(one), np.inf, np.float32)
    near = np.flatnonzero(best > _ROUGHLY)
    if len(near):
        place = registered(
            ours[near], mirrored_where(theirs[near], turned[near]), place[near], last
        )
        laid, inside = moved(mirrored_where(other[near], turned[near]).astype(np.float32), place)
        found[near] = _rest(one[near].astype(np.float32), laid, inside)
    return found


def _rest(ours: Floats, theirs: Floats, inside: Flags) -> Floats:
    """What pictures (P, 32, 32, C) that overlap ``inside`` (P, 32, 32) differ by, (P,)."""
    weights = inside[..., None].astype(np.float32)
    ours, theirs = (smoothed(part, weights, _SMOOTH) for part in (ours, theirs))
    fine, fine_other = (part - smoothed(part, weights, _WIDE) for part in (ours, theirs))
    fine, fine_other = fine * weights, fine_other * weights
    count = weights.sum(axis=(1, 2, 3)) * ours.shape[3]
    energy = [np.einsum("phwc,phwc->p", part, part) for part in (fine, fine_other)]
    structure = np.einsum("phwc,phwc->p", fine, fine_other) / np.sqrt(energy[0] * energy[1] + 1e-3)
    found: Floats = (1 - structure) / _STRUCTURE
    flat = np.minimum(*energy) < _PLAIN**2 * count
    found[flat | (inside.mean(axis=(1, 2)) < _OVERLAP)] = np.inf
    near = np.flatnonzero(found <= _BULK[1])  # of others, how different they are tells nothing
    if len(near):
        gain = np.sqrt((energy[1][near] + 1) / (energy[0][near] + 1))[:, None, None, None]
        signs = _signs(fine[near] * np.sqrt(gain), fine_other[near] / np.sqrt(gain)) / _SIGNS
        left = _left_over(ours[near], theirs[near], weights[near])
        found[near] = np.maximum(found[near], np.maximum(left, signs))
    return found


def _left_over(ours: Floats, theirs: Floats, weights: Floats) -> Floats:
    """What is left of either of (P, 32, 32, C) where the other is taken away, (P,)."""
    count = weights.sum(axis=(1, 2, 3)) * ours.shape[3]
    found = np.full(len(ours), np.inf, np.float32)
    for one, other in ((ours, theirs), (theirs, ours)):
        around = centred(other, weights)
        contrast = np.sqrt(np.einsum("phwc,phwc->p", around, around) / count) + 1
        for predicted in _as_bright(one, other, weights):
            left = (predicted - other) * weights
            squares = np.einsum("phwc,phwc->phw", left, left)
            whole = np.sqrt(squares.sum(axis=(1, 2)) / count) / contrast
            most = np.sqrt(_by_field(squares).max(axis=(1, 2)) / ours.shape[3]) / contrast
            np.minimum(found, np.maximum(whole / _REST, most / _FIELD), out=found)
    return found


def _fine(pictures: Floats) -> Floats:
    """The fine structure of pictures (P, 32, 32, C)."""
    whole = np.ones_like(pictures[..., :1])
    smooth = smoothed(pictures, whole, _SMOOTH)
    found: Floats = smooth - smoothed(smooth, whole, _WIDE)
    return found


def _by_field(squares: Floats) -> Floats:
    """Means of (P, 32, 32) over the fields of the coarse structure, (P, 8, 8)."""
    fields = resized(SIDE, COARSE)
    found: Floats = fields @ squares @ fields.T
    return found


def _signs(fine: Floats, other: Floats) -> Floats:
    """How far fine structure (P, 32, 32, C) differs in the few fields where it differs most, (P,).

    Each field is measured by its own structure, from 0 to 2, so that a faint sign on a page counts
    though the page's edge is all that a correlation of the whole sees.
    """
    channels = fine.shape[3]
    rest = _by_field(np.square(fine - other).sum(axis=3)) / channels
    energy = _by_field((np.square(fine) + np.square(other)).sum(axis=3)) / channels
    share = (rest * energy / np.square(energy + _NOISE)).reshape(len(fine), -1)
    found: Floats = np.sort(share, axis=1)[:, -_SIGN:].mean(axis=1)
    return found


def _as_bright(one: Floats, other: Floats, weights: Floats) -> Iterator[Floats]:
    """``one`` (P, n, n, C) as bright as ``other``: by a factor, by an offset, by a gamma.

    Each is told by means where neither is cut off, and cuts off itself. A change of contrast about
    white is none of them: line drawings of one outline differ by it.
    """
    both = np.concatenate([one, other], axis=3)
    kept = weights * ((both > _DARK) & (both < _BRIGHT)).all(axis=3, keepdims=True)
    few = kept.sum(axis=(1, 2, 3)) < 0.1 * weights.sum(axis=(1, 2, 3))
    kept[few] = weights[few]
    total = kept.sum(axis=(1, 2, 3), keepdims=True) * one.shape[3]

    def mean(part: Floats) -> Floats:
        found: Floats = (part * kept).sum(axis=(1, 2, 3), keepdims=True) / total
        return found

    ours, theirs = mean(one), mean(other)
    yield np.clip(one * np.clip((theirs + 1) / (ours + 1), 0.5, 2), 0, 255)
    yield np.clip(one + np.clip(theirs - ours, -80, 80), 0, 255)
    logs, aim = (np.log((part + 2) / 258) for part in (one, other))
    gamma = np.clip(mean(aim) / np.minimum(mean(logs), -1e-3), 0.5, 2)
    yield 258 * np.exp(gamma * logs) - 2
