"""A finished run and what came later: other pictures on its map, or its own folder a day after."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.encoder.saved import load_encoder
from vicinal.errors import InputError, option
from vicinal.explore.added import Held, join, read_held
from vicinal.explore.asked import Request
from vicinal.explore.described import WITH_COLUMNS, skipped_in
from vicinal.explore.joined import Joined
from vicinal.explore.points import read_figures
from vicinal.explore.seen import Listing, keep_files, known_files
from vicinal.files import read_json, write_json
from vicinal.images import Part, keep_skipped, lists_files, load_parts, named
from vicinal.images.classes import in_order
from vicinal.report import MOST_PICTURES, write_explorer
from vicinal.representations.embeddings import Embeddings
from vicinal.study.folder import RunFolder, hold_run
from vicinal.study.stages import say, tell
from vicinal.verbs.embed import embed_parts

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
    joined = join(run, held, everything, origin, pixels, false_alarms=rate, apart=True)
    name = f"{parts[0].images.name} on {held.explored.figures['data']['name']}"
    data = {"source": named(request.data), "name": name, "skipped": len(skipped_in(parts))}
    _write_figures(run, held, everything, joined, data | {"colour": "split"})


def _embedded(parts: tuple[Part, ...], held: Held, request: Request) -> Embeddings:
    """The pictures' embeddings by the run's encoder; of no parts, none."""
    if not parts:
        width = held.embeddings.array.shape[1]
        return Embeddings(np.empty((0, width), np.float32), np.empty(0, np.str_))
    how: dict[str, Any] = {"device": request.device, "data_dir": request.data_dir}
    return embed_parts(parts, held.encoder, named(request.data), **how)


def _beside(old: Embeddings, new: Embeddings) -> Embeddings:
    """Two sets in one; where an id is in both, the new ones' begin with ``new/``."""
    taken = np.isin(new.ids, old.ids).any()
    ids = np.array([f"new/{name}" for name in new.ids.tolist()]) if taken else new.ids
    if np.isin(ids, old.ids).any():
        raise InputError(f"{ids[np.isin(ids, old.ids)][0]}: is in both sets; rename the folder")
    paths, labels, splits = (_texts(old, new, name) for name in ("paths", "labels", "splits"))
    sizes = None
    if old.sizes is not None and new.sizes is not None:
        sizes = np.concatenate([old.sizes, new.sizes])
    array = np.concatenate([old.array, new.array])
    both = np.concatenate([old.ids, ids])
    return Embeddings(array, both, paths, labels, splits, sizes, origin=new.origin)


def _texts(old: Embeddings, new: Embeddings, name: str) -> NDArray[np.str_] | None:
    columns = [getattr(each, name) for each in (old, new)]
    if all(column is None for column in columns):
        return None
    lengths = (len(old), len(new))
    filled = [np.full(n, "") if c is None else c for c, n in zip(columns, lengths, strict=True)]
    return np.concatenate(filled)


def _write_figures(
    folder: Path, held: Held, everything: Embeddings, joined: dict[str, Any], told: dict[str, Any]
) -> None:
    """Writes ``explore.json``: what the held run's says, but of these pictures."""
    figures, labels = held.explored.figures, everything.labels
    data = figures["data"] | {
        **told,
        "count": len(everything),
        "classes": [] if labels is None else in_order(set(labels.tolist()) - {""}),
        "labelled": 0 if labels is None else int((labels != "").sum()),
    }
    found = read_figures(folder, WITH_COLUMNS)
    write_json(folder / "explore.json", figures | {"data": data, "joined": joined} | found)


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
    joined = join(staged, held, everything, origin, pixels, false_alarms=rate, apart=False)
    skipped = len({*listing.skipped, *skipped_in(parts)})
    data = {"source": named(request.data), "name": listing.name, "skipped": skipped}
    _write_figures(staged, held, everything, joined, data)
    keep_files(staged, listing)
    if len(everything) <= MOST_PICTURES:
        write_explorer(staged)
    made = [str(file.relative_to(staged)) for file in staged.rglob("*") if file.is_file()]
    write_json(staged / _READY, sorted(made))
    return True


def _as_listed(
    listing: Listing, old: Embeddings, new: Embeddings
) -> tuple[Embeddings, NDArray[np.int64]]:
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
