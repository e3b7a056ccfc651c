"""Pictures decoded once, into a memory-mapped array of squares, with their ids and labels."""

from __future__ import annotations

import hashlib
import tempfile
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError, StorageError, option
from vicinal.files import read_json, replacing, write_json
from vicinal.images.arrays import Arrays, dim_note
from vicinal.images.decoding import (
    Decoding,
    Given,
    Span,
    Square,
    decoded,
    depth_note,
    eight_bits,
    widened,
)
from vicinal.images.image_set import ImageSet
from vicinal.images.picture_list import PictureList
from vicinal.images.skipped import Skipped, refuse_too_many
from vicinal.progress import counted

Pixels = NDArray[np.uint8]

_BLOCK_BYTES = 8 << 20
_DIM = 16
"""The brightest pixel, of 255, up to which all pictures look black to people."""


@dataclass(frozen=True)
class Facts:
    """Facts about the pixels of a set."""

    deep: int  # pictures of more than 8 bits among them
    # the values of these that became 0 and 255; None where there are none, or a span was given
    span: Span | None
    brightest: int  # the brightest pixel of all, of 255
    flat: int  # deep pictures that have differences, all of them lost in 8 bits of the span

    @property
    def is_dim(self) -> bool:
        """Whether all pictures look black to people, and are not."""
        return 0 < self.brightest <= _DIM

    def numbers(self) -> tuple[float, float, float, float, float]:
        """All of it as numbers, a span that there is not as NaN."""
        return (self.deep, *(self.span or (np.nan, np.nan)), self.brightest, self.flat)

    @classmethod
    def of(cls, numbers: NDArray[np.float64]) -> Facts:
        """Facts from what `numbers` returns; files of before end with the brightest pixel."""
        deep, low, high, brightest, *flat = numbers.tolist()
        span = None if np.isnan(low) else (low, high)
        return cls(int(deep), span, int(brightest), int(sum(flat)))


class Writer:
    """Appends squares to a NumPy file; grey ones become colour ones when the first of these comes.

    Squares of more than 8 bits wait in a file of their own until the span of all is known. Behind
    the array, where NumPy does not look, each original's width and height follow as int32, then
    the `Facts` as float64.
    """

    def __init__(self, file: IO[bytes], size: int, channels: int | None, folder: Path) -> None:
        self.size = size
        self.count = 0
        self.channels = channels or 1
        self._file = file
        self._folder = folder
        self._sizes = array("i")  # a list would take ten times as much
        self._deep: list[int] = []
        self._waiting: IO[bytes] | None = None
        self._span: Span | None = None
        self._brightest = 0
        self._flat = 0
        self._header()
        self._start = file.tell()

    def write(self, squares: list[Square]) -> None:
        """Appends squares (size, size, 1 or 3), uint8 or float32."""
        if not squares:
            return
        if self.channels == 1 and any(square.pixels.shape[2] == 3 for square in squares):
            self._widen()
        shape = (self.size, self.size, self.channels)
        plain = [self._set_aside(at, square) for at, square in enumerate(squares, self.count)]
        # Written, not mapped: a full disk is an error here, and a crash on a memory map.
        self._file.write(np.stack([np.broadcast_to(p, shape) for p in plain]).tobytes())
        self._brightest = max(self._brightest, *(int(p.max()) for p in plain))
        for square in squares:
            self._sizes.extend((square.width, square.height))
        self.count += len(squares)

    def finish(self) -> Facts:
        """Puts the deep squares in their places and the number of all into the file's head."""
        self._file.seek(self._start + self.count * self._bytes())
        self._file.write(np.array(self._sizes, np.int32).tobytes())
        tail = self._file.tell()
        if self._waiting is not None:
            self._settle(self._waiting)
        facts = Facts(len(self._deep), self._span, self._brightest, self._flat)
        self._file.seek(tail)
        self._file.write(np.array(facts.numbers()).tobytes())
        self._file.seek(0)
        self._header()
        assert self._file.tell() == self._start
        self._file.flush()
        return facts

    def mapped(self) -> Pixels:
        """The finished file's squares (N, size, size, channels) as a memory map of their own."""
        return np.memmap(self._file, np.uint8, "c", self._start, self._shape())

    def sizes(self) -> NDArray[np.int32]:
        """Width and height of the originals, (N, 2) int32."""
        return np.array(self._sizes, np.int32).reshape(-1, 2)

    def _set_aside(self, at: int, square: Square) -> Pixels:
        """The square's pixels; of a deep one nothing yet, which waits."""
        if square.pixels.dtype == np.uint8:
            return square.pixels
        if self._waiting is None:
            self._waiting = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 — see _settle
        self._waiting.write(square.pixels.astype(np.float32).tobytes())
        self._deep.append(at)
        self._span = widened(self._span, square.pixels)
        return np.zeros((self.size, self.size, 1), np.uint8)

    def _settle(self, waiting: IO[bytes]) -> None:
        """Writes the deep squares, scaled by the span of all, over what holds their places."""
        assert self._span is not None
        shape = (self.size, self.size, self.channels)
        with waiting:
            waiting.seek(0)
            for at in self._deep:
                raw = np.frombuffer(waiting.read(4 * self.size * self.size), np.float32)
                pixels = eight_bits(raw.reshape(self.size, self.size, 1), self._span)
                self._brightest = max(self._brightest, int(pixels.max()))
                self._flat += bool(np.ptp(raw) and not np.ptp(pixels))
                self._file.seek(self._start + at * self._bytes())
                self._file.write(np.broadcast_to(pixels, shape).tobytes())

    def _bytes(self) -> int:
        return self.size * self.size * self.channels

    def _shape(self) -> tuple[int, int, int, int]:
        return self.count, self.size, self.size, self.channels

    def _header(self) -> None:
        # NumPy leaves room in it for the first axis to grow.
        header = {"descr": "|u1", "fortran_order": False, "shape": self._shape()}
        np.lib.format.write_array_header_1_0(self._file, header)

    def _widen(self) -> None:
        """Repeats each grey value three times, from the end, so that no value is lost."""
        end = self.count * self.size * self.size
        while end:
            begin = max(0, end - _BLOCK_BYTES)
            self._file.seek(self._start + begin)
            grey = np.frombuffer(self._file.read(end - begin), np.uint8)
            self._file.seek(self._start + 3 * begin)
            self._file.write(np.repeat(grey, 3).tobytes())
            end = begin
        self._file.seek(self._start + 3 * self.count * self.size * self.size)
        self.channels = 3


