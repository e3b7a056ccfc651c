"""A run of ``explore``, checked, and its columns as one block of bytes, read as typed arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.errors import InputError, option
from vicinal.report.inlined import Pictures, read_pictures
from vicinal.report.run_data import read_object
from vicinal.runs.kinds import instead_of

FORMAT = 1
"""The format of ``explore.json`` that the page reads."""
STUDY_PART = "explore"
"""The folder in a run of ``study`` that holds what ``explore`` leaves in its own."""
TEXTS = ("id", "path", "label", "split", "reason")
NUMBERS = ("cluster", "score", "p_value", "rank", "flagged", "group", "pca_x", "pca_y")
LISTS = ("neighbors", "distances", "farthest", "far_distances")


@dataclass(frozen=True, eq=False)
class ExploreRun:
    """The files of one run of ``explore``, or of a study's part that is like one.

    Attributes:
        folder: The folder that they lie in.
        figures: ``explore.json``.
        health: ``health.json``, empty where there is none.
        points: ``points.parquet``; a row's number is the picture's permanent id.
        group_spans: Array (G, 2) float32, the least and the largest distance of a stored pair in
            each duplicate group.
        pictures: The thumbnails, found by ``str(row)``.
        notes: ``notes.csv``, selections that the page's user kept; empty where there is none.
    """

    folder: Path
    figures: dict[str, Any]
    health: dict[str, Any]
    points: pa.Table
    group_spans: NDArray[np.float32]
    pictures: Pictures
    notes: str = ""

    def __len__(self) -> int:
        return int(self.points.num_rows)


def explored_part(run: Path) -> Path | None:
    """Where a run's ``explore.json`` lies: in the folder itself, or a study's part of it."""
    places = (run, run / STUDY_PART)
    return next((place for place in places if (place / "explore.json").is_file()), None)


def read_explored(run: Path) -> ExploreRun:
    """Reads a run folder of ``explore`` or of ``study``.

    Raises:
        InputError: If ``explore.json`` or ``points.parquet`` is missing, damaged or of another
            kind.
    """
    folder = explored_part(run)
    if folder is None:
        raise InputError(f"{run}: {instead_of(run, 'explore or study')}")
    path = folder / "explore.json"
    figures = read_object(path)
    if figures.get("format") != FORMAT or not isinstance(figures.get("data"), dict):
        raise InputError(f"{path}: not of format {FORMAT}; run explore again with this version")
    points = _read_table(folder / "points.parquet")
    missing = [n for n in (*TEXTS, *NUMBERS, *LISTS) if n not in points.column_names]
    if missing or not points.num_rows:
        what = f"no column {missing[0]!r}" if missing else "no rows"
        raise InputError(f"{folder / 'points.parquet'}: {what} in it; run explore again")
    health, notes = folder / "health.json", folder / "notes.csv"
    return ExploreRun(
        folder=folder,
        figures=figures,
        health=read_object(health) if health.is_file() else {},
        points=points,
        group_spans=_group_spans(folder / "duplicates.parquet", points),
        pictures=read_pictures(folder / "pictures"),
        notes=notes.read_text("utf-8", "replace") if notes.is_file() else "",
    )


def _read_table(path: Path) -> pa.Table:
    if not path.is_file():
        raise InputError(f"{path}: missing; run explore again with {option('resume', True)}")
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as parquet: {reason}") from None


def _group_spans(path: Path, points: pa.Table) -> NDArray[np.float32]:
    highest = int(np.max(points.column("group").to_numpy(), initial=-1))
    spans = np.full((highest + 1, 2), np.nan, np.float32)
    if not len(spans) or not path.is_file():
        return spans
    pairs = _read_table(path)
    group = np.asarray(pairs.column("group").to_numpy())
    distance = np.asarray(pairs.column("distance").to_numpy(), np.float32)
    known = (group >= 0) & (group < len(spans))
    least, most = np.full(len(spans), np.inf), np.full(len(spans), -np.inf)
    np.minimum.at(least, group[known], distance[known])
    np.maximum.at(most, group[known], distance[known])
    found = most >= least
    spans[found] = np.stack([least, most], axis=1)[found]
    return spans


NONE = -1
"""Stands for no row, no label, no cluster, no sheet."""
SIZES = ("width", "height")
"""Of the originals, in pixels; runs of earlier versions have none."""
ALIGNED = 8  # a typed array must start at a multiple of its items' size

Layout = dict[str, tuple[str, int, int]]
"""Column to (dtype, offset in bytes, number of items)."""


def pack_columns(run: ExploreRun) -> tuple[bytes, Layout]:
    """All columns of a run, one after another, and where each lies.

    Numbers of a picture have N items, lists N times their length (-1 and NaN fill short ones).
    Texts are two columns: ``NAME.bytes``, UTF-8, and ``NAME.ends``, where each text ends in it.
    ``label``, ``split``, ``reason`` and ``suggested`` are numbers of texts, so that each text is
    stored once.
    """
    columns = _numbers(run) | _lists(run) | _tiles(run)
    for name in ("id", "path"):
        columns |= _texts(f"{name}s", run.points.column(name).to_pylist())
    known = {"label": [str(name) for name in run.figures["data"].get("classes") or []]}
    doubted = ("suggested",) if "suggested" in run.points.column_names else ()
    for name in ("label", "split", "reason", *doubted):
        codes, texts = _coded(run.points.column(name).to_pylist(), known.get(name, []))
        columns |= {name: codes, **_texts(f"{name}s", texts)}
    if "sketch" in run.points.column_names:
        sketch = _even(run.points.column("sketch"), np.float32, 0.0)
        columns["sketch"] = np.round(sketch / sketch_scale(run)).astype(np.int16).ravel()
        columns["rest"] = _plain(run.points.column("rest"), np.float32, 0.0)
    columns["group_spans"] = run.group_spans.ravel()
    return _joined(columns)


def sketch_scale(run: ExploreRun) -> float:
    """What one step of the page's 16-bit sketches stands for; earlier runs have none."""
    if "sketch" not in run.points.column_names:
        return 1.0
    flat = run.points.column("sketch").combine_chunks().flatten().to_numpy()
    return max(float(np.abs(flat).max(initial=0.0)), 1e-30) / 32_767


