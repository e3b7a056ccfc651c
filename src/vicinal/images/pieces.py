"""A source in pieces: what one worker reads and embeds by itself, from any place fsspec knows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq

from vicinal.errors import InputError, option, said_by
from vicinal.images import folder, parquet

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


def pieces(source: str, size: int, count: int | None = None) -> list[Piece]:
    """Lists a source in pieces; decodes nothing.

    Args:
        source: ``parquet:PATTERN`` or ``folder:PATH`` as for `vicinal.images.load`, where PATTERN
            and PATH may be addresses such as ``s3://bucket/photos``.
        size: Height and width that the images will have.
        count: Images of a piece at most; None for as many as decode to 128 MiB.

    Raises:
        InputError: If it is another source, missing, empty or out of reach.
    """
    kind, _, place = source.partition(":")
    if kind not in ("parquet", "folder") or not place:
        raise InputError(
            f"data {source!r}: in pieces only parquet:PATTERN and folder:PATH can be read; give "
            f"{option('out')} a name that ends in .parquet"
        )
    count = count or max(64, _PIECE_BYTES // (3 * size * size))
    try:
        listed = (_from_parquet if kind == "parquet" else _from_folder)(place, count)
        return [Piece(number, *rest) for number, rest in enumerate(listed)]
    except InputError:
        raise
    except Exception as error:  # every kind of place has errors of its own
        raise InputError(
            f"data {source!r}: cannot be listed ({said_by(error)}); check the address, the "
            "credentials and that fsspec's package for it is installed"
        ) from None


Listed = Iterator[tuple[Any, ...]]
"""The fields of pieces, but for their numbers."""


def _from_parquet(pattern: str, count: int) -> Listed:
    splits: tuple[str | None, ...] = ("train", "test") if "{split}" in pattern else (None,)
    found = {split: _parquet_files(pattern.replace("{split}", split or "")) for split in splits}
    if not any(found.values()):
        raise InputError(f"parquet:{pattern}: no parquet file there; give a file or a pattern")
    if not found.get("test"):  # all there is is then no part, as in `load_parts`
        found = {None: found.get("train") or found[None]}
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
            if file.endswith(".parquet") and not _hidden(file[len(path) :])
        ]
    else:
        found = [file for file in filesystem.glob(path) if filesystem.isfile(file)]
    return [filesystem.unstrip_protocol(file) for file in sorted(found, key=_parts)]


def _rows(file: str) -> int:
    with fsspec.open(file, "rb") as opened:
        metadata = pq.ParquetFile(opened)
        parquet.image_column(metadata.schema_arrow, file)
        return int(metadata.metadata.num_rows)


def _from_folder(path: str, count: int) -> Listed:
    if "://" in path:
        parts = _far_folder(path)
    else:
        train, test = folder.load(path)
        parts = (
            {None: _near_folder(train)}
            if test is None
            else {
                "train": _near_folder(train),
                "test": _near_folder(test),
            }
        )
    for split, (files, ids, labels) in parts.items():
        for start in range(0, len(files), count):
            at = slice(start, start + count)
            yield split, files[at], ids[at], None if labels is None else labels[at]


Files = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...] | None]
"""Addresses, ids and class names of the images in a folder."""


def _near_folder(found: folder.FolderImages) -> Files:
    for closed in found.skipped:
        raise InputError(f"{closed.path}: {closed.reason}; make it readable")
    root = os.path.abspath(found.root)
    labels = None
    if found.labels is not None:
        labels = tuple(np.array(found.class_names)[found.labels].tolist())
    files = tuple(f"file://{root}/{file}" for file in found.files.tolist())
    return files, tuple(found.ids.tolist()), labels


def _far_folder(address: str) -> dict[str | None, Files]:
    """The parts of a folder elsewhere, by the rules of `vicinal.images.folder`."""
    filesystem, root = fsspec.core.url_to_fs(address)
    root = root.rstrip("/")
    inside = [file[len(root) + 1 :] for file in filesystem.find(root)]
    images = [
        file for file in inside if file.lower().endswith(folder.SUFFIXES) and not _hidden(file)
    ]
    if not images:
        raise InputError(
            f"folder:{address}: no images in it; files must end in {' '.join(folder.SUFFIXES)}"
        )
    both = {"train", "test"} <= {_parts(file)[0] for file in inside}
    parts: dict[str | None, Files] = {}
    for split in ("train", "test") if both else (None,):
        start = "" if split is None else f"{split}/"
        ids = sorted((f[len(start) :] for f in images if f.startswith(start)), key=_parts)
        files = tuple(filesystem.unstrip_protocol(f"{root}/{start}{name}") for name in ids)
        in_folders = all("/" in name for name in ids)
        parts[split] = files, tuple(ids), tuple(_parts(n)[0] for n in ids) if in_folders else None
    return parts


def _parts(path: str) -> list[str]:
    return path.split("/")


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in _parts(path))
