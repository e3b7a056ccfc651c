"""New pictures beside those of a finished run: on its map, in its groups, held against its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.encoder.saved import fingerprint
from vicinal.errors import InputError
from vicinal.evaluations.conformal import conformal_p_values
from vicinal.evaluations.maps import placed_by_pca, placed_by_tsne
from vicinal.explore.compare import SCORED, compare, read_earlier
from vicinal.explore.described import describe
from vicinal.explore.doubts import find_doubts
from vicinal.explore.groups import find_groups, keep_groups
from vicinal.explore.maps import map_columns, map_trustworthiness
from vicinal.explore.points import Found, neighbours_of, read_part, write_part
from vicinal.files import write_csv
from vicinal.report.explorer.run_files import ExploreRun, read_explored
from vicinal.representations.embeddings import Embeddings
from vicinal.representations.neighbours import Neighbours, nearest
from vicinal.study.pictures import Pixels, add_pictures

OLD, NEW = "old", "new"
"""Parts of a set that the page tells apart."""
_ASKED = 15  # nearest old pictures of each new one; openTSNE's transform takes as many
_VOTES = 10  # of these say which group it is in


@dataclass(frozen=True, eq=False)
class Held:
    """A finished run of `explore`.

    Attributes:
        run: Its folder.
        explored: What its page is drawn from.
        embeddings: All of its pictures.
        encoder: The encoder that embedded them.
    """

    run: Path
    explored: ExploreRun
    embeddings: Embeddings
    encoder: Path

    def column(self, name: str) -> NDArray[Any]:
        """A column of numbers (N,) of its ``points.parquet``, NaN for those that are not there."""
        values: NDArray[Any] = self.explored.points.column(name).to_numpy()
        return values


def read_held(run: Path) -> Held:
    """Reads a finished run of `explore`, and finds its encoder.

    Raises:
        InputError: If it is none, or its embeddings or its encoder are gone or are others.
    """
    explored = read_explored(run)
    if explored.folder != run or not (run / "embeddings.parquet").is_file():
        raise InputError(f"{run}: no embeddings.parquet in it; name a finished run of explore")
    embeddings = Embeddings.load(run / "embeddings.parquet")
    if len(embeddings) != len(explored):
        raise InputError(
            f"{run}: {len(embeddings):,} embeddings and {len(explored):,} points; explore anew"
        )
    own = run / "encoder.safetensors"
    encoder = own if own.is_file() else Path(embeddings.origin.get("encoder", own))
    if not encoder.is_file():
        raise InputError(f"{run}: its encoder, {encoder}, is gone; explore its pictures anew")
    if fingerprint(encoder) != embeddings.origin.get("encoder_sha256"):
        raise InputError(f"{run}: {encoder} is another encoder than embedded its pictures")
    return Held(run, explored, embeddings, encoder)


def join(
    folder: Path,
    held: Held,
    everything: Embeddings,
    origin: NDArray[np.int64],
    pixels: Pixels,
    *,
    false_alarms: float,
    apart: bool,
) -> dict[str, Any]:
    """Writes the files of a run, up to ``points.parquet`` and ``health.json``, of old and new.

    Old pictures keep their places on both maps, bit by bit, and their groups. A new one is placed
    by openTSNE's transform, or at its nearest old one where it lies beyond these: where fewer than
    ``false_alarms`` of them are as far from others. It is in the group of most of its nearest.

    Args:
        folder: Where the files go, another than the held run's.
        held: The run that old pictures are from.
        everything: All pictures, in the order of the new run's rows.
        origin: Array (N,) int64, each picture's row in the held run, -1 for a new one.
        pixels: The M new ones, in their order.
        false_alarms: The share of the pictures that may be flagged as odd.
        apart: Whether new pictures are held against the old ones alone, else all against all.

    Returns:
        How many pictures are old and new, how many have gone, and how many new ones lie beyond.
    """
    everything.save(folder / "embeddings.parquet")
    shown = add_pictures(folder / "pictures", held.run / "pictures", origin, pixels)
    known = origin >= 0
    array, rows = everything.array, origin[known]
    k = min(_ASKED, len(rows))
    found = nearest(array[~known], array[known], k) if not known.all() else _nobody(k)
    scores = np.empty(len(array), np.float32)
    scores[known] = held.column("score")[rows]
    scores[~known] = found.distances[:, :SCORED].mean(axis=1, dtype=np.float64)
    p_values = conformal_p_values(scores[~known], scores[known])
    beyond = p_values <= false_alarms
    beside = (known, scores) if apart else None
    earlier = read_earlier(held.run, held.explored.points, held.embeddings.array, origin)
    rate = {"false_alarms": false_alarms}
    compared = compare(everything, shown, folder, **rate, known=beside, earlier=earlier)
    write_part(folder, "compare", compared)
    near = neighbours_of(read_part(folder, "compare"))
    write_part(folder, "map", _placed(held, array, origin, found, beyond, near))
    write_part(folder, "group", _grouped(held, everything, origin, found, folder))
    write_part(folder, "labels", find_doubts(everything, folder))
    worth = next(iter(held.explored.health.get("figures", [])), None)
    if apart or everything.splits is None:
        everything = replace(everything, splits=np.where(known, OLD, NEW))
    describe(folder, everything, shown, None, worth)
    _write_new(folder / "new.csv", everything, known, scores, p_values, found)
    return {
        "run": str(held.run),
        "old": int(known.sum()),
        "new": int((~known).sum()),
        "gone": len(held.embeddings) - int(known.sum()),
        "beyond": int(beyond.sum()),
    }


def _nobody(k: int) -> Neighbours:
    """The neighbours of no pictures."""
    return Neighbours(np.empty((0, k), np.int64), np.empty((0, k), np.float32))


def _placed(
    held: Held,
    array: NDArray[np.float32],
    origin: NDArray[np.int64],
    found: Neighbours,
    beyond: NDArray[np.bool_],
    near: Neighbours,
) -> Found:
    """The columns of both maps, and their figures."""
    known, maps, trust = origin >= 0, {}, {}
    new = np.flatnonzero(~known)
    for name in ("pca", "tsne"):
        old = np.stack([held.column(f"{name}_{axis}") for axis in "xy"], axis=1)[origin[known]]
        if not np.isfinite(old).all():
            continue  # too few pictures for t-SNE
        points = np.empty((len(array), 2), np.float32)
        points[known] = old
        if len(new) and name == "pca":
            points[new] = placed_by_pca(old, array[known], array[new])
        elif len(new):
            points[new] = placed_by_tsne(old, found)
            points[new[beyond]] = _aside(old[found.indices[beyond, 0]], np.ptp(old))
        maps[name] = points
        trust[name] = np.full(len(array), np.nan, np.float32)
        trust[name][known] = held.column(f"{name}_trust")[origin[known]]
    figures: dict[str, Any] = {
        name: {"trustworthiness": map_trustworthiness(array, points)}
        for name, points in maps.items()
    }
    figures["pca"]["explained"] = held.explored.figures["maps"]["pca"]["explained"]
    return map_columns(maps, array, near, trust), {"maps": figures}


def _aside(points: NDArray[np.float32], extent: float) -> NDArray[np.float32]:
    """Places (M, 2) a little aside, so that each point can be seen and pointed at."""
    drawn = np.random.default_rng(0).normal(scale=0.004 * extent, size=points.shape)
    return (points + drawn).astype(np.float32)


def _grouped(
    held: Held,
    everything: Embeddings,
    origin: NDArray[np.int64],
    found: Neighbours,
    folder: Path,
) -> Found:
    """The groups as they were, with each new picture in that of most of its nearest old ones."""
    told = held.explored.figures["clusters"]
    if told is None or "finest" not in held.explored.points.column_names:
        return find_groups(everything, folder)
    known = origin >= 0
    finest = np.empty(len(origin), np.int64)
    finest[known] = held.column("finest")[origin[known]]
    votes = finest[known][found.indices[:, :_VOTES]]
    finest[~known] = [np.bincount(each).argmax() for each in votes]
    return keep_groups(everything, folder, finest, told)


def _write_new(
    path: Path,
    everything: Embeddings,
    known: NDArray[np.bool_],
    scores: NDArray[np.float32],
    p_values: NDArray[np.float64],
    found: Neighbours,
) -> None:
    """The new pictures, the oddest first, each with its nearest old one."""
    new, old = np.flatnonzero(~known), np.flatnonzero(known)
    rows: list[list[object]] = []
    for at in np.argsort(-scores[new], kind="stable").tolist():
        nearest_one = everything.describe(int(old[found.indices[at, 0]]))
        distance = float(found.distances[at, 0])
        told = everything.describe(int(new[at]))
        p, score = float(p_values[at]), float(scores[new[at]])
        rows.append([len(rows) + 1, *told.values(), score, p, distance, *nearest_one.values()])
    columns = everything.columns()
    nearest_columns = [f"nearest_{name}" for name in columns]
    header = ["rank", *columns, "score", "p_value", "nearest_distance", *nearest_columns]
    write_csv(path, header, rows)
