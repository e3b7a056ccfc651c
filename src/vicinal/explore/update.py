"""A finished run and what came later: other pictures on its map, or its own folder a day after."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.encoder.saved import fingerprint, load_encoder
from vicinal.errors import InputError, option
from vicinal.evaluations.anomalies import NEAREST, Ranked, rank_beside, score_of
from vicinal.evaluations.maps import placed_by_pca, placed_by_tsne
from vicinal.explore.compare import compare, find_doubts, read_earlier
from vicinal.explore.groups import find_groups, keep_groups
from vicinal.explore.maps import map_columns, map_trustworthiness
from vicinal.explore.points import (
    WITH_COLUMNS,
    Found,
    describe,
    neighbours_of,
    read_figures,
    read_part,
    skipped_in,
    write_part,
)
from vicinal.explore.request import Request
from vicinal.files import is_address, read_json, write_csv, write_json, write_parquet
from vicinal.images import Part, Skipped, keep_skipped, lists_files, load_parts, named
from vicinal.images.folder import Files
from vicinal.images.picture_list import PictureList
from vicinal.report import MOST_PICTURES, write_explorer
from vicinal.report.explorer.columns import ExploreRun, read_explored
from vicinal.representations.embed import embed_parts
from vicinal.representations.neighbours import Neighbours, nearest
from vicinal.representations.representations import Representations, joined
from vicinal.runs.pictures import Pixels, add_pictures
from vicinal.runs.run_folder import RunFolder, hold_run, say, tell

_STAGED = "update"  # the folder in a run in which an update is made
_READY = "ready.json"  # in it: the files that are to take their places, all of them whole


def add_onto(folder: RunFolder, held: Held, parts: tuple[Part, ...], request: Request) -> None:
    """Fills a new run with the pictures of another one, where they were, and new ones."""
    run = folder.path
    new = _embedded(parts, held, request)
    everything = _beside(held.embeddings, new)
    origin = np.concatenate([np.arange(len(held.embeddings)), np.full(len(new), -1)])
    pixels = Joined([part.images.pixels for part in parts])
    rate = request.false_alarms
    counts = join(run, held, everything, origin, pixels, false_alarms=rate, apart=True)
    name = f"{parts[0].images.name} on {held.explored.figures['data']['name']}"
    data = {"source": named(request.data), "name": name, "skipped": len(skipped_in(parts))}
    _write_figures(run, held, everything, counts, data | {"colour": "split"})


def _embedded(parts: tuple[Part, ...], held: Held, request: Request) -> Representations:
    """The pictures' embeddings by the run's encoder; of no parts, none."""
    if not parts:
        width = held.embeddings.array.shape[1]
        return Representations(np.empty((0, width), np.float32), np.empty(0, np.str_))
    how: dict[str, Any] = {"device": request.device, "data_dir": request.data_dir}
    return embed_parts(parts, held.encoder, named(request.data), **how)


def _beside(old: Representations, new: Representations) -> Representations:
    """Two sets in one; where an id is in both, the new ones' begin with ``new/``."""
    taken = np.isin(new.ids, old.ids).any()
    ids = np.array([f"new/{name}" for name in new.ids.tolist()]) if taken else new.ids
    if np.isin(ids, old.ids).any():
        raise InputError(f"{ids[np.isin(ids, old.ids)][0]}: is in both sets; rename the folder")
    return joined([old, new], ids=np.concatenate([old.ids, ids]), origin=new.origin)


def _write_figures(
    folder: Path,
    held: Held,
    everything: Representations,
    counts: dict[str, Any],
    told: dict[str, Any],
) -> None:
    """Writes ``explore.json``: what the held run's says, but of these pictures."""
    figures = held.explored.figures
    data = figures["data"] | {
        **told,
        "count": len(everything),
        "classes": everything.classes(),
        "labelled": everything.labelled_count,
    }
    found = read_figures(folder, WITH_COLUMNS)
    write_json(folder / "explore.json", figures | {"data": data, "joined": counts} | found)


