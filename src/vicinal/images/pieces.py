"""A source in pieces, from any place fsspec knows: listing them, reading and decoding one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.errors import InputError, option, said_by
from vicinal.files import as_text, excluded, left_behind
from vicinal.images import folder, parquet
from vicinal.images.decoding import Span, Square, square
from vicinal.images.formats import MOST_PIXELS, suffixes, unread
from vicinal.images.skipped import BadPictureError, Skipped
from vicinal.images.sources import named
from vicinal.images.tables import (
    cells_of,
    chosen_test,
    declared_names,
    image_column,
    label_column,
    row_classes,
)
from vicinal.progress import tell

_PIECE_BYTES = 128 << 20  # of decoded pixels
_LISTERS = 16  # files asked for their number of rows at a time, for each may be far away


@dataclass(frozen=True)
class Piece:
    """A few thousand images of a source, in its order.

    Attributes:
        number: Which piece it is, from 0.
        split: ``train`` or ``test``; None where the source has no parts of its own.
        files: Their addresses; of a parquet source the one file.
        ids: Ids of the images; of a parquet source none, they are numbers.
        labels: Class names of the images; None without, and for a parquet source.
        rows: Of a parquet source, the first row in the file, how many there are, and the number
            of the first row within its part; None for image files.
    """

    number: int
    split: str | None
    files: tuple[str, ...]
    ids: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    rows: tuple[int, int, int] | None = None

    def __len__(self) -> int:
        return len(self.files) if self.rows is None else self.rows[1]


def pieces(
    source: str, size: int, count: int | None = None, exclude: tuple[str, ...] = ()
) -> tuple[list[Piece], tuple[Skipped, ...]]:
    """Lists a source in pieces; decodes nothing.

    Args:
        source: A folder, parquet files or a pattern as for `vicinal.images.load`, which may be
            addresses such as ``s3://bucket/photos``.
        size: Height and width that the images will have.
        count: Images of a piece at most; None for as many as decode to 128 MiB.
        exclude: Patterns of files and folders that are left out.

    Returns:
        The pieces, and what looks like a picture and is not read.

    Raises:
        InputError: If it is another source, missing, empty or out of reach.
    """
    kind, _, place = named(source).partition(":")
    if kind not in ("parquet", "folder") or not place:
        raise InputError(
            f"data {source!r}: in pieces only parquet:PATTERN and folder:PATH can be read; give "
            f"{option('out')} a name that ends in .parquet"
        )
    if exclude and kind == "parquet":
        raise InputError(
            f"{option('exclude', exclude[0])}: parquet files list no files; leave it out"
        )
    count = count or max(64, _PIECE_BYTES // (3 * size * size))
    skipped: list[Skipped] = []
    try:
        if kind == "parquet":
            listed = list(_from_parquet(place, count))
        else:
            listed = list(_from_folder(place, count, exclude, skipped))
    except InputError:
        raise
    except Exception as error:  # every kind of place has errors of its own
        raise InputError(
            f"data {source!r}: cannot be listed ({said_by(error)}); check the address, the "
            "credentials and that fsspec's package for it is installed"
        ) from None
    return [Piece(number, *rest) for number, rest in enumerate(listed)], tuple(skipped)


Listed = Iterator[tuple[Any, ...]]
"""The fields of pieces, but for their numbers."""


def _from_parquet(pattern: str, count: int) -> Listed:
    parts = parquet.parted_pattern(pattern, _parquet_files)
    both = {"test", "validation"} <= set(parts)
    labelled = {part: both and _labelled(files) for part, files in parts.items()}
    test, notes = chosen_test(labelled, pattern)
    tell(notes)
    found: dict[str | None, list[str]]
    if test is not None:
        found = {"train": parts["train"]} if "train" in parts else {}
        found["test"] = parts[test]
    else:  # all there is is then no part, as in `load_parts`
        found = {None: parts.get("all") or parts["train"]}
    for split, files in found.items():
        with ThreadPoolExecutor(_LISTERS) as pool:
            counts = list(pool.map(_rows, files))
        first = 0
        for file, rows in zip(files, counts, strict=True):
            for start in range(0, rows, count):
                piece = (start, min(count, rows - start), first + start)
                yield split, (file,), (), None, piece
            first += rows


def _parquet_files(pattern: str) -> list[str]:
    """Addresses of the files that a pattern names."""
    if "://" not in pattern:
        return [f"file://{path.absolute()}" for path in parquet.parquet_files(pattern)]
    filesystem, path = fsspec.core.url_to_fs(pattern)
    if filesystem.isfile(path):
        found = [path]
    elif filesystem.isdir(path):
        found = [
            file
            for file in filesystem.find(path)
            if file.endswith(".parquet") and not left_behind(file[len(path) :].lstrip("/"))
        ]
    else:
        found = [file for file in filesystem.glob(path) if filesystem.isfile(file)]
    return [filesystem.unstrip_protocol(file) for file in sorted(found, key=_parts)]


def _labelled(files: list[str]) -> bool:
    """Whether parquet files have labels."""
    for file in files:
        with fsspec.open(file, "rb") as opened:
            read = pq.ParquetFile(opened)
            label = label_column(read.schema_arrow)
            names = () if label is None else declared_names(read.schema_arrow, label)
            if row_classes(read, label, names, file) is not None:
                return True
    return False


def _rows(file: str) -> int:
    with fsspec.open(file, "rb") as opened:
        metadata = pq.ParquetFile(opened)
        image_column(metadata.schema_arrow, file)
        return int(metadata.metadata.num_rows)


def _from_folder(path: str, count: int, exclude: tuple[str, ...], skipped: list[Skipped]) -> Listed:
    if "://" in path:
        parts = _far_folder(path, exclude, skipped)
    else:
        train, test = folder.load(path, exclude)
        tell((*train.notes, *(() if test is None else test.notes)))
        both = {None: train} if test is None else {"train": train, "test": test}
        skipped += [one for part in both.values() for one in part.skipped]
        parts = {split: _near_folder(part) for split, part in both.items()}
    for split, (files, ids, labels) in parts.items():
        for start in range(0, len(files), count):
            at = slice(start, start + count)
            yield split, files[at], ids[at], None if labels is None else labels[at]


Files = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...] | None]
"""Addresses, ids and class names of the images in a folder."""


def _near_folder(found: folder.FolderImages) -> Files:
    root = os.path.abspath(found.root)
    labels = None
    if found.labels is not None:
        labels = tuple(np.array(found.class_names)[found.labels].tolist())
    files = tuple(f"file://{root}/{file}" for file in found.files.tolist())
    return files, tuple(found.ids.tolist()), labels


def _far_folder(
    address: str, exclude: tuple[str, ...], skipped: list[Skipped]
) -> dict[str | None, Files]:
    """The parts of a folder elsewhere, by the rules of `vicinal.images.folder`."""
    filesystem, root = fsspec.core.url_to_fs(address)
    root = root.rstrip("/")
    inside = [file[len(root) + 1 :] for file in filesystem.find(root)]
    inside = [file for file in inside if not left_behind(file) and not excluded(file, exclude)]
    images = [file for file in inside if file.lower().endswith(suffixes())]
    for file in inside:
        if file not in images and (reason := unread(file)) is not None:
            skipped.append(Skipped(f"{address.rstrip('/')}/{file}", f"is {reason}"))
    if not images:
        raise InputError(
            f"folder:{address}: no images in it; files must end in {' '.join(suffixes())}"
        )
    folders = sorted({_parts(file)[0] for file in inside if "/" in file})
    named_parts = folder.part_folders(folders, [file for file in images if "/" not in file])
    found = {
        part: _far_part(filesystem, root, f"{name}/", images) for part, name in named_parts.items()
    }
    labelled = {part: labels is not None for part, (_, _, labels) in found.items()}
    test, notes = chosen_test(labelled, address)
    tell(notes)
    if test is not None:
        return {"train": found["train"], "test": found[test]}
    start = f"{named_parts['train']}/" if named_parts else ""
    return {None: _far_part(filesystem, root, start, images)}


def _far_part(filesystem: Any, root: str, start: str, images: list[str]) -> Files:
    """The images whose paths begin with ``start``."""
    ids = sorted((f[len(start) :] for f in images if f.startswith(start)), key=_parts)
    files = tuple(filesystem.unstrip_protocol(f"{root}/{start}{name}") for name in ids)
    in_folders = all("/" in name for name in ids)
    labels = tuple(_parts(n)[0].strip() for n in ids) if in_folders else None
    return files, tuple(ids), labels


def _parts(path: str) -> list[str]:
    return path.split("/")


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

    def __call__(self, picture: bytes | str | None, where: str) -> Square | Skipped:
        """One image, encoded or by its address."""
        try:
            if picture is None:
                return Skipped(where, "has no image")
            encoded = _fetched(picture) if isinstance(picture, str) else picture
            found = square(
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
    squares: list[Square] = []
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
    squares: list[Square],
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
