"""A finished run and what came later: other pictures on its map, or its own folder a day after."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.encoder.saved import fingerprint
from vicinal.errors import InputError, option
from vicinal.evaluations.anomalies import NEAREST, Ranked, rank_beside, score_of
from vicinal.evaluations.maps import placed_by_pca, placed_by_tsne
from vicinal.evaluations.odd_places import OddPlaces
from vicinal.explore.check_labels import check_labels
from vicinal.explore.compare_pictures import compare_pictures, read_earlier
from vicinal.explore.concatenated_pixels import ConcatenatedPixels
from vicinal.explore.describe_pictures import describe_pictures
from vicinal.explore.explore_json import label_figures, skipped_in
from vicinal.explore.file_listing import FileListing, read_files, write_files
from vicinal.explore.find_places import EarlierPlaces, find_places
from vicinal.explore.group_pictures import group_pictures, keep_groups
from vicinal.explore.map_pictures import map_columns, map_figures
from vicinal.explore.request import Request, load_pictures
from vicinal.explore.stage_results import (
    StageResult,
    read_columns,
    read_figures,
    read_neighbours,
    write_stage,
)
from vicinal.file_names import is_address
from vicinal.files import read_json, write_csv, write_json
from vicinal.images import Part, keep_skipped, named
from vicinal.progress import say
from vicinal.report import MOST_PICTURES, write_explorer
from vicinal.report.explorer.columns import ExploreRun, read_explored
from vicinal.representations.embed import embed_parts
from vicinal.representations.neighbours import Neighbours, nearest
from vicinal.representations.representations import (
    EXPLORED,
    Representations,
    concatenated,
    encoder_of,
)
from vicinal.runs.kinds import instead_of
from vicinal.runs.pictures import Pixels, add_pictures
from vicinal.runs.run_folder import RunFolder, hold_run
from vicinal.runs.stages import note_finished, say_seconds

OLD, NEW = "old", "new"
"""Parts of a set that the page tells apart."""
_STAGED = "update"  # the folder in a run in which an update is made
_READY = "ready.json"  # in it: the files that are to take their places, all of them whole
_NEAREST = 15  # old pictures of each new one; openTSNE's transform takes as many
_VOTES = 10  # of these say which group it is in


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A finished run of `explore`.

    Attributes:
        folder: Its folder.
        files: What its page is drawn from.
        embeddings: All of its pictures.
        encoder: The encoder that embedded them.
    """

    folder: Path
    files: ExploreRun
    embeddings: Representations
    encoder: Path

    @property
    def figures(self) -> dict[str, Any]:
        """The content of its ``explore.json``."""
        return self.files.figures

    def column(self, name: str) -> NDArray[Any]:
        """A column of numbers (N,) of its ``points.parquet``, NaN for those that are not there."""
        values: NDArray[Any] = self.files.points.column(name).to_numpy()
        return values


def read_finished(run: Path) -> FinishedRun:
    """Reads a finished run of `explore`, and finds its encoder.

    Raises:
        InputError: If it is none, or its embeddings or its encoder are gone or are others.
    """
    files = read_explored(run)
    if files.folder != run or not (run / EXPLORED).is_file():
        raise InputError(f"{run}: {instead_of(run, 'explore')}")
    embeddings = Representations.load(run / EXPLORED)
    if len(embeddings) != len(files):
        raise InputError(
            f"{run}: {len(embeddings):,} embeddings and {len(files):,} points; explore anew"
        )
    encoder = encoder_of(run, embeddings)
    if not encoder.is_file():
        raise InputError(f"{run}: its encoder, {encoder}, is gone; explore its pictures anew")
    if fingerprint(encoder) != embeddings.origin.get("encoder_sha256"):
        raise InputError(f"{run}: {encoder} is another encoder than embedded its pictures")
    return FinishedRun(run, files, embeddings, encoder)


def add_onto(
    folder: RunFolder, finished: FinishedRun, parts: tuple[Part, ...], request: Request
) -> None:
    """Fills a new run with the pictures of a finished one, where they were, and new ones.

    Raises:
        InputError: If a picture is in both sets by the same id even as ``new/ID``.
    """
    old, new = finished.embeddings, _embed(parts, finished, request)
    taken = np.isin(new.ids, old.ids).any()
    ids = np.array([f"new/{name}" for name in new.ids.tolist()]) if taken else new.ids
    if np.isin(ids, old.ids).any():
        raise InputError(f"{ids[np.isin(ids, old.ids)][0]}: is in both sets; rename the folder")
    both = concatenated([old, new], ids=np.concatenate([old.ids, ids]), origin=new.origin)
    origin = np.concatenate([np.arange(len(old)), np.full(len(new), -1)])
    pixels = ConcatenatedPixels([part.images.pixels for part in parts])
    rate = request.rate
    counts = _write_stages(
        folder.path, finished, both, origin, pixels, false_alarms=rate, apart=True
    )
    data = {
        "source": named(request.data),
        "name": f"{parts[0].images.name} on {finished.figures['data']['name']}",
        "skipped": len(skipped_in(parts)),
        "colour": "split",
    }
    _write_explore_json(folder.path, finished, both, counts, data)


