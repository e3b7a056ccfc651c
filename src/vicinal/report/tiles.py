"""The pictures in the page: single tiles as images, whole sheets for the hover card."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from vicinal.report.inlined import data_address

SHARP_UP_TO = 64
"""Tiles of up to so many pixels are enlarged without smoothing."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of a run, found by id.

    Attributes:
        folder: Where the sheets are.
        places: Id to (sheet's file name, x, y, size), the last three in pixels.
        sheets: The sheets' file names.
    """

    folder: Path
    places: dict[str, tuple[str, int, int, int]]
    sheets: list[str]
    _opened: dict[str, Image.Image] = field(default_factory=dict, repr=False)
    _tiles: dict[str, str] = field(default_factory=dict, repr=False)

    def tile(self, name: str) -> str | None:
        """The image with this id as a ``data:`` address, or None where there is none."""
        if name not in self._tiles:
            if name not in self.places:
                return None
            sheet, x, y, size = self.places[name]
            if sheet not in self._opened:
                with Image.open(self.folder / sheet) as opened:
                    self._opened[sheet] = opened.convert("RGB")
            tile = self._opened[sheet].crop((x, y, x + size, y + size))
            pixels = np.asarray(tile)
            if (pixels == pixels[:, :, :1]).all():
                tile = tile.convert("L")  # grey needs a third of the bytes
            buffer = io.BytesIO()
            if size <= SHARP_UP_TO // 2:
                tile.save(buffer, format="PNG", optimize=True)
                kind = "png"
            else:
                tile.save(buffer, format="WEBP", quality=88)
                kind = "webp"
            self._tiles[name] = data_address(kind, buffer.getvalue())
        return self._tiles[name]

    def sheet_addresses(self) -> list[str]:
        """Each sheet, in the order of ``sheets``, as a ``data:`` address."""
        return [data_address("webp", (self.folder / name).read_bytes()) for name in self.sheets]


def read_pictures(folder: Path) -> Pictures:
    """Reads the index of the pictures in ``folder``; empty where there is none."""
    index = folder / "index.parquet"
    if not index.is_file():
        return Pictures(folder, {}, [])
    columns = pq.read_table(index).to_pydict()
    sheets = sorted({Path(name).name for name in columns["sheet"]})
    present = {name for name in sheets if (folder / name).is_file()}
    places = {
        str(name): (Path(sheet).name, int(x), int(y), int(size))
        for name, sheet, x, y, size in zip(
            columns["id"],
            columns["sheet"],
            columns["x"],
            columns["y"],
            columns["size"],
            strict=True,
        )
        if Path(sheet).name in present
    }
    return Pictures(folder, places, sorted(present))
