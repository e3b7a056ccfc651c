"""Picture sheets of a run: many small images in a few files, found again by id.

The report shows hundreds of images and lets people hover over thousands; a file
for each would be slow to write, to copy and to inline.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from vicinal.errors import InputError
from vicinal.files import replacing, write_parquet

SHEET_SIDE = 2048
LARGEST_TILE = 64  # shown at up to 96 px; larger tiles would make the page heavy
LOSSLESS_TILE = 16
LOSSLESS_COUNT = 1_000
BLOCK = 16  # WebP's lossy blocks: a tile that shares one takes on its neighbour's colour


class Pixels(Protocol):
    """Images (N, H, W, C) uint8 that are read a few at a time: an array, a memory map, several."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> NDArray[np.uint8]: ...


def write_pictures(
    folder: Path, ids: Sequence[str], pixels: Pixels, sizes: NDArray[np.int32] | None = None
) -> None:
    """Packs images into sheets and writes them with an index.

    Writes ``sheet-000.webp``, ``sheet-001.webp``, … of at most 2048 × 2048 pixels
    and, last of all, ``index.parquet`` with a row an image: id string, sheet (file
    name), x and y (pixels of its upper left corner) and size (pixels a side).
    Images wider than 64 pixels are reduced to that. Sheets are lossless where tiles
    are tiny or few, else of WebP quality 85. With ``sizes``, width and height of each original, the
    images get their shape back, in the middle of a white square.

    Shapes: pixels (N, H, W, C) uint8, sizes (N, 2) int32.
    """
    assert len(ids) == len(pixels), f"{len(ids)} ids for {len(pixels)} images"
    assert pixels.shape[1] == pixels.shape[2], f"not square: {pixels.shape}"
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.parquet"
    index.unlink(missing_ok=True)
    for old in folder.glob("sheet-*.webp"):
        old.unlink()
    rows = sorted({str(name): row for row, name in reversed(list(enumerate(ids)))}.values())
    table = _sheets(folder, [str(ids[row]) for row in rows], pixels, rows, 0, sizes)
    write_parquet(index, table)


def add_pictures(
    folder: Path, earlier: Path, origin: NDArray[np.int64], pixels: Pixels
) -> NDArray[np.uint8]:
    """Writes earlier pictures in their sheets, new ones in more; returns all (N, S, S, 3) uint8."""
    folder.mkdir(parents=True, exist_ok=True)
    held = pq.read_table(earlier / "index.parquet") if origin.max(initial=-1) >= 0 else None
    place = {} if held is None else {int(n): at for at, n in enumerate(held["id"].to_pylist())}
    if missing := [row for row in origin[origin >= 0].tolist() if row not in place]:
        raise InputError(f"{earlier}: lacks the thumbnail of row {missing[0]}; run explore anew")
    names = [str(row) for row in np.flatnonzero(origin < 0)]
    number = 1 + max((int(f.stem[6:]) for f in earlier.glob("sheet-*.webp")), default=-1)
    tables = [_sheets(folder, names, pixels, list(range(len(names))), number)] if names else []
    if held is not None:
        kept = held.take([place[row] for row in origin[origin >= 0].tolist()])
        ids = pa.array([str(row) for row in np.flatnonzero(origin >= 0)], pa.string())
        tables.insert(0, kept.set_column(0, "id", ids))
        for name in set(kept["sheet"].to_pylist()):
            shutil.copyfile(earlier / name, folder / name)
    table = pa.concat_tables(tables)
    write_parquet(folder / "index.parquet", table)
    return _cut(folder, table)


def _cut(folder: Path, table: pa.Table) -> NDArray[np.uint8]:
    """The pictures of an index with a row for each of the ids 0 to N - 1, (N, side, side, 3)."""
    columns = table.to_pydict()
    side = max(columns["size"])
    cut = np.zeros((table.num_rows, side, side, 3), np.uint8)
    by_sheet: dict[str, list[int]] = {}
    for at, name in enumerate(columns["sheet"]):
        by_sheet.setdefault(name, []).append(at)
    for name, ats in by_sheet.items():
        with Image.open(folder / name) as opened:
            sheet = np.asarray(opened.convert("RGB"))
        for at in ats:
            x, y, size = (columns[key][at] for key in ("x", "y", "size"))
            cut[int(columns["id"][at]), :size, :size] = sheet[y : y + size, x : x + size]
    return cut


def _sheets(
    folder: Path,
    names: Sequence[str],
    pixels: Pixels,
    rows: Sequence[int],
    number: int,
    sizes: NDArray[np.int32] | None = None,
) -> pa.Table:
    """Writes sheets of the pictures at ``rows`` from a number on; the rows of their index."""
    tile = min(int(pixels.shape[1]), LARGEST_TILE)
    lossless = tile <= LOSSLESS_TILE or len(rows) <= LOSSLESS_COUNT
    step = tile if lossless else math.ceil(tile / BLOCK) * BLOCK
    capacity = (SHEET_SIDE // step) ** 2
    table: dict[str, list[Any]] = {"sheet": [], "x": [], "y": []}
    for sheet, start in enumerate(range(0, len(rows), capacity), number):
        part = rows[start : start + capacity]
        name = f"sheet-{sheet:03d}.webp"
        across = math.ceil(math.sqrt(len(part)))
        image = Image.fromarray(_sheet(pixels, part, tile, step, across, sizes))
        with replacing(folder / name) as partial:
            image.save(partial, "WEBP", lossless=lossless, quality=85, method=4)
        table["sheet"] += [name] * len(part)
        table["x"] += [place % across * step for place in range(len(part))]
        table["y"] += [place // across * step for place in range(len(part))]
    small = pa.uint16()
    return pa.table(
        {
            "id": pa.array(names, pa.string()),
            "sheet": pa.array(table["sheet"], pa.string()),
            "x": pa.array(table["x"], small),
            "y": pa.array(table["y"], small),
            "size": pa.array([tile] * len(rows), small),
        }
    )


def _sheet(
    pixels: Pixels,
    rows: Sequence[int],
    tile: int,
    step: int,
    across: int,
    sizes: NDArray[np.int32] | None,
) -> NDArray[np.uint8]:
    """One sheet (side, side, 3) uint8 with the images at ``rows``, row by row."""
    down = math.ceil(len(rows) / across)
    sheet = np.zeros((down * step, across * step, 3), dtype=np.uint8)
    for place, row in enumerate(rows):
        image = pixels[row]
        if len(image) > tile:
            image = _scaled(image, tile, tile)
        if sizes is not None and sizes[row, 0] != sizes[row, 1]:
            image = _in_shape(image, *sizes[row].tolist())
        y, x = place // across * step, place % across * step
        sheet[y : y + tile, x : x + tile] = image  # one channel is repeated to three
    return sheet


def _scaled(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The image (H, W, C) in another size, still with a channel axis."""
    plain = image[:, :, 0] if image.shape[2] == 1 else image
    small = Image.fromarray(plain).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(small, dtype=np.uint8).reshape(height, width, -1)


def _in_shape(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """An image (S, S, C) that was squeezed into the square, in its shape on white, (S, S, C)."""
    side, longer = len(image), max(width, height)
    across, down = (max(math.ceil(side / 4), round(side * one / longer)) for one in (width, height))
    square = np.full_like(image, 255)
    left, top = (side - across) // 2, (side - down) // 2
    square[top : top + down, left : left + across] = _scaled(image, across, down)
    return square
