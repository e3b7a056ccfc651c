"""Opens tar files and sharded stores as streams; writes any source into a sharded store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError, option
from vicinal.images.arrays import Arrays
from vicinal.images.decoding import Decoding, Square, decoded, plain_pixels, widened
from vicinal.images.file_formats import MOST_PIXELS
from vicinal.images.image_stream import BLOCK, ImageStream
from vicinal.images.loading import data_folder, source_parts
from vicinal.images.picture_list import PictureList
from vicinal.images.shards import open_shards, write_shards
from vicinal.images.skipped import Skipped, keep_skipped, refuse_too_many
from vicinal.images.sources import named
from vicinal.images.tar import open_tar
from vicinal.progress import tell

Blocks = Iterator[NDArray[np.uint8]]


@dataclass(frozen=True)
class Written:
    """A sharded store as it was written."""

    images: dict[str, int]  # the images of each part
    # pictures that could not be used, also in ``skipped.csv`` of the store
    skipped: tuple[Skipped, ...]


def is_stream(source: str) -> bool:
    """Whether training reads a source as a stream: ``tar:``, a ``.tar`` or ``shards:``."""
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
    """Opens a stream of images of ``size`` × ``size`` pixels."""
    kind, _, rest = named(source).partition(":")
    if kind == "tar":
        how = Decoding(size, interpolation=interpolation, max_pixels=max_pixels)
        return open_tar(rest, how, cache=data_folder(data_dir), exclude=exclude)
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
    """Writes the images of a source into a sharded store, a block in memory at a time."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{option('out', out)}: is there already; remove it or name another folder"
        )
    if named(source).startswith("shards:"):
        raise InputError(f"{source}: holds shards already; train on it")
    parts = source_parts(source, data_dir, exclude)
    if parts[0][0] == "test":
        raise InputError(f"{source}: only a test part is there; add the training part")
    tell(note for _, images in parts for note in images.notes)
    how = _looked_at(parts[0][1], Decoding(size, max_pixels=max_pixels))
    bad: list[Skipped] = []

    def checked(images: PictureList) -> Blocks:
        yield from _blocks(images, how, bad)
        refuse_too_many(source, bad, sum(len(images) for _, images in parts))

    blocks = {split or "train": checked(images) for split, images in parts}
    try:
        written = write_shards(blocks, out, span=how.span)
    except InputError:
        for path in out.glob("*.npy"):  # of the parts before; without an index they are nothing
            path.unlink()
        raise
    skipped = [one for _, images in parts for one in images.skipped] + bad
    if how.span is not None:
        low, high = how.span
        tell([f"{source}: pictures of more than 8 bits: {low:g} to {high:g} became 0 to 255"])
    keep_skipped(skipped, out / "skipped.csv")
    return Written(written, tuple(skipped))


def _blocks(images: PictureList, how: Decoding, bad: list[Skipped]) -> Blocks:
    """The good pictures; the others join ``bad``."""
    for group in decoded(images.pictures(), how):
        good = [plain_pixels(found) for found in group if isinstance(found, Square)]
        bad += [found for found in group if isinstance(found, Skipped)]
        if good:
            shape = (how.size, how.size, how.channels or 3)
            yield np.stack([np.broadcast_to(pixels, shape) for pixels in good])


def _looked_at(images: PictureList, how: Decoding) -> Decoding:
    """Channels by the first pictures; the span by all, if one of the first has more than 8 bits."""
    if isinstance(images.place, Arrays):
        return replace(how, channels=images.place.channels)
    first = list(_pixels(images.take(slice(BLOCK)), how))
    colour = any(pixels.shape[2] == 3 for pixels in first)
    span = None
    if any(pixels.dtype != np.uint8 for pixels in first):
        for pixels in _pixels(images, how):
            span = widened(span, pixels)
    return replace(how, channels=3 if colour else 1, span=span)


def _pixels(images: PictureList, how: Decoding) -> Iterator[NDArray[Any]]:
    """The pixels of those that can be decoded."""
    for group in decoded(images.pictures(), how):
        yield from (found.pixels for found in group if isinstance(found, Square))
