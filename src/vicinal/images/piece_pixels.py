"""The pixels of a piece of a source: read from wherever it is, decoded on several threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.images import fit
from vicinal.images.depth import Span
from vicinal.images.names import as_text
from vicinal.images.opened import MOST_PIXELS
from vicinal.images.parquet_columns import (
    cells_of,
    declared_names,
    image_column,
    label_column,
    row_classes,
)
from vicinal.images.pieces import Piece
from vicinal.images.skipped import BadPictureError, Skipped

_GROUP = 256  # encoded pictures in memory at a time
_DEEP = (
    "has more than 8 bits, and the encoder was trained on none such: embed into a .parquet file, "
    "which scales by the range of the set"
)


@dataclass(frozen=True, eq=False)
class Decoded:
    """The images of a piece that could be decoded.

    Attributes:
        pixels: Array (M, size, size, channels) uint8.
        ids: Array (M,) of strings, as `vicinal.images.load_parts` gives them.
        labels: Array (M,) of class names; None without labels.
        paths: Array (M,) of addresses; None for a parquet source.
        skipped: The others, and why they cannot be used.
        sizes: Array (M, 2) int32, width and height of the originals.
    """

    pixels: NDArray[np.uint8]
    ids: NDArray[np.str_]
    labels: NDArray[np.str_] | None
    paths: NDArray[np.str_] | None
    skipped: tuple[Skipped, ...]
    sizes: NDArray[np.int32]


@dataclass(frozen=True)
class Decoding:
    """How the images of a piece become squares.

    Attributes:
        size: Height and width.
        channels: 1 or 3.
        span: The values of pictures of more than 8 bits that become 0 and 255: those of the
            pictures that the encoder was trained on. Without, such pictures are left out, since
            only all pieces together show their range.
        max_pixels: Pixels of a picture that may be decoded.
        interpolation: How pictures are scaled, one of `fit.INTERPOLATIONS`.
    """

    size: int
    channels: int
    span: Span | None = None
    max_pixels: int = MOST_PIXELS
    interpolation: str = "bilinear"

    def __call__(self, picture: bytes | str | None, where: str) -> fit.Square | Skipped:
        """One image, encoded or by its address."""
        try:
            if picture is None:
                return Skipped(where, "has no image")
            encoded = _fetched(picture) if isinstance(picture, str) else picture
            found = fit.square(
                encoded,
                where,
                size=self.size,
                channels=self.channels,
                pad=False,
                interpolation=self.interpolation,
                span=self.span,
                most_pixels=self.max_pixels,
            )
        except BadPictureError as bad:
            return Skipped(bad.path, bad.reason)
        except OSError as error:
            return Skipped(where, f"cannot be read ({error.strerror or type(error).__name__})")
        return found if found.pixels.dtype == np.uint8 else Skipped(where, _DEEP)


def decode(piece: Piece, decoding: Decoding, workers: int) -> Decoded:
    """Reads and decodes the images of a piece, as `vicinal.images.load_parts` does.

    Args:
        piece: What to read.
        decoding: How.
        workers: Threads.

    Raises:
        InputError: If a parquet file cannot be read.
    """
    squares: list[fit.Square] = []
    kept: list[int] = []
    skipped: list[Skipped] = []
    labels = piece.labels
    pictures: Iterator[tuple[bytes | str | None, str]]
    if piece.rows is not None:
        pictures, labels = _encoded(piece)
    else:
        pictures = ((file, as_text(file.removeprefix("file://"))) for file in piece.files)
    with ThreadPoolExecutor(workers) as pool:
        before = 0
        while group := list(islice(pictures, _GROUP)):
            found = pool.map(decoding, *zip(*group, strict=True))
            for row, image in enumerate(found, before):
                if isinstance(image, Skipped):
                    skipped.append(image)
                else:
                    squares.append(image)
                    kept.append(row)
            before += len(group)
    shape = (decoding.size, decoding.size, decoding.channels)
    return _decoded(piece, labels, squares, kept, skipped, shape)


def _fetched(address: str) -> bytes:
    with fsspec.open(address, "rb") as file:
        return bytes(file.read())


def _decoded(
    piece: Piece,
    labels: tuple[str, ...] | None,
    squares: list[fit.Square],
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
        np.stack([one.pixels for one in squares]) if squares else np.empty((0, *shape), np.uint8),
        np.array([prefix + numbers[row] for row in kept], dtype=np.str_),
        None if labels is None else np.array([labels[row] for row in kept], dtype=np.str_),
        None
        if piece.rows is not None
        else np.array([as_text(local[row]) for row in kept], np.str_),
        tuple(skipped),
        np.array([(one.width, one.height) for one in squares], np.int32).reshape(-1, 2),
    )


def _encoded(
    piece: Piece,
) -> tuple[Iterator[tuple[bytes | str | None, str]], tuple[str, ...] | None]:
    """The encoded images of a parquet piece, and their class names."""
    assert piece.rows is not None
    (file,), (start, count, _) = piece.files, piece.rows
    name = file.removeprefix("file://")
    folder = name.rpartition("/")[0]
    with fsspec.open(file, "rb") as opened:
        read = pq.ParquetFile(opened)
        label = label_column(read.schema_arrow)
        names = () if label is None else declared_names(read.schema_arrow, label)
        classes = row_classes(read, label, names, name)
    labels = None if classes is None else tuple(classes[start : start + count].tolist())

    def images() -> Iterator[tuple[bytes | str | None, str]]:
        with fsspec.open(file, "rb") as opened:
            read = pq.ParquetFile(opened)
            column = image_column(read.schema_arrow, name)
            sizes = [read.metadata.row_group(g).num_rows for g in range(read.num_row_groups)]
            ends = np.cumsum(sizes)
            first, last = np.searchsorted(ends, [start, start + count - 1], side="right").tolist()
            row = int(ends[first]) - sizes[first]
            groups = list(range(first, last + 1))
            for batch in read.iter_batches(64, row_groups=groups, columns=[column]):
                low, high = max(start - row, 0), min(start + count - row, len(batch))
                if low < high:
                    cells: Any = batch.column(0).slice(low, high - low)
                    for at, image in enumerate(cells_of(cells, folder), row + low):
                        yield image, f"{name}, row {at} (counted from 0)"
                row += len(batch)

    return images(), labels
