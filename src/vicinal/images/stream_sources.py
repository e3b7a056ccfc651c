"""Where streams come from: tar files and sharded stores; and any source made into a store."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from vicinal.errors import InputError, option
from vicinal.images import source_parts, store
from vicinal.images.decoding import (
    Picture,
    Span,
    Square,
    eight_bits,
    joined,
    span_of,
    square,
)
from vicinal.images.formats import MOST_PIXELS
from vicinal.images.image_stream import BLOCK, ImageStream
from vicinal.images.imageset import ImageSet
from vicinal.images.shards import open_shards, write_shards
from vicinal.images.skipped import Skipped, keep_skipped, refuse_too_many
from vicinal.images.sources import named
from vicinal.images.store import Arrays, Listed
from vicinal.images.tar import open_tar, tar_pictures
from vicinal.progress import tell

Blocks = Iterator[NDArray[np.uint8]]
Pictures = Iterator[tuple[store.Given, str]]


@dataclass(frozen=True)
class Written:
    """A sharded store as it was written.

    Attributes:
        images: The images of each part.
        skipped: Pictures that could not be used, also in ``skipped.csv`` of the store.
    """

    images: dict[str, int]
    skipped: tuple[Skipped, ...]


def is_stream(source: str) -> bool:
    """Whether a source is read as a stream: ``tar:PATTERN``, a ``.tar`` or ``shards:FOLDER``."""
    return named(source).startswith(("tar:", "shards:"))


def open_stream(
    source: str,
    *,
    size: int,
    test_images: int,
    data_dir: Path | None = None,
    interpolation: str = "bilinear",
    exclude: tuple[str, ...] = (),
    max_pixels: int = MOST_PIXELS,
) -> ImageStream:
    """Opens a stream of images of ``size`` × ``size`` pixels.

    Args:
        source: ``tar:PATTERN``, a ``.tar`` or ``shards:FOLDER``.
        size: Height and width in pixels.
        test_images: At most so many test images are read into memory.
        data_dir: Folder for what is known of tar files; by default the platform's cache.
        interpolation: How pictures are scaled, one of `INTERPOLATIONS`; shards are already.
        exclude: Patterns of members of tar files that are left out.
        max_pixels: Pixels of a picture that may be decoded.

    Raises:
        InputError: If the source is missing, damaged or of another size.
    """
    kind, _, rest = named(source).partition(":")
    if kind == "tar":
        return open_tar(
            rest,
            size=size,
            cache=_cache(data_dir),
            interpolation=interpolation,
            exclude=exclude,
            max_pixels=max_pixels,
        )
    stream = open_shards(rest, test_images=test_images)
    if stream.size != size:
        raise InputError(
            f"{source}: its images are {stream.size} pixels wide, the recipe's {size}; "
            f"write shards with {option('size', size)}, or, unless the encoder has a start, add "
            f"{option('settings', f'views.size={stream.size}')}"
        )
    return stream


def write_source(
    source: str,
    out: Path,
    *,
    size: int,
    data_dir: Path | None = None,
    exclude: tuple[str, ...] = (),
    max_pixels: int = MOST_PIXELS,
) -> Written:
    """Writes the images of a source into a sharded store, a block in memory at a time.

    Pictures of more than 8 bits are scaled by the range of the training part, for which it is
    read once before.

    Args:
        source: As `vicinal.images.load` takes it, or ``tar:PATTERN``.
        out: A folder that is not there, or empty.
        size: Height and width in pixels.
        data_dir: Where downloads are kept; by default the platform's cache.
        exclude: As in `vicinal.images.load`.
        max_pixels: As in `vicinal.images.load`.

    Raises:
        InputError: If the source cannot be used, more of its pictures are bad than may be, or
            the folder holds anything.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{option('out', out)}: is there already; remove it or name another folder"
        )
    kind, _, rest = named(source).partition(":")
    if kind == "shards":
        raise InputError(f"{source}: holds shards already; train on it")
    skipped: list[Skipped] = []
    decoding = Decoding(size, None, None, max_pixels)
    if kind == "tar":
        decoding = _looked(lambda: tar_pictures(rest, exclude), decoding)
        parts = {"train": _decoded(tar_pictures(rest, exclude), decoding, skipped)}
    else:
        train, test = source_parts(source, data_dir, exclude)
        if train is None:
            raise InputError(f"{source}: only a test part is there; add the training part")
        tell((*train.notes, *(() if test is None else test.notes)))
        if isinstance(train, ImageSet):
            decoding = replace(decoding, channels=train.channels)
        else:
            decoding = _looked(train.pictures, decoding)
        parts = {"train": _blocks(train, decoding, skipped)}
        if test is not None:
            parts["test"] = _blocks(test, decoding, skipped)
    counted = {name: _counted(b, source, skipped) for name, b in parts.items()}
    written = write_shards(counted, out, span=decoding.span)
    if decoding.span is not None:
        low, high = decoding.span
        tell([f"{source}: pictures of more than 8 bits: {low:g} to {high:g} became 0 to 255"])
    keep_skipped(skipped, out / "skipped.csv")
    return Written(written, tuple(skipped))


