"""Each picture beside all others: nearest, farthest, how odd, nearly the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.evaluations.anomalies import NEAREST, Ranked, rank_within, score_of
from vicinal.evaluations.duplicates import Duplicates, find_duplicates
from vicinal.evaluations.maps import lists
from vicinal.evaluations.same_picture import KnownPairs, first_equal, made_small
from vicinal.explore.stage_results import FOLDER, StageResult, neighbours_in
from vicinal.files import write_parquet
from vicinal.representations.neighbours import (
    Neighbours,
    nearest,
    nearest_and_farthest,
    updated_neighbours,
)
from vicinal.representations.representations import Representations
from vicinal.runs.pictures import Pixels

NEAR = 10
FAR = 5
_COMPARED = f"{FOLDER}/compared.parquet"  # pairs of pictures and how different their pixels are
_BLOCK = 256  # pictures made small at a time


@dataclass(frozen=True, eq=False)
class Earlier:
    """What a comparison found, of pictures of which some are here again.

    Attributes:
        origin: Array (N,) int64, each picture's row there, -1 for a new one.
        near: The nearest of each of those that were there.
        far: Their farthest.
        compared: What their pixels said, in rows of this set; None where it was not kept.
    """

    origin: NDArray[np.int64]
    near: Neighbours
    far: Neighbours
    compared: KnownPairs | None


def read_earlier(
    run: Path, points: pa.Table, array: NDArray[np.float32], origin: NDArray[np.int64]
) -> Earlier:
    """What a run found, for the pictures of it that are kept.

    Args:
        run: Its folder.
        points: Its ``points.parquet``.
        array: Its representations (M, F).
        origin: As in `Earlier`.
    """
    near = neighbours_in(points, "neighbors", "distances")
    far = neighbours_in(points, "farthest", "far_distances")
    if not (run / _COMPARED).is_file():
        return Earlier(origin, near, far, None)
    kept = pq.read_table(run / _COMPARED)
    place = np.full(len(array), -1)
    place[origin[origin >= 0]] = np.flatnonzero(origin >= 0)
    pairs = place[np.stack([kept["a"].to_numpy(), kept["b"].to_numpy()], axis=1)]
    here = (pairs >= 0).all(axis=1)
    # Only the first of identical pictures was compared; it may be gone.
    stood = first_equal(array) == np.arange(len(array))
    fresh = (origin < 0) | ~stood[origin]
    known = KnownPairs(pairs[here], kept["difference"].to_numpy()[here], fresh)
    return Earlier(origin, near, far, known)


def compare_pictures(
    embeddings: Representations,
    pixels: Pixels,
    folder: Path,
    *,
    false_alarms: float,
    ranked: Ranked | None = None,
    earlier: Earlier | None = None,
) -> StageResult:
    """Columns of neighbours, anomaly scores and duplicate groups, and the figures of the set.

    Writes ``duplicates.parquet``, ``duplicates.csv`` and ``anomalies.csv`` into the folder.

    Args:
        embeddings: The pictures, at least two.
        pixels: (N, H, W, C) uint8, in the same order, a second opinion on duplicates.
        folder: Where the files go.
        false_alarms: The share of the pictures that may be flagged as odd.
        ranked: How odd each picture is; None to hold each against all others.
        earlier: What was found of some of them before: only new ones are compared with all.

    Raises:
        InputError: If the rate is out of range.
    """
    compared_by = embeddings.as_compared()
    array = compared_by.array
    k = min(NEAR, len(array) - 1)
    if earlier is None:
        near, far = nearest_and_farthest(array, array, k, exclude_self=True)
    else:
        both = (earlier.near, earlier.far, (k, min(FAR, k)))
        near, far = updated_neighbours(array, earlier.origin, *both)
    compared = None if earlier is None else earlier.compared
    same = find_duplicates(compared_by, near=near, small=all_small(pixels), earlier=compared)
    group = _write_duplicates(folder, embeddings, same)
    k = min(NEAREST, k)
    if ranked is None:
        apart = near
        if compared_by is not embeddings:  # oddness counts lengths, which neighbours do without
            rows = embeddings.array
            apart = nearest(rows, rows, near.indices.shape[1], exclude_self=True)
        ranked = rank_within(_scores(apart, group, k), false_alarms=false_alarms)
    ranked.save(folder / "anomalies.csv", embeddings)
    columns = {
        "score": pa.array(ranked.scores),
        "p_value": pa.array(ranked.p_values.astype(np.float32)),
        "rank": pa.array(np.argsort(ranked.order).astype(np.int32) + 1),
        "flagged": pa.array(ranked.flagged),
        "neighbors": lists(near.indices.astype(np.int32)),
        "distances": lists(near.distances),
        "farthest": lists(far.indices[:, :FAR].astype(np.int32)),
        "far_distances": lists(np.ascontiguousarray(far.distances[:, :FAR])),
        "group": pa.array(group),
    }
    odd: dict[str, Any] = {"k": k, "false_alarms": false_alarms, "threshold": ranked.threshold}
    odd["flagged"] = int(ranked.flagged.sum())
    return columns, {"anomalies": odd, "duplicates": _duplicate_figures(same)}


def _duplicate_figures(same: Duplicates) -> dict[str, Any]:
    return {
        "threshold": same.threshold,
        "typical": same.typical,
        "warning": same.warning(),
        "pairs": len(same.pairs),
        "groups": len(same.groups),
    }


def _scores(near: Neighbours, group: NDArray[np.int32], k: int) -> NDArray[np.float32]:
    """How odd each picture is, (N,): its mean distance to the k nearest that are not its copies.

    An odd picture stays odd where it lies twice in the set. Of one whose nearest are all copies,
    the others are at least as far as the last of those.
    """
    copies = (group[near.indices] == group[:, None]) & (group[:, None] >= 0)
    distances = np.where(copies, near.distances[:, -1:], near.distances)
    first = np.argsort(copies, axis=1, kind="stable")[:, :k]
    return score_of(np.take_along_axis(distances, first, axis=1)).astype(np.float32)


def all_small(pixels: Pixels) -> NDArray[np.uint8]:
    """All pictures made small, (N, 32, 32, C), block by block."""
    starts = range(0, len(pixels), _BLOCK)
    return np.concatenate([made_small(pixels[start : start + _BLOCK]) for start in starts])


def _write_duplicates(
    folder: Path, embeddings: Representations, same: Duplicates
) -> NDArray[np.int32]:
    """Writes the pairs, and gives each picture's group, −1 for none."""
    if same.compared is not None:
        a, b = same.compared.pairs.T.astype(np.int32)
        columns = {"a": a, "b": b, "difference": same.compared.differences}
        (folder / _COMPARED).parent.mkdir(exist_ok=True)
        write_parquet(folder / _COMPARED, columns)
    group = np.full(len(embeddings), -1, np.int32)
    for number, rows in enumerate(same.groups):
        group[rows] = number
    pairs = {
        "a": same.pairs[:, 0].astype(np.int32),
        "b": same.pairs[:, 1].astype(np.int32),
        "distance": same.distances.astype(np.float32),
        "group": group[same.pairs[:, 0]],
    }
    write_parquet(folder / "duplicates.parquet", pairs)
    same.save(folder / "duplicates.csv", embeddings)
    return group
