"""Exact nearest and farthest neighbours: one search for every evaluation and graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal import cores
from vicinal.errors import InputError, option

# One search serves every size; faiss would not pay. Measured on 2 cores against its IndexFlatL2
# and scikit-learn's brute force: 10,000 queries × 50,000 × 128, k=16, CPU time 1.35 and 0.73 of
# theirs; 2,000 queries × 50,000 × 3072, 1.5 and 0.67. faiss finds no farthest rows, and neither
# of the two notices when float32 has ranked wrongly. On a GPU products, selection and the exact
# distances of the candidates are computed there; what stays doubtful is settled on the CPU.
End = Literal["nearest", "farthest"]
Gallery = NDArray[np.float32] | Tensor
"""Rows (N, F) float32: an array, or a tensor on any device."""
BLOCK = 2**25
"""Entries of a block of distances: 128 MB in float32."""
_SPARE = 8  # candidates beyond k, so that rounding hides none


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The k neighbours of each query, the most extreme first."""

    indices: NDArray[np.int64]  # array (Q, k) int64 of rows of the gallery
    distances: NDArray[np.float32]  # array (Q, k) float32, L2 distances (not squared)


def nearest(
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    k: int,
    *,
    exclude_self: bool = False,
    device: str = "cpu",
) -> Neighbours:
    """The k nearest rows of the gallery to each query, nearest first.

    Exact: ranked by float64 distances of direct subtraction, equal distances by index.
    Memory beyond the arguments: a centred copy of the gallery and a few blocks.

    Args:
        queries: Array (Q, F) float32.
        gallery: Array (N, F) float32.
        k: Neighbours of each query, from 1 to N (to N − 1 with ``exclude_self``).
        exclude_self: The queries are the gallery, and row i is no neighbour of row i;
            a duplicate of it at another row is.
        device: Where distances are computed, ``cpu`` or ``cuda``; the result is the same.

    Raises:
        InputError: If there are fewer than k rows to find, shapes disagree or a number is
            not finite.
    """
    return _search(queries, gallery, k, exclude_self, ("nearest",), device)[0]


def nearest_and_farthest(
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    k: int,
    *,
    exclude_self: bool = False,
    device: str = "cpu",
) -> tuple[Neighbours, Neighbours]:
    """The k nearest rows of the gallery and the k farthest (farthest first), in one pass.

    Arguments and errors are those of `nearest`.
    """
    near, far = _search(queries, gallery, k, exclude_self, ("nearest", "farthest"), device)
    return near, far