def update(request: Request) -> None:
    """Brings a run up to date with its folder; the run stays whole whenever this is interrupted.

    Only new and changed files are decoded and embedded; pictures whose files are gone leave.

    Raises:
        InputError: If the run is none, or none of its pictures is in the folder any more.
    """
    run = request.update
    assert run is not None
    if not lists_files(request.data):
        raise InputError(f"{option('update')}: needs a folder, or a CSV that lists files")
    with hold_run(run) as folder:
        _take_places(run)  # of an update that was killed when it was all but done
        held = read_held(run)
        known = known_files(held)
        began = time.perf_counter()
        seen = set(held.embeddings.ids.tolist())
        listing = Listing({name: stamp for name, stamp in known.items() if name in seen})
        parts = _changed(request, held, listing)
        if _made(run, held, listing, parts, request):
            _take_places(run)
            folder.note("update", time.perf_counter() - began)
            tell(folder, "update", width=10)
        else:
            keep_files(run, listing)  # times may be others
        skipped = (*listing.skipped, *skipped_in(parts))
        keep_skipped(tuple(dict.fromkeys(skipped)), run / "skipped.csv")


def _changed(request: Request, held: Held, listing: Listing) -> tuple[Part, ...]:
    """The pictures that are new or have changed, as the run's encoder takes them."""
    _, made = load_encoder(held.encoder)
    return load_parts(
        request.data,
        size=made.size,
        channels=made.channels,
        data_dir=request.data_dir,
        interpolation=made.interpolation,
        span=made.span,
        exclude=request.exclude,
        max_pixels=request.max_pixels,
        choose=listing,
    )


def _made(
    run: Path, held: Held, listing: Listing, parts: tuple[Part, ...], request: Request
) -> bool:
    """Makes all files of the updated run in a folder of their own; False if nothing has changed."""
    new = _embedded(parts, held, request)
    everything, origin = _as_listed(listing, held.embeddings, new)
    kept, fresh = int((origin >= 0).sum()), int((origin < 0).sum())
    changed = int(np.isin(everything.ids[origin < 0], held.embeddings.ids).sum())
    gone = len(held.embeddings) - kept - changed
    counts = f"{fresh - changed:,} pictures are new, {changed:,} have changed, {gone:,} are gone"
    say(f"{counts}, {kept:,} are as they were")
    if not kept:
        raise InputError(f"{request.data}: has no picture of {run} as it was; explore it anew")
    if len(everything) < 2:
        raise InputError(f"{request.data}: 1 picture; exploring needs 2 or more")
    if fresh == gone == 0:
        return False
    staged = run / _STAGED
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    rate = held.explored.figures["anomalies"]["false_alarms"]
    shape = (0, 8, 8, 3)
    pixels = Joined([p.images.pixels for p in parts] or [np.empty(shape, np.uint8)])
    joint = join(staged, held, everything, origin, pixels, false_alarms=rate, apart=False)
    skipped = len({*listing.skipped, *skipped_in(parts)})
    data = {"source": named(request.data), "name": listing.name, "skipped": skipped}
    _write_figures(staged, held, everything, joint, data)
    keep_files(staged, listing)
    if len(everything) <= MOST_PICTURES:
        write_explorer(staged)
    made = [str(file.relative_to(staged)) for file in staged.rglob("*") if file.is_file()]
    write_json(staged / _READY, sorted(made))
    return True


