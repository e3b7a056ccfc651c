"""Where streams come from: tar files and sharded stores; and any source made into a store."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from vicinal.errors import InputError, option
from vicinal.images import fit, source_parts, store
from vicinal.images.fitting import Arrays, Listed
from vicinal.images.imageset import ImageSet
from vicinal.images.shards import open_shards, write_shards
from vicinal.images.skipped import BadPictureError, Skipped, keep_skipped, refuse_too_many
from vicinal.images.stream import BLOCK, ImageStream
from vicinal.images.tar import open_tar, tar_pictures

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
    """Whether a source is read as a stream: ``tar:PATTERN`` or ``shards:FOLDER``."""
    return source.startswith(("tar:", "shards:"))


def open_stream(
    source: str,
    *,
    size: int,
    test_images: int,
    data_dir: Path | None = None,
    interpolation: str = "bilinear",
) -> ImageStream:
    """Opens a stream of images of ``size`` × ``size`` pixels.

    Args:
        source: ``tar:PATTERN`` or ``shards:FOLDER``.
        size: Height and width in pixels.
        test_images: At most so many test images are read into memory.
        data_dir: Folder for what is known of tar files; by default the platform's cache.
        interpolation: How pictures are scaled, one of `fit.INTERPOLATIONS`; shards are already.

    Raises:
        InputError: If the source is missing, damaged or of another size.
    """
    kind, _, rest = source.partition(":")
    if kind == "tar":
        return open_tar(rest, size=size, cache=_cache(data_dir), interpolation=interpolation)
    stream = open_shards(rest, test_images=test_images)
    if stream.size != size:
        raise InputError(
            f"{source}: its images are {stream.size} pixels wide, the recipe's {size}; "
            f"write shards with {option('size', size)}, or, unless the encoder has a start, add "
            f"{option('settings', f'views.size={stream.size}')}"
        )
    return stream


def write_source(source: str, out: Path, *, size: int, data_dir: Path | None = None) -> Written:
    """Writes the images of a source into a sharded store, a block in memory at a time.

    Args:
        source: As `vicinal.images.load` takes it, or ``tar:PATTERN``.
        out: A folder that is not there, or empty.
        size: Height and width in pixels.
        data_dir: Where downloads are kept; by default the platform's cache.

    Raises:
        InputError: If the source cannot be used, more of its pictures are bad than may be, or
            the folder holds anything.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{option('out', out)}: is there already; remove it or name another folder"
        )
    if source.startswith("shards:"):
        raise InputError(f"{source}: holds shards already; train on it")
    skipped: list[Skipped] = []
    if source.startswith("tar:"):
        pattern = source.partition(":")[2]
        parts = {"train": _decoded(tar_pictures(pattern), size, None, skipped)}
    else:
        train, test = source_parts(source, data_dir)
        if train is None:
            raise InputError(f"{source}: only a test part is there; add the training part")
        if isinstance(train, ImageSet):
            channels = train.channels
        else:
            channels = _channels(train.pictures(), size)
        parts = {"train": _blocks(train, size, channels, skipped)}
        if test is not None:
            parts["test"] = _blocks(test, size, channels, skipped)
    written = write_shards({name: _counted(b, source, skipped) for name, b in parts.items()}, out)
    keep_skipped(skipped, out / "skipped.csv")
    return Written(written, tuple(skipped))


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


def _blocks(images: Listed, size: int, channels: int, skipped: list[Skipped]) -> Blocks:
    """The final pixels of listed images."""
    skipped += images.skipped
    if not isinstance(images, ImageSet):
        return _decoded(images.pictures(), size, channels, skipped)
    if images.pixels.shape[1:] == (size, size, channels):
        starts = range(0, len(images), BLOCK)
        return (images.pixels[start : start + BLOCK] for start in starts)
    return _decoded(Arrays(images).pictures(), size, channels, skipped)


def _decoded(pictures: Pictures, size: int, channels: int | None, skipped: list[Skipped]) -> Blocks:
    """The good pictures decoded; without ``channels``, as the first ones have them."""
    if channels is None:
        first = list(itertools.islice(pictures, BLOCK))
        channels = _channels(iter(first), size)
        pictures = itertools.chain(first, pictures)

    for group in store.decoded(pictures, _decoder(size), channels, size):
        good = [found for found in group if not isinstance(found, Skipped)]
        skipped += [found for found in group if isinstance(found, Skipped)]
        if good:
            yield np.stack(good)


def _decoder(size: int) -> store.Decoder:
    def decode(picture: fit.Picture, where: str, asked: int | None) -> NDArray[np.uint8]:
        return fit.decode(picture, where, size=size, channels=asked, pad=False)

    return decode


def _channels(pictures: Pictures, size: int) -> int:
    """1 if the first pictures that can be decoded are all grey, else 3."""
    decode = _decoder(size)
    for picture, where in itertools.islice(pictures, BLOCK):
        try:
            if isinstance(picture, BadPictureError):
                continue
            if decode(picture, where, None).shape[2] != 1:
                return 3
        except BadPictureError:
            continue
    return 1
