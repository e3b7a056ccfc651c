"""grid: a query and the pictures found for it, as one PNG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vicinal.errors import InputError, option
from vicinal.files import replacing
from vicinal.images import fit, load_parts
from vicinal.images.names import as_path
from vicinal.representations.embeddings import Embeddings

_CELL = 128  # pixels a side
_CAPTION = 16
_GAP = 4
_ACROSS = 6


def write_grid(
    path: Path, embeddings: Embeddings, query: int | Path, rows: Sequence[int], captions: list[str]
) -> None:
    """Writes the query and the pictures at ``rows``, row by row, each over its caption.

    Pictures come from their files, or for embeddings without paths from the source that they
    were made from; each is cropped to a square as for the encoder.

    Args:
        path: Where the PNG goes.
        embeddings: What the rows count in.
        query: The first picture, by row or by file.
        rows: The others.
        captions: One for each picture, the query's first.

    Raises:
        InputError: If the pictures are not to be had.
    """
    shown = [query, *rows] if isinstance(query, int) else list(rows)
    tiles = list(pictures_of(embeddings, shown, "grid"))
    if isinstance(query, Path):
        tiles.insert(0, _tile(query, str(query)))
    across = min(_ACROSS, len(tiles))
    step = _CELL + _GAP, _CELL + _CAPTION + _GAP
    size = across * step[0] + _GAP, math.ceil(len(tiles) / across) * step[1] + _GAP
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for place, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        x, y = place % across * step[0] + _GAP, place // across * step[1] + _GAP
        sheet.paste(tile, (x, y))
        draw.text((x, y + _CELL + 2), _latin(caption), fill="black")
        if place == 0:
            draw.rectangle((x - 2, y - 2, x + _CELL + 1, y + _CELL + 1), outline="red", width=2)
    with replacing(path) as partial:
        sheet.save(partial, "PNG")


def pictures_of(
    embeddings: Embeddings, rows: Sequence[int], parameter: str, side: int = _CELL
) -> Iterator[Image.Image]:
    """The pictures at ``rows``, square and in colour, from their files or else from their source.

    Args:
        embeddings: What the rows count in.
        rows: Which.
        parameter: The parameter that asked for them, for the message.
        side: Pixels.

    Raises:
        InputError: If they are not to be had.
    """
    if embeddings.paths is not None:
        for row in rows:
            where = str(embeddings.paths[row])
            yield _tile(as_path(where), where, side)
        return
    pixels = _source_pixels(embeddings, parameter)
    for row in rows:
        name = str(embeddings.ids[row])
        if name not in pixels:
            raise InputError(
                f"{option(parameter)}: {embeddings.origin['source']} has no picture {name} now"
            )
        image = pixels[name]
        square = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        yield square.resize((side, side), Image.Resampling.NEAREST).convert("RGB")


def _source_pixels(embeddings: Embeddings, parameter: str) -> dict[str, NDArray[np.uint8]]:
    """Pictures by id, from the source that the embeddings were made from."""
    origin = embeddings.origin
    if not {"source", "size", "channels"} <= set(origin):
        raise InputError(
            f"{option(parameter)}: the embeddings say neither paths nor a source; use "
            "`vicinal embed`"
        )
    folder = origin.get("data_dir")
    parts = load_parts(
        origin["source"],
        size=origin["size"],
        channels=origin["channels"],
        data_dir=None if folder is None else Path(folder),
    )
    return {
        str(name): picture
        for part in parts
        for name, picture in zip(part.images.ids, part.images.pixels, strict=True)
    }


def _tile(path: Path, where: str, side: int = _CELL) -> Image.Image:
    return Image.fromarray(fit.decode(path, where, size=side, channels=3, pad=False))


def _latin(caption: str) -> str:
    """What Pillow's own font can draw, cut to a cell's width."""
    return caption.encode("latin-1", "replace").decode("latin-1")[-20:]