def _numbers(run: ExploreRun) -> dict[str, NDArray[Any]]:
    """Those of a picture; runs of earlier versions and pictures without labels lack some."""
    always = ("cluster", "rank", "group", "flagged")
    there = {
        name: column
        for name, column in zip(run.points.column_names, run.points.columns, strict=True)
        if column.null_count < len(run) or name in always
    }
    places = [f"{name}_{part}" for name in ("tsne", "pca") for part in ("x", "y", "trust")]
    whole = ("cluster", "rank", "group", "finest", *SIZES, "doubt", "agree", "place_rank")
    shares = ("score", "p_value", "confidence", "place_score", "place_x", "place_y", *places)
    columns = {n: _plain(there[n], np.int32, NONE) for n in whole if n in there}
    columns |= {n: _plain(there[n], np.float32, np.nan) for n in shares if n in there}
    return columns | {"flagged": _plain(there["flagged"].cast(pa.uint8()), np.uint8, 0)}


def _plain(column: pa.ChunkedArray, kind: type, missing: float) -> NDArray[Any]:
    return np.asarray(column.fill_null(missing).to_numpy(), dtype=kind)


def _lists(run: ExploreRun) -> dict[str, NDArray[Any]]:
    """Lists of equal length; what is no row of this run is none."""
    columns: dict[str, NDArray[Any]] = {}
    for rows_name, distances_name in (("neighbors", "distances"), ("farthest", "far_distances")):
        rows = _even(run.points.column(rows_name), np.int32, NONE)
        distances = _even(run.points.column(distances_name), np.float32, np.nan)
        rows[(rows < 0) | (rows >= len(run))] = NONE
        width = min(rows.shape[1], distances.shape[1])
        columns[rows_name] = rows[:, :width].ravel()
        columns[distances_name] = distances[:, :width].ravel()
    return columns


def _even(column: pa.ChunkedArray, kind: type, missing: float) -> NDArray[Any]:
    """A column of N lists as an array (N, longest)."""
    lists = column.combine_chunks()
    lengths = np.asarray(lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    shape = (len(lists), int(lengths.max(initial=0)))
    even: NDArray[Any] = np.full(shape, missing, kind)
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    even[np.arange(even.shape[1]) < lengths[:, None]] = flat
    return even


def _tiles(run: ExploreRun) -> dict[str, NDArray[Any]]:
    """Where each row's thumbnail is: number of its sheet, then pixels."""
    number = {name: place for place, name in enumerate(run.pictures.sheets)}
    table = np.full((4, len(run)), NONE, np.int32)
    for name, (sheet, x, y, size) in run.pictures.places.items():
        if name.isascii() and name.isdigit() and int(name) < len(run):
            table[:, int(name)] = number[sheet], x, y, size
    return dict(zip(("tile_sheet", "tile_x", "tile_y", "tile_size"), table, strict=True))


def _coded(
    texts: Sequence[str | None], first: Sequence[str]
) -> tuple[NDArray[np.int32], list[str]]:
    """Texts as numbers of distinct texts; ``first`` take the first numbers."""
    numbers = {text: place for place, text in enumerate(dict.fromkeys(first))}
    codes = np.full(len(texts), NONE, np.int32)
    for row, text in enumerate(texts):
        if text is not None:
            codes[row] = numbers.setdefault(text, len(numbers))
    return codes, list(numbers)


def _texts(name: str, texts: Sequence[str | None]) -> dict[str, NDArray[Any]]:
    encoded = [(text or "").encode("utf-8", "replace") for text in texts]
    ends = np.cumsum([len(text) for text in encoded], dtype=np.uint32)
    return {
        f"{name}.ends": ends,
        f"{name}.bytes": np.frombuffer(b"".join(encoded), dtype=np.uint8),
    }


def _joined(columns: dict[str, NDArray[Any]]) -> tuple[bytes, Layout]:
    block = bytearray()
    layout: Layout = {}
    for name, values in columns.items():
        kind = values.dtype.newbyteorder("<")
        layout[name] = (f"{kind.kind}{kind.itemsize}", len(block), len(values))
        block += np.ascontiguousarray(values, dtype=kind).tobytes()
        block += bytes(-len(block) % ALIGNED)
    return bytes(block), layout
