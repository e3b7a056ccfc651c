"""Opening a picture's file: which formats, how many pixels at most, and why it is refused."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from vicinal.errors import said_by
from vicinal.images.formats import formats, is_raw, unread

MOST_PIXELS = 178_956_970
"""Pixels that a picture may have, as it is decoded, unless told otherwise: Pillow's own limit."""
# Not `option`: the reason is kept, in skipped.csv and beside the pixels, for who reads it later.
_RAISED_BY = "--max-megapixels or max_pixels raises it"
_HEAD = 256  # bytes by which formats are told


class TooManyPixelsError(ValueError):
    """A picture whose pixels would fill more memory than it may."""


@contextmanager
def opened(
    file: bytes | Path, side: int, most_pixels: int = MOST_PIXELS
) -> Iterator[tuple[Image.Image, tuple[int, int]]]:
    """The picture in a file, not decoded yet, and its size; a large JPEG comes at a fraction.

    Args:
        file: An encoded file's bytes or path.
        side: Pixels of the shorter side that are needed, at most.
        most_pixels: Pixels that may be decoded.

    Raises:
        TooManyPixelsError: If there are more.
        Exception: Whatever Pillow's decoders stumble over.
    """
    if isinstance(file, Path):
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise ValueError("not a file")  # a pipe would wait for ever
        if is_raw(file.name):
            raise UnidentifiedImageError
    with _opened(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
        size = image.size
        image.draft(None, (side, side))
        # All coefficients of a progressive JPEG lie in memory, at whatever fraction.
        width, height = size if image.info.get("progressive") else image.size
        if width * height > most_pixels:
            whose = "Pillow's safety limit allows" if most_pixels == MOST_PIXELS else "are allowed"
            raise TooManyPixelsError(
                f"has more pixels than {whose} ({size[0] * size[1]} pixels, at most {most_pixels}; "
                f"{_RAISED_BY})"
            )
        yield image, size


def reason(error: Exception, file: object = None) -> str:
    """Why a picture cannot be decoded, in a few words without a path in them.

    Args:
        error: What was raised.
        file: The encoded file's bytes or path, if that is known.
    """
    if isinstance(error, UnidentifiedImageError):
        name = file.name if isinstance(file, Path) else ""
        known = unread(name, _head(file))
        return f"is {known}" if known else "not an image of a known format"
    if isinstance(error, TooManyPixelsError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return f"has more pixels than Pillow's safety limit allows ({error})"
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"cannot be read as an image ({said_by(error)})"


@contextmanager
def _opened(file: IO[bytes] | Path) -> Iterator[Image.Image]:
    """As Pillow opens it, without its limit, which holds before a JPEG is reduced."""
    try:
        image = Image.open(file, formats=formats())
    except Image.DecompressionBombError:
        with file.open("rb") if isinstance(file, Path) else file as stream:
            yield _by_its_format(stream)
        return
    with image:
        yield image


def _by_its_format(stream: IO[bytes]) -> Image.Image:
    """The picture as the first of the formats that knows its head opens it."""
    stream.seek(0)
    head = stream.read(16)
    for name in formats():
        factory, accepts = Image.OPEN[name]
        if accepts is not None and accepts(head) is True:
            stream.seek(0)
            return factory(stream, "")
    raise UnidentifiedImageError


def _head(file: object) -> bytes:
    if isinstance(file, bytes):
        return file[:_HEAD]
    try:
        with file.open("rb") if isinstance(file, Path) else io.BytesIO() as opened:
            return opened.read(_HEAD)
    except OSError:
        return b""