def _embed(parts: tuple[Part, ...], finished: FinishedRun, request: Request) -> Representations:
    """The pictures' embeddings by the run's encoder; of no parts, none."""
    if not any(len(part.images) for part in parts):
        width = finished.embeddings.array.shape[1]
        return Representations(np.empty((0, width), np.float32), np.empty(0, np.str_))
    how: dict[str, Any] = {"device": request.device, "data_dir": request.data_dir}
    return embed_parts(parts, finished.encoder, named(request.data), **how)


def update(request: Request) -> bool:
    """Brings a run up to date with its folder; the run stays whole whenever this is interrupted.

    Only new and changed files are decoded and embedded; pictures whose files are gone leave.
    Returns whether a picture came, changed or left, or other ones are flagged now.

    Raises:
        InputError: If the run is none, or none of its pictures is in the folder any more.
    """
    run = request.update
    assert run is not None
    kind, _, place = named(request.data).partition(":")
    if kind not in ("folder", "csv") or is_address(place):
        raise InputError(f"{option('update')}: needs a folder, or a CSV that lists files")
    with hold_run(run) as folder:
        _take_places(run)  # of an update that was killed when it was all but done
        finished = read_finished(run)
        known = read_files(run, onto="joined" in finished.figures)
        began = time.perf_counter()
        ids = set(finished.embeddings.ids.tolist())
        listing = FileListing({name: stamp for name, stamp in known.items() if name in ids})
        used = replace(request, encoder=finished.encoder)
        parts = load_pictures(used, named(request.data), None, listing)
        news = _staged(run, finished, listing, parts, request)
        if news:
            _take_places(run)
            note_finished(folder.path, "update", time.perf_counter() - began)
            say_seconds(folder.path, "update", width=10)
        else:
            write_files(run, listing)  # times may be others
            _tell_skipped(finished, _data(listing, parts, request))
        skipped = (*listing.skipped, *skipped_in(parts))
        keep_skipped(tuple(dict.fromkeys(skipped)), run / "skipped.csv")
    return news


def _data(listing: FileListing, parts: tuple[Part, ...], request: Request) -> dict[str, Any]:
    """What ``explore.json`` says of the source as it is now."""
    skipped = len({*listing.skipped, *skipped_in(parts)})
    return {"source": named(request.data), "name": listing.name, "skipped": skipped}


def _tell_skipped(finished: FinishedRun, data: dict[str, Any]) -> None:
    """Brings ``explore.json`` and the page up to date where no picture has changed."""
    figures, run = finished.figures, finished.folder
    kept, page = run / "explore.json", run / "explore.html"
    if figures["data"] | data != figures["data"]:
        write_json(kept, figures | {"data": figures["data"] | data})
    if len(finished.embeddings) > MOST_PICTURES:
        return
    # An update that was killed may have left a page that is older than what it should show.
    if not page.is_file() or page.stat().st_mtime_ns < kept.stat().st_mtime_ns:
        write_explorer(run)


def _staged(
    run: Path,
    finished: FinishedRun,
    listing: FileListing,
    parts: tuple[Part, ...],
    request: Request,
) -> bool:
    """Makes all files of the updated run in a folder of their own; False if nothing has changed."""
    old = finished.embeddings
    embeddings, origin = _as_listed(listing, old, _embed(parts, finished, request))
    kept, fresh = int((origin >= 0).sum()), int((origin < 0).sum())
    changed = int(np.isin(embeddings.ids[origin < 0], old.ids).sum())
    gone = len(old) - kept - changed
    counts = f"pictures: {fresh - changed:,} new, {changed:,} changed, {gone:,} gone"
    labels = _names(embeddings)[origin >= 0] != _names(old)[origin[origin >= 0]]
    relabelled = f", {labels.sum():,} of these with another label" if labels.any() else ""
    say(f"{counts}, {kept:,} as they were{relabelled}")
    if not kept:
        raise InputError(f"{request.data}: has no picture of {run} as it was; explore it anew")
    if len(embeddings) < 2:
        raise InputError(f"{request.data}: 1 picture; exploring needs 2 or more")
    rate = finished.figures["anomalies"]["false_alarms"]
    asked = rate if request.false_alarms is None else request.false_alarms
    if fresh == gone == 0 and asked == rate and not labels.any():
        return False
    staged = run / _STAGED
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    none = [np.empty((0, 8, 8, 3), np.uint8)]
    pixels = ConcatenatedPixels([part.images.pixels for part in parts] or none)
    joint = _write_stages(
        staged, finished, embeddings, origin, pixels, false_alarms=asked, apart=False
    )
    _write_explore_json(staged, finished, embeddings, joint, _data(listing, parts, request))
    write_files(staged, listing)
    if len(embeddings) <= MOST_PICTURES:
        write_explorer(staged)
    made = [str(file.relative_to(staged)) for file in staged.rglob("*") if file.is_file()]
    write_json(staged / _READY, sorted(made))
    return True