def _as_listed(
    listing: Listing, old: Representations, new: Representations
) -> tuple[Representations, NDArray[np.int64]]:
    """Pictures old and new in the order of their files, and each one's row among the old."""
    fresh = {name: row for row, name in enumerate(new.ids.tolist())}
    held = {name: row for row, name in enumerate(old.ids.tolist())}
    there = [  # what is neither cannot be used
        row for row in listing.rows if row["id"] in fresh or row["id"] not in listing.unseen
    ]
    ids = [row["id"] for row in there]
    origin = np.array([-1 if name in fresh else held[name] for name in ids], np.int64)
    among = np.array([fresh.get(name, -1) for name in ids], np.int64)

    def rows_of(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        found = np.empty((len(ids), *first.shape[1:]), first.dtype)
        found[origin >= 0] = first[origin[origin >= 0]]
        found[origin < 0] = second[among[origin < 0]]
        return found

    def texts(name: str) -> NDArray[np.str_] | None:
        column = np.array([row[name] for row in there], np.str_)
        return column if (column != "").any() else None

    sizes = None
    if old.sizes is not None:
        sizes = rows_of(old.sizes, old.sizes[:0] if new.sizes is None else new.sizes)
    whole = replace(
        old,
        array=rows_of(old.array, new.array),
        ids=np.array(ids, np.str_),
        paths=texts("path"),
        labels=texts("label"),
        class_names=(),
        splits=texts("split"),
        sizes=sizes,
    )
    return whole, origin


def _take_places(run: Path) -> None:
    """Moves the files of an update that is ready into the run, in an order that spoils no reader.

    Killed in the middle, the next update goes on: what is moved is whole, and so is the rest.
    """
    staged = run / _STAGED
    if not (staged / _READY).is_file():
        shutil.rmtree(staged, ignore_errors=True)
        return
    made: Sequence[str] = read_json(staged / _READY)
    for name in sorted(made, key=lambda name: ("sheet" not in name, name)):  # sheets first
        if (staged / name).is_file():
            (run / name).parent.mkdir(exist_ok=True)
            (staged / name).replace(run / name)
    (staged / _READY).unlink()
    shutil.rmtree(staged)


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
    embeddings: Representations
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
    embeddings = Representations.load(run / "embeddings.parquet")
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
    everything: Representations,
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
    scores[~known] = score_of(found.distances[:, :NEAREST])
    ranked = rank_beside(scores, known, false_alarms=false_alarms)
    beyond = ranked.p_values[~known] <= false_alarms
    earlier = read_earlier(held.run, held.explored.points, held.embeddings.array, origin)
    how: dict[str, Any] = {"false_alarms": false_alarms, "earlier": earlier}
    compared = compare(everything, shown, folder, ranked=ranked if apart else None, **how)
    write_part(folder, "compare", compared)
    near = neighbours_of(read_part(folder, "compare"))
    write_part(folder, "map", _placed(held, array, origin, found, beyond, near))
    write_part(folder, "group", _grouped(held, everything, origin, found, folder))
    write_part(folder, "labels", find_doubts(everything, folder))
    worth = next(iter(held.explored.health.get("figures", [])), None)
    if apart or everything.splits is None:
        everything = replace(everything, splits=np.where(known, OLD, NEW))
    describe(folder, everything, shown, None, worth)
    _write_new(folder / "new.csv", everything, known, ranked, found)
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
    everything: Representations,
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
    everything: Representations,
    known: NDArray[np.bool_],
    ranked: Ranked,
    found: Neighbours,
) -> None:
    """The new pictures, the oddest first, each with its nearest old one."""
    new, old = np.flatnonzero(~known), np.flatnonzero(known)
    rows: list[list[object]] = []
    for at in np.argsort(-ranked.scores[new], kind="stable").tolist():
        nearest_one = everything.describe(int(old[found.indices[at, 0]]))
        distance = float(found.distances[at, 0])
        told = everything.describe(int(new[at]))
        p, score = float(ranked.p_values[new[at]]), float(ranked.scores[new[at]])
        rows.append([len(rows) + 1, *told.values(), score, p, distance, *nearest_one.values()])
    columns = everything.columns()
    nearest_columns = [f"nearest_{name}" for name in columns]
    header = ["rank", *columns, "score", "p_value", "nearest_distance", *nearest_columns]
    write_csv(path, header, rows)


FILES = "files.parquet"
"""In a run: a picture's id, what changes with its file, and the hash of its content."""