def unit_length(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows (N, F) float32 at length 1; a row of zeros has no direction and stays.

    Between unit vectors L2 ranks as cosine similarity s does: |a − b|² = 2 − 2s.
    """
    length = np.sqrt(np.einsum("nf,nf->n", array, array, dtype=np.float64))
    return array / np.where(length > 0, length, 1.0).astype(np.float32)[:, None]


def _search(
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    k: int,
    exclude_self: bool,
    ends: tuple[End, ...],
    device: str,
) -> list[Neighbours]:
    """Ranks candidates found in float32; what that cannot settle is settled in float64."""
    check_search(queries, gallery, k, exclude_self)
    found = [
        Neighbours(np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32))
        for _ in ends
    ]
    doubtful: list[list[NDArray[np.int64]]] = [[] for _ in ends]
    # ‖q − g‖² = ‖q‖² + ‖g‖² − 2q·g loses digits when the norms are large beside the distance,
    # so both are moved to the gallery's mean first.
    centre = gallery.mean(axis=0, dtype=np.float64)
    centred = torch.from_numpy(seen_from(gallery, centre)).to(device)
    squares = centred.square().sum(dim=1)
    reach = float(squares.max().sqrt())
    held: Gallery = gallery if device == "cpu" else torch.tensor(gallery, device=device)
    rows = max(1, BLOCK // len(gallery))
    buffer = torch.empty(min(rows, len(queries)), len(gallery), device=device)
    for start in range(0, len(queries), rows):
        cores.glance()
        part = queries[start : start + rows]
        block = torch.from_numpy(seen_from(part, centre)).to(device)
        length = block.square().sum(dim=1, keepdim=True)
        with full_float32():  # all but ‖q‖², which ranks nothing
            rough = torch.mm(block.mul_(-2), centred.T, out=buffer[: len(part)]).add_(squares)
        error = rounding(np.sqrt(length.cpu().numpy()[:, 0]) + reach, gallery.shape[1], np.float32)
        here = np.arange(start, start + len(part))
        for end, result, unsettled in zip(ends, found, doubtful, strict=True):
            if exclude_self:
                itself = rough[:, start : start + len(part)].diagonal()
                itself.fill_(torch.inf if end == "nearest" else -torch.inf)
            pool = len(gallery) - exclude_self
            index, distances, certain = _ranked(
                part, held, rough, length[:, 0], error, k, pool, end
            )
            result.indices[here], result.distances[here] = index, distances
            unsettled.append(here[~certain])
    for end, result, unsettled in zip(ends, found, doubtful, strict=True):
        again = np.concatenate([*unsettled, np.empty(0, np.int64)])
        _settle(queries, gallery, centre, again, end, exclude_self, result)
    return found


def _ranked(
    queries: NDArray[np.float32],
    gallery: Gallery,
    rough: Tensor,
    length: Tensor,
    error: NDArray[np.float64],
    k: int,
    pool: int,
    end: End,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Indices and distances (B, k), and which rows (B,) are certain.

    ``rough`` squared distances (B, N) lack ``length`` (B,), the query's own square.
    """
    # A few more than k, so that rounding in the rough distances seldom hides a neighbour.
    count = min(pool, k + max(8, k // 4))
    extreme, candidates = _extremes(rough, count, end)
    index = np.sort(candidates.cpu().numpy(), axis=1)
    sign = 1.0 if end == "nearest" else -1.0
    keys = sign * squared_distances(queries, gallery, index)
    order = np.argsort(keys, axis=1, kind="stable")[:, :k]  # stable: ties by index
    best = np.take_along_axis(keys, order, axis=1)
    # What is no candidate is at least this far along, so it cannot be among the k.
    outside = sign * (extreme + length).cpu().numpy().astype(np.float64) - error
    certain = (best[:, -1] < outside) | (count == pool)
    return np.take_along_axis(index, order, axis=1), np.sqrt(sign * best), certain


def _extremes(rough: Tensor, count: int, end: End) -> tuple[Tensor, Tensor]:
    """The last (B,) of the ``count`` extreme entries of each row (B, N), and where all are.

    Rows are split into groups of columns. The extreme entries are among the groups whose own
    extremes are so, so only those groups' entries are sorted; a sort of all takes longer than
    the distances themselves.
    """
    far = end == "farthest"
    rows, columns = rough.shape
    size = int((columns / count) ** 0.5)  # as many groups as entries of the groups kept
    if size < 4:
        extreme, where = rough.topk(count, dim=1, largest=far)
        return extreme[:, -1], where
    groups = columns // size
    # Columns that are `groups` apart make a group: reducing over rows of a matrix is quick.
    grouped = rough[:, : groups * size].view(rows, size, groups)
    best = grouped.amax(dim=1) if far else grouped.amin(dim=1)
    kept = best.topk(count, dim=1, largest=far, sorted=False).indices
    steps = torch.arange(size, device=rough.device) * groups
    among = (kept[:, :, None] + steps).view(rows, -1)
    left = torch.arange(groups * size, columns, device=rough.device).expand(rows, -1)
    among = torch.cat([among, left], dim=1)
    extreme, place = rough.gather(1, among).topk(count, dim=1, largest=far)
    return extreme[:, -1], among.gather(1, place)


def _settle(
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    centre: NDArray[np.float64],
    doubtful: NDArray[np.int64],
    end: End,
    exclude_self: bool,
    result: Neighbours,
) -> None:
    """Ranks the doubtful queries again, from float64 distances to the whole gallery."""
    k = result.indices.shape[1]
    sign = 1.0 if end == "nearest" else -1.0
    rows = max(1, BLOCK // (2 * len(gallery)))
    for start in range(0, len(doubtful), rows):
        chosen = doubtful[start : start + rows]
        rough, error = rough_float64(queries[chosen] - centre, gallery, centre)
        rough *= sign
        if exclude_self:
            rough[np.arange(len(chosen)), chosen] = np.inf
        limit = np.partition(rough, k - 1, axis=1)[:, k - 1] + 2 * error
        for row, query in enumerate(chosen):
            index = np.flatnonzero(rough[row] <= limit[row])
            keys = sign * squared_distances(queries[query][None], gallery, index[None])[0]
            order = np.argsort(keys, kind="stable")[:k]
            result.indices[query] = index[order]
            result.distances[query] = np.sqrt(sign * keys[order])


def check_search(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], k: int, exclude_self: bool
) -> None:
    """Raises InputError where the search cannot be done."""
    if queries.ndim != 2 or gallery.ndim != 2 or not (queries.shape[1] == gallery.shape[1] > 0):
        raise InputError(
            f"neighbours: queries {queries.shape} and gallery {gallery.shape} must both be "
            "(rows, features) with as many features"
        )
    if exclude_self and len(queries) != len(gallery):
        raise InputError(
            f"neighbours: {len(queries)} queries are not the gallery's {len(gallery)} rows"
        )
    if k < 1:
        raise InputError(f"{option('k', k)} must be at least 1")
    if k > len(gallery) - exclude_self:
        other = " beside the query itself" if exclude_self else ""
        raise InputError(
            f"{option('k', k)}: k={k} neighbours but only {len(gallery) - exclude_self} "
            f"images{other}: lower k or give more images"
        )
    for name, array in (("queries", queries), ("gallery", gallery)):
        if not np.isfinite(array.sum(dtype=np.float64)):
            raise InputError(f"neighbours: {name} have values that are not finite (NaN or inf)")


def rough_float64(
    centred: NDArray[np.float64], gallery: NDArray[np.float32], centre: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared distances (B, N) of centred queries (B, F), and the bound (B,) of their error."""
    rough = np.empty((len(centred), len(gallery)))
    reach = 0.0
    rows = max(1, BLOCK // (2 * gallery.shape[1]))
    for start in range(0, len(gallery), rows):
        part = gallery[start : start + rows] - centre
        squares = np.einsum("nf,nf->n", part, part)
        rough[:, start : start + rows] = squares - 2 * (centred @ part.T)
        reach = max(reach, float(squares.max()))
    length = np.einsum("nf,nf->n", centred, centred)
    rough += length[:, None]
    return rough, rounding(np.sqrt(length) + np.sqrt(reach), gallery.shape[1], np.float64)


def rounding(
    lengths: NDArray[np.floating], features: int, dtype: type[np.floating]
) -> NDArray[np.float64]:
    """Bound of the error of an expanded squared distance.

    Higham, Accuracy and Stability of Numerical Algorithms (2002), section 3.1: a dot product of
    F terms errs by at most F·u·|a|·|b|, so ‖q‖² + ‖g‖² − 2q·g by F·u·(|q| + |g|)²; the 16 is for
    centring and adding up.

    Shapes: lengths (B,).
    """
    unit, least = float(np.finfo(dtype).eps) / 2, float(np.finfo(dtype).tiny)
    bound: NDArray[np.float64] = (features + 16) * (unit * lengths.astype(np.float64) ** 2 + least)
    return bound


def squared_distances(
    queries: NDArray[np.float32], gallery: Gallery, index: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Squared L2 (B, m) float64 from queries to rows ``index`` (B, m), on the gallery's device."""
    squared = np.empty(index.shape)
    # Pairs at a time: on a CPU so many that the cache holds them, which takes half the time.
    width = max(1, BLOCK // ((16 if isinstance(gallery, Tensor) else 64) * gallery.shape[1]))
    rows, columns = max(1, width // index.shape[1]), min(width, index.shape[1])
    for top in range(0, len(index), rows):
        for left in range(0, index.shape[1], columns):
            part = index[top : top + rows, left : left + columns]
            found = _rows(gallery, part)
            exact = torch.from_numpy(queries[top : top + rows].astype(np.float64))
            apart = found - exact.to(found.device)[:, None]
            summed = apart.square_().sum(dim=2)
            squared[top : top + rows, left : left + columns] = summed.cpu().numpy()
    return squared


def _rows(gallery: Gallery, index: NDArray[np.int64]) -> Tensor:
    """The rows (B, m, F) float32 of the gallery at ``index`` (B, m)."""
    if isinstance(gallery, Tensor):
        return gallery[torch.from_numpy(index).to(gallery.device)]
    if not (gallery.flags.writeable and gallery.flags.c_contiguous):  # as a memory map is not
        return torch.from_numpy(gallery[index])
    wanted = torch.from_numpy(index.ravel())  # torch gathers on all threads
    return torch.from_numpy(gallery).index_select(0, wanted).view(*index.shape, -1)


def seen_from(array: NDArray[np.float32], centre: NDArray[np.float64]) -> NDArray[np.float32]:
    """The rows (B, F) as seen from the centre (F,), without a float64 copy of them all."""
    seen = np.empty(array.shape, dtype=np.float32)
    return np.subtract(array, centre, out=seen, casting="same_kind")


@contextmanager
def full_float32() -> Iterator[None]:
    """Keeps products in float32, whose rounding `rounding` bounds, where TF32 was allowed."""
    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)


def updated_neighbours(
    array: NDArray[np.float32],
    origin: NDArray[np.int64],
    near: Neighbours,
    far: Neighbours,
    k: tuple[int, int],
) -> tuple[Neighbours, Neighbours]:
    """The nearest and the farthest other rows of each, as a search of all among all finds them.

    A row that was there is compared with the new ones; its list is merged with those, by float64
    distances. New rows are searched among all, and so are those whose lists lost a row.

    Shapes: array (N, F) float32; origin (N,) int64.
    """
    new, old = np.flatnonzero(origin < 0), np.flatnonzero(origin >= 0)
    place = np.full(len(near.indices), -1)
    place[origin[old]] = old
    lists = [place[each.indices[origin[old]]] for each in (near, far)]
    whole = (np.hstack(lists) >= 0).all(axis=1)
    rows, kept = np.concatenate([new, old[~whole]]), old[whole]
    results = [
        Neighbours(np.empty((len(array), n), np.int64), np.empty((len(array), n), np.float32))
        for n in k
    ]
    if len(rows):
        searched = nearest_and_farthest(array[rows], array, min(max(k) + 1, len(array)))
        for result, found in zip(results, searched, strict=True):
            _merge(array, rows, found.indices, result, farthest=result is results[1])
    held = [
        Neighbours(each[whole], earlier.distances[origin[kept]])
        for each, earlier in zip(lists, (near, far), strict=True)
    ]
    centre = array.mean(axis=0, dtype=np.float64)
    step = max(1, BLOCK // (4 * max(len(new), array.shape[1])))
    for start in range(0, len(kept), step):
        part = slice(start, start + step)
        rough, error = rough_float64(array[kept[part]] - centre, array[new], centre)
        for result, earlier in zip(results, held, strict=True):
            one = Neighbours(earlier.indices[part], earlier.distances[part])
            farthest = result is results[1]
            _join(array, kept[part], one, new, rough, error, result, farthest=farthest)
    return results[0], results[1]


def _join(
    array: NDArray[np.float32],
    rows: NDArray[np.int64],
    held: Neighbours,
    new: NDArray[np.int64],
    rough: NDArray[np.float64],
    error: NDArray[np.float64],
    result: Neighbours,
    *,
    farthest: bool,
) -> None:
    """Fills the lists of ``rows`` (B,) from those held and from squared distances (B, M) to new."""
    k = result.indices.shape[1]
    short = held.indices.shape[1] < k  # there were no more
    if not short:
        result.indices[rows] = held.indices[:, :k]
        result.distances[rows] = held.distances[:, :k]
    keys = -rough if farthest else rough
    nearest_new = np.argsort(keys, axis=1, kind="stable")[:, : k + _SPARE]
    last = np.square(held.distances[:, -1].astype(np.float64))  # as it was rounded to float32
    limit = (-last * (1 - 1e-6) if farthest else last * (1 + 1e-6)) + error
    enters = np.take_along_axis(keys, nearest_new, axis=1) <= limit[:, None]
    enters |= short
    some = np.flatnonzero(enters.any(axis=1) | short)
    # A row itself fills up the candidates: it is no neighbour of its own.
    added = np.where(enters[some], new[nearest_new[some]], rows[some, None])
    candidates = np.hstack([held.indices[some], added])
    _merge(array, rows[some], candidates, result, farthest=farthest)


def _merge(
    array: NDArray[np.float32],
    rows: NDArray[np.int64],
    candidates: NDArray[np.int64],
    result: Neighbours,
    *,
    farthest: bool,
) -> None:
    """Fills the lists of ``rows`` (B,) with the best of their candidates (B, m), none of itself."""
    k = result.indices.shape[1]
    index = np.sort(candidates, axis=1)
    keys = squared_distances(array[rows], array, index)
    keys = np.where(index == rows[:, None], np.inf, -keys if farthest else keys)
    order = np.argsort(keys, axis=1, kind="stable")[:, :k]  # stable: ties by index
    result.indices[rows] = np.take_along_axis(index, order, axis=1)
    result.distances[rows] = np.sqrt(np.abs(np.take_along_axis(keys, order, axis=1)))
