"""Squares of pixels one after the other in one file: grey or colour, of 8 bits or made so."""

from __future__ import annotations

import tempfile
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vicinal.images.depth import Span, eight_bits, joined, span_of
from vicinal.images.fit import Square

Pixels = NDArray[np.uint8]

_BLOCK_BYTES = 8 << 20
_DIM = 16
"""Of 255; pictures none of which is brighter look black to people."""


@dataclass(frozen=True)
class Facts:
    """What is to be known of the pixels of a set.

    Attributes:
        deep: Pictures of more than 8 bits among them.
        span: The values of these that became 0 and 255; None where there are none, or a span
            was given.
        brightest: The brightest pixel of all, of 255.
    """

    deep: int
    span: Span | None
    brightest: int

    @property
    def is_dim(self) -> bool:
        """Whether all pictures look black to people, and are not."""
        return 0 < self.brightest <= _DIM

    def numbers(self) -> tuple[float, float, float, float]:
        """All of it as numbers, a span that there is not as NaN."""
        return (self.deep, *(self.span or (np.nan, np.nan)), self.brightest)

    @classmethod
    def of(cls, numbers: NDArray[np.float64]) -> Facts:
        """What `numbers` made."""
        deep, low, high, brightest = numbers.tolist()
        return cls(int(deep), None if np.isnan(low) else (low, high), int(brightest))


class Writer:
    """Appends squares to a NumPy file; grey ones become colour ones when the first of these comes.

    Squares of more than 8 bits wait in a file of their own until the span of all is known. Behind
    the array, where NumPy does not look, each original's width and height follow as int32, then
    the `Facts` as float64.

    Args:
        file: An empty file, open for reading and writing.
        size: Height and width of a square.
        asked: 1 or 3 channels; None for what comes.
        folder: Where deep squares wait.
    """

    def __init__(self, file: IO[bytes], size: int, asked: int | None, folder: Path) -> None:
        self.size = size
        self.asked = asked
        self.count = 0
        self.channels = asked or 1
        self._file = file
        self._folder = folder
        self._sizes = array("i")  # a list would take ten times as much
        self._deep: list[int] = []
        self._waiting: IO[bytes] | None = None
        self._span: Span | None = None
        self._brightest = 0
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
        facts = Facts(len(self._deep), self._span, self._brightest)
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
        self._span = joined(self._span, span_of(square.pixels))
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
        """Repeats each grey value thrice, from the end on, where nothing is overwritten unread."""
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
    """Width and height of the originals, (N, 2) int32, and the facts, from behind the array.

    Raises:
        ValueError: If there is less or more.
    """
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        file.seek(file.tell() + pixels.nbytes)
        sizes = np.frombuffer(file.read(8 * len(pixels)), np.int32).reshape(-1, 2)
        facts = Facts.of(np.frombuffer(file.read(), np.float64))
    if len(sizes) != len(pixels):
        raise ValueError("sizes are missing")
    return sizes, facts