@dataclass(frozen=True)
class Decoding:
    """How the pictures of a source become squares.

    Attributes:
        size: Height and width in pixels.
        channels: 1 or 3; None while it is not known.
        span: The values of pictures of more than 8 bits that become 0 and 255, likewise.
        max_pixels: Pixels of a picture that may be decoded.
    """

    size: int
    channels: int | None
    span: Span | None
    max_pixels: int

    def __call__(self, picture: Picture, where: str, asked: int | None) -> Square:
        """One picture, as `vicinal.images.store.decoded` calls it."""
        return square(
            picture,
            where,
            size=self.size,
            channels=asked,
            pad=False,
            span=self.span,
            most_pixels=self.max_pixels,
        )


def _cache(data_dir: Path | None) -> Path:
    return platformdirs.user_cache_path("vicinal") if data_dir is None else data_dir.expanduser()


def _counted(blocks: Blocks, source: str, skipped: list[Skipped]) -> Blocks:
    """The same blocks; at their end, an error if too many pictures were bad."""
    good, before = 0, len(skipped)
    for block in blocks:
        good += len(block)
        yield block
    bad = skipped[before:]
    refuse_too_many(source, bad, good + len(bad))


def _blocks(images: Listed, decoding: Decoding, skipped: list[Skipped]) -> Blocks:
    """The final pixels of listed images."""
    size, channels = decoding.size, decoding.channels
    if not isinstance(images, ImageSet):
        skipped += images.skipped
        return _decoded(images.pictures(), decoding, skipped)
    if images.pixels.shape[1:] == (size, size, channels):
        starts = range(0, len(images), BLOCK)
        return (images.pixels[start : start + BLOCK] for start in starts)
    return _decoded(Arrays(images).pictures(), decoding, skipped)


def _decoded(pictures: Pictures, decoding: Decoding, skipped: list[Skipped]) -> Blocks:
    """The good pictures decoded."""
    for group in store.decoded(pictures, decoding, decoding.channels, decoding.size):
        good = [found.pixels for found in group if not isinstance(found, Skipped)]
        skipped += [found for found in group if isinstance(found, Skipped)]
        if good:
            shape = (decoding.size, decoding.size, decoding.channels or 3)
            own = [p if p.dtype == np.uint8 else eight_bits(p, span_of(p)) for p in good]
            yield np.stack([np.broadcast_to(pixels, shape) for pixels in own])


def _looked(pictures: Callable[[], Pictures], decoding: Decoding) -> Decoding:
    """With 1 channel if the first pictures that can be decoded are all grey, else 3; and the span.

    If one of the first has more than 8 bits, all are read for the span.
    """
    first = _pixels(itertools.islice(pictures(), BLOCK), decoding)
    colour = deep = False
    for pixels in first:
        colour, deep = colour or pixels.shape[2] == 3, deep or pixels.dtype != np.uint8
    span = None
    for pixels in _pixels(pictures(), decoding) if deep else ():
        span = span if pixels.dtype == np.uint8 else joined(span, span_of(pixels))
    return replace(decoding, channels=3 if colour else 1, span=span)


def _pixels(pictures: Pictures, decoding: Decoding) -> Iterator[NDArray[Any]]:
    """The pixels of those that can be decoded."""
    for group in store.decoded(pictures, decoding, None, decoding.size):
        for found in group:
            if not isinstance(found, Skipped):
                yield found.pixels