def _names(embeddings: Representations) -> NDArray[np.str_]:
    """Each picture's label, empty for none."""
    names = embeddings.label_names
    return np.full(len(embeddings), "") if names is None else names


def _as_listed(
    listing: FileListing, old: Representations, new: Representations
) -> tuple[Representations, NDArray[np.int64]]:
    """Pictures old and new in the order of their files, and each one's row among the old."""
    new_rows = {name: row for row, name in enumerate(new.ids.tolist())}
    old_rows = {name: row for row, name in enumerate(old.ids.tolist())}
    there = [  # what is neither cannot be used
        row for row in listing.rows if row["id"] in new_rows or row["id"] not in listing.unseen
    ]
    ids = [row["id"] for row in there]
    origin = np.array([-1 if name in new_rows else old_rows[name] for name in ids], np.int64)
    among = np.array([new_rows.get(name, -1) for name in ids], np.int64)

    def merged(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        values = np.empty((len(ids), *first.shape[1:]), first.dtype)
        values[origin >= 0] = first[origin[origin >= 0]]
        values[origin < 0] = second[among[origin < 0]]
        return values

    def texts(name: str) -> NDArray[np.str_] | None:
        column = np.array([row[name] for row in there], np.str_)
        return column if (column != "").any() else None

    sizes = None
    if old.sizes is not None:
        sizes = merged(old.sizes, old.sizes[:0] if new.sizes is None else new.sizes)
    whole = replace(
        old,
        array=merged(old.array, new.array),
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


def _write_stages(
    folder: Path,
    finished: FinishedRun,
    embeddings: Representations,
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
    With ``apart``, new pictures are held against the old ones alone, else all against all.
    ``origin`` (N,) is each picture's row in the finished run, -1 for a new one; ``pixels`` are
    those of the new ones.
    """
    embeddings.save(folder / EXPLORED)
    shown = add_pictures(folder / "pictures", finished.folder / "pictures", origin, pixels)
    old, compared = origin >= 0, embeddings.as_compared()
    array, k = compared.array, min(_NEAREST, int(old.sum()))
    to_old = Neighbours(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
    if not old.all():
        to_old = nearest(array[~old], array[old], k)
    to_score = to_old
    if compared is not embeddings and not old.all():  # oddness counts lengths, neighbours do not
        to_score = nearest(embeddings.array[~old], embeddings.array[old], min(NEAREST, k))
    scores = np.empty(len(array), np.float32)
    scores[old] = finished.column("score")[origin[old]]
    scores[~old] = score_of(to_score.distances[:, :NEAREST])
    ranked = rank_beside(scores, old, false_alarms=false_alarms)
    was = finished.embeddings.as_compared().array
    result = compare_pictures(
        embeddings,
        shown,
        folder,
        false_alarms=false_alarms,
        ranked=ranked if apart else None,
        earlier=read_earlier(finished.folder, finished.files.points, was, origin),
    )
    write_stage(folder, "compare", result)
    near, beyond = read_neighbours(folder), ranked.p_values[~old] <= false_alarms
    write_stage(folder, "map", _place(finished, array, origin, to_old, beyond, near))
    write_stage(folder, "group", _group(finished, compared, origin, to_old, folder))
    write_stage(folder, "labels", check_labels(embeddings, folder))
    write_stage(folder, "places", _places(finished, embeddings, origin, shown, folder))
    if apart or embeddings.splits is None:
        compared = replace(compared, splits=np.where(old, OLD, NEW))
    worth = next(iter(finished.files.health.get("figures", [])), None)
    describe_pictures(folder, compared, shown, worth=worth)
    _write_new(folder / "new.csv", embeddings, old, ranked, to_old)
    return {
        "run": str(finished.folder),
        "old": int(old.sum()),
        "new": int((~old).sum()),
        "gone": len(finished.embeddings) - int(old.sum()),
        "beyond": int(beyond.sum()),
    }


def _write_explore_json(
    folder: Path,
    finished: FinishedRun,
    embeddings: Representations,
    counts: dict[str, Any],
    data: dict[str, Any],
) -> None:
    """What the finished run's says, but of these pictures."""
    data = finished.figures["data"] | data | label_figures(embeddings)
    figures = finished.figures | {"data": data, "joined": counts}
    if (folder / "environment.json").is_file():  # a run of its own, which an update is not
        figures["environment"] = read_json(folder / "environment.json")
    write_json(folder / "explore.json", figures | read_figures(folder))


def _place(
    finished: FinishedRun,
    array: NDArray[np.float32],
    origin: NDArray[np.int64],
    to_old: Neighbours,
    beyond: NDArray[np.bool_],
    near: Neighbours,
) -> StageResult:
    """The columns of both maps, old points where they were, and their figures."""
    old, maps, trust = origin >= 0, {}, {}
    new, rows = np.flatnonzero(~old), origin[old]
    for name in ("pca", "tsne"):
        there = np.stack([finished.column(f"{name}_{axis}") for axis in "xy"], axis=1)[rows]
        if not np.isfinite(there).all():
            continue  # too few pictures for t-SNE
        points = np.empty((len(array), 2), np.float32)
        points[old] = there
        if len(new) and name == "pca":
            points[new] = placed_by_pca(there, array[old], array[new])
        elif len(new):
            points[new] = placed_by_tsne(there, to_old)
            points[new[beyond]] = _aside(there[to_old.indices[beyond, 0]], np.ptp(there))
        maps[name] = points
        trust[name] = np.full(len(array), np.nan, np.float32)
        trust[name][old] = finished.column(f"{name}_trust")[rows]
    explained = finished.figures["maps"]["pca"]["explained"]
    return map_columns(maps, array, near, trust), map_figures(maps, array, explained)


def _aside(points: NDArray[np.float32], extent: float) -> NDArray[np.float32]:
    """Places (M, 2) a little aside, so that each point can be seen and pointed at."""
    drawn = np.random.default_rng(0).normal(scale=0.004 * extent, size=points.shape)
    return (points + drawn).astype(np.float32)


def _group(
    finished: FinishedRun,
    embeddings: Representations,
    origin: NDArray[np.int64],
    to_old: Neighbours,
    folder: Path,
) -> StageResult:
    """The groups as they were, with each new picture in that of most of its nearest old ones."""
    figures = finished.figures["clusters"]
    if figures is None or "finest" not in finished.files.points.column_names:
        return group_pictures(embeddings, folder)
    old = origin >= 0
    finest = np.empty(len(origin), np.int64)
    finest[old] = finished.column("finest")[origin[old]]
    votes = finest[old][to_old.indices[:, :_VOTES]]
    finest[~old] = [np.bincount(each).argmax() for each in votes]
    return keep_groups(embeddings, folder, finest, figures)


def _places(
    finished: FinishedRun,
    embeddings: Representations,
    origin: NDArray[np.int64],
    shown: Pixels,
    folder: Path,
) -> StageResult:
    """The oddest places, of old pictures as they were found, but in a run of an earlier version."""
    earlier = None
    if tried := finished.figures.get("places"):
        places = np.stack([finished.column(f"place_{axis}") for axis in "xy"], axis=1)
        found = OddPlaces(finished.column("place_score"), places)
        earlier = EarlierPlaces(origin, found, tried)
    compared = read_columns(folder, "compare")
    return find_places(embeddings, shown, compared, folder, finished.encoder, earlier=earlier)


def _write_new(
    path: Path,
    embeddings: Representations,
    old: NDArray[np.bool_],
    ranked: Ranked,
    to_old: Neighbours,
) -> None:
    """The new pictures, the oddest first, each with its nearest old one."""
    new_rows, old_rows = np.flatnonzero(~old), np.flatnonzero(old)
    rows: list[list[object]] = []
    for at in np.argsort(-ranked.scores[new_rows], kind="stable").tolist():
        row, nearest_row = int(new_rows[at]), int(old_rows[to_old.indices[at, 0]])
        own, nearest_one = embeddings.describe(row), embeddings.describe(nearest_row)
        figures = ranked.scores[row], ranked.p_values[row], to_old.distances[at, 0]
        rows.append([len(rows) + 1, *own.values(), *map(float, figures), *nearest_one.values()])
    columns = embeddings.columns()
    nearest_columns = [f"nearest_{name}" for name in columns]
    header = ["rank", *columns, "score", "p_value", "nearest_distance", *nearest_columns]
    write_csv(path, header, rows)
