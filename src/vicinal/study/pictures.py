"""Picture sheets: many small images in a few files, found again by id.

The report shows hundreds of images and lets people hover over thousands; a file
for each would be slow to write, to copy and to inline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from vicinal.files import replacing

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


def write_pictures(folder: Path, ids: Sequence[str], pixels: Pixels) -> None:
    """Packs images into sheets and writes them with an index.

    Writes ``sheet-000.webp``, ``sheet-001.webp``, … of at most 2048 × 2048 pixels
    and, last of all, ``index.parquet`` with a row an image: id string, sheet (file
    name), x and y (pixels of its upper left corner) and size (pixels a side).
    Images wider than 64 pixels are reduced to that. Sheets are lossless where tiles
    are tiny or few, else of WebP quality 85.

    Args:
        folder: Where the files go; made if absent. An earlier set of pictures in it
            is replaced, and is unreadable rather than mixed while that goes on.
        ids: The N images' permanent ids; of an id given twice the first image is kept.
        pixels: Array (N, H, W, C) uint8 with H = W and C = 1 or 3; may be a memory map.
    """
    assert len(ids) == len(pixels), f"{len(ids)} ids for {len(pixels)} images"
    assert pixels.shape[1] == pixels.shape[2], f"not square: {pixels.shape}"
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.parquet"
    index.unlink(missing_ok=True)
    for old in folder.glob("sheet-*.webp"):
        old.unlink()
    rows = sorted({str(name): row for row, name in reversed(list(enumerate(ids)))}.values())
    tile = min(int(pixels.shape[1]), LARGEST_TILE)
    lossless = tile <= LOSSLESS_TILE or len(rows) <= LOSSLESS_COUNT
    step = tile if lossless else math.ceil(tile / BLOCK) * BLOCK
    capacity = (SHEET_SIDE // step) ** 2
    table: dict[str, list[Any]] = {"id": [], "sheet": [], "x": [], "y": []}
    for number, start in enumerate(range(0, len(rows), capacity)):
        part = rows[start : start + capacity]
        name = f"sheet-{number:03d}.webp"
        across = math.ceil(math.sqrt(len(part)))
        _save(_sheet(pixels, part, tile, step, across), folder / name, lossless)
        table["id"] += [str(ids[row]) for row in part]
        table["sheet"] += [name] * len(part)
        table["x"] += [place % across * step for place in range(len(part))]
        table["y"] += [place // across * step for place in range(len(part))]
    small = pa.uint16()
    columns = {
        "id": pa.array(table["id"], pa.string()),
        "sheet": pa.array(table["sheet"], pa.string()),
        "x": pa.array(table["x"], small),
        "y": pa.array(table["y"], small),
        "size": pa.array([tile] * len(rows), small),
    }
    with replacing(index) as partial:
        pq.write_table(pa.table(columns), partial)


def _sheet(pixels: Pixels, rows: list[int], tile: int, step: int, across: int) -> NDArray[np.uint8]:
    """One sheet (side, side, 3) uint8 with the images at ``rows``, row by row."""
    down = math.ceil(len(rows) / across)
    sheet = np.zeros((down * step, across * step, 3), dtype=np.uint8)
    for place, row in enumerate(rows):
        image = pixels[row]
        if len(image) > tile:
            image = _reduced(image, tile)
        y, x = place // across * step, place % across * step
        sheet[y : y + tile, x : x + tile] = image  # one channel is repeated to three
    return sheet


def _reduced(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The image (H, H, C) at ``side`` pixels a side, still with a channel axis."""
    squeezed = image[:, :, 0] if image.shape[2] == 1 else image
    small = Image.fromarray(squeezed).resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small, dtype=np.uint8).reshape(side, side, -1)


def _save(sheet: NDArray[np.uint8], path: Path, lossless: bool) -> None:
    """Writes a sheet as WebP; a reader never sees half a file."""
    with replacing(path) as partial:
        Image.fromarray(sheet).save(partial, "WEBP", lossless=lossless, quality=85, method=4)
