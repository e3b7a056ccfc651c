"""The pixels of a piece of a source: read from wherever it is, decoded on several threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.images import fit, parquet
from vicinal.images.names import as_text
from vicinal.images.pieces import Piece
from vicinal.images.skipped import BadPictureError, Skipped

_GROUP = 256  # encoded pictures in memory at a time


@dataclass(frozen=True, eq=False)
class Decoded:
    """The images of a piece that could be decoded.

    Attributes:
        pixels: Array (M, size, size, channels) uint8.
        ids: Array (M,) of strings, as `vicinal.images.load_parts` gives them.
        labels: Array (M,) of class names; None without labels.
        paths: Array (M,) of addresses; None for a parquet source.
        skipped: The others, and why they cannot be used.
    """

    pixels: NDArray[np.uint8]
    ids: NDArray[np.str_]
    labels: NDArray[np.str_] | None
    paths: NDArray[np.str_] | None
    skipped: tuple[Skipped, ...]


def decode(
    piece: Piece, size: int, channels: int, workers: int, interpolation: str = "bilinear"
) -> Decoded:
    """Reads and decodes the images of a piece, as `vicinal.images.load_parts` does.

    Args:
        piece: What to read.
        size: Height and width.
        channels: 1 or 3.
        workers: Threads.
        interpolation: How pictures are scaled, one of `fit.INTERPOLATIONS`.

    Raises:
        InputError: If a parquet file cannot be read.
    """
    pixels: list[NDArray[np.uint8]] = []
    kept: list[int] = []
    skipped: list[Skipped] = []

    def one(picture: bytes | str | None, where: str) -> NDArray[np.uint8] | Skipped:
        try:
            if picture is None:
                return Skipped(where, "has no image")
            encoded = _fetched(picture) if isinstance(picture, str) else picture
            return fit.decode(
                encoded,
                where,
                size=size,
                channels=channels,
                pad=False,
                interpolation=interpolation,
            )
        except BadPictureError as bad:
            return Skipped(bad.path, bad.reason)
        except OSError as error:
            return Skipped(where, f"cannot be read ({error.strerror or type(error).__name__})")

    labels = piece.labels
    pictures: Iterator[tuple[bytes | str | None, str]]
    if piece.rows is not None:
        pictures, labels = _encoded(piece)
    else:
        pictures = ((file, as_text(file.removeprefix("file://"))) for file in piece.files)
    with ThreadPoolExecutor(workers) as pool:
        before = 0
        while group := list(islice(pictures, _GROUP)):
            for row, image in enumerate(pool.map(one, *zip(*group, strict=True)), before):
                if isinstance(image, Skipped):
                    skipped.append(image)
                else:
                    pixels.append(image)
                    kept.append(row)
            before += len(group)
    return _decoded(piece, labels, pixels, kept, skipped, (size, size, channels))


def _fetched(address: str) -> bytes:
    with fsspec.open(address, "rb") as file:
        return bytes(file.read())


def _decoded(
    piece: Piece,
    labels: tuple[str, ...] | None,
    pixels: list[NDArray[np.uint8]],
    kept: list[int],
    skipped: list[Skipped],
    shape: tuple[int, int, int],
) -> Decoded:
    """The result, with the ids that the images have in the whole source."""
    numbers = piece.ids
    if piece.rows is not None:
        numbers = tuple(f"{row:06d}" for row in range(piece.rows[2], piece.rows[2] + len(piece)))
    prefix = "" if piece.split is None else f"{piece.split}/"
    local = [file.removeprefix("file://") for file in piece.files]
    return Decoded(
        np.stack(pixels) if pixels else np.empty((0, *shape), np.uint8),
        np.array([prefix + numbers[row] for row in kept], dtype=np.str_),
        None if labels is None else np.array([labels[row] for row in kept], dtype=np.str_),
        None
        if piece.rows is not None
        else np.array([as_text(local[row]) for row in kept], np.str_),
        tuple(skipped),
    )


def _encoded(
    piece: Piece,
) -> tuple[Iterator[tuple[bytes | str | None, str]], tuple[str, ...] | None]:
    """The encoded images of a parquet piece, and their class names."""
    assert piece.rows is not None
    (file,), (start, count, _) = piece.files, piece.rows
    name = file.removeprefix("file://")
    with fsspec.open(file, "rb") as opened:
        read = pq.ParquetFile(opened)
        names = parquet.declared_names(read.schema_arrow)
        classes = parquet.row_classes(read, names, name)
    labels = None if classes is None else tuple(classes[start : start + count].tolist())

    def images() -> Iterator[tuple[bytes | str | None, str]]:
        with fsspec.open(file, "rb") as opened:
            read = pq.ParquetFile(opened)
            column = parquet.image_column(read.schema_arrow, name)
            sizes = [read.metadata.row_group(g).num_rows for g in range(read.num_row_groups)]
            ends = np.cumsum(sizes)
            first, last = np.searchsorted(ends, [start, start + count - 1], side="right").tolist()
            row = int(ends[first]) - sizes[first]
            groups = list(range(first, last + 1))
            for batch in read.iter_batches(64, row_groups=groups, columns=[column]):
                low, high = max(start - row, 0), min(start + count - row, len(batch))
                if low < high:
                    cells: Any = batch.column(0).slice(low, high - low)
                    if pa.types.is_struct(cells.type):
                        cells = pc.struct_field(cells, "bytes")
                    for at, image in enumerate(cells.to_pylist(), row + low):
                        yield image, f"{name}, row {at} (counted from 0)"
                row += len(batch)

    return images(), labels