class Listing:
    """The files of a source as they are now, and which of them a run has not seen as they are.

    A file whose time differs has not changed if its size and its content are the same: copies
    often lose their times.

    Args:
        known: What changes with each file and the hash of its content, by id, as both were when
            the run read it; a hash may be empty.
    """

    def __init__(self, known: dict[str, tuple[str, str]]) -> None:
        self.known = known
        self.rows: list[dict[str, str]] = []
        self.unseen: set[str] = set()
        self.skipped: list[Skipped] = []
        self.name = ""

    def __call__(self, split: str | None, part: PictureList) -> PictureList:
        """Notes a part's files, and gives those that are new or have changed."""
        if not isinstance(part.place, Files) or is_address(part.place.root):
            return part
        labels = [""] * len(part.ids)
        if part.labels is not None:
            labels = [part.class_names[code] for code in part.labels.tolist()]
        ids = part.ids.tolist() if split is None else [f"{split}/{name}" for name in part.ids]
        _, *stamps = part.stamp()  # the first line is the folder, which may move
        paths = [os.path.abspath(path) for path, _ in part.place.pictures()]
        columns = zip(ids, stamps, labels, paths, strict=True)
        self.rows += [
            {"id": i, "stamp": s, "label": name, "path": path, "split": split or ""}
            for i, s, name, path in columns
        ]
        self.skipped += part.skipped
        self.name = part.name
        fresh = [row for row in self.rows[-len(ids) :] if self._new(row)] if ids else []
        self.unseen |= {row["id"] for row in fresh}
        return part.take(np.flatnonzero([name in self.unseen for name in ids]))

    def _new(self, row: dict[str, str]) -> bool:
        """Whether the run has not seen this file as it is now."""
        stamp, content = self.known.get(row["id"], ("", ""))
        if row["stamp"] != stamp:
            if row["stamp"].rpartition(" ")[0] != stamp.rpartition(" ")[0]:
                return True  # without the time: its name and its size
            row["hash"] = _content(row["path"])
            return not content or row["hash"] != content
        row["hash"] = content
        return False


def _content(path: str) -> str:
    """The hash of a file's content; empty where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except (OSError, ValueError):
        return ""


def keep_files(run: Path, listing: Listing) -> None:
    """Writes `FILES`."""
    if not listing.rows:
        return  # its pictures are no files
    columns = {name: [row[name] for row in listing.rows] for name in ("id", "stamp")}
    columns["hash"] = [row.get("hash") or _content(row["path"]) for row in listing.rows]
    write_parquet(run / FILES, columns)


def known_files(held: Held) -> dict[str, tuple[str, str]]:
    """What the run noted of its files, by id: what changes with each, and its hash or none."""
    if (held.run / FILES).is_file():
        noted = pq.read_table(held.run / FILES).to_pydict()
        hashes = noted.get("hash", [""] * len(noted["id"]))  # an earlier version kept none
        return dict(zip(noted["id"], zip(noted["stamp"], hashes, strict=True), strict=True))
    if "joined" in held.explored.figures:
        raise InputError(f"{held.run}: holds pictures of two sources; update the run it is onto")
    why = "its pictures are no files, or an earlier version made it"
    raise InputError(f"{held.run}: no {FILES} in it ({why}); explore its pictures anew")


class Joined:
    """Arrays (Nᵢ, H, W, C) one after the other, read by row or by slice.

    Args:
        arrays: Of the same H, W and C; may be memory maps.
    """

    def __init__(self, arrays: Sequence[NDArray[np.uint8]]) -> None:
        self._arrays = arrays
        self._ends = np.cumsum([len(array) for array in arrays])

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return (len(self), *self._arrays[0].shape[1:])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: Any, /) -> NDArray[np.uint8]:
        """A picture (H, W, C) by its row, or pictures by a slice of rows."""
        if not isinstance(index, slice):
            part = int(np.searchsorted(self._ends, index, side="right"))
            picture: NDArray[np.uint8] = self._arrays[part][index - int(self._ends[part])]
            return picture
        start, stop, _ = index.indices(len(self))
        starts = self._ends - [len(array) for array in self._arrays]
        pieces = [
            array[max(start - int(first), 0) : max(stop - int(first), 0)]
            for array, first in zip(self._arrays, starts, strict=True)
        ]
        return np.concatenate(pieces)