def read_tail(path: Path, pixels: Pixels) -> tuple[NDArray[np.int32], Facts]:
    """Width and height of the originals, (N, 2) int32, and the facts, from behind the array."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        file.seek(file.tell() + pixels.nbytes)
        sizes = np.frombuffer(file.read(8 * len(pixels)), np.int32).reshape(-1, 2)
        facts = Facts.of(np.frombuffer(file.read(), np.float64))
    if len(sizes) != len(pixels):
        raise ValueError("sizes are missing")
    return sizes, facts


@dataclass(frozen=True, eq=False)
class Stored:
    """Decoded pictures."""

    pixels: Pixels  # memory map (K, size, size, channels) uint8 of the K good ones
    sizes: NDArray[np.int32]  # (K, 2) int32, width and height of the originals, upright
    facts: Facts  # what is to be known of the pixels
    # (N - K,) int64, ascending: positions of the others among the N pictures
    bad: NDArray[np.int64]
    skipped: tuple[Skipped, ...]  # what those are and why


def stored(images: PictureList, how: Decoding, folder: Path, source: int | None = None) -> Stored:
    """The decoded pixels: from the store if they are there, else decoded into it on all cores."""
    digest = hashlib.sha256(repr((how.size, how.channels, how.rule)).encode())
    for line in images.stamp():
        digest.update(line.encode("utf-8", "surrogateescape") + b"\0")
    path = folder / f"{digest.hexdigest()[:32]}.npy"
    count = len(images.ids)
    kept = _opened(path, count, how.size)
    if kept is not None:
        return kept
    bad: dict[int, Skipped] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("w+b") as file:
            writer = Writer(file, how.size, how.channels, folder)
            with counted(f"decoding {images.name}", count) as advance:
                for at, one in write_squares(writer, images.pictures(), how, advance):
                    bad[at] = one
                    refuse_too_many(images.name, tuple(bad.values()), source or count)
            writer.finish()
            _list_beside(path).unlink(missing_ok=True)
            if bad:
                listed = [(at, one.path, one.reason) for at, one in bad.items()]
                write_json(_list_beside(path), listed)
    except (OSError, StorageError) as error:
        reason = error.reason if isinstance(error, StorageError) else error.strerror or error
        raise InputError(
            f"cannot keep decoded images in {folder} ({reason}); "
            f"name another folder with {option('data_dir')}"
        ) from None
    written = _opened(path, count, how.size)
    assert written is not None
    return written


def write_squares(
    writer: Writer,
    pictures: Iterator[tuple[Given, str]],
    how: Decoding,
    advance: Callable[[int], None],
) -> Iterator[tuple[int, Skipped]]:
    """Writes the pictures that can be decoded; yields the position of each other one."""
    done = 0
    with closing(decoded(pictures, how)) as groups:
        for group in groups:
            for at, one in enumerate(group, done):
                if isinstance(one, Skipped):
                    yield at, one
            writer.write([one for one in group if not isinstance(one, Skipped)])
            done += len(group)
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


def decoded_set(
    images: PictureList, prefix: str | None, how: Decoding, folder: Path, source: int
) -> tuple[ImageSet, NDArray[np.int64]]:
    """The good pictures of a list as an ImageSet, and their positions (K,) int64 in the list."""
    ids, good = images.ids_in(prefix), np.arange(len(images))
    labels, names, place = images.labels, images.class_names, images.place
    if isinstance(place, Arrays):
        how = replace(how, channels=how.channels or place.channels)
        if place.pixels.shape[1:] == (how.size, how.size, how.channels):
            height, width = place.pixels.shape[1:3]
            sizes = np.tile(np.array([width, height], np.int32), (len(ids), 1))
            notes = images.notes
            ready = ImageSet(
                images.name, place.pixels, ids, labels, names, sizes=sizes, notes=notes
            )
            return ready, good
    found = stored(images, how, folder, source)
    good = np.setdiff1d(good, found.bad)
    squares = ImageSet(
        name=images.name,
        pixels=found.pixels,
        ids=ids[good],
        labels=None if labels is None else labels[good],
        class_names=names,
        skipped=(*images.skipped, *found.skipped),
        sizes=found.sizes,
        span=how.span or found.facts.span,
        notes=(*images.notes, *pixel_notes(images.name, found.facts)),
    )
    return squares, good


def pixel_notes(name: str, facts: Facts) -> tuple[str, ...]:
    """Lines for the user: what should be known of the pixels."""
    span = () if facts.span is None else (depth_note(name, facts.deep, facts.span, facts.flat),)
    return (*span, dim_note(name, facts.brightest)) if facts.is_dim else span
