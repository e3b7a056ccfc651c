"""Pictures that a Python program has in its hands, one by one, to an ImageSet."""

from __future__ import annotations

import operator
import tempfile
from collections.abc import Iterable, Iterator, Sized
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray
from PIL import Image

from vicinal.errors import InputError
from vicinal.images import fit
from vicinal.images.classes import coded
from vicinal.images.imageset import ImageSet
from vicinal.images.in_memory import checked_pixels
from vicinal.images.names import as_text
from vicinal.images.skipped import BadPictureError, Skipped, refuse_too_many
from vicinal.images.store import Given, Writer, decoded
from vicinal.progress import Counted, counted

_Stream = Iterator[tuple[Given, str]]


def from_images(
    images: Iterable[Any],
    labels: Iterable[int | str] | None = None,
    ids: Iterable[int | str] | None = None,
    *,
    size: int | None = None,
    name: str = "images",
    data_dir: Path | None = None,
) -> ImageSet:
    """Makes an ImageSet of any iterable of pictures: a list, a generator, a torchvision data set.

    All cores decode, and few pictures at a time are in memory: the pixels go to a file that is
    gone when the ImageSet is. There is one channel if every picture is grey, three otherwise.
    Pictures that cannot be decoded are left out and listed in ``skipped`` of the result.

    Args:
        images: Pillow's images or arrays (H, W) or (H, W, 1 or 3) of whole numbers from 0 to 255,
            each alone or as a pair (picture, label).
        labels: One for each picture: names of classes, or their numbers, whose names are those
            of ``images.classes`` where there are any.
        ids: One for each picture, unique; by default their numbers.
        size: Height and width in pixels, to which a picture is scaled by its shorter side, its
            centre kept. By default that of the pictures, if all are equal squares.
        name: What people call the set.
        data_dir: Folder for the pixels' file; by default the platform's cache.

    Raises:
        InputError: If there are no pictures, something is none, sizes differ and none is given,
            labels or ids do not fit, or more pictures than `vicinal.images.MOST_SKIPPED` are bad.
    """
    met: list[object] = []
    side, stream = _of_one_size(_pictures(images, met), size, name)
    count = len(images) if isinstance(images, Sized) else None
    folder = (data_dir or platformdirs.user_cache_path("vicinal")) / "store"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A file without a name, so that nothing of it can be left behind.
        with tempfile.TemporaryFile(dir=folder) as file:
            writer = Writer(file, side, None)
            bad = _written(writer, stream, counted(f"decoding {name}", count))
            skipped = tuple(bad.values())
            refuse_too_many(name, skipped, len(met))
            pixels = writer.mapped()
    except OSError as error:
        raise InputError(f"cannot keep images in {folder} ({error}); give data_dir") from None
    good = np.setdiff1d(np.arange(len(met)), np.array(list(bad), dtype=np.int64))
    declared = tuple(map(str, getattr(images, "classes", ())))
    given = met if labels is None else list(labels)
    if len(given) != len(met):
        raise InputError(f"{name}: {len(met)} pictures but {len(given)} labels")
    codes, class_names = _classes([given[at] for at in good.tolist()], declared, name)
    return ImageSet(
        name=name,
        pixels=pixels,
        ids=_ids(ids, len(met), name)[good],
        labels=codes,
        class_names=class_names,
        skipped=skipped,
    )


def _pictures(images: Iterable[Any], labels: list[object]) -> _Stream:
    """Each picture and what an error message calls it; its label, or None, joins ``labels``."""
    for number, item in enumerate(_items(images)):
        where = f"image {number}"
        picture, label = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
        labels.append(label)
        if isinstance(picture, np.ndarray):
            picture = checked_pixels(picture)
            if picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (1,), (3,)):
                raise InputError(
                    f"{where}: an array must be (H, W) or (H, W, 1 or 3), found {picture.shape}"
                )
        elif not isinstance(picture, Image.Image | BadPictureError):
            raise InputError(
                f"{where}: must be Pillow's image or an array (H, W, 3), found "
                f"{type(picture).__name__}; a data set must not transform it to that"
            )
        file = getattr(picture, "filename", "")
        yield picture, as_text(file) if file and isinstance(file, str | Path) else where


def _items(images: Iterable[Any]) -> Iterator[Any]:
    """The items; one that a data set fails to read is a bad picture, and not the end of them."""
    if not (isinstance(images, Sized) and hasattr(images, "__getitem__")):
        yield from images
        return
    for number in range(len(images)):
        try:
            item = images[number]
        except (OSError, Image.DecompressionBombError) as error:
            item = BadPictureError(f"image {number}", fit.reason(error))
        yield item


def _of_one_size(stream: _Stream, size: int | None, name: str) -> tuple[int, _Stream]:
    """The height and width to come, and the pictures, none of which has another if none is asked.

    Raises:
        InputError: If there are no pictures or they are no equal squares.
    """
    first: list[tuple[Given, str]] = []
    for picture, where in stream:
        first.append((picture, where))
        if not isinstance(picture, BadPictureError):
            break
    else:
        refuse_too_many(name, [Skipped(p.path, p.reason) for p, _ in first], len(first))  # type: ignore[union-attr]
        raise InputError(f"{name}: there are no pictures")
    whole = chain(first, stream)
    if size is not None:
        return size, whole
    height, width = _shape(first[-1][0])

    def alike() -> _Stream:
        for picture, where in whole:
            if not isinstance(picture, BadPictureError) and _shape(picture) != (height, height):
                raise InputError(
                    f"{where}: is {' × '.join(map(str, _shape(picture)))} pixels, others "
                    f"{height} × {width}; give size, and all become squares of it"
                )
            yield picture, where

    return height, alike()


def _shape(picture: Any) -> tuple[int, int]:
    """Height and width."""
    if isinstance(picture, Image.Image):
        return picture.height, picture.width
    height, width = picture.shape[:2]
    return height, width


def _written(writer: Writer, stream: _Stream, bar: Counted) -> dict[int, Skipped]:
    """Writes the pictures that can be decoded; returns the others by position."""
    bad: dict[int, Skipped] = {}
    done = 0

    def decode(picture: fit.Picture, where: str, channels: int | None) -> NDArray[np.uint8]:
        return fit.decode(picture, where, size=writer.size, channels=channels, pad=False)

    groups = decoded(stream, decode, None, writer.size)
    with bar as advance, closing(groups):
        for group in groups:
            bad |= {done + at: one for at, one in enumerate(group) if isinstance(one, Skipped)}
            writer.write([one for one in group if not isinstance(one, Skipped)])
            done += len(group)
            advance(len(group))
    writer.finish()
    return bad


def _classes(
    labels: list[Any], declared: tuple[str, ...], name: str
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Labels as positions in the list of class names; None where there are none."""
    if all(label is None for label in labels):
        return None, ()
    if all(isinstance(label, str) for label in labels):
        return coded(np.array(labels))
    try:
        numbers = np.array([operator.index(label) for label in labels], dtype=np.int64)
    except TypeError:
        raise InputError(f"{name}: labels must be all integers or all strings") from None
    if declared and 0 <= numbers.min() <= numbers.max() < len(declared):
        return numbers, declared
    return coded(numbers.astype(np.str_))


def _ids(ids: Iterable[int | str] | None, count: int, name: str) -> NDArray[np.str_]:
    """The ids as text that is valid UTF-8; an ImageSet checks that they are unique."""
    if ids is None:
        return np.array([f"{number:06d}" for number in range(count)])
    given = [as_text(str(one)) for one in ids]
    if len(given) != count:
        raise InputError(f"{name}: {count} pictures but {len(given)} ids")
    return np.array(given)
