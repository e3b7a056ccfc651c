"""Decode once: the memory-mapped array of pixels behind an ImageSet, without what is bad."""

from __future__ import annotations

import hashlib
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vicinal import cores
from vicinal.errors import InputError, StorageError, option
from vicinal.files import read_json, replacing, write_json
from vicinal.images.fit import Picture, Square
from vicinal.images.skipped import BadPictureError, Skipped, refuse_too_many
from vicinal.images.squares import Facts, Writer, read_tail
from vicinal.progress import counted

Pixels = NDArray[np.uint8]
Given = Picture | BadPictureError
"""A picture, or why there is none."""
Decoder = Callable[[Picture, str, int | None], Square]
"""(picture, what to call it, channels or None) -> the picture fitted to a square."""

_GROUP_BYTES = 8 << 20
_GROUP_IMAGES = 64


class Pictures(Protocol):
    """What can be decoded into the store."""

    @property
    def name(self) -> str:
        """What people call the set."""

    @property
    def ids(self) -> NDArray[np.str_]:
        """(N,) strings, unique within the set."""

    def stamp(self) -> Iterator[str]:
        """Lines that change when a file, or the choice of images, does."""

    def pictures(self) -> Iterator[tuple[Given, str]]:
        """Each picture in turn, and what an error message calls it."""


class Encoded(Pictures, Protocol):
    """Images that are listed but not decoded yet: what a loader of encoded images returns."""

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """(N,) int64 positions in ``class_names``, or None."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes."""

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What could not even be listed."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the user: where the labels are from, and what is not used."""

    def take(self, index: NDArray[np.int64]) -> Self:
        """The images at ``index`` (K,) int64, which ascends."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Decoded pictures.

    Attributes:
        pixels: Memory map (K, size, size, channels) uint8 of the K good ones.
        sizes: (K, 2) int32, width and height of the originals, upright.
        facts: What is to be known of the pixels.
        bad: (N - K,) int64, ascending: positions of the others among the N pictures.
        skipped: What those are and why.
    """

    pixels: Pixels
    sizes: NDArray[np.int32]
    facts: Facts
    bad: NDArray[np.int64]
    skipped: tuple[Skipped, ...]


def stored(
    images: Pictures,
    decode: Decoder,
    *,
    size: int,
    channels: int | None,
    rule: str,
    folder: Path,
    source: int | None = None,
) -> Stored:
    """The decoded pixels, from the store if they are there, else decoded into it.

    All cores decode, few pictures at a time are in memory, and a bar says how long it takes.

    Args:
        images: What to decode.
        decode: Makes an array of one picture, or raises `BadPictureError`.
        size: Height and width of the arrays that ``decode`` gives.
        channels: 1 or 3; None means 1 if every picture is grey and 3 otherwise.
        rule: Names what ``decode`` does; other pixels, other rule.
        folder: Where the arrays are kept.
        source: Pictures in the whole source, a share of which may be bad; by default ``images``.

    Returns:
        The pixels, of which what is written to never reaches the file, and what is not in them.

    Raises:
        InputError: If too many pictures are bad or the folder cannot be written.
    """
    digest = hashlib.sha256(repr((size, channels, rule)).encode())
    for line in images.stamp():
        digest.update(line.encode("utf-8", "surrogateescape") + b"\0")
    path = folder / f"{digest.hexdigest()[:32]}.npy"
    count = len(images.ids)
    kept = _opened(path, count, size)
    if kept is not None:
        return kept
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("w+b") as file:
            writer = Writer(file, size, channels, folder)
            bad = list(_good_ones_written(writer, images, decode, source or count))
            writer.finish()
            _list_beside(path).unlink(missing_ok=True)
            if bad:
                write_json(_list_beside(path), [(at, one.path, one.reason) for at, one in bad])
    except (OSError, StorageError) as error:
        reason = error.reason if isinstance(error, StorageError) else error.strerror or error
        raise InputError(
            f"cannot keep decoded images in {folder} ({reason}); "
            f"name another folder with {option('data_dir')}"
        ) from None
    written = _opened(path, count, size)
    assert written is not None
    return written


def _good_ones_written(
    writer: Writer, images: Pictures, decode: Decoder, source: int
) -> Iterator[tuple[int, Skipped]]:
    """Writes what can be decoded; yields the position of each other one and what it is."""
    skipped: list[Skipped] = []
    position = 0
    groups = decoded(images.pictures(), decode, writer.asked, writer.size)
    with counted(f"decoding {images.name}", len(images.ids)) as advance, closing(groups):
        for group in groups:
            for one in group:
                if isinstance(one, Skipped):
                    skipped.append(one)
                    yield position, one
                position += 1
            refuse_too_many(images.name, skipped, source)
            writer.write([one for one in group if not isinstance(one, Skipped)])
            advance(len(group))


def _list_beside(path: Path) -> Path:
    """The file that lists what is not in an array's file."""
    return path.with_suffix(".skipped.json")


def _opened(path: Path, count: int, size: int) -> Stored | None:
    """The memory map and what is not in it, or None where there is none or it is damaged."""
    try:
        # Copy on write: torch takes only arrays it could write to, and the file stays as it is.
        array: Pixels = np.load(path, mmap_mode="c")
        beside = _list_beside(path)
        listed = read_json(beside) if beside.is_file() else []
        bad = np.array([at for at, _, _ in listed], dtype=np.int64)
        skipped = tuple(Skipped(where, reason) for _, where, reason in listed)
        sizes, facts = read_tail(path, array)
    except (OSError, ValueError, EOFError, TypeError, InputError):
        return None
    good = count - len(bad)
    fits = array.shape in ((good, size, size, 1), (good, size, size, 3))
    whole = fits and array.dtype == np.uint8
    return Stored(array, sizes, facts, bad, skipped) if whole else None


def decoded(
    pictures: Iterator[tuple[Given, str]], decode: Decoder, channels: int | None, size: int
) -> Generator[list[Square | Skipped], None, None]:
    """Decodes group by group on all cores, in order, with few groups in memory at a time."""

    def decode_group(group: list[tuple[Given, str]]) -> list[Square | Skipped]:
        found: list[Square | Skipped] = []
        for picture, where in group:
            try:
                if isinstance(picture, BadPictureError):
                    raise picture
                found.append(decode(picture, where, channels))
            except BadPictureError as bad:
                found.append(Skipped(bad.path, bad.reason))
        return found

    workers = cores.cores()
    waiting: deque[Future[list[Square | Skipped]]] = deque()
    pool = ThreadPoolExecutor(workers)  # threads: Pillow's decoders let each other run
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on odd files that it reads all the same
            for group in _groups(pictures, 3 * size * size):
                waiting.append(pool.submit(decode_group, group))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _groups(
    pictures: Iterator[tuple[Given, str]], decoded_bytes: int
) -> Iterator[list[tuple[Given, str]]]:
    """Groups large enough to be worth a thread's while and small enough for any memory."""
    group: list[tuple[Given, str]] = []
    weight = 0
    for picture, where in pictures:
        group.append((picture, where))
        weight += decoded_bytes + (len(picture) if isinstance(picture, bytes) else 0)
        if weight >= _GROUP_BYTES or len(group) == _GROUP_IMAGES:
            yield group
            group, weight = [], 0
    if group:
        yield group
