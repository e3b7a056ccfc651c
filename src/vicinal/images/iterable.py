"""Pictures that a Python program has in its hands, one by one, to an ImageSet."""

from __future__ import annotations

import operator
import tempfile
from collections.abc import Iterable, Iterator, Sized
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray
from PIL import Image

from vicinal.errors import InputError
from vicinal.images import fit
from vicinal.images.classes import coded, labels_told
from vicinal.images.containers import (
    Held,
    by_position,
    flat,
    held_in,
    opened_cell,
    pair_in,
)
from vicinal.images.fitting import facts_told
from vicinal.images.imageset import ImageSet
from vicinal.images.names import as_text
from vicinal.images.opened import MOST_PIXELS
from vicinal.images.said import tell
from vicinal.images.skipped import BadPictureError, Skipped, refuse_too_many
from vicinal.images.squares import Facts, Writer
from vicinal.images.store import Given, decoded
from vicinal.images.values import checked_pixels, refuse_ones, stacked
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
    max_pixels: int = MOST_PIXELS,
) -> ImageSet:
    """Makes an ImageSet of any iterable of pictures: a list, a generator, a torchvision data set.

    All cores decode, and few pictures at a time are in memory: the pixels go to a file that is
    gone when the ImageSet is. There is one channel if every picture is grey, three otherwise.
    Pictures that cannot be decoded are left out and listed in ``skipped`` of the result.

    Args:
        images: Pillow's images, encoded ones (bytes), or arrays (H, W) or (H, W, C), C = 1, 3 or 4,
            of whole numbers from 0 to 255 or booleans, each alone or as a pair (picture, label);
            in any container of `vicinal.images.containers`, by position whatever its index.
        labels: One for each picture, by position: names of classes, or their numbers, whose names
            are those of ``images.classes`` where there are any. By default those of the container.
        ids: One for each picture, unique; by default their numbers, or the keys of a dict.
        size: Height and width in pixels, to which a picture is scaled by its shorter side, its
            centre kept. By default that of the pictures, if all are equal squares.
        name: What people call the set.
        data_dir: Folder for the pixels' file; by default the platform's cache.
        max_pixels: Pixels of a picture that may be decoded; a larger one is skipped.

    Raises:
        InputError: If there are no pictures, something is none, sizes differ and none is given,
            labels or ids do not fit, no value is above 1, or more than `MOST_SKIPPED` are bad.
    """
    held = held_in(images)
    met: list[object] = []
    side, stream = _of_one_size(_pictures(held.images, met), size, name)
    count = len(held.images) if isinstance(held.images, Sized) else None
    folder = (data_dir or platformdirs.user_cache_path("vicinal")) / "store"
    found = _kept(stream, side, counted(f"decoding {name}", count), folder, max_pixels)
    refuse_too_many(name, tuple(found.bad.values()), len(met))
    if found.facts.brightest == 1:
        refuse_ones(found.pixels)
    good = np.setdiff1d(np.arange(len(met)), np.array(list(found.bad), dtype=np.int64))
    given = _labels(labels, held, met, name)
    codes, class_names = _classes([given[at] for at in good.tolist()], held.classes, name)
    notes = facts_told(name, found.facts)
    if held.column and labels is None and codes is not None:
        notes += (labels_told(name, len(class_names), f"the column {held.column}"),)
    tell(notes)
    return ImageSet(
        name=name,
        pixels=found.pixels,
        ids=_ids(held.ids if ids is None else ids, len(met), name)[good],
        labels=codes,
        class_names=class_names,
        skipped=tuple(found.bad.values()),
        sizes=found.sizes,
        span=found.facts.span,
        notes=notes,
    )


@dataclass(frozen=True, eq=False)
class _Kept:
    """The squares of the good pictures, the sizes of the originals, and the others by position."""

    pixels: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    facts: Facts
    bad: dict[int, Skipped]


def _kept(stream: _Stream, side: int, bar: Counted, folder: Path, max_pixels: int) -> _Kept:
    """Decodes pictures into a file without a name, so that nothing of it can be left behind."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            writer = Writer(file, side, None, folder)
            bad, facts = _written(writer, stream, bar, max_pixels)
            return _Kept(writer.mapped(), writer.sizes(), facts, bad)
    except OSError as error:
        raise InputError(f"cannot keep images in {folder} ({error}); give data_dir") from None


def _labels(labels: Any, held: Held, met: list[object], name: str) -> list[object]:
    """Each picture's label, or None: given, of the container, or beside the pictures in it."""
    found = held.labels or met if labels is None else flat(labels, held.ids)
    if len(found) != len(met):
        raise InputError(f"{name}: {len(met)} pictures but {len(found)} labels")
    return found


def _pictures(images: Iterable[Any], labels: list[object]) -> _Stream:
    """Each picture and what an error message calls it; its label, or None, joins ``labels``."""
    if isinstance(images, np.ndarray) and images.dtype != object:
        images = stacked(images)
    for number, item in enumerate(by_position(images)):
        where = f"image {number}"
        picture, label = pair_in(item)
        labels.append(label)
        picture = opened_cell(picture, where)
        if isinstance(picture, np.ndarray):
            picture = checked_pixels(picture)
            if picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (1,), (3,), (4,)):
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


def _written(
    writer: Writer, stream: _Stream, bar: Counted, max_pixels: int
) -> tuple[dict[int, Skipped], Facts]:
    """Writes the pictures that can be decoded; returns the others by position."""
    bad: dict[int, Skipped] = {}
    done = 0

    def decode(picture: fit.Picture, where: str, channels: int | None) -> fit.Square:
        return fit.square(
            picture,
            where,
            size=writer.size,
            channels=channels,
            pad=False,
            most_pixels=max_pixels,
        )

    groups = decoded(stream, decode, None, writer.size)
    with bar as advance, closing(groups):
        for group in groups:
            bad |= {done + at: one for at, one in enumerate(group) if isinstance(one, Skipped)}
            writer.write([one for one in group if not isinstance(one, Skipped)])
            done += len(group)
            advance(len(group))
    return bad, writer.finish()


def _classes(
    labels: list[Any], declared: tuple[str, ...], name: str
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Labels as positions in the list of class names; None where there are none."""
    if all(_is_none(label) for label in labels):
        return None, ()
    if all(isinstance(label, str) for label in labels):
        return coded(np.array(labels))
    try:
        numbers = np.array([_whole(label) for label in labels], dtype=np.int64)
    except TypeError:
        raise InputError(f"{name}: labels must be all integers or all strings") from None
    if declared and 0 <= numbers.min() <= numbers.max() < len(declared):
        return numbers, declared
    return coded(numbers.astype(np.str_))


def _is_none(label: Any) -> bool:
    """Whether a label says that there is none: None, or NaN and pandas' NA, unequal to all."""
    return label is None or type(label).__name__ == "NAType" or bool(label != label)


def _whole(label: Any) -> int:
    """A label as an integer; a boolean is one, and so is a whole float, as data frames make.

    Raises:
        TypeError: If it is none.
    """
    if isinstance(label, np.bool_) or (isinstance(label, float) and label.is_integer()):
        return int(label)
    return operator.index(label)


def _ids(ids: Iterable[int | str] | None, count: int, name: str) -> NDArray[np.str_]:
    """The ids as text that is valid UTF-8; an ImageSet checks that they are unique."""
    if ids is None:
        return np.array([f"{number:06d}" for number in range(count)])
    given = [as_text(str(one)) for one in ids]
    if len(given) != count:
        raise InputError(f"{name}: {count} pictures but {len(given)} ids")
    return np.array(given)
